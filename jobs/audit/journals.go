package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// journal reads a journal of a run. A line of another run means that the file
// was put in its place.
func (a *auditor) journal(run, path string, each func(schemas.Event) error) (ledger.End, error) {
	return ledger.Read(path, func(e schemas.Event) error {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		if e.Run != run {
			return fmt.Errorf("line %d belongs to run %s", e.Seq, e.Run)
		}
		return each(e)
	})
}

// checkJournal compares what was asked with what the ledger counts.
func (a *auditor) checkJournal(f facts) {
	const what = "check journal"
	path := a.layout.Run(f.ID, sweep.CheckJournal)
	var sum schemas.Checked
	seen := map[int64]bool{}
	end, err := a.journal(f.ID, path, func(e schemas.Event) error {
		b, err := sweep.ReadBatch(e)
		if err != nil {
			return fmt.Errorf("line %d: %w", e.Seq, err)
		}
		if seen[b.Batch] {
			return fmt.Errorf("line %d: batch %d for the second time", e.Seq, b.Batch)
		}
		seen[b.Batch] = true
		sum.Batches++
		sum.Asked += int64(b.Count)
		sum.OptedOut += int64(b.OptedOut)
		sum.Clear += int64(b.Count - b.OptedOut - b.Rejected)
		return nil
	})
	missing := errors.Is(err, fs.ErrNotExist)
	switch c := f.checked; {
	case missing && (c == nil || c.Batches == 0):
		// Nothing was asked.
	case missing && a.expired(f):
		a.gone(what, f.ID, path)
	case err != nil:
		a.fail(what, f.ID, path, "%s", explain(path, err))
	case c == nil:
		a.ok(what, f.ID, path, "%d batches, the check was not finished", sum.Batches)
	case end.Hash != c.Journal:
		a.fail(what, f.ID, path, "it was changed or cut off: its last line is number %d, which is not the one that the ledger knows", end.Seq)
	case sum.Batches != c.Batches || sum.Asked != c.Asked || sum.OptedOut != c.OptedOut || sum.Clear != c.Clear:
		a.fail(what, f.ID, path, "it holds %d batches with %d ids, %d of them opted out and %d clear; the ledger counts %d, %d, %d and %d",
			sum.Batches, sum.Asked, sum.OptedOut, sum.Clear, c.Batches, c.Asked, c.OptedOut, c.Clear)
	default:
		a.ok(what, f.ID, path, "%d batches with %d ids, each line follows from the one before, the last is the one that the ledger knows", sum.Batches, sum.Asked)
	}
}

// shards reads all ids that a run asked about, if they are still there.
func (a *auditor) shards(f facts) {
	if f.extracted == nil {
		return
	}
	const what = "ids"
	path := a.layout.Run(f.ID, sweep.ShardsDir)
	manifest, err := idset.ReadManifest(path)
	if errors.Is(err, fs.ErrNotExist) && a.expired(f) {
		a.gone(what, f.ID, path)
		return
	}
	if err == nil && sweep.DigestOfShards(manifest) != f.extracted.Digest {
		err = errors.New("they are not the ids that the ledger knows")
	}
	var n int64
	if err == nil {
		n, err = a.countIDs(path)
	}
	if err == nil && n != f.extracted.Distinct {
		err = fmt.Errorf("there are %d ids, the ledger counts %d", n, f.extracted.Distinct)
	}
	if err != nil {
		a.fail(what, f.ID, path, "%s", explain(path, err))
		return
	}
	a.ok(what, f.ID, path, "%d ids in %d files, the ones that the ledger knows", n, len(manifest.Shards))
}

func (a *auditor) countIDs(dir string) (total int64, err error) {
	r, err := idset.OpenReader(dir)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	ids := make([]schemas.ID, 4096)
	for {
		if err := a.ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Next(ids)
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// plan compares plan.json with what the ledger says of it, and returns its
// units.
func (a *auditor) plan(f facts) []schemas.Unit {
	const what = "plan"
	if f.planned == nil {
		return nil
	}
	path := a.layout.Run(f.ID, sweep.PlanFile)
	units, digest, err := sweep.PlannedUnits(path)
	if errors.Is(err, fs.ErrNotExist) && !f.finished {
		return nil // killed, or about to write it
	}
	sum := schemas.Planned{Tables: f.planned.Tables, Digest: digest}
	if f.planned.Digest == "" {
		sum.Digest = "" // of a version that did not record it
	}
	for _, u := range units {
		sum.Units++
		sum.Rows += u.Rows
		sum.Bytes += u.Bytes
	}
	switch {
	case err != nil:
		a.fail(what, f.ID, path, "%s", explain(path, err))
	case sum != *f.planned:
		a.fail(what, f.ID, path, "it is not the plan that the ledger knows: it lists %d units with %d rows, the ledger counts %d with %d",
			sum.Units, sum.Rows, f.planned.Units, f.planned.Rows)
		return nil
	default:
		a.ok(what, f.ID, path, "%d units", sum.Units)
	}
	return units
}

// receipts compares the receipts in a journal of a run with those in the
// ledger, which has all of them if the phase was complete.
func (a *auditor) receipts(f facts, journal string, held []schemas.Receipt, complete bool) {
	const what = "receipts"
	path := a.layout.Run(f.ID, journal)
	own := map[unitKey]schemas.Receipt{}
	_, err := a.journal(f.ID, path, func(e schemas.Event) error {
		if e.Type != schemas.EventUnitApplied {
			return nil
		}
		r, err := decode[schemas.Receipt](e)
		own[unitKey{r.Table, r.Unit}] = r
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && len(held) == 0 {
		return
	}
	if err != nil {
		a.fail(what, f.ID, path, "%s", explain(path, err))
		return
	}
	bad := 0
	for _, r := range held {
		key := unitKey{r.Table, r.Unit}
		mine, ok := own[key]
		delete(own, key)
		switch {
		case !ok:
			bad++
			a.fail(what, f.ID, path, "the receipt of %s, %s is missing", r.Table, r.Unit)
		case mine != r:
			bad++
			a.fail(what, f.ID, path, "the receipt of %s, %s is not the one in the ledger", r.Table, r.Unit)
		}
	}
	if complete {
		for key := range own {
			bad++
			a.fail(what, f.ID, path, "the ledger has no receipt of %s, %s", key.table, key.unit)
		}
	}
	if bad == 0 {
		a.ok(what, f.ID, path, "%d receipts, the same as in the ledger", len(held))
	}
}

// expired tells whether the ids of a run are past the time for which they are
// kept.
func (a *auditor) expired(f facts) bool {
	return a.opts.Now().Sub(f.started) > keepIDs || a.purgedIDs(f)
}

func (a *auditor) gone(what, run, path string) {
	a.Checks.Add(Gone, what, run, a.rel(path), "removed by retention")
}

const earlierList = "earlier list"

// suppression compares the lists that are there with the ledger. Only the one
// in force, and mostly the one before, are kept.
func (a *auditor) suppression() {
	if a.list == "" {
		return
	}
	a.listFile("suppression list", "", a.present(a.lists[a.list]))
	for _, file := range sortedLists(a.lists) {
		v := a.lists[file]
		if _, err := os.Stat(a.path(file)); err != nil || v.Preview || file == a.list {
			continue
		}
		a.listFile(earlierList, "", v)
	}
}

// present is the list in force, which runs under way may have replaced more
// than once since the ledger was read.
func (a *auditor) present(list schemas.SuppressionUpdated) schemas.SuppressionUpdated {
	for {
		if _, err := os.Stat(a.path(list.File)); !errors.Is(err, fs.ErrNotExist) {
			return list
		}
		newer := list
		_, err := ledger.Read(a.layout.Ledger(), func(e schemas.Event) error {
			switch e.Type {
			case schemas.EventSuppressionUpdated:
				v, err := decode[schemas.SuppressionUpdated](e)
				if !v.Preview {
					newer = v
				}
				return err
			case schemas.EventLedgerCut:
				v, err := decode[schemas.LedgerCut](e)
				if v.Kept.List != nil {
					newer = *v.Kept.List
				}
				return err
			}
			return nil
		})
		if err != nil || newer.File == list.File {
			return list
		}
		list = newer
	}
}

func (a *auditor) listFile(what, run string, v schemas.SuppressionUpdated) {
	path := a.path(v.File)
	digest, err := digestOf(a.ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && what == earlierList:
		// Removed by a run under way: it need not be there.
	case err != nil:
		a.fail(what, run, path, "%s", explain(path, err))
	case digest != v.Digest:
		a.fail(what, run, path, "it is not the list that the ledger knows")
	default:
		a.ok(what, run, path, "%d ids, the list that the ledger knows", v.Total)
	}
}
