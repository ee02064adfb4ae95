package footer

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// chunksOf parses all column chunks of a footer, with their metadata.
func chunksOf(t *testing.T, m *Meta) (chunks, metas [][]field) {
	t.Helper()
	for g := range m.Groups {
		fields, err := m.rowGroup(g)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := structs(fields, groupColumns)
		if err != nil {
			t.Fatal(err)
		}
		if err := columns.each(func(_ int, raw []byte) error {
			chunk, _, err := parseStruct(raw)
			if err != nil {
				return err
			}
			meta, err := group(chunk, chunkMeta)
			chunks, metas = append(chunks, chunk), append(metas, meta)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return chunks, metas
}

func has(list [][]field, ids ...int16) (n int) {
	for _, fields := range list {
		for _, id := range ids {
			if _, ok := find(fields, id); ok {
				n++
			}
		}
	}
	return n
}

// All that names a place moves by as much as the pages, or goes; all else stays,
// to the byte.
func TestRegroupMovesPlacesAndKeepsTheRest(t *testing.T) {
	paths, err := filepath.Glob("../../../testdata/parquet/fixtures/*.parquet")
	if err != nil || len(paths) == 0 {
		t.Fatal(err)
	}
	indexes, blooms := 0, 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		const gap = 1000
		var groups []Regrouped
		for g := range m.Groups {
			spans, err := m.Extents(g)
			if err != nil {
				t.Fatal(err)
			}
			next := Regrouped{From: m, Index: g, Old: g}
			for _, s := range spans {
				if s.Length > 0 {
					s.Offset += gap
				}
				next.Starts = append(next.Starts, s.Offset)
			}
			groups = append(groups, next)
		}
		raw, err := m.Regroup(groups)
		if err != nil {
			t.Fatal(err)
		}
		length := int(binary.LittleEndian.Uint32(raw[len(raw)-8:]))
		if length != len(raw)-8 || !bytes.HasSuffix(raw, []byte(magic)) {
			t.Fatalf("%s: length %d of %d", path, length, len(raw))
		}
		after, err := parse(raw[:length], int64(len(data)+gap+len(raw)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, id := range []int16{fileSchema, fileKeyValues, fileColumnOrders, 6} {
			was, _ := find(m.top, id)
			is, _ := find(after.top, id)
			if !bytes.Equal(was.value, is.value) {
				t.Errorf("%s: field %d of the footer has changed", path, id)
			}
		}
		oldChunks, oldMetas := chunksOf(t, m)
		chunks, metas := chunksOf(t, after)
		indexes += has(oldChunks, chunkOffsetIndex)
		blooms += has(oldMetas, metaBloom)
		if has(chunks, chunkOffsetIndex, chunkOffsetIndexLength, chunkColumnIndex, chunkColumnIndexLength)+has(metas, metaBloom, metaBloomBytes) > 0 {
			t.Errorf("%s: a page index or a Bloom filter is still named", path)
		}
		for i, meta := range metas {
			for _, f := range oldMetas[i] {
				now, _ := find(meta, f.id)
				switch f.id {
				case metaBloom, metaBloomBytes:
				case metaDataPage, metaIndexPage, metaDictionary:
					was, err1 := integer(oldMetas[i], f.id, 0)
					is, err2 := integer(meta, f.id, 0)
					if err1 != nil || err2 != nil || was > 0 && is != was+gap && has([][]field{meta}, metaValues) > 0 && !empty(meta) {
						t.Errorf("%s: field %d of chunk %d was %d and is %d", path, f.id, i, was, is)
					}
				default:
					if !bytes.Equal(now.value, f.value) {
						t.Errorf("%s: field %d of chunk %d has changed", path, f.id, i)
					}
				}
			}
		}
	}
	if indexes == 0 || blooms == 0 {
		t.Errorf("%d page indexes and %d Bloom filters in all fixtures", indexes, blooms)
	}
}

func empty(meta []field) bool {
	n, err := integer(meta, metaValues, 0)
	return err == nil && n == 0
}

// What is newer than this program could name a place: it is refused.
func TestRegroupRefusesNewerFields(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/parquet/fixtures/pyarrow-gzip.parquet")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	spans, err := m.Extents(0)
	if err != nil {
		t.Fatal(err)
	}
	newer := field{id: 99, typ: typeI64, value: []byte{2}}
	starts := make([]int64, len(spans))
	for name, change := range map[string]func(rowGroup, chunk, meta []field) (g, c, m []field){
		"row group": func(g, c, m []field) ([]field, []field, []field) { return append(g, newer), c, m },
		"chunk":     func(g, c, m []field) ([]field, []field, []field) { return g, append(c, newer), m },
		"metadata":  func(g, c, m []field) ([]field, []field, []field) { return g, c, append(m, newer) },
		"nothing":   func(g, c, m []field) ([]field, []field, []field) { return g, c, m },
	} {
		rowGroup, err := m.rowGroup(0)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := structs(rowGroup, groupColumns)
		if err != nil {
			t.Fatal(err)
		}
		list := appendListHeader(nil, typeStruct, columns.count)
		if err := columns.each(func(_ int, raw []byte) error {
			chunk, _, err := parseStruct(raw)
			if err != nil {
				return err
			}
			meta, err := group(chunk, chunkMeta)
			rowGroup, chunk, meta = change(rowGroup, chunk, meta)
			list = appendStruct(list, set(chunk, field{id: chunkMeta, typ: typeStruct, value: appendStruct(nil, meta)}))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if name == "row group" {
			rowGroup = rowGroup[:len(rowGroup)-columns.count+1] // once
		}
		rowGroup = set(rowGroup, field{id: groupColumns, typ: typeList, value: list})
		top := set(append([]field(nil), m.top...), field{id: fileGroups, typ: typeList, value: appendStruct(appendListHeader(nil, typeStruct, 1), rowGroup)})
		changed := &Meta{Size: m.Size, Start: m.Start, Rows: m.Groups[0], Groups: m.Groups[:1], Columns: m.Columns, Top: m.Top, top: top}
		_, err = changed.Regroup([]Regrouped{{From: changed, Starts: starts}})
		if (err == nil) != (name == "nothing") || err != nil && !strings.Contains(err.Error(), "newer than this program") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
