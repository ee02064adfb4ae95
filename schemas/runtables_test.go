package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the published schemas in runtables anew")

// The files in runtables are what users take away. Changing a column that is
// already there breaks their warehouses; adding one is fine.
func TestPublishedSchemas(t *testing.T) {
	for _, table := range RunTables() {
		bigQuery, err := table.BigQuerySchema()
		if err != nil {
			t.Fatal(err)
		}
		object, err := table.JSONSchema()
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string][]byte{
			".bigquery.json": bigQuery, ".sql": []byte(table.BigQueryDDL()), ".schema.json": object,
			".ddl.sql": []byte(table.SQLDDL()), ".parquet.txt": []byte(table.ParquetSchema()),
		} {
			path := filepath.Join("runtables", table.Name+name)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what the table's description gives; if that is meant: go test ./schemas -update", path)
			}
		}
	}
}

// The columns of every revision, one a line: table, column, type, and whether
// it may be NULL. What a revision has, all later ones have in the same place;
// what they add comes behind it and may be NULL.
func TestRevisionsOnlyAddNullableColumns(t *testing.T) {
	now := map[string][]string{}
	var all strings.Builder
	for _, table := range RunTables() {
		for _, c := range table.Columns {
			line := fmt.Sprintf("%s %s %s %s", table.Name, c.Name, c.Type, map[bool]string{true: "nullable", false: "required"}[c.Nullable])
			now[table.Name] = append(now[table.Name], line)
			all.WriteString(line + "\n")
		}
	}
	for n := 1; n <= RunTablesRevision; n++ {
		path := filepath.Join("runtables", fmt.Sprintf("r%d.txt", n))
		if _, err := os.Stat(path); *update && n == RunTablesRevision && errors.Is(err, fs.ErrNotExist) {
			if err := os.WriteFile(path, []byte(all.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n == RunTablesRevision && string(data) != all.String() {
			t.Errorf("the columns are not those of revision %d; if they may change: raise RunTablesRevision and go test ./schemas -update", n)
		}
		then := map[string][]string{}
		for line := range strings.Lines(string(data)) {
			name, _, _ := strings.Cut(line, " ")
			then[name] = append(then[name], strings.TrimSuffix(line, "\n"))
		}
		for name, columns := range then {
			if len(now[name]) < len(columns) || !slices.Equal(now[name][:len(columns)], columns) {
				t.Errorf("%s: the columns of revision %d were changed", name, n)
				continue
			}
			for _, line := range now[name][len(columns):] {
				if !strings.HasSuffix(line, " nullable") {
					t.Errorf("revision %d has no %q: it must be nullable", n, line)
				}
			}
		}
	}
}

// keywords are those of GoogleSQL that cannot name a column, and a few of
// other engines.
const keywords = ` all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube current default
 define desc distinct else end enum escape except exclude exists extract false fetch following for from full group grouping groups hash having
 if ignore in inner intersect interval into is join lateral left like limit lookup merge natural new no not null nulls of on or order outer over
 partition preceding proto qualify range recursive respect right rollup rows select set some struct tablesample then to treat true unbounded
 union unnest using when where window with within table row user key index start check constraint values `

func TestRunTablesAreDescribedInFull(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	// Prints as it is within a quoted string of SQL and JSON.
	sentence := regexp.MustCompile(`^[ -!#-\[\]-~]{9,1000}\.$`)
	names := map[string]bool{}
	for _, table := range RunTables() {
		if !strings.HasPrefix(table.Name, "optsweep_") || names[table.Name] || table.Schema != RunTablesSchema || !sentence.MatchString(table.about()) {
			t.Errorf("table %s: %q, %s", table.Name, table.about(), table.Schema)
		}
		names[table.Name] = true
		seen := map[string]bool{}
		for _, c := range table.Columns {
			if !name.MatchString(c.Name) || seen[c.Name] || strings.Contains(keywords, " "+c.Name+" ") {
				t.Errorf("%s has a column %q", table.Name, c.Name)
			}
			seen[c.Name] = true
			if !sentence.MatchString(c.Doc) {
				t.Errorf("%s.%s says %q", table.Name, c.Name, c.Doc)
			}
			if c.Type == Float64Column && !strings.HasSuffix(c.Name, "_seconds") {
				t.Errorf("%s.%s does not name its unit", table.Name, c.Name)
			}
			if at := strings.HasSuffix(c.Name, "_at") || strings.HasSuffix(c.Name, "_since"); at != (c.Type == TimestampColumn) {
				t.Errorf("%s.%s is a %s", table.Name, c.Name, c.Type)
			}
		}
		for _, c := range slices.Concat(table.Key, table.Cluster, []string{table.Partition, "job", "run_id"}) {
			if table.Index(c) < 0 {
				t.Errorf("%s has no column %s", table.Name, c)
			}
		}
		if p := table.Columns[table.Index(table.Partition)]; p.Type != TimestampColumn || p.Nullable || len(table.Cluster) > 4 {
			t.Errorf("%s is cut by %+v and %v", table.Name, p, table.Cluster)
		}
		if named, err := RunTableNamed(table.Name); err != nil || named.Doc != table.Doc {
			t.Errorf("%s: %v", table.Name, err)
		}
	}
	if _, err := RunTableNamed("runs"); ClassOf(err) != Usage || !strings.Contains(HintOf(err), RunsTable) {
		t.Errorf("%v, %s", err, HintOf(err))
	}
}

func TestRowFitsItsTable(t *testing.T) {
	table := RunTable{Name: "x", Columns: []RunColumn{
		required("s", StringColumn, ""), nullable("i", Int64Column, ""), nullable("f", Float64Column, ""), nullable("b", BoolColumn, ""), nullable("t", TimestampColumn, ""),
	}}
	row, err := table.Row(map[string]any{"t": int64(5), "b": false, "s": ""})
	if err != nil || !slices.Equal(row, []any{"", nil, nil, false, int64(5)}) {
		t.Errorf("%v, %v", row, err)
	}
	for want, values := range map[string]map[string]any{
		"x has no column n":               {"s": "", "n": nil},
		"x: column s takes no <nil>":      {},
		"x: column s takes no string":     {"s": "\xff"},
		"x: column i takes no int":        {"s": "", "i": 1},
		"x: column f takes no int64":      {"s": "", "f": int64(1)},
		"x: column b takes no string":     {"s": "", "b": "true"},
		"x: column t takes no float64":    {"s": "", "t": 1.0},
		"x: column s takes no schemas.ID": {"s": ID{}},
	} {
		if _, err := table.Row(values); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := table.Check(row[1:]); err == nil || err.Error() != "x: a row has 4 values, want 5" {
		t.Error(err)
	}
}

func TestJSONSchemaNamesColumnsInOrder(t *testing.T) {
	data, err := tablesTable().JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Properties map[string]struct{ Type any }
		Required   []string
	}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, c := range tablesTable().Columns {
		i := bytes.Index(data[at:], []byte(`"`+c.Name+`": {`))
		if i < 0 {
			t.Fatalf("%s is not where it belongs", c.Name)
		}
		at += i
		if slices.Contains(object.Required, c.Name) == c.Nullable || object.Properties[c.Name].Type == nil {
			t.Errorf("%s: %v", c.Name, object.Properties[c.Name])
		}
	}
}

func TestInDataset(t *testing.T) {
	for _, good := range []string{"ops", "my-project.ops", "example.com:proj.ops_1"} {
		if got, err := InDataset("FROM `${dataset}.a`, `${dataset}.b`", good); err != nil || got != "FROM `"+good+".a`, `"+good+".b`" {
			t.Errorf("%s, %v", got, err)
		}
	}
	for _, bad := range []string{"", "a b", "a`b", "a.b-c", ".a", "a;b", "a.b.", "a\n"} {
		if _, err := InDataset("x", bad); ClassOf(err) != Usage || err == nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
