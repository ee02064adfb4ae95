// Package queries holds example queries over the run tables, as a compliance
// officer asks them. They are GoogleSQL with schemas.DatasetPlaceholder where
// the dataset belongs.
package queries

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Query is one example.
type Query struct {
	Name  string // of its file, without .sql
	About string // its first line: the question that it answers
	SQL   string // of the whole file; see schemas.InDataset
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
		first, _, _ := strings.Cut(string(sql), "\n")
		all = append(all, Query{Name: strings.TrimSuffix(name, ".sql"), About: strings.TrimPrefix(first, "-- "), SQL: string(sql)})
	}
	return all, nil
}
