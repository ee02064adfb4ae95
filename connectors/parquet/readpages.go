package parquet

import (
	"context"
	"io"
	"sync"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
)

// openArrow opens a file with arrow. The memory of a page is not used again for
// another one: its values stay as they are as long as something refers to them.
func openArrow(r io.ReaderAt, size int64) (*file.Reader, error) {
	return file.NewParquetReader(io.NewSectionReader(r, 0, size), file.WithReadProps(parquet.NewReaderProperties(memory.NewGoAllocator())))
}

// pageReader reads a column chunk page by page.
type pageReader struct {
	column *schema.Column
	meta   *metadata.ColumnChunkMetaData
	in     file.ColumnChunkReader
	pages  *onePage
}

// newPageReader begins with column i of row group g.
func newPageReader(r *file.Reader, g, i int) (*pageReader, error) {
	group := r.RowGroup(g)
	meta, err := group.MetaData().ColumnChunk(i)
	if err != nil {
		return nil, err
	}
	inner, err := group.GetColumnPageReader(i)
	if err != nil {
		return nil, err
	}
	p := &pageReader{column: r.MetaData().Schema.Column(i), meta: meta, pages: &onePage{PageReader: inner}}
	p.in = file.NewColumnReader(p.column, p.pages, memory.NewGoAllocator(), &sync.Pool{})
	return p, nil
}

// onePage gives one data page each time it is opened. Without, arrow v17 reads on
// into the next page before it gives what it has of one; and it fails on some
// encodings if a page with NULLs is read in several batches (apache/arrow#43276).
type onePage struct {
	file.PageReader
	open   bool
	levels int64 // of the page
}

// Next implements file.PageReader.
func (p *onePage) Next() bool {
	if !p.open || !p.PageReader.Next() {
		return false
	}
	if _, dictionary := p.Page().(*file.DictionaryPage); !dictionary {
		p.open, p.levels = false, int64(p.Page().NumValues())
	}
	return true
}

// next gives the number of levels of the next page, which is at most left.
func (p *pageReader) next(left int64) (int64, error) {
	for {
		p.pages.open = true
		switch {
		case p.in.HasNext():
			if p.pages.levels > left {
				return 0, schemas.Errorf(schemas.Failed, "column %q has more values than it says", p.column.Path()).WithHint("nothing was written; the file is damaged")
			}
			return p.pages.levels, nil
		case p.in.Err() != nil:
			return 0, errCannotCarry("the encoding of column " + p.column.Path())
		case p.pages.open: // there was none, not even an empty one
			return 0, schemas.Errorf(schemas.Failed, "column %q ends too early", p.column.Path()).WithHint("nothing was written; the file is damaged")
		}
	}
}

// page is what was read of a page.
type page[T any] struct {
	values   []T
	def, rep []int16 // nil: all of them are 0
}

// eachPage reads the pages of a chunk of values of type T. What do is given is
// good until it returns; the bytes of values stay.
func eachPage[T any](ctx context.Context, p *pageReader, do func(page[T]) error) error {
	r, ok := p.in.(interface {
		ReadBatch(n int64, values []T, def, rep []int16) (int64, int, error)
	})
	if !ok {
		return errCannotCarry("the type of column " + p.column.Path())
	}
	var buf page[T]
	for left := p.meta.NumValues(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := p.next(left)
		if err != nil {
			return err
		}
		buf = buf.sized(int(n), p.column)
		total, read, err := r.ReadBatch(n, buf.values, buf.def, buf.rep)
		if err != nil {
			return schemas.Errorf(schemas.Failed, "column %q cannot be read: %w", p.column.Path(), err).WithHint("nothing was written; the file is damaged")
		}
		if total != n {
			return errCannotCarry("the encoding of column " + p.column.Path())
		}
		if err := do(page[T]{buf.values[:read], buf.def, buf.rep}); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// sized makes room for n levels.
func (p page[T]) sized(n int, column *schema.Column) page[T] {
	if n > cap(p.values) {
		p = page[T]{values: make([]T, n)}
		if column.MaxDefinitionLevel() > 0 {
			p.def = make([]int16, n)
		}
		if column.MaxRepetitionLevel() > 0 {
			p.rep = make([]int16, n)
		}
	}
	p.values = p.values[:n]
	if p.def != nil {
		p.def = p.def[:n]
	}
	if p.rep != nil {
		p.rep = p.rep[:n]
	}
	return p
}
