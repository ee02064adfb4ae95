package gate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"optsweep/jobs/idset"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// table is a table in memory whose rows have flags.
type table struct {
	units []*unit
}

type unit struct {
	name    string
	cells   [][]byte
	since   []int64 // 0: no flag
	version string
	broken  error
	hidden  error // of Scan alone
}

func cell(n int) []byte {
	id := sweeptest.ID(n)
	return id.AppendText(nil)
}

func newUnit(name string, ids ...int) *unit {
	u := &unit{name: name, since: make([]int64, len(ids)), version: "1"}
	for _, n := range ids {
		u.cells = append(u.cells, cell(n))
	}
	return u
}

func (t *table) find(name string) *unit {
	return t.units[slices.IndexFunc(t.units, func(u *unit) bool { return u.name == name })]
}

func (t *table) Plan(context.Context) (units []schemas.Unit, failed []schemas.UnitFailure, err error) {
	for _, u := range t.units {
		units = append(units, schemas.Unit{Name: u.name, Version: u.version, Rows: int64(len(u.cells))})
	}
	return units, nil, nil
}

func (t *table) Version(_ context.Context, u schemas.Unit) (string, error) {
	return t.find(u.Name).version, nil
}

func (t *table) Scan(_ context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	if err := errors.Join(t.find(u.Name).broken, t.find(u.Name).hidden); err != nil {
		return err
	}
	return yield(schemas.Cells{Values: t.find(u.Name).cells})
}

func (t *table) RemoveLeftovers([]schemas.Unit) error { return nil }

// Find compares flags as Apply would write them.
func (t *table) Find(_ context.Context, u schemas.Unit, since func([]byte) (int64, bool), missing func(int64, []byte)) (r schemas.Receipt, err error) {
	m := t.find(u.Name)
	if m.broken != nil {
		return r, m.broken
	}
	r = schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version, Rows: int64(len(m.cells))}
	for i, c := range m.cells {
		ms, ok := since(c)
		switch was := m.since[i]; {
		case !ok && was != 0:
			r.Kept++
		case ok && was == 0:
			r.NewlyFlagged++
			missing(int64(i), c)
		case ok && ms < was:
			r.MovedEarlier++
			missing(int64(i), c)
		}
		if ok {
			r.OptedOut++
		}
	}
	r.Flagged = r.OptedOut + r.Kept
	r.Confirmed = r.Flagged
	return r, nil
}

func (t *table) Preview(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool)) (schemas.Receipt, error) {
	return t.Find(ctx, u, since, func(int64, []byte) {})
}

func (t *table) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	m := t.find(u.Name)
	var rows []int64
	r, err := t.Find(ctx, u, since, func(row int64, _ []byte) { rows = append(rows, row) })
	if err != nil || len(rows) == 0 {
		return r, err
	}
	r.Changed, r.VersionAfter = true, u.Version+"+"
	if err := commit(r); err != nil {
		return r, err
	}
	for _, row := range rows {
		m.since[row], _ = since(m.cells[row])
	}
	m.version = r.VersionAfter
	return r, nil
}

// operator answers from a map.
type operator map[schemas.ID]int64

func (o operator) Limits() (int, int) { return 10, 1 }

func (o operator) Ask(_ context.Context, ids []schemas.ID, settle func(schemas.Answer) error) error {
	a := schemas.Answer{AsOfMS: 1_900_000_000_000}
	for _, id := range ids {
		if ms, ok := o[id]; ok {
			a.OptedOut = append(a.OptedOut, schemas.OptOut{ID: id, SinceMS: ms})
		}
	}
	return settle(a)
}

type noProgress struct{}

func (noProgress) Start(string, int64, string) {}
func (noProgress) Add(int64)                   {}
func (noProgress) Stop()                       {}

var rules = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// world is a workspace, a table and an operator.
type world struct {
	t        testing.TB
	dir      string
	table    *table
	operator operator
	clock    time.Time
	config   string
}

func newWorld(t testing.TB, dir string) *world {
	w := &world{t: t, dir: filepath.Join(dir, "ws"), operator: operator{}, clock: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), config: "c1"}
	w.table = &table{units: []*unit{newUnit("a", 0, 1, 2, 3, 4, 5), newUnit("b", 4, 5, 6, 7)}}
	if err := sweep.CreateWorkspace(durable.Disk{}, w.dir, w.now); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time {
	w.clock = w.clock.Add(time.Millisecond)
	return w.clock
}

func (w *world) workspace(act func(*sweep.Workspace) error) {
	w.t.Helper()
	ws, err := sweep.OpenWorkspace(durable.Disk{}, w.dir, w.now, ledger.Owner{PID: os.Getpid()})
	if err == nil {
		err = errors.Join(act(ws), ws.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run(offline bool) {
	w.t.Helper()
	w.workspace(func(ws *sweep.Workspace) error {
		_, err := sweep.Run(context.Background(), sweep.Job{
			Started: schemas.RunStarted{Job: "test", ConfigDigest: w.config, Scope: schemas.EUID, Environment: schemas.Production, Offline: offline}, Rules: rules,
			Tables: []sweep.Table{{Name: "crm", Source: w.table, Target: w.table}}, MaxDuration: time.Hour, Memory: 16 << 20, Workers: 2,
			Limits: sweep.Limits{MaxNewFlags: -1, MaxQuarantined: -1, MaxRowDrop: -1, AllowZeroHits: true},
		}, sweep.Deps{Workspace: ws, Checker: w.operator, List: sweep.KeepList, Progress: noProgress{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: w.now})
		if schemas.ClassOf(err) == schemas.Partial {
			return nil
		}
		return err
	})
}

func (w *world) importOwn(ids ...int) {
	w.t.Helper()
	w.workspace(func(ws *sweep.Workspace) error {
		_, _, err := ws.ImportOwn(context.Background(), sweep.OwnImport{
			Source: "form", Basis: "test", FileDigest: w.now().String(), MaxBad: -1, Now: w.now,
			Read: func(_ context.Context, valid func(schemas.ID, int64) error, _ func(int64, schemas.Reason, []byte) error) error {
				for _, n := range ids {
					if err := valid(sweeptest.ID(n), 1_650_000_000_000); err != nil {
						return err
					}
				}
				return nil
			},
		})
		return err
	})
}

// check asks the gate about the table, or about given units.
func (w *world) check(change func(*Question), given ...*unit) Verdict {
	w.t.Helper()
	q := Question{
		Job: "test", ConfigDigest: w.config, Rules: rules, Tables: []Table{{Name: "crm", Source: w.table}}, All: []string{"crm"},
		MaxAge: 24 * time.Hour, Workers: 2, Memory: 8 << 20, Temp: w.t.TempDir(), Now: w.now,
	}
	if len(given) > 0 {
		q.Tables = []Table{{Name: "files", Source: &table{given}, Given: true}}
	}
	if change != nil {
		change(&q)
	}
	v, err := Check(context.Background(), sweep.Layout(w.dir), q)
	if err != nil {
		w.t.Fatal(err)
	}
	if v.OK != (v.Err() == nil) || !v.OK && (schemas.ClassOf(v.Err()) != schemas.Gate || schemas.HintOf(v.Err()) == "") {
		w.t.Fatalf("ok %v, error %v", v.OK, v.Err())
	}
	return v
}

// ask answers from the operator's map.
func (w *world) ask(_ context.Context, path string) (found []schemas.OptOut, sum schemas.GateAsked, err error) {
	err = idset.EachID(context.Background(), path, func(id schemas.ID) error {
		sum.IDs++
		if ms, ok := w.operator[id]; ok {
			sum.OptedOut++
			found = append(found, schemas.OptOut{ID: id, SinceMS: ms})
		}
		return nil
	})
	return found, sum, err
}

func TestGateOpensAfterARunAndShutsForEveryReason(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.operator[sweeptest.ID(1)], w.operator[sweeptest.ID(5)] = 1_600_000_000_000, 1_600_000_000_000
	if v := w.check(nil); v.OK || !v.Tables[0].Stale || v.Tables[0].UncheckedUnits != 2 || !strings.Contains(v.Err().Error(), "never checked") {
		t.Errorf("before any run: %+v", v.Tables)
	}
	w.run(false)
	v := w.check(nil)
	if x := v.Tables[0]; !v.OK || x.Rows != 10 || x.OptedOut != 3 || x.Flagged != 3 || x.Breaches != 0 || x.AgeS != 0 || x.CheckedAt.IsZero() {
		t.Fatalf("after a run: %+v", v.Tables)
	}
	a := w.table.units[0]
	for name, c := range map[string]struct {
		act  func()
		undo func()
		want string
	}{
		"flag missing": {func() { a.since[1] = 0 }, func() { a.since[1] = 1_600_000_000_000 }, "1 rows of opted-out ids without a flag"},
		"flag later":   {func() { a.since[1]++ }, func() { a.since[1]-- }, "1 rows of opted-out ids without a flag"},
		"changed":      {func() { a.version += "x" }, func() { a.version = a.version[:len(a.version)-1] }, "1 new or changed files"},
		"unreadable":   {func() { a.broken = errors.New("broken") }, func() { a.broken = nil }, "1 of its files could not be read"},
		"old":          {func() { w.clock = w.clock.Add(25 * time.Hour) }, func() { w.clock = w.clock.Add(-25 * time.Hour) }, "last checked 25h0m0s ago"},
		"new file":     {func() { w.table.units = append(w.table.units, newUnit("c", 1)) }, func() { w.table.units = w.table.units[:2] }, "1 new or changed files"},
		"another job":  {func() { w.config = "c2" }, func() { w.config = "c1" }, "2 new or changed files"},
	} {
		c.act()
		if v := w.check(nil); v.OK || !strings.Contains(v.Err().Error(), c.want) {
			t.Errorf("%s: %v", name, v.Err())
		}
		c.undo()
		if v := w.check(nil); !v.OK {
			t.Errorf("after %s: %v", name, v.Err())
		}
	}
	a.since[1] = 0
	if v := w.check(nil); v.Tables[0].Example == nil || v.Tables[0].Example.Row != 1 || !strings.HasPrefix(v.Tables[0].Example.Pseudonym, "id:") {
		t.Errorf("%+v", v.Tables[0].Example)
	}
	if v := w.check(nil); !v.ButForBreaches() {
		t.Error("a breach is not all that is wrong")
	}
}

// A run that asks nobody proves nothing about what it read, but what it writes
// keeps the units known that were checked before.
func TestOfflineRunsAndUnflagsDoNotCountAsChecks(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.run(false)
	w.importOwn(4)
	if v := w.check(nil); v.OK || v.Tables[0].Breaches != 2 || v.Tables[0].UncheckedUnits != 0 {
		t.Errorf("after an import: %+v", v.Tables)
	}
	at := w.check(nil).Tables[0].CheckedAt
	w.clock = w.clock.Add(time.Hour)
	w.run(true)
	if v := w.check(nil); !v.OK || !v.Tables[0].CheckedAt.Equal(at) || v.Tables[0].Flagged != 2 {
		t.Errorf("after an offline run: %+v, %v", v.Tables, v.Err())
	}
	w.table.units[0].version = "restored"
	w.run(true)
	if v := w.check(nil); v.OK || v.Tables[0].UncheckedUnits != 1 {
		t.Errorf("%+v", v.Tables)
	}
}

func TestUnitThatFailedInTheRunIsUnchecked(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.table.units[0].broken = errors.New("broken")
	w.run(false)
	w.table.units[0].broken = nil
	if v := w.check(nil); v.OK || !v.Tables[0].Stale || v.Tables[0].UncheckedUnits != 1 {
		t.Errorf("%+v", v.Tables)
	}
}

func TestGivenFilesMustHoldIDsThatWereSeen(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.operator[sweeptest.ID(1)] = 1_600_000_000_000
	audience := newUnit("audience", 0, 2, 3)
	if v := w.check(nil, audience); v.OK || v.Tables[0].UncheckedIDs != 3 || !v.Tables[0].Stale {
		t.Errorf("before any run: %+v", v.Tables)
	}
	w.run(false)
	if v := w.check(nil, audience); !v.OK || v.Tables[0].UncheckedUnits != 0 {
		t.Errorf("%+v", v.Tables)
	}
	if v := w.check(nil, newUnit("audience", 0, 1)); v.OK || v.Tables[0].Breaches != 1 {
		t.Errorf("%+v", v.Tables)
	}
	stranger := newUnit("audience", 0, 99)
	if v := w.check(nil, stranger); v.OK || v.Tables[0].UncheckedIDs != 1 || v.Tables[0].Breaches != 0 {
		t.Errorf("%+v", v.Tables)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "runs")); err != nil {
		t.Fatal(err)
	}
	if v := w.check(nil, audience); v.OK || v.Tables[0].UncheckedIDs != 3 {
		t.Errorf("without the ids of the run: %+v", v.Tables)
	}
}

func TestAskingFindsWhatNoListKnowsAndKeepsNothing(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.run(false)
	w.operator[sweeptest.ID(99)], w.operator[sweeptest.ID(4)] = 1_600_000_000_000, 1_600_000_000_000
	w.importOwn(0)
	before := ledgerOf(t, w)
	asking := func(q *Question) { q.Ask, q.MaxAge = w.ask, 0 }
	v := w.check(asking, newUnit("audience", 2, 99))
	if v.OK || v.Asked.IDs != 2 || v.Asked.OptedOut != 1 || v.Tables[0].Breaches != 1 {
		t.Errorf("%+v, %+v", v.Asked, v.Tables)
	}
	if v := w.check(asking, newUnit("audience", 2, 3)); !v.OK {
		t.Errorf("%v", v.Err())
	}
	if v := w.check(asking); v.OK || v.Asked.IDs != 7 || v.Tables[0].Breaches != 3 {
		t.Errorf("%+v, %+v", v.Asked, v.Tables)
	}
	unsure := func(q *Question) {
		q.Ask = func(context.Context, string) ([]schemas.OptOut, schemas.GateAsked, error) {
			return nil, schemas.GateAsked{IDs: 2, Unverifiable: 1}, nil
		}
	}
	if v := w.check(unsure, newUnit("audience", 2, 3)); v.OK || !strings.Contains(v.Err().Error(), "no verdict on 1 ids") {
		t.Errorf("%v", v.Err())
	}
	half := newUnit("audience", 2)
	half.broken = errors.New("broken")
	if v := w.check(asking, half); v.OK || len(v.Tables[0].Failures) != 1 {
		t.Errorf("%+v", v.Tables)
	}
	half.broken, half.hidden = nil, errors.New("broken")
	if v := w.check(asking, half); v.OK || len(v.Tables[0].Failures) != 1 {
		t.Errorf("ids that could not be collected: %+v", v.Tables)
	}
	if after := ledgerOf(t, w); after != before {
		t.Error("the ledger was written")
	}
}

func ledgerOf(t *testing.T, w *world) string {
	t.Helper()
	data, err := os.ReadFile(sweep.Layout(w.dir).Ledger())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Whatever the lists hold and however flags were set: breaches are exactly the
// rows of listed ids without a flag at that time or an earlier one.
func TestBreachesAreExactlyTheUnflaggedRowsOfListedIDs(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		w := newWorld(t, dir)
		listed := map[int]int64{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 9), 0, 4).Draw(rt, "operator") {
			w.operator[sweeptest.ID(n)] = 1_600_000_000_000
			if n < 8 {
				listed[n] = 1_600_000_000_000 // in the data, so that the run finds it
			}
		}
		w.run(false)
		ids := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 4).Draw(rt, "own")
		w.importOwn(ids...)
		for _, n := range ids {
			if _, ok := listed[n]; !ok {
				listed[n] = 1_650_000_000_000
			}
		}
		u := newUnit("audience", rapid.SliceOfN(rapid.IntRange(0, 9), 1, 12).Draw(rt, "rows")...)
		want := int64(0)
		for i, c := range u.cells {
			u.since[i] = rapid.SampledFrom([]int64{0, 1_500_000_000_000, 1_600_000_000_000, 1_650_000_000_000}).Draw(rt, "flag")
			for n, ms := range listed {
				if string(cell(n)) == string(c) && (u.since[i] == 0 || u.since[i] > ms) {
					want++
				}
			}
		}
		if v := w.check(nil, u); v.Tables[0].Breaches != want {
			rt.Fatalf("%d breaches, want %d", v.Tables[0].Breaches, want)
		}
	})
}
