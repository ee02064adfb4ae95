package chunk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
)

// batchRows is how many rows are decoded at a time: few enough that a batch
// stays in the processor's cache, and never more than a page holds, so that
// values may point into the page.
const batchRows = 4096

// Reader reads the chunks of one column, one after the other. It is not safe
// for concurrent use.
type Reader struct {
	pages   pages
	column  *schema.Column
	checks  checks
	fixed   fixedDecoder
	feed    feed
	set     [batchRows]bool
	texts   []parquet.ByteArray
	blocks  []parquet.FixedLenByteArray
	cells   [][]byte
	rows    []int64
	numbers []int64
}

// NewReader reads column of the file r: a BYTE_ARRAY, a FIXED_LEN_BYTE_ARRAY or
// an INT64, nested or repeated as may be.
func NewReader(r io.ReaderAt, column footer.Column) *Reader {
	typ, width := parquet.Types.Int64, 8
	switch column.Type {
	case footer.ByteArray:
		typ = parquet.Types.ByteArray
	case footer.FixedBytes:
		typ, width = parquet.Types.FixedLenByteArray, max(int(column.Length), 1)
	}
	// Arrow sees a required column: the levels are decoded here.
	node := schema.MustPrimitive(schema.NewPrimitiveNode(strings.Join(column.Path, "."), parquet.Repetitions.Required, typ, -1, int32(width)))
	return &Reader{
		pages:  pages{r: r, maxDef: column.MaxDef, maxRep: column.MaxRep},
		column: schema.NewColumn(node, 0, 0),
		checks: checks{typ: column.Type, width: width},
	}
}

// Close frees what decompression holds.
func (r *Reader) Close() { r.pages.close() }

// Cells gives the cells of a chunk of byte arrays, which is not repeated, in row
// order, nil for NULL. first is the row of cells[0] in its row group; the cells
// are valid until yield returns.
func (r *Reader) Cells(ctx context.Context, c footer.Chunk, yield func(first int64, cells [][]byte) error) error {
	return r.Elements(ctx, c, func(first int64, _ []int64, cells [][]byte) error { return yield(first, cells) })
}

// Elements gives the cells of any chunk of byte arrays in order, nil for NULL.
// Of a repeated column they are its elements; a row without any has one cell,
// which is nil, and so has a list inside that is NULL or empty. rows are the
// rows of the cells in their row group, from 0; they are nil if the column is
// not repeated, and then first is the row of cells[0]. A row may go on in the
// next call. All are valid until yield returns.
func (r *Reader) Elements(ctx context.Context, c footer.Chunk, yield func(first int64, rows []int64, cells [][]byte) error) error {
	size := int(min(batchRows, c.Values))
	if len(r.cells) < size {
		r.cells = make([][]byte, size)
	}
	if fixed := r.checks.typ == footer.FixedBytes; fixed && len(r.blocks) < size {
		r.blocks = make([]parquet.FixedLenByteArray, size)
	} else if !fixed && len(r.texts) < size {
		r.texts = make([]parquet.ByteArray, size)
	}
	return r.read(ctx, c, func(reader file.ColumnChunkReader, n int) (got int, err error) {
		switch reader := reader.(type) {
		case *file.ByteArrayColumnChunkReader:
			_, got, err = reader.ReadBatch(int64(n), r.texts, nil, nil)
		case *file.FixedLenByteArrayColumnChunkReader:
			_, got, err = reader.ReadBatch(int64(n), r.blocks, nil, nil)
		}
		return got, err
	}, func(first int64, rows int) error {
		if r.checks.typ == footer.FixedBytes {
			spread(r.cells, r.set[:rows], r.blocks)
		} else {
			spread(r.cells, r.set[:rows], r.texts)
		}
		if r.pages.maxRep == 0 {
			return yield(first, nil, r.cells[:rows])
		}
		return yield(0, r.rows[:rows], r.cells[:rows])
	})
}

// spread puts values into the cells that have one.
func spread[T ~[]byte](cells [][]byte, set []bool, values []T) {
	next := 0
	for i, is := range set {
		cells[i] = nil
		if is {
			if cells[i] = values[next]; cells[i] == nil {
				cells[i] = []byte{}
			}
			next++
		}
	}
}

// Flag is one value of the flag column.
type Flag struct {
	Row     int64 // within the row group
	SinceMS int64 // Unix time in ms
}

// maxFlags is how many flags a chunk may have whatever its size; more than that
// need a byte in the file for every maxPerByte of them.
const (
	maxFlags   = 1 << 22
	maxPerByte = 64
)

// Flags returns the values of an INT64 chunk that are not NULL, in row order.
func (r *Reader) Flags(ctx context.Context, c footer.Chunk) (flags []Flag, err error) {
	if r.numbers == nil {
		r.numbers = make([]int64, batchRows)
	}
	err = r.read(ctx, c, func(reader file.ColumnChunkReader, n int) (int, error) {
		_, got, err := reader.(*file.Int64ColumnChunkReader).ReadBatch(int64(n), r.numbers, nil, nil)
		return got, err
	}, func(first int64, rows int) error {
		next := 0
		for i := range rows {
			if r.set[i] {
				flags = append(flags, Flag{Row: first + int64(i), SinceMS: r.numbers[next]})
				next++
			}
		}
		if len(flags) > maxFlags && int64(len(flags))/maxPerByte > c.Pages.Length {
			return errors.New("claims more values than its bytes can stand for")
		}
		return nil
	})
	return flags, err
}

// read decodes a chunk batch by batch: decode reads n values with arrow, give
// takes cells of which r.set tells whether they have a value, and r.rows, if the
// column is repeated, in which row they are.
func (r *Reader) read(ctx context.Context, c footer.Chunk,
	decode func(reader file.ColumnChunkReader, n int) (int, error),
	give func(first int64, rows int) error) error {
	if err := r.pages.reset(c); err != nil {
		return r.damaged(err)
	}
	r.feed, r.checks, r.fixed = feed{}, checks{typ: r.checks.typ, width: r.checks.width}, fixedDecoder{room: r.fixed.room}
	if r.pages.maxRep > 0 && r.rows == nil {
		r.rows = make([]int64, batchRows)
	}
	reader := file.NewColumnReader(r.column, &r.feed, memory.DefaultAllocator, nil)
	var row int64        // of a column that is not repeated
	count := counter{-1} // of one that is
	for {
		pg, ok, err := r.nextPage()
		if err != nil {
			return r.damaged(err)
		}
		if !ok && r.pages.maxRep > 0 && count.row+1 != c.Rows {
			return r.damaged(errRepeats)
		}
		if !ok {
			return nil
		}
		if pg.dictionary {
			continue
		}
		l := levels{all: r.pages.maxDef == 0, left: pg.rows, counts: uint32(r.pages.maxDef), runs: hybrid{data: pg.levels, width: width(r.pages.maxDef)}}
		starts := levels{left: pg.rows, runs: hybrid{data: pg.repeats, width: width(r.pages.maxRep)}}
		for l.left > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.pages.maxRep > 0 && !count.next(&starts, &r.set, r.rows, c.Rows) {
				return r.damaged(errRepeats)
			}
			rows, values := l.next(r.set[:])
			err := recovered(func() error {
				if values == 0 {
					return nil
				}
				got, err := decode(reader, values)
				if err == nil && got != values {
					err = errors.New("ends within its values")
				}
				return err
			})
			if err != nil {
				return r.damaged(err)
			}
			if err := give(row, rows); err != nil {
				return err
			}
			row += int64(rows)
		}
	}
}

// counter numbers the rows of a repeated column.
type counter struct{ row int64 }

// next puts the rows of the next cells into rows, at most as many as set is
// long, which it uses as room. It is false if they do not begin with the start
// of a row, or go beyond the last one.
func (c *counter) next(starts *levels, set *[batchRows]bool, rows []int64, total int64) bool {
	n, _ := starts.next(set[:])
	for i := range n {
		if set[i] {
			c.row++
		}
		rows[i] = c.row
	}
	return n == 0 || rows[0] >= 0 && c.row < total
}

// nextPage reads and checks a page and lays it out for arrow to take.
func (r *Reader) nextPage() (pg page, ok bool, err error) {
	err = recovered(func() error {
		if pg, ok, err = r.pages.next(); err != nil || !ok {
			return err
		}
		if pg.dictionary {
			if r.checks.entries > 0 {
				return errors.New("has two dictionaries")
			}
			least := r.checks.width
			if r.checks.typ == footer.ByteArray {
				least = 4
			}
			if pg.values > len(pg.data)/least {
				return errors.New("has a dictionary that ends within its values")
			}
			r.checks.entries = pg.values
			r.feed.dictionary = file.NewDictionaryPage(memory.NewBufferBytes(pg.data), int32(pg.values), parquet.Encodings.Plain)
			return nil
		}
		if r.checks.typ == footer.FixedBytes {
			if err := r.fixed.plain(&pg, r.checks.width); err != nil {
				return err
			}
		}
		if err := r.checks.page(pg); err != nil {
			return err
		}
		if pg.encoding == footer.DeltaByteArray {
			pg.data = bytes.Clone(pg.data) // arrow keeps the last value for the next page
		}
		if pg.values > 0 {
			r.feed.data = file.NewDataPageV1(memory.NewBufferBytes(pg.data), int32(pg.values),
				parquet.Encoding(pg.encoding), parquet.Encodings.RLE, parquet.Encodings.RLE, int32(len(pg.data)))
		}
		return nil
	})
	return pg, ok, err
}

// damaged puts an error of the pages into words for the user.
func (r *Reader) damaged(err error) error {
	return schemas.Errorf(schemas.Failed, "column %q %w", r.column.Name(), err).
		WithHint("the file is damaged or uses a feature that is not supported: restore it or write it anew")
}

// recovered turns a panic of a library into an error. The panic's text is left
// out, as it might quote the data.
func recovered(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("has values that cannot be decoded")
		}
	}()
	return f()
}

// feed hands arrow's column reader the pages that were checked, one at a time.
// It implements file.PageReader.
type feed struct {
	dictionary, data, current file.Page
}

// Next moves to the next page that was laid out.
func (f *feed) Next() bool {
	f.current, f.dictionary = f.dictionary, nil
	if f.current == nil {
		f.current, f.data = f.data, nil
	}
	return f.current != nil
}

// Page returns the current page.
func (f *feed) Page() file.Page { return f.current }

// Err is always nil: errors are found before a page is laid out.
func (f *feed) Err() error { return nil }

// SetMaxPageHeaderSize does nothing: headers are read elsewhere.
func (f *feed) SetMaxPageHeaderSize(int) {}

// Reset does nothing: every chunk has a feed of its own.
func (f *feed) Reset(parquet.BufferedReader, int64, compress.Compression, *file.CryptoContext) {}
