package wire

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/jobs/config"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// RunOptions say how a run differs from the usual one.
type RunOptions struct {
	DryRun   bool     // the writing ends of the pipeline are exchanged for ones that only count
	Offline  bool     // nobody is asked: what earlier runs found is applied again
	PlanFile string   // keep to this plan; empty: list the tables anew
	Override []string // limits that the run is let past, of sweep.Overridable

	Scheduled time.Time // fire time of the schedule that started the run; zero: none did
}

// Run reconciles the job's tables and tells those about it that the job file
// names, unless it is a dry run. The report is empty if the run could not
// begin.
func Run(ctx context.Context, s System, job *config.Job, o RunOptions) (schemas.Report, error) {
	if o.DryRun || job.Signals.None() && s.Metrics == nil {
		return reconcile(ctx, s, job, o, nil)
	}
	return runTold(ctx, s, job, o, usual())
}

// reconcile is the run itself.
func reconcile(ctx context.Context, s System, job *config.Job, o RunOptions, begun func(sweep.Begun)) (rep schemas.Report, err error) {
	// The limit is on ids in memory; the collector gets the same figure, so
	// that garbage does not come on top of it.
	shared := s.memory
	if shared == nil {
		shared = new(memory)
	}
	defer shared.take(job.Limits.MemoryBytes)()

	workspace, err := sweep.OpenWorkspace(durable.Disk{}, job.Workspace, s.Now, s.owner(job))
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, workspace.Close()) }()

	ask := newAsked
	if o.Offline {
		ask = nobody
	}
	asked, err := ask(ctx, s, job)
	if err != nil {
		return rep, err
	}
	defer asked.close()
	release, err := leaseKey(s, job, asked)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, release()) }()

	stores, err := openTables(ctx, s, job)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	work := newJob(job, stores, asked.operator, o.DryRun)
	work.Started.Offline = o.Offline
	if o.PlanFile != "" {
		if work.Plan, work.Started.Plan, err = sweep.ReadPlan(o.PlanFile); err != nil {
			return rep, err
		}
	}
	me := s.owner(job)
	work.Override = sweep.Override{Limits: o.Override, User: userName(), Host: me.Host}
	list := sweep.ListSink(sweep.KeepList)
	if o.DryRun {
		list = sweep.PreviewList
	}
	rep, err = sweep.Run(ctx, work, sweep.Deps{
		Workspace: workspace, Checker: asked.checker, Canaries: asked.canaries, Retries: asked.retries,
		List: list, Progress: s.Progress, Log: s.Log, Now: s.Now, Begun: begun,
	})
	return rep, errors.Join(err, publishAfter(ctx, s, job, rep))
}

// newJob is what a run of the job has to do.
func newJob(job *config.Job, stores stores, operator schemas.Operator, dryRun bool) sweep.Job {
	l := job.Limits
	return sweep.Job{
		Started: schemas.RunStarted{
			Job: job.Name, ConfigDigest: job.Digest(), ToolVersion: Version(),
			Scope: job.Scope, Environment: job.Environment, Operator: operator, DryRun: dryRun,
		},
		Rules: job.Rules(), Tables: stores.tables(dryRun),
		Limits: sweep.Limits{
			MaxNewFlags: float64(l.MaxNewFlags) / 100, MaxQuarantined: float64(l.MaxQuarantined) / 100,
			MaxRowDrop: float64(l.MaxRowDrop) / 100, AllowZeroHits: l.AllowZeroHits,
		},
		MaxDuration: l.MaxDuration, Memory: l.MemoryBytes, Workers: workers(job),
	}
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

// The operators fit the seam.
var (
	_ sweep.Checker = (*operator.Client)(nil)
	_ sweep.Checker = (*embedded.Checker)(nil)
)
