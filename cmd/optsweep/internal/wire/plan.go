package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Plan finds out what a run of the job would treat. It needs no key, asks
// nobody and writes nothing.
func Plan(ctx context.Context, s System, job *config.Job) (schemas.Plan, error) {
	stores, err := openTables(ctx, s, job)
	if err != nil {
		return schemas.Plan{}, err
	}
	defer func() { _ = stores.close() }()
	work := newJob(job, stores, schemas.Operator{Kind: string(job.Operator.Kind)}, false)
	pace := pace(job.Operator)
	pace.USDPerTiB = job.BigQuery.USDPerTiB
	return sweep.MakePlan(ctx, work, job.Workspace, pace, s.Now())
}

// pace is how large batches are, and how long one is assumed to take until a
// run has measured it.
func pace(o config.Operator) sweep.Pace {
	switch o.Kind {
	case config.Embedded:
		size, _ := new(embedded.Checker).Limits()
		return sweep.Pace{BatchIDs: size, BatchSeconds: 0.5}
	case config.Private:
		return sweep.Pace{BatchIDs: operator.MaxBatch, BatchSeconds: 1 / float64(o.Parallel)}
	default:
		return sweep.Pace{BatchIDs: operator.MaxBatch, BatchSeconds: 1}
	}
}

// WritePlan puts a plan into a file. It replaces an older plan and nothing
// else.
func WritePlan(path string, plan schemas.Plan) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if _, _, err := sweep.ReadPlan(path); err != nil {
			return schemas.Errorf(schemas.Usage, "%s exists and is not a plan", path).WithHint("name another file with --out")
		}
	}
	data, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	return durable.Disk{}.WriteFile(path, append(data, '\n'), 0o644)
}

// Overridable lists the limits that a single run can be let past.
func Overridable() []string { return sweep.Overridable() }
