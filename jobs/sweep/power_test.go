package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"optsweep/schemas"
	"optsweep/schemas/durable"
	"optsweep/schemas/durable/powerloss"
)

// powerCuts calls each for every durable step, in each of the ways in which the
// power can go there, until each reports that the step was not reached.
func powerCuts(t *testing.T, ways []powerloss.Cut, each func(cut powerloss.Cut) (reached bool)) {
	t.Helper()
	for _, cut := range ways {
		for each(cut) {
			cut.Step++
		}
		if cut.Step < 30 {
			t.Fatalf("only %d steps were reached", cut.Step)
		}
		t.Logf("stored %v, torn %v: %d steps", cut.Stored, cut.Torn, cut.Step)
	}
}

func watch(t *testing.T, b *bench, root string, cut powerloss.Cut) *powerloss.Disk {
	t.Helper()
	power, err := powerloss.New(root, cut)
	if err != nil {
		t.Fatal(err)
	}
	b.disk = power.Durable()
	return power
}

// The power goes at any durable step of a first run. The next run must end as
// an undisturbed one would, with at most one batch asked again.
func TestFirstRunSurvivesAPowerLoss(t *testing.T) {
	t.Parallel()
	undisturbed := newBench(t)
	undisturbed.mustRun()
	want := listInForce(t, undisturbed)
	powerCuts(t, []powerloss.Cut{{}, {Stored: true, Torn: true}}, func(cut powerloss.Cut) bool {
		b := newBench(t)
		power := watch(t, b, b.dir, cut)
		_, err := b.run(context.Background())
		reached := power.Dead()
		if reached && err == nil {
			t.Fatalf("%+v: the loss was not seen", cut)
		}
		if err := power.Lose(); err != nil {
			t.Fatal(err)
		}
		b.disk = durable.Disk{}
		if ended(t, b) {
			b.operator.batches = 0 // only what follows the run was lost
		}
		if _, err := b.run(context.Background()); err != nil {
			t.Fatalf("%+v: %v", cut, err)
		}
		b.checkFlags()
		if b.operator.batches > 7 {
			t.Fatalf("%+v: %d batches were asked, want at most 7", cut, b.operator.batches)
		}
		if !bytes.Equal(listInForce(t, b), want) {
			t.Fatalf("%+v: another suppression list", cut)
		}
		return reached
	})
}

// The same for a later run, which replaces a list that is in force.
func TestLaterRunSurvivesAPowerLoss(t *testing.T) {
	t.Parallel()
	prepare := func() *bench {
		b := newBench(t)
		b.mustRun()
		b.table.put("c", 100, 140)
		b.operator.batches = 0
		return b
	}
	undisturbed := prepare()
	undisturbed.mustRun()
	want, batches := listInForce(t, undisturbed), undisturbed.operator.batches
	powerCuts(t, []powerloss.Cut{{}}, func(cut powerloss.Cut) bool {
		b := prepare()
		power := watch(t, b, b.dir, cut)
		_, err := b.run(context.Background())
		reached := power.Dead()
		if reached && err == nil {
			t.Fatalf("%+v: the loss was not seen", cut)
		}
		if err := power.Lose(); err != nil {
			t.Fatal(err)
		}
		b.disk = durable.Disk{}
		if ended(t, b) && b.operator.batches >= batches {
			b.operator.batches = 0
		}
		if _, err := b.run(context.Background()); err != nil {
			t.Fatalf("%+v: %v", cut, err)
		}
		b.checkFlags()
		if b.operator.batches > batches+1 || !bytes.Equal(listInForce(t, b), want) {
			t.Fatalf("%+v: %d batches, or another list", cut, b.operator.batches)
		}
		return reached
	})
}

// The power goes at any durable step of an unflag.
func TestUnflagSurvivesAPowerLoss(t *testing.T) {
	t.Parallel()
	powerCuts(t, []powerloss.Cut{{}, {Torn: true}}, func(cut powerloss.Cut) bool {
		b := newBench(t)
		b.mustRun()
		power := watch(t, b, b.dir, cut)
		_, err := b.unflag(28)
		reached := power.Dead()
		if reached && err == nil {
			// The head is written when the workspace is closed.
			err = errors.New("after the end")
		}
		if loseErr := power.Lose(); loseErr != nil {
			t.Fatal(loseErr)
		}
		b.disk = durable.Disk{}
		if err != nil && b.ledgerTypes()[schemas.EventUnflagged] == 0 {
			if _, err := b.unflag(28); err != nil {
				t.Fatalf("%+v: %v", cut, err)
			}
		}
		its, others := b.flagged(28)
		if its != 0 || others != 11 || b.onList(28) || !b.onList(7) || b.ledgerTypes()[schemas.EventUnflagged] != 1 {
			t.Fatalf("%+v: %d flags left, %d others", cut, its, others)
		}
		return reached
	})
}

// put adds a unit with the ids from to to-1.
func (t *memoryTable) put(name string, from, to int) {
	u := &memoryUnit{name: name, since: make([]int64, to-from)}
	for n := from; n < to; n++ {
		u.cells = append(u.cells, testCell(n))
	}
	t.units = append(t.units, u)
}

// A workspace that lost power while it was made is made again.
func TestCreateWorkspaceSurvivesAPowerLoss(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for step := 0; ; step++ {
			b := newBench(t)
			root := fastDir(t)
			power, err := powerloss.New(root, powerloss.Cut{Step: step, Stored: stored})
			if err != nil {
				t.Fatal(err)
			}
			err = CreateWorkspace(power.Durable(), root+"/a/ws", b.now)
			reached := power.Dead()
			if (err == nil) == reached {
				t.Fatalf("step %d: %v", step, err)
			}
			if err := power.Lose(); err != nil {
				t.Fatal(err)
			}
			b.dir = root + "/a/ws"
			if reached {
				if err := CreateWorkspace(durable.Disk{}, b.dir, b.now); schemas.ClassOf(err) == schemas.Usage {
					err = nil // it was whole
				} else if err != nil {
					t.Fatalf("step %d stored=%v: %v", step, stored, err)
				}
			}
			if _, err := b.run(context.Background()); err != nil {
				t.Fatal(fmt.Sprintf("step %d stored=%v: ", step, stored), err)
			}
			if !reached {
				break
			}
		}
	}
}
