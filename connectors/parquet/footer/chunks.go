package footer

import (
	"errors"
	"fmt"
	"slices"
)

// Field numbers of ColumnMetaData in parquet.thrift.
const (
	metaType         = 1
	metaPath         = 3
	metaCodec        = 4
	metaValues       = 5
	metaUncompressed = 6
	metaCompressed   = 7
	metaDataPage     = 9
	metaDictionary   = 11
)

// Chunks returns the chunks of a column, one for every row group. It checks that
// the pages lie inside the file.
func (m *Meta) Chunks(column int) ([]Chunk, error) {
	chunks := make([]Chunk, 0, len(m.Groups))
	groups, err := structs(m.top, fileGroups)
	if err != nil {
		return nil, corrupt("%w", err)
	}
	err = groups.each(func(g int, raw []byte) error {
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		columns, err := structs(fields, groupColumns)
		if err != nil {
			return err
		}
		return columns.each(func(i int, raw []byte) error {
			if i != column {
				return nil
			}
			c, err := m.readChunk(raw, m.Columns[column])
			if err != nil {
				return err
			}
			c.Rows = m.Groups[g]
			if c.Values < c.Rows || c.Values > c.Rows && m.Columns[column].MaxRep == 0 {
				return fmt.Errorf("counts %d values of a column in a row group of %d rows", c.Values, m.Groups[g])
			}
			chunks = append(chunks, c)
			return nil
		})
	})
	if err != nil {
		return nil, corrupt("%w", err)
	}
	return chunks, nil
}

func (m *Meta) readChunk(raw []byte, column Column) (c Chunk, err error) {
	c.raw = raw
	fields, _, err := parseStruct(raw)
	if err != nil {
		return c, err
	}
	if err := m.readIndexes(&c, fields); err != nil {
		return c, err
	}
	meta, err := group(fields, chunkMeta)
	if err != nil {
		return c, err
	}
	var typ, data, dictionary int64
	for _, v := range []struct {
		into *int64
		id   int16
	}{
		{&typ, metaType}, {&c.Codec, metaCodec}, {&c.Values, metaValues}, {&c.Uncompressed, metaUncompressed},
		{&c.Pages.Length, metaCompressed}, {&data, metaDataPage}, {&dictionary, metaDictionary},
	} {
		if *v.into, err = integer(meta, v.id, 0); err != nil {
			return c, err
		}
	}
	if typ != column.Type {
		return c, errors.New("gives a column another type than the schema does")
	}
	path, err := readPath(meta)
	if err != nil {
		return c, err
	}
	if !slices.Equal(path, column.Path) {
		return c, errors.New("names a column chunk differently from the schema")
	}
	c.Pages.Offset = data
	if dictionary > 0 && dictionary < data {
		c.Pages.Offset = dictionary
	}
	if c.Values == 0 {
		return c, nil // nobody reads it: writers leave any offset there
	}
	return c, m.inside(c.Pages)
}

func readPath(meta []field) (path []string, err error) {
	f, ok := find(meta, metaPath)
	if !ok || f.typ != typeList {
		return nil, errors.New("has a column chunk without a path")
	}
	l, err := readList(f.value)
	if err != nil {
		return nil, err
	}
	err = l.each(func(_ int, raw []byte) error {
		name, err := text([]field{{id: 1, typ: l.typ, value: raw}}, 1)
		path = append(path, string(name))
		return err
	})
	return path, err
}
