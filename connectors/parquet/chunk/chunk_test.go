package chunk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"optsweep/connectors/parquet/chunk"
	"optsweep/connectors/parquet/footer"
)

var flagColumn = footer.Column{Path: []string{"flag"}, Type: footer.Int64, MaxDef: 1}

// TestFlagsRoundTrip: what AppendFlags writes, Flags reads, in any pattern of
// runs, and every page describes its values.
func TestFlagsRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var flags []chunk.Flag
		row := int64(0)
		for _, run := range rapid.SliceOf(rapid.IntRange(0, 300)).Draw(r, "runs") {
			row += int64(run) // that many NULLs, then as many values
			for range rapid.SampledFrom([]int{1, run, 100}).Draw(r, "values") {
				flags = append(flags, chunk.Flag{Row: row, SinceMS: rapid.Int64().Draw(r, "ms")})
				row++
			}
		}
		rows := row + int64(rapid.IntRange(0, 200).Draw(r, "rest"))
		prefix := []byte("head")
		data, pages, err := chunk.AppendFlags(prefix, rows, flags)
		if err != nil {
			r.Fatal(err)
		}
		size, nulls := int64(len(prefix)), int64(0)
		for _, p := range pages {
			size, nulls = size+p.Size, nulls+p.Nulls
		}
		if size != int64(len(data)) || nulls != rows-int64(len(flags)) {
			r.Fatalf("pages of %d bytes with %d NULLs, want %d, %d", size, nulls, len(data), rows-int64(len(flags)))
		}
		reader := chunk.NewReader(bytes.NewReader(data), flagColumn)
		defer reader.Close()
		c := footer.Chunk{Values: rows, Pages: footer.Span{Offset: int64(len(prefix)), Length: int64(len(data) - len(prefix))}}
		got, err := reader.Flags(context.Background(), c)
		if err != nil || !slices.Equal(got, flags) {
			r.Fatalf("%d flags, want %d, %v", len(got), len(flags), err)
		}
	})
}

// TestFlagsTakeLittle: levels cost an eighth of a byte per row at most, and next
// to nothing in long runs.
func TestFlagsTakeLittle(t *testing.T) {
	const rows = 800_000
	for name, c := range map[string]struct{ every, most int }{
		"none": {rows + 1, 60}, "all": {1, 60 + 8*rows}, "half": {2, 100 + rows/8 + 8*rows/2}, "rare": {80_000, 400},
	} {
		var flags []chunk.Flag
		for row := c.every - 1; row < rows; row += c.every {
			flags = append(flags, chunk.Flag{Row: int64(row), SinceMS: 1})
		}
		data, _, err := chunk.AppendFlags(nil, rows, flags)
		if err != nil || len(data) > c.most {
			t.Errorf("%s: %d bytes for %d flags, want at most %d; %v", name, len(data), len(flags), c.most, err)
		}
	}
}

// fuzzPages reads data as the pages of a chunk of so many cells.
func fuzzPages(t *testing.T, data []byte, codec byte, cells, rows uint16, typ, length, maxDef, maxRep byte) {
	column := footer.Column{Path: []string{"c"}, Type: []int64{footer.Int64, footer.ByteArray, footer.FixedBytes}[typ%3],
		Length: int64(length), MaxDef: int(maxDef % 9), MaxRep: int(min(maxRep, maxDef%9))}
	if column.Type == footer.Int64 {
		column.MaxRep = 0
	}
	if column.MaxRep == 0 {
		rows = cells
	}
	c := footer.Chunk{Codec: int64(codec % 9), Rows: int64(rows), Values: int64(cells), Pages: footer.Span{Length: int64(len(data))}}
	reader := chunk.NewReader(bytes.NewReader(data), column)
	defer reader.Close()
	if column.Type == footer.Int64 {
		flags, err := reader.Flags(context.Background(), c)
		if err == nil && len(flags) > int(rows) {
			t.Fatalf("%d flags in %d rows", len(flags), rows)
		}
		return
	}
	next, row := int64(0), int64(-1)
	err := reader.Elements(context.Background(), c, func(first int64, in []int64, cells [][]byte) error {
		if column.MaxRep == 0 && (first != next || in != nil) || column.MaxRep > 0 && len(in) != len(cells) {
			t.Fatalf("cell %d follows cell %d", first, next)
		}
		for _, at := range in {
			if at != row && at != row+1 || at < 0 || at >= int64(rows) {
				t.Fatalf("row %d of %d follows row %d", at, rows, row)
			}
			row = at
		}
		for _, cell := range cells {
			if cell != nil && column.Type == footer.FixedBytes && len(cell) != max(int(length), 1) {
				t.Fatalf("a value of %d bytes, not %d", len(cell), length)
			}
		}
		next += int64(len(cells))
		return nil
	})
	if err == nil && (next != int64(cells) || column.MaxRep > 0 && row != int64(rows)-1) {
		t.Fatalf("%d cells of %d, up to row %d of %d", next, cells, row, rows)
	}
}

// FuzzPages reads hostile pages: every row comes once, or there is an error.
func FuzzPages(f *testing.F) {
	paths, err := filepath.Glob("../../../testdata/parquet/fixtures/*.parquet")
	if err != nil || len(paths) == 0 {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		for i, column := range m.Columns {
			typ := slices.Index([]int64{footer.Int64, footer.ByteArray, footer.FixedBytes}, column.Type)
			if typ < 0 || typ == 0 && column.MaxRep > 0 {
				continue
			}
			chunks, err := m.Chunks(i)
			if err != nil || len(chunks) == 0 || chunks[0].Values == 0 {
				continue
			}
			c := chunks[0]
			f.Add(data[c.Pages.Offset:c.Pages.Offset+c.Pages.Length], byte(c.Codec), uint16(c.Values), uint16(c.Rows),
				byte(typ), byte(column.Length), byte(column.MaxDef), byte(column.MaxRep))
		}
	}
	f.Fuzz(fuzzPages)
}

// TestHostilePages are pages that break arrow v17 when it is given them.
func TestHostilePages(t *testing.T) {
	page := func(encoding byte, values int, body ...byte) []byte { return rawPage(encoding, values, body) }
	huge := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F}
	for name, c := range map[string]struct {
		data   []byte
		values int
		ints   bool
		want   string
	}{
		"levels run out: ReadBatch would loop for ever": {page(footer.Plain, 100, 2, 0, 0, 0, 2, 1), 100, false, "definition levels"},
		"levels above 1":                     {page(footer.Plain, 1, 2, 0, 0, 0, 2, 2), 1, false, "definition levels"},
		"index beyond the dictionary":        {page(footer.RLEDictionary, 1, 2, 0, 0, 0, 2, 1, 32, 2, 0xFF, 0xFF, 0xFF, 0x7F), 1, false, "dictionary"},
		"delta of huge blocks":               {page(footer.DeltaLength, 1, append([]byte{2, 0, 0, 0, 2, 1}, append(huge, 1, 1, 0)...)...), 1, false, "delta"},
		"delta with another count":           {page(footer.DeltaLength, 1, append([]byte{2, 0, 0, 0, 2, 1, 0x80, 1, 4}, append(huge, 0)...)...), 1, false, "delta"},
		"delta of integers that stops short": {page(footer.DeltaBinaryPacked, 40, 2, 0, 0, 0, 80, 1, 0x80, 1, 4, 40, 0, 0, 9, 9, 9, 9), 40, true, "delta"},
		"prefix of nothing":                  {page(footer.DeltaByteArray, 1, 2, 0, 0, 0, 2, 1, 0x80, 1, 4, 1, 8, 0x80, 1, 4, 1, 0), 1, false, "delta"},
		"unknown encoding":                   {page(9, 1, 2, 0, 0, 0, 2, 1), 1, false, "not supported"},
		"fewer rows than promised":           {page(footer.Plain, 1, 2, 0, 0, 0, 2, 0), 2, false, "ends before"},
		"more rows than promised":            {page(footer.Plain, 3, 2, 0, 0, 0, 6, 0), 2, false, "more values than rows"},
	} {
		t.Run(name, func(t *testing.T) {
			column := footer.Column{Path: []string{"c"}, Type: footer.ByteArray, MaxDef: 1}
			if c.ints {
				column.Type = footer.Int64
			}
			reader := chunk.NewReader(bytes.NewReader(c.data), column)
			defer reader.Close()
			in := footer.Chunk{Values: int64(c.values), Pages: footer.Span{Length: int64(len(c.data))}}
			var err error
			if c.ints {
				_, err = reader.Flags(context.Background(), in)
			} else {
				err = reader.Cells(context.Background(), in, func(int64, [][]byte) error { return nil })
			}
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}

// rawPage is a data page of version 1.
func rawPage(encoding byte, values int, body []byte) []byte {
	zigzag := func(v int) []byte { return binary.AppendUvarint(nil, uint64(v)<<1) }
	head := append([]byte{0x15, 0, 0x15}, zigzag(len(body))...)
	head = append(append(head, 0x15), zigzag(len(body))...)
	head = append(append(head, 0x2C, 0x15), zigzag(values)...)
	head = append(append(head, 0x15), zigzag(int(encoding))...)
	return append(append(head, 0x15, 6, 0x15, 6, 0, 0), body...)
}

// listPage is a page of a list of strings that are nullable, whose lists are
// nullable, too: levels one by one, and a value "x" for each level 3.
func listPage(rep, def []byte) []byte {
	var body []byte
	for _, levels := range [][]byte{rep, def} {
		var runs []byte
		for _, level := range levels {
			runs = append(runs, 2, level)
		}
		body = append(binary.LittleEndian.AppendUint32(body, uint32(len(runs))), runs...)
	}
	for range bytes.Count(def, []byte{3}) {
		body = append(body, 1, 0, 0, 0, 'x')
	}
	return rawPage(footer.Plain, len(rep), body)
}

// TestListPages: rows may go on in the next page, and levels that lead nowhere
// are refused.
func TestListPages(t *testing.T) {
	join := func(pages ...[]byte) []byte { return bytes.Join(pages, nil) }
	for name, c := range map[string]struct {
		data  []byte
		cells int
		rows  int64
		want  string // rows of the cells, or the error
	}{
		"a row over three pages":     {join(listPage([]byte{0, 0, 1}, []byte{0, 3, 2}), listPage([]byte{1}, []byte{3}), listPage([]byte{1, 0}, []byte{3, 1})), 6, 3, "011112"},
		"all kinds of nothing":       {listPage([]byte{0, 0, 0, 0}, []byte{0, 1, 2, 3}), 4, 4, "0123"},
		"begins within a row":        {listPage([]byte{1, 0}, []byte{3, 3}), 2, 1, "repetition levels"},
		"more rows than promised":    {listPage([]byte{0, 0, 0}, []byte{3, 3, 3}), 3, 2, "repetition levels"},
		"fewer rows than promised":   {listPage([]byte{0, 1, 1}, []byte{3, 3, 3}), 3, 2, "repetition levels"},
		"repetition above the most":  {listPage([]byte{0, 2}, []byte{3, 3}), 2, 1, "repetition levels"},
		"definition above the most":  {listPage([]byte{0, 1}, []byte{3, 4}), 2, 1, "definition levels"},
		"definition levels run out":  {rawPage(footer.Plain, 2, []byte{2, 0, 0, 0, 4, 0, 2, 0, 0, 0, 2, 3, 1, 0, 0, 0, 'x'}), 2, 2, "definition levels"},
		"repetition levels run out":  {rawPage(footer.Plain, 2, []byte{2, 0, 0, 0, 2, 0, 2, 0, 0, 0, 4, 0}), 2, 2, "repetition levels"},
		"levels longer than a page":  {rawPage(footer.Plain, 1, []byte{99, 0, 0, 0, 2, 0}), 1, 1, "levels"},
		"values run out":             {listPage([]byte{0, 1}, []byte{3, 3})[:24], 2, 1, "column"},
		"more cells than promised":   {listPage([]byte{0, 1, 1}, []byte{3, 3, 3}), 2, 1, "more values"},
		"packed levels above":        {rawPage(footer.Plain, 8, []byte{2, 0, 0, 0, 16, 0, 3, 0, 0, 0, 3, 0xFF, 0xFF}), 8, 8, "definition levels"},
		"fewer cells than promised":  {listPage([]byte{0}, []byte{3}), 2, 1, "ends before"},
		"no levels, though it needs": {rawPage(footer.Plain, 1, nil), 1, 1, "levels"},
	} {
		t.Run(name, func(t *testing.T) {
			column := footer.Column{Path: []string{"c"}, Type: footer.ByteArray, MaxDef: 3, MaxRep: 1}
			if name == "packed levels above" {
				column.MaxDef = 2
			}
			reader := chunk.NewReader(bytes.NewReader(c.data), column)
			defer reader.Close()
			in := footer.Chunk{Rows: c.rows, Values: int64(c.cells), Pages: footer.Span{Length: int64(len(c.data))}}
			got := ""
			err := reader.Elements(context.Background(), in, func(_ int64, rows []int64, cells [][]byte) error {
				for _, row := range rows {
					got += string(rune('0' + row))
				}
				return nil
			})
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !bytes.Contains([]byte(got), []byte(c.want))) {
				t.Fatalf("%s, want %q", got, c.want)
			}
		})
	}
}

// TestHostileFixedPages are pages of values of 4 bytes that do not hold them.
func TestHostileFixedPages(t *testing.T) {
	delta := func(value byte) []byte { return []byte{0x80, 1, 4, 1, value << 1} } // a block of one
	for name, c := range map[string]struct {
		encoding byte
		values   int
		body     []byte
		want     string // the values, or the error
	}{
		"plain":                    {footer.Plain, 2, []byte("abcdefgh"), "abcd efgh "},
		"split":                    {footer.ByteStreamSplit, 2, []byte("aebfcgdh"), "abcd efgh "},
		"delta":                    {footer.DeltaByteArray, 1, append(append(delta(0), delta(4)...), "abcd"...), "abcd "},
		"plain, too short":         {footer.Plain, 2, []byte("abcdefg"), "ends within"},
		"split, too short":         {footer.ByteStreamSplit, 2, []byte("aebfcgd"), "ends within"},
		"split, too long":          {footer.ByteStreamSplit, 2, []byte("aebfcgdhx"), "ends within"},
		"delta, short value":       {footer.DeltaByteArray, 1, append(append(delta(0), delta(3)...), "abcd"...), "delta"},
		"delta, prefix of nothing": {footer.DeltaByteArray, 1, append(append(delta(1), delta(3)...), "abcd"...), "delta"},
		"delta, too short":         {footer.DeltaByteArray, 1, append(append(delta(0), delta(4)...), "abc"...), "delta"},
		"delta length":             {footer.DeltaLength, 1, append(delta(4), "abcd"...), "not supported"},
		"index beyond":             {footer.RLEDictionary, 1, []byte{8, 2, 9}, "dictionary"},
	} {
		t.Run(name, func(t *testing.T) {
			data := rawPage(c.encoding, c.values, c.body)
			reader := chunk.NewReader(bytes.NewReader(data), footer.Column{Path: []string{"c"}, Type: footer.FixedBytes, Length: 4})
			defer reader.Close()
			got := ""
			err := reader.Cells(context.Background(), footer.Chunk{Rows: int64(c.values), Values: int64(c.values), Pages: footer.Span{Length: int64(len(data))}}, func(_ int64, cells [][]byte) error {
				for _, cell := range cells {
					got += string(cell) + " "
				}
				return nil
			})
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !bytes.Contains([]byte(got), []byte(c.want))) {
				t.Fatalf("%q, want %q", got, c.want)
			}
		})
	}
}
