package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// Names in the folder of a run.
const (
	planFile      = "plan.json"
	reportFile    = "report.json"
	extractLog    = "extract.ndjson"
	checkLog      = "check.ndjson"
	reapplyLog    = "reapply.ndjson"
	applyLog      = "apply.ndjson"
	extractDir    = "extract"
	shardsDir     = "shards"
	quarantineDir = "quarantine"
	spillDir      = "spill"
)

// run is one run under way.
type run struct {
	job     Job
	deps    Deps
	id      string
	dir     string
	started time.Time
	units   []schemas.Unit // of all tables, in the order of the job

	extracted  *schemas.Extracted
	checked    *schemas.Checked
	suppressed *schemas.SuppressionUpdated
	failed     map[unitKey]bool // units that this run cannot treat
	answers    []answered       // of this run's batches, in order; nil: they are only in the journal
	stoppedBy  string           // the limit that stopped the run; empty once it goes on

	applySeconds float64
	finished     bool
}

type unitKey struct{ table, unit string }

func keyOf(u schemas.Unit) unitKey { return unitKey{u.Table, u.Name} }

func (r *run) now() time.Time { return r.deps.Now() }

func (r *run) path(name ...string) string {
	return filepath.Join(append([]string{r.dir}, name...)...)
}

func (r *run) append(typ schemas.EventType, data any) error {
	return r.deps.Workspace.append(r.id, typ, data)
}

func (r *run) events() []schemas.Event { return r.deps.Workspace.last }

// begin takes up the unfinished run of the workspace or starts a new one.
func begin(ctx context.Context, job Job, deps Deps) (*run, error) {
	if err := deps.Workspace.settle(); err != nil {
		return nil, err
	}
	if job.Started.Offline {
		if err := deps.Workspace.knowsSomething(); err != nil {
			return nil, err
		}
	}
	r := &run{job: job, deps: deps, failed: map[unitKey]bool{}}
	unfinished, why := r.loadUnfinished(), ""
	if unfinished {
		var err error
		if why, err = r.unfit(ctx); err != nil {
			return nil, err
		}
		if why == "" {
			deps.Log.Info("going on with an unfinished run", "run", r.id, "started", r.started)
			if err := r.append(schemas.EventRunResumed, struct{}{}); err != nil {
				return nil, err
			}
			return r, r.pinOwn()
		}
	}
	if err := job.keepsToPlan(ctx); err != nil {
		return nil, err
	}
	if unfinished {
		deps.Log.Warn("giving up an unfinished run", "run", r.id, "reason", why)
		ended := schemas.RunEnded{Status: schemas.StatusAbandoned, Message: why}
		if r.stoppedBy != "" {
			ended.Status = schemas.StatusStopped
		}
		if err := r.append(schemas.EventRunAbandoned, ended); err != nil {
			return nil, err
		}
	}
	return start(job, deps)
}

// loadUnfinished reads the state of the last run from the ledger and tells
// whether it has not ended.
func (r *run) loadUnfinished() bool {
	for _, e := range r.events() {
		r.id = e.Run
		switch e.Type {
		case schemas.EventRunStarted:
			r.started = e.Time
		case schemas.EventExtracted:
			r.extracted = new(schemas.Extracted)
			_ = json.Unmarshal(e.Data, r.extracted)
		case schemas.EventChecked:
			r.checked = new(schemas.Checked)
			_ = json.Unmarshal(e.Data, r.checked)
		case schemas.EventSuppressionUpdated:
			r.suppressed = new(schemas.SuppressionUpdated)
			_ = json.Unmarshal(e.Data, r.suppressed)
		case schemas.EventUnitFailed:
			var f schemas.UnitFailed
			_ = json.Unmarshal(e.Data, &f)
			r.failed[unitKey{f.Table, f.Unit}] = true
		case schemas.EventLimitHit:
			var hit schemas.LimitHit
			_ = json.Unmarshal(e.Data, &hit)
			r.stoppedBy = hit.Limit
		case schemas.EventRunResumed:
			r.stoppedBy = ""
		case schemas.EventRunFinished, schemas.EventRunAbandoned:
			return false
		}
	}
	r.dir = r.deps.Workspace.runDir(r.id)
	return r.id != ""
}

// unfit says why the unfinished run cannot be taken up, or nothing.
func (r *run) unfit(ctx context.Context) (string, error) {
	var before schemas.RunStarted
	if err := json.Unmarshal(r.events()[0].Data, &before); err != nil {
		return "", err
	}
	switch now := r.job.Started; {
	case before.ConfigDigest != now.ConfigDigest:
		return "the job file has changed", nil
	case before.DryRun != now.DryRun:
		return "one is a dry run, the other is not", nil
	case before.Offline != now.Offline:
		return "one asks the operator, the other is offline", nil
	case before.Plan != now.Plan:
		return "they do not keep to the same plan", nil
	case before != now:
		return "the version of optsweep or the operator has changed", nil
	case r.ownChanged() != "":
		return r.ownChanged(), nil
	case r.now().Sub(r.started) >= r.job.MaxDuration:
		return "it is older than max_duration", nil
	case r.stoppedBy != "" && r.stoppedBy != maxDuration && !slices.Contains(r.job.Override.Limits, r.stoppedBy):
		return "it was stopped by " + r.stoppedBy, nil
	}
	p, err := r.loadPlan()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // killed before the plan was made
	}
	if err != nil {
		return err.Error(), nil
	}
	passes, err := r.loadPasses()
	if err != nil {
		return "", err
	}
	for _, u := range p.Units {
		if r.failed[keyOf(u)] {
			continue
		}
		same, err := r.same(ctx, u, passes)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil || !same {
			return fmt.Sprintf("%s, %s has changed since it was planned", u.Table, u.Name), nil
		}
	}
	return "", nil
}

// same tells whether a unit is still what the run has planned or made of it.
func (r *run) same(ctx context.Context, u schemas.Unit, passes []applied) (bool, error) {
	source := r.source(u.Table)
	if p, ok := source.(Pinner); ok {
		if pinned, err := p.Pinned(ctx, u); pinned || err != nil {
			return pinned, err
		}
	}
	version, err := source.Version(ctx, u)
	return slices.Contains(versions(u, passes), version), err
}

// start makes a new run.
func start(job Job, deps Deps) (*run, error) {
	ws := deps.Workspace
	now := deps.Now().UTC().Truncate(time.Millisecond)
	if err := ws.dropIDs(now); err != nil {
		return nil, err
	}
	id := now.Format(runIDLayout)
	r := &run{job: job, deps: deps, id: id, dir: ws.runDir(id), started: now, failed: map[unitKey]bool{}}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	if err := ws.disk.SyncDir(filepath.Dir(r.dir)); err != nil {
		return nil, err
	}
	deps.Log.Info("starting a run", "run", id, "job", job.Started.Job, "dry_run", job.Started.DryRun)
	if err := r.append(schemas.EventRunStarted, job.Started); err != nil {
		return nil, err
	}
	return r, r.pinOwn()
}

// runIDLayout makes the id of a run out of its start, so that ids sort by time.
const runIDLayout = "20060102T150405.000Z"

// keepIDs is how long the ids that a run asked about are kept, to be able to
// tell a person what was asked about them.
const keepIDs = 30 * 24 * time.Hour

// rememberExtracted notes that a run has extracted.
func (w *Workspace) rememberExtracted(run string) error {
	var v schemas.RunStarted
	if err := json.Unmarshal(w.last[0].Data, &v); err != nil {
		return err
	}
	if w.extracted == nil {
		w.extracted = map[string]string{}
	}
	w.extracted[v.Job] = run
	return nil
}

// dropIDs removes what runs need no more: the ids of each unit, except those of
// the last run of each job that extracted, which the next one may use again,
// and after keepIDs these and the shards too.
func (w *Workspace) dropIDs(now time.Time) error {
	if err := w.fence.Check(); err != nil {
		return err
	}
	runs, err := os.ReadDir(filepath.Join(w.dir, runsDir))
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, run := range w.extracted {
		kept[run] = true
	}
	for _, e := range runs {
		names := []string{spillDir}
		started, err := time.Parse(runIDLayout, e.Name())
		old := err == nil && now.Sub(started) > keepIDs
		if old {
			names = append(names, shardsDir)
		}
		if old || !kept[e.Name()] {
			names = append(names, extractDir)
		}
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(w.dir, runsDir, e.Name(), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) source(table string) Source {
	for _, t := range r.job.Tables {
		if t.Name == table {
			return t.Source
		}
	}
	return missingTable{table}
}

// missingTable stands for a table that an old plan names and the job does not.
type missingTable struct{ name string }

func (m missingTable) err() error { return fmt.Errorf("the job has no table %q", m.name) }

func (m missingTable) Plan(context.Context) ([]schemas.Unit, []schemas.UnitFailure, error) {
	return nil, nil, m.err()
}

func (m missingTable) Version(context.Context, schemas.Unit) (string, error) { return "", m.err() }

func (m missingTable) Scan(context.Context, schemas.Unit, func(schemas.Cells) error) error {
	return m.err()
}

func (m missingTable) Apply(context.Context, schemas.Unit, func([]byte) (int64, bool), func(schemas.Receipt) error) (schemas.Receipt, error) {
	return schemas.Receipt{}, m.err()
}

func (m missingTable) RemoveLeftovers([]schemas.Unit) error { return m.err() }

// openJournal opens a journal of the run and passes its events to each.
func (r *run) openJournal(name string, each func(schemas.Event) error) (journal, error) {
	w := r.deps.Workspace
	if err := w.fence.Check(); err != nil {
		return journal{}, err
	}
	chain, err := ledger.OpenOrCreate(w.disk, r.path(name), r.deps.Now, each)
	return journal{chain, w.fence}, err
}

// fail records a unit that this run cannot treat; the others go on.
func (r *run) fail(phase string, f schemas.UnitFailure) error {
	r.failed[unitKey{f.Table, f.Unit}] = true
	r.deps.Log.Error("a unit failed", "phase", phase, "table", f.Table, "unit", f.Unit, "error", f.Error)
	return r.append(schemas.EventUnitFailed, schemas.UnitFailed{Phase: phase, UnitFailure: f})
}

func failure(u schemas.Unit, err error) schemas.UnitFailure {
	return schemas.UnitFailure{Table: u.Table, Unit: u.Name, Error: err.Error(), Hint: schemas.HintOf(err)}
}
