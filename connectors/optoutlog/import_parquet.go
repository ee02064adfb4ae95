package optoutlog

import (
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/parquet"
	pqfile "github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
)

// parquet reads two columns with the low-level reader, row group by row group.
func (im *importer) parquet() (err error) {
	defer func() { // the reader panics on some damaged files
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet reader failed, the file is probably damaged: %v", p)
		}
	}()
	f, err := pqfile.OpenParquetFile(im.opts.Path, false)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := f.MetaData().Schema
	id, err := leaf(sc, im.opts.IDColumn)
	if err != nil {
		return err
	}
	if sc.Column(id).PhysicalType() != parquet.Types.ByteArray {
		return schemas.Errorf(schemas.Usage, "column %q is not of strings", im.opts.IDColumn)
	}
	var at int
	var perSecond int64
	if im.opts.since == 0 {
		if at, err = leaf(sc, im.opts.TimeColumn); err != nil {
			return err
		}
		if perSecond, err = im.perSecond(sc.Column(at)); err != nil {
			return err
		}
	}
	for g := range f.NumRowGroups() {
		if err := im.rowGroup(f.RowGroup(g), id, at, perSecond); err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return nil
}

func leaf(sc *schema.Schema, path string) (int, error) {
	i := sc.ColumnIndexByName(path)
	if i < 0 {
		return 0, schemas.Errorf(schemas.Usage, "it has no column %q", path)
	}
	if sc.Column(i).MaxRepetitionLevel() > 0 {
		return 0, schemas.Errorf(schemas.Usage, "column %q is repeated", path)
	}
	return i, nil
}

// perSecond is how many units of the time column make a second; 0 for text.
func (im *importer) perSecond(c *schema.Column) (int64, error) {
	stamp, annotated := c.LogicalType().(*schema.TimestampLogicalType)
	switch {
	case c.PhysicalType() == parquet.Types.ByteArray && im.opts.Unit == RFC3339:
		return 0, nil
	case c.PhysicalType() == parquet.Types.Int64 && annotated && im.opts.Unit == Timestamp:
		switch stamp.TimeUnit() {
		case schema.TimeUnitMillis:
			return 1e3, nil
		case schema.TimeUnitMicros:
			return 1e6, nil
		case schema.TimeUnitNanos:
			return 1e9, nil
		}
	case c.PhysicalType() == parquet.Types.Int64 && !annotated && im.opts.Unit == Milliseconds:
		return 1e3, nil
	case c.PhysicalType() == parquet.Types.Int64 && !annotated && im.opts.Unit == Seconds:
		return 1, nil
	}
	return 0, schemas.Errorf(schemas.Usage, "column %q is %s %s, which does not fit the time unit %q",
		im.opts.TimeColumn, c.PhysicalType(), c.LogicalType(), im.opts.Unit).
		WithHint("rfc3339 is for strings, timestamp for TIMESTAMP columns, s and ms for plain INT64")
}

func (im *importer) rowGroup(g *pqfile.RowGroupReader, idColumn, timeColumn int, perSecond int64) error {
	ids, err := openTexts(g, idColumn)
	if err != nil {
		return err
	}
	next, err := im.times(g, timeColumn, perSecond)
	if err != nil {
		return err
	}
	for range g.NumRows() {
		second, ok, err := next()
		if err != nil {
			return err
		}
		id, err := ids.next()
		if err != nil {
			return err
		}
		if err := im.row(id, second, ok); err != nil {
			return err
		}
	}
	return nil
}

// times gives a function that returns the second of one row after another.
func (im *importer) times(g *pqfile.RowGroupReader, column int, perSecond int64) (func() (int64, bool, error), error) {
	if since := im.opts.since; since != 0 {
		return func() (int64, bool, error) { return since, true, nil }, nil
	}
	if perSecond == 0 {
		texts, err := openTexts(g, column)
		return func() (int64, bool, error) {
			text, err := texts.next()
			if err != nil {
				return 0, false, err
			}
			second, ok := im.textTime(string(text))
			return second, ok, nil
		}, err
	}
	numbers, present, err := int64s(g, column)
	row := -1
	return func() (int64, bool, error) {
		if row++; !present[row] {
			return 0, false, nil
		}
		n := numbers[0]
		numbers = numbers[1:]
		return n / perSecond, true, nil
	}, err
}

var errShort = errors.New("a column has fewer values than the row group has rows")

// int64s reads a whole column at once: arrow v17 fails on some encodings when
// a column with NULLs is read in several batches (apache/arrow#43276).
func int64s(g *pqfile.RowGroupReader, column int) (numbers []int64, present []bool, err error) {
	c, err := g.Column(column)
	if err != nil {
		return nil, nil, err
	}
	ints, ok := c.(*pqfile.Int64ColumnChunkReader)
	if !ok {
		return nil, nil, fmt.Errorf("column is a %T", c)
	}
	n := g.NumRows()
	numbers = make([]int64, n)
	levels := make([]int16, n)
	rows, read, err := ints.ReadBatch(n, numbers, levels, nil)
	if err != nil {
		return nil, nil, err
	}
	if rows != n {
		return nil, nil, errShort
	}
	present = make([]bool, n)
	for i := range present {
		present[i] = levels[i] == c.Descriptor().MaxDefinitionLevel()
	}
	return numbers[:read], present, nil
}

// texts reads a column of strings row by row: the values of a batch share
// memory with their page, and a batch of several rows can span pages.
type texts struct {
	column *pqfile.ByteArrayColumnChunkReader
}

func openTexts(g *pqfile.RowGroupReader, column int) (*texts, error) {
	c, err := g.Column(column)
	if err != nil {
		return nil, err
	}
	b, ok := c.(*pqfile.ByteArrayColumnChunkReader)
	if !ok {
		return nil, fmt.Errorf("column is a %T", c)
	}
	return &texts{column: b}, nil
}

// next is nil for NULL. The text is valid until the call after.
func (t *texts) next() ([]byte, error) {
	var value [1]parquet.ByteArray
	var level [1]int16
	rows, read, err := t.column.ReadBatch(1, value[:], level[:], nil)
	switch {
	case err != nil:
		return nil, err
	case rows != 1:
		return nil, errShort
	case read == 0:
		return nil, nil
	case value[0] == nil:
		return []byte{}, nil
	}
	return value[0], nil
}
