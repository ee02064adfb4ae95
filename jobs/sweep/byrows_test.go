package sweep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

// damage changes a byte in the middle of a file.
func damage(path string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		data[len(data)/2] ^= 1
		err = os.WriteFile(path, data, 0o600)
	}
	return err
}

// Flags are written by rows, unless there is a doubt about these: then by ids,
// to the same end.
func TestFlagsAreWrittenByRowsUnlessInDoubt(t *testing.T) {
	alike := func(n, m int) schemas.ID { // as n, but for what is not part of its key
		id := testID(n)
		id[31] = byte(m)
		return id
	}
	for name, c := range map[string]struct {
		prepare func(b *bench)
		doubt   func(run string) error // when the first batch is asked
		decoded map[string]int
	}{
		"no doubt": {decoded: map[string]int{}},
		"damaged":  {doubt: func(run string) error { return damage(filepath.Join(run, rowsFile(unitFile(0)))) }, decoded: map[string]int{"a": 1}},
		"missing":  {doubt: func(run string) error { return os.Remove(filepath.Join(run, rowsFile(unitFile(1)))) }, decoded: map[string]int{"b": 1}},
		"of another unit": {doubt: func(run string) error {
			data, err := os.ReadFile(filepath.Join(run, rowsFile(unitFile(1))))
			return errors.Join(err, os.WriteFile(filepath.Join(run, rowsFile(unitFile(0))), data, 0o600))
		}, decoded: map[string]int{"a": 1}},
		"its ids are those of another unit": {doubt: func(run string) error {
			data, err := os.ReadFile(filepath.Join(run, unitFile(1)))
			return errors.Join(err, os.WriteFile(filepath.Join(run, unitFile(0)), data, 0o600))
		}, decoded: map[string]int{"a": 1}},
		"an id with the key of an opted-out one, before it": {prepare: func(b *bench) {
			b.table.units[0].cells[1] = alike(7, 0).AppendText(nil)
		}, decoded: map[string]int{"a": 1}},
		"an id with the key of an opted-out one, behind it": {prepare: func(b *bench) {
			b.table.units[0].cells[1] = alike(7, 255).AppendText(nil)
		}, decoded: map[string]int{"a": 1}},
		"two opted-out ids with one key": {prepare: func(b *bench) {
			a := b.table.units[0]
			a.cells[1] = alike(7, 1).AppendText(nil)
			b.operator.optedOut[alike(7, 1)] = 5
		}, decoded: map[string]int{"a": 1}},
		"two others with one key": {prepare: func(b *bench) {
			a := b.table.units[0]
			a.cells[1], a.cells[2] = alike(8, 1).AppendText(nil), alike(8, 2).AppendText(nil)
		}, decoded: map[string]int{}},
		"an opted-out id elsewhere has the key": {prepare: func(b *bench) {
			b.operator.optedOut[alike(8, 1)] = 5
			b.table.units[1].cells[0] = alike(8, 1).AppendText(nil)
		}, decoded: map[string]int{}},
		"a key that is none": {prepare: func(b *bench) {
			id := testID(1)
			copy(id[4:12], make([]byte, 8))
			b.table.units[0].cells[1] = id.AppendText(nil)
		}, decoded: map[string]int{}},
		"an opted-out id with a key that is none": {prepare: func(b *bench) {
			id := testID(1)
			copy(id[4:12], make([]byte, 8))
			b.table.units[0].cells[1] = id.AppendText(nil)
			b.operator.optedOut[id] = 5
		}, decoded: map[string]int{"a": 1}},
		"an opted-out id with the key of bad cells": {prepare: func(b *bench) {
			id := testID(1)
			copy(id[4:12], []byte{7: 1})
			b.table.units[0].cells[1] = id.AppendText(nil)
			b.operator.optedOut[id] = 5
		}, decoded: map[string]int{"a": 1}},
		"too little memory":        {prepare: func(b *bench) { b.job.Memory = 8 * 24 * 5 }, decoded: map[string]int{"a": 1, "b": 1}}, // for 5 of 6 ids
		"just enough":              {prepare: func(b *bench) { b.job.Memory = 8 * 24 * 6 }, decoded: map[string]int{}},
		"a target that takes none": {prepare: func(b *bench) { b.table.onlyIDs = true }, decoded: map[string]int{"a": 1, "b": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if c.prepare != nil {
				c.prepare(b)
			}
			b.operator.fail = func(batch int) error {
				if batch > 1 || c.doubt == nil {
					return nil
				}
				return c.doubt(lastRun(t, b))
			}
			b.table.fresh()
			rep := b.mustRun() // compares all flags
			if !reflect.DeepEqual(b.table.decoded, c.decoded) {
				t.Errorf("decoded %v, want %v", b.table.decoded, c.decoded)
			}
			if rep.Status != schemas.StatusReconciled || rep.Tables[0].UnitsFailed != 0 {
				t.Errorf("%s, %+v", rep.Status, rep.Tables[0])
			}
		})
	}
}

// Rows outlive their run as the ids do, and so they serve when known flags have
// to come back; without them the ids still need not be read twice.
func TestRowsAreKeptForTheNextRun(t *testing.T) {
	for name, c := range map[string]struct {
		doubt   func(run string) error // before the last run
		decoded map[string]int
	}{
		"no doubt": {func(string) error { return nil }, map[string]int{}},
		"damaged":  {func(run string) error { return damage(filepath.Join(run, rowsFile(unitFile(0)))) }, map[string]int{"a": 2}}, // before anything is asked, too
		"missing":  {func(run string) error { return os.Remove(filepath.Join(run, rowsFile(unitFile(0)))) }, map[string]int{"a": 2}},
		"of another unit": {func(run string) error {
			data, err := os.ReadFile(filepath.Join(run, rowsFile(unitFile(1))))
			return errors.Join(err, os.WriteFile(filepath.Join(run, rowsFile(unitFile(0))), data, 0o600))
		}, map[string]int{"a": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustRun()
			if err := c.doubt(lastRun(t, b)); err != nil {
				t.Fatal(err)
			}
			a := b.table.units[0]
			a.since, a.version = make([]int64, len(a.since)), 0 // put back from a copy
			b.operator.optedOut[testID(1)] = 1_650_000_000_000
			b.operator.optedOut[testID(50)] = 1_650_000_000_000
			b.table.fresh()
			rep := b.mustRun()
			if len(b.table.scanned) != 0 || rep.Tables[0].Reused != 2 || rep.Tables[0].RowsReapplied != 7 {
				t.Errorf("read %v, %+v", b.table.scanned, rep.Tables[0])
			}
			if want := map[string]int{"a": 2, "b": 1}; !reflect.DeepEqual(b.table.applied, want) || !reflect.DeepEqual(b.table.decoded, c.decoded) {
				t.Errorf("worked out %v, want %v; of these by ids %v, want %v", b.table.applied, want, b.table.decoded, c.decoded)
			}
			if _, err := os.Stat(filepath.Join(lastRun(t, b), rowsFile(unitFile(0)))); (err == nil) != (len(c.decoded) == 0) {
				t.Errorf("the rows that the first run left were taken over: %v", err == nil)
			}
			b.operator.optedOut[testID(2)] = 1_650_000_000_000
			b.table.fresh()
			b.mustRun()
			if want := map[string]int{"a": 1}; !reflect.DeepEqual(b.table.applied, want) || len(b.table.decoded) != min(len(c.decoded), 1) {
				t.Errorf("in a third run %v were worked out, want %v; of these by ids %v", b.table.applied, want, b.table.decoded)
			}
		})
	}
}

// A target's own errors are those of the unit, and its ids are not tried.
func TestFaultsOfTheTargetAreNoDoubtAboutRows(t *testing.T) {
	b := newBench(t)
	b.table.applyErr = map[string]error{"a": errors.New("broken")}
	b.table.fresh()
	if rep, err := b.run(context.Background()); err == nil || rep.Tables[0].UnitsFailed != 1 || len(b.table.decoded) != 0 {
		t.Errorf("%v, %+v, decoded %v", err, rep.Tables, b.table.decoded)
	}
}

// What the workspace holds of a unit's ids is needed for all units: damage there
// is no fault of the unit, and nothing is written.
func TestDamagedIDsStopTheRun(t *testing.T) {
	for _, rows := range []bool{true, false} {
		b := newBench(t)
		b.table.onlyIDs = !rows
		b.operator.fail = func(batch int) error {
			if batch > 1 {
				return nil
			}
			return damage(filepath.Join(lastRun(t, b), unitFile(0)))
		}
		b.table.fresh()
		rep, err := b.run(context.Background())
		flags := b.table.units[0].since
		if err == nil || len(rep.Failures) > 0 || rep.Status != schemas.StatusInterrupted || !slices.Equal(flags, make([]int64, len(flags))) {
			t.Errorf("by rows %t: %v, %s, failures %v, flags %v", rows, err, rep.Status, rep.Failures, flags)
		}
	}
}

// The ids of a Parquet file are overwritten when the operator is asked, with
// its size, footer and time as they were: nothing may decode them any more.
func TestIDColumnIsDecodedOnce(t *testing.T) {
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
	want := int64(0)
	if err := table.Scan(t.Context(), units[0], func(c schemas.Cells) error {
		for _, cell := range c.Values {
			if id, _, reason := b.job.Rules.Parse(cell); cell != nil && reason == schemas.Valid && id[32]%2 == 0 {
				b.operator.optedOut[id] = 1_600_000_000_000
				want++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.operator.fail = func(int) error { overwriteIDs(t, path); return nil }
	rep, err := b.run(t.Context())
	if err != nil || want == 0 || rep.Tables[0].RowsNew != want || rep.Status != schemas.StatusReconciled {
		t.Fatalf("%+v, want %d new flags; %v", rep.Tables, want, err)
	}
}
