package footer

import "errors"

// EachChunk gives the chunks of all columns, nested ones too, row group by row
// group. It checks that their pages lie inside the file and that no count is
// below 0; whether a count is true, only the pages can tell.
func (m *Meta) EachChunk(visit func(Chunk) error) error {
	groups, err := structs(m.top, fileGroups)
	if err != nil {
		return corrupt("%w", err)
	}
	return groups.each(func(g int, raw []byte) error {
		columns, err := groupChunks(raw)
		if err != nil {
			return corrupt("%w", err)
		}
		return columns.each(func(_ int, raw []byte) error {
			c, err := m.anyChunk(raw, m.Groups[g])
			if err != nil {
				return corrupt("%w", err)
			}
			return visit(c)
		})
	})
}

// anyChunk reads a chunk of a row group of so many rows.
func (m *Meta) anyChunk(raw []byte, rows int64) (c Chunk, err error) {
	c.raw = raw
	fields, _, err := parseStruct(raw)
	if err != nil {
		return c, err
	}
	meta, err := group(fields, chunkMeta)
	if err != nil {
		return c, err
	}
	var data, dictionary int64
	if err := integers(meta, map[int16]*int64{
		metaCodec: &c.Codec, metaValues: &c.Values, metaUncompressed: &c.Uncompressed,
		metaCompressed: &c.Pages.Length, metaDataPage: &data, metaDictionary: &dictionary,
	}); err != nil {
		return c, err
	}
	if c.Values < 0 || c.Uncompressed < 0 {
		return c, errors.New("has a column chunk with a size below 0")
	}
	c.Pages.Offset = data
	if dictionary > 0 && dictionary < data {
		c.Pages.Offset = dictionary
	}
	if c.Values < rows {
		return c, errors.New("has a column chunk with fewer values than rows")
	}
	if c.Values == 0 {
		return c, nil // nobody reads it: writers leave any offset there
	}
	return c, m.inside(c.Pages)
}
