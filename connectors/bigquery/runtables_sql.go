package bigquery

import (
	"fmt"
	"strings"

	"optsweep/schemas"
)

// swap puts the rows that a run has in one run table in place of those that it
// had there.
type swap struct {
	table schemas.RunTable
	into  TableRef
	from  *TableRef // what is staged; nil: no rows
	job   string
	run   schemas.RunRef
}

// where finds the rows of the run. The time is a constant, so that only one
// partition is read.
func (s swap) where() string {
	return fmt.Sprintf("job = %s AND run_id = %s AND %s = TIMESTAMP_MILLIS(%d)", literal(s.job), literal(s.run.ID), quote(s.table.Partition), s.run.StartedMS)
}

// columns lists the columns that this version knows.
func (s swap) columns() string {
	names := make([]string, len(s.table.Columns))
	for i, c := range s.table.Columns {
		names[i] = quote(c.Name)
	}
	return strings.Join(names, ", ")
}

// swapAll replaces the rows of a run in all run tables, at once.
func swapAll(swaps []swap) string {
	var b strings.Builder
	b.WriteString("BEGIN TRANSACTION;\n")
	for _, s := range swaps {
		fmt.Fprintf(&b, "DELETE FROM %s\nWHERE %s;\n", s.into.sql(), s.where())
		if s.from != nil {
			fmt.Fprintf(&b, "INSERT INTO %s (%s)\nSELECT %s\nFROM %s;\n", s.into.sql(), s.columns(), s.columns(), s.from.sql())
		}
	}
	b.WriteString("COMMIT TRANSACTION;")
	return b.String()
}

// differences counts by how many rows the run tables differ from what is
// staged.
func differences(swaps []swap) string {
	parts := make([]string, len(swaps))
	for i, s := range swaps {
		if s.from == nil {
			parts[i] = fmt.Sprintf("SELECT COUNT(*) AS n\nFROM %s\nWHERE %s", s.into.sql(), s.where())
			continue
		}
		parts[i] = fmt.Sprintf(`SELECT ABS((SELECT COUNT(*) FROM %s WHERE %s) - (SELECT COUNT(*) FROM %s))
  + (SELECT COUNT(*) FROM (SELECT %s FROM %s EXCEPT DISTINCT SELECT %s FROM %s WHERE %s)) AS n`,
			s.into.sql(), s.where(), s.from.sql(), s.columns(), s.from.sql(), s.columns(), s.into.sql(), s.where())
	}
	return "SELECT SUM(n) AS total\nFROM (\n" + strings.Join(parts, "\nUNION ALL\n") + "\n)"
}

// publishedRuns lists the runs of a job that are published.
func publishedRuns(runs TableRef, job string) string {
	return fmt.Sprintf("SELECT run_id, MAX(ledger_seq) AS ledger_seq\nFROM %s\nWHERE job = %s\nGROUP BY run_id", runs.sql(), literal(job))
}
