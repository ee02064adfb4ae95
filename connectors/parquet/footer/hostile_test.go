package footer_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"optsweep/connectors/parquet/footer"
)

// sortedFooters are the footers of the fixtures, always in the same order.
func sortedFooters(t *testing.T) (all [][]byte) {
	t.Helper()
	files := fixtures(t)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		data := files[name]
		all = append(all, data[meta(t, data).Start:len(data)-8])
	}
	return all
}

// TestMutatedFooters damages the footers of the fixtures by the thousand. What is
// accepted nevertheless can be spliced, and the result is accepted and recognised.
func TestMutatedFooters(t *testing.T) {
	seeds := sortedFooters(t)
	varints := [][]byte{
		{0xFE, 0xFF, 0xFF, 0xFF, 0x0F}, {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, {0x80, 0x80, 0x80, 0x00}, // the last one is 0, overlong
		bytes.Repeat([]byte{0x80}, 12), {0xFC, 0xFF, 0xFF, 0x7F}, {0x00}, {0x1C, 0x1C, 0x1C}, {0x19, 0x1C},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 6000 {
		raw := slices.Clone(seeds[r.IntN(len(seeds))])
		for range 1 + r.IntN(3) {
			at := r.IntN(len(raw))
			switch v := varints[r.IntN(len(varints))]; r.IntN(5) {
			case 0:
				raw[at] ^= 1 << r.IntN(8)
			case 1: // over what is there
				copy(raw[at:], v)
			case 2: // between
				raw = slices.Insert(raw, at, v...)
			case 3:
				raw = slices.Delete(raw, at, min(at+1+r.IntN(20), len(raw)))
			case 4:
				from := r.IntN(len(raw))
				raw = slices.Insert(raw, at, slices.Clone(raw[from:min(from+r.IntN(80), len(raw))])...)
			}
			if len(raw) == 0 {
				break
			}
		}
		tryFooter(t, raw)
	}
}

// list is a list of structs as it stands in field id of a struct.
func list(id byte, count int, elements []byte) []byte {
	return append(binary.AppendUvarint([]byte{id<<4 | 9, 0xFC}, uint64(count)), elements...)
}

// TestMemoryOfFooters: to read and splice a footer takes a small multiple of its
// size, whatever it claims and however small its pieces are.
func TestMemoryOfFooters(t *testing.T) {
	const n = 1 << 20
	root := []byte{0x48, 1, 'r'}
	leaf := []byte{0x15, 4, 0x25, 2, 0x18, 1, 'c', 0} // INT64, optional, "c"
	columns := n / len(leaf)
	wide := append(append(append(slices.Clone(root), 0x15), binary.AppendUvarint(nil, uint64(columns)<<1)...), 0)
	for name, raw := range map[string][]byte{
		"empty schema elements": append(list(2, n, make([]byte, n)), 0),
		"empty row groups":      append(list(4, n, make([]byte, n)), 0),
		"empty key values":      append(list(5, n, make([]byte, n)), 0),
		"many columns":          append(append(list(2, columns+1, append(wide, bytes.Repeat(leaf, columns)...)), 0x16, 0), 0),
		"huge count":            append(list(2, 1<<62, make([]byte, n)), 0),
		"a list of lists":       append(append([]byte{0x29, 0xF9}, binary.AppendUvarint(nil, n/2)...), bytes.Repeat([]byte{0x19, 0}, n)...),
		"structs without end":   bytes.Repeat([]byte{0x1C}, n),
		"maps without end":      bytes.Repeat([]byte{0x1B, 0xFF, 0x7F, 0xBB}, n/4),
		"a struct of fields":    append(bytes.Repeat([]byte{0x11}, n), 0),
		"a long number":         append(append([]byte{0x36}, bytes.Repeat([]byte{0x80}, n)...), 1, 0),
		"a string beyond":       append(append([]byte{0x68}, binary.AppendUvarint(nil, 1<<40)...), make([]byte, n)...),
	} {
		data := wrap(raw)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			m.KeyValues()
			if _, err = m.AddColumn("flag", footer.Timestamp, pages(m), nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		runtime.ReadMemStats(&after)
		total := after.TotalAlloc - before.TotalAlloc
		runtime.GC()
		runtime.ReadMemStats(&after)
		live := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		runtime.KeepAlive(m)
		// The bytes themselves, 40 for each field while its struct is looked at,
		// and for each column its name and type.
		t.Logf("%s: %d MB in all, %d MB stay, %v", name, total>>20, live>>20, err)
		if total > uint64(1000*len(raw)) || live > int64(40*len(raw)) {
			t.Errorf("%s: allocates %d MB, of which %d MB stay, for %d bytes", name, total>>20, live>>20, len(raw))
		}
	}
}
