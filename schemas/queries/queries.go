// Package queries holds example queries over the run tables, as a compliance
// officer asks them: in GoogleSQL, with schemas.DatasetPlaceholder where the
// dataset belongs, and the same in DuckDB over the views that views.sql makes
// of Parquet files.
package queries

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.sql duckdb/*.sql
var files embed.FS

// Query is one example.
type Query struct {
	Name   string // of its file, without .sql
	About  string // its first line: the question that it answers
	SQL    string // of the whole file; see schemas.InDataset
	DuckDB string // the same in the dialect of DuckDB
}

// All gives the examples in the order of their names.
func All() ([]Query, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []Query
	for _, name := range names {
		sql, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		duckDB, err := files.ReadFile("duckdb/" + name)
		if err != nil {
			return nil, err
		}
		first, _, _ := strings.Cut(string(sql), "\n")
		all = append(all, Query{
			Name: strings.TrimSuffix(name, ".sql"), About: strings.TrimPrefix(first, "-- "), SQL: string(sql), DuckDB: string(duckDB),
		})
	}
	return all, nil
}

// DuckDBViews are the statements that make the views for DuckDB, of the files
// in the current folder.
func DuckDBViews() (string, error) {
	sql, err := files.ReadFile("duckdb/views.sql")
	return string(sql), err
}
