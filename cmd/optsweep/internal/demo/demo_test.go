package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/schemas"
)

func options(dir string) Options {
	return Options{
		Dir: dir, Rows: 40_000, Files: 3, Seed: 1, Scope: schemas.EUID, Environment: schemas.Production,
		Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// read gives the whole of a file as one table.
func read(t *testing.T, path string) (arrow.Table, *file.Reader) {
	t.Helper()
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 1 << 16}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return table, f
}

// TestTruth counts again what is in the files, with the product's own parser.
func TestTruth(t *testing.T) {
	for _, scope := range []schemas.Scope{schemas.EUID, schemas.UID2} {
		for _, environment := range []schemas.Environment{schemas.Production, schemas.Integration} {
			t.Run(fmt.Sprint(scope, environment), func(t *testing.T) {
				o := options(t.TempDir())
				o.Scope, o.Environment, o.Narrow = scope, environment, true
				truth, err := Generate(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				checkTruth(t, o, truth)
			})
		}
	}
}

func checkTruth(t *testing.T, o Options, truth *Truth) {
	t.Helper()
	rules := schemas.Rules{Scope: o.Scope, Environment: o.Environment}
	since := make(map[schemas.ID]int64)
	for _, optOut := range truth.OptOuts {
		if _, twice := since[optOut.ID]; twice {
			t.Error("an id is opted out twice")
		}
		if optOut.SinceMS%1000 != 0 || optOut.SinceMS > o.Now.UnixMilli() || optOut.SinceMS < o.Now.AddDate(-2, 0, 0).UnixMilli() {
			t.Errorf("opted out at %d ms", optOut.SinceMS)
		}
		since[optOut.ID] = optOut.SinceMS
	}
	shown := make(map[schemas.ID]bool)
	versions := make(map[schemas.Version]int)
	var all Counts
	for _, part := range truth.Files {
		got := Counts{Malformed: make(map[schemas.Reason]int64)}
		table, f := read(t, part.Path)
		ids := table.Column(1).Data().Chunks()
		for _, chunk := range ids {
			for i := range chunk.Len() {
				got.Rows++
				if chunk.IsNull(i) {
					got.Nulls++
					continue
				}
				id, repaired, reason := rules.Parse([]byte(chunk.(*array.String).Value(i)))
				if reason != schemas.Valid {
					got.Malformed[reason]++
					continue
				}
				got.Valid++
				if repaired {
					got.Repaired++
				}
				if since[id] != 0 {
					got.OptedOut++
				}
				if !shown[id] {
					versions[id.Version()]++
				}
				shown[id] = true
			}
		}
		if !reflect.DeepEqual(got, part.Counts) {
			t.Errorf("%s: got %+v, want %+v", filepath.Base(part.Path), got, part.Counts)
		}
		if part.Rows > 3 && f.NumRowGroups() != 4 {
			t.Errorf("%d row groups", f.NumRowGroups())
		}
		if info, err := os.Stat(part.Path); err != nil || info.Size() != part.Bytes {
			t.Errorf("%s has not %d bytes: %v", part.Path, part.Bytes, err)
		}
		all.add(got)
	}
	if !reflect.DeepEqual(all, truth.Counts) {
		t.Errorf("in all: got %+v, want %+v", all, truth.Counts)
	}
	if all.Rows != all.Nulls+all.Valid+all.MalformedRows() {
		t.Errorf("rows do not add up: %+v", all)
	}
	if int64(len(shown)) != truth.Distinct {
		t.Errorf("%d distinct ids, want %d", len(shown), truth.Distinct)
	}
	for i, optOut := range truth.OptOuts {
		if shown[optOut.ID] != (int64(i) < truth.DistinctOptedOut) {
			t.Errorf("opted-out id %d: in the data is %t", i, shown[optOut.ID])
		}
	}
	if o.Rows < 10_000 {
		return
	}
	within := func(what string, part, whole int64, low, high float64) {
		if share := float64(part) / float64(whole); share < low || share > high {
			t.Errorf("%s: %.4f, want %.4f to %.4f", what, share, low, high)
		}
	}
	within("NULL", all.Nulls, all.Rows, 0.018, 0.022)
	within("malformed", all.MalformedRows(), all.Rows, 0.002, 0.004)
	within("duplicates", all.Valid-truth.Distinct, all.Valid, 0.29, 0.31)
	within("opted out", truth.DistinctOptedOut, truth.Distinct, 0.025, 0.035)
	within("v2", int64(versions[schemas.V2]), truth.Distinct, 0.28, 0.32)
	within("v4", int64(versions[schemas.V4]), truth.Distinct, 0.01, 0.03)
	if len(all.Malformed) != 6 || all.Repaired == 0 || len(truth.OptOuts) == int(truth.DistinctOptedOut) {
		t.Errorf("not all kinds occur: %+v", all)
	}
}

func TestFewRows(t *testing.T) {
	for rows := int64(1); rows <= 7; rows++ {
		for seed := range uint64(20) {
			o := options(t.TempDir())
			o.Rows, o.Seed, o.Narrow = rows, seed, true
			truth, err := Generate(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(truth.Files) != int(min(3, rows)) || truth.Rows != rows {
				t.Errorf("%d rows: %+v", rows, truth.Counts)
			}
			checkTruth(t, o, truth)
		}
	}
}

func TestWideColumns(t *testing.T) {
	o := options(t.TempDir())
	o.Rows, o.Files = 4000, 1
	truth, err := Generate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkTruth(t, o, truth)
	table, f := read(t, truth.Files[0].Path)
	types := make(map[arrow.Type]bool)
	for i := range int(table.NumCols()) {
		column := table.Column(i)
		types[column.DataType().ID()] = true
		nulls := column.Data().NullN()
		switch nullable := table.Schema().Field(i).Nullable; {
		case nullable && (nulls == 0 || nulls == 4000):
			t.Errorf("%s: %d NULLs", column.Name(), nulls)
		case !nullable && nulls != 0:
			t.Errorf("%s: %d NULLs in a required column", column.Name(), nulls)
		}
		if distinct := differentValues(column.Data()); distinct < 2 {
			t.Errorf("%s: all values are the same", column.Name())
		}
	}
	if table.NumCols() != 37 || len(types) < 15 {
		t.Errorf("%d columns of %d types", table.NumCols(), len(types))
	}
	if f.WriterVersion() == nil || f.MetaData().KeyValueMetadata().FindValue("ARROW:schema") == nil {
		t.Error("the Arrow schema is not in the file")
	}
	country, err := f.RowGroup(0).MetaData().ColumnChunk(table.Schema().FieldIndices("country")[0])
	if err != nil || !country.HasDictionaryPage() {
		t.Errorf("country has no dictionary: %v", err)
	}
	ids, err := f.RowGroup(0).MetaData().ColumnChunk(1)
	if err != nil || ids.HasDictionaryPage() || ids.Type() != parquet.Types.ByteArray {
		t.Errorf("ids have a dictionary: %v", err)
	}
}

func differentValues(data *arrow.Chunked) int {
	seen := make(map[string]bool)
	for _, chunk := range data.Chunks() {
		for i := range chunk.Len() {
			seen[chunk.ValueStr(i)] = true
		}
	}
	return len(seen)
}

func TestSameOptionsSameBytes(t *testing.T) {
	digest := func(change func(*Options)) (sum [32]byte, truth *Truth) {
		o := options(t.TempDir())
		o.Rows = 5000
		change(&o)
		truth, err := Generate(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		for i, part := range truth.Files {
			f, err := os.Open(part.Path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(&all, f); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			truth.Files[i].Path = filepath.Base(part.Path)
		}
		return sha256.Sum256(all.Bytes()), truth
	}
	sum, truth := digest(func(*Options) {})
	again, truthAgain := digest(func(*Options) {})
	if sum != again || !reflect.DeepEqual(truth, truthAgain) {
		t.Error("the same options give other data")
	}
	for name, change := range map[string]func(*Options){
		"seed":  func(o *Options) { o.Seed++ },
		"rows":  func(o *Options) { o.Rows++ },
		"files": func(o *Options) { o.Files++ },
		"scope": func(o *Options) { o.Scope = schemas.UID2 },
		"now":   func(o *Options) { o.Now = o.Now.AddDate(0, 0, 1) },
	} {
		if other, _ := digest(change); other == sum {
			t.Errorf("another %s gives the same data", name)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"rows":  func(o *Options) { o.Rows = -1 },
		"files": func(o *Options) { o.Files = -1 },
		"now":   func(o *Options) { o.Now = time.Time{} },
		"dir":   func(o *Options) { o.Dir = "/dev/null/x" },
	} {
		o := options(t.TempDir())
		change(&o)
		if truth, err := Generate(t.Context(), o); err == nil || truth != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options(t.TempDir())
	if _, err := Generate(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("cancelled: %d files are left, %v", len(left), err)
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, narrow := range []bool{false, true} {
		b.Run(map[bool]string{false: "wide", true: "narrow"}[narrow], func(b *testing.B) {
			o := options(b.TempDir())
			o.Rows, o.Files, o.Narrow = 200_000, 4, narrow
			for b.Loop() {
				if _, err := Generate(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(o.Rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
