package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"optsweep/connectors/lineage"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// untold is a lineage.Emitter that remembers, in the folder of the run, which
// attempts it has not told the end of. The next start of any run of the
// workspace makes up for it out of the ledger.
type untold struct {
	*lineage.Emitter
	teller *teller
}

// mark is the file that says so: it is there from before START until after the
// end was told.
func (u *untold) mark(run string, attempt int) string {
	return u.teller.layout.Run(run, fmt.Sprintf("lineage-%d.open", attempt))
}

// Started tells of earlier attempts whose end was never told, then of this.
func (u *untold) Started(ctx context.Context, s schemas.RunStart) error {
	err := u.makeUp(ctx, s)
	if markErr := (durable.Disk{}).WriteFile(u.mark(s.Run, s.Attempt), nil, 0o600); markErr != nil {
		err = errors.Join(err, markErr)
	}
	return errors.Join(err, u.Emitter.Started(ctx, s))
}

// Ended tells the end.
func (u *untold) Ended(ctx context.Context, e schemas.RunEnd) error {
	if err := u.Emitter.Ended(ctx, e); err != nil || e.Report.Run == "" {
		return err
	}
	return (durable.Disk{}).Remove(u.mark(e.Run, e.Attempt))
}

// makeUp tells how those attempts have ended. What they found is told only if
// the run has ended with them.
func (u *untold) makeUp(ctx context.Context, now schemas.RunStart) error {
	open, err := fs.Glob(os.DirFS(u.teller.layout.Runs()), "*/lineage-*.open")
	if err != nil || len(open) == 0 {
		return err
	}
	reports := map[string]schemas.Report{}
	if _, err := Reports(string(u.teller.layout), func(r schemas.Report) error {
		if r.Job == now.Job {
			reports[r.Run] = r
		}
		return nil
	}); err != nil {
		return err
	}
	var errs []error
	for _, name := range open {
		var attempt int
		run := path.Dir(name)
		rep, known := reports[run]
		if _, err := fmt.Sscanf(path.Base(name), "lineage-%d.open", &attempt); err != nil || !known {
			continue
		}
		e := schemas.RunEnd{RunStart: now, EndedAt: rep.FinishedAt, Report: schemas.Report{Run: run}}
		e.Run, e.Attempt = run, attempt
		switch {
		case attempt == rep.Resumed && (rep.Status == schemas.StatusReconciled || rep.Status == schemas.StatusReapplied):
			e.Report = rep
		case attempt == rep.Resumed && (rep.Status == schemas.StatusPartial || rep.Status == schemas.StatusFailed):
			e.Report, e.Class, e.Failure = rep, schemas.Failed.String(), "the run is "+rep.Status
		default:
			e.Killed, e.Failure = true, "the process ended before the run did"
		}
		errs = append(errs, u.Ended(ctx, e))
	}
	return errors.Join(errs...)
}
