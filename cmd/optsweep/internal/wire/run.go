package wire

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/connectors/parquet"
	"optsweep/jobs/config"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Run reconciles the job's tables. In a dry run the writing ends of the
// pipeline are exchanged for ones that only count. The report is empty if the
// run could not begin.
func Run(ctx context.Context, s System, job *config.Job, dryRun bool) (rep schemas.Report, err error) {
	// The limit is on ids in memory; the collector gets the same figure, so
	// that garbage does not come on top of it.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(job.Limits.MemoryBytes))

	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, s.owner(job))
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()

	asked, err := newAsked(ctx, s, job)
	if err != nil {
		return rep, err
	}
	defer asked.close()
	release, err := leaseKey(s, job, asked)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, release()) }()

	tables, err := tables(job, dryRun)
	if err != nil {
		return rep, err
	}
	list := sweep.ListSink(sweep.KeepList)
	if dryRun {
		list = sweep.PreviewList
	}
	return sweep.Run(ctx, sweep.Job{
		Started: schemas.RunStarted{
			Job: job.Name, ConfigDigest: job.Digest(), ToolVersion: Version(),
			Scope: job.Scope, Environment: job.Environment, Operator: asked.operator, DryRun: dryRun,
		},
		Rules: job.Rules(), Tables: tables,
		MaxQuarantined: float64(job.Limits.MaxQuarantined) / 100, MaxNewFlags: float64(job.Limits.MaxNewFlags) / 100,
		MaxDuration: job.Limits.MaxDuration, Memory: job.Limits.MemoryBytes, Workers: workers(job),
	}, sweep.Deps{
		Workspace: workspace, Checker: asked.checker, Canaries: asked.canaries, Retries: asked.retries,
		List: list, Progress: s.Progress, Log: s.Log, Now: s.Now,
	})
}

func workers(job *config.Job) int {
	if job.Limits.Workers > 0 {
		return job.Limits.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// leaseKey makes sure that no other process on this machine asks with the same
// API key: the connection rule of a public operator holds for the key.
func leaseKey(s System, job *config.Job, a asked) (release func() error, err error) {
	if a.fingerprint == "" {
		return func() error { return nil }, nil
	}
	path, err := ledger.KeyLeasePath(os.TempDir(), a.fingerprint)
	if err != nil {
		return nil, err
	}
	lease, err := ledger.Acquire(path, "the API key "+a.operator.KeyName, s.owner(job))
	if err != nil {
		return nil, err
	}
	return lease.Release, nil
}

func tables(job *config.Job, dryRun bool) ([]sweep.Table, error) {
	var tables []sweep.Table
	for _, t := range job.Tables {
		table, err := parquet.New(parquet.Options{
			Table: t.Name, Path: t.Parquet.Path, IDColumn: t.Parquet.IDColumn, Column: t.Write.Column,
		})
		if err != nil {
			return nil, err
		}
		target := sweep.Target(table)
		if dryRun {
			target = previewer{table}
		}
		tables = append(tables, sweep.Table{Name: t.Name, Source: table, Target: target})
	}
	return tables, nil
}

// previewer computes what would be written and writes nothing.
type previewer struct{ table *parquet.Table }

func (p previewer) RemoveLeftovers([]schemas.Unit) error { return nil }

func (p previewer) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), _ func(schemas.Receipt) error) (schemas.Receipt, error) {
	return p.table.Preview(ctx, u, since)
}

// The connectors fit the seams.
var (
	_ sweep.Source  = (*parquet.Table)(nil)
	_ sweep.Target  = (*parquet.Table)(nil)
	_ sweep.Checker = (*operator.Client)(nil)
	_ sweep.Checker = (*embedded.Checker)(nil)
)
