package sweep

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"optsweep/schemas"
)

// partsTable gives the parts of a unit two at a time, the second one first. One
// cell is a part.
type partsTable struct {
	*memoryTable
	many int // units of which several parts were asked for at a time
}

func (t *partsTable) ScanParts(ctx context.Context, u schemas.Unit, n int,
	yield func(context.Context, int, schemas.Cells) error, end func(int) error) error {
	if n > 1 {
		t.many++
	}
	var all []schemas.Cells
	err := t.Scan(ctx, u, func(c schemas.Cells) error {
		for i, cell := range c.Values {
			all = append(all, schemas.Cells{First: c.First + int64(i), Values: [][]byte{cell}})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range all {
		part := i ^ 1
		if part == len(all) {
			part = i
		}
		if err := yield(ctx, part, all[part]); err != nil {
			return err
		}
		if err := end(part); err != nil {
			return err
		}
	}
	return nil
}

// TestPartsAreExtractedLikeTheWhole: what a run leaves does not depend on
// whether parts came side by side.
func TestPartsAreExtractedLikeTheWhole(t *testing.T) {
	extract := func(parts bool) (got [3]string) {
		b := newBench(t)
		b.job.Workers = 3
		a := b.table.units[0]
		for range 20 {
			a.cells = append(a.cells, []byte("x"), []byte("someone@example.com"), []byte{}, testCell(3))
		}
		a.since = make([]int64, len(a.cells))
		b.table.units = b.table.units[:1]
		table := &partsTable{memoryTable: b.table}
		if parts {
			b.job.Tables[0].Source = table
		}
		b.mustRun()
		for i, name := range []string{QuarantineFile(0), unitFile(0), filepath.Join(shardsDir, "shard-000000.ids")} {
			data, err := os.ReadFile(filepath.Join(lastRun(t, b), name))
			if err != nil {
				t.Fatal(err)
			}
			got[i] = string(data)
		}
		lines, err := csv.NewReader(strings.NewReader(got[0])).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			line[4] = "" // a pseudonym of this workspace
		}
		got[0] = fmt.Sprint(lines)
		if parts && table.many != 1 {
			t.Errorf("%d units were read in parts", table.many)
		}
		return got
	}
	if extract(true) != extract(false) {
		t.Error("they differ")
	}
}

// TestBrokenPartFailsItsUnitAlone: a part that waits for one that breaks ends
// with it, and is no fault of the workspace.
func TestBrokenPartFailsItsUnitAlone(t *testing.T) {
	b := newBench(t)
	b.job.Tables[0].Source = brokenParts{b.table}
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Partial {
		t.Fatal(err)
	}
	if len(rep.Failures) != 1 || rep.Failures[0].Unit != "a" || rep.Failures[0].Hint != "mend it" {
		t.Errorf("failures %+v", rep.Failures)
	}
}

// brokenParts breaks in the first part of unit a, when the second one has more
// bad cells than can be held.
type brokenParts struct{ *memoryTable }

func (t brokenParts) ScanParts(ctx context.Context, u schemas.Unit, n int,
	yield func(context.Context, int, schemas.Cells) error, end func(int) error) error {
	if u.Name != "a" {
		return (&partsTable{memoryTable: t.memoryTable}).ScanParts(ctx, u, n, yield, end)
	}
	parts, ctx := errgroup.WithContext(ctx)
	waits := make(chan struct{})
	parts.Go(func() error {
		for at := int64(0); ; at++ {
			if at == 1 {
				close(waits)
			}
			if err := yield(ctx, 1, schemas.Cells{First: at, Values: [][]byte{make([]byte, 1<<19)}}); err != nil {
				return err
			}
		}
	})
	parts.Go(func() error {
		<-waits
		return schemas.Errorf(schemas.Failed, "broken").WithHint("mend it")
	})
	return parts.Wait()
}
