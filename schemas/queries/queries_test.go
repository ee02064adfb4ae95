package queries

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"
)

// dialect are the words that differ between the two.
var dialect = regexp.MustCompile(`(?i)\b(TIMESTAMP_SUB|CURRENT_TIMESTAMP|now|TIMESTAMP_DIFF|epoch_ms|SECOND|DATE_DIFF|DATE_TRUNC|ISOWEEK|week|DATE|DAY|INT64|BIGINT|CAST|AS|[0-9]+)\b|'[a-z]+'`)

// shared are the words that a query must have in either dialect, in order of
// the alphabet: a function may take its arguments the other way round.
func shared(sql string) []string {
	words := regexp.MustCompile(`[A-Za-z_]+`).FindAllString(dialect.ReplaceAllString(sql, " "), -1)
	slices.Sort(words)
	return words
}

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
	views, err := DuckDBViews()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range schemas.RunTables() {
		if strings.Count(views, "VIEW "+table.Name+" AS SELECT * FROM read_parquet('"+table.Name+"/*.parquet', union_by_name = true);\n") != 1 {
			t.Errorf("there is no view %s for DuckDB", table.Name)
		}
	}
	for _, q := range all {
		// What the dialects share must be the same: the question and the columns.
		if !strings.HasPrefix(q.DuckDB, "-- "+q.About+"\n") || strings.ContainsAny(q.DuckDB, "`$") {
			t.Errorf("%s: DuckDB is asked something else", q.Name)
		}
		if got, want := shared(q.DuckDB), shared(strings.ReplaceAll(q.SQL, "`"+schemas.DatasetPlaceholder+".", "`")); !slices.Equal(got, want) {
			t.Errorf("%s: DuckDB is asked about %q, BigQuery about %q", q.Name, got, want)
		}
	}
	if len(used) != len(schemas.RunTables()) {
		t.Errorf("used are only %v", used)
	}
	if !slices.IsSorted(names) || len(names) < 8 {
		t.Error(names)
	}
}
