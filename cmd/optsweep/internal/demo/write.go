package demo

import (
	"bufio"
	"context"
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

// part is one file and what only the whole set has a use for.
type part struct {
	File
	distinct int64            // ids that rows of this file show as their own
	optOuts  []schemas.OptOut // of those
}

// maxRowGroup bounds the rows held in memory; smaller files have four groups.
const maxRowGroup = 128 << 10

// writePart writes the rows from first to before end. On an error it leaves no
// file.
func writePart(ctx context.Context, path string, pop population, o Options, first, end int64) (p part, err error) {
	f, err := os.Create(path)
	if err != nil {
		return part{}, err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	p.Path = path
	p.Malformed = make(map[schemas.Reason]int64)
	// The Parquet writer closes what it writes to; hide that from it.
	out := bufio.NewWriterSize(f, 1<<20)
	if err := p.write(ctx, struct{ io.Writer }{out}, pop, columns(o), first, end); err != nil {
		return part{}, err
	}
	if err := out.Flush(); err != nil {
		return part{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return part{}, err
	}
	p.Bytes = info.Size()
	return p, nil
}

func (p *part) write(ctx context.Context, out io.Writer, pop population, cols []column, first, end int64) error {
	properties := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithCreatedBy("optsweep demo"),
	}
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = c.field
		if c.distinct {
			properties = append(properties, parquet.WithDictionaryFor(c.field.Name, false))
		}
	}
	schema := arrow.NewSchema(fields, nil)
	w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(properties...),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return err
	}
	group := min((end-first+3)/4, maxRowGroup)
	for row := first; row < end; row += group {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(group, end-row)
		b := &batch{
			part: p, pop: pop, first: uint64(row), rows: int(n),
			random: seeded(pop.seed, columnsStream, uint64(row)),
		}
		arrays := make([]arrow.Array, len(cols))
		for i, c := range cols {
			arrays[i] = c.fill(b)
		}
		if err := w.Write(array.NewRecord(schema, arrays, n)); err != nil {
			return err
		}
	}
	return w.Close()
}

// batch is the rows of one row group while its columns are made.
type batch struct {
	*part
	pop    population
	first  uint64
	rows   int
	random random
}

// ids makes the id column and counts what is in it.
func (b *batch) ids() arrow.Array {
	out := array.NewStringBuilder(memory.DefaultAllocator)
	out.Reserve(b.rows)
	out.ReserveData(b.rows * (schemas.TextSize + 1))
	var text []byte
	for row := b.first; row < b.first+uint64(b.rows); row++ {
		b.Rows++
		content, r := b.pop.content(row)
		number := row
		switch content {
		case null:
			b.Nulls++
			out.AppendNull()
			continue
		case malformed:
			cell, reason := b.pop.spoil(&r, row)
			b.Malformed[reason]++
			out.Append(cell)
			continue
		case duplicate:
			number = b.pop.original(row, &r)
		}
		b.Valid++
		id := b.pop.id(number)
		since, optedOut := b.pop.optOut(number)
		if optedOut {
			b.OptedOut++
		}
		if number == row {
			b.distinct++
			if optedOut {
				b.optOuts = append(b.optOuts, schemas.OptOut{ID: id, SinceMS: since})
			}
		}
		text = text[:0]
		space := r.below(10_000) < whiteShare
		if space && row%2 == 0 {
			text = append(text, ' ')
		}
		text = id.AppendText(text)
		if space && row%2 == 1 {
			text = append(text, '\n')
		}
		if space {
			b.Repaired++
		}
		out.BinaryBuilder.Append(text)
	}
	return out.NewStringArray()
}
