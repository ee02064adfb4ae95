package runtables_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

func TestWhatRetentionRemovedIsTold(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	all, _ := runs(t, b)
	layout := sweep.Layout(b.Dir)
	before := mustRead(t, b, all[0], schemas.RunsTable)[0]
	for _, name := range []string{sweep.QuarantineDir, sweep.CheckJournal, sweep.ShardsDir, ""} {
		if err := os.RemoveAll(layout.Run(all[0].ID, name)); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{schemas.QuarantineTable, schemas.BatchesTable, schemas.OptOutsTable} {
			if name == sweep.QuarantineDir && table != schemas.QuarantineTable {
				mustRead(t, b, all[0], table)
				continue
			}
			rows, notes, err := read(b, all[0], table)
			if err != nil || len(rows) > 0 || len(notes) != 1 || !strings.Contains(notes[0], "run "+all[0].ID) || !strings.Contains(notes[0], table) {
				t.Errorf("without %q %s has %d rows, %q, %v", name, table, len(rows), notes, err)
			}
		}
		want(t, "run", mustRead(t, b, all[0], schemas.RunsTable)[0], before)
		mustRead(t, b, all[0], schemas.TablesTable)
	}
}

// What was changed behind the ledger's back does not become a row in good
// standing.
func TestChangedFilesAreAnError(t *testing.T) {
	template := bench(t)
	mustRun(t, template)
	template.OptedOut[sweeptest.ID(2)] = 1_650_000_000_000
	mustRun(t, template)
	all, _ := runs(t, template)
	layout := sweep.Layout(template.Dir)
	first := func(name string) string { return layout.Run(all[0].ID, name) }
	second := func(name string) string { return layout.Run(all[1].ID, name) }
	edit := func(path string, change func([]byte) []byte) func() error {
		return func() error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, change(data), 0o600)
		}
	}
	cutLine := func(data []byte) []byte {
		return data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1]
	}
	for _, c := range []struct {
		name, table, path string
		change            func() error
	}{
		{"the end of the journal is cut off", schemas.BatchesTable, first(sweep.CheckJournal), edit(first(sweep.CheckJournal), cutLine)},
		{"it is cut off before opt-outs", schemas.OptOutsTable, first(sweep.CheckJournal), edit(first(sweep.CheckJournal), cutLine)},
		{"a digest is changed", schemas.BatchesTable, first(sweep.CheckJournal), edit(first(sweep.CheckJournal), func(data []byte) []byte {
			i := bytes.Index(data, []byte(`"digest":"`)) + len(`"digest":"`)
			data[i] ^= 1
			return data
		})},
		{"it is that of another run", schemas.BatchesTable, first(sweep.CheckJournal), func() error {
			data, err := os.ReadFile(second(sweep.CheckJournal))
			return errors.Join(err, os.WriteFile(first(sweep.CheckJournal), data, 0o600))
		}},
		{"a quarantined row is removed", schemas.QuarantineTable, first(sweep.QuarantineFile(0)), edit(first(sweep.QuarantineFile(0)), cutLine)},
		{"a reason is changed", schemas.QuarantineTable, first(sweep.QuarantineFile(1)), edit(first(sweep.QuarantineFile(1)), func(data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("not_base64"), []byte("bad_length"))
		})},
		{"a row of another unit", schemas.QuarantineTable, first(sweep.QuarantineFile(1)), edit(first(sweep.QuarantineFile(1)), func(data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("crm,b,"), []byte("crm,a,"))
		})},
		{"a row number is none", schemas.QuarantineTable, first(sweep.QuarantineFile(1)), edit(first(sweep.QuarantineFile(1)), func(data []byte) []byte {
			return bytes.ReplaceAll(data, []byte(",41,"), []byte(",x,"))
		})},
		{"other columns", schemas.QuarantineTable, first(sweep.QuarantineFile(1)), edit(first(sweep.QuarantineFile(1)), func(data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("reason"), []byte("why"))
		})},
		{"a quarantine file is removed", schemas.QuarantineTable, first(sweep.QuarantineFile(1)), func() error { return os.Remove(first(sweep.QuarantineFile(1))) }},
		{"that of the operator's is removed", schemas.QuarantineTable, first(sweep.RejectedFile()), func() error { return os.Remove(first(sweep.RejectedFile())) }},
		{"that of the operator's is cut off", schemas.QuarantineTable, first(sweep.RejectedFile()), edit(first(sweep.RejectedFile()), func(data []byte) []byte { return cutLine(cutLine(data)) })},
		{"the unit counts are those of another run", schemas.QuarantineTable, first(sweep.ExtractJournal), func() error {
			data, err := os.ReadFile(second(sweep.ExtractJournal))
			return errors.Join(err, os.WriteFile(first(sweep.ExtractJournal), data, 0o600))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, err := os.ReadFile(c.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			_, _, err = read(template, all[0], c.table)
			if schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(err.Error(), all[0].ID) {
				t.Errorf("%v", err)
			}
			if err := os.WriteFile(c.path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			mustRead(t, template, all[0], c.table)
		})
	}
}

// The ledger does not know the journal of a check that is not finished yet, but
// that of another run is not taken for it.
func TestJournalOfAnotherRun(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	b.Fail = func(int) error { return errors.New("down") }
	if _, err := b.Run(context.Background()); err == nil {
		t.Fatal("no error")
	}
	all, _ := runs(t, b)
	layout := sweep.Layout(b.Dir)
	data, err := os.ReadFile(layout.Run(all[0].ID, sweep.CheckJournal))
	if err == nil {
		err = os.WriteFile(layout.Run(all[1].ID, sweep.CheckJournal), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{schemas.BatchesTable, schemas.OptOutsTable} {
		if rows, _, err := read(b, all[1], table); schemas.ClassOf(err) != schemas.Integrity || len(rows) > 0 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
	}
}
