package idset

import (
	"bytes"
	"context"

	"optsweep/schemas"
)

// maxHeld is how many bytes of bad cells wait for those of earlier parts. Then
// parts wait themselves.
const maxHeld = 1 << 20

// heldBytes is what a held cell takes beside its bytes.
const heldBytes = 64

// heldCell is a bad cell of a part that has earlier parts.
type heldCell struct {
	row, n int64
	reason schemas.Reason
	cell   []byte
}

// Parts takes the cells of one unit into a Collector, part by part. Parts are
// numbered from 0 in row order and taken in side by side; bad cells are told in
// row order all the same. A part must be begun only when all before it are, or
// it could wait for one that never comes.
type Parts struct {
	c *Collector

	// These are guarded by the mutex of the Collector.
	first int // part whose bad cells are told at once: all before have ended
	held  map[int][]heldCell
	ended map[int]bool
	bytes int           // of all that is held
	moved chan struct{} // closed when first changes
}

// NewParts makes the Parts of a Collector, which takes no other cells.
func NewParts(c *Collector) *Parts {
	return &Parts{c: c, held: map[int][]heldCell{}, ended: map[int]bool{}, moved: make(chan struct{})}
}

// Add takes in cells of a part, in row order. It may be called from several
// goroutines, for different parts. It returns when ctx ends.
func (p *Parts) Add(ctx context.Context, part int, cells schemas.Cells) error {
	return p.c.add(cells, func(row, n int64, reason schemas.Reason, cell []byte) error {
		return p.bad(ctx, part, heldCell{row, n, reason, cell})
	})
}

func (p *Parts) bad(ctx context.Context, part int, bad heldCell) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	size := len(bad.cell) + heldBytes
	for part != p.first && p.bytes+size > maxHeld {
		moved := p.moved
		p.c.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		p.c.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if part == p.first {
		return p.c.onBad(bad.row, bad.n, bad.reason, bad.cell)
	}
	bad.cell = bytes.Clone(bad.cell)
	p.held[part] = append(p.held[part], bad)
	p.bytes += size
	return nil
}

// End tells that a part has no more cells.
func (p *Parts) End(part int) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.ended[part] = true
	for p.ended[p.first] {
		delete(p.ended, p.first)
		p.first++
		for _, bad := range p.held[p.first] {
			p.bytes -= len(bad.cell) + heldBytes
			if err := p.c.onBad(bad.row, bad.n, bad.reason, bad.cell); err != nil {
				return err
			}
		}
		delete(p.held, p.first)
		close(p.moved)
		p.moved = make(chan struct{})
	}
	return nil
}
