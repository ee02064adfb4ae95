package sweep

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/parquet"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// fresh forgets what was counted so far.
func (t *memoryTable) fresh() {
	t.scanned, t.applied, t.decoded = map[string]int{}, map[string]int{}, map[string]int{}
}

// lastRun is the folder of the last run.
func lastRun(t *testing.T, b *bench) string {
	t.Helper()
	runs, err := os.ReadDir(filepath.Join(b.dir, runsDir))
	if err != nil || len(runs) == 0 {
		t.Fatal(err)
	}
	return filepath.Join(b.dir, runsDir, runs[len(runs)-1].Name())
}

// idFilesOf lists the files of units' ids, under the runs' folders.
func idFilesOf(t *testing.T, b *bench) (files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, runsDir, "*", extractDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A run over unchanged units comes to the same figures, although no unit can be
// read any more.
func TestUnchangedUnitsAreNotReadAgain(t *testing.T) {
	b := newBench(t)
	first := b.mustRun()
	gone := errors.New("the ids cannot be read")
	b.table.scanErr = map[string]error{"a": gone, "b": gone}
	b.table.applyErr = b.table.scanErr
	for range 3 { // also of what was not read itself
		rep := b.mustRun()
		got, want := rep.Tables[0], first.Tables[0]
		if got.Reused != 2 || got.UnitsChanged != 0 || got.RowsNew != 0 || got.UnitsFailed != 0 || rep.Status != schemas.StatusReconciled {
			t.Fatalf("%s, %+v", rep.Status, got)
		}
		if !reflect.DeepEqual(got.Malformed, want.Malformed) || !reflect.DeepEqual(got.Example, want.Example) ||
			got.Rows != want.Rows || got.Nulls != want.Nulls || got.Valid != want.Valid || got.Repaired != want.Repaired ||
			got.RowsFlagged != want.RowsFlagged || got.RowsOptedOut != want.RowsOptedOut || got.RowsFlagged != 13 {
			t.Fatalf("%+v, want the figures of %+v", got, want)
		}
		if rep.IDs.Distinct != first.IDs.Distinct {
			t.Fatalf("%d distinct ids, want %d", rep.IDs.Distinct, first.IDs.Distinct)
		}
		for _, law := range rep.Laws {
			if !law.OK {
				t.Errorf("law %+v", law)
			}
		}
		for _, unit := range []int{0, 1} {
			text, err := os.ReadFile(filepath.Join(lastRun(t, b), QuarantineFile(unit)))
			if err != nil || strings.Count(string(text), "\n") != 2 {
				t.Fatalf("quarantine of unit %d: %q, %v", unit, text, err)
			}
		}
	}
}

func TestUnitsAreReadAgainWhenInDoubt(t *testing.T) {
	flip := func(path string) error {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		return err
	}
	for name, c := range map[string]struct {
		doubt func(b *bench, run string) error // run is the folder of the first
		read  map[string]int
	}{
		"nothing": {func(*bench, string) error { return nil }, map[string]int{}},
		"another version": {func(b *bench, _ string) error {
			b.table.units[0].version += 100
			return nil
		}, map[string]int{"a": 1}},
		"another id column": {func(b *bench, _ string) error {
			b.table.reading = "other"
			return nil
		}, map[string]int{"a": 1, "b": 1}},
		"another version of the tool": {func(b *bench, _ string) error {
			b.job.Started.ToolVersion = "v2"
			return nil
		}, map[string]int{"a": 1, "b": 1}},
		"other parse rules": {func(b *bench, _ string) error {
			b.job.Rules.Environment, b.job.Started.Environment = schemas.Integration, schemas.Integration
			return nil
		}, map[string]int{"a": 1, "b": 1}},
		"another job": {func(b *bench, _ string) error {
			b.job.Started.Job = "other"
			return nil
		}, map[string]int{"a": 1, "b": 1}},
		"a damaged file of ids": {func(_ *bench, run string) error {
			return flip(filepath.Join(run, unitFile(1)))
		}, map[string]int{"b": 1}},
		"a whole file of other ids": {func(_ *bench, run string) error {
			data, err := os.ReadFile(filepath.Join(run, unitFile(1)))
			return errors.Join(err, os.WriteFile(filepath.Join(run, unitFile(0)), data, 0o600))
		}, map[string]int{"a": 1}},
		"a missing file of ids": {func(_ *bench, run string) error {
			return os.Remove(filepath.Join(run, unitFile(0)))
		}, map[string]int{"a": 1}},
		"a changed quarantine": {func(_ *bench, run string) error {
			return flip(filepath.Join(run, QuarantineFile(0)))
		}, map[string]int{"a": 1}},
		"a damaged journal": {func(_ *bench, run string) error {
			return flip(filepath.Join(run, extractLog))
		}, map[string]int{"a": 1, "b": 1}},
		"ids that are too old to be kept": {func(b *bench, _ string) error {
			b.clock = b.clock.Add(keepIDs + time.Hour)
			return nil
		}, map[string]int{"a": 1, "b": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustRun()
			if err := c.doubt(b, lastRun(t, b)); err != nil {
				t.Fatal(err)
			}
			b.table.fresh()
			rep := b.mustRun()
			if !reflect.DeepEqual(b.table.scanned, c.read) || rep.Tables[0].Reused != 2-len(c.read) {
				t.Errorf("read %v, want %v; %d reused", b.table.scanned, c.read, rep.Tables[0].Reused)
			}
			if rep.Tables[0].Valid != 81 || rep.IDs.Distinct != 60 {
				t.Errorf("figures %+v of %d ids", rep.Tables[0], rep.IDs.Distinct)
			}
		})
	}
}

// Only the unit whose flags may have to change is worked out anew.
func TestFlagsAreWorkedOutAgainOnlyWhereTheyMayChange(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bench)
		apply  map[string]int
	}{
		"nothing":                     {func(*bench) {}, map[string]int{}},
		"a new opt-out":               {func(b *bench) { b.operator.optedOut[testID(1)] = 5 }, map[string]int{"a": 1}},
		"a new one in both":           {func(b *bench) { b.operator.optedOut[testID(22)] = 5 }, map[string]int{"a": 1, "b": 1}},
		"another job file":            {func(b *bench) { b.job.Started.ConfigDigest = "c2" }, map[string]int{"a": 2, "b": 2}}, // before anything is asked, too
		"another version of the tool": {func(b *bench) { b.job.Started.ToolVersion = "v2" }, map[string]int{"a": 1, "b": 1}},
		"a flag that is gone":         {func(b *bench) { b.table.units[1].since[1] = 0 }, map[string]int{"b": 1}}, // id 21, with the version unchanged
		"as many flags in another version": {func(b *bench) {
			u := b.table.units[1]
			u.since[1] += 1000
			u.version += 100
		}, map[string]int{"b": 2}}, // before anything is asked, too
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustRun()
			c.change(b)
			b.table.fresh()
			b.mustRun() // compares all flags
			if !reflect.DeepEqual(b.table.applied, c.apply) {
				t.Errorf("worked out %v, want %v", b.table.applied, c.apply)
			}
		})
	}
}

// What a run read is good after it added flags, and as it was before that.
func TestIDsOutliveTheFlags(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	a := b.table.units[0]
	a.since, a.version = make([]int64, len(a.since)), 0 // put back from a copy
	b.table.fresh()
	rep := b.mustRun()
	if len(b.table.scanned) != 0 || rep.Tables[0].Reused != 2 || rep.Tables[0].RowsReapplied != 7 {
		t.Errorf("read %v, %+v", b.table.scanned, rep.Tables[0])
	}
}

// A dry run's work is good for the real one.
func TestRealRunUsesWhatADryRunRead(t *testing.T) {
	b := newBench(t)
	b.job.Started.DryRun, b.list = true, PreviewList
	b.job.Tables[0].Target = previewTarget{b.table}
	if _, err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.job.Started.DryRun, b.list = false, KeepList
	b.job.Tables[0].Target = b.table
	b.table.fresh()
	if rep := b.mustRun(); len(b.table.scanned) != 0 || rep.Tables[0].Reused != 2 || rep.Tables[0].RowsNew != 13 {
		t.Errorf("read %v, %+v", b.table.scanned, rep.Tables[0])
	}
}

// Ids of a unit are kept once, by nobody else to be read, and no longer than
// the unit is part of the table.
func TestKeptIDsArePrivateAndGoWithTheirUnit(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	b.table.units = b.table.units[1:]
	b.mustRun()
	files := idFilesOf(t, b)
	unit := filepath.Join(lastRun(t, b), unitFile(0))
	if want := []string{unit, rowsFile(unit)}; !slices.Equal(files, want) {
		t.Fatalf("kept %v, want %v", files, want)
	}
	err := filepath.WalkDir(filepath.Join(b.dir, runsDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The same over a Parquet file whose ids are overwritten after the first run,
// with its size, footer and time as they were: nothing may decode them.
func TestIDColumnIsNotDecodedAgain(t *testing.T) {
	b := newBench(t)
	root := fastDir(t)
	path := filepath.Join(root, "data", "x.parquet")
	file, err := os.ReadFile("../../testdata/parquet/fixtures/pyarrow-zstd-v2.parquet")
	if err := errors.Join(err, os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, file, 0o640)); err != nil {
		t.Fatal(err)
	}
	table := parquetTable(t, parquet.Column, root, b.disk)
	b.job.Tables = []Table{{Name: "crm", Source: table, Target: table}}
	units, _, err := table.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Scan(t.Context(), units[0], func(c schemas.Cells) error {
		for _, cell := range c.Values {
			if id, _, reason := b.job.Rules.Parse(cell); cell != nil && reason == schemas.Valid {
				b.operator.optedOut[id] = 1_600_000_000_000
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first, err := b.run(t.Context())
	if err != nil || first.Tables[0].RowsFlagged == 0 {
		t.Fatal(first.Tables, err)
	}
	overwriteIDs(t, path)
	rep, err := b.run(t.Context())
	if err != nil || rep.Tables[0].Reused != 1 || rep.Tables[0].RowsFlagged != first.Tables[0].RowsFlagged || rep.Tables[0].UnitsChanged != 0 {
		t.Fatalf("%+v, %v", rep.Tables, err)
	}
	b.job.Started.ToolVersion = "v2" // the proof that they are overwritten
	if rep, err := b.run(t.Context()); err == nil {
		t.Fatalf("the ids were not overwritten: %+v", rep.Tables)
	}
}

func overwriteIDs(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	meta, err := footer.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	column := slices.IndexFunc(meta.Columns, func(c footer.Column) bool { return c.Name == "euid" })
	chunks, err := meta.Chunks(column)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if _, err := f.WriteAt(make([]byte, c.Pages.Length), c.Pages.Offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}
