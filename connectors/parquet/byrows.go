package parquet

import (
	"context"

	"optsweep/schemas"
)

// TakesRows tells whether the table has a use for ApplyRows: only flags in a
// column go by rows alone.
func (t *Table) TakesRows() bool { return t.Mode == Column }

// ApplyRows is Apply for who knows which rows are opted out, of a unit with an
// id in each: it leaves the same file and receipt, and reads no ids. What rows
// tells must be that of the unit at u.Version, but for flags.
func (t *Table) ApplyRows(ctx context.Context, u schemas.Unit, rows schemas.RowTimes, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	if !t.TakesRows() {
		return schemas.Receipt{}, schemas.Errorf(schemas.Failed, "mode %s needs the ids of rows", t.Mode)
	}
	return t.rewrite(ctx, u, rule{rows: rows, addColumn: true}, commit)
}

// foldRows folds the n rows of a row group of which rows tells.
func (f *folder) foldRows(ctx context.Context, rows schemas.RowTimes, n int64) error {
	next, strays := int64(0), false
	nulls, err := rows(ctx, f.start, n, func(row, sinceMS int64) {
		row -= f.start
		if row < next || row >= n {
			strays = true
			return
		}
		next = row + 1
		f.keepTo(row)
		f.g.counts.OptedOut++
		f.fold(row, nil, sinceMS, true, false)
	})
	if err != nil {
		return err
	}
	if strays || nulls < 0 || f.g.counts.OptedOut+nulls > n {
		return schemas.Errorf(schemas.Integrity, "the rows that are opted out are not those of the file")
	}
	f.g.counts.Nulls = nulls
	f.keepTo(n)
	return nil
}

// keepTo keeps the flags that are there of all rows before row.
func (f *folder) keepTo(row int64) {
	for len(f.before) > 0 && f.before[0].Row < row {
		f.fold(f.before[0].Row, nil, 0, false, false)
	}
}
