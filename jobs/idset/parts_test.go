package idset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"optsweep/schemas"
)

// mixed makes cells of which every third is an id, every third NULL, and the
// others are bad, some of them so long that few can be held.
func mixed(first, n int) schemas.Cells {
	c := schemas.Cells{First: int64(first)}
	ids := randomIDs(uint64(first), n)
	for i := range n {
		switch {
		case i%3 == 0:
			c.Values = append(c.Values, ids[i].AppendText(nil))
		case i%3 == 1:
			c.Values = append(c.Values, nil)
		case i%50 == 2:
			c.Values = append(c.Values, bytes.Repeat([]byte("x"), maxHeld/3))
		default:
			c.Values = append(c.Values, []byte("x"))
		}
	}
	return c
}

// TestPartsTellBadCellsInOrder: parts that are taken in side by side, or after
// one that comes later, give what a Collector alone gives.
func TestPartsTellBadCellsInOrder(t *testing.T) {
	const parts, batches, size = 12, 4, 100
	type telling struct {
		bad    []string
		counts Counts
	}
	collect := func(take func(t *testing.T, p *Parts, c *Collector)) (got telling) {
		b := NewBuilder(Options{Spill: t.TempDir()})
		defer b.Close()
		c := NewCollector(rules, b, func(row, n int64, reason schemas.Reason, cell []byte) error {
			got.bad = append(got.bad, fmt.Sprint(row, n, reason, len(cell)))
			return nil
		})
		p := NewParts(c)
		take(t, p, c)
		if p.bytes != 0 || len(p.held)+len(p.ended) > 0 {
			t.Errorf("%d bytes of %d parts are left", p.bytes, len(p.held))
		}
		var err error
		if got.counts, err = c.Counts(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	batch := func(part, i int) schemas.Cells { return mixed((part*batches+i)*size, size) }
	takePart := func(t *testing.T, p *Parts, part int) {
		for i := range batches {
			c := batch(part, i)
			if err := p.Add(context.Background(), part, c); err != nil {
				t.Error(err)
			}
			for _, cell := range c.Values {
				clear(cell) // it is valid during Add only
			}
		}
		if err := p.End(part); err != nil {
			t.Error(err)
		}
	}
	want := collect(func(t *testing.T, _ *Parts, c *Collector) {
		for part := range parts {
			for i := range batches {
				if err := c.Add(batch(part, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	for _, workers := range []int{1, 2, 5} {
		got := collect(func(t *testing.T, p *Parts, _ *Collector) {
			var begun atomic.Int64
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for part := int(begun.Add(1)) - 1; part < parts; part = int(begun.Add(1)) - 1 {
						takePart(t, p, part)
					}
				})
			}
			wg.Wait()
		})
		if !slices.Equal(got.bad, want.bad) || fmt.Sprint(got.counts) != fmt.Sprint(want.counts) {
			t.Errorf("%d workers: %d bad cells and counts %v, want %d and %v", workers, len(got.bad), got.counts, len(want.bad), want.counts)
		}
	}

	// Small parts of three end in any order.
	for _, order := range [][]int{{2, 1, 0}, {1, 2, 0}, {0, 2, 1}} {
		var rows []int64
		b := NewBuilder(Options{Spill: t.TempDir()})
		p := NewParts(NewCollector(rules, b, func(row, _ int64, _ schemas.Reason, _ []byte) error { rows = append(rows, row); return nil }))
		for _, part := range order {
			for i := range 2 {
				if err := p.Add(context.Background(), part, schemas.Cells{First: int64(2*part + i), Values: [][]byte{[]byte("x")}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.End(part); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
		if !slices.Equal(rows, []int64{0, 1, 2, 3, 4, 5}) {
			t.Errorf("parts that end in order %v tell rows %v", order, rows)
		}
	}
}

// TestPartsHoldLittle: a part with too many bad cells waits for those before it,
// until the scan ends.
func TestPartsHoldLittle(t *testing.T) {
	b := NewBuilder(Options{Spill: t.TempDir()})
	defer b.Close()
	p := NewParts(NewCollector(rules, b, func(row, _ int64, _ schemas.Reason, _ []byte) error {
		return fmt.Errorf("row %d is told of before those of part 0", row)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	added := make(chan error)
	go func() {
		cell := bytes.Repeat([]byte("x"), maxHeld/4)
		added <- p.Add(ctx, 1, schemas.Cells{Values: slices.Repeat([][]byte{cell}, 9)})
	}()
	held := func() int {
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		return p.bytes
	}
	for held() < maxHeld/2 {
		select {
		case err := <-added:
			t.Fatal(err)
		default:
		}
	}
	cancel()
	if err := <-added; !errors.Is(err, context.Canceled) {
		t.Fatalf("adding ends with %v", err)
	}
	if n := held(); n > maxHeld {
		t.Errorf("%d bytes are held", n)
	}
}

func TestPartsStopWhenQuarantineFails(t *testing.T) {
	bad := schemas.Cells{Values: [][]byte{[]byte("x")}}
	fresh := func() *Parts {
		b := NewBuilder(Options{Spill: t.TempDir()})
		t.Cleanup(b.Close)
		return NewParts(NewCollector(rules, b, func(_, _ int64, _ schemas.Reason, _ []byte) error { return errFault }))
	}
	if err := fresh().Add(context.Background(), 0, bad); !errors.Is(err, errFault) {
		t.Errorf("of the first part: %v", err)
	}
	p := fresh()
	if err := p.Add(context.Background(), 1, bad); err != nil {
		t.Fatal(err)
	}
	if err := p.End(0); !errors.Is(err, errFault) {
		t.Errorf("of the second part: %v", err)
	}
}
