package parquet_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

func copyFile(b *testing.B, from, to string, sync bool) {
	b.Helper()
	in, err := os.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err == nil && sync {
		err = out.Sync()
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// rewrite adds the column the usual way: decode all, encode all, with arrow.
func rewrite(b *testing.B, from, to string, codec compress.Compression) {
	b.Helper()
	r, err := file.OpenParquetFile(from, false)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	in, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{Parallel: true}, memory.DefaultAllocator)
	if err != nil {
		b.Fatal(err)
	}
	old, err := in.Schema()
	if err != nil {
		b.Fatal(err)
	}
	fields := append(old.Fields(), arrow.Field{Name: "opted_out_since", Type: arrow.FixedWidthTypes.Timestamp_ms, Nullable: true})
	f, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	props := pq.NewWriterProperties(pq.WithCompression(codec), pq.WithDictionaryFor("euid", false))
	w, err := pqarrow.NewFileWriter(arrow.NewSchema(fields, nil), f, props, pqarrow.DefaultWriterProps())
	if err != nil {
		b.Fatal(err)
	}
	columns := make([]int, old.NumFields())
	for i := range columns {
		columns[i] = i
	}
	for g := range r.NumRowGroups() {
		t, err := in.ReadRowGroups(context.Background(), columns, []int{g})
		if err != nil {
			b.Fatal(err)
		}
		flags := array.NewTimestampBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_ms.(*arrow.TimestampType))
		for _, c := range t.Column(old.FieldIndices("euid")[0]).Data().Chunks() {
			ids := c.(*array.String)
			for i := range ids.Len() {
				if ms, ok := rule([]byte(ids.Value(i))); ok && !ids.IsNull(i) {
					flags.Append(arrow.Timestamp(ms))
				} else {
					flags.AppendNull()
				}
			}
		}
		chunks := make([]arrow.Column, 0, len(columns)+1)
		for i := range columns {
			chunks = append(chunks, *t.Column(i))
		}
		values := flags.NewArray()
		added := arrow.NewColumn(fields[len(fields)-1], arrow.NewChunked(values.DataType(), []arrow.Array{values}))
		out := array.NewTable(arrow.NewSchema(fields, nil), append(chunks, *added), t.NumRows())
		if err := w.WriteTable(out, t.NumRows()); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkApply adds the column to one file and compares the time with that of
// a plain copy, without and with fsync, and of a full decode and encode by arrow
// v17, in the same run:
//
//	go test -run xxx -bench Apply -benchtime 3x ./connectors/parquet
//
// The flags cost next to nothing to look up here: this is the cost of reading,
// copying and writing. With TMPDIR=/dev/shm no fsync takes time.
func BenchmarkApply(b *testing.B) {
	for name, extra := range map[string]int{"narrow": 2, "wide": 30} {
		for codecName, codec := range map[string]compress.Compression{"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy} {
			b.Run(name+"/"+codecName, func(b *testing.B) {
				dir := b.TempDir()
				original, path, other := filepath.Join(dir, "original.parquet"), filepath.Join(dir, "x.parquet"), filepath.Join(dir, "other.parquet")
				const rows, groups = 500_000, 5
				s := shape{nulls: 50, distinct: rows, extra: extra, props: []pq.WriterProperty{
					pq.WithCompression(codec), pq.WithDictionaryFor("euid", false),
				}}
				for range groups {
					s.groups = append(s.groups, rows/groups)
				}
				s.write(b, original)
				info, err := os.Stat(original)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(info.Size())
				var took [4]time.Duration
				clock := func(i int, f func()) {
					start := time.Now()
					f()
					took[i] += time.Since(start)
				}
				for b.Loop() {
					clock(0, func() { copyFile(b, original, other, false) })
					clock(1, func() { copyFile(b, original, other, true) })
					clock(2, func() { rewrite(b, original, other, codec) })
					copyFile(b, original, path, true)
					tab := table(b, path)
					u := plan(b, tab)[0]
					clock(3, func() {
						r, err := tab.Apply(context.Background(), u, rule, nothing)
						if err != nil || r.Flagged == 0 {
							b.Fatal(err)
						}
					})
				}
				for i, unit := range []string{"cp-ms", "cp+fsync-ms", "arrow-rewrite-ms", "apply-ms"} {
					b.ReportMetric(float64(took[i].Milliseconds())/float64(b.N), unit)
				}
				b.ReportMetric(float64(took[3])/float64(took[0]), "x-of-cp")
				b.ReportMetric(float64(took[3])/float64(took[1]), "x-of-cp+fsync")
				b.ReportMetric(float64(took[2])/float64(took[3]), "x-faster-than-arrow")
			})
		}
	}
}

// BenchmarkScan reads an id column.
func BenchmarkScan(b *testing.B) {
	for codecName, codec := range map[string]compress.Compression{"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy} {
		b.Run(codecName, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "x.parquet")
			const rows = 1_000_000
			shape{groups: []int{rows / 4, rows / 4, rows / 4, rows / 4}, nulls: 50, distinct: rows, props: []pq.WriterProperty{
				pq.WithCompression(codec), pq.WithDictionaryFor("euid", false),
			}}.write(b, path)
			tab := table(b, path)
			u := plan(b, tab)[0]
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				err := tab.Scan(context.Background(), u, func(c schemas.Cells) error { n += len(c.Values); return nil })
				if err != nil || n != rows {
					b.Fatal(fmt.Errorf("%d rows: %w", n, err))
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds()/1e6, "M-ids/s")
		})
	}
}

// BenchmarkRemove takes the rows of some ids out of a file of 37 columns, all of
// whose row groups are encoded anew: once with a quarantine (remove) and once
// into a copy (clean).
//
//	go test -run xxx -bench Remove -benchtime 3x ./connectors/parquet
func BenchmarkRemove(b *testing.B) {
	for codecName, codec := range map[string]compress.Compression{"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy} {
		dir := b.TempDir()
		original, path := filepath.Join(dir, "original.parquet"), filepath.Join(dir, "x.parquet")
		const rows = 240_000
		shape{groups: []int{rows / 2, rows / 2}, nulls: 50, distinct: rows, extra: 35, props: []pq.WriterProperty{
			pq.WithCompression(codec), pq.WithDictionaryFor("euid", false),
		}}.write(b, original)
		few := func(cell []byte) (int64, bool) {
			return 1_700_000_000_000, len(cell) == 44 && cell[0] == 'A' && cell[1] < 'Q' // about 1 in 250
		}
		run := func(name string, do func(b *testing.B, tab *parquet.Table, u schemas.Unit)) {
			b.Run(name+"/"+codecName, func(b *testing.B) {
				copies := time.Duration(0)
				for b.Loop() {
					start := time.Now()
					copyFile(b, original, path, true)
					tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: "euid", Mode: parquet.Remove, Removed: filepath.Join(dir, "removed")})
					if err != nil {
						b.Fatal(err)
					}
					copies += time.Since(start)
					do(b, tab, plan(b, tab)[0])
				}
				b.ReportMetric(rows*float64(b.N)/(b.Elapsed()-copies).Seconds(), "rows/s")
			})
		}
		run("remove", func(b *testing.B, tab *parquet.Table, u schemas.Unit) {
			if r, err := tab.Apply(context.Background(), u, few, nothing); err != nil || r.Removed == 0 {
				b.Fatal(err)
			}
		})
		run("clean", func(b *testing.B, tab *parquet.Table, u schemas.Unit) {
			c, err := tab.Clean(context.Background(), u, few, filepath.Join(dir, "clean.parquet"))
			if err != nil || c.Removed == 0 {
				b.Fatal(err)
			}
			c.Discard()
		})
	}
}
