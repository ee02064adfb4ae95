package sweep

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// Run tells of every attempt, once, before it does anything else.
func TestBegunIsToldOfEveryAttempt(t *testing.T) {
	b := newBench(t)
	b.operator.fail = func(batch int) error {
		if len(b.begun) == 0 {
			t.Error("asked before the run was told of")
		}
		if batch >= 4 {
			return errors.New("down")
		}
		return nil
	}
	first, err := b.run(context.Background())
	if err == nil {
		t.Fatal("the run was not interrupted")
	}
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the run was not interrupted")
	}
	b.operator.fail = nil
	b.mustRun()
	next := b.mustRun()
	want := []Begun{{first.Run, 0}, {first.Run, 1}, {first.Run, 2}, {next.Run, 0}}
	if !slices.Equal(b.begun, want) {
		t.Errorf("got %v, want %v", b.begun, want)
	}
}

// What the check journal says of time is of those ids only that were not known
// before, and says nothing of who they are.
func TestOptedOutSince(t *testing.T) {
	b := newBench(t)
	rep := b.mustRun()
	since, err := Layout(b.dir).OptedOutSince(rep.Run)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(since)
	for i, ms := range since { // every seventh id is opted out
		if ms != 1_600_000_000_000+int64(i)*7_000 {
			t.Errorf("%d is %d", i, ms)
		}
	}
	if len(since) != 9 {
		t.Errorf("%d, want 9", len(since))
	}
	rep = b.mustRun()
	if since, err = Layout(b.dir).OptedOutSince(rep.Run); err != nil || len(since) != 0 {
		t.Errorf("the second run found %d, %v", len(since), err)
	}
	if _, err := Layout(b.dir).OptedOutSince("none"); err == nil {
		t.Error("a run without a journal has answers")
	}
}

func TestWorkspacesHaveIDs(t *testing.T) {
	a := newBench(t)
	one, err := Layout(a.dir).ID()
	if err != nil || len(one) != 64 {
		t.Fatalf("%q, %v", one, err)
	}
	a.mustRun()
	if again, err := Layout(a.dir).ID(); err != nil || again != one {
		t.Errorf("it has become %q, %v", again, err)
	}
	if _, err := Layout(t.TempDir()).ID(); err == nil {
		t.Error("an empty folder has an id")
	}
}
