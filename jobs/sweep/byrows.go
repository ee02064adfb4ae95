package sweep

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// RowTarget is a Keeper and a Target that can flag rows by their numbers
// without reading their ids again.
type RowTarget interface {
	// TakesRows tells whether ApplyRows is of use.
	TakesRows() bool
	// ApplyRows does what Apply does with the times of the ids that rows tells
	// of. It calls commit only after rows has told of all rows.
	ApplyRows(ctx context.Context, u schemas.Unit, rows schemas.RowTimes, commit func(schemas.Receipt) error) (schemas.Receipt, error)
}

func takesRows(x any) (RowTarget, bool) {
	t, ok := x.(RowTarget)
	return t, ok && t.TakesRows()
}

// rowsFile is where it is kept which row of a unit holds which id, beside the
// file of its ids.
func rowsFile(ids string) string { return strings.TrimSuffix(ids, filepath.Ext(ids)) + ".rows" }

// rowWriter makes what keeps the rows of a unit's ids; nil if nobody will ask.
func (r *run) rowWriter(d unitExtracted) *idset.RowWriter {
	if _, ok := takesRows(r.source(d.Table)); !ok || d.Reading == "" {
		return nil
	}
	return idset.NewRowWriter(r.deps.Workspace.disk, r.path(rowsFile(d.File)))
}

// takeRows gives the rows that an earlier run left at path a second name, after
// checking every byte of them.
func (r *run) takeRows(ctx context.Context, path string, d unitExtracted, name string) error {
	rows, digest, err := idset.VerifyRows(ctx, path)
	if err == nil && (digest != d.Rows || rows != d.Counts.Rows) {
		err = errOtherRows
	}
	if err != nil {
		return err
	}
	disk := r.deps.Workspace.disk
	return errors.Join(disk.Remove(name), disk.Link(path, name))
}

// errNoHits tells that rows cannot tell the opted-out ids of a unit.
var errNoHits = errors.New("ids cannot be told from each other by their rows")

var errOtherRows = errors.New("another file has taken the place of its rows")

// mostHits is how many opted-out ids of a unit are looked up by rows: they take
// 24 bytes each, all tasks together an eighth of the memory.
func (r *run) mostHits() int64 { return r.job.Memory / 8 / 24 / int64(max(r.job.Workers, 1)) }

// byRows writes the flags of a unit by its rows. ok is false if nothing was
// done: there are no rows that are known to be those of its ids.
func (a *applier) byRows(ctx context.Context, index int, u schemas.Unit, find func() (found, error), commit func(schemas.Receipt) error) (receipt schemas.Receipt, ok bool, err error) {
	d := a.extracted[index]
	target, ok := takesRows(a.run.target(u.Table))
	if !ok || d.Rows == "" {
		return receipt, false, nil
	}
	rows, err := idset.OpenRows(a.run.path(rowsFile(d.File)))
	if err != nil {
		a.decodes(u, err)
		return receipt, false, nil
	}
	defer rows.Close()
	if rows.Digest() != d.Rows || rows.Rows() != d.Counts.Rows || rows.Rows() != u.Rows {
		a.decodes(u, errOtherRows)
		return receipt, false, nil
	}
	var mu sync.Mutex // of broken
	var broken error
	receipt, err = target.ApplyRows(ctx, u, func(ctx context.Context, first, n int64, optedOut func(row, sinceMS int64)) (int64, error) {
		f, err := find() // beside whatever else the target begins with
		if err != nil {
			return 0, err
		}
		if f.hits == nil {
			return 0, errNoHits
		}
		nulls, err := rows.Each(ctx, f.hits, first, n, optedOut)
		if err != nil && ctx.Err() == nil {
			mu.Lock()
			defer mu.Unlock()
			broken = err
		}
		return nulls, err
	}, commit)
	if errors.Is(err, errNoHits) {
		return receipt, false, nil
	}
	if err != nil && broken != nil {
		a.decodes(u, broken)
		return receipt, false, nil
	}
	return receipt, true, err
}

func (a *applier) decodes(u schemas.Unit, why error) {
	a.run.deps.Log.Warn("the ids of a unit are read again: which rows hold them is not usable", "table", u.Table, "unit", u.Name, "error", why)
}
