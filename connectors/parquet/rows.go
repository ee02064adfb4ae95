package parquet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"golang.org/x/sync/errgroup"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// cleaning is the making of a file that has some of the rows of another.
type cleaning struct {
	ctx     context.Context
	workers int      // columns treated at a time
	drop    [][]bool // rows that are left out, by row group

	rows   int64    // that are kept
	cells  int64    // of their ids, found by confirm
	nulls  int64    // of these
	digest []string // of what is kept of each column in the row groups that are encoded anew
	schema string
	groups []footer.Regrouped // of the new file
	same   []sameBytes
	anew   []int // row groups of the new file that are encoded anew
}

// sameBytes is a piece that stands in both files.
type sameBytes struct{ from, to, length int64 }

const magic = "PAR1"

// write copies what is kept.
func (c *cleaning) write(s *source, out io.Writer) (err error) {
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			err = errCannotCarry("its pages")
		}
	}()
	r, err := openArrow(s.file, s.info.Size())
	if err != nil {
		return err
	}
	c.schema = r.MetaData().Schema.String()
	if r.NumRowGroups() != len(c.drop) || r.MetaData().Schema.NumColumns() != len(s.meta.Columns) {
		return errUnconfirmed()
	}
	// The chunks of these are longer than their metadata says (PARQUET-816).
	understated := r.WriterVersion().LessThan(metadata.Parquet816FixedVersion)
	to := &counter{w: bufio.NewWriterSize(out, 1<<20)}
	if _, err := to.Write([]byte(magic)); err != nil {
		return err
	}
	sums := newSums(r.MetaData().Schema.NumColumns())
	for g, drop := range c.drop {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		kept := int64(0)
		for _, gone := range drop {
			if !gone {
				kept++
			}
		}
		if kept == 0 {
			continue
		}
		c.rows += kept
		var next footer.Regrouped
		if kept == int64(len(drop)) && !understated {
			next, err = c.copyGroup(s, g, to)
		} else {
			c.anew = append(c.anew, len(c.groups))
			next, err = c.encodeGroup(r, g, kept, sums, to)
		}
		if err != nil {
			return err
		}
		c.groups = append(c.groups, next)
	}
	c.digest = sums.digests()
	raw, err := s.meta.Regroup(c.groups)
	if err != nil {
		return err
	}
	if _, err := to.Write(raw); err != nil {
		return err
	}
	return to.w.Flush()
}

// counter counts what is written.
type counter struct {
	w *bufio.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// copyGroup copies a row group as it is.
func (c *cleaning) copyGroup(s *source, g int, to *counter) (footer.Regrouped, error) {
	next := footer.Regrouped{From: s.meta, Index: g, Old: g}
	spans, err := s.meta.Extents(g)
	if err != nil {
		return next, err
	}
	for _, span := range spans {
		if err := c.ctx.Err(); err != nil {
			return next, err
		}
		next.Starts = append(next.Starts, to.n)
		c.same = append(c.same, sameBytes{span.Offset, to.n, span.Length})
		if n, err := io.Copy(to, io.NewSectionReader(s.file, span.Offset, span.Length)); err != nil {
			return next, err
		} else if n != span.Length {
			return next, errChanged()
		}
	}
	return next, nil
}

// encodeGroup encodes what is kept of a row group: arrow writes it as a file of
// its own, of which the pages are taken and the footer is read.
func (c *cleaning) encodeGroup(r *file.Reader, g int, kept int64, all sums, to *counter) (footer.Regrouped, error) {
	next := footer.Regrouped{Old: g}
	props, err := properties(r, g)
	if err != nil {
		return next, err
	}
	start, sink := to.n, &groupSink{to: to}
	e, err := newEncoder(sink, r.MetaData().Schema.Root(), props, c.workers)
	if err != nil {
		return next, err
	}
	if err := e.group(c.ctx, kept, c.columns(r, g, all)); err != nil {
		return next, err
	}
	sink.footer = true
	if err := e.finish(); err != nil {
		return next, err
	}
	if next.From, err = footer.Read(sink, sink.n); err != nil {
		return next, err
	}
	spans, err := next.From.Extents(0)
	for _, span := range spans {
		next.Starts = append(next.Starts, start+span.Offset-int64(len(magic)))
	}
	return next, err
}

// columns copy what is kept of a row group, each one column.
func (c *cleaning) columns(r *file.Reader, g int, all sums) []writeColumn {
	columns := make([]writeColumn, r.MetaData().Schema.NumColumns())
	for i := range columns {
		columns[i] = func(ctx context.Context, out file.ColumnChunkWriter) error {
			return copyColumn(ctx, r, g, i, c.drop[g], all[i], out)
		}
	}
	return columns
}

// groupSink takes a file of one row group apart: what lies between the magic and
// the footer goes on, the rest stays in memory.
type groupSink struct {
	to     io.Writer
	n      int64
	footer bool
	tail   []byte
}

// Write implements io.Writer.
func (s *groupSink) Write(b []byte) (n int, err error) {
	switch {
	case s.footer:
		s.tail = append(s.tail, b...)
		n = len(b)
	case s.n < int64(len(magic)): // arrow writes it at once
		n = len(b)
	default:
		n, err = s.to.Write(b)
	}
	s.n += int64(n)
	return n, err
}

// ReadAt gives what is in memory; pages read as zeros.
func (s *groupSink) ReadAt(b []byte, at int64) (int, error) {
	whole := make([]byte, len(b))
	if at == 0 {
		copy(whole, magic)
	}
	if i := at - (s.n - int64(len(s.tail))); i >= 0 && i < int64(len(s.tail)) {
		copy(whole, s.tail[i:])
	}
	return copy(b, whole), nil
}

// properties are those of the columns of row groups, as far as they can be kept.
func properties(r *file.Reader, groups ...int) (*parquet.WriterProperties, error) {
	sc := r.MetaData().Schema
	options := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy("optsweep"), parquet.WithDictionaryDefault(false),
		parquet.WithRootRepetition(sc.Root().RepetitionType()), parquet.WithRootName(sc.Root().Name()),
	}
	for i := range sc.NumColumns() {
		column := sc.Column(i)
		if _, unknown := column.LogicalType().(schema.UnknownLogicalType); unknown {
			return nil, errCannotCarry("a logical type of column " + column.Path())
		}
		if column.PhysicalType() == parquet.Types.Int96 {
			options = append(options, parquet.WithStatsFor(column.Path(), false)) // they have no order
		}
		for _, g := range groups {
			chunk, err := r.MetaData().RowGroup(g).ColumnChunk(i)
			if err != nil {
				return nil, err
			}
			if err := carries(chunk, column); err != nil {
				return nil, err
			}
			options = append(options, parquet.WithCompressionFor(column.Path(), chunk.Compression()),
				parquet.WithDictionaryFor(column.Path(), chunk.HasDictionaryPage() && column.PhysicalType() != parquet.Types.Boolean))
		}
	}
	return parquet.NewWriterProperties(options...), nil
}

// carries refuses a column that arrow cannot write.
func carries(chunk *metadata.ColumnChunkMetaData, column *schema.Column) error {
	switch chunk.Compression() {
	case compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Zstd:
		return nil
	case lz4RawCodec:
		if _, err := compress.GetCodec(lz4RawCodec); err == nil { // see RegisterCodecs
			return nil
		}
	}
	return errCannotCarry("the codec " + chunk.Compression().String() + " of column " + column.Path())
}

func errCannotCarry(what string) error {
	return schemas.Errorf(schemas.Failed, "a copy without some rows cannot carry %s exactly", what).
		WithHint("nothing was written; leave the rows out with a query instead")
}

// confirm reads a copy of s back and compares it with what was meant.
func (c *cleaning) confirm(t *Table, s *source, f *durable.File, since Since) (err error) {
	defer func() {
		if recover() != nil {
			err = errUnconfirmed()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := c.confirmIDs(t, f, info.Size(), since); err != nil {
		return err
	}
	if err := c.confirmSame(s.file, f); err != nil {
		return err
	}
	r, err := openArrow(f, info.Size())
	if err != nil {
		return err
	}
	sc := r.MetaData().Schema
	if r.NumRows() != c.rows || r.NumRowGroups() != len(c.groups) || sc.NumColumns() != len(c.digest) {
		return errUnconfirmed()
	}
	if sc.String() != c.schema {
		return errCannotCarry("its schema")
	}
	return confirmColumns(c.ctx, r, c.anew, c.digest, c.workers)
}

// confirmSame compares what was copied as it is, at the places that the new
// footer names.
func (c *cleaning) confirmSame(before *os.File, after *durable.File) error {
	info, err := after.Stat()
	if err != nil {
		return err
	}
	meta, err := footer.Read(after, info.Size())
	if err != nil {
		return err
	}
	same := c.same
	for i, g := range c.groups {
		spans, err := meta.Extents(i)
		if err != nil {
			return err
		}
		for column, span := range spans {
			if span.Offset != g.Starts[column] {
				return errUnconfirmed()
			}
			if len(same) > 0 && same[0].to == span.Offset {
				if same[0].length != span.Length {
					return errUnconfirmed()
				}
				if err := c.equal(before, after, same[0]); err != nil {
					return err
				}
				same = same[1:]
			}
		}
	}
	if len(same) > 0 {
		return errUnconfirmed()
	}
	return nil
}

func (c *cleaning) equal(before, after io.ReaderAt, p sameBytes) error {
	const step = 1 << 20
	a, b := make([]byte, min(step, p.length)), make([]byte, min(step, p.length))
	for done := int64(0); done < p.length; done += int64(len(a)) {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		a, b = a[:min(step, p.length-done)], b[:min(step, p.length-done)]
		if _, err := before.ReadAt(a, p.from+done); err != nil {
			return err
		}
		if _, err := after.ReadAt(b, p.to+done); err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return errUnconfirmed()
		}
	}
	return nil
}

// confirmColumns compares the columns of some row groups with their digests.
func confirmColumns(ctx context.Context, r *file.Reader, groups []int, digests []string, workers int) error {
	sums := newSums(len(digests))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(workers)
	for i := range digests {
		work.Go(func() (err error) {
			defer func() {
				if recover() != nil {
					err = errUnconfirmed()
				}
			}()
			for _, g := range groups {
				if err := copyColumn(ctx, r, g, i, nil, sums[i], nil); err != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					return errors.Join(errUnconfirmed(), err)
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	for i, digest := range sums.digests() {
		if digest != digests[i] {
			return errUnconfirmed()
		}
	}
	return nil
}
