package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

func readArrow(path string) (arrow.Table, error) {
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	return reader.ReadTable(context.Background())
}

func compareArrow(before, after string, t truth) (checks int, err error) {
	var a arrow.Table
	if err := original(func() (err error) {
		a, err = readArrow(before)
		return err
	}); err != nil {
		return 0, err
	}
	b, err := readArrow(after)
	if err != nil {
		return 0, err
	}
	if b.NumCols() != a.NumCols()+1 || a.NumRows() != b.NumRows() {
		return 0, errors.New("columns or rows differ")
	}
	for i := range int(a.NumCols()) {
		if !a.Schema().Field(i).Equal(b.Schema().Field(i)) {
			return checks, fmt.Errorf("the type of column %d differs", i)
		}
		if !array.ChunkedApproxEqual(a.Column(i).Data(), b.Column(i).Data(), array.WithNaNsEqual(true), array.WithUnorderedMapKeys(false)) {
			return checks, fmt.Errorf("column %d differs", i)
		}
		checks += 2
	}
	last := b.Schema().Field(int(a.NumCols()))
	if t, ok := last.Type.(*arrow.TimestampType); !ok || t.Unit != arrow.Millisecond || t.TimeZone != "UTC" || !last.Nullable || last.Name != "opted_out_since" {
		return checks, fmt.Errorf("the new column is %s", last)
	}
	at := a.Schema().FieldIndices("euid")
	if len(at) != 1 {
		return checks, unreadable{errors.New("no euid")}
	}
	ids, err := texts(a.Column(at[0]).Data())
	if err != nil {
		return 0, err
	}
	var got []*int64
	for _, c := range b.Column(int(a.NumCols())).Data().Chunks() {
		for i, v := range c.(*array.Timestamp).TimestampValues() {
			ms := int64(v)
			if c.IsNull(i) {
				got = append(got, nil)
			} else {
				got = append(got, &ms)
			}
		}
	}
	if err := t.join(filepath.Base(after), ids, got); err != nil {
		return checks, err
	}
	n, err := seek(after, got)
	return checks + 2 + n, err
}

// texts are the cells of an id column, nil for NULL.
func texts(c *arrow.Chunked) (all []*string, err error) {
	for _, chunk := range c.Chunks() {
		value := func(i int) string { return chunk.ValueStr(i) }
		switch x := chunk.(type) {
		case *array.Binary:
			value = func(i int) string { return string(x.Value(i)) }
		case *array.LargeBinary:
			value = func(i int) string { return string(x.Value(i)) }
		case *array.BinaryView:
			value = func(i int) string { return string(x.Value(i)) }
		case *array.String, *array.LargeString, *array.StringView, *array.Dictionary:
		default:
			return nil, unreadable{fmt.Errorf("ids of type %s", chunk.DataType())}
		}
		for i := range chunk.Len() {
			if chunk.IsNull(i) {
				all = append(all, nil)
				continue
			}
			v := value(i)
			all = append(all, &v)
		}
	}
	return all, nil
}

// seek reads single flags in the middle of each row group, through the page index
// if there is one.
func seek(path string, all []*int64) (checks int, err error) {
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	start := 0
	for g := range r.NumRowGroups() {
		rows := int(r.RowGroup(g).NumRows())
		if rows == 0 {
			continue
		}
		c, err := r.RowGroup(g).Column(r.MetaData().Schema.NumColumns() - 1)
		if err != nil {
			return checks, err
		}
		reader := c.(*file.Int64ColumnChunkReader)
		for _, row := range []int{0, rows / 2, rows - 1} {
			if err := reader.SeekToRow(int64(row)); err != nil {
				return checks, fmt.Errorf("seek to row %d: %w", row, err)
			}
			value, level := make([]int64, 1), make([]int16, 1)
			if _, _, err := reader.ReadBatch(1, value, level, nil); err != nil {
				return checks, err
			}
			if want := all[start+row]; (want != nil) != (level[0] == 1) || want != nil && *want != value[0] {
				return checks, fmt.Errorf("row %d of row group %d differs after a seek", row, g)
			}
			checks++
		}
		start += rows
	}
	return checks, nil
}
