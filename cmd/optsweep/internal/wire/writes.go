package wire

import (
	"fmt"

	"optsweep/connectors/operator"
	"optsweep/connectors/parquet"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// Writes says of each Parquet table what a run writes, where that is not a
// column of its files.
func Writes(job *config.Job) (lines []string) {
	for _, t := range job.Tables {
		if what := writes(t); what != "" {
			lines = append(lines, "table "+t.Name+": "+what)
		}
	}
	return lines
}

func writes(t config.Table) string {
	switch {
	case t.BigQuery != nil:
		return ""
	case t.Write.Mode == config.Suppression:
		return fmt.Sprintf("its files stay as they are; the opted-out ids go to %s", t.Write.Path)
	case t.Write.Mode == config.Remove && t.Write.Drop:
		return "opted-out rows are taken out of its files, and not kept"
	case t.Write.Mode == config.Remove:
		return fmt.Sprintf("opted-out rows are taken out of its files and kept in %s", t.Write.Path)
	}
	return ""
}

// Unremoved says of each table where an unflag leaves the rows that runs have
// taken out.
func Unremoved(job *config.Job) (lines []string) {
	for _, t := range job.Tables {
		where := t.Write.Path
		if t.BigQuery != nil {
			where = t.Write.Dataset
		}
		switch {
		case t.Write.Mode != config.Remove:
		case t.Write.Drop:
			lines = append(lines, fmt.Sprintf("rows that were taken out of table %s were not kept", t.Name))
		default:
			lines = append(lines, fmt.Sprintf("rows that were taken out of table %s stay in %s", t.Name, where))
		}
	}
	return lines
}

// doctorParquet finds out whether a table of Parquet files can be written as the
// job file says.
func doctorParquet(t *parquet.Table, c config.Table) (f Finding, ok bool) {
	what := writes(c)
	if what == "" {
		return f, false
	}
	f = Finding{Name: "write", Status: operator.OK, Detail: what}
	if err := t.CheckWrite(); err != nil {
		f.Status, f.Detail, f.Fix = operator.Fail, err.Error(), schemas.HintOf(err)
	}
	return f, true
}
