package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// writeRejected lists the rows of the well-formed ids that the operator would
// not answer for, in the order of the units. The ids of the units, which
// extract has left, tell which units have to be read for that. Doing it again
// gives the same file.
func (r *run) writeRejected(ctx context.Context, done map[int64]answered) error {
	l := locator{run: r, set: idset.NewOptedOut(r.job.Rules, 0)}
	for _, n := range slices.Sorted(maps.Keys(done)) {
		for _, x := range done[n].Rejected {
			if len(x.Raw) != schemas.IDSize {
				return fmt.Errorf("batch %d of the check journal names no id", n)
			}
			// The set gives back a number for an id: here that of the rejection.
			if err := l.set.Add(schemas.OptOut{ID: schemas.ID(x.Raw), SinceMS: int64(len(l.rejected))}); err != nil {
				return err
			}
			l.rejected = append(l.rejected, x)
		}
	}
	if len(l.rejected) == 0 {
		return nil
	}
	l.found = make([]bool, len(l.rejected))
	w := r.deps.Workspace
	l.to = newQuarantine(w.disk, r.path(RejectedFile()), schemas.Unit{}, w.Pseudonyms)
	defer l.to.discard()
	if err := l.units(ctx); err != nil {
		return err
	}
	for n, found := range l.found {
		if !found { // in units that failed meanwhile
			if err := l.to.addID(schemas.Unit{}, schemas.NoRow, 0, l.rejected[n].Reason, l.rejected[n].Pseudonym); err != nil {
				return err
			}
		}
	}
	return l.to.publish()
}

// locator finds the rows of rejected ids.
type locator struct {
	run      *run
	set      *idset.OptedOut
	rejected []rejected
	found    []bool // by the number of the rejection
	to       *quarantine
}

func (l *locator) units(ctx context.Context) error {
	r := l.run
	extracted, journal, err := r.loadExtracted()
	if err != nil {
		return err
	}
	if err := journal.Close(); err != nil {
		return err
	}
	which, err := r.holding(ctx, l.set, extracted)
	if err != nil {
		return err
	}
	before, err := r.loadApplied(reapplyLog)
	if err != nil {
		return err
	}
	now := before.moved(r.units)
	var rows int64
	for _, i := range which {
		rows += now[i].Rows
	}
	r.deps.Progress.Start("locate", rows, "rows")
	defer r.deps.Progress.Stop()
	for _, i := range which {
		if r.failed[keyOf(now[i])] {
			continue
		}
		if err := l.unit(ctx, now[i]); err != nil {
			return err
		}
	}
	return nil
}

// unit lists the rows of one unit. If it can no longer be read, apply will say
// so of it.
func (l *locator) unit(ctx context.Context, u schemas.Unit) error {
	var listErr error
	err := l.run.source(u.Table).Scan(ctx, u, func(c schemas.Cells) error {
		l.run.deps.Progress.Add(c.Rows())
		l.set.SinceEach(c.Values, func(i int, n int64) {
			l.found[n] = true
			listErr = errors.Join(listErr, l.to.addID(u, c.Row(i), c.Count(i), l.rejected[n].Reason, l.rejected[n].Pseudonym))
		})
		return errors.Join(listErr, ctx.Err())
	})
	switch {
	case listErr != nil:
		return listErr
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.run.deps.Log.Warn("a unit could not be read again to locate rejected ids", "table", u.Table, "unit", u.Name, "error", err)
	}
	return nil
}
