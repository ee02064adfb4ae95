package sweep

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"optsweep/schemas"
)

// countingTarget counts how often each unit was to be flagged.
type countingTarget struct {
	*memoryTable
	mu    sync.Mutex
	calls map[string]int
}

func (c *countingTarget) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	c.mu.Lock()
	c.calls[u.Name]++
	c.mu.Unlock()
	return c.memoryTable.Apply(ctx, u, since, commit)
}

func (c *countingTarget) TakesRows() bool { return false }

func (b *bench) countCalls() map[string]int {
	c := &countingTarget{memoryTable: b.table, calls: map[string]int{}}
	b.job.Tables[0].Target = c
	return c.calls
}

func TestKnownFlagsComeBackBeforeAnythingIsAsked(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	a := b.table.units[0]
	want := slices.Clone(a.since)
	b.restore()
	b.operator.optedOut[testID(1)] = 1_650_000_000_000
	asked := 0
	b.operator.fail = func(int) error {
		asked++
		if !slices.Equal(a.since, want) {
			t.Error("the operator was asked while known flags were missing")
		}
		return nil
	}
	rep := b.mustRun()
	if asked == 0 {
		t.Fatal("nothing was asked")
	}
	table := rep.Tables[0]
	if table.RowsReapplied != 7 || table.RowsNew != 8 || table.UnitsChanged != 1 || rep.Status != schemas.StatusReconciled {
		t.Errorf("%s, %+v", rep.Status, table)
	}
}

// What a usual day brings: unchanged units, new ones with and without known
// ids. No unit is written twice, and none is looked at without need.
func TestReapplyLeavesAloneWhatNeedsNothing(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	add := func(name string, ids ...int) {
		u := &memoryUnit{name: name, since: make([]int64, len(ids))}
		for _, n := range ids {
			u.cells = append(u.cells, testCell(n))
		}
		b.table.units = append(b.table.units, u)
	}
	add("clear", 1, 2, 3)
	add("known", 7, 8, 14)
	add("hit", 63, 64) // 63 is opted out and was never asked about
	calls := b.countCalls()
	b.job.Workers = 3
	rep := b.mustRun()
	for name, want := range map[string]int{"a": 0, "b": 0, "clear": 1, "known": 2, "hit": 1} {
		if calls[name] != want {
			t.Errorf("unit %s: %d calls, want %d", name, calls[name], want)
		}
	}
	for i, want := range []int{1, 1, 0, 1, 1} {
		if got := b.table.units[i].version; got != want {
			t.Errorf("unit %s was written %d times, want %d", b.table.units[i].name, got, want)
		}
	}
	if table := rep.Tables[0]; table.RowsReapplied != 2 || table.RowsNew != 3 || table.UnitsChanged != 2 {
		t.Errorf("table %+v", table)
	}
}

// Another job file may name another column, in which nothing is flagged yet.
func TestKnownFlagsComeFirstUnderANewJobFile(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.job.Started.ConfigDigest = "c2"
	for _, u := range b.table.units {
		u.since = make([]int64, len(u.since))
	}
	if rep := b.mustRun(); rep.Tables[0].RowsReapplied != 13 {
		t.Errorf("table %+v", rep.Tables[0])
	}
}

func TestUnitThatCannotBeReappliedFailsAlone(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.restore()
	b.table.applyErr = map[string]error{"a": errors.New("read only")}
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Partial || len(rep.Failures) != 1 || rep.Failures[0].Phase != "reapply" {
		t.Fatalf("%v, %+v", err, rep.Failures)
	}
	b.table.applyErr = nil
	if rep := b.mustRun(); rep.Tables[0].RowsReapplied != 7 {
		t.Errorf("table %+v", rep.Tables[0])
	}
}

// A unit that was flagged by an interrupted run and then put back to its old
// state is not taken for finished.
func TestUnitPutBackDuringAnInterruptionIsFlaggedAgain(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.table.onApply = func(u schemas.Unit) {
		if u.Name == "b" {
			cancel()
		}
	}
	first, err := b.run(ctx)
	if err == nil || b.table.units[0].version != 1 || b.table.units[1].version != 0 {
		t.Fatalf("%v, versions %d and %d", err, b.table.units[0].version, b.table.units[1].version)
	}
	a := b.table.units[0]
	a.version, a.since = 0, make([]int64, len(a.since))
	b.table.onApply = nil
	if rep := b.mustRun(); rep.Run == first.Run {
		t.Error("the run was resumed")
	}
}
