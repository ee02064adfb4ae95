package sweep

import (
	"context"
	"errors"
	"testing"

	"optsweep/schemas"
)

// finishing is a table whose units share something.
type finishing struct {
	*memoryTable
	calls map[string]int
	fail  error
	each  func()
}

func (f *finishing) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	f.calls[u.Name]++
	return f.memoryTable.Apply(ctx, u, since, commit)
}

func (f *finishing) TakesRows() bool { return false }

func (f *finishing) Clear(ctx context.Context, u schemas.Unit, match, others func([]byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	f.calls["clear "+u.Name]++
	return f.memoryTable.Clear(ctx, u, match, others, commit)
}

func (f *finishing) Finish(context.Context) error {
	f.calls["finish"]++
	f.each()
	return f.fail
}

// Nothing is on record as done before what the units share is written; if that
// fails, the same command makes up for it and for nothing else.
func TestSharedPartIsWrittenBeforeAnythingIsOnRecord(t *testing.T) {
	b := newBench(t)
	f := &finishing{memoryTable: b.table, calls: map[string]int{}, fail: errors.New("no room")}
	f.each = func() {
		if b.ledgerTypes()[schemas.EventTableApplied] != 0 || f.calls["a"] != 1 || f.calls["b"] != 1 {
			t.Errorf("finished at the wrong time: %v", f.calls)
		}
	}
	b.job.Tables[0].Target = f
	if _, err := b.run(context.Background()); !errors.Is(err, f.fail) {
		t.Fatal(err)
	}
	if b.ledgerTypes()[schemas.EventTableApplied] != 0 {
		t.Error("receipts are on record")
	}
	f.fail = nil
	if rep := b.mustRun(); rep.Status != schemas.StatusReconciled || rep.Tables[0].RowsNew == 0 || f.calls["finish"] != 2 {
		t.Errorf("%s, %+v, %v", rep.Status, rep.Tables[0], f.calls)
	}
	f.each = func() {}
	b.restore()
	b.mustRun()
	if f.calls["finish"] != 4 { // of reapply and apply
		t.Errorf("%v", f.calls)
	}
}

// An unflag whose last step fails does not treat units again that are as it left
// them.
func TestUnflagFinishesWhatUnitsShare(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	f := &finishing{memoryTable: b.table, calls: map[string]int{}, fail: errors.New("no room"), each: func() {}}
	act := func() (schemas.Unflagged, error) {
		return b.unflagIn(28, f)
	}
	if _, err := act(); !errors.Is(err, f.fail) || schemas.ClassOf(err) != schemas.Partial {
		t.Fatal(err)
	}
	f.fail = nil
	done, err := act()
	if err != nil || len(done.Receipts) != 2 || f.calls["finish"] != 2 || f.calls["clear a"] != 1 || f.calls["clear b"] != 1 {
		t.Errorf("%d receipts, %v, %v", len(done.Receipts), f.calls, err)
	}
}
