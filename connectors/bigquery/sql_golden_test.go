package bigquery

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the statements in testdata/sql anew")

// The files in testdata/sql show every statement for every kind of source.
func TestStatements(t *testing.T) {
	client := &Client{Connection: Connection{Now: func() time.Time { return started }, Staging: TableRef{Project: "p", Dataset: "staging"}}}
	for name, o := range map[string]Options{
		"simple":    {Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"euid"}},
		"struct":    {Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"user.ids.euid"}},
		"repeated":  {Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"ids[].value"}},
		"nested":    {Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"a.b[].c[]"}},
		"several":   {Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"main", "user.second", "ids[]"}},
		"odd_names": {Ref: TableRef{"example.com:project-1", "d_1", "Kunden – 2026 ä"}, IDColumns: []string{"größe"}},
		"filtered": {
			Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"euid"},
			Partitions: []string{"day = DATE '2026-01-01' -- the first", "day > \"2026-01-01\" OR name = 'it\\'s'"}, Filter: "country <> 'X' # not these",
		},
		"filtered_repeated": {
			Ref: TableRef{"p", "d", "crm"}, IDColumns: []string{"main", "ids[]"},
			Partitions: []string{"day = DATE '2026-01-01'", "day IS NULL"}, Filter: "TRUE -- all",
		},
		"query": {Query: "SELECT id AS euid FROM x -- all of it", IDColumns: []string{"euid"}},
	} {
		t.Run(name, func(t *testing.T) {
			o.Table = "crm"
			o.Write = Write{Mode: Suppression, Dataset: TableRef{Project: "p", Dataset: "own"}}
			table, err := New(client, o)
			if err != nil {
				t.Fatal(err)
			}
			got := statements(table)
			path := filepath.Join("testdata", "sql", name+".sql")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; write it anew with -update and look at the difference:\n%s", path, got)
			}
		})
	}
}

// statements are those of a table, each under its name.
func statements(t *Table) string {
	var b strings.Builder
	add := func(name, sql string) { fmt.Fprintf(&b, "-- %s\n%s;\n\n", name, strings.TrimSuffix(sql, ";")) }
	s := t.source(t.parts()[0].predicate)
	list, hits, matches := t.suppression(), TableRef{"p", "staging", "hits"}, TableRef{"p", "staging", "hits_rows"}
	kept, column, run := TableRef{"p", "own", "removed"}, "opted_out_since", "20260301T040000.000Z"
	rows := hits
	if !s.simple() {
		rows = matches
	}
	add("stage, no flags yet", s.stageColumn(""))
	if t.Query == "" {
		add("stage, flag column", s.stageColumn(column))
	}
	add("stage, suppression table", s.stageSuppression(list, "euid"))
	add("count staged ids", totals(TableRef{"p", "staging", "ids"}))
	add("stage, with what was written since", written(TableRef{"p", "staging", "ids"}, hits))
	add("count cells", s.count())
	add("suppress", mergeSuppression(list, hits, "euid", run, 1772337600000))
	add("take off the suppression table", clearSuppression(list, hits, "euid"))
	add("confirm suppression", suppressed(list, hits, "euid"))
	if t.Query != "" {
		return b.String()
	}
	if !s.simple() {
		add("match", s.matches(hits))
	}
	add("flag", s.mergeColumn(rows, column))
	add("take flags away", s.clearColumn(rows, column))
	add("confirm flags", s.flags(hits, column))
	add("remove, with copies", s.remove(rows, &kept, []string{"row", "euid", "größe"}, run))
	add("remove, without copies", s.remove(rows, nil, nil, run))
	add("confirm removal", s.left(hits))
	add("confirm quarantine", s.removed(kept, hits, run))
	add("view of active rows", t.everything().view(list, "euid", true))
	add("view of suppressed rows", t.everything().view(list, "euid", false))
	return b.String()
}
