package footer

import (
	"context"
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"
	format "github.com/xitongsys/parquet-go/parquet"
)

const convertedTimestampMillis = int64(format.ConvertedType_TIMESTAMP_MILLIS)

// Page describes one data page of the added column.
type Page struct {
	Size     int64 // bytes in the file, page header included
	FirstRow int64 // within the row group
	Rows     int64
	Nulls    int64
	Min, Max int64 // of the values; without meaning if all rows are NULL
}

func (p Page) allNull() bool { return p.Nulls == p.Rows }

// Encode serialises one element of parquet.thrift in the compact protocol.
func Encode(element thrift.TStruct) ([]byte, error) {
	buffer := thrift.NewTMemoryBuffer()
	protocol := thrift.NewTCompactProtocolConf(buffer, nil)
	if err := element.Write(context.Background(), protocol); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func flagsLogicalType() *format.LogicalType {
	return &format.LogicalType{TIMESTAMP: &format.TimestampType{
		IsAdjustedToUTC: true,
		Unit:            &format.TimeUnit{MILLIS: &format.MilliSeconds{}},
	}}
}

// newFlagsLogicalType is the encoded logical type of the added column. The
// compact protocol has one usual spelling, which writers share.
func newFlagsLogicalType() []byte {
	return []byte{0x8C, 0x11, 0x1C, 0x1C, 0, 0, 0, 0}
}

// newSchemaElement describes the added column. A timestamp has both the old
// converted type and the logical type, so that readers of every age see ms since
// 1970 in UTC.
func newSchemaElement(name string, typ FlagType) ([]byte, error) {
	e := &format.SchemaElement{
		Type:           format.TypePtr(format.Type_INT64),
		RepetitionType: format.FieldRepetitionTypePtr(format.FieldRepetitionType_OPTIONAL),
		Name:           name,
	}
	if typ == Timestamp {
		e.ConvertedType = format.ConvertedTypePtr(format.ConvertedType_TIMESTAMP_MILLIS)
		e.LogicalType = flagsLogicalType()
	}
	return Encode(e)
}

// newChunk describes the pages of one row group that begin at offset. Index
// offsets are left 0 for the layout to fill in.
func newChunk(name string, pages []Page, offset int64, columnIndex, offsetIndex []byte) (Chunk, error) {
	c := Chunk{
		Pages:       Span{Offset: offset},
		columnIndex: Span{Length: int64(len(columnIndex))},
		offsetIndex: Span{Length: int64(len(offsetIndex))},
	}
	stats := &format.Statistics{NullCount: new(int64)}
	for _, p := range pages {
		c.Values += p.Rows
		c.Pages.Length += p.Size
		*stats.NullCount += p.Nulls
		if p.allNull() {
			continue
		}
		if stats.MinValue == nil || p.Min < plainValue(stats.MinValue) {
			stats.MinValue = plain(p.Min)
		}
		if stats.MaxValue == nil || p.Max > plainValue(stats.MaxValue) {
			stats.MaxValue = plain(p.Max)
		}
	}
	c.Uncompressed = c.Pages.Length
	element := &format.ColumnChunk{MetaData: &format.ColumnMetaData{
		Type:                  format.Type_INT64,
		Encodings:             []format.Encoding{format.Encoding_PLAIN, format.Encoding_RLE},
		PathInSchema:          []string{name},
		Codec:                 format.CompressionCodec_UNCOMPRESSED,
		NumValues:             c.Values,
		TotalUncompressedSize: c.Uncompressed,
		TotalCompressedSize:   c.Pages.Length,
		DataPageOffset:        offset,
		Statistics:            stats,
		EncodingStats: []*format.PageEncodingStats{
			{PageType: format.PageType_DATA_PAGE, Encoding: format.Encoding_PLAIN, Count: int32(len(pages))},
		},
	}}
	if c.columnIndex.Length > 0 {
		length := int32(c.columnIndex.Length)
		element.ColumnIndexOffset, element.ColumnIndexLength = new(int64), &length
	}
	if c.offsetIndex.Length > 0 {
		length := int32(c.offsetIndex.Length)
		element.OffsetIndexOffset, element.OffsetIndexLength = new(int64), &length
	}
	var err error
	c.raw, err = Encode(element)
	return c, err
}

func newColumnIndex(pages []Page) ([]byte, error) {
	index := &format.ColumnIndex{BoundaryOrder: format.BoundaryOrder_ASCENDING, NullCounts: []int64{}}
	if len(pages) > 1 {
		index.BoundaryOrder = format.BoundaryOrder_UNORDERED
	}
	for _, p := range pages {
		lower, upper := []byte{}, []byte{}
		if !p.allNull() {
			lower, upper = plain(p.Min), plain(p.Max)
		}
		index.NullPages = append(index.NullPages, p.allNull())
		index.MinValues = append(index.MinValues, lower)
		index.MaxValues = append(index.MaxValues, upper)
		index.NullCounts = append(index.NullCounts, p.Nulls)
	}
	return Encode(index)
}

// newOffsetIndex locates the pages that begin at offset. The sizes include the
// page headers, as parquet.thrift wants and BigQuery checks.
func newOffsetIndex(pages []Page, offset int64) ([]byte, error) {
	index := &format.OffsetIndex{}
	for _, p := range pages {
		index.PageLocations = append(index.PageLocations, &format.PageLocation{
			Offset: offset, CompressedPageSize: int32(p.Size), FirstRowIndex: p.FirstRow,
		})
		offset += p.Size
	}
	return Encode(index)
}

func plain(v int64) []byte      { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
func plainValue(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
