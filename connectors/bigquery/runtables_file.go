package bigquery

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/schemas"
)

// runFile collects the rows that a run has in one run table, in a Parquet file.
// It takes the memory of one row group.
type runFile struct {
	schemas.RunTable
	job string
	run schemas.RunRef

	file  *os.File
	buf   *bufio.Writer
	sum   hash.Hash // of the file
	out   *pqarrow.FileWriter
	build *array.RecordBuilder
	n     int64
}

const runRowsPerGroup = 32 << 10

// newRunFile begins a file in the folder dir.
func newRunFile(dir string, t schemas.RunTable, job string, run schemas.RunRef) (*runFile, error) {
	file, err := createTemp(dir, rowsKind)
	if err != nil {
		return nil, err
	}
	f := &runFile{RunTable: t, job: job, run: run, file: file, sum: sha256.New()}
	f.buf = bufio.NewWriterSize(io.MultiWriter(file, f.sum), 1<<18)
	schema := arrowSchema(t)
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithStats(false),
		parquet.WithRootRepetition(parquet.Repetitions.Required)) // as of hits
	if f.out, err = pqarrow.NewFileWriter(schema, f.buf, properties, pqarrow.DefaultWriterProps()); err != nil {
		f.remove()
		return nil, err
	}
	f.build = array.NewRecordBuilder(memory.DefaultAllocator, schema)
	return f, nil
}

func arrowSchema(t schemas.RunTable) *arrow.Schema {
	fields := make([]arrow.Field, len(t.Columns))
	for i, c := range t.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: arrowType(c.Type), Nullable: c.Nullable}
	}
	return arrow.NewSchema(fields, nil)
}

func arrowType(c schemas.ColumnType) arrow.DataType {
	switch c {
	case schemas.Int64Column:
		return arrow.PrimitiveTypes.Int64
	case schemas.Float64Column:
		return arrow.PrimitiveTypes.Float64
	case schemas.BoolColumn:
		return arrow.FixedWidthTypes.Boolean
	case schemas.TimestampColumn:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	default:
		return arrow.BinaryTypes.String
	}
}

// add takes a row. It must be one of the run: a row that another run would
// replace is found here, and not by whoever misses it.
func (f *runFile) add(row []any) error {
	if err := f.Check(row); err != nil {
		return err
	}
	for column, want := range map[string]any{"job": f.job, "run_id": f.run.ID, f.Partition: f.run.StartedMS} {
		if got := row[f.Index(column)]; got != want {
			return schemas.Errorf(schemas.Failed, "%s: a row has %v in column %s, that of its run is %v", f.Name, got, column, want)
		}
	}
	for i, v := range row {
		switch b := f.build.Field(i).(type) {
		case *array.StringBuilder:
			appendTo(b, b.Append, v)
		case *array.Int64Builder:
			appendTo(b, b.Append, v)
		case *array.Float64Builder:
			appendTo(b, b.Append, v)
		case *array.BooleanBuilder:
			appendTo(b, b.Append, v)
		case *array.TimestampBuilder:
			appendTo(b, func(ms int64) { b.Append(arrow.Timestamp(ms * 1000)) }, v)
		}
	}
	if f.n++; f.n%runRowsPerGroup == 0 {
		return f.flush()
	}
	return nil
}

// appendTo appends a value of a checked row.
func appendTo[T any](b array.Builder, appendValue func(T), v any) {
	if v == nil {
		b.AppendNull()
	} else {
		appendValue(v.(T))
	}
}

func (f *runFile) flush() error {
	record := f.build.NewRecord()
	defer record.Release()
	if record.NumRows() == 0 {
		return nil
	}
	return f.out.Write(record)
}

// finish completes the file.
func (f *runFile) finish() error {
	if err := f.flush(); err != nil {
		return err
	}
	return errors.Join(f.out.Close(), f.buf.Flush())
}

// digest names the content of the finished file.
func (f *runFile) digest() string { return hex.EncodeToString(f.sum.Sum(nil))[:16] }

// remove removes the file.
func (f *runFile) remove() {
	if f.build != nil {
		f.build.Release()
	}
	_ = f.file.Close()
	_ = os.Remove(f.file.Name())
}
