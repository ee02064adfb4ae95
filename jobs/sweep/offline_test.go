package sweep

import (
	"context"
	"errors"
	"testing"

	"optsweep/schemas"
)

func (b *bench) goOffline() { b.job.Started.Offline = true }

func TestOfflineRunAppliesWhatIsKnownAndClaimsNothingElse(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.restore()
	b.goOffline()
	b.operator.fail = func(int) error { return errors.New("asked") }
	before := listBytes(t, b)
	rep := b.mustRun()
	if rep.Status != schemas.StatusReapplied || !rep.Offline || rep.Tables[0].Status != schemas.StatusReapplied {
		t.Errorf("status %s, table %s", rep.Status, rep.Tables[0].Status)
	}
	ids := rep.IDs
	if ids.Distinct != 60 || ids.Known != 9 || ids.Unverifiable[schemas.NotAsked] != 51 || ids.Asked != 0 || ids.Clear != 0 || ids.Batches != 0 || ids.NewestMS != 0 {
		t.Errorf("ids %+v", ids)
	}
	if rep.Tables[0].RowsNew != 7 || rep.Suppression.Added != 0 || string(listBytes(t, b)) != string(before) {
		t.Errorf("table %+v, suppression %+v", rep.Tables[0], rep.Suppression)
	}
	if b.operator.batches != 6 {
		t.Error("the operator was asked")
	}
}

func TestOfflineRunNeedsAListOfEarlierRuns(t *testing.T) {
	b := newBench(t)
	b.goOffline()
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" || rep.Run != "" {
		t.Fatalf("got %v, run %q", err, rep.Run)
	}
	b.job.Started.Offline = false
	b.mustRun()
}

func TestOfflineAndUsualRunsDoNotTakeEachOtherUp(t *testing.T) {
	for _, offline := range []bool{false, true} {
		b := newBench(t)
		b.mustRun()
		b.restore()
		b.job.Started.Offline = offline
		ctx, cancel := context.WithCancel(context.Background())
		b.table.onApply = func(schemas.Unit) { cancel() }
		first, err := b.run(ctx)
		if schemas.ClassOf(err) != schemas.Cancelled {
			t.Fatalf("got %v", err)
		}
		b.table.onApply = nil
		b.job.Started.Offline = !offline
		if rep := b.mustRun(); rep.Run == first.Run || rep.Offline == offline {
			t.Errorf("offline=%v: the run was taken up", offline)
		}
	}
}

// What an offline run did not find out is no measure for later runs.
func TestOfflineRunLeavesTheMeasureOfHits(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.strangers()
	b.goOffline()
	b.job.Limits.AllowZeroHits = true
	b.mustRun()
	b.job.Started.Offline, b.job.Limits.AllowZeroHits = false, false
	b.mustStop(zeroHits)
}
