package schemas

import (
	"slices"
	"unicode/utf8"
)

// RunTablesSchema names the version of the run tables, which tell in a
// warehouse what runs found and did. Columns are only ever added, nullable and
// at the end of a table, under the same name.
const RunTablesSchema = "optsweep.runtables.v1"

// RunTablesRevision counts how often columns were added, from 1. The columns of
// each revision are kept in runtables/rN.txt.
const RunTablesRevision = 2

// Names of the run tables.
const (
	RunsTable       = "optsweep_runs"
	TablesTable     = "optsweep_tables"
	BatchesTable    = "optsweep_batches"
	QuarantineTable = "optsweep_quarantine"
	OptOutsTable    = "optsweep_optouts"
)

// ColumnType says what the values of a column are.
type ColumnType string

// Types of columns, and of their values in Go. NULL is nil.
const (
	StringColumn    ColumnType = "string"    // string, valid UTF-8
	Int64Column     ColumnType = "int64"     // int64
	Float64Column   ColumnType = "float64"   // float64
	BoolColumn      ColumnType = "bool"      // bool
	TimestampColumn ColumnType = "timestamp" // int64: Unix time in ms
)

// RunColumn is one column of a RunTable.
type RunColumn struct {
	Name     string
	Type     ColumnType
	Nullable bool
	Doc      string // one or two sentences
}

// RunTable describes a run table. It holds no ids: pseudonyms only.
type RunTable struct {
	Name      string
	Schema    string // RunTablesSchema
	Doc       string
	Columns   []RunColumn // in the order of a row's values
	Key       []string    // what tells two rows apart; a run's rows are replaced together
	Partition string      // the timestamp by whose day the table is cut; the same in all rows of a run
	Cluster   []string    // four columns at most
}

// RunTables describes all run tables.
func RunTables() []RunTable {
	return []RunTable{runsTable(), tablesTable(), batchesTable(), quarantineTable(), optOutsTable()}
}

// RunTableNamed describes one run table.
func RunTableNamed(name string) (RunTable, error) {
	var names []string
	for _, t := range RunTables() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return RunTable{}, Errorf(Usage, "there is no run table %q", name).WithHint("there are %q", names)
}

// Index is the position of a column, or -1.
func (t RunTable) Index(column string) int {
	return slices.IndexFunc(t.Columns, func(c RunColumn) bool { return c.Name == column })
}

// Row puts values into the order of the columns. Columns without a value are
// NULL.
func (t RunTable) Row(values map[string]any) ([]any, error) {
	row := make([]any, len(t.Columns))
	for name, v := range values {
		i := t.Index(name)
		if i < 0 {
			return nil, Errorf(Failed, "%s has no column %s", t.Name, name)
		}
		row[i] = v
	}
	return row, t.Check(row)
}

// Check tells whether row is one of this table: the number and the types of
// its values, and no NULL where none may be.
func (t RunTable) Check(row []any) error {
	if len(row) != len(t.Columns) {
		return Errorf(Failed, "%s: a row has %d values, want %d", t.Name, len(row), len(t.Columns))
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; !c.takes(row[i]) {
			return Errorf(Failed, "%s: column %s takes no %T", t.Name, c.Name, row[i])
		}
	}
	return nil
}

func (c *RunColumn) takes(v any) bool {
	ok := false
	switch v := v.(type) {
	case nil:
		ok = c.Nullable
	case string:
		ok = c.Type == StringColumn && utf8.ValidString(v)
	case int64:
		ok = c.Type == Int64Column || c.Type == TimestampColumn
	case float64:
		ok = c.Type == Float64Column
	case bool:
		ok = c.Type == BoolColumn
	}
	return ok
}
