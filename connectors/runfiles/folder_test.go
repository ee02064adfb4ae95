package runfiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// valueOf makes up a value of a column.
func valueOf(c schemas.RunColumn) *rapid.Generator[any] {
	var g *rapid.Generator[any]
	switch c.Type {
	case schemas.StringColumn:
		g = rapid.StringN(-1, 20, -1).AsAny()
	case schemas.Int64Column, schemas.TimestampColumn:
		g = rapid.Int64().AsAny()
	case schemas.Float64Column:
		g = rapid.Float64().AsAny()
	case schemas.BoolColumn:
		g = rapid.Bool().AsAny()
	}
	if c.Nullable {
		return rapid.OneOf(rapid.Just[any](nil), g)
	}
	return g
}

// readBack gives the rows of a file, and its metadata.
func readBack(t testing.TB, data []byte) (rows [][]any, metadata map[string]string, r *file.Reader) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	metadata = map[string]string{}
	for _, kv := range r.MetaData().KeyValueMetadata() {
		metadata[kv.GetKey()] = kv.GetValue()
	}
	for g := range r.NumRowGroups() {
		group := r.RowGroup(g)
		n := int(group.NumRows())
		part := make([][]any, n)
		for c := range group.NumColumns() {
			chunk, err := group.Column(c)
			if err != nil {
				t.Fatal(err)
			}
			levels := make([]int16, n)
			next := valuesOf(t, chunk, n, levels)
			for i := range part {
				var v any
				if levels[i] == chunk.Descriptor().MaxDefinitionLevel() {
					v = next()
				}
				part[i] = append(part[i], v)
			}
		}
		rows = append(rows, part...)
	}
	return rows, metadata, r
}

func valuesOf(t testing.TB, chunk file.ColumnChunkReader, n int, levels []int16) (next func() any) {
	t.Helper()
	var total int64
	var read int
	var err error
	at := -1
	switch chunk := chunk.(type) {
	case *file.ByteArrayColumnChunkReader:
		values := make([]parquet.ByteArray, n)
		total, read, err = chunk.ReadBatch(int64(n), values, levels, nil)
		next = func() any { at++; return string(values[at]) }
	case *file.Int64ColumnChunkReader:
		values := make([]int64, n)
		total, read, err = chunk.ReadBatch(int64(n), values, levels, nil)
		next = func() any { at++; return values[at] }
	case *file.Float64ColumnChunkReader:
		values := make([]float64, n)
		total, read, err = chunk.ReadBatch(int64(n), values, levels, nil)
		next = func() any { at++; return values[at] }
	case *file.BooleanColumnChunkReader:
		values := make([]bool, n)
		total, read, err = chunk.ReadBatch(int64(n), values, levels, nil)
		next = func() any { at++; return values[at] }
	}
	if err != nil || total != int64(n) || read > n {
		t.Fatalf("%d of %d values, %v", total, n, err)
	}
	return next
}

// schemaText prints the schema of a file.
func schemaText(s *schema.Schema) string {
	var b strings.Builder
	fmt.Fprintf(&b, "message %s {\n", s.Root().Name())
	for i := range s.NumColumns() {
		c := s.Column(i)
		repetition := map[int16]string{0: "required", 1: "optional"}[c.MaxDefinitionLevel()]
		kind := map[parquet.Type]string{parquet.Types.ByteArray: "binary", parquet.Types.Int64: "int64", parquet.Types.Double: "double", parquet.Types.Boolean: "boolean"}[c.PhysicalType()]
		logical := ""
		switch l := c.LogicalType().(type) {
		case schema.StringLogicalType:
			logical = " (STRING)"
		case *schema.TimestampLogicalType:
			if l.TimeUnit() == schema.TimeUnitMillis {
				logical = fmt.Sprintf(" (TIMESTAMP(MILLIS,%v))", l.IsAdjustedToUTC())
			}
		}
		fmt.Fprintf(&b, "  %s %s %s%s;\n", repetition, kind, c.Name(), logical)
	}
	return b.String() + "}\n"
}

// Any rows come back as they were, in files whose schema is the published one.
func TestFilesHoldTheRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perGroup := rapid.IntRange(1, 4).Draw(rt, "rows of a group")
		rows := map[string][][]any{}
		for _, table := range schemas.RunTables() {
			n := rapid.IntRange(0, 9).Draw(rt, table.Name)
			if table.Name == schemas.RunsTable {
				n = 1
			}
			for range n {
				row := make([]any, len(table.Columns))
				for i, c := range table.Columns {
					row[i] = valueOf(c).Draw(rt, c.Name)
				}
				rows[table.Name] = append(rows[table.Name], row)
			}
		}
		for _, table := range schemas.RunTables() {
			var out bytes.Buffer
			if err := encode(context.Background(), &out, table, "j", "r", perGroup, given(rows)); err != nil {
				t.Fatal(err)
			}
			got, metadata, r := readBack(t, out.Bytes())
			if fmt.Sprint(got) != fmt.Sprint(rows[table.Name]) {
				t.Fatalf("%s:\n%v, want\n%v", table.Name, got, rows[table.Name])
			}
			if want := (len(rows[table.Name]) + perGroup - 1) / perGroup; r.NumRowGroups() != want {
				t.Fatalf("%s: %d row groups, want %d", table.Name, r.NumRowGroups(), want)
			}
			if text := schemaText(r.MetaData().Schema); text != table.ParquetSchema() {
				t.Fatalf("%s, want\n%s", text, table.ParquetSchema())
			}
			want := map[string]string{keySchema: schemas.RunTablesSchema, keyRevision: fmt.Sprint(schemas.RunTablesRevision), keyTable: table.Name, keyJob: "j", keyRun: "r"}
			if table.Name == schemas.RunsTable {
				want[keyLast] = fmt.Sprint(rows[table.Name][0][table.Index("ledger_seq")])
			}
			if fmt.Sprint(metadata) != fmt.Sprint(want) {
				t.Fatalf("%s: metadata %v, want %v", table.Name, metadata, want)
			}
		}
	})
}

func given(rows map[string][][]any) RunRows {
	return func(t schemas.RunTable, each func([]any) error) error {
		for _, row := range rows[t.Name] {
			if err := each(row); err != nil {
				return err
			}
		}
		return nil
	}
}

// run is a run with one row in each table.
func run(t *testing.T, id string, seq int64) map[string][][]any {
	t.Helper()
	rows := map[string][][]any{}
	for _, table := range schemas.RunTables() {
		row := make([]any, len(table.Columns))
		for i, c := range table.Columns {
			switch {
			case c.Nullable:
			case c.Name == "job":
				row[i] = "crm"
			case c.Name == "run_id":
				row[i] = id
			case c.Type == schemas.StringColumn:
				row[i] = c.Name
			case c.Type == schemas.Float64Column:
				row[i] = 0.5
			case c.Type == schemas.BoolColumn:
				row[i] = true
			default:
				row[i] = seq
			}
		}
		rows[table.Name] = [][]any{row}
	}
	return rows
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fastDir is a new folder in memory, if there is one: thousands of files are
// synced.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "optsweep-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Whatever step fails, stored or not: no file is ever half there, the run does
// not count as published before all of it is, and the next call ends with the
// same bytes and leaves nothing else behind.
func TestPublishSurvivesAnyFailedStep(t *testing.T) {
	good := fastDir(t)
	counted := 0
	count := durable.Disk{Fault: func(durable.Step, string) (bool, error) { counted++; return false, nil }}
	rows := run(t, "r1", 7)
	if err := (Folder{Dir: good, Disk: count}).PublishRun(t.Context(), "crm", schemas.RunRef{ID: "r1"}, given(rows)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for path, data := range files(t, good) {
		rel, _ := filepath.Rel(good, path)
		want[rel] = data
	}
	if len(want) != 5 || counted < 25 {
		t.Fatalf("%d files, %d steps", len(want), counted)
	}
	for step := 1; step <= counted; step++ {
		for _, stored := range []bool{false, true} {
			dir := fastDir(t)
			n, broken := 0, errors.New("broken")
			failing := durable.Disk{Fault: func(durable.Step, string) (bool, error) {
				if n++; n >= step { // as if the process was killed: nothing works any more
					return stored && n == step, broken
				}
				return false, nil
			}}
			if err := (Folder{Dir: dir, Disk: failing}).PublishRun(t.Context(), "crm", schemas.RunRef{ID: "r1"}, given(rows)); !errors.Is(err, broken) {
				t.Fatalf("step %d: %v", step, err)
			}
			f := Folder{Dir: dir}
			left := files(t, dir)
			for path, data := range left {
				rel, _ := filepath.Rel(dir, path)
				if strings.HasSuffix(path, suffix) && data != want[rel] {
					t.Fatalf("step %d: %s is half there", step, rel)
				}
			}
			there, err := f.Published(t.Context(), "crm")
			if err != nil || len(there) > 0 && len(left) < 5 {
				t.Fatalf("step %d: %v, %v with %d files", step, there, err, len(left))
			}
			if err := f.PublishRun(t.Context(), "crm", schemas.RunRef{ID: "r1"}, given(rows)); err != nil {
				t.Fatal(err)
			}
			left = files(t, dir)
			for rel, data := range want {
				if left[filepath.Join(dir, rel)] != data || len(left) != len(want) {
					t.Fatalf("step %d: %s differs, or there are %d files", step, rel, len(left))
				}
			}
		}
	}
}

// A process that was killed leaves a temporary file, which no reader takes for
// one of the table.
func TestLeftoversAreRemoved(t *testing.T) {
	f := Folder{Dir: t.TempDir()}
	path := f.Path(schemas.RunsTable, "crm", "r1")
	other := f.Path(schemas.RunsTable, "crm", "r2")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, other} {
		if _, err := (durable.Disk{}).Create(p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := f.Published(t.Context(), "crm"); len(there) > 0 || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if err := f.PublishRun(t.Context(), "crm", schemas.RunRef{ID: "r1"}, given(run(t, "r1", 7))); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(f.Dir, "*", ".*"))
	if err != nil || len(left) != 1 || !strings.Contains(left[0], "r2") {
		t.Errorf("%v, %v", left, err)
	}
}

func TestPublished(t *testing.T) {
	f := Folder{Dir: filepath.Join(t.TempDir(), "new", "folder")}
	if there, err := f.Published(t.Context(), "crm"); len(there) > 0 || err != nil {
		t.Fatalf("%v, %v", there, err)
	}
	for id, seq := range map[string]int64{"20260501T000000.000Z": 7, "20260502T000000.000Z": 19} {
		if err := f.PublishRun(t.Context(), "crm", schemas.RunRef{ID: id}, given(run(t, id, seq))); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.PublishRun(t.Context(), "crm-b", schemas.RunRef{ID: "x"}, given(run(t, "x", 1))); err != nil {
		t.Fatal(err)
	}
	there, err := f.Published(t.Context(), "crm")
	if err != nil || len(there) != 2 || there["20260501T000000.000Z"] != 7 || there["20260502T000000.000Z"] != 19 {
		t.Errorf("%v, %v", there, err)
	}
	path := f.Path(schemas.RunsTable, "crm", "20260501T000000.000Z")
	for _, p := range []string{path, f.Dir, filepath.Dir(path)} {
		if info, err := os.Stat(p); err != nil || info.Mode()&0o027 != 0 {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(f.Path(schemas.RunsTable, "crm", "20260502T000000.000Z"))
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{"cut": whole[:len(whole)-9], "empty": {}, "of another run": other, "text": []byte("hello, world")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Published(t.Context(), "crm"); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(schemas.HintOf(err), "optsweep publish") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Published(ctx, "crm"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPublishRefuses(t *testing.T) {
	f := Folder{Dir: t.TempDir()}
	two := run(t, "r", 1)
	two[schemas.RunsTable] = append(two[schemas.RunsTable], two[schemas.RunsTable][0])
	bad := run(t, "r", 1)
	bad[schemas.OptOutsTable][0][0] = nil
	for what, rows := range map[string]map[string][][]any{"has 2 rows": two, "takes no <nil>": bad, "has 0 rows": {}} {
		if err := f.PublishRun(t.Context(), "crm", schemas.RunRef{ID: "r"}, given(rows)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %s", err, what)
		}
		if there, err := f.Published(t.Context(), "crm"); len(there) > 0 || err != nil {
			t.Errorf("%s: %v, %v", what, there, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.PublishRun(ctx, "crm", schemas.RunRef{ID: "r"}, given(run(t, "r", 1))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
