package sweep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Clear makes memoryTable a Clearer.
func (t *memoryTable) Clear(_ context.Context, u schemas.Unit, match, _ func([]byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	if err := t.applyErr[u.Name]; err != nil {
		return schemas.Receipt{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.unit(u.Name)
	r := schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: int64(len(m.cells))}
	next := slices.Clone(m.since)
	for i, cell := range m.cells {
		if next[i] != 0 && match(cell) {
			next[i] = 0
			r.Cleared++
		}
		if next[i] != 0 {
			r.Flagged++
		}
	}
	r.Kept, r.Confirmed = r.Flagged, r.Flagged
	if r.Cleared == 0 {
		return r, nil
	}
	r.Changed, r.VersionAfter = true, fmt.Sprint(m.version+1)
	if err := commit(r); err != nil {
		return r, err
	}
	m.since = next
	m.version++
	if t.afterPub != nil {
		return r, t.afterPub(u)
	}
	return r, nil
}

var why = schemas.Unflag{Reason: "entered by mistake", Ticket: "PRIV-12", User: "ops", Host: "alpha", ToolVersion: "v1"}

func (b *bench) unflag(n int) (schemas.Unflagged, error) { return b.unflagIn(n, b.table) }

func (b *bench) unflagIn(n int, table Clearer) (schemas.Unflagged, error) {
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		return schemas.Unflagged{}, err
	}
	defer w.Close()
	return w.Unflag(context.Background(), UnflagJob{
		ID: testID(n), Rules: b.job.Rules, Act: why, Workers: 1, Tables: []ClearTable{{Name: "crm", Table: table}},
	})
}

// onList tells whether an id is on the list in force.
func (b *bench) onList(n int) bool {
	b.t.Helper()
	w, err := OpenWorkspace(durable.Disk{}, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	k, err := w.openKnown()
	if err != nil {
		b.t.Fatal(err)
	}
	defer k.list.Close()
	has, err := k.has(testID(n))
	if err != nil {
		b.t.Fatal(err)
	}
	return has
}

// flagged counts the rows of an id that have a flag, and of all others.
func (b *bench) flagged(n int) (its, others int) {
	for _, u := range b.table.units {
		for i, cell := range u.cells {
			if u.since[i] == 0 {
				continue
			}
			if bytes.Equal(bytes.TrimSpace(cell), testCell(n)) {
				its++
			} else {
				others++
			}
		}
	}
	return its, others
}

// events of the ledger by type.
func (b *bench) ledgerTypes() map[schemas.EventType]int {
	b.t.Helper()
	types := map[schemas.EventType]int{}
	if _, err := ledger.Read(filepath.Join(b.dir, ledgerFile), func(e schemas.Event) error {
		types[e.Type]++
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return types
}

func TestUnflagTakesOneIDOffTheListAndOutOfTheTables(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	before, others := b.flagged(28) // in both units
	done, err := b.unflag(28)
	if err != nil {
		t.Fatal(err)
	}
	its, left := b.flagged(28)
	if before != 2 || its != 0 || left != others || b.onList(28) || !b.onList(7) {
		t.Errorf("%d of %d flags left, %d of %d others", its, before, left, others)
	}
	if len(done.Receipts) != 2 || done.Receipts[0].Cleared+done.Receipts[1].Cleared != 2 || done.Units != 2 || done.FoundMS == 0 ||
		done.SinceMS != 1_600_000_028_000 || done.Reason != why.Reason || done.ListDigest == done.ListDigestAfter || done.ListDigestAfter == "" {
		t.Errorf("%+v", done)
	}
	data, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
	if err != nil || bytes.Contains(data, testCell(28)) || !bytes.Contains(data, []byte(why.Ticket)) {
		t.Error("the ledger shows the id, or not the ticket", err)
	}

	// As long as the operator still lists the id, the next run flags it again.
	again := b.mustRun()
	if again.Tables[0].RowsNew != 2 || !b.onList(28) {
		t.Errorf("%+v", again.Tables[0])
	}
	// Otherwise it stays without a flag.
	if _, err := b.unflag(28); err != nil {
		t.Fatal(err)
	}
	delete(b.operator.optedOut, testID(28))
	if rep := b.mustRun(); rep.Tables[0].UnitsChanged != 0 || b.onList(28) {
		t.Errorf("%+v", rep.Tables[0])
	}
}

func TestUnflagOfAnUnknownIDChangesNothing(t *testing.T) {
	b := newBench(t)
	if done, err := b.unflag(28); err != nil || len(done.Receipts) != 0 || done.FoundMS != 0 {
		t.Fatalf("before any run: %+v, %v", done, err)
	}
	b.mustRun()
	list := listBytes(t, b)
	done, err := b.unflag(1)
	if err != nil || len(done.Receipts) != 0 || done.FoundMS != 0 || done.ListDigest != done.ListDigestAfter {
		t.Fatalf("%+v, %v", done, err)
	}
	if !bytes.Equal(list, listBytes(t, b)) {
		t.Error("another list")
	}
	b.checkFlags()
}

func TestUnflagWaitsForTheRunToEnd(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.operator.fail = func(int) error { return errors.New("down") }
	b.table.units[0].cells[0] = testCell(300)
	b.table.units[0].version++
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the operator was not needed")
	}
	if _, err := b.unflag(28); schemas.HintOf(err) == "" || !strings.Contains(err.Error(), "not finished") {
		t.Fatalf("got %v", err)
	}
	if b.ledgerTypes()[schemas.EventUnflagStarted] != 0 {
		t.Error("it was begun")
	}
}

func TestUnflagIsCompletedOnceABrokenUnitIsMended(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.table.applyErr = map[string]error{"b": errors.New("broken")}
	if _, err := b.unflag(28); schemas.ClassOf(err) != schemas.Partial {
		t.Fatalf("got %v", err)
	}
	b.table.applyErr = nil
	done, err := b.unflag(28)
	if its, _ := b.flagged(28); err != nil || its != 0 || len(done.Receipts) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if n := b.ledgerTypes(); n[schemas.EventUnflagStarted] != 1 || n[schemas.EventUnflagged] != 1 || n[schemas.EventUnflagApplied] != 2 {
		t.Errorf("events %v", n)
	}
}

// Every durable step of an unflag fails once, stored or not, and the process is
// dead from then on; so it is, too, around the replacement of a unit. Doing it
// again completes it, with each change in the ledger once.
func TestUnflagSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	undisturbed := newBench(t)
	undisturbed.mustRun()
	if _, err := undisturbed.unflag(28); err != nil {
		t.Fatal(err)
	}
	want := listInForce(t, undisturbed)
	for _, mode := range []string{"not stored", "stored", "after publication"} {
		step := 0
		for ; ; step++ {
			b := newBench(t)
			b.mustRun()
			n, dead := 0, false
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				n++
				if dead || mode != "after publication" && n > step {
					stored := !dead && mode == "stored"
					dead = true
					return stored, errors.New("dead")
				}
				return false, nil
			})}
			if mode == "after publication" {
				published := 0
				b.table.afterPub = func(schemas.Unit) error {
					dead = dead || published == step
					published++
					return nil
				}
			}
			_, err := b.unflag(28)
			if err == nil && !dead {
				break
			}
			if err == nil && mode == "after publication" {
				t.Fatalf("%s, step %d: the death was not seen", mode, step)
			}
			b.disk, b.table.afterPub = durable.Disk{}, nil
			if b.ledgerTypes()[schemas.EventUnflagged] == 0 {
				if _, err := b.unflag(28); err != nil {
					t.Fatalf("%s, step %d: %v", mode, step, err)
				}
			}
			its, others := b.flagged(28)
			types := b.ledgerTypes()
			if its != 0 || others != 11 || !bytes.Equal(listInForce(t, b), want) ||
				types[schemas.EventUnflagged] != 1 || types[schemas.EventUnflagStarted] != 1 || types[schemas.EventUnflagApplied] != 2 {
				t.Fatalf("%s, step %d: %d flags left, %d others, events %v", mode, step, its, others, types)
			}
		}
		if least := map[string]int{"after publication": 2}[mode]; step < max(least, 2) || mode != "after publication" && step < 15 {
			t.Fatalf("%s: only %d steps", mode, step)
		}
		t.Logf("%s: %d steps", mode, step)
	}
}

// listInForce is the content of the suppression list that the ledger names.
func listInForce(t *testing.T, b *bench) []byte {
	t.Helper()
	var last schemas.SuppressionUpdated
	if _, err := ledger.Read(filepath.Join(b.dir, ledgerFile), func(e schemas.Event) error {
		if e.Type != schemas.EventSuppressionUpdated {
			return nil
		}
		last = schemas.SuppressionUpdated{}
		return json.Unmarshal(e.Data, &last)
	}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.dir, last.File))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Whatever operators answer, whatever is offline or a dry run, and whatever
// fails: without an unflag a flag only appears or moves to an earlier time.
func TestNothingButUnflagClearsAFlag(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		b.job.Limits.AllowZeroHits = true
		var before [][]int64
		for _, u := range b.table.units {
			before = append(before, slices.Clone(u.since))
		}
		for range rapid.IntRange(2, 5).Draw(rt, "runs") {
			b.operator.optedOut = map[schemas.ID]int64{}
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 12).Draw(rt, "listed") {
				b.operator.optedOut[testID(n)] = rapid.Int64Range(1, 1_700_000_000_000).Draw(rt, "since")
			}
			b.operator.reject = map[schemas.ID]schemas.Reason{}
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 3).Draw(rt, "rejected") {
				if _, listed := b.operator.optedOut[testID(n)]; !listed {
					b.operator.reject[testID(n)] = schemas.OperatorRejected
				}
			}
			broken := rapid.IntRange(0, 200).Draw(rt, "failing step")
			n := 0
			b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
				if n++; n > broken && broken < 100 {
					return false, errors.New("dead")
				}
				return false, nil
			})}
			if rapid.Bool().Draw(rt, "job changed") {
				b.job.Started.ConfigDigest += "x" // the unfinished run is given up
			}
			_, _ = b.run(context.Background())
			for i, u := range b.table.units {
				for row, ms := range u.since {
					if was := before[i][row]; was != 0 && (ms == 0 || ms > was) {
						rt.Fatalf("unit %s, row %d: the flag went from %d to %d", u.name, row, was, ms)
					}
				}
				before[i] = slices.Clone(u.since)
			}
		}
	})
}

func TestReasonsThatNameThePersonAreRefused(t *testing.T) {
	for _, text := range []string{
		"jane@example.com asked", "id " + string(testCell(3)), "the hash " + strings.Repeat("ab", 32), "call +44 7700 900 123",
		"call 0170 1234567", "key UID2-C-P-1-hunter2hunter2.abcdef", "two\nlines", "bell\a", strings.Repeat("x ", 600), "\xff",
		strings.TrimRight(string(testCell(3)), "="), "url " + strings.NewReplacer("+", "-", "/", "_").Replace(string(testCell(3))),
	} {
		if err := CheckReason("--reason", text); schemas.ClassOf(err) != schemas.Usage || strings.Contains(err.Error(), text) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
	for _, text := range []string{"", "entered by mistake", "JIRA-1234, see mail of 2026-05-01", "résolu: demande n° 42"} {
		if err := CheckReason("--reason", text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
