package footer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// More field numbers of RowGroup, ColumnChunk and ColumnMetaData.
const (
	groupOffset    = 5
	groupOrdinal   = 7
	groupLast      = groupOrdinal
	chunkOffset    = 2
	chunkLast      = chunkEncryptedMeta
	metaKeyValues  = 8
	metaIndexPage  = 10
	metaBloom      = 14
	metaBloomBytes = 15
	metaLast       = 17 // geospatial_statistics
)

// Regrouped is a row group of a file that is put together anew.
type Regrouped struct {
	From   *Meta   // the footer that describes it
	Index  int     // its number there
	Old    int     // number of the row group of the original that it stands for
	Starts []int64 // where the pages of each column are in the new file
}

// Regroup makes the footer, with its length and magic, of a file that has
// other row groups. All else stays to the byte: schema, application metadata,
// and what this program does not know. Page indexes and Bloom filters of all
// row groups are left out: readers do without them, and some fail if only some
// row groups have them.
func (m *Meta) Regroup(groups []Regrouped) ([]byte, error) {
	rows := int64(0)
	list := appendListHeader(nil, typeStruct, len(groups))
	for i, g := range groups {
		if g.Index >= len(g.From.Groups) || len(g.Starts) != len(m.Columns) || len(g.From.Columns) != len(m.Columns) {
			return nil, errors.New("row groups that do not fit the schema")
		}
		rows += g.From.Groups[g.Index]
		fields, err := g.From.rowGroup(g.Index)
		if err != nil {
			return nil, err
		}
		if fields, err = m.move(fields, g, i); err != nil {
			return nil, err
		}
		list = appendStruct(list, fields)
	}
	top := append([]field(nil), m.top...)
	top = setInteger(top, fileRows, typeI64, rows)
	top = set(top, field{id: fileGroups, typ: typeList, value: list})
	raw := appendStruct(nil, top)
	if len(raw) > maxFooter {
		return nil, refuse("the footer would grow beyond %d bytes", maxFooter)
	}
	raw = binary.LittleEndian.AppendUint32(raw, uint32(len(raw)))
	return append(raw, magic...), nil
}

// Extents tells where the pages of each column of a row group are.
func (m *Meta) Extents(rowGroup int) ([]Span, error) {
	fields, err := m.rowGroup(rowGroup)
	if err != nil {
		return nil, err
	}
	columns, err := structs(fields, groupColumns)
	if err != nil {
		return nil, err
	}
	spans := make([]Span, 0, len(m.Columns))
	err = columns.each(func(_ int, raw []byte) error {
		s, err := m.extent(raw)
		spans = append(spans, s)
		return err
	})
	if err != nil {
		return nil, corrupt("%w", err)
	}
	return spans, nil
}

// rowGroup parses one row group.
func (m *Meta) rowGroup(index int) (fields []field, err error) {
	groups, err := structs(m.top, fileGroups)
	if err != nil {
		return nil, err
	}
	err = groups.each(func(i int, raw []byte) (err error) {
		if i == index {
			fields, _, err = parseStruct(raw)
		}
		return err
	})
	if err == nil && fields == nil {
		err = fmt.Errorf("has no row group %d", index)
	}
	return fields, err
}

func (m *Meta) extent(raw []byte) (s Span, err error) {
	chunk, _, err := parseStruct(raw)
	if err != nil {
		return s, err
	}
	meta, err := group(chunk, chunkMeta)
	if err != nil {
		return s, err
	}
	dictionary, err1 := integer(meta, metaDictionary, 0)
	data, err2 := integer(meta, metaDataPage, 0)
	length, err3 := integer(meta, metaCompressed, 0)
	values, err4 := integer(meta, metaValues, 0)
	if err := errors.Join(err1, err2, err3, err4); err != nil || values == 0 {
		return s, err // without values nobody reads it: writers leave any offset there
	}
	s = Span{Offset: data, Length: length}
	if dictionary > 0 && dictionary < data {
		s.Offset = dictionary
	}
	return s, m.inside(s)
}

// move gives a row group its new place. It refuses fields that are newer than
// this program: they could hold places, too.
func (m *Meta) move(fields []field, g Regrouped, number int) ([]field, error) {
	if newest(fields) > groupLast {
		return nil, errNewer()
	}
	columns, err := structs(fields, groupColumns)
	if err != nil {
		return nil, err
	}
	old, err := m.rowGroup(g.Old)
	if err != nil {
		return nil, err
	}
	notes, err := columnNotes(old)
	if err != nil {
		return nil, err
	}
	moved := appendListHeader(nil, typeStruct, columns.count)
	err = columns.each(func(i int, raw []byte) error {
		chunk, err := g.From.moveChunk(raw, g.Starts[i], notes[i])
		moved = appendStruct(moved, chunk)
		return err
	})
	if err != nil {
		return nil, err
	}
	fields = set(fields, field{id: groupColumns, typ: typeList, value: moved})
	for _, id := range []int16{groupSorting, groupOffset, groupOrdinal} {
		f, ok := find(old, id)
		switch {
		case !ok:
			fields = remove(fields, id)
		case id == groupSorting:
			fields = set(fields, f)
		case id == groupOrdinal:
			fields = set(fields, field{id: id, typ: f.typ, value: appendZigzag(nil, int64(number))})
		case len(g.Starts) > 0:
			fields = set(fields, field{id: id, typ: f.typ, value: appendZigzag(nil, g.Starts[0])})
		}
	}
	return fields, nil
}

// columnNotes gives the application metadata of each column of a row group; one
// without has an empty field.
func columnNotes(rowGroup []field) (notes []field, err error) {
	columns, err := structs(rowGroup, groupColumns)
	if err != nil {
		return nil, err
	}
	err = columns.each(func(_ int, raw []byte) error {
		chunk, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		meta, err := group(chunk, chunkMeta)
		note, _ := find(meta, metaKeyValues)
		notes = append(notes, note)
		return err
	})
	return notes, err
}

// moveChunk gives a column chunk its new place, and note as its application
// metadata.
func (m *Meta) moveChunk(raw []byte, start int64, note field) ([]field, error) {
	s, err := m.extent(raw)
	if err != nil {
		return nil, err
	}
	chunk, _, err := parseStruct(raw)
	if err != nil {
		return nil, err
	}
	meta, err := group(chunk, chunkMeta)
	if err != nil {
		return nil, err
	}
	if newest(chunk) > chunkLast || newest(meta) > metaLast {
		return nil, errNewer()
	}
	for _, id := range []int16{metaDataPage, metaIndexPage, metaDictionary} {
		at, err := integer(meta, id, 0)
		if err != nil {
			return nil, err
		}
		if at > 0 {
			meta = setInteger(meta, id, typeI64, at+start-s.Offset)
		}
	}
	meta = remove(remove(meta, metaBloom), metaBloomBytes)
	if note.id == metaKeyValues {
		meta = set(meta, note)
	} else {
		meta = remove(meta, metaKeyValues)
	}
	chunk = set(chunk, field{id: chunkMeta, typ: typeStruct, value: appendStruct(nil, meta)})
	// Deprecated; 0 if no copy of the metadata is outside the footer.
	chunk = setInteger(chunk, chunkOffset, typeI64, 0)
	for _, id := range []int16{chunkOffsetIndex, chunkOffsetIndexLength, chunkColumnIndex, chunkColumnIndexLength} {
		chunk = remove(chunk, id)
	}
	return chunk, nil
}

func newest(fields []field) (id int16) {
	for _, f := range fields {
		id = max(id, f.id)
	}
	return id
}

func errNewer() error {
	return refuse("has row groups in a format that is newer than this program").WithHint("use a newer version of optsweep, or write the file anew with an older writer")
}
