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
	undisturbed := newBench(t)
	undisturbed.mustRun()
	want := listBytes(t, undisturbed)
	for _, stored := range []bool{false, true} {
		step := 0
		for ; ; step++ {
			b := newBench(t)
			n := 0
			errDead := errors.New("dead")
			b.disk = durable.Disk{Fault: func(durable.Step, string) (bool, error) {
				n++
				if n <= step {
					return false, nil
				}
				return stored && n == step+1, errDead
			}}
			_, err := b.run(context.Background())
			reached := n > step
			if !reached {
				if err != nil {
					t.Fatalf("undisturbed: %v", err)
				}
				break
			}
			if err == nil {
				t.Fatalf("step %d stored=%v: the failure was not seen", step, stored)
			}
			b.disk = durable.Disk{}
			if ended(t, b) {
				// Only the report was not written any more.
				b.operator.batches = 0
			}
			b.mustRun()
			if b.operator.batches > 7 {
				t.Fatalf("step %d stored=%v: %d batches were asked, want at most 7", step, stored, b.operator.batches)
			}
			if !bytes.Equal(listBytes(t, b), want) {
				t.Fatalf("step %d stored=%v: another suppression list", step, stored)
			}
		}
		if step < 30 {
			t.Fatalf("only %d steps were reached", step)
		}
		t.Logf("stored=%v: %d steps", stored, step)
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
			b.disk = durable.Disk{Fault: func(durable.Step, string) (bool, error) {
				if dead {
					return false, errors.New("dead")
				}
				return false, nil
			}}
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
