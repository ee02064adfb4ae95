package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"

	"optsweep/connectors/parquet"
	"optsweep/connectors/parquet/footer"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// A clean copy, a file without some rows, and the quarantine of these depend on
// nothing but their input, however many columns are treated at a time.
func TestCopiesAreTheSameWithAnyNumberOfWorkers(t *testing.T) {
	var first [3][]byte
	for _, workers := range []int{1, 2, 3, 50} {
		dir := t.TempDir()
		path, clean := filepath.Join(dir, "x.parquet"), filepath.Join(dir, "clean.parquet")
		shape{groups: []int{900, 1, 700}, nulls: 7, distinct: 1000, extra: 13, schema: true, props: []pq.WriterProperty{
			pq.WithCompression(compress.Codecs.Zstd), pq.WithDataPageSize(2000),
		}}.write(t, path)
		tab, err := parquet.New(parquet.Options{Path: path, IDColumn: "euid", Mode: parquet.Remove, Removed: filepath.Join(dir, "removed"), Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		c, err := tab.Clean(context.Background(), plan(t, tab)[0], rule, clean)
		if err != nil || c.Removed == 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		if err := c.Publish(); err != nil {
			t.Fatal(err)
		}
		if r, err := tab.Apply(context.Background(), plan(t, tab)[0], rule, nothing); err != nil || r.Removed != c.Removed {
			t.Fatalf("%+v, %v", r, err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "removed", "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		got := [3][]byte{read(t, path), read(t, clean), read(t, files[0])}
		if !bytes.Equal(got[0], got[1]) {
			t.Error("the clean copy is another file than what is left of the original")
		}
		if first[0] == nil {
			first = got
		}
		for i := range got {
			if !bytes.Equal(got[i], first[i]) {
				t.Errorf("%d workers make another file %d", workers, i)
			}
		}
	}
}

// Whatever byte of the pages of a new file is damaged on the disk before it is
// read back: what says that it is done has the right values.
func TestDamageOfCopiesIsFound(t *testing.T) {
	dir := t.TempDir()
	original, path := filepath.Join(dir, "original.parquet"), filepath.Join(dir, "x.parquet")
	shape{groups: []int{24}, nulls: 5, distinct: 100, extra: 4, props: []pq.WriterProperty{pq.WithDictionaryFor("euid", false)}}.write(t, original)
	data := read(t, original)
	apply := func(damaged int) ([][]string, int, error) {
		put(t, path, data)
		size := 0
		tab := remover(t, path, "", durable.Disk{Fault: func(step durable.Step, at string) (bool, error) {
			if step == durable.Sync && size == 0 { // the first time
				b := read(t, at)
				m, err := footer.Read(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				if size = int(m.Start); damaged >= 0 {
					b[damaged] ^= 1
					if err := os.WriteFile(at, b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			return false, nil
		}})
		r, err := tab.Apply(context.Background(), plan(t, tab)[0], one(13), nothing)
		if err != nil {
			return nil, size, err
		}
		if r.Removed == 0 {
			t.Fatalf("%+v", r)
		}
		_, rows := columnTexts(t, path)
		return rows, size, nil
	}
	want, size, err := apply(-1)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := len("PAR1"); at < size; at += 7 {
		switch rows, _, err := apply(at); {
		case err != nil && schemas.HintOf(err) == "":
			t.Errorf("byte %d: no hint: %v", at, err)
		case err != nil:
			found++
			if !bytes.Equal(read(t, path), data) {
				t.Fatalf("byte %d: the file has changed", at)
			}
		case fmt.Sprint(rows) != fmt.Sprint(want):
			t.Fatalf("byte %d: a damaged file is said to be right", at)
		}
	}
	if found < 50 {
		t.Errorf("only %d of %d damaged files were found", found, size/7)
	}
}
