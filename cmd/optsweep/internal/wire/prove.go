package wire

import (
	"context"

	"optsweep/jobs/config"
	"optsweep/jobs/prove"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Prove tells what is known about an id. It asks no operator and changes
// nothing.
func Prove(ctx context.Context, s System, job *config.Job, id schemas.ID, scan bool) (schemas.Proof, error) {
	q := prove.Question{ID: id, Rules: job.Rules(), Workers: workers(job), Now: s.Now}
	if scan {
		stores, err := openTables(ctx, s, job)
		if err != nil {
			return schemas.Proof{}, err
		}
		defer func() { _ = stores.close() }()
		q.Tables = []prove.Table{}
		for _, t := range stores.tables(true) {
			q.Tables = append(q.Tables, prove.Table{Name: t.Name, Source: t.Source})
		}
	}
	return prove.Ask(ctx, sweep.Layout(job.Workspace), q)
}
