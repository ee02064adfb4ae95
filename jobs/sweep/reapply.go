package sweep

import (
	"context"
	"maps"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// reapply writes the flags that are known from earlier runs into units that
// are not as the last finished run left them: a table that was restored from
// an old copy must not go unflagged for as long as the operator is asked. It
// comes after extract, whose files of ids tell without another look at the
// units which of them hold a known id; all others are left alone. What it
// writes differs from what was read in the flags only, so that the ids stay
// good; the receipts carry the new versions on to apply.
func (r *run) reapply(ctx context.Context) error {
	w := r.deps.Workspace
	if r.checked != nil || w.list.Total+w.ownTotal() == 0 {
		return nil // done before, or nothing is known
	}
	due, err := r.due()
	if err != nil || len(due) == 0 {
		return err
	}
	set, err := r.loadList(ctx, w.list)
	if err != nil {
		return err
	}
	which, err := r.holding(ctx, set, due)
	if err != nil || len(which) == 0 {
		return err
	}
	a := applier{run: r, phase: "reapply", published: schemas.EventTableReapplied, units: r.units, which: which, set: set, finder: idset.NewFinder(set)}
	if err := a.all(ctx, reapplyLog); err != nil {
		return err
	}
	return a.publish()
}

// due finds the units that are not as the last finished run left them.
func (r *run) due() (map[int]unitExtracted, error) {
	due, journal, err := r.loadExtracted()
	if err != nil {
		return nil, err
	}
	if err := journal.Close(); err != nil {
		return nil, err
	}
	left, err := r.past().left(r.job.Started.ConfigDigest)
	maps.DeleteFunc(due, func(i int, _ unitExtracted) bool { return left[keyOf(r.units[i])].VersionAfter == r.units[i].Version })
	return due, err
}

// holding finds the units, by number, that hold an id of set.
func (r *run) holding(ctx context.Context, set *idset.OptedOut, units map[int]unitExtracted) ([]int, error) {
	holds := make([]bool, len(r.units))
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for i, u := range units {
		tasks.Go(func() (err error) {
			holds[i], err = idset.HoldsAny(ctx, r.path(u.File), set)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	var which []int
	for i, ok := range holds {
		if ok {
			which = append(which, i)
		}
	}
	return which, nil
}
