package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// own is a list of the n-th test ids with times.
type own map[int]int64

// acts opens the workspace for one act.
func (b *bench) acts(act func(*Workspace) error) error {
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		return err
	}
	return errors.Join(act(w), w.Close())
}

// importing is an import of a list with bad rows behind it.
func (b *bench) importing(source string, ids own, bad ...string) OwnImport {
	return OwnImport{
		Source: source, Basis: "form of the site", FileDigest: fmt.Sprint(ids, bad), Reading: "csv", User: "ops", Host: "alpha", Tool: "v1", MaxBad: -1, Now: b.now,
		Read: func(_ context.Context, valid func(schemas.ID, int64) error, left func(int64, schemas.Reason, []byte) error) error {
			for _, n := range slices.Sorted(maps.Keys(ids)) {
				if err := valid(testID(n), ids[n]); err != nil {
					return err
				}
			}
			for i, text := range bad {
				cell := []byte(text)
				if text == "" {
					cell = nil
				}
				if err := left(int64(len(ids)+i), schemas.BadLength, cell); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (b *bench) importOwn(source string, ids own, bad ...string) (done schemas.OwnListImported) {
	b.t.Helper()
	if err := b.acts(func(w *Workspace) (err error) {
		done, _, err = w.ImportOwn(context.Background(), b.importing(source, ids, bad...))
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	if b.own == nil {
		b.own = map[string]own{}
	}
	merged := own{}
	maps.Copy(merged, b.own[source])
	for n, ms := range ids {
		if was, ok := merged[n]; !ok || ms < was {
			merged[n] = ms
		}
	}
	b.own[source] = merged
	return done
}

func (b *bench) removeOwn(source string) {
	b.t.Helper()
	if err := b.acts(func(w *Workspace) error {
		_, _, err := w.RemoveOwn(OwnRemoval{Source: source, Reason: "no longer kept", User: "ops", Host: "alpha", Tool: "v1"})
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	delete(b.own, source)
}

// ownEntries reads an own list in force.
func (b *bench) ownEntries(source string) own {
	b.t.Helper()
	got := own{}
	if err := b.acts(func(w *Workspace) error {
		l, ok := w.own[source]
		if !ok {
			return errors.New("not in force")
		}
		info, err := idset.EachEntry(context.Background(), w.ownPath(l.OwnList), func(e idset.Entry) error {
			for n := range 300 {
				if testID(n) == e.ID {
					got[n] = e.SinceMS
				}
			}
			return nil
		})
		if err == nil && info.Digest != l.Digest {
			return errors.New("another list")
		}
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return got
}

const (
	early = 1_500_000_000_000 // before all that the operator of the bench says
	late  = 1_690_000_000_000 // after it
)

func TestOwnListsAreFlaggedAndCountedApart(t *testing.T) {
	b := newBench(t)
	done := b.importOwn("crm-form", own{1: late, 7: early, 14: late, 28: late, 299: late}, "x", "")
	if done.Rows != 7 || done.Valid != 5 || done.Added != 5 || done.Malformed[schemas.BadLength] != 2 || done.Quarantine == "" || done.Previous != "" {
		t.Errorf("%+v", done)
	}
	b.importOwn("drop", own{1: early, 2: late})
	rep := b.mustRun()
	s := rep.Sources
	// Of 60 ids the operator lists 0, 7, 14, ... 56.
	if s == nil || len(s.Lists) != 2 || s.IDs.Operator != 6 || s.IDs.Own != 2 || s.IDs.Both != 3 || s.IDs.BySource["crm-form"] != 4 || s.IDs.BySource["drop"] != 2 {
		t.Fatalf("%+v", s)
	}
	// Of the ids 20 to 39 there is a row in each unit; 7 stands twice in one.
	rows := rep.Tables[0].RowsBySource
	if rows == nil || rows.Own != 2 || rows.Both != 1+1+1+2 || rows.Sum() != rep.Tables[0].RowsOptedOut || rows.BySource["drop"] != 2 || rows.BySource["crm-form"] != 6 {
		t.Errorf("%+v of %d", rows, rep.Tables[0].RowsOptedOut)
	}
	// They are asked about all the same, and nobody else's figures change.
	if b.operator.asked[testID(1)] != 1 || rep.IDs.OptedOut != 9 || rep.IDs.Asked != 60 {
		t.Errorf("%+v", rep.IDs)
	}
	second := b.mustRun()
	if b.operator.asked[testID(1)] != 2 || b.operator.asked[testID(7)] != 1 || second.IDs.Known != 9 || second.Tables[0].UnitsChanged != 0 {
		t.Errorf("asked %d and %d times, %+v", b.operator.asked[testID(1)], b.operator.asked[testID(7)], second.IDs)
	}
	if !reflect.DeepEqual(second.Tables[0].RowsBySource, rows) {
		t.Errorf("%+v, before %+v", second.Tables[0].RowsBySource, rows)
	}
}

func TestOwnListsAreMergedToTheEarliestTime(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late, 2: early})
	done := b.importOwn("a", own{1: early, 2: late, 3: late})
	if done.Added != 1 || done.Moved != 1 || done.Unchanged != 1 || done.Total != 3 || done.Previous == "" {
		t.Errorf("%+v", done)
	}
	if got := b.ownEntries("a"); !maps.Equal(got, b.own["a"]) || got[1] != early || got[2] != early {
		t.Errorf("%v", got)
	}
	files, err := filepath.Glob(filepath.Join(b.dir, ownDir, "*"))
	if err != nil || len(files) != 2 { // the list before is kept for readers
		t.Errorf("%v, %v", files, err)
	}
	// The same file again is no act.
	events := len(b.ledgerTypes())
	n := b.ledgerTypes()[schemas.EventOwnListImported]
	b.importOwn("a", own{1: early, 2: late, 3: late})
	if got := b.ledgerTypes(); len(got) != events || got[schemas.EventOwnListImported] != n {
		t.Errorf("events %v", got)
	}
}

func TestImportRefusesWhatNamesNothingOrTooMuch(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*OwnImport){
		"no name":      func(i *OwnImport) { i.Source = "" },
		"odd name":     func(i *OwnImport) { i.Source = "../x" },
		"operator":     func(i *OwnImport) { i.Source = "operator" },
		"no basis":     func(i *OwnImport) { i.Basis = " " },
		"basis with @": func(i *OwnImport) { i.Basis = "jane@example.com" },
	} {
		i := b.importing("a", own{1: late})
		change(&i)
		if err := b.acts(func(w *Workspace) error { _, _, err := w.ImportOwn(context.Background(), i); return err }); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	i := b.importing("a", own{1: late}, "x")
	i.MaxBad = 0.4
	try := func() error {
		return b.acts(func(w *Workspace) error { _, _, err := w.ImportOwn(context.Background(), i); return err })
	}
	if err := try(); schemas.ClassOf(err) != schemas.Limit || !strings.Contains(err.Error(), "1 of 2 rows") || b.ledgerTypes()[schemas.EventOwnListImported] != 0 {
		t.Errorf("%v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "*")); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
	i.Override = true
	if err := try(); err != nil || b.ledgerTypes()[schemas.EventOwnListImported] != 1 {
		t.Errorf("%v", err)
	}
}

// What only an own list justified stays flagged when that list is removed.
func TestRemovedListLeavesItsFlags(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late, 7: early})
	b.mustRun()
	before, _ := b.flagged(1)
	b.removeOwn("a")
	rep, err := b.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if its, _ := b.flagged(1); its != before || its == 0 || rep.Sources != nil || rep.Tables[0].RowsKept != 1 {
		t.Errorf("%d of %d flags, %+v", its, before, rep.Tables[0])
	}
	if files, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "*")); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
	// Again is no act; another one of that name is unknown.
	b.removeOwn("a")
	if n := b.ledgerTypes()[schemas.EventOwnListRemoved]; n != 1 {
		t.Errorf("%d events", n)
	}
	err = b.acts(func(w *Workspace) error { _, _, err := w.RemoveOwn(OwnRemoval{Source: "b", Reason: "x"}); return err })
	if schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("%v", err)
	}
}

func TestOwnListsAreAppliedOfflineAndAfterARestore(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late})
	b.goOffline()
	rep, err := b.run(context.Background()) // nothing else is known
	if its, others := b.flagged(1); err != nil || its != 1 || others != 0 || rep.Status != schemas.StatusReapplied || rep.Sources.IDs.Own != 1 {
		t.Fatalf("%d and %d flags, %v, %+v", its, others, err, rep.Sources)
	}
	if rep.IDs.Unverifiable[schemas.NotAsked] != 60 {
		t.Errorf("%+v", rep.IDs)
	}
	b.restore()
	b.job.Started.Offline = false
	b.operator.fail = func(int) error { return errors.New("down") }
	if _, err := b.run(context.Background()); err == nil {
		t.Fatal("the operator was not needed")
	}
	if its, _ := b.flagged(1); its != 1 {
		t.Error("the flag was not reapplied before the operator was asked")
	}
}

// The limits judge what the operator says: own lists neither hide that it has
// fallen silent nor set off the alarm for it.
func TestLimitsDoNotCountOwnLists(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.strangers()
	all := own{}
	for n := range 300 {
		all[n] = late
	}
	b.importOwn("a", all)
	b.job.Limits.MaxNewFlags = 0
	b.mustStop(zeroHits)

	b = newBench(t)
	b.operator.optedOut = map[schemas.ID]int64{}
	b.importOwn("a", all)
	b.job.Limits.MaxNewFlags = 0
	if rep := b.mustRun(); rep.Sources.IDs.Own != 60 || rep.IDs.OptedOut != 0 {
		t.Errorf("%+v", rep.Sources)
	}
	b.restore()
	b.mustRun() // nor do they count as hits of the last run
}

// A run that has begun to write keeps to its lists: if they change, another run
// takes its place. Before that it goes on with the new ones.
func TestListsThatChangeInTheMiddleOfARun(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late})
	ctx, cancel := context.WithCancel(context.Background())
	writes := 0
	b.table.onApply = func(schemas.Unit) {
		if writes++; writes == 2 { // the first is what was known before the check
			cancel()
		}
	}
	first, err := b.run(ctx)
	if schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatal(err)
	}
	b.table.onApply = nil
	b.importOwn("a", own{2: late})
	if rep := b.mustRun(); rep.Run == first.Run || b.ledgerTypes()[schemas.EventRunAbandoned] != 1 {
		t.Error("the run went on with other lists")
	}
	b.operator.fail = func(int) error { return errors.New("down") }
	b.table.units[0].cells[0] = testCell(250)
	b.table.units[0].since[0] = 0
	b.table.units[0].version++
	first, err = b.run(context.Background())
	if err == nil {
		t.Fatal("not asked")
	}
	b.operator.fail = nil
	b.importOwn("a", own{3: late, 250: late})
	rep := b.mustRun()
	if rep.Run != first.Run || rep.Sources.Lists[0].Total != 4 || rep.Sources.IDs.Own != 4 {
		t.Errorf("run %s after %s, %+v", rep.Run, first.Run, rep.Sources)
	}
}

func TestLostOwnListStopsARun(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late})
	files, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "*.ids"))
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Failed || schemas.HintOf(err) == "" {
		t.Errorf("missing: %v", err)
	}
	b.importOwn("b", own{2: late})
	other, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "b.*.ids"))
	if other, err = []string{other[0]}, os.WriteFile(files[0], must(os.ReadFile(other[0])), 0o600); err != nil {
		t.Fatal(err, other)
	}
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Integrity {
		t.Errorf("another: %v", err)
	}
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	b.mustRun()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Every durable step of an import and of a removal fails once, stored or not,
// and the process is dead from then on. Doing it again ends as undisturbed.
func TestImportSurvivesAFailureOfAnyDurableStep(t *testing.T) {
	second := own{1: early, 3: late, 60: late}
	imports := func(b *bench) error {
		return b.acts(func(w *Workspace) error {
			_, _, err := w.ImportOwn(context.Background(), b.importing("a", second, "x"))
			return err
		})
	}
	removes := func(b *bench) error {
		return b.acts(func(w *Workspace) error {
			_, _, err := w.RemoveOwn(OwnRemoval{Source: "a", Reason: "no longer kept"})
			return err
		})
	}
	for name, c := range map[string]struct {
		act   func(*bench) error
		steps int
		check func(*bench) bool
	}{
		"import": {imports, 14, func(b *bench) bool {
			quarantine, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "*.csv"))
			return maps.Equal(b.ownEntries("a"), own{1: early, 2: early, 3: late, 60: late}) && b.ledgerTypes()[schemas.EventOwnListImported] == 2 && len(quarantine) == 1
		}},
		"removal": {removes, 6, func(b *bench) bool {
			files, _ := filepath.Glob(filepath.Join(b.dir, ownDir, "*"))
			return b.ledgerTypes()[schemas.EventOwnListRemoved] == 1 && len(files) == 0
		}},
	} {
		for _, stored := range []bool{false, true} {
			step := 0
			for ; ; step++ {
				b := newBench(t)
				b.importOwn("a", own{1: late, 2: early})
				n := 0
				b.disk = durable.Disk{Fault: oneByOne(func(durable.Step, string) (bool, error) {
					if n++; n > step {
						return stored && n == step+1, errors.New("dead")
					}
					return false, nil
				})}
				err := c.act(b)
				died := n > step
				b.disk = durable.Disk{}
				if died && err == nil {
					t.Fatalf("%s, step %d: the death was not seen", name, step)
				}
				if err := c.act(b); err != nil {
					t.Fatalf("%s, step %d stored=%v: %v", name, step, stored, err)
				}
				if !c.check(b) {
					t.Fatalf("%s, step %d stored=%v: it ended otherwise: %v", name, step, stored, b.ledgerTypes())
				}
				if !died {
					break
				}
			}
			if step < c.steps {
				t.Errorf("%s: only %d steps", name, step)
			}
			t.Logf("%s stored=%v: %d steps", name, stored, step)
		}
	}
}
