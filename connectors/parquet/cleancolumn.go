package parquet

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"

	"optsweep/schemas"
)

// copyColumn reads column i of row group g, adds what is kept to sum, and writes
// it to out, if there is one. drop tells which rows are left out; nil: none.
func copyColumn(ctx context.Context, r *file.Reader, g, i int, drop []bool, sum *columnSum, out file.ColumnChunkWriter) error {
	p, err := newPageReader(r, g, i)
	if err != nil {
		return err
	}
	c := &columnCopy{in: p, drop: drop, row: -1, sum: sum, out: out}
	switch p.column.PhysicalType() {
	case parquet.Types.Boolean:
		return copyTyped(ctx, c, addBooleans)
	case parquet.Types.Int32:
		return copyTyped(ctx, c, addFixed(arrow.Int32Traits.CastToBytes))
	case parquet.Types.Int64:
		return copyTyped(ctx, c, addFixed(arrow.Int64Traits.CastToBytes))
	case parquet.Types.Int96:
		return copyTyped(ctx, c, addFixed(parquet.Int96Traits.CastToBytes))
	case parquet.Types.Float:
		return copyTyped(ctx, c, addFixed(arrow.Float32Traits.CastToBytes))
	case parquet.Types.Double:
		return copyTyped(ctx, c, addFixed(arrow.Float64Traits.CastToBytes))
	case parquet.Types.ByteArray:
		return copyTyped(ctx, c, addSized[parquet.ByteArray])
	case parquet.Types.FixedLenByteArray:
		return copyTyped(ctx, c, addSized[parquet.FixedLenByteArray])
	}
	return errCannotCarry("the type of column " + p.column.Path())
}

// columnCopy is the copying of a column chunk.
type columnCopy struct {
	in   *pageReader
	drop []bool // rows that are left out; nil: none
	row  int    // the last one that was seen; -1: none
	sum  *columnSum
	out  file.ColumnChunkWriter // nil: only the sum is wanted
}

// copyTyped copies a chunk of values of type T; add adds values to a sum.
func copyTyped[T any](ctx context.Context, c *columnCopy, add func(*columnSum, []T)) error {
	w, writes := c.out.(batchWriter[T])
	if !writes && c.out != nil {
		return errCannotCarry("the type of column " + c.in.column.Path())
	}
	levels, present := c.in.meta.NumValues(), int64(0)
	err := eachPage(ctx, c.in, func(p page[T]) error {
		present += int64(len(p.values))
		p, err := keep(c, p)
		if err != nil {
			return err
		}
		c.sum.addLevels(p.def, p.rep)
		add(c.sum, p.values)
		if !writes || len(p.values)+len(p.def) == 0 {
			return nil
		}
		_, err = w.WriteBatch(p.values, p.def, p.rep)
		return err
	})
	if err != nil {
		return err
	}
	if said := c.in.nulls(); said >= 0 && c.in.column.MaxRepetitionLevel() == 0 && levels-present != said {
		return schemas.Errorf(schemas.Failed, "column %q says that %d of its values are NULL, but %d are", c.in.column.Path(), said, levels-present).
			WithHint("nothing was written; the file is damaged, or its writer has miscounted")
	}
	if c.drop != nil && c.row+1 != len(c.drop) {
		return errUnconfirmed()
	}
	return nil
}

// batchWriter is a writer of columns of type T.
type batchWriter[T any] interface {
	WriteBatch(values []T, def, rep []int16) (int64, error)
}

// nulls gives the number of NULLs that a chunk says it has; -1: it does not.
func (p *pageReader) nulls() int64 {
	if set, err := p.meta.StatsSet(); err == nil && set {
		if stats, err := p.meta.Statistics(); err == nil && stats != nil && stats.HasNullCount() {
			return stats.NullCount()
		}
	}
	return -1
}

// keep moves what is kept of a page to its front.
func keep[T any](c *columnCopy, p page[T]) (page[T], error) {
	n := max(len(p.def), len(p.rep))
	if p.def == nil && p.rep == nil {
		n = len(p.values)
	}
	levels, values, next := 0, 0, 0
	for i := 0; i < n; {
		end, gone, err := c.run(p.rep, i, n)
		if err != nil {
			return p, err
		}
		after := next + end - i
		if p.def != nil {
			after = next + count(p.def[i:end], c.in.column.MaxDefinitionLevel())
		}
		if after > len(p.values) {
			return p, errUnconfirmed()
		}
		if !gone {
			values += copy(p.values[values:], p.values[next:after])
			if p.def != nil {
				copy(p.def[levels:], p.def[i:end])
			}
			if p.rep != nil {
				copy(p.rep[levels:], p.rep[i:end])
			}
			levels += end - i
		}
		i, next = end, after
	}
	if next != len(p.values) {
		return p, errUnconfirmed()
	}
	p.values = p.values[:values]
	if p.def != nil {
		p.def = p.def[:levels]
	}
	if p.rep != nil {
		p.rep = p.rep[:levels]
	}
	return p, nil
}

// run gives the end of the run of levels from i on whose rows are all kept, or
// all left out.
func (c *columnCopy) run(rep []int16, i, n int) (end int, gone bool, err error) {
	if c.drop == nil {
		return n, false, nil
	}
	if rep == nil || rep[i] == 0 {
		c.row++
	}
	if c.row < 0 || c.row >= len(c.drop) {
		return 0, false, errUnconfirmed()
	}
	gone = c.drop[c.row]
	for i++; i < n; i++ {
		if rep != nil && rep[i] != 0 {
			continue
		}
		if c.row+1 == len(c.drop) || c.drop[c.row+1] != gone {
			break
		}
		c.row++
	}
	return i, gone, nil
}

func count(levels []int16, wanted int16) (n int) {
	for _, l := range levels {
		if l == wanted {
			n++
		}
	}
	return n
}
