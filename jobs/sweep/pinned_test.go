package sweep

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"optsweep/schemas"
)

// pinnedTable is a memoryTable whose units are copied when a run first scans
// them; its cells come as distinct ones, without a place.
type pinnedTable struct {
	*memoryTable
	copies map[string]map[string]int64 // by run and unit: cells, and how many
	runs   []schemas.RunRef            // that scanned
	cancel context.CancelFunc          // of the run, before its first copy
}

func (t *pinnedTable) key(u schemas.Unit) string { return u.Run.ID + "/" + u.Name }

func (t *pinnedTable) Pinned(_ context.Context, u schemas.Unit) (bool, error) {
	_, ok := t.copies[t.key(u)]
	return ok, nil
}

func (t *pinnedTable) Scan(_ context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	t.runs = append(t.runs, u.Run)
	if t.cancel != nil {
		t.cancel()
		return context.Canceled
	}
	cells, ok := t.copies[t.key(u)]
	if !ok {
		cells = map[string]int64{}
		for _, cell := range t.unit(u.Name).cells {
			cells[string(cell)]++ // a NULL as the empty text, which no cell is
		}
		t.copies[t.key(u)] = cells
	}
	c := schemas.Cells{First: schemas.NoRow}
	for cell, n := range cells {
		value := []byte(cell)
		if cell == "" {
			value = nil
		}
		c.Values, c.Counts = append(c.Values, value), append(c.Counts, n)
	}
	return yield(c)
}

// Apply flags the copied ids in the unit as it is by now.
func (t *pinnedTable) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	m, cells := t.unit(u.Name), t.copies[t.key(u)]
	now := u
	now.Version = fmt.Sprint(m.version)
	copied := func(cell []byte) (int64, bool) {
		if _, ok := cells[string(cell)]; !ok {
			return 0, false
		}
		return since(cell)
	}
	snapshot := func(r schemas.Receipt) schemas.Receipt { // figures are those of the copy
		r.Rows, r.Nulls, r.OptedOut = 0, cells[""], 0
		for cell, n := range cells {
			r.Rows += n
			if _, ok := since([]byte(cell)); ok {
				r.OptedOut += n
			}
		}
		r.Kept, r.Flagged, r.Confirmed = 0, r.OptedOut, r.OptedOut
		return r
	}
	r, err := t.memoryTable.Apply(ctx, now, copied, func(r schemas.Receipt) error {
		r.VersionAfter = ""
		return commit(snapshot(r))
	})
	return snapshot(r), err
}

// A run over copies goes on after a crash although the table changes all the
// time; what it asked is not asked again, and what came later is the next
// run's.
func TestPinnedUnitsMayChange(t *testing.T) {
	b := newBench(t)
	pinned := &pinnedTable{memoryTable: b.table, copies: map[string]map[string]int64{}}
	b.job.Tables = []Table{{Name: "crm", Source: pinned, Target: pinned}}
	b.operator.fail = func(batch int) error {
		if batch == 4 {
			return errors.New("killed")
		}
		return nil
	}
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the run was not interrupted")
	}
	b.operator.fail = nil
	late := b.table.units[0]
	late.cells, late.since = append(late.cells, testCell(77)), append(late.since, 0)
	late.version += 7
	rep, err := b.run(context.Background())
	if err != nil || rep.Resumed != 1 || rep.Status != schemas.StatusReconciled {
		t.Fatalf("%v, resumed %d times, %s", err, rep.Resumed, rep.Status)
	}
	for id, n := range b.operator.asked {
		if n > 2 || id == testID(77) {
			t.Errorf("an id was asked %d times", n)
		}
	}
	if twice := count(b.operator.asked, 2); twice > b.operator.batch {
		t.Errorf("%d ids were asked twice, a batch has %d", twice, b.operator.batch)
	}
	for _, run := range pinned.runs {
		if run.ID != rep.Run || rep.StartedAt.UnixMilli()-run.StartedMS > 100 || run != refOf(rep.Run) {
			t.Errorf("scanned for run %+v", run)
		}
	}
	if late.since[len(late.since)-1] != 0 {
		t.Error("a row that was not checked is flagged")
	}
	b.mustRun()

	// Cells without a place are listed once, with the number of rows.
	data, err := os.Open(filepath.Join(b.dir, runsDir, rep.Run, QuarantineFile(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	lines, err := csv.NewReader(data).ReadAll()
	if err != nil || len(lines) != 2 || lines[1][2] != "" || lines[1][5] != "1" {
		t.Errorf("%q, %v", lines, err)
	}
}

// A unit that was not copied yet is judged by its version, as any other.
func TestUnpinnedUnitMustNotChange(t *testing.T) {
	b := newBench(t)
	pinned := &pinnedTable{memoryTable: b.table, copies: map[string]map[string]int64{}}
	b.job.Tables = []Table{{Name: "crm", Source: pinned, Target: pinned}}
	ctx, cancel := context.WithCancel(context.Background())
	pinned.cancel = cancel
	if _, err := b.run(ctx); schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatal(err)
	}
	pinned.cancel = nil
	b.table.units[0].version++
	if rep := b.mustRun(); rep.Resumed != 0 {
		t.Errorf("resumed %d times", rep.Resumed)
	}
}

func count(asked map[schemas.ID]int, n int) (ids int) {
	for _, times := range asked {
		if times == n {
			ids++
		}
	}
	return ids
}
