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
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	meta, err := footer.Read(f, info.Size())
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
			if c.Values == 0 {
				continue
			}
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xFF}, int(c.Pages.Length)), c.Pages.Offset); err != nil {
				t.Fatal(err)
			}
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

func TestReadingNamesTheColumn(t *testing.T) {
	a, err := parquet.New(parquet.Options{Path: "x", IDColumn: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := parquet.New(parquet.Options{Path: "x", IDColumn: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Reading() == b.Reading() {
		t.Error("two columns are one reading")
	}
}
