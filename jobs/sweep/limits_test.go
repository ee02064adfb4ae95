package sweep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// mustStop runs into a limit, before anything is written.
func (b *bench) mustStop(limit string) schemas.Report {
	b.t.Helper()
	before := b.writes()
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Limit || !strings.Contains(err.Error(), limit+" is ") || !strings.Contains(schemas.HintOf(err), "--override "+limit) {
		b.t.Fatalf("got %v (hint %s), want a stop by %s", err, schemas.HintOf(err), limit)
	}
	if rep.Status != schemas.StatusStopped || rep.Limit == nil || rep.Limit.Limit != limit || b.writes() != before {
		b.t.Fatalf("status %s, limit %+v, %d writes", rep.Status, rep.Limit, b.writes()-before)
	}
	return rep
}

func (b *bench) override(limits ...string) {
	b.job.Override = Override{Limits: limits, User: "alice", Host: "alpha"}
}

// strangers replaces all ids by others of which none is opted out.
func (b *bench) strangers() {
	for _, u := range b.table.units {
		for i := range u.cells {
			u.cells[i] = testCell(1000 + i)
		}
		u.since = make([]int64, len(u.cells))
		u.version += 100
	}
}

func TestLimitIsPassedOnceWithoutAskingAgain(t *testing.T) {
	for limit, tighten := range map[string]func(*bench){
		maxNewFlags:    func(b *bench) { b.job.Limits.MaxNewFlags = 0 },
		maxQuarantined: func(b *bench) { b.job.Limits.MaxQuarantined = 0 },
		maxRowDrop: func(b *bench) {
			b.mustRun()
			b.table.units = b.table.units[:1]
			b.job.Limits.MaxRowDrop = 0.4
		},
		zeroHits: func(b *bench) {
			b.mustRun()
			b.strangers()
		},
	} {
		t.Run(limit, func(t *testing.T) {
			b := newBench(t)
			tighten(b)
			stopped := b.mustStop(limit)
			asked := b.operator.batches
			if limit == maxNewFlags || limit == zeroHits {
				b.operator.fail = func(int) error { return errors.New("asked again") }
			}
			b.override(limit)
			rep := b.mustRun()
			if rep.Run != stopped.Run || rep.Resumed != 1 || rep.Status != schemas.StatusReconciled || rep.Limit != nil {
				t.Errorf("run %s after %s: resumed %d, %s, %+v", rep.Run, stopped.Run, rep.Resumed, rep.Status, rep.Limit)
			}
			if len(rep.Overrides) != 1 || rep.Overrides[0].LimitHit != *stopped.Limit || rep.Overrides[0].User != "alice" || rep.Overrides[0].Host != "alpha" {
				t.Errorf("overrides %+v of %+v", rep.Overrides, stopped.Limit)
			}
			if b.operator.fail != nil && b.operator.batches != asked {
				t.Error("batches were asked again")
			}
			// The next run is held to the limits again, and to the new state.
			b.operator.fail, b.job.Override = nil, Override{}
			if limit == maxQuarantined {
				b.mustStop(limit)
			} else if rep = b.mustRun(); len(rep.Overrides) > 0 {
				t.Errorf("overrides %+v", rep.Overrides)
			}
		})
	}
}

func TestStoppedRunIsNotTakenUpUnlessLetPastTheLimit(t *testing.T) {
	b := newBench(t)
	b.job.Limits.MaxNewFlags = 0
	first := b.mustStop(maxNewFlags)
	second := b.mustStop(maxNewFlags)
	if first.Run == second.Run || b.operator.batches != 12 {
		t.Errorf("runs %s and %s, %d batches", first.Run, second.Run, b.operator.batches)
	}
	b.override(zeroHits) // another one
	if third := b.mustStop(maxNewFlags); third.Run == second.Run {
		t.Error("the stopped run was taken up")
	}
	statuses := map[string]string{}
	if _, err := ledger.Runs(filepath.Join(b.dir, ledgerFile), func(r ledger.Run) error {
		statuses[r.ID] = string(r.Events[len(r.Events)-1].Type) + string(r.Events[len(r.Events)-1].Data)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if s := statuses[first.Run]; !strings.Contains(s, "abandoned") || !strings.Contains(s, `"status":"stopped"`) {
		t.Errorf("the first run ended with %s", s)
	}
}

func TestRunOutOfTimeGoesOnWithMore(t *testing.T) {
	b := newBench(t)
	b.job.MaxDuration = 0
	first, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Limit || !strings.Contains(schemas.HintOf(err), "limits.max_duration") || first.Status != schemas.StatusStopped {
		t.Fatalf("got %v, %s", err, first.Status)
	}
	b.job.MaxDuration = time.Hour
	if rep := b.mustRun(); rep.Run != first.Run || rep.Resumed != 1 || rep.Limit != nil {
		t.Errorf("run %s after %s, resumed %d, limit %+v", rep.Run, first.Run, rep.Resumed, rep.Limit)
	}
}

func TestLimitsThatAreNotHit(t *testing.T) {
	b := newBench(t)
	b.job.Limits = Limits{MaxNewFlags: 0.15, MaxQuarantined: 0.03, MaxRowDrop: 0.5} // 9 of 60, 2 of 83
	b.override(Overridable()...)
	if rep := b.mustRun(); len(rep.Overrides) > 0 {
		t.Errorf("overrides %+v", rep.Overrides)
	}
	b.table.units = b.table.units[:1]
	b.mustRun() // half of the rows
	b.strangers()
	b.job.Limits.AllowZeroHits, b.job.Override = true, Override{}
	b.mustRun()
}

// Rows that are missing because a file failed are told by that failure.
func TestRowDropLooksAtWholeTablesOnly(t *testing.T) {
	past := history{JobPast: schemas.JobPast{Rows: map[string]int64{"a": 100, "b": 100}}}
	tables := []schemas.PlanTable{
		{Table: "a", Rows: 49},
		{Table: "b", Rows: 0, Failures: []schemas.UnitFailure{{Table: "b", Unit: "x"}}},
		{Table: "new", Rows: 0},
	}
	if hits := (Limits{MaxRowDrop: 0.5}).rowDrops(tables, past); len(hits) != 1 || hits[0].Figure != "51.00% (table a has 49 rows, it had 100)" || hits[0].Allows != "50%" {
		t.Errorf("%+v", hits)
	}
	if hits := (Limits{MaxRowDrop: -1}).rowDrops(tables, past); len(hits) > 0 {
		t.Errorf("without a limit: %+v", hits)
	}
}

// A run that reconciled a part of a table is no measure for the next one.
func TestPartialRunLeavesTheMeasureOfRows(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.table.scanErr = map[string]error{"a": errors.New("broken")}
	b.table.units[0].version += 100 // or it is not read
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Partial {
		t.Fatalf("got %v", err)
	}
	b.table.scanErr = nil
	b.table.units = b.table.units[:1]
	b.job.Limits.MaxRowDrop = 0.4
	b.mustStop(maxRowDrop)
}

// Somebody takes over the workspace while a run is under way: its lock was
// removed. The run ends at its next write that counts, and what it leaves is
// whole.
func TestRunThatLostItsLeaseStops(t *testing.T) {
	for name, arm := range map[string]func(*bench, func()){
		"check": func(b *bench, taken func()) {
			b.operator.fail = func(batch int) error {
				if batch == 3 {
					taken()
				}
				return nil
			}
		},
		"before a unit is replaced": func(b *bench, taken func()) { b.table.onApply = func(schemas.Unit) { taken() } },
		"after a unit was replaced": func(b *bench, taken func()) {
			b.table.afterPub = func(schemas.Unit) error { taken(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var second *Workspace
			var held []byte
			writes := 0
			arm(b, func() {
				if second != nil {
					return
				}
				if err := os.Remove(filepath.Join(b.dir, leaseFile)); err != nil {
					t.Fatal(err)
				}
				var err error
				if second, err = OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: 4711, Host: "beta", Job: "other"}); err != nil {
					t.Fatal(err)
				}
				held, writes = b.ledgerBytes(), b.writes()
			})
			_, err := b.run(context.Background())
			if schemas.ClassOf(err) != schemas.Locked || !strings.Contains(err.Error(), "4711 on beta") || strings.Count(err.Error(), "4711") != 1 {
				t.Fatalf("got %v", err)
			}
			if string(b.ledgerBytes()) != string(held) || b.writes() != writes {
				t.Errorf("the ledger was written, or %d units", b.writes()-writes)
			}
			b.operator.fail, b.table.onApply, b.table.afterPub = nil, nil, nil
			if err := second.Close(); err != nil {
				t.Fatal(err)
			}
			if rep := b.mustRun(); rep.Resumed != 1 {
				t.Errorf("resumed %d times", rep.Resumed)
			}
		})
	}
}

func (b *bench) ledgerBytes() []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, ledgerFile))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}
