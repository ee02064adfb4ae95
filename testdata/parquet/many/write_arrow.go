package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/extensions"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// writeArrow writes files with page indexes, bloom filters, both page versions,
// and types that are kept in ARROW:schema alone.
func writeArrow(folder string, p people) error {
	codecs := []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Zstd, compress.Codecs.Lz4Raw}
	idTypes := []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.Binary,
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}}
	encodings := []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray}
	for i := range 24 {
		props := []parquet.WriterProperty{
			parquet.WithCompression(codecs[i%len(codecs)]), parquet.WithDataPageSize(int64(100 << (i % 8))), parquet.WithBatchSize(16),
			parquet.WithDictionaryDefault(i%2 == 0), parquet.WithStats(i%5 != 4), parquet.WithPageIndexEnabled(i%3 > 0), parquet.WithMaxRowGroupLength(int64(60 + 20*i)),
		}
		if i%2 == 1 {
			props = append(props, parquet.WithEncodingFor("euid", encodings[i/2%len(encodings)]))
		}
		if i%4 < 2 {
			props = append(props, parquet.WithDataPageVersion(parquet.DataPageV2))
		}
		if i%3 == 2 {
			props = append(props, parquet.WithBloomFilterEnabledFor("euid", true))
		}
		var schema []pqarrow.WriterOption
		if i%6 < 4 {
			schema = append(schema, pqarrow.WithStoreSchema())
		}
		if err := p.arrow(filepath.Join(folder, fmt.Sprintf("arrow-go-%02d.parquet", i)), 37*i, idTypes[i%len(idTypes)], props, schema); err != nil {
			return err
		}
	}
	return nil
}

func (p people) arrow(path string, rows int, idType arrow.DataType, props []parquet.WriterProperty, options []pqarrow.WriterOption) error {
	null := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "row_id", Type: arrow.PrimitiveTypes.Int64}, null("euid", idType), null("half", arrow.FixedWidthTypes.Float16),
		null("seen", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/Berlin"}), null("uuid", extensions.NewUUIDType()),
		null("price", &arrow.Decimal128Type{Precision: 20, Scale: 3}), null("list", arrow.ListOf(arrow.PrimitiveTypes.Int32)),
		null("struct", arrow.StructOf(null("a", arrow.BinaryTypes.String), null("b", arrow.ListOf(arrow.FixedWidthTypes.Boolean)))),
		null("map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64)),
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for row := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(row))
		if c := p.cell(); c == nil {
			b.Field(1).AppendNull()
		} else if bin, ok := b.Field(1).(*array.BinaryBuilder); ok {
			bin.AppendString(*c)
		} else if err := b.Field(1).AppendValueFromString(*c); err != nil {
			return err
		}
		if row%6 == 5 {
			for i := 2; i < len(schema.Fields()); i++ {
				b.Field(i).AppendNull()
			}
			continue
		}
		b.Field(2).(*array.Float16Builder).Append(float16.New(float32(row) / 4))
		b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(row * 1e9))
		b.Field(4).(*extensions.UUIDBuilder).AppendBytes([16]byte{byte(row), 1})
		b.Field(5).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(row) * 11))
		list := b.Field(6).(*array.ListBuilder)
		list.Append(true)
		for i := range row % 4 {
			list.ValueBuilder().(*array.Int32Builder).Append(int32(i))
		}
		group := b.Field(7).(*array.StructBuilder)
		group.Append(true)
		group.FieldBuilder(0).(*array.StringBuilder).Append(fmt.Sprint("s", row%3))
		flags := group.FieldBuilder(1).(*array.ListBuilder)
		flags.Append(row%2 == 0)
		if row%2 == 0 {
			flags.ValueBuilder().(*array.BooleanBuilder).Append(row%4 == 0)
		}
		m := b.Field(8).(*array.MapBuilder)
		m.Append(true)
		m.KeyBuilder().(*array.StringBuilder).Append("k")
		m.ItemBuilder().(*array.Float64Builder).Append(float64(row) / 3)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(props...), pqarrow.NewArrowWriterProperties(options...))
	if err != nil {
		return err
	}
	if err := w.Write(b.NewRecordBatch()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return w.Close()
}
