package queries

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"
)

// Each query says what it answers, and names only tables and columns that
// there are. Whether it runs, a warehouse has to tell.
func TestQueriesFitTheRunTables(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	used := map[string]bool{}
	for _, q := range all {
		names = append(names, q.Name)
		if !strings.HasPrefix(q.SQL, "-- "+q.About+"\n") || len(q.About) < 20 || !strings.HasSuffix(q.SQL, "\n") || strings.Contains(q.SQL, ";\n") {
			t.Errorf("%s: %q", q.Name, q.About)
		}
		columns := map[string]schemas.RunTable{} // by alias
		tables := regexp.MustCompile("`"+regexp.QuoteMeta(schemas.DatasetPlaceholder)+`\.([a-z_]+)`+"`"+`(?: AS ([a-z]+))?`).FindAllStringSubmatch(q.SQL, -1)
		if len(tables) == 0 || len(tables) != strings.Count(q.SQL, "$") {
			t.Errorf("%s: not every table is in the dataset", q.Name)
		}
		for _, m := range tables {
			table, err := schemas.RunTableNamed(m[1])
			if err != nil {
				t.Errorf("%s: %v", q.Name, err)
			}
			used[m[1]] = true
			if m[2] != "" {
				columns[m[2]] = table
			}
		}
		for _, m := range regexp.MustCompile(`\b([a-z]+)\.([a-z_]+)\b`).FindAllStringSubmatch(q.SQL, -1) {
			if table, ok := columns[m[1]]; ok && table.Index(m[2]) < 0 {
				t.Errorf("%s: %s has no column %s", q.Name, table.Name, m[2])
			}
		}
		if sql, err := schemas.InDataset(q.SQL, "p.d"); err != nil || strings.Contains(sql, "$") || !strings.Contains(sql, "`p.d.optsweep_") {
			t.Errorf("%s: %v", q.Name, err)
		}
	}
	if len(used) != len(schemas.RunTables()) {
		t.Errorf("used are only %v", used)
	}
	if !slices.IsSorted(names) || len(names) < 8 {
		t.Error(names)
	}
}
