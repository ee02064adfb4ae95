package bigquery

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"optsweep/schemas"
)

// TableRef names a table or view: project, dataset, table.
type TableRef struct {
	Project, Dataset, Table string
}

// Shapes of names. A project may be of the old kind "example.com:project". The
// service knows more letters in names of tables than these; none of them can
// end a quoted identifier.
var (
	projectShape = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{0,63}:)?[a-z0-9][a-z0-9-]{0,62}$`)
	datasetShape = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	tableShape   = regexp.MustCompile(`^[\pL\pM\pN\p{Pc}\p{Pd}\p{Zs}]+$`)
)

// ParseTable reads "project.dataset.table".
func ParseTable(s string) (TableRef, error) {
	parts := strings.Split(s, ".")
	if n := len(parts); n > 3 && strings.Contains(s, ":") { // example.com:project.dataset.table
		parts = []string{strings.Join(parts[:n-2], "."), parts[n-2], parts[n-1]}
	}
	if len(parts) != 3 {
		return TableRef{}, fmt.Errorf("%q is not of the form project.dataset.table", s)
	}
	ref := TableRef{parts[0], parts[1], parts[2]}
	if _, err := ParseDataset(ref.Project + "." + ref.Dataset); err != nil || !tableShape.MatchString(ref.Table) {
		return TableRef{}, fmt.Errorf("%q is no name of a BigQuery table", s)
	}
	return ref, nil
}

// ParseDataset reads "project.dataset"; the table stays empty.
func ParseDataset(s string) (TableRef, error) {
	at := strings.LastIndexByte(s, '.')
	if at < 0 || !projectShape.MatchString(s[:at]) || !datasetShape.MatchString(s[at+1:]) {
		return TableRef{}, fmt.Errorf("%q is not of the form project.dataset", s)
	}
	return TableRef{Project: s[:at], Dataset: s[at+1:]}, nil
}

// In is a table of the same dataset.
func (r TableRef) In(table string) TableRef { return TableRef{r.Project, r.Dataset, table} }

func (r TableRef) String() string {
	if r.Table == "" {
		return r.Project + "." + r.Dataset
	}
	return r.Project + "." + r.Dataset + "." + r.Table
}

// sql is the quoted name.
func (r TableRef) sql() string {
	return quote(r.Project) + "." + quote(r.Dataset) + "." + quote(r.Table)
}

// quote makes a quoted identifier. Within one the escapes of string literals
// hold (GoogleSQL, lexical structure, quoted identifiers).
func quote(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`", "\n", "\\n", "\r", "\\r").Replace(name) + "`"
}

// literal makes a string literal.
func literal(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'", "\n", "\\n", "\r", "\\r").Replace(s) + "'"
}

// step is one field on the way to an id.
type step struct {
	name     string
	repeated bool
}

// path is the way from a row to its ids: fields separated by dots, of which
// repeated ones end in [].
type path []step

var fieldShape = regexp.MustCompile(`^[\pL_][\pL\pN_]*$`)

const maxField = 300 // characters

// parsePath reads a path such as euid, user.euid, ids[] or ids[].value.
func parsePath(s string) (path, error) {
	var p path
	for field := range strings.SplitSeq(s, ".") {
		name, repeated := strings.CutSuffix(field, "[]")
		if !fieldShape.MatchString(name) || utf8.RuneCountInString(name) > maxField {
			return nil, fmt.Errorf("%q is no path to a column, such as euid, user.euid or ids[].value", s)
		}
		p = append(p, step{name, repeated})
	}
	return p, nil
}

// CheckColumn tells what is wrong with a path to an id column, if anything.
func CheckColumn(s string) error {
	_, err := parsePath(s)
	return err
}

func (p path) String() string {
	var b strings.Builder
	for i, s := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.name)
		if s.repeated {
			b.WriteString("[]")
		}
	}
	return b.String()
}

// scalar tells whether each row has exactly one cell.
func (p path) scalar() bool {
	for _, s := range p {
		if s.repeated {
			return false
		}
	}
	return true
}

// cell is the expression of a cell of row t and the joins that it needs. A row
// without elements has no cell.
func (p path) cell() (expr, joins string) {
	expr = "t"
	n := 0
	for _, s := range p {
		expr += "." + quote(s.name)
		if !s.repeated {
			continue
		}
		alias := fmt.Sprintf("e%d", n)
		n++
		joins += fmt.Sprintf("\nCROSS JOIN UNNEST(%s) AS %s", expr, alias)
		expr = alias
	}
	return expr, joins
}

// root is the expression of what of row t decides its cells: the path up to
// the first repeated field.
func (p path) root() string {
	expr := "t"
	for _, s := range p {
		expr += "." + quote(s.name)
		if s.repeated {
			break
		}
	}
	return expr
}

// errName is a wrong name in the options of a table.
func errName(err error) error { return schemas.Errorf(schemas.Usage, "%v", err) }
