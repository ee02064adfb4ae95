package wire

import (
	"context"
	"time"

	"optsweep/connectors/bigquery"
	"optsweep/connectors/operator"
	"optsweep/connectors/parquet"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// TableFinding is a check of Doctor; of one of a table it names the table.
type TableFinding struct {
	Table string `json:"table,omitempty"`
	Finding
}

// doctorTime bounds the checks of all tables.
const doctorTime = 5 * time.Minute

// Doctor finds out whether the job's operator can be asked, whether its tables
// of BigQuery can be treated, and whether there is place for what is written
// beside Parquet files.
func Doctor(ctx context.Context, s System, job *config.Job) (findings []TableFinding) {
	for _, f := range doctorOperator(ctx, s, job) {
		findings = append(findings, TableFinding{Finding: f})
	}
	stores, err := openTables(ctx, s, job)
	if err != nil {
		return append(findings, TableFinding{Finding: Finding{Name: "tables", Status: operator.Fail, Detail: err.Error(), Fix: schemas.HintOf(err)}})
	}
	defer func() { _ = stores.close() }()
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	for i, t := range stores.list {
		if p, ok := t.(*parquet.Table); ok {
			if f, ok := doctorParquet(p, job.Tables[i]); ok {
				findings = append(findings, TableFinding{stores.names[i], f})
			}
		}
		b, ok := t.(*bigquery.Table)
		if !ok {
			continue
		}
		for _, f := range b.Doctor(ctx) {
			findings = append(findings, TableFinding{stores.names[i], Finding{Name: f.Name, Status: operator.Status(f.Status), Detail: f.Detail, Fix: f.Fix}})
		}
	}
	return findings
}
