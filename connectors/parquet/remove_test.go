package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"pgregory.net/rapid"

	"optsweep/connectors/parquet"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestMain(m *testing.M) {
	parquet.RegisterCodecs()
	os.Exit(m.Run())
}

// remover is a table in mode remove; its quarantine is the folder removed.
func remover(t testing.TB, path, removed string, disk durable.Disk) *parquet.Table {
	t.Helper()
	o := parquet.Options{Table: "t", Path: path, IDColumn: "euid", Mode: parquet.Remove, Removed: removed, Disk: disk}
	if disk.Fault != nil {
		o.Workers = 1 // steps come in one order
	}
	tab, err := parquet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func planRun(t testing.TB, tab *parquet.Table, run string) []schemas.Unit {
	t.Helper()
	units := plan(t, tab)
	for i := range units {
		units[i].Run = schemas.RunRef{ID: run, StartedMS: 1_750_000_000_000}
	}
	return units
}

// groupBytes gives the pages of each row group of a file, and its ids.
func groupBytes(t testing.TB, path string) (pages [][]byte) {
	t.Helper()
	data := read(t, path)
	m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for g := range m.Groups {
		spans, err := m.Extents(g)
		if err != nil {
			t.Fatal(err)
		}
		var group []byte
		for _, s := range spans {
			group = append(group, data[s.Offset:s.Offset+s.Length]...)
		}
		pages = append(pages, group)
	}
	return pages
}

// checkRemoval takes rows out of a file: what is left and what is in quarantine
// is what was there, in order; row groups without hits are the same bytes; a
// second run changes nothing. It tells whether the file could be carried; one
// that cannot must stay as it is.
func checkRemoval(t testing.TB, in string) bool {
	t.Helper()
	removed := filepath.Join(filepath.Dir(in), "removed-"+filepath.Base(in))
	tab := remover(t, in, removed, durable.Disk{})
	u := planRun(t, tab, "run-1")[0]
	before := read(t, in)
	names, old := columnTexts(t, in)
	oldGroups := groupBytes(t, in)
	ids := cells(t, tab, u)
	preview, previewErr := tab.Preview(context.Background(), u, rule)
	committed := schemas.Receipt{}
	r, err := tab.Apply(context.Background(), u, rule, func(r schemas.Receipt) error {
		committed = r
		if !bytes.Equal(read(t, in), before) {
			t.Error("published before commit")
		}
		return nil
	})
	if (err == nil) != (previewErr == nil) {
		t.Fatalf("preview: %v, apply: %v", previewErr, err)
	}
	if err != nil {
		if !strings.Contains(err.Error(), "a copy without some rows cannot carry the") || schemas.HintOf(err) == "" || !bytes.Equal(read(t, in), before) {
			t.Fatal(err)
		}
		return false
	}
	var kept, gone [][]string
	hit, row := map[int]bool{}, 0
	m, err := footer.Read(bytes.NewReader(before), int64(len(before)))
	if err != nil {
		t.Fatal(err)
	}
	var sameGroups [][]byte
	for g, n := range m.Groups {
		for range n {
			if _, out := rule(ids[row]); out {
				gone = append(gone, old[row])
				hit[g] = true
			} else {
				kept = append(kept, old[row])
			}
			row++
		}
		if n > 0 && !hit[g] {
			sameGroups = append(sameGroups, oldGroups[g])
		}
	}
	if r.Rows != int64(len(old)) || r.Removed != int64(len(gone)) || r.NewlyFlagged != r.Removed || r.Flagged != r.OptedOut || r.OptedOut != r.Removed || r.Confirmed != r.Flagged || r.Changed != (len(gone) > 0) {
		t.Fatalf("%d of %d rows are opted out: %+v", len(gone), len(old), r)
	}
	now, err := tab.Version(context.Background(), u)
	if err != nil || now != r.VersionAfter || r.Changed && committed != r {
		t.Fatalf("version %s, %v; commit was told %+v, the receipt says %+v", now, err, committed, r)
	}
	preview.VersionAfter, preview.Staged = r.VersionAfter, r.Staged
	if preview != r || r.BytesAfter != int64(len(read(t, in))) {
		t.Fatalf("preview %+v\napply   %+v", preview, r)
	}
	if !r.Changed {
		if !bytes.Equal(read(t, in), before) {
			t.Fatal("it was written without need")
		}
		return true
	}
	newNames, got := columnTexts(t, in)
	if !slices.Equal(names, newNames) || !slices.EqualFunc(got, kept, slices.Equal) {
		t.Fatalf("%v: %d rows are left, want %d", newNames, len(got), len(kept))
	}
	newGroups := groupBytes(t, in)
	for _, g := range sameGroups {
		if !slices.ContainsFunc(newGroups, func(n []byte) bool { return bytes.Equal(n, g) }) {
			t.Fatal("a row group without a hit was encoded anew")
		}
	}
	files, err := os.ReadDir(removed)
	if err != nil || len(files) != 1 || !strings.HasSuffix(r.Staged, " to "+files[0].Name()) {
		t.Fatalf("%v, %v; staged %q", files, err, r.Staged)
	}
	path := filepath.Join(removed, files[0].Name())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	quarantineNames, quarantine := columnTexts(t, path)
	if !slices.Equal(quarantineNames, append(slices.Clone(names), parquet.RemovedSince, parquet.RemovedRun)) || len(quarantine) != len(gone) {
		t.Fatalf("quarantine: %v, %d rows, want %d", quarantineNames, len(quarantine), len(gone))
	}
	id := slices.Index(names, "euid")
	for i, row := range quarantine {
		ms, _ := rule([]byte(strings.Trim(gone[i][id], `"`)))
		if !slices.Equal(row, append(slices.Clone(gone[i]), fmt.Sprint(ms), `"run-1"`)) {
			t.Fatalf("quarantine: row %d is\n%v, want\n%v", i, row, gone[i])
		}
	}
	u = planRun(t, tab, "run-2")[0]
	again, err := tab.Apply(context.Background(), u, rule, nothing)
	if err != nil || again.Changed || again.OptedOut != 0 || again.Removed != 0 || again.VersionAfter != r.VersionAfter {
		t.Fatalf("second run: %+v, %v", again, err)
	}
	return true
}

// With OPTSWEEP_CROSSREAD_OUT set, the files are kept there for crossread.py, as
// removed-NAME, and the quarantine as quarantine-NAME.
func TestRemovalOfAnyWriterFixtures(t *testing.T) {
	out := os.Getenv("OPTSWEEP_CROSSREAD_OUT")
	done := 0
	for _, original := range fixtures(t) {
		t.Run(filepath.Base(original), func(t *testing.T) {
			dir := work(t, original)
			path := filepath.Join(dir, filepath.Base(original))
			if !checkRemoval(t, path) {
				return
			}
			done++
			if out == "" {
				return
			}
			keep := map[string]string{path: "removed-"}
			quarantine, err := filepath.Glob(filepath.Join(dir, "removed-*", "*.parquet"))
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range quarantine {
				keep[q] = "quarantine-"
			}
			for from, prefix := range keep {
				if err := os.WriteFile(filepath.Join(out, prefix+filepath.Base(path)), read(t, from), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if done < 15 {
		t.Errorf("only %d fixtures were treated", done)
	}
}

func TestRemovalOfAnyShape(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".parquet"))
		drawShape(r).write(t, path)
		if !checkRemoval(t, path) {
			r.Fatal("it was refused")
		}
	})
}

// one says that the id of one row of a shape is opted out.
func one(row int) parquet.Since {
	return func(cell []byte) (int64, bool) { return 1_700_000_000_000, string(cell) == makeID(row) }
}

// Only the row group with the row is encoded anew; page indexes are left out.
func TestRemovalCopiesTheOtherRowGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{50, 50, 1, 50}, distinct: 1000, extra: 4, schema: true}.write(t, path)
	before := groupBytes(t, path)
	tab := remover(t, path, "", durable.Disk{})
	r, err := tab.Apply(context.Background(), planRun(t, tab, "r")[0], one(60), nothing)
	if err != nil || r.Removed != 1 || r.Staged != "removed 1 rows with 1 ids, 0 NULL" {
		t.Fatalf("%+v, %v", r, err)
	}
	after := groupBytes(t, path)
	for _, g := range []int{0, 2, 3} {
		if !bytes.Equal(before[g], after[g]) {
			t.Errorf("row group %d differs", g)
		}
	}
	if bytes.Equal(before[1], after[1]) {
		t.Error("the row is still there")
	}
	// A row group that loses all of its rows goes, and so do all of them at last.
	r, err = tab.Apply(context.Background(), planRun(t, tab, "r")[0], one(100), nothing)
	if err != nil || r.Removed != 1 || len(groupBytes(t, path)) != 3 {
		t.Fatalf("%+v, %v, %d row groups", r, err, len(groupBytes(t, path)))
	}
	all := func([]byte) (int64, bool) { return 1, true }
	r, err = tab.Apply(context.Background(), planRun(t, tab, "r")[0], all, nothing)
	if err != nil || r.Removed != 149 || len(groupBytes(t, path)) != 0 {
		t.Fatalf("%+v, %v, %d row groups", r, err, len(groupBytes(t, path)))
	}
	if _, rows := columnTexts(t, path); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
}

// What a run has removed before it asked belongs to the rows that it has read.
func TestRemovalCountsWhatTheRunRemovedBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{40}, distinct: 1000, nulls: 10}.write(t, path)
	tab := remover(t, path, t.TempDir(), durable.Disk{})
	u := planRun(t, tab, "r")[0]
	first, err := tab.Apply(context.Background(), u, one(3), nothing)
	if err != nil || first.Removed != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	u.Version, u.Written = first.VersionAfter, first.Staged
	second, err := tab.Apply(context.Background(), u, func(cell []byte) (int64, bool) {
		a, ok := one(3)(cell)
		_, also := one(5)(cell)
		return a, ok || also
	}, nothing)
	if err != nil || second.Rows != first.Rows || second.Nulls != first.Nulls || second.OptedOut != 2 || second.Flagged != 2 || second.Confirmed != 2 || second.Removed != 1 || second.NewlyFlagged != 1 {
		t.Errorf("%+v, %v", second, err)
	}
	u.Version, u.Written = second.VersionAfter, "nonsense"
	if _, err := tab.Apply(context.Background(), u, nobody, nothing); schemas.ClassOf(err) != schemas.Integrity {
		t.Error(err)
	}
}

// folder reads all files of a folder.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		all[e.Name()] = string(read(t, filepath.Join(dir, e.Name())))
	}
	return all
}

// Every durable step fails in turn, before and after it took place. No row is
// ever lost, and a second attempt of the same run ends with the bytes of an
// undisturbed one, in data and quarantine.
func TestRemovalFaults(t *testing.T) {
	fault := errors.New("fault")
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	source := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{40, 40}, nulls: 9, distinct: 100, extra: 3, schema: true}.write(t, source)
	old := read(t, source)
	fresh := func() (path, removed string) {
		dir := t.TempDir()
		path = filepath.Join(dir, "data", "x.parquet")
		put(t, path, old)
		if err := os.Chtimes(path, at, at); err != nil { // so that its version is always the same
			t.Fatal(err)
		}
		return path, filepath.Join(dir, "removed", "t")
	}
	try := func(path, removed string, disk durable.Disk) (schemas.Receipt, error) {
		tab := remover(t, path, removed, disk)
		units := planRun(t, tab, "run")
		if err := tab.RemoveLeftovers(units); err != nil {
			return schemas.Receipt{}, err
		}
		return tab.Apply(context.Background(), units[0], rule, nothing)
	}
	path, removed := fresh()
	if r, err := try(path, removed, durable.Disk{}); err != nil || r.Removed == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	want, wantRemoved := read(t, path), folder(t, removed)

	for _, stored := range []bool{false, true} {
		for n := 1; ; n++ {
			path, removed := fresh()
			count, failed := 0, durable.Step("")
			_, err := try(path, removed, durable.Disk{Fault: func(step durable.Step, _ string) (bool, error) {
				if count++; count == n {
					failed = step
					return stored, fault
				}
				return false, nil
			}})
			if failed == "" { // there is no n-th step
				if err != nil || n < 12 {
					t.Fatalf("%d steps, %v", n-1, err)
				}
				break
			}
			name := fmt.Sprintf("step %d (%s, stored %v)", n, failed, stored)
			if !errors.Is(err, fault) {
				t.Fatalf("%s: %v", name, err)
			}
			switch got := read(t, path); {
			case bytes.Equal(got, old):
			case bytes.Equal(got, want) && maps.Equal(folder(t, removed), wantRemoved):
			default:
				t.Fatalf("%s: the file is neither the old one nor the new one with a whole quarantine", name)
			}
			for name := range folder(t, filepath.Dir(path)) {
				if name != "x.parquet" {
					t.Fatalf("left: %s", name)
				}
			}
			if _, err := try(path, removed, durable.Disk{}); err != nil {
				t.Fatalf("%s: second try: %v", name, err)
			}
			if !bytes.Equal(read(t, path), want) || !maps.Equal(folder(t, removed), wantRemoved) {
				t.Fatalf("%s: the second try gives something else", name)
			}
		}
	}
}

func TestRemovalGivesUpIfTheCommitFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{40}, distinct: 100}.write(t, path)
	old := read(t, path)
	tab := remover(t, path, t.TempDir(), durable.Disk{})
	refused := errors.New("refused")
	_, err := tab.Apply(context.Background(), planRun(t, tab, "r")[0], rule, func(schemas.Receipt) error { return refused })
	if !errors.Is(err, refused) || !bytes.Equal(read(t, path), old) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tab.Apply(ctx, planRun(t, tab, "r")[0], rule, nothing); !errors.Is(err, context.Canceled) || !bytes.Equal(read(t, path), old) {
		t.Fatal(err)
	}
}

// A file whose columns clash with those of the quarantine is refused, unless
// there is no quarantine.
func TestRemovalRefusesAClashWithTheQuarantine(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "x.parquet"), t.TempDir()
	shape{groups: []int{40}, distinct: 100}.write(t, path)
	tab := remover(t, path, dir, durable.Disk{})
	if _, err := tab.Apply(context.Background(), planRun(t, tab, "r")[0], one(3), nothing); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "*.parquet") // a quarantine has such columns
	tab = remover(t, path, t.TempDir(), durable.Disk{})
	unit := planRun(t, tab, "r")[0]
	old := read(t, unit.Location)
	if _, err := tab.Apply(context.Background(), unit, one(3), nothing); err == nil || !strings.Contains(schemas.HintOf(err), "keep: false") || !bytes.Equal(read(t, unit.Location), old) {
		t.Errorf("%v", err)
	}
	tab = remover(t, path, "", durable.Disk{})
	if r, err := tab.Apply(context.Background(), unit, one(3), nothing); err != nil || r.Removed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Statistics of the new row groups are right, and those of old ones still there.
func TestRemovalKeepsStatistics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{50, 50}, distinct: 1000, props: []pq.WriterProperty{pq.WithStats(true)}}.write(t, path)
	tab := remover(t, path, "", durable.Disk{})
	if _, err := tab.Apply(context.Background(), planRun(t, tab, "r")[0], one(99), nothing); err != nil {
		t.Fatal(err)
	}
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for g, want := range []struct{ low, high byte }{{0, 49}, {50, 98}} {
		c, err := r.MetaData().RowGroup(g).ColumnChunk(0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Statistics()
		if err != nil || s == nil || !s.HasMinMax() || s.EncodeMin()[0] != want.low || s.EncodeMax()[0] != want.high {
			t.Errorf("row group %d: %v, %v", g, s, err)
		}
	}
}

// A damaged file gives an error or a right result, and never a half one.
func TestRemovalOfMutatedFiles(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	shape{groups: []int{30, 30}, distinct: 60, extra: 4}.write(t, source)
	data := read(t, source)
	rapid.Check(t, func(r *rapid.T) {
		bad := slices.Clone(data)
		for range rapid.IntRange(1, 4).Draw(r, "bytes") {
			// Mostly in the footer.
			at := rapid.IntRange(0, len(bad)-1).Draw(r, "at")
			if rapid.Bool().Draw(r, "footer") {
				at = rapid.IntRange(len(bad)*2/3, len(bad)-1).Draw(r, "behind")
			}
			bad[at] = rapid.Byte().Draw(r, "value")
		}
		path := filepath.Join(dir, "x.parquet")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			r.Fatal(err)
		}
		tab := remover(t, path, filepath.Join(dir, "removed"), durable.Disk{})
		units, failed, err := tab.Plan(context.Background())
		if err != nil || len(failed) > 0 {
			return
		}
		receipt, err := tab.Apply(context.Background(), units[0], rule, nothing)
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			r.Fatal(readErr)
		}
		if err != nil || !receipt.Changed {
			if !bytes.Equal(after, bad) {
				r.Fatal("it was changed all the same")
			}
			return
		}
		m, err := footer.Read(bytes.NewReader(after), int64(len(after)))
		if err != nil || m.Rows != receipt.Rows-receipt.Removed {
			r.Fatalf("%d rows, %+v, %v", m.Rows, receipt, err)
		}
		if _, err := io.Copy(io.Discard, bytes.NewReader(after)); err != nil {
			r.Fatal(err)
		}
	})
}
