// Package sweep is the main job: it takes the ids out of every table, has them
// checked, and writes the flags back, in five phases that each leave their
// result in the workspace:
//
//	plan -> extract -> check -> apply -> report
//
// A run that was killed in any of them is taken up again by the next Run with
// the same job. The package owns the seams to the outside; connectors fit them
// without knowing it.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

// Source reads one table.
type Source interface {
	// Plan lists the units of the table in a stable order. A unit that cannot
	// be treated is a UnitFailure; the error is for a table that cannot be
	// listed at all.
	Plan(ctx context.Context) ([]schemas.Unit, []schemas.UnitFailure, error)
	// Version tells the present version of a unit.
	Version(ctx context.Context, u schemas.Unit) (string, error)
	// Scan passes on every cell of the id column in row order, from one
	// goroutine at a time. It fails if the unit is no longer at u.Version.
	Scan(ctx context.Context, u schemas.Unit, yield func(schemas.Cells) error) error
}

// PartsSource is a Source whose units have parts that may be read side by side.
type PartsSource interface {
	// ScanParts is Scan with up to n parts at a time. Parts are numbered from 0
	// in row order, and one is begun when all before it are. yield and end are
	// called from several goroutines, for one part from one at a time: yield in
	// row order, then end. What ends the scan ends ctx of yield.
	ScanParts(ctx context.Context, u schemas.Unit, n int,
		yield func(ctx context.Context, part int, c schemas.Cells) error, end func(part int) error) error
}

// Pinner is a Source whose units are copied when a run first scans them: what
// the run scans and flags is that copy, whatever happens to the table since.
// The rows that Plan gives are those of the moment; Scan answers itself for
// giving all that were copied.
type Pinner interface {
	// Pinned tells whether the unit was copied for its run.
	Pinned(ctx context.Context, u schemas.Unit) (bool, error)
}

// Target writes one table.
type Target interface {
	// RemoveLeftovers clears away what a killed Apply left beside the units.
	RemoveLeftovers(units []schemas.Unit) error
	// Apply flags the rows for which since knows a time (Unix ms). It never
	// clears a flag or moves one to a later time. Before the change becomes
	// visible it calls commit with the receipt and gives up if that fails. It
	// fails, with nothing changed, if the unit is neither pinned nor at
	// u.Version any more.
	// Applying the same flags again changes nothing.
	Apply(ctx context.Context, u schemas.Unit, since func(cell []byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error)
}

// Finisher is a Target whose units share something, which is written once, when
// all have been applied. What Apply has collected, and what a killed run had,
// must be good for any number of attempts.
type Finisher interface {
	// Finish makes visible what Apply has done to units since RemoveLeftovers.
	// Nothing is on record as done before it has succeeded.
	Finish(ctx context.Context) error
}

// Checker asks for verdicts. Retrying is its duty.
type Checker interface {
	// Ask hands the answer about ids to settle, and asks nothing else in its
	// place before settle has returned. An error means that no id has a
	// verdict, or is that of settle.
	Ask(ctx context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error
	// Limits gives the largest batch, and how many are asked at a time. Calls
	// of Ask beyond that wait for their turn, prepared.
	Limits() (batch, parallel int)
}

// Progress is told how far a phase has come. Add is called concurrently.
type Progress interface {
	Start(phase string, total int64, unit string)
	Add(n int64)
	Stop()
}

// Table is one table of a job.
type Table struct {
	Name   string
	Source Source
	Target Target
	Aside  bool // Target writes nothing into the units
}

// Job is what a run has to do.
type Job struct {
	Started     schemas.RunStarted // who asks whom; a run is resumed only if it is equal
	Rules       schemas.Rules
	Tables      []Table
	Plan        *schemas.Plan // to keep to; nil: list the tables anew
	Limits      Limits
	Override    Override
	MaxDuration time.Duration // of a run, resumptions included
	Memory      int64         // bytes
	Workers     int           // tasks side by side
}

// Deps are the surroundings of a run.
type Deps struct {
	Workspace *Workspace
	Checker   Checker
	Canaries  func(ctx context.Context) (int, error) // asks the canaries and tells how many; nil: none
	Retries   func() int64                           // retries so far; nil: not counted
	List      ListSink
	Progress  Progress
	Log       *slog.Logger
	Now       func() time.Time
	Begun     func(Begun) // is told of the run before its first phase; nil: nobody is
}

// Run takes up the unfinished run of the workspace, if it is of this job, or
// makes a new one, and brings it to its end. The report is valid with and
// without an error, unless its Run is empty.
func Run(ctx context.Context, job Job, deps Deps) (schemas.Report, error) {
	r, err := begin(ctx, job, deps)
	if err != nil {
		return schemas.Report{}, err
	}
	r.begun()
	ctx, cancel := context.WithTimeoutCause(ctx, job.MaxDuration-r.now().Sub(r.started), errDeadline)
	defer cancel()
	err = r.phases(ctx)
	if err != nil {
		err = r.interrupt(ctx, err)
	}
	rep, reportErr := deps.Workspace.settleRun(r.id)
	if schemas.ClassOf(err) != schemas.Locked { // otherwise it says the same
		err = errors.Join(err, reportErr)
	}
	return rep, err
}

var errDeadline = errors.New("max_duration has passed")

func (r *run) phases(ctx context.Context) error {
	if err := r.plan(ctx); err != nil {
		return err
	}
	if len(r.units) == 0 {
		return r.finish() // nothing that could be asked about
	}
	for _, phase := range r.steps() {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return r.finish()
}

// steps are the phases between plan and report.
func (r *run) steps() []func(context.Context) error {
	switch started := r.job.Started; {
	case started.Offline:
		return []func(context.Context) error{r.extract, r.recall, r.apply, r.honour}
	case started.DryRun: // which has nothing to write before it asks, and honours nobody
		return []func(context.Context) error{r.extract, r.check, r.apply}
	default:
		return []func(context.Context) error{r.extract, r.reapply, r.check, r.apply, r.honour}
	}
}

// interrupt records why the run ends before it is finished. A run stopped by a
// limit can be resumed by one that is let past it; any other, by any.
func (r *run) interrupt(ctx context.Context, err error) error {
	if r.finished || schemas.ClassOf(err) == schemas.Locked {
		return err
	}
	if ctx.Err() != nil {
		if errors.Is(context.Cause(ctx), errDeadline) {
			err = r.stop(schemas.LimitHit{Limit: maxDuration, Figure: r.now().Sub(r.started).Round(time.Second).String(), Allows: r.job.MaxDuration.String()},
				"find out why; with a higher limits.max_duration in the job file the same command goes on")
		} else {
			err = schemas.Errorf(schemas.Cancelled, "run %s was cancelled", r.id).WithHint("the same command goes on where it stopped")
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = schemas.Errorf(schemas.Failed, "%w", err).WithHint("make room on the disk of the workspace; the same command goes on")
	}
	ended := schemas.RunEnded{Status: schemas.StatusInterrupted, Class: schemas.ClassOf(err).String(), Message: err.Error()}
	if schemas.ClassOf(err) == schemas.Limit {
		ended.Status = schemas.StatusStopped
	}
	if appendErr := r.append(schemas.EventRunInterrupted, ended); appendErr != nil {
		err = errors.Join(err, appendErr)
	}
	return err
}

// finish closes the run. Its status follows from what the ledger holds.
func (r *run) finish() error {
	rep, err := report.Build(r.id, r.events())
	if err != nil {
		return err
	}
	ended := schemas.RunEnded{Status: rep.Status, Apply: r.applySeconds}
	var failure *schemas.Error
	switch rep.Status {
	case schemas.StatusPartial:
		failure = schemas.Errorf(schemas.Partial, "%d of the units could not be reconciled", len(rep.Failures)).
			WithHint("mend what is listed under not reconciled and run the same command again")
	case schemas.StatusFailed:
		failure = schemas.Errorf(schemas.Failed, "nothing could be reconciled")
		for _, l := range rep.Laws {
			if !l.OK {
				failure = schemas.Errorf(schemas.Failed, "the figures do not add up: %s %s: %s", l.Table, l.Name, l.Detail).
					WithHint("rows may have been missed; keep the workspace and report this as a bug")
			}
		}
	}
	if failure != nil {
		ended.Class, ended.Message = failure.Class.String(), failure.Msg
	}
	if err := r.append(schemas.EventRunFinished, ended); err != nil {
		return err
	}
	r.finished = true
	if failure != nil {
		return failure
	}
	return nil
}
