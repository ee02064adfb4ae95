package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Every durable step of a run fails once, with and without its effect being
// stored, and the process is taken to be dead from then on: nothing else
// reaches the disk. The next run must end as an undisturbed one would, with at
// most one batch asked again.
func TestRunSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*bench) // what happens before
		writes  int          // of units, in an undisturbed run
		steps   int          // at least
	}{
		"first run": {func(*bench) {}, 2, 30},
		"after a restore": {func(b *bench) {
			b.mustRun()
			b.restore()
			b.operator.optedOut[testID(1)] = 1_650_000_000_000 // in unit a only
		}, 2, 40},
		"after a restore, offline": {func(b *bench) {
			b.mustRun()
			b.restore()
			b.job.Started.Offline = true
		}, 1, 30},
		"with own lists": {func(b *bench) {
			b.importOwn("a", own{1: late, 7: early, 28: late})
			b.importOwn("b", own{1: early, 50: late})
		}, 4, 36},
		"kept to a plan, let past limits": {func(b *bench) {
			b.keepToPlan()
			b.job.Limits.MaxNewFlags, b.job.Limits.MaxQuarantined = 0, 0
			b.job.Override = Override{Limits: Overridable(), User: "alice", Host: "alpha"}
		}, 2, 32},
	} {
		t.Run(name, func(t *testing.T) {
			undisturbed := newBench(t)
			c.prepare(undisturbed)
			batches, writes := undisturbed.operator.batches, undisturbed.writes()
			rep := undisturbed.mustRun()
			if writes = undisturbed.writes() - writes; writes != c.writes {
				t.Fatalf("%d writes of units, want %d", writes, c.writes)
			}
			for _, stored := range []bool{false, true} {
				n := crashTable(t, c.prepare, stored, undisturbed, undisturbed.operator.batches-batches+1, rep)
				t.Logf("stored=%v: %d steps", stored, n)
				if n < c.steps {
					t.Fatalf("only %d steps were reached", n)
				}
			}
		})
	}
}

// crashTable lets one durable step after the other be the last one of a run
// and tells how many there are.
func crashTable(t *testing.T, prepare func(*bench), stored bool, undisturbed *bench, maxBatches int, want schemas.Report) int {
	for step := 0; ; step++ {
		b := newBench(t)
		prepare(b)
		batches, writes := b.operator.batches, b.writes()
		n := 0
		errDead := errors.New("dead")
		b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
			n++
			if n <= step {
				return false, nil
			}
			return stored && n == step+1, errDead
		})}
		_, err := b.run(context.Background())
		if n <= step {
			if err != nil {
				t.Fatalf("undisturbed: %v", err)
			}
			return step
		}
		if err == nil {
			t.Fatalf("step %d stored=%v: the failure was not seen", step, stored)
		}
		b.disk = durable.Disk{}
		over := ended(t, b) // only the report was not written any more
		if over {
			batches = b.operator.batches
			b.job.Plan, b.job.Started.Plan = nil, "" // which the run has fulfilled
		}
		got := b.mustRun()
		if asked := b.operator.batches - batches; asked > maxBatches {
			t.Fatalf("step %d stored=%v: %d batches were asked, want at most %d", step, stored, asked, maxBatches)
		}
		if !bytes.Equal(listBytes(t, b), listBytes(t, undisturbed)) {
			t.Fatalf("step %d stored=%v: another suppression list", step, stored)
		}
		if written, most := b.writes()-writes, undisturbed.writes()-writes; written > most {
			t.Fatalf("step %d stored=%v: %d writes of units, want at most %d", step, stored, written, most)
		}
		if !over && (got.Tables[0].RowsNew != want.Tables[0].RowsNew || len(got.Overrides) != len(want.Overrides)) {
			t.Fatalf("step %d stored=%v: %+v, %+v, want %+v", step, stored, got.Tables[0], got.Overrides, want.Tables[0])
		}
	}
}

// The process dies between two durable effects outside its own disk: around
// the replacement of a unit.
func TestRunSurvivesDeathAroundTheReplacementOfAUnit(t *testing.T) {
	for name, arm := range map[string]func(*bench, *bool){
		"before": func(b *bench, dead *bool) { b.table.onApply = func(schemas.Unit) { *dead = true } },
		"after": func(b *bench, dead *bool) {
			b.table.afterPub = func(schemas.Unit) error { *dead = true; return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			dead := false
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				if dead {
					return false, errors.New("dead")
				}
				return false, nil
			})}
			arm(b, &dead)
			if _, err := b.run(context.Background()); err == nil {
				t.Fatal("the death was not seen")
			}
			b.disk = durable.Disk{}
			b.table.onApply, b.table.afterPub = nil, nil
			rep := b.mustRun()
			if rep.Tables[0].RowsNew != 13 || rep.Resumed != 1 {
				t.Errorf("resumed %d times, table %+v", rep.Resumed, rep.Tables[0])
			}
			for _, u := range b.table.units {
				if u.version != 1 {
					t.Errorf("unit %s was written %d times", u.name, u.version)
				}
			}
		})
	}
}

// ended tells whether the last run of the workspace is finished.
func ended(t *testing.T, b *bench) bool {
	t.Helper()
	var last schemas.EventType
	if _, err := ledger.Read(filepath.Join(b.dir, ledgerFile), func(e schemas.Event) error {
		last = e.Type
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return last == schemas.EventRunFinished
}

// listBytes is the suppression list in force.
func listBytes(t *testing.T, b *bench) []byte {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(b.dir, listDir, "*.ids"))
	if err != nil || len(lists) == 0 {
		t.Fatal(fmt.Sprint("no list: ", err))
	}
	data, err := os.ReadFile(lists[len(lists)-1])
	if err != nil {
		t.Fatal(err)
	}
	return data
}
