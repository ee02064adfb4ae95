package parquet_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/connectors/parquet/footer"
)

// destroy overwrites the pages of a column in every row group. Size, footer and
// time of modification, so the version too, stay.
func destroy(t *testing.T, path, column string) {
	t.Helper()
	overwrite(t, path, pages(t, path, column), bytes.Repeat([]byte{0xFF}, len(read(t, path))))
}

// restore puts the pages of a column back to what they were in whole.
func restore(t *testing.T, path string, whole []byte, column string) {
	t.Helper()
	overwrite(t, path, pages(t, path, column), whole)
}

// pages are the places of the pages of a column in a file.
func pages(t *testing.T, path, column string) (places []footer.Span) {
	t.Helper()
	data := read(t, path)
	meta, err := footer.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range meta.Columns {
		if c.Name != column {
			continue
		}
		chunks, err := meta.Chunks(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks {
			if c.Values > 0 {
				places = append(places, c.Pages)
			}
		}
	}
	return places
}

// overwrite puts what is in data at some places into a file.
func overwrite(t *testing.T, path string, places []footer.Span, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		if _, err := f.WriteAt(data[p.Offset:p.Offset+p.Length], p.Offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestFlagsAreCountedWithoutTheIDs(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{60, 0, 60}, nulls: 10, distinct: 1000}.write(t, path)
	tab := table(t, path)
	before := plan(t, tab)[0]
	if _, err := tab.CountFlags(ctx, before); err == nil {
		t.Error("flags were counted where there are none")
	}
	receipt := apply(t, tab, before, rule)
	if receipt.Flagged == 0 {
		t.Fatal("nothing is flagged")
	}
	if _, err := tab.CountFlags(ctx, before); err == nil {
		t.Error("another version was counted")
	}
	u := plan(t, tab)[0]
	destroy(t, path, "euid")
	if u != plan(t, tab)[0] {
		t.Fatal("the version changed")
	}
	if n, err := tab.CountFlags(ctx, u); err != nil || n != receipt.Flagged {
		t.Errorf("counted %d, %v; want %d", n, err, receipt.Flagged)
	}
	destroy(t, path, parquet.DefaultColumn)
	if n, err := tab.CountFlags(ctx, u); err == nil {
		t.Errorf("counted %d damaged flags", n)
	}
}

// What is read in another way is never taken for the same.
func TestReadingNamesColumnAndEncoding(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range []parquet.Options{{IDColumn: "a"}, {IDColumn: "b"}, {IDColumn: "a", IDEncoding: parquet.Binary}} {
		o.Table, o.Path = "t", "x"
		tab, err := parquet.New(o)
		if err != nil {
			t.Fatal(err)
		}
		seen[tab.Reading()] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %d readings: %v", len(seen), seen)
	}
}
