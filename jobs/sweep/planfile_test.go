package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
)

func TestPlanEstimatesByRowsAndThenByTheLastRun(t *testing.T) {
	b := newBench(t)
	plan := b.plan()
	e := plan.Estimate
	if e.Rows != 86 || e.DistinctIDs != 86 || e.DistinctBasis != schemas.BasisRows || e.KnownIDs != 0 || e.Batches != 9 ||
		e.BatchBasis != schemas.BasisAssumed || e.CheckSeconds != 9 || e.UnitsChanged != 2 {
		t.Errorf("first: %+v", e)
	}
	if len(plan.Tables) != 1 || len(plan.Tables[0].Units) != 2 || plan.Tables[0].Rows != 86 || plan.Schema != schemas.PlanSchema {
		t.Errorf("plan %+v", plan)
	}
	rep := b.mustRun()
	b.table.units[1].version++
	e = b.plan().Estimate
	if e.DistinctIDs != 60 || e.DistinctBasis != schemas.BasisLastRun || e.KnownIDs != 9 || e.Batches != 6 ||
		e.BatchBasis != schemas.BasisLastRun || e.BatchSeconds != rep.IDs.Seconds/6 || e.UnitsChanged != 1 {
		t.Errorf("after a run: %+v", e)
	}
	// A dry run is no run to go by.
	b.job.Started.DryRun, b.list, b.job.Tables[0].Target = true, PreviewList, previewTarget{b.table}
	b.operator.batch = 60
	if _, err := b.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.operator.batch = 10
	if again := b.plan().Estimate; again != e {
		t.Errorf("after a dry run: %+v, was %+v", again, e)
	}
}

func TestPlanWritesNothingAndNeedsNoLease(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.operator.fail = func(batch int) error {
		if batch == 8 {
			before := snapshot(t, b.dir)
			b.plan()
			if after := snapshot(t, b.dir); before != after {
				t.Errorf("the workspace was changed: %s, was %s", after, before)
			}
		}
		return nil
	}
	b.mustRun()
}

// snapshot lists all files of a folder with size and time.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		list.WriteString(path + info.ModTime().String() + info.Mode().String() + " ")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list.String()
}

func TestPlanNamesWhatWouldStopTheRun(t *testing.T) {
	b := newBench(t)
	if plan := b.plan(); len(plan.Limits) > 0 {
		t.Errorf("limits %+v", plan.Limits)
	}
	b.mustRun()
	b.table.units = b.table.units[:1]
	b.job.Limits.MaxRowDrop = 0.4
	if plan := b.plan(); len(plan.Limits) != 1 || plan.Limits[0].Limit != maxRowDrop {
		t.Errorf("limits %+v", plan.Limits)
	}
	b.table.planErr = schemas.Errorf(schemas.Failed, "no files").WithHint("look")
	if f := b.plan().Tables[0].Failures; len(f) != 1 || f[0].Hint != "look" || f[0].Table != "crm" {
		t.Errorf("failures %+v", f)
	}
}

func TestRunKeepsToItsPlanOrRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		says   string
	}{
		"nothing":       {func(*bench) {}, ""},
		"unit changed":  {func(b *bench) { b.table.units[1].version++ }, "crm, b has changed"},
		"unit gone":     {func(b *bench) { b.table.units = b.table.units[1:] }, "crm, a is gone"},
		"all gone":      {func(b *bench) { b.table.planErr = errors.New("no files") }, "crm, (all) cannot be treated"},
		"unit new":      {func(b *bench) { b.table.units = append(b.table.units, &memoryUnit{name: "c"}) }, "crm, c is new"},
		"job file":      {func(b *bench) { b.job.Started.ConfigDigest = "c2" }, "the job file has changed"},
		"version":       {func(b *bench) { b.job.Started.ToolVersion = "v2" }, "made by optsweep v1, now v2"},
		"job":           {func(b *bench) { b.job.Started.Job = "other" }, "for job test"},
		"edited":        {func(b *bench) { b.job.Plan.Tables[0].Rows++ }, "figures"},
		"unit repeated": {func(b *bench) { p := &b.job.Plan.Tables[0]; p.Units = append(p.Units, p.Units[0]) }, "figures"},
		"many changes": {func(b *bench) {
			for _, n := range []string{"c", "d", "e", "f", "g"} {
				b.table.units = append(b.table.units, &memoryUnit{name: n})
			}
		}, "crm, c is new; crm, d is new; crm, e is new; and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.keepToPlan()
			before := snapshot(t, filepath.Join(b.dir, runsDir))
			c.change(b)
			rep, err := b.run(context.Background())
			if c.says == "" {
				if err != nil || rep.Status != schemas.StatusReconciled {
					t.Fatalf("%v, %s", err, rep.Status)
				}
				return
			}
			if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(err.Error(), c.says) || schemas.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
			if rep.Run != "" || snapshot(t, filepath.Join(b.dir, runsDir)) != before {
				t.Error("a run was started")
			}
		})
	}
}

// A run that keeps to a plan does not treat a unit that appears later.
func TestRunTreatsTheUnitsOfItsPlanOnly(t *testing.T) {
	b := newBench(t)
	b.keepToPlan()
	b.job.Tables[0].Source = &growingTable{memoryTable: b.table}
	rep, err := b.run(context.Background())
	if err != nil || rep.Tables[0].Units != 2 {
		t.Fatalf("%v, %+v", err, rep.Tables)
	}
}

// growingTable gets another unit each time it was listed.
type growingTable struct{ *memoryTable }

func (g *growingTable) Plan(ctx context.Context) ([]schemas.Unit, []schemas.UnitFailure, error) {
	units, failures, err := g.memoryTable.Plan(ctx)
	g.units = append(g.units, &memoryUnit{name: "late", cells: [][]byte{testCell(7)}, since: make([]int64, 1)})
	return units, failures, err
}

// The unfinished run is still there after a plan that is out of date was
// refused.
func TestRefusedPlanDoesNotGiveUpAnUnfinishedRun(t *testing.T) {
	b := newBench(t)
	b.operator.fail = func(batch int) error {
		if batch == 3 {
			return errors.New("down")
		}
		return nil
	}
	first, err := b.run(context.Background())
	if err == nil {
		t.Fatal("it was not interrupted")
	}
	b.operator.fail = nil
	b.keepToPlan()
	b.job.Plan.ConfigDigest = "other"
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Usage {
		t.Fatalf("got %v", err)
	}
	b.job.Plan, b.job.Started.Plan = nil, ""
	if rep := b.mustRun(); rep.Run != first.Run {
		t.Error("the unfinished run was given up")
	}
}

func TestReadPlan(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "plan.json")
	good, err := json.MarshalIndent(b.plan(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data string
		ok   bool
	}{
		"good": {string(good) + "\n", true}, "empty": {"", false}, "cut": {string(good[:50]), false}, "two": {string(good) + "{}", false},
		"another kind": {strings.Replace(string(good), "plan.v1", "plan.v2", 1), false},
	} {
		if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, digest, err := ReadPlan(path)
		if ok := err == nil; ok != c.ok || ok != (plan != nil) || ok != (len(digest) == 64) || !ok && schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := ReadPlan(path + "x"); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
		t.Errorf("no file: %v", err)
	}
}
