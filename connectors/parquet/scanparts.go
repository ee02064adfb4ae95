package parquet

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"optsweep/schemas"
)

// ScanParts gives the same cells as Scan, with up to n row groups of the unit
// decoded side by side. A part is a row group, numbered from 0; a part is begun
// when all before it are. yield and end are called concurrently for different
// parts, and yield must not keep the cells. The cells of one part come in row
// order, and after the last of them end is called. What ends the scan ends ctx
// of their calls.
func (t *Table) ScanParts(ctx context.Context, u schemas.Unit, n int,
	yield func(ctx context.Context, part int, c schemas.Cells) error, end func(part int) error) error {
	s, err := t.open(u.Location)
	if err != nil {
		return err
	}
	defer s.close()
	if s.version != u.Version {
		return errChanged()
	}
	if len(s.ids) == 1 && n > 1 { // decoding is all that can run beside yield
		err = t.scan(ctx, s, func(c schemas.Cells) error { return yield(ctx, 0, c) })
		if err == nil {
			err = end(0)
		}
	} else {
		err = s.scanParts(ctx, n, yield, end)
	}
	if err != nil {
		return err
	}
	return t.unchanged(ctx, u)
}

func (s *source) scanParts(ctx context.Context, n int,
	yield func(ctx context.Context, part int, c schemas.Cells) error, end func(part int) error) error {
	starts := make([]int64, len(s.ids)) // first row of each part
	for i := 1; i < len(starts); i++ {
		starts[i] = starts[i-1] + s.ids[i-1].Rows
	}
	var begun atomic.Int64
	readers, ctx := errgroup.WithContext(ctx)
	for range min(max(1, n), len(s.ids)) {
		readers.Go(func() error {
			reader := newIDReader(s.file, s.meta, s.id)
			defer reader.Close()
			var at []int64
			for {
				part := int(begun.Add(1)) - 1
				if part >= len(s.ids) {
					return nil
				}
				err := reader.each(ctx, s.ids[part], func(first int64, rows []int64, cells [][]byte) error {
					at = at[:0]
					for _, row := range rows {
						at = append(at, starts[part]+row)
					}
					return yield(ctx, part, schemas.Cells{First: starts[part] + first, Values: cells, At: at})
				})
				if err == nil {
					err = end(part)
				}
				if err != nil {
					return err
				}
			}
		})
	}
	return readers.Wait()
}
