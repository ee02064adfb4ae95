package chunk

import (
	"bytes"
	"context"
	"errors"
	"io"

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
	feed    feed
	set     [batchRows]bool
	texts   []parquet.ByteArray
	cells   [][]byte
	numbers []int64
}

// NewReader reads column of the file r. The column must be flat: not nested,
// not repeated, and a BYTE_ARRAY or an INT64.
func NewReader(r io.ReaderAt, column footer.Column) *Reader {
	typ := parquet.Types.Int64
	if column.Type == footer.ByteArray {
		typ = parquet.Types.ByteArray
	}
	// Arrow sees a required column: the definition levels are decoded here.
	node := schema.MustPrimitive(schema.NewPrimitiveNode(column.Name, parquet.Repetitions.Required, typ, -1, -1))
	return &Reader{
		pages:  pages{r: r, required: column.Repetition == footer.Required},
		column: schema.NewColumn(node, 0, 0),
		checks: checks{bytes: column.Type == footer.ByteArray},
	}
}

// Close frees what decompression holds.
func (r *Reader) Close() { r.pages.close() }

// Cells gives the cells of a BYTE_ARRAY chunk in row order, nil for NULL.
// first is the row of cells[0] in its row group; the cells are valid until
// yield returns.
func (r *Reader) Cells(ctx context.Context, c footer.Chunk, yield func(first int64, cells [][]byte) error) error {
	if r.texts == nil {
		r.texts, r.cells = make([]parquet.ByteArray, batchRows), make([][]byte, batchRows)
	}
	return r.read(ctx, c, func(reader file.ColumnChunkReader, n int) (int, error) {
		_, got, err := reader.(*file.ByteArrayColumnChunkReader).ReadBatch(int64(n), r.texts, nil, nil)
		return got, err
	}, func(first int64, rows int) error {
		next := 0
		for i := range rows {
			r.cells[i] = nil
			if r.set[i] {
				if r.cells[i] = r.texts[next]; r.cells[i] == nil {
					r.cells[i] = []byte{}
				}
				next++
			}
		}
		return yield(first, r.cells[:rows])
	})
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
// takes rows whose levels are in r.set.
func (r *Reader) read(ctx context.Context, c footer.Chunk,
	decode func(reader file.ColumnChunkReader, n int) (int, error),
	give func(first int64, rows int) error) error {
	if err := r.pages.reset(c); err != nil {
		return r.damaged(err)
	}
	r.feed, r.checks = feed{}, checks{bytes: r.checks.bytes}
	reader := file.NewColumnReader(r.column, &r.feed, memory.DefaultAllocator, nil)
	var row int64
	for {
		pg, ok, err := r.nextPage()
		if err != nil {
			return r.damaged(err)
		}
		if !ok {
			return nil
		}
		if pg.dictionary {
			continue
		}
		l := levels{required: r.pages.required, left: pg.rows, runs: hybrid{data: pg.levels, width: 1}}
		for l.left > 0 {
			if err := ctx.Err(); err != nil {
				return err
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
			least := 8
			if r.checks.bytes {
				least = 4
			}
			if pg.values > len(pg.data)/least {
				return errors.New("has a dictionary that ends within its values")
			}
			r.checks.entries = pg.values
			r.feed.dictionary = file.NewDictionaryPage(memory.NewBufferBytes(pg.data), int32(pg.values), parquet.Encodings.Plain)
			return nil
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
