package parquet

import (
	"context"
	"slices"

	"optsweep/connectors/parquet/chunk"
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

func (b *batch) fill(first int64, cells [][]byte) {
	size := 0
	for _, c := range cells {
		size += len(c)
	}
	b.cells.First = first
	b.cells.Values = slices.Grow(b.cells.Values[:0], len(cells))[:len(cells)]
	b.arena = slices.Grow(b.arena[:0], size)[:size]
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

// Scan gives the id column of a unit in row order. yield is never called
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
	chunks, err := s.meta.Chunks(s.id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	decoded := make(chan *batch, scanAhead)
	free := make(chan *batch, scanAhead+2) // every batch there is fits
	for range cap(free) {
		free <- new(batch)
	}
	var decodeErr error
	go func() {
		defer close(decoded)
		reader := chunk.NewReader(s.file, s.meta.Columns[s.id])
		defer reader.Close()
		var start int64 // of the row group
		for _, c := range chunks {
			decodeErr = reader.Cells(ctx, c, func(first int64, cells [][]byte) error {
				select {
				case b := <-free:
					b.fill(start+first, cells)
					decoded <- b
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if decodeErr != nil {
				return
			}
			start += c.Values
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
