package sweep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func (b *bench) purge(r Retention) (schemas.PurgeResult, error) {
	b.t.Helper()
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		return schemas.PurgeResult{}, err
	}
	defer w.Close()
	return w.Purge(context.Background(), r)
}

func (b *bench) has(name ...string) bool {
	_, err := os.Stat(filepath.Join(append([]string{b.dir}, name...)...))
	return err == nil
}

// three runs, one a month.
func (b *bench) months() (runs []string) {
	b.t.Helper()
	for range 3 {
		runs = append(runs, b.mustRun().Run)
		b.clock = b.clock.AddDate(0, 1, 0)
	}
	return runs
}

func TestPurgeRemovesWhatIsOldAndSaysSo(t *testing.T) {
	b := newBench(t)
	runs := b.months()
	r := Retention{IDsBefore: time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC), RunsBefore: time.Date(2026, 5, 15, 0, 0, 0, 0, time.UTC), User: "ops"}
	list, before := listBytes(t, b), b.ledgerTypes()

	r.DryRun = true
	told, err := b.purge(r)
	if err != nil || !b.has(runsDir, runs[0]) || b.ledgerTypes()[schemas.EventPurged] != 0 {
		t.Fatalf("a dry run removed something: %v", err)
	}
	r.DryRun = false
	p, err := b.purge(r)
	if err != nil || p != told {
		t.Fatalf("%+v, told %+v, %v", p, told, err)
	}
	if p.Runs.Runs != 1 || p.Runs.Oldest != runs[0] || p.IDs.Runs != 1 || p.IDs.Newest != runs[1] || p.Runs.Files < 5 || p.Runs.Bytes == 0 || p.IDs.Files < 3 {
		t.Errorf("%+v", p)
	}
	if b.has(runsDir, runs[0]) || !b.has(runsDir, runs[1], reportFile) || b.has(runsDir, runs[1], shardsDir) || b.has(runsDir, runs[1], checkLog) || !b.has(runsDir, runs[2], shardsDir) {
		t.Error("too much or too little was removed")
	}
	if string(listBytes(t, b)) != string(list) {
		t.Error("the suppression list was changed")
	}
	after := b.ledgerTypes()
	if after[schemas.EventRunFinished] != before[schemas.EventRunFinished] || after[schemas.EventPurged] != 1 {
		t.Errorf("events %v", after)
	}
	if p, err := b.purge(r); err != nil || p.Runs.Files+p.IDs.Files != 0 || b.ledgerTypes()[schemas.EventPurged] != 1 {
		t.Errorf("again: %+v, %v", p, err)
	}
	if rep := b.mustRun(); rep.Tables[0].UnitsChanged != 0 || rep.IDs.Known == 0 {
		t.Errorf("the next run: %+v", rep)
	}
}

// However old it is, the last run stays, finished or not.
func TestPurgeLeavesTheLastRun(t *testing.T) {
	b := newBench(t)
	b.operator.fail = func(n int) error {
		if n == 3 {
			return errors.New("down")
		}
		return nil
	}
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the run did not fail")
	}
	all := Retention{IDsBefore: b.clock.AddDate(1, 0, 0), RunsBefore: b.clock.AddDate(1, 0, 0)}
	if p, err := b.purge(all); err != nil || p.IDs.Files+p.Runs.Files != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if rep := b.mustRun(); rep.Resumed != 1 {
		t.Errorf("resumed %d times", rep.Resumed)
	}
	if p, err := b.purge(all); err != nil || p.IDs.Files+p.Runs.Files != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
}

// Whatever durable step fails, nothing is removed that the ledger does not
// tell, and doing it again removes the rest.
func TestPurgeSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for step := 0; ; step++ {
			b := newBench(t)
			runs := b.months()
			r := Retention{IDsBefore: b.clock, RunsBefore: time.Date(2026, 5, 15, 0, 0, 0, 0, time.UTC)}
			n := 0
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				if n++; n > step {
					return stored && n == step+1, errors.New("dead")
				}
				return false, nil
			})}
			_, err := b.purge(r)
			reached := n > step
			if (!b.has(runsDir, runs[0]) || !b.has(runsDir, runs[1], checkLog)) && b.ledgerTypes()[schemas.EventPurged] == 0 {
				t.Fatalf("step %d: removed without a word", step)
			}
			b.disk = durable.Disk{}
			if _, err := b.purge(r); err != nil || b.has(runsDir, runs[0]) || b.has(runsDir, runs[1], checkLog) {
				t.Fatalf("step %d: not removed, %v", step, err)
			}
			if !reached {
				if err != nil || step < 8 {
					t.Fatalf("%d steps, %v", step, err)
				}
				break
			}
		}
	}
}
