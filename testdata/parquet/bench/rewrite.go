package main

import (
	"context"
	"fmt"
	"os"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/jobs/idset"
)

// rewrite adds the column the usual way, row group by row group: decode all,
// encode all.
func rewrite(ctx context.Context, from, to, ids, codec string) (err error) {
	set, err := load(ctx, ids)
	if err != nil {
		return err
	}
	r, err := file.OpenParquetFile(from, false)
	if err != nil {
		return err
	}
	defer r.Close()
	in, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{Parallel: true}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	old, err := in.Schema()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	added := arrow.Field{Name: "opted_out_since", Type: arrow.FixedWidthTypes.Timestamp_ms, Nullable: true}
	schema := arrow.NewSchema(append(old.Fields(), added), nil)
	compression := map[string]compress.Compression{"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy}[codec]
	props := pq.NewWriterProperties(pq.WithCompression(compression), pq.WithDictionaryFor("euid", false))
	w, err := pqarrow.NewFileWriter(schema, out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return err
	}
	columns := make([]int, r.MetaData().Schema.NumColumns())
	for i := range columns {
		columns[i] = i
	}
	var rows, flagged int64
	for g := range r.NumRowGroups() {
		t, err := in.ReadRowGroups(ctx, columns, []int{g})
		if err != nil {
			return err
		}
		flags, n := flagsOf(t.Column(old.FieldIndices("euid")[0]), set)
		all := make([]arrow.Column, 0, len(old.Fields())+1)
		for i := range old.NumFields() {
			all = append(all, *t.Column(i))
		}
		all = append(all, *arrow.NewColumn(added, arrow.NewChunked(flags.DataType(), []arrow.Array{flags})))
		if err := w.WriteTable(array.NewTable(schema, all, t.NumRows()), t.NumRows()); err != nil {
			return err
		}
		rows, flagged = rows+t.NumRows(), flagged+n
	}
	if err := w.Close(); err != nil { // which closes out, too
		return err
	}
	fmt.Println(rows, flagged)
	return nil
}

func flagsOf(column *arrow.Column, set *idset.OptedOut) (flags arrow.Array, flagged int64) {
	b := array.NewTimestampBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_ms.(*arrow.TimestampType))
	for _, chunk := range column.Data().Chunks() {
		ids := chunk.(*array.String)
		for i := range ids.Len() {
			if ms, ok := set.Since([]byte(ids.Value(i))); ok && !ids.IsNull(i) {
				b.Append(arrow.Timestamp(ms))
				flagged++
			} else {
				b.AppendNull()
			}
		}
	}
	return b.NewArray(), flagged
}
