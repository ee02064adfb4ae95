package sweep

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"optsweep/schemas"
	"optsweep/schemas/durable"
	"optsweep/schemas/durable/powerloss"
)

// Whatever durable step of a purge fails, stored or not: the ledger can be
// read, no event is gone that a cut does not name, no folder is left whose
// events are gone, and the next purge completes it.
func TestPurgeOfTheLedgerSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for step := 0; ; step++ {
			b := newBench(t)
			runs := b.months()
			whole, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				if n++; n > step {
					return stored && n == step+1, errors.New("dead")
				}
				return false, nil
			})}
			_, err = b.purge(b.all())
			reached := n > step
			if reached == (err == nil) {
				t.Fatalf("step %d stored=%v: %v", step, stored, err)
			}
			b.disk = durable.Disk{}
			b.afterPurge(fmt.Sprintf("step %d stored=%v", step, stored), runs, whole)
			if !reached {
				if step < 15 {
					t.Fatalf("only %d steps", step)
				}
				break
			}
		}
	}
}

// afterPurge checks what a purge left that died somewhere, and completes it.
func (b *bench) afterPurge(at string, runs []string, whole []byte) {
	b.t.Helper()
	_, end := b.readLedger()
	now, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
	if err != nil {
		b.t.Fatal(err)
	}
	left := bytes.SplitAfterN(whole, []byte("\n"), int(end.Begin().Seq)+1)
	if !bytes.HasPrefix(now, left[end.Begin().Seq]) {
		b.t.Fatalf("%s: what stays is not what was there", at)
	}
	if end.Cut != nil && (b.has(runsDir, runs[0]) || b.has(runsDir, runs[1])) {
		b.t.Fatalf("%s: a folder is left whose events are gone", at)
	}
	if _, err := b.purge(b.all()); err != nil {
		b.t.Fatalf("%s: %v", at, err)
	}
	events, end := b.readLedger()
	if b.has(runsDir, runs[0]) || b.has(runsDir, runs[1]) || end.Pending != nil || events[0].Run != runs[2] || b.ledgerTypes()[schemas.EventLedgerCut] != 1 {
		b.t.Fatalf("%s: not completed: %+v", at, end)
	}
	if temps, _ := filepath.Glob(filepath.Join(b.dir, ".*")); len(temps) > 0 {
		b.t.Fatalf("%s: left %v", at, temps)
	}
	if rep := b.mustRun(); rep.Tables[0].UnitsChanged != 0 || rep.IDs.Known != 9 {
		b.t.Fatalf("%s: the next run: %+v", at, rep)
	}
}

// The power goes at any durable step of a purge.
func TestPurgeSurvivesAPowerLoss(t *testing.T) {
	t.Parallel()
	for _, cut := range []powerloss.Cut{{}, {Stored: true}, {Torn: true}} {
		for ; ; cut.Step++ {
			b := newBench(t)
			runs := b.months()
			whole, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
			if err != nil {
				t.Fatal(err)
			}
			power := watch(t, b, b.dir, cut)
			_, err = b.purge(b.all())
			reached := power.Dead()
			if !reached && err != nil {
				t.Fatalf("%+v: %v", cut, err)
			}
			if err := power.Lose(); err != nil {
				t.Fatal(err)
			}
			b.disk = durable.Disk{}
			b.afterPurge(fmt.Sprintf("%+v", cut), runs, whole)
			if !reached {
				if cut.Step < 15 {
					t.Fatalf("only %d steps", cut.Step)
				}
				break
			}
		}
	}
}

// A cut that was begun is completed by the next purge, whatever that one is
// told; what follows it is left to its own ages.
func TestCutThatWasBegunIsCompleted(t *testing.T) {
	b := newBench(t)
	runs := b.months()
	// What a process that was killed in the midst of it leaves.
	temp := filepath.Join(b.dir, "."+ledgerFile+".ABCDEFGH"+durable.TempSuffix)
	if err := os.WriteFile(temp, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.disk = durable.Disk{Fault: oneByOne(func(s durable.Step, path string) (bool, error) {
		if s == durable.Rename && filepath.Base(path) == ledgerFile {
			return false, errors.New("dead")
		}
		return false, nil
	})}
	if _, err := b.purge(b.all()); err == nil {
		t.Fatal("the failure was not seen")
	}
	b.disk = durable.Disk{}
	b.mustRun() // reads a ledger whose cut has not happened
	if _, end := b.readLedger(); end.Cut != nil || end.Pending == nil {
		t.Fatalf("%+v", end)
	}
	p := b.mustPurge(Retention{})
	if _, err := os.Stat(temp); err == nil {
		t.Error("a part of the ledger is left")
	}
	events, end := b.readLedger()
	if end.Cut == nil || end.Pending != nil || events[0].Run != runs[2] || p.Ledger.Runs != 2 || p.Ledger.Events != end.Begin().Seq {
		t.Errorf("%+v, %+v", p.Ledger, end)
	}
	if b.ledgerTypes()[schemas.EventLedgerCut] != 1 {
		t.Error("it was announced again")
	}
}
