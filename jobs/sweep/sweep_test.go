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
	"optsweep/schemas/durable"
)

func TestRunFlagsWhoIsOptedOutAndCountsEverything(t *testing.T) {
	b := newBench(t)
	rep := b.mustRun()
	if rep.Status != schemas.StatusReconciled {
		t.Fatalf("status %s", rep.Status)
	}
	if got := rep.IDs; got.Distinct != 60 || got.Asked != 60 || got.OptedOut != 9 || got.Clear != 51 || got.Batches != 6 {
		t.Errorf("ids %+v", got)
	}
	table := rep.Tables[0]
	if table.Rows != 86 || table.Nulls != 3 || table.Valid != 81 || table.Repaired != 1 {
		t.Errorf("table %+v", table)
	}
	if table.Malformed[schemas.LooksLikeEmail] != 1 || table.Malformed[schemas.NotBase64] != 1 {
		t.Errorf("malformed %v", table.Malformed)
	}
	// 0 7 14 21 28 35 in a and once more 7; 21 28 35 42 49 56 in b.
	if table.RowsNew != 13 || table.RowsFlagged != 13 || table.UnitsChanged != 2 {
		t.Errorf("flags %+v", table)
	}
	for _, l := range rep.Laws {
		if !l.OK {
			t.Errorf("law %+v", l)
		}
	}
	for id, n := range b.operator.asked {
		if n != 1 {
			t.Errorf("%v was asked %d times", id, n)
		}
	}
}

func TestSecondRunChangesNothingAndDoesNotAskKnownIDsAgain(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.operator.asked = map[schemas.ID]int{}
	rep := b.mustRun()
	if rep.Tables[0].UnitsChanged != 0 || rep.Tables[0].RowsNew != 0 || rep.Tables[0].RowsFlagged != 13 {
		t.Errorf("table %+v", rep.Tables[0])
	}
	if rep.IDs.Known != 9 || rep.IDs.Asked != 51 || rep.IDs.OptedOut != 0 {
		t.Errorf("ids %+v", rep.IDs)
	}
	for id := range b.operator.asked {
		if _, known := b.operator.optedOut[id]; known {
			t.Error("a known id was asked again")
		}
	}
}

func TestFlagsAreStickyAndReappliedToARestoredTable(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	want := b.table.units[0].since
	b.table.units[0].since = make([]int64, len(want)) // restored from an old copy
	b.table.units[0].version++
	b.operator.optedOut = map[schemas.ID]int64{} // and the operator forgot
	rep, err := b.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if rep.Tables[0].RowsNew != 7 || rep.Tables[0].RowsFlagged != 13 {
		t.Errorf("table %+v", rep.Tables[0])
	}
	for i, ms := range b.table.units[0].since {
		if ms != want[i] {
			t.Fatalf("row %d has flag %d, had %d", i, ms, want[i])
		}
	}
}

func TestFlagWithoutKnownReasonIsKeptAndCounted(t *testing.T) {
	b := newBench(t)
	b.table.units[0].since[1] = 12345 // id 1 is not on the operator's list
	rep, err := b.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if b.table.units[0].since[1] != 12345 || rep.Tables[0].RowsKept != 1 || rep.Tables[0].RowsFlagged != 14 {
		t.Errorf("flag %d, table %+v", b.table.units[0].since[1], rep.Tables[0])
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	b := newBench(t)
	b.job.Started.DryRun = true
	b.list = PreviewList
	b.job.Tables[0].Target = previewTarget{b.table}
	rep, err := b.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if rep.Status != schemas.StatusPreviewed || rep.Tables[0].RowsNew != 13 {
		t.Errorf("%s, %+v", rep.Status, rep.Tables[0])
	}
	for _, u := range b.table.units {
		if u.version != 0 {
			t.Errorf("unit %s was written", u.name)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(b.dir, listDir)); len(entries) > 0 {
		t.Error("the suppression list was written")
	}
	// The real run after it finds everything new.
	b.job.Started.DryRun = false
	b.list = KeepList
	b.job.Tables[0].Target = b.table
	if rep = b.mustRun(); rep.IDs.OptedOut != 9 {
		t.Errorf("ids %+v", rep.IDs)
	}
}

type previewTarget struct{ *memoryTable }

func (previewTarget) TakesRows() bool { return false }

var errPreviewed = errors.New("previewed")

func (p previewTarget) Apply(ctx context.Context, u schemas.Unit, since func([]byte) (int64, bool), _ func(schemas.Receipt) error) (schemas.Receipt, error) {
	r, err := p.memoryTable.Apply(ctx, u, since, func(schemas.Receipt) error { return errPreviewed })
	if errors.Is(err, errPreviewed) {
		err = nil
	}
	r.VersionAfter = u.Version
	return r, err
}

func TestBrokenUnitsFailAlone(t *testing.T) {
	broken := schemas.Errorf(schemas.Failed, "broken").WithHint("mend it")
	for name, arm := range map[string]func(*bench){
		"extract": func(b *bench) { b.table.scanErr = map[string]error{"a": broken} },
		"apply":   func(b *bench) { b.table.applyErr = map[string]error{"a": broken} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			arm(b)
			rep, err := b.run(context.Background())
			if schemas.ClassOf(err) != schemas.Partial || rep.Status != schemas.StatusPartial {
				t.Fatalf("%v, status %s", err, rep.Status)
			}
			if len(rep.Failures) != 1 || rep.Failures[0].Unit != "a" || rep.Failures[0].Phase != name || rep.Failures[0].Hint != "mend it" {
				t.Errorf("failures %+v", rep.Failures)
			}
			if b.table.units[0].version != 0 || b.table.units[1].version != 1 {
				t.Errorf("versions %d and %d", b.table.units[0].version, b.table.units[1].version)
			}
			b.table.scanErr, b.table.applyErr = nil, nil
			b.mustRun()
		})
	}
}

func TestTableThatCannotBeListedFailsAlone(t *testing.T) {
	b := newBench(t)
	b.job.Tables = append(b.job.Tables, Table{Name: "gone", Source: &memoryTable{planErr: errors.New("no files")}, Target: b.table})
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Partial || len(rep.Failures) != 1 || rep.Failures[0].Table != "gone" {
		t.Fatalf("%v, %+v", err, rep.Failures)
	}
	b.checkFlags()
}

func TestNothingToReconcileIsAFailure(t *testing.T) {
	b := newBench(t)
	b.table.planErr = errors.New("no files")
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Failed || rep.Status != schemas.StatusFailed {
		t.Fatalf("%v, %s", err, rep.Status)
	}
	b.table.planErr = nil
	b.mustRun()
}

func TestUnitThatChangesDuringTheRunFailsUntouched(t *testing.T) {
	b := newBench(t)
	b.operator.fail = func(batch int) error {
		if batch == 1 {
			b.table.units[1].version++
		}
		return nil
	}
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Partial || len(rep.Failures) != 1 || rep.Failures[0].Unit != "b" {
		t.Fatalf("%v, %+v", err, rep.Failures)
	}
	if b.table.units[1].version != 1 {
		t.Error("the changed unit was written")
	}
	b.operator.fail = nil
	b.mustRun()
}

func TestLimitsStopBeforeAnyWrite(t *testing.T) {
	for name, set := range map[string]func(*Job){
		"max_quarantined": func(j *Job) { j.Limits.MaxQuarantined = 0.01 },
		"max_new_flags":   func(j *Job) { j.Limits.MaxNewFlags = 0.1 },
		"max_duration":    func(j *Job) { j.MaxDuration = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			before := b.job
			set(&b.job)
			rep, err := b.run(context.Background())
			if schemas.ClassOf(err) != schemas.Limit || !strings.Contains(err.Error(), name) || schemas.HintOf(err) == "" {
				t.Fatalf("got %v", err)
			}
			if rep.Status != schemas.StatusStopped || rep.Limit == nil || rep.Limit.Limit != name {
				t.Errorf("%s, %+v", rep.Status, rep.Limit)
			}
			for _, u := range b.table.units {
				if u.version != 0 {
					t.Errorf("unit %s was written", u.name)
				}
			}
			b.job = before
			b.mustRun()
		})
	}
}

func TestRejectedIDsAreUnverifiableNotClear(t *testing.T) {
	b := newBench(t)
	// 1 is in one unit; 28 in both, and once more with white space around it.
	b.table.units[1].cells = append(b.table.units[1].cells, append([]byte{' '}, testCell(28)...))
	b.table.units[1].since = append(b.table.units[1].since, 0)
	delete(b.operator.optedOut, testID(28))
	b.operator.reject = map[schemas.ID]schemas.Reason{testID(1): schemas.OperatorRejected, testID(28): schemas.OperatorRejected}
	rep := b.mustRun()
	if rep.IDs.Unverifiable[schemas.OperatorRejected] != 2 {
		t.Errorf("ids %+v", rep.IDs)
	}
	w := openWorkspace(t, b)
	one, both := w.Pseudonyms.ID(testID(1)), w.Pseudonyms.ID(testID(28))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := "table,unit,row,reason,cell,rows\n" +
		"crm,a,1,operator_rejected," + one + ",1\n" +
		"crm,a,28,operator_rejected," + both + ",1\n" +
		"crm,b,8,operator_rejected," + both + ",1\n" +
		"crm,b,43,operator_rejected," + both + ",1\n"
	data, err := os.ReadFile(filepath.Join(b.dir, runsDir, rep.Run, RejectedFile()))
	if err != nil || string(data) != want {
		t.Errorf("%q, %v; want %q", data, err, want)
	}
}

// Of a rejected id whose unit is no longer readable, at least the id is listed.
func TestRejectedIDsInAUnitThatIsGone(t *testing.T) {
	b := newBench(t)
	b.operator.reject = map[schemas.ID]schemas.Reason{testID(1): schemas.OperatorRejected}
	b.operator.fail = func(batch int) error {
		b.table.scanErr = map[string]error{"a": errors.New("gone")}
		b.table.applyErr = b.table.scanErr
		return nil
	}
	rep, err := b.run(context.Background())
	if schemas.ClassOf(err) != schemas.Partial || len(rep.Failures) != 1 || rep.Failures[0].Phase != "apply" {
		t.Fatalf("%+v, %v", rep.Failures, err)
	}
	data, err := os.ReadFile(filepath.Join(b.dir, runsDir, rep.Run, RejectedFile()))
	if err != nil || !strings.Contains(string(data), "\n,,,operator_rejected,id:") {
		t.Errorf("%q, %v", data, err)
	}
}

func TestTargetThatDoesNotWriteWhatItShouldIsFound(t *testing.T) {
	for name, lie := range map[string]func(*schemas.Receipt){
		"rows lost":         func(r *schemas.Receipt) { r.Rows-- },
		"flags not there":   func(r *schemas.Receipt) { r.Confirmed-- },
		"flags unexplained": func(r *schemas.Receipt) { r.Flagged++; r.Confirmed++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.table.lie = lie
			if _, err := b.run(context.Background()); err == nil {
				t.Fatal("it was not found")
			}
			for _, u := range b.table.units {
				if u.version != 0 {
					t.Errorf("unit %s was written", u.name)
				}
			}
		})
	}
}

func TestFailingOperatorLeavesARunThatGoesOn(t *testing.T) {
	for _, parallel := range []int{1, 3} {
		b := newBench(t)
		b.operator.parallel = parallel
		b.operator.fail = func(batch int) error {
			if batch == 4 {
				return schemas.Errorf(schemas.Refused, "no").WithHint("other key")
			}
			return nil
		}
		rep, err := b.run(context.Background())
		if schemas.ClassOf(err) != schemas.Refused || rep.Status != schemas.StatusInterrupted {
			t.Fatalf("%v, %s", err, rep.Status)
		}
		b.operator.fail = nil
		again := b.mustRun()
		if again.Run != rep.Run || again.Resumed != 1 {
			t.Fatalf("run %s was not resumed: %s, %d", rep.Run, again.Run, again.Resumed)
		}
		if max := 6 + parallel; b.operator.batches > max {
			t.Errorf("%d batches were asked, want at most %d", b.operator.batches, max)
		}
	}
}

func TestCancelledRunGoesOn(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.operator.fail = func(batch int) error {
		if batch == 3 {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	_, err := b.run(ctx)
	if schemas.ClassOf(err) != schemas.Cancelled || schemas.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	b.operator.fail = nil
	if rep := b.mustRun(); rep.Resumed != 1 {
		t.Errorf("resumed %d times", rep.Resumed)
	}
}

func TestUnfinishedRunIsGivenUpWhenItNoLongerFits(t *testing.T) {
	for name, change := range map[string]func(*bench){
		"job file":  func(b *bench) { b.job.Started.ConfigDigest = "c2" },
		"version":   func(b *bench) { b.job.Started.ToolVersion = "v2" },
		"too old":   func(b *bench) { b.clock = b.clock.Add(2 * time.Hour) },
		"unit":      func(b *bench) { b.table.units[1].version++ },
		"unit gone": func(b *bench) { b.table.units = b.table.units[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.operator.fail = func(batch int) error {
				if batch == 4 {
					return errors.New("down")
				}
				return nil
			}
			rep, err := b.run(context.Background())
			if err == nil {
				t.Fatal("the run was not interrupted")
			}
			b.operator.fail = nil
			change(b)
			again := b.mustRun()
			if again.Run == rep.Run || again.Resumed != 0 {
				t.Fatal("the run was resumed")
			}
		})
	}
}

func TestDamagedWorkspaceIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"ledger lost":     func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, ledgerFile)) },
		"not a workspace": func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, workspaceFile)) },
		"newer format": func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, workspaceFile), []byte(`{"format":2}`), 0o600)
		},
		"list lost":           func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, listDir)) },
		"list of another run": swapLists,
		"key cut":             func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, keyFile), 5) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustRun()
			b.operator.optedOut[testID(1)] = 1_650_000_000_000
			b.mustRun()
			versions := []int{b.table.units[0].version, b.table.units[1].version}
			if err := damage(t, b.dir); err != nil {
				t.Fatal(err)
			}
			_, err := b.run(context.Background())
			if err == nil {
				t.Fatal("the damage was not seen")
			}
			if name != "key cut" && schemas.HintOf(err) == "" {
				t.Errorf("no hint: %v", err)
			}
			if b.table.units[0].version != versions[0] || b.table.units[1].version != versions[1] {
				t.Error("a unit was written")
			}
		})
	}
}

// swapLists puts the list of the first run in place of that of the second.
func swapLists(t *testing.T, dir string) error {
	lists, err := filepath.Glob(filepath.Join(dir, listDir, "*.ids"))
	if err != nil || len(lists) != 2 {
		t.Fatalf("lists %q, %v", lists, err)
	}
	return os.Rename(lists[0], lists[1])
}

func TestSecondRunAtOnceIsTurnedAway(t *testing.T) {
	b := newBench(t)
	w, err := OpenWorkspace(durable.Disk{}, b.dir, b.now, ledger.Owner{PID: 1, Job: "other"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Locked {
		t.Fatalf("got %v", err)
	}
}

func TestWorkspaceIsPrivate(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 && d.Name() != leaseFile {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openWorkspace(t *testing.T, b *bench) *Workspace {
	t.Helper()
	w, err := OpenWorkspace(durable.Disk{}, b.dir, b.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}
