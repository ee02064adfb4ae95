package sweep

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"optsweep/schemas"
)

// optOut makes the n-th id opted out at a time.
func (b *bench) optOut(n int, at time.Time) { b.operator.optedOut[testID(n)] = at.UnixMilli() }

// arrive adds a unit with the n-th ids.
func (b *bench) arrive(unit string, ids ...int) {
	u := &memoryUnit{name: unit, since: make([]int64, len(ids))}
	for _, n := range ids {
		u.cells = append(u.cells, testCell(n))
	}
	b.table.units = append(b.table.units, u)
}

// waits runs and gives what is told of the only table, without its times.
func (b *bench) waits() schemas.TableHonoured {
	b.t.Helper()
	rep, _ := b.run(context.Background())
	if len(rep.Tables) == 0 || rep.Tables[0].Honour == nil {
		b.t.Fatalf("nothing is told: %+v", rep)
	}
	return *rep.Tables[0].Honour
}

// wantWaits compares counts: of waits that are known, of those that arrived, of
// the backlog, and of what is open.
func wantWaits(t *testing.T, what string, h schemas.TableHonoured, total, arrived, backlog, open int64) {
	t.Helper()
	if h.Total.IDs != total || h.Detect.IDs != total || h.Apply.IDs != total || h.Arrived != arrived || h.Backlog.IDs != backlog || h.Open.IDs != open {
		t.Errorf("%s: got %+v, want %d, %d arrived, %d backlog, %d open", what, h, total, arrived, backlog, open)
	}
}

// between tells whether seconds are at least d, and not a minute more.
func between(seconds int64, d time.Duration) bool {
	return seconds >= int64(d.Seconds()) && seconds <= int64(d.Seconds())+60
}

func TestTimeToHonour(t *testing.T) {
	b := newBench(t)
	day := func(d int) time.Time { return time.Date(2026, 5, 1+d, 0, 0, 0, 0, time.UTC) }
	run := func(d int) schemas.TableHonoured {
		b.clock = day(d)
		return b.waits()
	}
	first := run(0)
	wantWaits(t, "nobody knows since when they were there", first, 0, 0, 9, 0)
	if first.Before != "" || !between(first.Backlog.MaxS, day(0).Sub(time.UnixMilli(1_600_000_000_000))) {
		t.Errorf("%+v", first)
	}
	wantWaits(t, "nothing is new", run(1), 0, 0, 0, 0)

	b.optOut(1, day(1).Add(19*time.Hour))
	h := run(2)
	wantWaits(t, "opted out", h, 1, 0, 0, 0)
	if !between(h.Total.MaxS, 5*time.Hour) || !between(h.Detect.MaxS, 5*time.Hour) || h.Apply.MaxS > 1 {
		t.Errorf("%+v", h)
	}

	b.arrive("c", 1, 7, 70, 2) // 1 and 7 are flagged elsewhere in the table; 70 opted out long ago
	h = run(3)
	wantWaits(t, "arrived, never asked about before", h, 1, 1, 0, 0)
	if !between(h.Total.MaxS, 24*time.Hour) {
		t.Errorf("counted from %d s before: the run of the day before did not see it", h.Total.MaxS)
	}

	b.table.units = b.table.units[:2] // c goes, and comes back
	wantWaits(t, "gone", run(4), 0, 0, 0, 0)
	b.arrive("c", 70)
	h = run(5)
	wantWaits(t, "known for long, and arrived", h, 1, 1, 0, 0)
	if !between(h.Total.MaxS, 24*time.Hour) || h.Detect.MaxS != 0 || !between(h.Apply.MaxS, 24*time.Hour) {
		t.Errorf("%+v", h)
	}

	b.optOut(3, day(2)) // the operator told of it late
	h = run(6)
	wantWaits(t, "late", h, 1, 0, 0, 0)
	if !between(h.Total.MaxS, 4*24*time.Hour) {
		t.Errorf("%+v", h)
	}

	b.clock = day(6).Add(time.Hour)
	b.importOwn("form", own{5: day(6).Add(-time.Hour).UnixMilli()})
	h = run(7)
	wantWaits(t, "own list", h, 1, 0, 0, 0)
	if !between(h.Total.MaxS, 25*time.Hour) || !between(h.Detect.MaxS, 2*time.Hour) || !between(h.Apply.MaxS, 23*time.Hour) {
		t.Errorf("%+v", h)
	}

	b.clock = day(7).Add(time.Hour)
	b.importOwn("form", own{1: day(6).UnixMilli()}) // flagged long ago, for the operator lists it
	b.optOut(5, day(7).Add(2*time.Hour))            // and the other way round
	b.clock = day(7).Add(3 * time.Hour)
	wantWaits(t, "flagged, and listed once more", b.waits(), 0, 0, 0, 0)

	// Without the ids of the run before, arrivals are not guessed at.
	b.clock = day(8)
	w := b.lastRun()
	if err := os.RemoveAll(Layout(b.dir).Run(w, shardsDir)); err != nil {
		t.Fatal(err)
	}
	b.optOut(4, day(7).Add(20*time.Hour))
	b.optOut(77, day(3))
	b.arrive("d", 77, 84, 7)
	h = b.waits()
	wantWaits(t, "ids are gone", h, 1, 0, 2, 0) // 77 and 84: opted out before the last run
	if !h.Unseen || h.Before != w {
		t.Errorf("%+v, want before %s", h, w)
	}
}

func (b *bench) lastRun() string {
	b.t.Helper()
	return b.begun[len(b.begun)-1].Run
}

// What a run cannot flag is open, and counts once it is flagged: from its
// opt-out on, however many runs lie between.
func TestTimeToHonourOfAUnitThatFails(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	start := b.clock
	b.optOut(1, start.Add(time.Hour))  // in a
	b.optOut(50, start.Add(time.Hour)) // in b
	b.clock = start.Add(6 * time.Hour)
	b.table.applyErr = map[string]error{"a": errors.New("broken")}
	h := b.waits()
	wantWaits(t, "a is broken", h, 1, 0, 0, 1)
	if !between(h.Open.MaxS, 5*time.Hour) {
		t.Errorf("%+v", h)
	}
	b.clock = start.Add(12 * time.Hour)
	wantWaits(t, "a is still broken", b.waits(), 0, 0, 0, 1)
	b.table.applyErr = nil
	b.clock = start.Add(24 * time.Hour)
	h = b.waits()
	wantWaits(t, "a is mended", h, 1, 0, 0, 0)
	if !between(h.Total.MaxS, 23*time.Hour) || !between(h.Detect.MaxS, 5*time.Hour) || !between(h.Apply.MaxS, 18*time.Hour) {
		t.Errorf("%+v", h)
	}
	b.clock = start.Add(25 * time.Hour)
	wantWaits(t, "nothing is new", b.waits(), 0, 0, 0, 0)
}

// A table that could not be listed keeps what is known of it.
func TestTimeToHonourOfATableThatWasAway(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	first := b.lastRun()
	other := &memoryTable{units: []*memoryUnit{{name: "x", cells: [][]byte{testCell(7)}, since: make([]int64, 1)}}}
	b.job.Tables = append(b.job.Tables, Table{Name: "web", Source: other, Target: other})
	b.table.planErr = errors.New("away")
	b.clock = b.clock.Add(time.Hour)
	if rep, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Partial {
		t.Fatalf("%v, %+v", err, rep)
	}
	b.table.planErr = nil
	b.clock = b.clock.Add(time.Hour)
	b.optOut(1, b.clock.Add(-30*time.Minute))
	h := b.waits()
	wantWaits(t, "back again", h, 1, 0, 0, 0)
	if h.Before != first {
		t.Errorf("before is %s, want %s", h.Before, first)
	}
}

// A run that is given up after it learned, and a dry run, flag nothing: what they
// learned counts from their answers on.
func TestTimeToHonourOverRunsThatDoNotFinish(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	start := b.clock
	b.optOut(1, start.Add(time.Hour))
	b.clock = start.Add(2 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	b.table.onApply = func(schemas.Unit) { cancel() }
	if _, err := b.run(ctx); schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatal(err)
	}
	b.table.onApply = nil
	b.job.Started.ConfigDigest = "c2"
	b.clock = start.Add(8 * time.Hour)
	h := b.waits()
	wantWaits(t, "given up", h, 1, 0, 0, 0)
	if !between(h.Total.MaxS, 7*time.Hour) || !between(h.Detect.MaxS, time.Hour) || !between(h.Apply.MaxS, 6*time.Hour) {
		t.Errorf("%+v", h)
	}
}

// What is known of a table outlives the events that told it.
func TestTimeToHonourAfterACut(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	other := b.job.Tables
	away := &memoryTable{units: []*memoryUnit{{name: "x", cells: [][]byte{testCell(7)}, since: make([]int64, 1)}}}
	b.job.Tables = []Table{{Name: "web", Source: away, Target: away}}
	b.clock = b.clock.AddDate(0, 2, 0)
	if _, err := b.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, before, _ := b.state()
	b.mustPurge(Retention{IDsBefore: b.clock.AddDate(0, -1, 0), RunsBefore: b.clock.AddDate(0, -1, 0), LedgerBefore: b.clock.AddDate(0, -1, 0), User: "ops", Host: "alpha"})
	_, after, _ := b.state()
	if !reflect.DeepEqual(before, after) || after["test"].Flagged["crm"].Run == "" {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	b.job.Tables = other
	wantWaits(t, "ids were purged", b.waits(), 0, 0, 0, 0)
}
