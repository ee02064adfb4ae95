package bigquery

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"optsweep/connectors/bigquery/bqfake"
	"optsweep/schemas"
)

// apply sweeps with some opted-out ids.
func (w *world) apply(o Options, optedOut map[string]int64) (schemas.Receipt, error) {
	w.Helper()
	r, err := sweep(w.Context(), w.table(o), optedOut)
	w.discreet(err)
	if err != nil {
		return schemas.Receipt{}, err
	}
	return r[0], nil
}

// unflagged counts the rows of the customer's table that hold an opted-out id
// without a flag that is early enough.
func (w *world) unflagged(optedOut map[string]int64) int {
	n := 0
	for _, r := range w.server.Rows(crmName) {
		id, _ := r["euid"].(string)
		ms, ok := optedOut[id]
		if !ok {
			continue
		}
		if flag, ok := r["opted_out_since"].(interface{ UnixMilli() int64 }); !ok || flag.UnixMilli() > ms {
			n++
		}
	}
	return n
}

// idle are the jobs that say they succeeded and did nothing.
func idle(step string) func(bqfake.Call) bool { return bqfake.Match("jobs.insert", step) }

// A statement that does nothing is never taken for one that did its work, also
// where most rows were as they should be before.
func TestIdleStatementIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		mode     Mode
		drop     bool
		step     string
		optedOut map[string]int64
	}{
		"column":            {Column, false, "merge", fakeOptedOut()},
		"column, part":      {Column, false, "merge", map[string]int64{testID(4): day2}},
		"column, earlier":   {Column, false, "merge", map[string]int64{testID(3): day1}},
		"suppression":       {Suppression, false, "merge", fakeOptedOut()},
		"remove":            {Remove, false, "remove", fakeOptedOut()},
		"remove, no copies": {Remove, true, "remove", fakeOptedOut()},
	} {
		t.Run(name, func(t *testing.T) {
			o := fakeOptions(c.mode)
			o.Write.DropRemoved = c.drop
			w := newWorld(t)
			w.server.Let(idle(c.step), 0, bqfake.Fate{Idle: true})
			if _, err := w.apply(o, c.optedOut); err == nil || !strings.Contains(err.Error(), "read back") {
				t.Errorf("always idle: error %v", err)
			}
			w = newWorld(t)
			w.server.Let(idle(c.step), 1, bqfake.Fate{Idle: true})
			if _, err := w.apply(o, c.optedOut); err != nil {
				t.Errorf("idle once: %v", err)
			}
			if c.mode == Column && w.unflagged(c.optedOut) > 0 {
				t.Errorf("idle once: %d rows lack a flag", w.unflagged(c.optedOut))
			}
		})
	}
}

// A statement about one part of a table is not confirmed by what another part
// had removed.
func TestIdleRemovalOfOnePart(t *testing.T) {
	o := fakeOptions(Remove)
	o.Partitions = []string{"part = 'x'", "part = 'y'"}
	w := newWorld(t)
	w.server.Let(idle("remove"), 2, bqfake.Fate{Idle: true})
	if _, err := w.apply(o, map[string]int64{testID(1): day1}); err != nil {
		t.Fatal(err)
	}
	if got := w.state(crmName); strings.Contains(got, testID(1)) {
		t.Errorf("rows are left:\n%s", got)
	}
	if got := strings.Count(w.state(keptName), testID(1)); got != 3 {
		t.Errorf("%d rows in quarantine, want 3", got)
	}
}

// Hits that were lost on the way are noticed.
func TestHitsAreCounted(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		w.server.On(func(c bqfake.Call) bool { return c.Method == "tables.get" && strings.Contains(c.Target, "_hits_") }, 1, bqfake.Fault{Do: func() {
			for _, name := range w.server.Tables("p.d") {
				if strings.Contains(name, "_hits_") {
					w.server.Change(name, func(rows []bqfake.Row) []bqfake.Row { return rows[:1] })
				}
			}
		}})
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: error %v", mode, err)
		}
	}
}

// added is a row that another program adds while a run is under way.
func added(n, id int) bqfake.Row {
	return bqfake.Row{"row": int64(n), "euid": testID(id), "part": "x"}
}

// Rows that come between staging and the statement are treated along; those
// that come behind it are left to the next run. The receipt is that of the
// snapshot.
func TestRowsAddedMeanwhile(t *testing.T) {
	for _, mode := range []Mode{Column, Remove} {
		step, confirm := "merge", "confirm-flags"
		if mode == Remove {
			step, confirm = "remove", "confirm-removal"
		}
		plain := newWorld(t)
		want, err := plain.apply(fakeOptions(mode), fakeOptedOut())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			when func(bqfake.Call) bool
			left int
		}{
			{"before the statement", bqfake.Match("jobs.insert", step), 0},
			{"behind it", bqfake.Match("jobs.insert", confirm), 2},
		} {
			t.Run(string(mode)+" "+c.name, func(t *testing.T) {
				w := newWorld(t)
				w.server.On(c.when, 1, bqfake.Fault{Do: func() { w.server.Append(crmName, added(20, 1), added(21, 3), added(22, 6)) }})
				r, err := w.apply(fakeOptions(mode), fakeOptedOut())
				if err != nil {
					t.Fatal(err)
				}
				if got, want := figures([]schemas.Receipt{r})[0], figures([]schemas.Receipt{want})[0]; got != want {
					t.Errorf("receipt %+v\nwant    %+v", got, want)
				}
				if got := w.unflagged(fakeOptedOut()); got != c.left {
					t.Errorf("%d rows left, want %d", got, c.left)
				}
				if got := strings.Contains(w.log.String(), "the next run"); got != (c.left > 0) {
					t.Errorf("logged that rows are left: %t", got)
				}
			})
		}
	}
}

// Rows that another program replaces behind the statement, without their
// flags, are flagged again.
func TestRowsReplacedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.server.On(bqfake.Match("jobs.insert", "confirm-flags"), 1, bqfake.Fault{Do: func() {
		w.server.Change(crmName, func(rows []bqfake.Row) []bqfake.Row {
			for _, r := range rows {
				delete(r, "opted_out_since")
			}
			return rows
		})
	}})
	if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err != nil {
		t.Fatal(err)
	}
	if n := w.unflagged(fakeOptedOut()); n > 0 {
		t.Errorf("%d rows lack a flag", n)
	}
}

// Row-level security is noticed, whether or not the process lives that long.
func TestRowLevelSecurity(t *testing.T) {
	for _, mode := range modes {
		for k := range 30 {
			w := newWorld(t)
			w.server.Secure(crmName, func(r bqfake.Row) bool { return r["part"] == "x" })
			if k > 0 {
				w.server.Kill(k, k%2 == 0)
				if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); err == nil {
					t.Fatal("no error")
				}
				w.server.Revive()
			}
			_, err := w.apply(fakeOptions(mode), fakeOptedOut())
			if schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(schemas.HintOf(err), "row-level security") {
				t.Fatalf("%s, killed at call %d: %v", mode, k, err)
			}
		}
	}
}

// A column that another program adds at the same time is kept.
func TestColumnAddedMeanwhile(t *testing.T) {
	w := newWorldWithoutFlags(t)
	w.server.On(func(c bqfake.Call) bool { return c.Method == "tables.patch" && c.Target == crmName }, 1, bqfake.Fault{Do: func() { w.server.AddColumn(crmName, bqfake.Field("theirs", "STRING")) }})
	if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.server.Columns(crmName), " "); got != "row euid part theirs opted_out_since" {
		t.Errorf("columns %s", got)
	}
	if n := w.unflagged(fakeOptedOut()); n > 0 {
		t.Errorf("%d rows lack a flag", n)
	}

	// The same column, by another process of ours, or of another type.
	for kind, want := range map[string]string{"TIMESTAMP": "", "DATE": "not a nullable TIMESTAMP"} {
		w := newWorldWithoutFlags(t)
		w.server.On(func(c bqfake.Call) bool { return c.Method == "tables.patch" && c.Target == crmName }, 1, bqfake.Fault{Do: func() { w.server.AddColumn(crmName, bqfake.Field("opted_out_since", kind)) }})
		_, err := w.apply(fakeOptions(Column), fakeOptedOut())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", kind, err)
		}
	}

	// A table that never stays the same.
	w = newWorldWithoutFlags(t)
	w.server.On(func(c bqfake.Call) bool { return c.Method == "tables.patch" && c.Target == crmName }, 0, bqfake.Fault{Status: http.StatusPreconditionFailed, Reason: "conditionNotMet", Message: "Precondition check failed."})
	if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err == nil || !strings.Contains(err.Error(), "add column") {
		t.Errorf("error %v", err)
	}
}

// What a run has flagged before it asked is not written, nor counted, again
// when it flags what it was told, although its snapshot is from before; not
// even if it was killed in between.
func TestFlagsWrittenBefore(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		all := fakeOptedOut()
		first := map[string]int64{}
		for id, ms := range all {
			first[id] = ms
			break
		}
		table := w.table(fakeOptions(mode))
		units, _, err := table.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u := units[0]
		u.Run = schemas.RunRef{ID: fakeRun, StartedMS: started.UnixMilli()}
		commit := func(schemas.Receipt) error { return nil }
		apply := func(u schemas.Unit, set map[string]int64) schemas.Receipt {
			t.Helper()
			r, err := w.table(fakeOptions(mode)).Apply(t.Context(), u, since(set), commit)
			if err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
			return r
		}
		one := apply(u, first)
		later := u
		later.Version, later.Written = one.VersionAfter, one.Staged
		if r := apply(later, first); r.Changed || r.NewlyFlagged+r.MovedEarlier+r.Removed != 0 || r.OptedOut != one.OptedOut || r.Flagged != one.Flagged {
			t.Errorf("%s, the same again: %+v, before %+v", mode, r, one)
		}
		rest := apply(later, all)
		whole := newWorld(t)
		want, err := whole.apply(fakeOptions(mode), all)
		if err != nil {
			t.Fatal(err)
		}
		if rest.NewlyFlagged != want.NewlyFlagged-one.NewlyFlagged || rest.MovedEarlier != want.MovedEarlier-one.MovedEarlier || rest.Flagged != want.Flagged || rest.Rows != want.Rows {
			t.Errorf("%s: %+v, then %+v, in one go %+v", mode, one, rest, want)
		}
		if again := apply(later, all); again.NewlyFlagged != rest.NewlyFlagged || again.Job != rest.Job {
			t.Errorf("%s, after a crash: %+v, before %+v", mode, again, rest)
		}
	}
}

// Flags that the snapshot has and that are gone when they are to be completed
// fail the unit, rather than be made anew without those.
func TestFlagsGoneMeanwhile(t *testing.T) {
	for _, mode := range []Mode{Column, Suppression} {
		w := newWorld(t)
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); err != nil {
			t.Fatal(err)
		}
		table := w.table(fakeOptions(mode))
		units, _, err := table.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u := units[0]
		u.Run = schemas.RunRef{ID: "20260302T040000.000Z", StartedMS: started.UnixMilli()}
		if err := table.Scan(t.Context(), u, func(schemas.Cells) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if mode == Column {
			w.server.Drop(crmName)
			rows := crmFakeRows()
			for _, r := range rows {
				delete(r, "opted_out_since")
			}
			w.server.Create(crmName, crmFields()[:3], rows...)
		} else {
			w.server.Drop(listName)
		}
		for range 2 { // it does not heal by itself
			if _, err := table.Apply(t.Context(), u, since(fakeOptedOut()), func(schemas.Receipt) error { return nil }); err == nil || !strings.Contains(err.Error(), "was removed during the run") {
				t.Errorf("%s: %v", mode, err)
			}
		}
		u.Run.ID = "20260303T040000.000Z"
		if _, err := table.Apply(t.Context(), u, since(fakeOptedOut()), func(schemas.Receipt) error { return nil }); err != nil {
			t.Errorf("%s, the next run: %v", mode, err)
		}
	}
}

// Staging tables that went away between processes are made again under the
// next attempt.
func TestStagingTableExpired(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		commit := func(schemas.Receipt) error { return context.Canceled }
		table := w.table(fakeOptions(mode))
		units, _, err := table.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u := units[0]
		u.Run = schemas.RunRef{ID: fakeRun, StartedMS: started.UnixMilli()}
		if _, err := table.Apply(t.Context(), u, since(fakeOptedOut()), commit); err == nil {
			t.Fatal("a commit that fails did not stop it")
		}
		for _, name := range w.server.Tables("p.d") {
			if strings.Contains(name, "optsweep_2026") {
				w.server.Drop(name)
			}
		}
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if got := w.effects(); got["stage"] != 2 || got["load"] != 2 {
			t.Errorf("%s: jobs %v", mode, got)
		}
		for _, j := range w.server.Jobs() {
			if n := map[string]int{"stage": 2, "load": 2}[j.Step]; n > 0 && !strings.HasSuffix(j.ID, "_1") && !strings.HasSuffix(j.ID, "_2") {
				t.Errorf("job %s", j.ID)
			}
		}
	}
}
