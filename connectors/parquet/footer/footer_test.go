package footer_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"optsweep/connectors/parquet/footer"
)

const fixtureDir = "../../../testdata/parquet/fixtures"

func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(fixtureDir, "*.parquet"))
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if all[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func meta(t testing.TB, data []byte) *footer.Meta {
	t.Helper()
	m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pages invents pages for every row group: only their sizes matter here.
func pages(m *footer.Meta) [][]footer.Page {
	groups := make([][]footer.Page, len(m.Groups))
	for i, rows := range m.Groups {
		if rows > 0 {
			groups[i] = []footer.Page{{Size: 100, Rows: rows, Nulls: rows - 1, Min: int64(i), Max: int64(i) + 1}}
		}
	}
	return groups
}

// build puts a new file together.
func build(data []byte, groups [][]footer.Page, tail *footer.Tail) []byte {
	out := slices.Clone(data)
	for _, g := range groups {
		for _, p := range g {
			out = append(out, make([]byte, p.Size)...)
		}
	}
	for _, p := range tail.Parts {
		if p.Bytes != nil {
			out = append(out, p.Bytes...)
		} else {
			out = append(out, data[p.Copy.Offset:p.Copy.Offset+p.Copy.Length]...)
		}
	}
	return out
}

func TestAddColumn(t *testing.T) {
	for name, data := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			m := meta(t, data)
			groups := pages(m)
			tail, err := m.AddColumn("flag", footer.Timestamp, groups, nil)
			if err != nil {
				t.Fatal(err)
			}
			out := build(data, groups, tail)
			added := 0
			for _, g := range groups {
				for _, p := range g {
					added += int(p.Size)
				}
			}
			if len(out) != len(data)+added+int(tail.Size) {
				t.Fatalf("%d bytes, want %d", len(out), len(data)+added+int(tail.Size))
			}
			n := meta(t, out)
			last := n.Columns[len(n.Columns)-1]
			if n.Rows != m.Rows || !slices.Equal(n.Groups, m.Groups) || len(n.Columns) != len(m.Columns)+1 || last.Name != "flag" || last.Flags() != footer.Timestamp {
				t.Fatalf("rows %d, groups %v, last column %+v", n.Rows, n.Groups, last)
			}
			if n.Base() != int64(len(data)) || !n.IsTailOf(m, "flag", footer.Timestamp, nil) {
				t.Fatalf("not recognised: base %d of %d", n.Base(), len(data))
			}
			if n.IsTailOf(m, "other", footer.Timestamp, nil) || len(m.Groups) > 0 && n.IsTailOf(n, "flag", footer.Timestamp, nil) {
				t.Fatal("recognised as what it is not")
			}
			for i := range m.Columns {
				before, err1 := m.Chunks(i)
				after, err2 := n.Chunks(i)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				for g := range before {
					if before[g].Pages != after[g].Pages || before[g].Codec != after[g].Codec {
						t.Fatalf("chunk %d of row group %d moved", i, g)
					}
				}
			}
			if raw, err := n.Project(len(n.Columns) - 1); err != nil || len(raw) == 0 {
				t.Fatal(err)
			}
		})
	}
}

// TestReplaceColumn splices twice: the second splice has another column to
// replace and leaves the first one's pages as dead bytes.
func TestReplaceColumn(t *testing.T) {
	data := fixtures(t)["pyarrow-snappy-index.parquet"]
	m := meta(t, data)
	groups := pages(m)
	tail, err := m.AddColumn("flag", footer.Timestamp, groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	once := build(data, groups, tail)
	n := meta(t, once)
	if tail, err = n.AddColumn("flag", footer.Timestamp, groups, nil); err != nil {
		t.Fatal(err)
	}
	twice := build(once, groups, tail)
	o := meta(t, twice)
	if len(o.Columns) != len(n.Columns) || o.Base() != int64(len(once)) || !o.IsTailOf(n, "flag", footer.Timestamp, nil) {
		t.Fatalf("%d columns, base %d of %d", len(o.Columns), o.Base(), len(once))
	}
}

func TestEditsOfKeyValues(t *testing.T) {
	data := fixtures(t)["pyarrow-spark-avro.parquet"]
	m := meta(t, data)
	if m.KeyValues()["other"] != "kept" {
		t.Fatalf("key values %v", m.KeyValues())
	}
	groups := pages(m)
	edits := map[string]string{"parquet.avro.schema": "new", "absent": "x"}
	tail, err := m.AddColumn("flag", footer.Timestamp, groups, edits)
	if err != nil {
		t.Fatal(err)
	}
	n := meta(t, build(data, groups, tail))
	want := m.KeyValues()
	want["parquet.avro.schema"] = "new"
	for k, v := range n.KeyValues() {
		if want[k] != v {
			t.Fatalf("%s is %q", k, v)
		}
	}
	if len(n.KeyValues()) != len(want) || !n.IsTailOf(m, "flag", footer.Timestamp, edits) {
		t.Fatal("key values differ")
	}
}

// wrap makes a file of a footer.
func wrap(raw []byte) []byte {
	data := append([]byte("PAR1"), make([]byte, 200)...)
	data = append(data, raw...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(raw)))
	return append(data, "PAR1"...)
}

// FuzzFooter reads hostile footers. One that is accepted can be spliced, and
// the result is accepted and recognised.
func FuzzFooter(f *testing.F) {
	for _, data := range fixtures(f) {
		m := meta(f, data)
		f.Add(data[m.Start : len(data)-8])
	}
	f.Add([]byte{0})
	f.Add([]byte{0x29, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Add(bytes.Repeat([]byte{0x1C}, 100))
	f.Add(bytes.Repeat([]byte{0x19}, 100))
	f.Fuzz(tryFooter)
}

func tryFooter(t *testing.T, raw []byte) {
	data := wrap(raw)
	m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	m.KeyValues()
	for i := range min(len(m.Columns), 8) {
		_, _ = m.Chunks(i)
	}
	groups := pages(m)
	tail, err := m.AddColumn("flag", footer.Timestamp, groups, map[string]string{"ARROW:schema": "x"})
	if err != nil {
		return
	}
	out := build(data, groups, tail)
	n, err := footer.Read(bytes.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatalf("what was spliced is refused: %v", err)
	}
	if n.Rows != m.Rows || len(n.Columns) < len(m.Columns) {
		t.Fatal("rows or columns are lost")
	}
	if n.Base() != int64(len(data)) || !n.IsTailOf(m, "flag", footer.Timestamp, map[string]string{"ARROW:schema": "x"}) {
		t.Fatal("what was spliced is not recognised")
	}
}

func FuzzPageHeader(f *testing.F) {
	f.Add([]byte{0x15, 0, 0x15, 10, 0x15, 10, 0x2C, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0})
	f.Add([]byte{0x15, 6, 0x15, 10, 0x15, 10, 0x5C, 0x15, 2, 0x15, 0, 0x15, 2, 0x15, 0, 0x15, 2, 0x15, 0, 0x11, 0, 0})
	f.Add([]byte("\x150$11\x00")) // of an unknown kind, with a size below 0
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := footer.ReadPageHeader(b)
		if err != nil {
			return
		}
		if n > len(b) || h.Size < 0 || h.Uncompressed < 0 || h.Values < 0 {
			t.Fatalf("%+v in %d of %d bytes", h, n, len(b))
		}
	})
}

// TestRefusals: what could not be kept is refused when the footer is read.
func TestRefusals(t *testing.T) {
	good := fixtures(t)["pyarrow-gzip.parquet"]
	raw := good[meta(t, good).Start : len(good)-8]
	field := func(typ, id byte, value ...byte) []byte { // in place of the final stop
		out := append(slices.Clone(raw[:len(raw)-1]), typ)
		return append(append(binary.AppendUvarint(out, uint64(id)<<1), value...), 0)
	}
	edit := func(change func([]byte)) []byte {
		data := slices.Clone(good)
		change(data)
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"encrypted footer":     {edit(func(b []byte) { copy(b[len(b)-4:], "PARE") }), "is encrypted"},
		"encrypted columns":    {rewrap(good, field(12, 8, 0)), "encrypted columns"},
		"signing key":          {rewrap(good, field(8, 9, 1, 'k')), "signed footer"},
		"signature":            {rewrap(good, append(slices.Clone(raw), make([]byte, 28)...)), "signed footer"},
		"second footer":        {rewrap(good, append(append(slices.Clone(raw[:len(raw)-1]), 8, 0xFE, 0xFF, 0x03, 1, 'x'), 0)), "second footer"},
		"field given twice":    {rewrap(good, append(append(slices.Clone(raw[:len(raw)-1]), 6, 6, 0), 0)), "twice"},
		"cut off":              {good[:len(good)-3], "no Parquet footer"},
		"no Parquet":           {[]byte("hello, this is not Parquet"), "not a Parquet file"},
		"empty":                {nil, "not a Parquet file"},
		"longer than the file": {edit(func(b []byte) { b[len(b)-5] = 0x7F }), "claims a length"},
		"number of 70 bits":    {rewrap(good, append(slices.Clone(raw[:len(raw)-1]), 6, 200, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0)), "more than 64 bits"},
		"unknown type":         {rewrap(good, append(slices.Clone(raw[:len(raw)-1]), 14, 200, 1, 0)), "unknown type"},
		"endless nesting":      {rewrap(good, bytes.Repeat([]byte{0x1C}, 5000)), "too deep"},
		"impossible list":      {rewrap(good, []byte{0x29, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0}), "ends too early"},
	} {
		m, err := footer.Read(bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil || m != nil || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestUnknownFieldsStay: fields that are newer than this program, at the top and
// in every row group, are still there after a splice.
func TestUnknownFieldsStay(t *testing.T) {
	good := fixtures(t)["pyarrow-gzip.parquet"]
	raw := good[meta(t, good).Start : len(good)-8]
	unknown := []byte{8, 0xD0, 0x0F, 6, 'f', 'u', 't', 'u', 'r', 'e'} // field 1000
	data := rewrap(good, append(append(slices.Clone(raw[:len(raw)-1]), unknown...), 0))
	m := meta(t, data)
	groups := pages(m)
	tail, err := m.AddColumn("flag", footer.Timestamp, groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out := build(data, groups, tail); !bytes.HasSuffix(out[:len(out)-8], append(unknown, 0)) {
		t.Fatal("the unknown field is gone")
	}
}

// rewrap gives a file another footer.
func rewrap(data, raw []byte) []byte {
	length := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	data = append(slices.Clone(data[:len(data)-8-length]), raw...)
	return append(binary.LittleEndian.AppendUint32(data, uint32(len(raw))), "PAR1"...)
}
