package bigquery

import (
	"context"
	"errors"
	"fmt"

	"optsweep/schemas"
)

// Since tells when the id in a cell was opted out, in Unix ms; ok is false if
// the cell holds no opted-out id.
type Since = func(cell []byte) (sinceMS int64, ok bool)

// rule decides which flags change.
type rule struct {
	since Since
	clear func(cell []byte) bool // whose flags are taken away; nil: none
}

// Apply writes the flags of a unit back, in the way that the job file names. A
// flag that is there is never cleared and only moves to an earlier time; rows
// whose flag would not change are not touched, and without any nothing is
// sent.
//
// The figures of the receipt are those of the snapshot that the run has
// scanned. Rows that were added since are flagged along if they hold the same
// ids; the others are left to the next run.
//
// commit is called just before the one statement that changes the table. It
// runs under an id that follows from the run, the unit and the flags: if Apply
// is killed and called again, it adopts what was done.
func (t *Table) Apply(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	return t.rewrite(ctx, u, rule{since: since}, t.writer(u), commit)
}

// Clear takes the flags of the rows away whose cell matches. It is for an
// explicit act on single ids. What mode remove has removed stays so. A row with
// several ids loses its flag even if another of them is opted out; the next run
// flags it again.
func (t *Table) Clear(ctx context.Context, u schemas.Unit, match, _ func(cell []byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	never := func([]byte) (int64, bool) { return 0, false }
	return t.rewrite(ctx, u, rule{since: never, clear: match}, t.clearer(u), commit)
}

// Preview works out the receipt of Apply and writes nothing but what Scan has
// staged.
func (t *Table) Preview(ctx context.Context, u schemas.Unit, since Since) (schemas.Receipt, error) {
	receipt, h, err := t.compare(ctx, u, rule{since: since})
	if err != nil {
		return receipt, err
	}
	defer h.remove()
	return receipt, nil
}

// writer is how one mode changes a table.
type writer interface {
	// prepare makes what the change needs, even if no flag changes. With flagged
	// the snapshot of the run has flags, so that what holds them must be there:
	// made anew, it would lack them without a word.
	prepare(ctx context.Context, flagged bool) error
	// target is the table that the change is made to.
	target() TableRef
	// change makes the change, by a job with this id. h is a table of hits.
	change(ctx context.Context, h TableRef, id string) (outcome, error)
	// confirm reads back what was changed.
	confirm(ctx context.Context, h TableRef) (confirmed, error)
}

// errFlagsGone tells that flags of the snapshot are there no more.
func errFlagsGone(what string, r TableRef) error {
	return schemas.Errorf(schemas.Failed, "%s of %s was removed during the run", what, r).
		WithHint("run again: the next run finds out anew which flags there are")
}

// confirmed counts the cells that a change was about, of a suppression table
// its ids.
type confirmed struct {
	Total   int64
	Good    int64 // they are as they were meant to be
	Missing int64 // no flag
	Later   int64 // a later flag
}

func (t *Table) rewrite(ctx context.Context, u schemas.Unit, r rule, w writer, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	receipt, h, err := t.compare(ctx, u, r)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer h.remove()
	if err := w.prepare(ctx, h.flagged); err != nil {
		return schemas.Receipt{}, err
	}
	if receipt.Changed {
		if err := t.write(ctx, u, &receipt, h, w, commit); err != nil {
			return schemas.Receipt{}, err
		}
	}
	receipt.VersionAfter, err = t.Version(ctx, u)
	return receipt, err
}

// write stages hits, changes the table, and reads back.
func (t *Table) write(ctx context.Context, u schemas.Unit, receipt *schemas.Receipt, h *hits, w writer, commit func(schemas.Receipt) error) error {
	id := t.name(u, "")
	staged := t.staging(u, "hits_"+h.digest())
	receipt.Staged = staged.Table
	load := t.c.stageHits
	if t.Write.Stream {
		load = t.c.streamHits
	}
	if _, err := load(ctx, h, id+"load_"+h.digest(), t.run(u), staged); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), commit(*receipt)); err != nil {
		return err
	}
	unlock := t.c.lock(w.target())
	defer unlock()
	for round, fresh := 1, 0; ; round++ {
		job := id + "write_" + h.digest()
		if round > 1 {
			job += fmt.Sprint("_again", round)
		}
		done, err := w.change(ctx, staged, job)
		if err != nil {
			return err
		}
		receipt.Job, receipt.Billed = done.job, receipt.Billed+done.billed
		t.c.Log.Info("changed a table", "table", t.Table, "unit", u.Name, "job", done.job, "adopted", done.adopted, "bytes_billed", done.billed)
		got, err := w.confirm(ctx, staged)
		if err != nil {
			return err
		}
		if !done.adopted {
			fresh++
		}
		if err = t.settle(h, got); err == nil || fresh == rounds {
			return err
		}
		t.c.Log.Warn("a table does not read back as it was written; it is written again", "table", t.Table, "unit", u.Name, "reason", err)
	}
}

// rounds is how often a process makes a change that does not read back.
const rounds = 2

// settle compares what was read back with what was meant. As many cells as the
// snapshot has of the hits must be as they were meant to be; others that are
// not were added behind the statement, and are the next run's.
func (t *Table) settle(h *hits, got confirmed) error {
	wrong, want := got.Total-got.Good, h.cells
	if t.Write.Mode == Suppression {
		want = h.n
	}
	if wrong > 0 && got.Good < want {
		return schemas.Errorf(schemas.Failed, "%d ids were to be changed, but of %d only %d read back as they were meant", want, got.Total, got.Good).
			WithHint("another program may have changed the table meanwhile: run the same command again")
	}
	if wrong > 0 {
		t.c.Log.Info("rows with opted-out ids were added while the table was changed; the next run flags them", "table", t.Table, "rows", wrong)
	}
	return nil
}

// compare reads what is staged of a unit, collects the cells whose flag
// changes, and makes out the receipt.
func (t *Table) compare(ctx context.Context, u schemas.Unit, r rule) (receipt schemas.Receipt, h *hits, err error) {
	if h, err = newHits(t.c.Temp); err != nil {
		return receipt, nil, err
	}
	defer func() {
		if err != nil {
			h.remove()
		}
	}()
	receipt = schemas.Receipt{Table: t.Table, Unit: u.Name, VersionBefore: u.Version, BytesBefore: u.Bytes, BytesAfter: u.Bytes}
	staged, want, err := t.stage(ctx, u)
	if err == nil && u.Written != "" {
		staged, want, err = t.since(ctx, u, staged, want)
	}
	if err != nil {
		return receipt, h, err
	}
	mixed := false
	err = t.c.scan(ctx, staged, want, func(b batch) error {
		for i, cell := range b.ids {
			h.flagged = h.flagged || b.flagged[i] > 0
			since, change, unclear := r.judge(&receipt, cell, b.counts[i], b.flagged[i], b.min[i], b.max[i])
			mixed = mixed || unclear
			if !change {
				continue
			}
			if err := h.add(cell, since, b.counts[i]); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return receipt, h, err
	}
	if mixed {
		t.c.Log.Info("the flags of some ids differ from row to row; those that move are counted by id", "table", t.Table)
	}
	receipt.Changed = h.n > 0
	if t.Write.Mode == Remove {
		receipt.Removed = receipt.NewlyFlagged
	}
	receipt.Flagged = receipt.OptedOut + receipt.Kept
	receipt.Confirmed = receipt.Flagged // or write fails
	return receipt, h, nil
}

// judge counts the rows of one cell and tells whether their flags change.
// unclear tells that some have a later flag and some have not, so that it is
// not known how many.
func (r rule) judge(c *schemas.Receipt, cell []byte, n, flagged, minUS, maxUS int64) (sinceUS int64, change, unclear bool) {
	c.Rows += n
	if cell == nil {
		c.Nulls += n
		c.Kept += flagged
		return 0, false, false
	}
	sinceMS, found := r.since(cell)
	if !found {
		if flagged > 0 && r.clear != nil && r.clear(cell) {
			c.Cleared += flagged
			return minUS, true, false
		}
		c.Kept += flagged
		return 0, false, false
	}
	sinceUS = sinceMS * 1000
	c.OptedOut += n
	c.NewlyFlagged += n - flagged
	if flagged > 0 && maxUS > sinceUS {
		c.MovedEarlier += flagged
		return sinceUS, true, minUS <= sinceUS
	}
	return sinceUS, n > flagged, false
}

func (t *Table) writer(u schemas.Unit) writer {
	switch t.Write.Mode {
	case Suppression:
		return suppressionWriter{t, u, false}
	case Remove:
		return removeWriter{t, u}
	default:
		return columnWriter{t, u, false}
	}
}

func (t *Table) clearer(u schemas.Unit) writer {
	switch t.Write.Mode {
	case Suppression:
		return suppressionWriter{t, u, true}
	case Remove:
		return removeWriter{t, u} // which never finds a flag
	default:
		return columnWriter{t, u, true}
	}
}
