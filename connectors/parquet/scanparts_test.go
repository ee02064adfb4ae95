package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

// cellAt is a cell and its row.
type cellAt struct {
	row  int64
	cell []byte
}

func appendCells(all []cellAt, c schemas.Cells) []cellAt {
	for i, cell := range c.Values {
		all = append(all, cellAt{c.Row(i), bytes.Clone(cell)})
	}
	return all
}

// checkParts holds ScanParts against Scan.
func checkParts(t testing.TB, tab *parquet.Table, u schemas.Unit) {
	t.Helper()
	var want []cellAt
	if err := tab.Scan(context.Background(), u, func(c schemas.Cells) error { want = appendCells(want, c); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 2, 5} {
		var mu sync.Mutex
		parts := map[int][]cellAt{}
		var ended []int
		err := tab.ScanParts(context.Background(), u, n, func(_ context.Context, part int, c schemas.Cells) error {
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(ended, part) {
				t.Errorf("part %d goes on after its end", part)
			}
			parts[part] = appendCells(parts[part], c)
			return nil
		}, func(part int) error {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, part)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(ended)
		var got []cellAt
		for i, part := range ended {
			if i != part {
				t.Fatalf("ended parts %v", ended)
			}
			got = append(got, parts[part]...)
		}
		same := func(a, b cellAt) bool {
			return a.row == b.row && (a.cell == nil) == (b.cell == nil) && bytes.Equal(a.cell, b.cell)
		}
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("%d at a time: %d cells in %d parts differ from the %d of Scan", n, len(got), len(ended), len(want))
		}
	}
}

func TestScanPartsGivesWhatScanGives(t *testing.T) {
	for _, path := range fixtures(t) {
		tab := table(t, path)
		checkParts(t, tab, plan(t, tab)[0])
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	for _, groups := range [][]int{{10_000}, {5000, 1, 9000, 4096, 3}} {
		shape{groups: groups, distinct: 100}.write(t, path)
		tab := table(t, path)
		checkParts(t, tab, plan(t, tab)[0])
	}
}

// TestScanPartsBeginsInOrder: a part that waits for all before it is no
// deadlock, and parts do run side by side.
func TestScanPartsBeginsInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{10, 10, 10, 10, 10, 10}, distinct: 100}.write(t, path)
	tab := table(t, path)
	begun := make([]chan struct{}, 6)
	for i := range begun {
		begun[i] = make(chan struct{})
	}
	err := tab.ScanParts(context.Background(), plan(t, tab)[0], 2, func(ctx context.Context, part int, _ schemas.Cells) error {
		close(begun[part])
		<-begun[part^1] // the other one of two
		return nil
	}, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestScanPartsStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "x.parquet")
	end := func(int) error { return nil }
	for _, groups := range [][]int{{30_000}, {30_000, 30_000, 30_000}} {
		write := func() { shape{groups: groups, distinct: 100}.write(t, path) }
		write()
		tab := table(t, path)
		u := plan(t, tab)[0]
		stop := errors.New("stop")
		err := tab.ScanParts(context.Background(), u, 2, func(ctx context.Context, part int, _ schemas.Cells) error {
			if part == 0 {
				return stop
			}
			<-ctx.Done() // that of the scan
			return ctx.Err()
		}, end)
		if !errors.Is(err, stop) {
			t.Errorf("%d groups: %v", len(groups), err)
		}
		err = tab.ScanParts(context.Background(), u, 2, func(context.Context, int, schemas.Cells) error { return nil }, func(int) error { return stop })
		if !errors.Is(err, stop) {
			t.Errorf("%d groups, at the end of a part: %v", len(groups), err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		err = tab.ScanParts(ctx, u, 2, func(context.Context, int, schemas.Cells) error { cancel(); return nil }, end)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d groups, cancelled: %v", len(groups), err)
		}
		groups[0]--
		var ended atomic.Int64
		err = tab.ScanParts(context.Background(), u, 2, func(context.Context, int, schemas.Cells) error { return nil }, func(int) error {
			if int(ended.Add(1)) == len(groups) {
				write()
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "changed") {
			t.Errorf("%d groups, of a file that changes: %v", len(groups), err)
		}
		if err := tab.ScanParts(context.Background(), u, 2, nil, nil); err == nil || !strings.Contains(err.Error(), "changed") {
			t.Errorf("%d groups, of a file that has changed: %v", len(groups), err)
		}
	}
}
