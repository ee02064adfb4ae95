package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"golang.org/x/sync/errgroup"
)

// encoder writes a file with the parts of arrow's own writer, which encodes one
// column after the other or holds a whole row group in memory.
type encoder struct {
	out     *teller
	schema  *schema.Schema
	props   *parquet.WriterProperties
	meta    *metadata.FileMetaDataBuilder
	workers int
	groups  int16
}

// teller knows where it is in what it writes.
type teller struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (t *teller) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.n += int64(n)
	return n, err
}

// Tell says how much was written.
func (t *teller) Tell() int64 { return t.n }

// newEncoder begins a file.
func newEncoder(w io.Writer, root *schema.GroupNode, props *parquet.WriterProperties, workers int) (*encoder, error) {
	sc := schema.NewSchema(root)
	e := &encoder{out: &teller{w: w}, schema: sc, props: props, meta: metadata.NewFileMetadataBuilder(sc, props, nil), workers: workers}
	_, err := io.WriteString(e.out, magic)
	return e, err
}

// writeColumn writes a column of a row group.
type writeColumn func(ctx context.Context, out file.ColumnChunkWriter) error

// group writes a row group of so many rows. As many columns as there are workers
// are encoded at a time, in memory; they get into the file in their order, so
// that it does not depend on the workers.
func (e *encoder) group(ctx context.Context, rows int64, columns []writeColumn) error {
	meta, size := e.meta.AppendRowGroup(), int64(0)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(e.workers)
	turn := make(chan struct{})
	close(turn)
	for i, write := range columns {
		chunk := meta.NextColumnChunk()
		mine, next := turn, make(chan struct{})
		turn = next
		work.Go(func() (err error) {
			defer func() {
				if recover() != nil { // arrow v17 panics on what it does not expect
					err = errCannotCarry("the pages of column " + chunk.Descr().Path())
				}
			}()
			path := chunk.Descr().Path()
			const inMemory = true // until it is closed
			pages, err := file.NewPageWriter(e.out, e.props.CompressionFor(path), e.props.CompressionLevelFor(path),
				chunk, e.groups, int16(i), e.props.Allocator(), inMemory, nil, nil)
			if err != nil {
				return err
			}
			out := file.NewColumnChunkWriter(chunk, pages, e.props)
			if err := write(ctx, out); err != nil {
				return err
			}
			if int64(out.RowsWritten()) != rows {
				return errUnconfirmed()
			}
			select {
			case <-mine:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := out.Close(); err != nil {
				return err
			}
			size += out.TotalBytesWritten() // one column after the other gets here
			close(next)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	meta.SetNumRows(int(rows))
	if err := meta.Finish(size, e.groups); err != nil {
		return err
	}
	e.groups++
	return nil
}

// finish writes the footer.
func (e *encoder) finish() error {
	meta, err := e.meta.Finish()
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	if _, err := meta.WriteTo(&raw, nil); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(raw.Bytes(), uint32(raw.Len()))
	_, err = e.out.Write(append(end, magic...))
	return err
}
