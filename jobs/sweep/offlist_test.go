package sweep

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// unflagOff takes an id off own lists, too.
func (b *bench) unflagOff(n int, lists ...string) (schemas.Unflagged, error) {
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		return schemas.Unflagged{}, err
	}
	defer w.Close()
	return w.Unflag(context.Background(), UnflagJob{
		ID: testID(n), Rules: b.job.Rules, Act: why, Workers: 1, Tables: []ClearTable{{Name: "crm", Table: b.table}}, OffList: lists,
	})
}

func TestUnflagOfAnIDOnOwnListsNamesThemAll(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{28: late, 1: late})
	b.importOwn("b", own{28: early})
	b.mustRun()
	before, _ := b.flagged(28)
	for _, lists := range [][]string{nil, {"a"}, {"c", "a", "b"}} {
		if _, err := b.unflagOff(28, lists...); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%v: %v", lists, err)
		}
	}
	_, err := b.unflagOff(28, "a")
	if !strings.Contains(err.Error(), "b (form of the site)") || !strings.Contains(schemas.HintOf(err), "--off-list a --off-list b") {
		t.Errorf("%v, %s", err, schemas.HintOf(err))
	}
	if its, _ := b.flagged(28); its != before || b.ledgerTypes()[schemas.EventUnflagStarted] != 0 || len(b.ownEntries("a")) != 2 {
		t.Error("something was changed")
	}
	done, err := b.unflagOff(28, "a", "b")
	if its, _ := b.flagged(28); err != nil || its != 0 || len(done.OwnLists) != 2 || len(b.ownEntries("a")) != 1 || len(b.ownEntries("b")) != 0 || b.onList(28) {
		t.Fatalf("%d flags, %+v, %v", its, done, err)
	}
	delete(b.operator.optedOut, testID(28))
	b.own["a"], b.own["b"] = own{1: late}, own{}
	b.mustRun()
	b.importOwn("b", own{28: early}) // the same file as before is an act again
	b.mustRun()
}

func TestUnflagOffOwnListsSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	for _, stored := range []bool{false, true} {
		step := 0
		for ; ; step++ {
			b := newBench(t)
			b.importOwn("a", own{28: late, 1: late})
			b.importOwn("b", own{28: early})
			b.mustRun()
			n := 0
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				if n++; n > step {
					return stored && n == step+1, errors.New("dead")
				}
				return false, nil
			})}
			_, err := b.unflagOff(28, "a", "b")
			died := n > step
			b.disk = durable.Disk{}
			if died && err == nil && b.ledgerTypes()[schemas.EventUnflagged] == 0 {
				t.Fatalf("step %d: the death was not seen", step)
			}
			if b.ledgerTypes()[schemas.EventUnflagged] == 0 {
				if _, err := b.unflagOff(28, "a", "b"); err != nil {
					t.Fatalf("step %d stored=%v: %v", step, stored, err)
				}
			}
			its, others := b.flagged(28)
			types := b.ledgerTypes()
			if its != 0 || others == 0 || b.onList(28) || len(b.ownEntries("a")) != 1 || len(b.ownEntries("b")) != 0 ||
				types[schemas.EventUnflagged] != 1 || types[schemas.EventOwnListEdited] != 2 || types[schemas.EventUnflagStarted] != 1 {
				t.Fatalf("step %d stored=%v: %d flags, %d others, %v", step, stored, its, others, types)
			}
			if !died {
				break
			}
		}
		if step < 30 {
			t.Errorf("only %d steps", step)
		}
	}
}
