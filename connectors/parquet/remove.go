package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"optsweep/schemas"
)

// removal is the taking out of rows of a unit.
type removal struct {
	*source
	target  string
	nulls   int64 // of the ids in the file
	receipt schemas.Receipt
	drop    [][]bool  // by row group
	since   [][]int64 // of the rows that are dropped, in order
}

// remove takes the opted-out rows of a unit out of its file. They are durable in
// the quarantine before the new file takes the place of the old one. The name
// of the quarantine file follows from the unit and its version, so that a
// removal that was cut short is done again over the same file.
func (t *Table) remove(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	r, err := t.judge(ctx, u, since)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer r.close()
	if !r.receipt.Changed {
		return r.receipt, t.unchanged(ctx, u)
	}
	kept := ""
	if t.Removed != "" {
		if kept, err = t.quarantine(ctx, u, r); err != nil {
			return schemas.Receipt{}, err
		}
	}
	out, err := t.Disk.Create(r.target, 0o600)
	if err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	defer out.Discard()
	c := cleaning{ctx: ctx, workers: t.Workers, drop: r.drop}
	if err := c.write(r.source, out); err != nil {
		return schemas.Receipt{}, asWriteError(err)
	}
	if err := keepMode(out, r.info); err != nil {
		return schemas.Receipt{}, err
	}
	if err := out.Sync(); err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	if err := c.confirm(t, r.source, out, since); err != nil {
		return schemas.Receipt{}, err
	}
	receipt := r.receipt
	if r.meta.Rows-c.rows != receipt.Removed {
		return schemas.Receipt{}, errUnconfirmed()
	}
	info, err := out.Stat()
	if err != nil {
		return schemas.Receipt{}, err
	}
	receipt.BytesAfter = info.Size()
	receipt.Staged = taken{receipt.Removed, r.cells - c.cells, r.nulls - c.nulls}.note(kept)
	if receipt.VersionAfter, err = versionOf(out); err != nil {
		return schemas.Receipt{}, err
	}
	if err := errors.Join(ctx.Err(), t.unchanged(ctx, u)); err != nil {
		return schemas.Receipt{}, err
	}
	if err := commit(receipt); err != nil {
		return schemas.Receipt{}, err
	}
	if err := out.Publish(); err != nil {
		return schemas.Receipt{}, writeError(err)
	}
	return receipt, nil
}

// previewRemoval works out the receipt of remove; the new file goes nowhere and
// is not read back.
func (t *Table) previewRemoval(ctx context.Context, u schemas.Unit, since Since) (schemas.Receipt, error) {
	r, err := t.judge(ctx, u, since)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer r.close()
	if receipt := &r.receipt; receipt.Changed {
		size := &discard{}
		c := cleaning{ctx: ctx, workers: t.Workers, drop: r.drop}
		if err := c.write(r.source, size); err != nil {
			return schemas.Receipt{}, err
		}
		receipt.BytesAfter, receipt.VersionAfter = size.n, ""
	}
	return r.receipt, t.unchanged(ctx, u)
}

// discard counts what it is given.
type discard struct{ n int64 }

func (d *discard) Write(b []byte) (int, error) {
	d.n += int64(len(b))
	return len(b), nil
}

// judge finds the rows of a unit that are to be taken out.
func (t *Table) judge(ctx context.Context, u schemas.Unit, since Since) (r *removal, err error) {
	target, err := resolve(u.Location)
	if err != nil {
		return nil, err
	}
	if err := (folders{}).check(target); err != nil {
		return nil, err
	}
	s, err := t.open(target)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.version != u.Version {
		return nil, errChanged()
	}
	if err := checkChunks(ctx, s); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	hits := map[int64]int64{} // row in the file, to the time
	groups, err := t.flag(ctx, s, rule{since: since, missing: func(row int64, cell []byte) {
		ms, _ := since(cell)
		mu.Lock()
		defer mu.Unlock()
		if earlier, ok := hits[row]; !ok || ms < earlier {
			hits[row] = ms
		}
	}})
	if err != nil {
		return nil, err
	}
	r = &removal{source: s, target: target, drop: make([][]bool, len(s.meta.Groups)), since: make([][]int64, len(s.meta.Groups))}
	row := int64(0)
	for g, n := range s.meta.Groups {
		r.drop[g] = make([]bool, n)
		for i := range n {
			if ms, hit := hits[row]; hit {
				r.drop[g][i] = true
				r.since[g] = append(r.since[g], ms)
			}
			row++
		}
	}
	c := &r.receipt
	*c, _, _ = total(groups)
	r.nulls = c.Nulls
	c.Table, c.Unit = u.Table, u.Name
	c.VersionBefore, c.VersionAfter, c.BytesBefore, c.BytesAfter = u.Version, u.Version, s.meta.Size, s.meta.Size
	c.Changed, c.Removed = len(hits) > 0, c.NewlyFlagged
	// What the run itself has taken out before belongs to what it has read.
	before, err := takenBefore(u.Written)
	if err != nil {
		return nil, err
	}
	c.Rows, c.Nulls, c.OptedOut, c.Flagged = c.Rows+before.cells, c.Nulls+before.nulls, c.OptedOut+before.rows, c.Flagged+before.rows
	c.Confirmed = c.Flagged // or remove fails
	return r, nil
}

// taken counts what was taken out of a unit. A row with a list has as many cells
// as it has elements, or one that is NULL.
type taken struct{ rows, cells, nulls int64 }

const takenFormat = "removed %d rows with %d ids, %d NULL"

// note is the Staged of a receipt; file is the name of the one that keeps the
// rows, if any.
func (t taken) note(file string) string {
	note := fmt.Sprintf(takenFormat, t.rows, t.cells, t.nulls)
	if file != "" {
		note += ", to " + file
	}
	return note
}

// takenBefore reads what the run took out of a unit before.
func takenBefore(written string) (t taken, err error) {
	if written == "" {
		return t, nil
	}
	n, err := fmt.Sscanf(written, takenFormat, &t.rows, &t.cells, &t.nulls)
	if n != 3 || err != nil || t.rows < 0 || t.nulls < 0 || t.cells < t.rows+t.nulls {
		return taken{}, schemas.Errorf(schemas.Integrity, "it is not known how many rows this run has removed before").WithHint("restore the workspace from a copy")
	}
	return t, nil
}

// untouched is the receipt of an act that has nothing to do in a unit.
func (t *Table) untouched(ctx context.Context, u schemas.Unit) (schemas.Receipt, error) {
	s, err := t.open(u.Location)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer s.close()
	return schemas.Receipt{
		Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: s.meta.Rows, BytesBefore: s.meta.Size, BytesAfter: s.meta.Size,
	}, t.unchanged(ctx, u)
}

// inverted gives the rows that drop keeps.
func inverted(drop [][]bool) [][]bool {
	keep := make([][]bool, len(drop))
	for g, rows := range drop {
		keep[g] = slices.Clone(rows)
		for i := range keep[g] {
			keep[g][i] = !keep[g][i]
		}
	}
	return keep
}

// asWriteError is writeError for what may be an error of reading, too.
func asWriteError(err error) error {
	var known *schemas.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
		return err
	}
	return writeError(err)
}
