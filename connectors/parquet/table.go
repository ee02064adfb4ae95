// Package parquet is a table of Parquet files: it reads the column of
// advertising ids and adds a nullable column with the time of each row's
// opt-out.
//
// A file with the column is the old file byte for byte, then the column's
// pages, then a footer spliced from the old one. Nothing but the id column is
// decoded, and cutting the new file at the old length gives the old file back.
// On a later run everything behind that length is replaced, so that the file
// does not grow with the number of runs.
//
// Sub-packages: footer (the splice), chunk (reading and writing pages), engines
// (copies of the schema in application metadata).
package parquet

import (
	"runtime"
	"strings"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// DefaultColumn is the name of the column that is added.
const DefaultColumn = "opted_out_since"

// Options describe a table.
type Options struct {
	Table    string // name of the table in the job file
	Path     string // a file or a glob with *, **, ?, [] and {}
	IDColumn string
	Column   string       // that is added; DefaultColumn if empty
	Workers  int          // row groups of one file treated at a time; GOMAXPROCS if 0
	Disk     durable.Disk // for tests
}

// Table is a set of Parquet files. It is safe for concurrent use on different
// units.
type Table struct{ Options }

// New checks the options.
func New(o Options) (*Table, error) {
	if o.Column == "" {
		o.Column = DefaultColumn
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Path == "":
		return nil, schemas.Errorf(schemas.Usage, "table %q has no path", o.Table)
	case o.IDColumn == "":
		return nil, schemas.Errorf(schemas.Usage, "table %q has no id column", o.Table)
	case strings.EqualFold(o.IDColumn, o.Column):
		return nil, schemas.Errorf(schemas.Usage, "table %q would write over its id column %q", o.Table, o.IDColumn)
	}
	return &Table{Options: o}, nil
}
