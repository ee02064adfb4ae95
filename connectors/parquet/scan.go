package parquet

import (
	"context"
	"slices"

	"optsweep/schemas"
)

// scanAhead is how many batches may be decoded before they are taken: with
// some 200 KB for a batch of ids, Scan needs a few pages and a MB beside them.
const scanAhead = 4

// batch is a copy of decoded cells: the pages they came from are reused.
type batch struct {
	cells schemas.Cells
	arena []byte
}

// fill copies cells of the row group that begins at row start.
func (b *batch) fill(start, first int64, rows []int64, cells [][]byte) {
	b.cells.At = b.cells.At[:0]
	for _, row := range rows {
		b.cells.At = append(b.cells.At, start+row)
	}
	size := 0
	for _, c := range cells {
		size += len(c)
	}
	b.cells.First = start + first
	b.cells.Values = slices.Grow(b.cells.Values[:0], len(cells))[:len(cells)]
	b.arena = slices.Grow(b.arena[:0], size+1)[:size] // never nil: an empty cell is no NULL
	rest := b.arena
	for i, c := range cells {
		if c == nil {
			b.cells.Values[i] = nil
			continue
		}
		n := copy(rest, c)
		b.cells.Values[i], rest = rest[:n:n], rest[n:]
	}
}

// Scan gives the id column of a unit in row order, raw ids as text. Of lists it
// gives all elements, and a NULL for a row without any. yield is never called
// concurrently and must not keep the cells; decoding runs a few batches ahead.
// It is an error if the unit is not, or does not stay, what it was planned as.
func (t *Table) Scan(ctx context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	s, err := t.open(u.Location)
	if err != nil {
		return err
	}
	defer s.close()
	if s.version != u.Version {
		return errChanged()
	}
	if err := t.scan(ctx, s, yield); err != nil {
		return err
	}
	return t.unchanged(ctx, u)
}

func (t *Table) scan(ctx context.Context, s *source, yield func(schemas.Cells) error) error {
	ctx, cancel := context.WithCancel(ctx)
	decoded := make(chan *batch, scanAhead)
	free := make(chan *batch, scanAhead+2) // every batch there is fits
	for range cap(free) {
		free <- new(batch)
	}
	var decodeErr error
	go func() {
		defer close(decoded)
		reader := newIDReader(s.file, s.meta, s.id)
		defer reader.Close()
		var start int64 // of the row group
		for _, c := range s.ids {
			decodeErr = reader.each(ctx, c, func(first int64, rows []int64, cells [][]byte) error {
				select {
				case b := <-free:
					b.fill(start, first, rows, cells)
					decoded <- b
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if decodeErr != nil {
				return
			}
			start += c.Rows
		}
	}()
	// Whatever ends the loop below, the goroutine is gone before s is closed.
	defer func() {
		cancel()
		for range decoded {
		}
	}()
	for b := range decoded {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(b.cells); err != nil {
			return err
		}
		free <- b
	}
	return decodeErr
}
