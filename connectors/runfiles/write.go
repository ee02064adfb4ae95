package runfiles

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
)

// Keys of a file's metadata.
const (
	keySchema   = "optsweep.schema"          // schemas.RunTablesSchema
	keyRevision = "optsweep.schema_revision" // schemas.RunTablesRevision
	keyTable    = "optsweep.table"
	keyJob      = "optsweep.job"
	keyRun      = "optsweep.run"
	keyLast     = "optsweep.ledger_seq" // of optsweep_runs: the event up to which the run is told
)

// rowsPerGroup bounds the rows that are held in memory.
const rowsPerGroup = 1 << 16

// encode writes the file of a run in one run table, with so many rows in a row
// group.
func encode(ctx context.Context, to io.Writer, t schemas.RunTable, job, run string, perGroup int, rows RunRows) (err error) {
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			err = schemas.Errorf(schemas.Failed, "the file cannot be encoded")
		}
	}()
	w, err := newWriter(to, t, perGroup)
	if err != nil {
		return err
	}
	metadata := []string{keySchema, t.Schema, keyRevision, strconv.Itoa(schemas.RunTablesRevision), keyTable, t.Name, keyJob, job, keyRun, run}
	err = rows(t, func(row []any) error {
		if err := errors.Join(ctx.Err(), w.add(row)); err != nil {
			return err
		}
		if t.Name == schemas.RunsTable {
			metadata = append(metadata, keyLast, strconv.FormatInt(row[t.Index("ledger_seq")].(int64), 10))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.Name == schemas.RunsTable && w.n != 1 {
		return schemas.Errorf(schemas.Failed, "the run has %d rows, want 1", w.n)
	}
	return w.close(metadata)
}

// writer encodes the rows of one run table.
type writer struct {
	table    schemas.RunTable
	perGroup int // rows
	buf      *bufio.Writer
	out      *file.Writer
	columns  []column
	rows     int   // in columns
	n        int64 // of all
}

// column holds the values of a row group that are not NULL, in one of the
// slices, and for each row whether there is one.
type column struct {
	texts   []parquet.ByteArray
	ints    []int64
	floats  []float64
	bools   []bool
	present []int16
}

// newWriter begins a file; close ends it.
func newWriter(w io.Writer, t schemas.RunTable, perGroup int) (*writer, error) {
	root, err := nodeOf(t)
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithVersion(parquet.V2_LATEST), parquet.WithDataPageVersion(parquet.DataPageV1))
	return &writer{table: t, perGroup: perGroup, buf: buf, out: file.NewParquetWriter(buf, root, file.WithWriterProps(props)), columns: make([]column, len(t.Columns))}, nil
}

// nodeOf is the table's schema.ParquetSchema.
func nodeOf(t schemas.RunTable) (*schema.GroupNode, error) {
	var fields schema.FieldList
	for _, c := range t.Columns {
		repetition := parquet.Repetitions.Required
		if c.Nullable {
			repetition = parquet.Repetitions.Optional
		}
		var node schema.Node
		var err error
		switch c.Type {
		case schemas.StringColumn:
			node, err = schema.NewPrimitiveNodeLogical(c.Name, repetition, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, -1)
		case schemas.TimestampColumn:
			node, err = schema.NewPrimitiveNodeLogical(c.Name, repetition, schema.NewTimestampLogicalType(true, schema.TimeUnitMillis), parquet.Types.Int64, -1, -1)
		case schemas.Int64Column:
			node, err = schema.NewPrimitiveNode(c.Name, repetition, parquet.Types.Int64, -1, -1)
		case schemas.Float64Column:
			node, err = schema.NewPrimitiveNode(c.Name, repetition, parquet.Types.Double, -1, -1)
		case schemas.BoolColumn:
			node, err = schema.NewPrimitiveNode(c.Name, repetition, parquet.Types.Boolean, -1, -1)
		default:
			err = fmt.Errorf("column %s of %s is a %s", c.Name, t.Name, c.Type)
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, node)
	}
	return schema.NewGroupNode(t.Name, parquet.Repetitions.Required, fields, -1)
}

// add takes a row. It keeps none of it.
func (w *writer) add(row []any) error {
	if err := w.table.Check(row); err != nil {
		return err
	}
	for i, v := range row {
		c := &w.columns[i]
		switch v := v.(type) {
		case nil:
			c.present = append(c.present, 0)
			continue
		case string:
			c.texts = append(c.texts, parquet.ByteArray(v))
		case int64:
			c.ints = append(c.ints, v)
		case float64:
			c.floats = append(c.floats, v)
		case bool:
			c.bools = append(c.bools, v)
		}
		c.present = append(c.present, 1)
	}
	w.rows++
	w.n++
	if w.rows == w.perGroup {
		return w.flush()
	}
	return nil
}

// flush writes a row group.
func (w *writer) flush() error {
	group := w.out.AppendRowGroup()
	for i := range w.columns {
		c := &w.columns[i]
		chunk, err := group.NextColumn()
		if err != nil {
			return err
		}
		var levels []int16
		if w.table.Columns[i].Nullable {
			levels = c.present
		}
		if err := c.write(chunk, levels); err != nil {
			return fmt.Errorf("column %s: %w", w.table.Columns[i].Name, err)
		}
		if err := chunk.Close(); err != nil {
			return fmt.Errorf("column %s: %w", w.table.Columns[i].Name, err)
		}
		c.texts, c.ints, c.floats, c.bools, c.present = c.texts[:0], c.ints[:0], c.floats[:0], c.bools[:0], c.present[:0]
	}
	w.rows = 0
	return group.Close()
}

func (c *column) write(to file.ColumnChunkWriter, levels []int16) (err error) {
	switch to := to.(type) {
	case *file.ByteArrayColumnChunkWriter:
		_, err = to.WriteBatch(c.texts, levels, nil)
	case *file.Int64ColumnChunkWriter:
		_, err = to.WriteBatch(c.ints, levels, nil)
	case *file.Float64ColumnChunkWriter:
		_, err = to.WriteBatch(c.floats, levels, nil)
	case *file.BooleanColumnChunkWriter:
		_, err = to.WriteBatch(c.bools, levels, nil)
	default:
		err = errors.New("of an unknown kind")
	}
	return err
}

// close ends the file with its metadata, key and value in turn.
func (w *writer) close(metadata []string) error {
	if w.rows > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for i := 0; i+1 < len(metadata); i += 2 {
		if err := w.out.AppendKeyValueMetadata(metadata[i], metadata[i+1]); err != nil {
			return err
		}
	}
	if err := w.out.Close(); err != nil {
		return err
	}
	return w.buf.Flush()
}
