package bqfake

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// statement is SQL that is understood.
type statement struct {
	kind   string   // statement type
	reads  []*table // that it is billed for
	target *table   // whose rows it changes; nil: none, or one without a buffer
	run    func() result
}

// shape is a kind of statement: its text with placeholders, and what it does.
//
// Placeholders are {tab:x} a table, {col:x} a column, {str:x} a string literal,
// {num:x} a number, {flag:x} the flag column t.x or a NULL in its place,
// {cond:x} a condition or nothing, {cols:x} a list of columns. One that stands
// twice must stand for the same.
type shape struct {
	pattern *regexp.Regexp
	names   []string
	bind    func(*binding) *statement
}

var placeholder = regexp.MustCompile(`\{(tab|col|str|num|flag|cond|cols):(\w+)\}`)

func newShape(template string, bind func(*binding) *statement) shape {
	var names []string
	var pattern strings.Builder
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(template, -1) {
		pattern.WriteString(regexp.QuoteMeta(template[at:m[0]]))
		at = m[1]
		names = append(names, template[m[4]:m[5]])
		pattern.WriteString("(" + map[string]string{
			"tab":  "`[^`\\\\]*`\\.`[^`\\\\]*`\\.`[^`\\\\]*`",
			"col":  "`[^`\\\\]*`",
			"str":  `'(?:[^'\\]|\\.)*'`,
			"num":  `-?\d+`,
			"flag": "t\\.`[^`\\\\]*`|CAST\\(NULL AS TIMESTAMP\\)",
			"cond": `(?:\n(?:WHERE|  AND) \(\n    .*?\n  \))?`,
			"cols": "(?:t\\.)?`[^`\\\\]*`(?:, (?:t\\.)?`[^`\\\\]*`)*",
		}[template[m[2]:m[3]]] + ")")
	}
	pattern.WriteString(regexp.QuoteMeta(template[at:]))
	return shape{regexp.MustCompile(`(?s)^` + pattern.String() + `$`), names, bind}
}

// parse finds the shape of a statement.
func (s *Server) parse(sql string) (*statement, *bq.ErrorProto) {
shapes:
	for _, sh := range shapes {
		m := sh.pattern.FindStringSubmatch(sql)
		if m == nil {
			continue
		}
		b := &binding{s: s, parts: map[string]string{}}
		for i, name := range sh.names {
			if old, ok := b.parts[name]; ok && old != m[i+1] {
				continue shapes
			}
			b.parts[name] = m[i+1]
		}
		st := sh.bind(b)
		if b.fault != nil {
			return nil, b.fault
		}
		st.reads = b.reads
		return st, nil
	}
	return nil, &bq.ErrorProto{Reason: "invalidQuery", Message: "bqfake: unknown statement: " + sql}
}

// binding is what the placeholders of a statement stand for.
type binding struct {
	s     *Server
	parts map[string]string
	reads []*table
	fault *bq.ErrorProto
}

func (b *binding) fail(reason, message string) {
	if b.fault == nil {
		b.fault = &bq.ErrorProto{Reason: reason, Message: message}
	}
}

// table finds a table. It is never nil.
func (b *binding) table(part string) *table {
	name := strings.ReplaceAll(b.parts[part], "`", "")
	t := b.s.tables[name]
	if t == nil {
		b.fail("notFound", "Not found: Table "+name)
		t = &table{name: name}
	}
	b.reads = append(b.reads, t)
	return t
}

// column finds a column of a table. Without one it is empty.
func (b *binding) column(t *table, part string) string {
	name := strings.Trim(strings.TrimPrefix(b.parts[part], "t."), "`")
	if b.parts[part] == "CAST(NULL AS TIMESTAMP)" {
		return ""
	}
	if t.column(name) == nil {
		b.fail("invalidQuery", "Unrecognized name: "+name)
	}
	return name
}

func (b *binding) columns(t *table, part string) []string {
	var names []string
	for name := range strings.SplitSeq(b.parts[part], ", ") {
		b.parts[part+" item"] = name
		names = append(names, b.column(t, part+" item"))
	}
	return names
}

func (b *binding) text(part string) string {
	quoted := b.parts[part]
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\r`, "\r").Replace(quoted[1 : len(quoted)-1])
}

func (b *binding) millis(part string) time.Time {
	ms, err := strconv.ParseInt(b.parts[part], 10, 64)
	if err != nil {
		b.fail("invalidQuery", "Invalid number")
	}
	return time.UnixMilli(ms).UTC()
}

var comparison = regexp.MustCompile(`^(\w+) (=|<>) (?:'([^']*)'|(\d+))$`)

// where reads a condition: comparisons of columns with strings or numbers, all
// of which must hold.
func (b *binding) where(part string) func(Row) bool {
	text := strings.TrimPrefix(strings.TrimPrefix(b.parts[part], "\nWHERE "), "\n  AND ")
	if text == "" {
		return func(Row) bool { return true }
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "(\n    "), "\n  )")
	type condition struct {
		column string
		equal  bool
		value  any
	}
	var all []condition
	for part := range strings.SplitSeq(text, "\n  ) AND (\n    ") {
		m := comparison.FindStringSubmatch(part)
		if m == nil {
			b.fail("invalidQuery", "bqfake: unknown condition: "+part)
			continue
		}
		c := condition{m[1], m[2] == "=", m[3]}
		if m[4] != "" {
			c.value, _ = strconv.ParseInt(m[4], 10, 64)
		}
		all = append(all, c)
	}
	return func(r Row) bool {
		for _, c := range all {
			if r[c.column] == nil || (r[c.column] == c.value) != c.equal {
				return false
			}
		}
		return true
	}
}

// query is a statement that reads.
func query(schema []*bq.TableFieldSchema, rows func() []Row) *statement {
	return &statement{kind: "SELECT", run: func() result { return result{schema: schema, rows: rows()} }}
}

func integers(names ...string) []*bq.TableFieldSchema {
	var fields []*bq.TableFieldSchema
	for _, n := range names {
		fields = append(fields, Field(n, "INTEGER"))
	}
	return fields
}
