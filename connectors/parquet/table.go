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
// The id column may be nested in structs, and in lists: a row then has any number
// of ids, and is flagged if one of them is opted out, with the earliest time. In
// the counts of cells such a row stands for as many as it has elements, and for
// one NULL if it has none; flags are counted by rows.
//
// In mode suppression the files stay as they are, and the ids go to a sorted
// list beside them; in mode remove the rows are taken out, into a quarantine.
//
// Sub-packages: footer (the splice), chunk (reading and writing pages), engines
// (copies of the schema in application metadata).
package parquet

import (
	"runtime"
	"strings"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// DefaultColumn is the name of the column that is added.
const DefaultColumn = "opted_out_since"

// FlagType is a type that the added column can have.
type FlagType = footer.FlagType

// Types of the added column, which is nullable.
const (
	Timestamp = footer.Timestamp // TIMESTAMP(ms, UTC)
	Integer   = footer.Integer   // INT64, ms since 1970
)

// Mode says how opt-outs are written back.
type Mode string

// The modes.
const (
	Column      Mode = "column"      // a nullable timestamp column of each file
	Suppression Mode = "suppression" // a list of the ids beside the table, which stays as it is
	Remove      Mode = "remove"      // the rows are taken out
)

// Options describe a table.
type Options struct {
	Table      string // name of the table in the job file
	Path       string // a file or a glob with *, **, ?, [] and {}
	IDColumn   string // its name, or a path such as user.euid or ids[].value
	IDEncoding Encoding
	Scope      schemas.Scope // of the ids
	Mode       Mode          // Column if empty
	Column     string        // mode column: that is added; DefaultColumn if empty
	Type       FlagType      // of that column; Timestamp if empty
	List       string        // mode suppression: the file of the list
	Removed    string        // mode remove: folder for the removed rows; empty: they are dropped
	Workers    int           // row groups of one file treated at a time; GOMAXPROCS if 0
	Disk       durable.Disk  // for tests
}

// Table is a set of Parquet files. It is safe for concurrent use on different
// units.
type Table struct {
	Options
	own listing // mode suppression
}

// New checks the options.
func New(o Options) (*Table, error) {
	if o.Mode == "" {
		o.Mode = Column
	}
	if o.Column == "" {
		o.Column = DefaultColumn
	}
	if o.Type == "" {
		o.Type = footer.Timestamp
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Path == "":
		return nil, schemas.Errorf(schemas.Usage, "table %q has no path", o.Table)
	case o.IDColumn == "":
		return nil, schemas.Errorf(schemas.Usage, "table %q has no id column", o.Table)
	case o.IDEncoding != "" && o.IDEncoding != Base64 && o.IDEncoding != Binary:
		return nil, schemas.Errorf(schemas.Usage, "table %q has ids in an unknown encoding %q", o.Table, o.IDEncoding)
	case o.Type != footer.Timestamp && o.Type != footer.Integer:
		return nil, schemas.Errorf(schemas.Usage, "table %q would write a column of an unknown type %q", o.Table, o.Type)
	case o.Mode == Suppression && o.List == "":
		return nil, schemas.Errorf(schemas.Usage, "table %q has no file for its suppression list", o.Table)
	case o.Mode == Column && strings.EqualFold(o.IDColumn, o.Column):
		return nil, schemas.Errorf(schemas.Usage, "table %q would write over its id column %q", o.Table, o.IDColumn)
	}
	return &Table{Options: o}, nil
}
