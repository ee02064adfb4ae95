package prove

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// purge removes all that may go.
func (w *world) purge() schemas.PurgeResult {
	w.t.Helper()
	workspace, err := sweep.OpenWorkspace(durable.Disk{}, w.dir, w.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer workspace.Close()
	p, err := workspace.Purge(context.Background(), sweep.Retention{IDsBefore: w.clock, RunsBefore: w.clock, LedgerBefore: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// What a cut ledger no longer tells is named; what is left is told as before.
func TestCutLedgerIsAGap(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	w.run(false)
	w.run(false)
	w.operator.optedOut[testID(6)] = 1_600_000_000_000
	third := w.run(false)
	w.run(true)
	if p := w.purge(); p.Ledger.Runs != 2 {
		t.Fatalf("%+v", p.Ledger)
	}

	p := w.prove(testID(6)) // by the run that is left
	if u := p.Units[0]; u.FlaggedBy == nil || u.FlaggedBy.Run != third || !u.FlaggedBefore.IsZero() || p.Listing == nil || p.Listing.Run != third {
		t.Errorf("%+v, %+v", p.Units, p.Listing)
	}
	if gaps := strings.Join(p.Gaps, "\n"); !strings.Contains(gaps, "runs and unflags until 2026-05-01T") || !strings.Contains(gaps, "retention has removed events 1 to ") {
		t.Errorf("gaps %q", gaps)
	}
	w.run(false)
	w.purge()
	p = w.prove(testID(4)) // by a run that is gone
	if u := p.Units[0]; u.FlaggedBy != nil || u.FlaggedBefore.IsZero() || len(u.Receipts) != 1 || p.Listing == nil || p.Listing.Run != "" {
		t.Errorf("%+v, %+v", p.Units, p.Listing)
	}
	if p = w.prove(testID(8)); p.Listing != nil || p.Units[0].FlaggedBy != nil || !p.Units[0].FlaggedBefore.IsZero() {
		t.Errorf("%+v, %+v", p.Units, p.Listing)
	}
}

// The list is found although the run that told of it is gone.
func TestListingOutlivesItsRun(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.operator.optedOut[testID(4)] = 1_600_000_000_000
	w.disk.Fault = func(_ durable.Step, path string) (bool, error) {
		if filepath.Base(path) == sweep.ApplyJournal {
			return false, errors.New("dead")
		}
		return false, nil
	}
	w.run(false)
	w.disk.Fault = nil
	w.run(true)
	if p := w.purge(); p.Ledger.Runs != 1 {
		t.Fatalf("%+v", p.Ledger)
	}
	if p := w.prove(testID(4)); p.Listing == nil || p.Listing.SinceMS != 1_600_000_000_000 {
		t.Errorf("%+v", p)
	}
}
