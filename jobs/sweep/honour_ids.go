package sweep

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// learnedSince are the ids that operators told to be opted out in this run and
// all others since the one named, with the time of the first answer.
func (r *run) learnedSince(before string) ([]idset.Entry, error) {
	var all []idset.Entry
	layout := Layout(r.deps.Workspace.dir)
	runs, err := os.ReadDir(layout.Runs())
	if err != nil {
		return nil, err
	}
	for _, e := range runs {
		if e.Name() <= before || e.Name() > r.id || !e.IsDir() {
			continue
		}
		take := func(a answered) error {
			for o := range a.OptedOut.all() {
				all = append(all, idset.Entry{ID: o.ID, SinceMS: o.SinceMS, FoundMS: a.at.UnixMilli()})
			}
			return nil
		}
		if e.Name() == r.id {
			err = r.eachAnswer(take)
		} else {
			_, err = ledger.Read(layout.Run(e.Name(), checkLog), eachIn(take))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return idset.Distinct(all), nil
}

// eachAnswer gives the receipts of the run's batches.
func (r *run) eachAnswer(use func(answered) error) error {
	if r.answers == nil {
		journal, err := r.openJournal(checkLog, eachIn(use))
		if err != nil {
			return err
		}
		return journal.Close()
	}
	for _, a := range r.answers {
		if err := use(a); err != nil {
			return err
		}
	}
	return nil
}

// eachIn gives the receipts that the events of a check journal hold.
func eachIn(use func(answered) error) func(schemas.Event) error {
	return func(e schemas.Event) error {
		a, err := decodeAnswered(e)
		if err != nil {
			return err
		}
		return use(a)
	}
}

// holds tells which of the waiting ids, by number, are in the file of a unit's
// ids: all, if it is the only unit of the run. Both are in order.
func holds(ctx context.Context, path string, only bool, waiting []wait) (hits []int, err error) {
	if only {
		for n := range waiting {
			hits = append(hits, n)
		}
		return hits, nil
	}
	ids := func(n int) *schemas.ID { return &waiting[n].id }
	err = idset.Common(ctx, path, len(waiting), ids, func(n int) { hits = append(hits, n) })
	return hits, err
}
