package parquet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"pgregory.net/rapid"

	"optsweep/connectors/parquet"
)

// shape is how a test file is written.
type shape struct {
	groups   []int // rows of each row group
	nulls    int   // every nulls-th id is NULL, 0 for none
	distinct int   // different ids
	extra    int   // columns beside the id
	required bool  // the id column cannot hold NULL
	flags    bool  // has a column opted_out_since, as another program would write it
	numbers  int64 // has such a column of integers, with this value in every fifth row
	props    []pq.WriterProperty
	schema   bool // ARROW:schema
}

func makeID(n int) string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	sum := sha256.Sum256(b[:])
	return base64.StdEncoding.EncodeToString(sum[:])
}

// foreignFlag is the flag that a shape with flags has in a row, 0 for NULL.
func foreignFlag(row int) int64 {
	if row%5 != 0 {
		return 0
	}
	return 1_700_000_000_000 + int64(row%60) - 20
}

// write makes a Parquet file with arrow v17 and returns its ids.
func (s shape) write(t testing.TB, path string) (ids [][]byte) {
	t.Helper()
	fields := []arrow.Field{{Name: "row_id", Type: arrow.PrimitiveTypes.Int64}, {Name: "euid", Type: arrow.BinaryTypes.String, Nullable: !s.required}}
	types := []arrow.DataType{arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32}
	for i := range s.extra {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("extra_%d", i), Type: types[i%len(types)], Nullable: true})
	}
	if s.flags {
		fields = append(fields, arrow.Field{Name: "opted_out_since", Type: arrow.FixedWidthTypes.Timestamp_ms, Nullable: true})
	}
	if s.numbers != 0 {
		fields = append(fields, arrow.Field{Name: "opted_out_since", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	}
	sc := arrow.NewSchema(fields, nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var arrowProps []pqarrow.WriterOption
	if s.schema {
		arrowProps = append(arrowProps, pqarrow.WithStoreSchema())
	}
	w, err := pqarrow.NewFileWriter(sc, f, pq.NewWriterProperties(s.props...), pqarrow.NewArrowWriterProperties(arrowProps...))
	if err != nil {
		t.Fatal(err)
	}
	row := 0
	for _, rows := range s.groups {
		b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
		for range rows {
			b.Field(0).(*array.Int64Builder).Append(int64(row))
			id := b.Field(1).(*array.StringBuilder)
			switch {
			case s.nulls > 0 && row%s.nulls == 0 && !s.required:
				id.AppendNull()
				ids = append(ids, nil)
			case row%11 == 7:
				id.Append("not an id")
				ids = append(ids, []byte("not an id"))
			default:
				text := makeID(row % max(s.distinct, 1))
				id.Append(text)
				ids = append(ids, []byte(text))
			}
			for i := range s.extra {
				switch c := b.Field(2 + i).(type) {
				case *array.Float64Builder:
					c.Append(float64(row*(i+1)) / 3)
				case *array.BooleanBuilder:
					c.Append(row%(i+2) == 0)
				case *array.StringBuilder:
					c.Append(fmt.Sprintf("value %d", row*7919%(997*(i+1))))
				case *array.Int32Builder:
					if row%13 == 0 {
						c.AppendNull()
					} else {
						c.Append(int32(row * (i + 3)))
					}
				}
			}
			if s.numbers != 0 {
				flag := b.Field(2 + s.extra).(*array.Int64Builder)
				if row%5 == 0 {
					flag.Append(s.numbers)
				} else {
					flag.AppendNull()
				}
			}
			if s.flags {
				flag := b.Field(2 + s.extra).(*array.TimestampBuilder)
				if ms := foreignFlag(row); ms != 0 {
					flag.Append(arrow.Timestamp(ms))
				} else {
					flag.AppendNull()
				}
			}
			row++
		}
		rec := b.NewRecord()
		w.NewRowGroup()
		if err := w.WriteBuffered(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func drawShape(r *rapid.T) shape {
	codec := rapid.SampledFrom([]compress.Compression{
		compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Zstd,
	}).Draw(r, "codec")
	s := shape{
		groups:   rapid.SliceOfN(rapid.IntRange(0, 700), 0, 4).Draw(r, "groups"),
		nulls:    rapid.SampledFrom([]int{0, 1, 2, 9}).Draw(r, "nulls"),
		distinct: rapid.SampledFrom([]int{1, 30, 10_000}).Draw(r, "distinct"),
		extra:    rapid.IntRange(0, 5).Draw(r, "extra"),
		required: rapid.Bool().Draw(r, "required"),
		flags:    rapid.Bool().Draw(r, "flags"),
		schema:   rapid.Bool().Draw(r, "schema"),
		props: []pq.WriterProperty{
			pq.WithCompression(codec),
			pq.WithDataPageSize(rapid.SampledFrom([]int64{64, 2000, 1 << 20}).Draw(r, "page")),
			pq.WithBatchSize(rapid.SampledFrom([]int64{16, 1024}).Draw(r, "batch")),
			pq.WithDictionaryDefault(rapid.Bool().Draw(r, "dictionary")),
		},
	}
	if rapid.Bool().Draw(r, "v2") {
		s.props = append(s.props, pq.WithDataPageVersion(pq.DataPageV2))
	}
	if e := rapid.SampledFrom([]pq.Encoding{pq.Encodings.Plain, pq.Encodings.DeltaByteArray, pq.Encodings.DeltaLengthByteArray}).Draw(r, "encoding"); e != pq.Encodings.Plain {
		s.props = append(s.props, pq.WithDictionaryFor("euid", false), pq.WithEncodingFor("euid", e))
	}
	if rapid.Bool().Draw(r, "delta flags") {
		s.props = append(s.props, pq.WithDictionaryFor("opted_out_since", false), pq.WithEncodingFor("opted_out_since", pq.Encodings.DeltaBinaryPacked))
	}
	return s
}

// TestArrowFiles checks the whole of Apply on files of arrow v17, with every
// encoding, codec and page version it has, and with a flag column that another
// program wrote: cells are read right, old flags are never cleared or moved
// later, and after a first replacement the file does not grow any more.
func TestArrowFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	rapid.Check(t, func(r *rapid.T) {
		s := drawShape(r)
		ids := s.write(t, path)
		before := read(t, path)
		tab := table(t, path)
		u := plan(t, tab)[0]
		got := cells(t, tab, u)
		if len(got) != len(ids) {
			r.Fatalf("%d cells, want %d", len(got), len(ids))
		}
		want := wantFlags(ids)
		for i := range ids {
			if (got[i] == nil) != (ids[i] == nil) || !bytes.Equal(got[i], ids[i]) {
				r.Fatalf("cell %d differs", i)
			}
			if old := foreignFlag(i); s.flags && old != 0 && (want[i] == nil || old < *want[i]) {
				want[i] = &old
			}
		}
		receipt := apply(t, tab, u, rule)
		sameFlags(t, flags(t, path, "opted_out_since"), want)
		if receipt.Changed && !bytes.HasPrefix(read(t, path), before) {
			r.Fatal("the old file is not the beginning of the new one")
		}
		u = plan(t, tab)[0]
		if again := apply(t, tab, u, rule); again.Changed {
			r.Fatalf("second run: %+v", again)
		}
		// Earlier times change every flag of an opted-out row.
		var least, most int64
		for n := range int64(2) {
			apply(t, tab, plan(t, tab)[0], func(cell []byte) (int64, bool) {
				ms, ok := rule(cell)
				return ms - 100_000*(n+1), ok
			})
			if !bytes.HasPrefix(read(t, path), before) {
				r.Fatal("the old file is not the beginning of the new one any more")
			}
			size := plan(t, tab)[0].Bytes
			if most = max(most, size); least == 0 || size < least {
				least = size
			}
		}
		// A checksum in a page header takes up to 4 bytes more or less.
		if most-least > int64(4*len(s.groups)) {
			r.Fatalf("the file grows from %d to %d", least, most)
		}
	})
}

// TestSameInputSameBytes: the new file depends on nothing but the old one and
// the flags, whatever the number of workers.
func TestSameInputSameBytes(t *testing.T) {
	dir := t.TempDir()
	var first []byte
	for _, workers := range []int{1, 2, 7} {
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", workers))
		shape{groups: []int{500, 1, 300, 0, 900}, nulls: 7, distinct: 1000, extra: 3, schema: true}.write(t, path)
		tab, err := parquet.New(parquet.Options{Path: path, IDColumn: "euid", Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, tab, plan(t, tab)[0], rule)
		if data := read(t, path); first == nil {
			first = data
		} else if !bytes.Equal(data, first) {
			t.Fatalf("%d workers give another file", workers)
		}
	}
}

// TestManyPages makes a row group that needs several pages in the new column.
func TestManyPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	ids := shape{groups: []int{1<<20 + 5000}, nulls: 3, distinct: 50, props: []pq.WriterProperty{pq.WithCompression(compress.Codecs.Snappy)}}.write(t, path)
	tab := table(t, path)
	r := apply(t, tab, plan(t, tab)[0], rule)
	if r.Flagged == 0 || r.Confirmed != r.Flagged {
		t.Fatalf("receipt %+v", r)
	}
	sameFlags(t, flags(t, path, "opted_out_since"), wantFlags(ids))
}
