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
	page := func(encoding byte, values int, body ...byte) []byte {
		zigzag := func(v int) []byte { return binary.AppendUvarint(nil, uint64(v)<<1) }
		head := append([]byte{0x15, 0, 0x15}, zigzag(len(body))...)
		head = append(append(head, 0x15), zigzag(len(body))...)
		head = append(append(head, 0x2C, 0x15), zigzag(values)...)
		head = append(append(head, 0x15), zigzag(int(encoding))...)
		return append(append(head, 0x15, 6, 0x15, 6, 0, 0), body...)
	}
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
