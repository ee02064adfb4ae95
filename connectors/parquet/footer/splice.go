package footer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Part is a piece of the new file: bytes, or a range of the old file.
type Part struct {
	Bytes []byte
	Copy  Span // if Bytes is nil
}

// Tail is what follows the old file and the pages of the added column.
type Tail struct {
	Parts []Part // page indexes, then the footer with its length and magic
	Size  int64  // of all parts together
}

// AddColumn makes the tail of a new file: the old file as it is, byte for
// byte, then the pages given (one list per row group, laid end to end), then
// the tail. If the last column is called name already, and is of type typ, its
// chunks are replaced; otherwise the column is appended. edits replaces values
// of the application metadata.
//
// The page indexes of all columns are copied behind the pages: all column
// indexes, then all offset indexes, row group by row group, because
// parquet-go reads each kind as one range.
func (m *Meta) AddColumn(name string, typ FlagType, groups [][]Page, edits map[string]string) (*Tail, error) {
	if len(groups) != len(m.Groups) {
		return nil, fmt.Errorf("pages for %d row groups, the file has %d", len(groups), len(m.Groups))
	}
	chunks := make([]Chunk, len(groups))
	columnIndexes := make([][]byte, len(groups))
	offsetIndexes := make([][]byte, len(groups))
	offset := m.Size
	for i, pages := range groups {
		var err error
		if m.columnIndex {
			if columnIndexes[i], err = newColumnIndex(pages); err != nil {
				return nil, err
			}
		}
		if m.offsetIndex {
			if offsetIndexes[i], err = newOffsetIndex(pages, offset); err != nil {
				return nil, err
			}
		}
		if chunks[i], err = newChunk(name, pages, offset, columnIndexes[i], offsetIndexes[i]); err != nil {
			return nil, err
		}
		offset += chunks[i].Pages.Length
	}
	s := m.newSplicer(name, typ, chunks, edits)
	raw, err := s.footer(offset)
	if err != nil {
		return nil, err
	}
	t := &Tail{}
	t.addIndexes(s.oldColumnIndexes, columnIndexes)
	t.addIndexes(s.oldOffsetIndexes, offsetIndexes)
	raw = binary.LittleEndian.AppendUint32(raw, uint32(len(raw)))
	t.add(Part{Bytes: append(raw, magic...)})
	if len(raw) > maxFooter {
		return nil, refuse("the footer would grow beyond %d bytes", maxFooter)
	}
	return t, nil
}

func (t *Tail) addIndexes(old [][]Span, added [][]byte) {
	for g, spans := range old {
		for _, s := range spans {
			t.add(Part{Copy: s})
		}
		if len(added[g]) > 0 {
			t.add(Part{Bytes: added[g]})
		}
	}
}

// add appends a part, joined to the last one if it continues the same range.
func (t *Tail) add(p Part) {
	if p.Bytes != nil {
		t.Size += int64(len(p.Bytes))
		t.Parts = append(t.Parts, p)
		return
	}
	t.Size += p.Copy.Length
	if n := len(t.Parts); n > 0 && t.Parts[n-1].Bytes == nil {
		if last := &t.Parts[n-1].Copy; last.Offset+last.Length == p.Copy.Offset {
			last.Length += p.Copy.Length
			return
		}
	}
	t.Parts = append(t.Parts, p)
}

// Base finds out how long the file was before its last column was added by
// this package, if it was, going by where that column's pages begin. The
// result may be any number; only IsTailOf confirms it.
func (m *Meta) Base() int64 {
	if len(m.Groups) == 0 {
		return m.Start
	}
	chunks, err := m.Chunks(len(m.Columns) - 1)
	if err != nil || len(chunks) == 0 {
		return 0
	}
	return chunks[0].Pages.Offset
}

// IsTailOf tells whether m is exactly what AddColumn made of base: the splice
// is done again with the chunks that m holds and must give m to the byte. Only
// then may everything behind base be cut off.
func (m *Meta) IsTailOf(base *Meta, name string, typ FlagType, edits map[string]string) bool {
	if len(m.Columns) == 0 || len(m.Groups) != len(base.Groups) {
		return false
	}
	chunks, err := m.Chunks(len(m.Columns) - 1)
	if err != nil {
		return false
	}
	indexes := base.Size
	for i, c := range chunks {
		if c.Pages.Offset != indexes || c.Values != base.Groups[i] {
			return false
		}
		indexes += c.Pages.Length
	}
	raw, err := base.newSplicer(name, typ, chunks, edits).footer(indexes)
	return err == nil && bytes.Equal(raw, m.raw)
}

// splicer puts the chunks of one column into a footer.
type splicer struct {
	m       *Meta
	name    string
	typ     FlagType
	replace bool
	chunks  []Chunk
	edits   map[string]string

	oldColumnIndexes, oldOffsetIndexes [][]Span // per row group, in column order
}

func (m *Meta) newSplicer(name string, typ FlagType, chunks []Chunk, edits map[string]string) *splicer {
	s := &splicer{m: m, name: name, typ: typ, chunks: chunks, edits: edits}
	if n := len(m.Columns); n > 0 {
		last := m.Columns[n-1]
		s.replace = last.Flags() == typ && last.Name == name
	}
	return s
}

// footer encodes the new footer; indexes is where the page indexes begin.
func (s *splicer) footer(indexes int64) ([]byte, error) {
	m := s.m
	top := append([]field(nil), m.top...)
	var err error
	if !s.replace {
		if top, err = s.addSchema(top); err != nil {
			return nil, err
		}
		top = addOrder(top)
	}
	if top, err = s.editKeyValues(top); err != nil {
		return nil, err
	}
	old, err := structs(top, fileGroups)
	if err != nil {
		return nil, err
	}
	at, err := s.collectIndexes(old, indexes)
	if err != nil {
		return nil, err
	}
	if _, ok := find(top, fileGroups); ok {
		groups := appendListHeader(make([]byte, 0, len(m.raw)+len(m.raw)/16), typeStruct, old.count)
		err = old.each(func(g int, raw []byte) (err error) {
			groups, err = s.addGroup(groups, g, raw, at)
			return err
		})
		if err != nil {
			return nil, err
		}
		top = set(top, field{id: fileGroups, typ: typeList, value: groups})
	}
	return appendStruct(nil, top), nil
}

func (s *splicer) addSchema(top []field) ([]field, error) {
	old, err := structs(top, fileSchema)
	if err != nil {
		return nil, err
	}
	schema := appendListHeader(nil, typeStruct, old.count+1)
	err = old.each(func(i int, raw []byte) error {
		if i > 0 {
			schema = append(schema, raw...)
			return nil
		}
		root, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		children, err := integer(root, schemaChildren, 0)
		if err != nil {
			return err
		}
		schema = appendStruct(schema, setInteger(root, schemaChildren, typeI32, children+1))
		return nil
	})
	if err != nil {
		return nil, err
	}
	element, err := newSchemaElement(s.name, s.typ)
	if err != nil {
		return nil, err
	}
	return set(top, field{id: fileSchema, typ: typeList, value: append(schema, element...)}), nil
}

// addOrder gives the new column the order of its type, if the file orders its
// columns at all.
func addOrder(top []field) []field {
	f, ok := find(top, fileColumnOrders)
	if !ok {
		return top
	}
	old, err := readList(f.value)
	if err != nil { // parseOrders has read it before
		return top
	}
	orders := appendListHeader(nil, typeStruct, old.count+1)
	orders = append(orders, f.value[old.head:]...)
	typeDefined := field{id: 1, typ: typeStruct, value: []byte{0}}
	return set(top, field{id: fileColumnOrders, typ: typeList, value: appendStruct(orders, []field{typeDefined})})
}

func (s *splicer) editKeyValues(top []field) ([]field, error) {
	if len(s.edits) == 0 {
		return top, nil
	}
	done := make(map[string]bool, len(s.edits))
	list := appendListHeader(nil, typeStruct, s.m.keyValueList.count)
	err := s.m.eachKeyValue(func(key string, old, raw []byte) error {
		value, edit := s.edits[key]
		if !edit || done[key] || old == nil {
			list = append(list, raw...)
			return nil
		}
		done[key] = true
		fields, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		encoded := append(binary.AppendUvarint(nil, uint64(len(value))), value...)
		list = appendStruct(list, set(fields, field{id: 2, typ: typeBinary, value: encoded}))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return set(top, field{id: fileKeyValues, typ: typeList, value: list}), nil
}

// cursors say where the next column index and the next offset index go.
type cursors struct{ column, offset int64 }

// collectIndexes lists the page indexes that have to move and returns where
// the two kinds begin.
func (s *splicer) collectIndexes(groups list, start int64) (*cursors, error) {
	s.oldColumnIndexes = make([][]Span, groups.count)
	s.oldOffsetIndexes = make([][]Span, groups.count)
	at := &cursors{column: start, offset: start}
	for _, c := range s.chunks {
		at.offset += c.columnIndex.Length
	}
	err := groups.each(func(g int, raw []byte) error {
		columns, err := groupChunks(raw)
		if err != nil {
			return err
		}
		return columns.each(func(i int, raw []byte) error {
			if s.replaced(i) {
				return nil
			}
			fields, _, err := parseStruct(raw)
			if err != nil {
				return err
			}
			var c Chunk
			if err := s.m.readIndexes(&c, fields); err != nil {
				return err
			}
			if c.columnIndex.Length > 0 {
				s.oldColumnIndexes[g] = append(s.oldColumnIndexes[g], c.columnIndex)
				at.offset += c.columnIndex.Length
			}
			if c.offsetIndex.Length > 0 {
				s.oldOffsetIndexes[g] = append(s.oldOffsetIndexes[g], c.offsetIndex)
			}
			return nil
		})
	})
	return at, err
}

func groupChunks(raw []byte) (list, error) {
	fields, _, err := parseStruct(raw)
	if err != nil {
		return list{}, err
	}
	return structs(fields, groupColumns)
}

func (s *splicer) replaced(column int) bool {
	return s.replace && column == len(s.m.Columns)-1
}

// addGroup appends row group g with its new chunk and moved indexes.
func (s *splicer) addGroup(dst []byte, g int, raw []byte, at *cursors) ([]byte, error) {
	fields, _, err := parseStruct(raw)
	if err != nil {
		return nil, err
	}
	old, err := structs(fields, groupColumns)
	if err != nil {
		return nil, err
	}
	count := old.count + 1
	if s.replace {
		count--
	}
	added := s.chunks[g]
	uncompressed, compressed := added.Uncompressed, added.Pages.Length
	columns := appendListHeader(make([]byte, 0, len(raw)+len(added.raw)+64), typeStruct, count)
	err = old.each(func(i int, raw []byte) (err error) {
		if s.replaced(i) {
			before, err := s.m.readChunk(raw, s.m.Columns[i])
			uncompressed -= before.Uncompressed
			compressed -= before.Pages.Length
			return err
		}
		columns, err = s.moveIndexes(columns, raw, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	if columns, err = s.moveIndexes(columns, added.raw, at); err != nil {
		return nil, err
	}
	fields = set(fields, field{id: groupColumns, typ: typeList, value: columns})
	for _, total := range []struct {
		id    int16
		grows int64
	}{{groupBytes, uncompressed}, {groupCompressed, compressed}} {
		size, err := integer(fields, total.id, -1)
		if err != nil {
			return nil, err
		}
		if size >= 0 {
			fields = setInteger(fields, total.id, typeI64, size+total.grows)
		}
	}
	if s.replace {
		// The old values may have been sorted; the new ones need not be.
		fields, err = s.dropSorting(fields)
		if err != nil {
			return nil, err
		}
	}
	return appendStruct(dst, fields), nil
}

// moveIndexes appends a chunk whose page indexes go where at says.
func (s *splicer) moveIndexes(dst, raw []byte, at *cursors) ([]byte, error) {
	fields, _, err := parseStruct(raw)
	if err != nil {
		return nil, err
	}
	columnIndex, err1 := integer(fields, chunkColumnIndexLength, 0)
	offsetIndex, err2 := integer(fields, chunkOffsetIndexLength, 0)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if columnIndex <= 0 && offsetIndex <= 0 {
		return append(dst, raw...), nil
	}
	if columnIndex > 0 {
		fields = setInteger(fields, chunkColumnIndex, typeI64, at.column)
		at.column += columnIndex
	}
	if offsetIndex > 0 {
		fields = setInteger(fields, chunkOffsetIndex, typeI64, at.offset)
		at.offset += offsetIndex
	}
	return appendStruct(dst, fields), nil
}

// dropSorting removes the claim that the rows are sorted by the replaced
// column.
func (s *splicer) dropSorting(fields []field) ([]field, error) {
	sorting, err := structs(fields, groupSorting)
	if err != nil {
		return nil, err
	}
	mentioned := false
	err = sorting.each(func(_ int, raw []byte) error {
		by, _, err := parseStruct(raw)
		if err != nil {
			return err
		}
		column, err := integer(by, 1, -1)
		mentioned = mentioned || column == int64(len(s.m.Columns)-1)
		return err
	})
	if err != nil || !mentioned {
		return fields, err
	}
	return remove(fields, groupSorting), nil
}
