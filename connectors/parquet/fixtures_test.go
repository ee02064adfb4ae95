package parquet_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/file"

	"optsweep/connectors/parquet"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

const fixtureDir = "../../testdata/parquet/fixtures"

// rule says who is opted out in the fixtures; generate.py and crossread.py know
// it too.
func rule(cell []byte) (int64, bool) {
	if len(cell) != 44 || cell[0] < 'A' || cell[0] > 'D' {
		return 0, false
	}
	return 1_700_000_000_000 + int64(cell[1]), true
}

func fixtures(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(fixtureDir, "*.parquet"))
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	return paths
}

// work copies files into a fresh folder and returns it.
func work(t testing.TB, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func table(t testing.TB, path string) *parquet.Table {
	t.Helper()
	tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: "euid"})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func plan(t testing.TB, tab *parquet.Table) []schemas.Unit {
	t.Helper()
	units, failed, err := tab.Plan(context.Background())
	if err != nil || len(failed) > 0 {
		t.Fatalf("plan: %v, failures %+v", err, failed)
	}
	return units
}

func nothing(schemas.Receipt) error { return nil }

// apply runs Apply and checks that the file then is what commit was told.
func apply(t testing.TB, tab *parquet.Table, u schemas.Unit, since parquet.Since) schemas.Receipt {
	t.Helper()
	preview, err := tab.Preview(context.Background(), u, since)
	if err != nil {
		t.Fatal(err)
	}
	var told schemas.Receipt
	r, err := tab.Apply(context.Background(), u, since, func(r schemas.Receipt) error { told = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	now, err := tab.Version(context.Background(), u)
	if err != nil || now != r.VersionAfter {
		t.Fatalf("version is %s (%v), the receipt says %s", now, err, r.VersionAfter)
	}
	if r.Changed && told != r {
		t.Fatalf("commit was told %+v, the receipt says %+v", told, r)
	}
	if r.Changed {
		preview.VersionAfter = r.VersionAfter
	}
	if preview != r {
		t.Fatalf("preview %+v\napply   %+v", preview, r)
	}
	return r
}

// cells reads the id column with Scan.
func cells(t testing.TB, tab *parquet.Table, u schemas.Unit) [][]byte {
	t.Helper()
	var all [][]byte
	err := tab.Scan(context.Background(), u, func(c schemas.Cells) error {
		if c.First != int64(len(all)) {
			t.Fatalf("batch begins at row %d after %d rows", c.First, len(all))
		}
		for _, v := range c.Values {
			all = append(all, bytes.Clone(v))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// flags reads the flag column of a file with arrow's file reader: nil for NULL.
func flags(t testing.TB, path, column string) []*int64 {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	i := r.MetaData().Schema.ColumnIndexByName(column)
	if i != r.MetaData().Schema.NumColumns()-1 {
		t.Fatalf("column %s is number %d of %d", column, i, r.MetaData().Schema.NumColumns())
	}
	var all []*int64
	for g := range r.NumRowGroups() {
		chunk, err := r.RowGroup(g).Column(i)
		if err != nil {
			t.Fatal(err)
		}
		values, levels := make([]int64, 1000), make([]int16, 1000)
		for chunk.HasNext() {
			rows, _, err := chunk.(*file.Int64ColumnChunkReader).ReadBatch(1000, values, levels, nil)
			if err != nil {
				t.Fatal(err)
			}
			next := 0
			for _, level := range levels[:rows] {
				if level == 0 {
					all = append(all, nil)
					continue
				}
				v := values[next]
				all, next = append(all, &v), next+1
			}
		}
	}
	return all
}

// chunkBytes returns the pages of all columns but the flags, in order.
func chunkBytes(t testing.TB, path string, columns int) [][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := footer.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Columns) != columns {
		t.Fatalf("%s has %d columns, want %d", path, len(m.Columns), columns)
	}
	var all [][]byte
	for g := range r.NumRowGroups() {
		for c := range columns {
			meta, err := r.MetaData().RowGroup(g).ColumnChunk(c)
			if err != nil {
				t.Fatal(err)
			}
			start := meta.DataPageOffset()
			if meta.HasDictionaryPage() && meta.DictionaryPageOffset() > 0 {
				start = min(start, meta.DictionaryPageOffset())
			}
			data := make([]byte, meta.TotalCompressedSize())
			if _, err := io.ReadFull(io.NewSectionReader(f, start, int64(len(data))), data); err != nil {
				t.Fatal(err)
			}
			all = append(all, data)
		}
	}
	return all
}

func columnCount(t testing.TB, path string) int {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.MetaData().Schema.NumColumns()
}

func wantFlags(ids [][]byte) (want []*int64) {
	for _, cell := range ids {
		if ms, ok := rule(cell); ok {
			want = append(want, &ms)
		} else {
			want = append(want, nil)
		}
	}
	return want
}

func sameFlags(t testing.TB, got, want []*int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d flags, want %d", len(got), len(want))
	}
	for i := range got {
		if (got[i] == nil) != (want[i] == nil) || got[i] != nil && *got[i] != *want[i] {
			t.Fatalf("row %d differs", i)
		}
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFixtures flags what pyarrow, DuckDB and Polars wrote: the old file is a
// prefix of the new one, every old column chunk is the same, arrow reads the
// right flags, a second run changes nothing, and a run with more flags replaces
// the column without growing the file by more than the flags.
// With OPTSWEEP_CROSSREAD_OUT set, the flagged files are kept there for
// crossread.py.
func TestFixtures(t *testing.T) {
	out := os.Getenv("OPTSWEEP_CROSSREAD_OUT")
	for _, original := range fixtures(t) {
		t.Run(filepath.Base(original), func(t *testing.T) {
			dir := work(t, original)
			path := filepath.Join(dir, filepath.Base(original))
			tab := table(t, path)
			u := plan(t, tab)[0]
			columns := columnCount(t, path)
			oldChunks := chunkBytes(t, path, columns)
			ids := cells(t, tab, u)
			if int64(len(ids)) != u.Rows {
				t.Fatalf("%d cells in %d rows", len(ids), u.Rows)
			}

			r := apply(t, tab, u, rule)
			if !r.Changed || r.Rows != u.Rows || r.Flagged != r.OptedOut || r.NewlyFlagged != r.Flagged || r.Confirmed != r.Flagged {
				t.Fatalf("receipt %+v", r)
			}
			before, after := read(t, original), read(t, path)
			if !bytes.HasPrefix(after, before) {
				t.Fatal("the old file is not the beginning of the new one")
			}
			newChunks := chunkBytes(t, path, columns+1)
			for i, data := range oldChunks {
				if !bytes.Equal(data, newChunks[i/columns*(columns+1)+i%columns]) {
					t.Fatalf("column chunk %d differs", i)
				}
			}
			sameFlags(t, flags(t, path, "opted_out_since"), wantFlags(ids))
			if out != "" {
				if err := os.WriteFile(filepath.Join(out, filepath.Base(path)), after, 0o644); err != nil {
					t.Fatal(err)
				}
			}

			u = plan(t, tab)[0]
			again := apply(t, tab, u, rule)
			if again.Changed || again.VersionAfter != u.Version || !bytes.Equal(read(t, path), after) || again.Confirmed != r.Flagged {
				t.Fatalf("second run: %+v", again)
			}

			// An earlier time for every row moves all flags; what comes back to
			// the old times is sticky and must not change anything.
			earlier := func(cell []byte) (int64, bool) {
				ms, ok := rule(cell)
				return ms - 1000, ok
			}
			moved := apply(t, tab, u, earlier)
			if moved.MovedEarlier != r.Flagged || moved.BytesAfter != moved.BytesBefore {
				t.Fatalf("moved: %+v", moved)
			}
			if !bytes.HasPrefix(read(t, path), before) {
				t.Fatal("the old file is not the beginning of the moved one")
			}
			u = plan(t, tab)[0]
			if back := apply(t, tab, u, rule); back.Changed {
				t.Fatalf("back: %+v", back)
			}
			if cleared := apply(t, tab, u, func([]byte) (int64, bool) { return 0, false }); cleared.Changed || cleared.Kept != r.Flagged {
				t.Fatalf("cleared: %+v", cleared)
			}
		})
	}
}
