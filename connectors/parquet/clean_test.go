package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/file"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

// columnTexts reads every column of a file, row by row: values as text, with
// the rows of nested columns put together.
func columnTexts(t testing.TB, path string) (names []string, rows [][]string) {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sc := r.MetaData().Schema
	for i := range sc.NumColumns() {
		names = append(names, sc.Column(i).Path())
		var column []string
		for g := range r.NumRowGroups() {
			column = append(column, chunkTexts(t, r.RowGroup(g), i)...)
		}
		for n, text := range column {
			if i == 0 {
				rows = append(rows, nil)
			}
			rows[n] = append(rows[n], text)
		}
	}
	return names, rows
}

func chunkTexts(t testing.TB, g *file.RowGroupReader, i int) (rows []string) {
	t.Helper()
	c, err := g.Column(i)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Descriptor()
	for c.HasNext() {
		var def, rep [1]int16
		text := "NULL"
		var total int64
		var read int
		switch r := c.(type) {
		case *file.BooleanColumnChunkReader:
			var v [1]bool
			total, read, err = r.ReadBatch(1, v[:], def[:], rep[:])
			text = fmt.Sprint(v[0])
		case *file.Int32ColumnChunkReader:
			var v [1]int32
			total, read, err = r.ReadBatch(1, v[:], def[:], rep[:])
			text = fmt.Sprint(v[0])
		case *file.Int64ColumnChunkReader:
			var v [1]int64
			total, read, err = r.ReadBatch(1, v[:], def[:], rep[:])
			text = fmt.Sprint(v[0])
		default:
			text, total, read, err = otherText(c, def[:], rep[:])
		}
		if err != nil || total != 1 {
			t.Fatalf("column %s: %v", d.Path(), err)
		}
		if read == 0 {
			text = fmt.Sprint("NULL ", def[0])
		}
		if rep[0] == 0 || d.MaxRepetitionLevel() == 0 {
			rows = append(rows, text)
		} else {
			rows[len(rows)-1] += "," + text
		}
	}
	return rows
}

// checkClean makes a clean copy of a file: what is left is equal in all columns,
// in order, and a second copy has nothing to remove. It tells whether the file
// could be carried.
func checkClean(t testing.TB, in string) bool {
	t.Helper()
	tab := table(t, in)
	u := plan(t, tab)[0]
	before, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	out := in + ".clean"
	c, err := tab.Clean(context.Background(), u, rule, out)
	if err != nil {
		if schemas.ClassOf(err) == schemas.Failed && strings.Contains(err.Error(), "a copy without some rows cannot carry the") {
			return false
		}
		t.Fatal(err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Fatal("it is there before it was published")
	}
	if err := c.Publish(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(in); err != nil || !bytes.Equal(before, after) {
		t.Error("the original was changed")
	}
	names, old := columnTexts(t, in)
	flags := slices.Index(names, "opted_out_since")
	newNames, got := columnTexts(t, out)
	if !slices.Equal(names, newNames) {
		t.Fatalf("columns %v, before %v", newNames, names)
	}
	all := cells(t, tab, u)
	var want [][]string
	for i, row := range old {
		if _, hit := rule(all[i]); !hit && (flags < 0 || strings.HasPrefix(row[flags], "NULL")) {
			want = append(want, row)
		}
	}
	if int64(len(want)) != c.Rows || c.Rows+c.Removed != int64(len(old)) || len(got) != len(want) {
		t.Fatalf("%d rows, removed %d of %d, want %d", c.Rows, c.Removed, len(old), len(want))
	}
	for i := range want {
		if !slices.Equal(want[i], got[i]) {
			t.Fatalf("row %d is\n%v, want\n%v", i, got[i], want[i])
		}
	}
	again := table(t, out)
	c, err = again.Clean(context.Background(), plan(t, again)[0], rule, out+"2")
	if err != nil || c.Removed != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	c.Discard()
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a discarded copy is there")
	}
	apply(t, again, plan(t, again)[0], rule) // it can be flagged like any file
	return true
}

func TestCleanCopyOfAnyWriter(t *testing.T) {
	done := 0
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if checkClean(t, filepath.Join(work(t, path), filepath.Base(path))) {
				done++
			}
		})
	}
	if done < 15 {
		t.Errorf("only %d fixtures were copied", done)
	}
}

// Files of any shape, with pages of a few values, too.
func TestCleanCopyOfAnyShape(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".parquet"))
		drawShape(r).write(t, path)
		if !checkClean(t, path) {
			r.Fatal("it was refused")
		}
	})
}

func TestCleanCopyLeavesFlaggedRowsOutAndNeverReplacesItsInput(t *testing.T) {
	const name = "pyarrow-gzip.parquet"
	dir := work(t, filepath.Join(fixtureDir, name))
	in := filepath.Join(dir, name)
	tab := table(t, in)
	u := plan(t, tab)[0]
	r := apply(t, tab, u, rule)
	if r.Flagged == 0 {
		t.Fatal("nobody is opted out in this fixture")
	}
	u = plan(t, tab)[0]
	nobody := func([]byte) (int64, bool) { return 0, false }
	c, err := tab.Clean(context.Background(), u, nobody, filepath.Join(dir, "out"))
	if err != nil || c.Removed != r.Flagged {
		t.Fatalf("%+v, %v, flagged %d", c, err, r.Flagged)
	}
	c.Discard()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(in, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{in, link} {
		if _, err := tab.Clean(context.Background(), u, nobody, path); schemas.ClassOf(err) != schemas.Usage {
			t.Errorf("%v", err)
		}
	}
	u.Version += "x"
	if _, err := tab.Clean(context.Background(), u, nobody, filepath.Join(dir, "out")); err == nil {
		t.Error("a changed file was copied")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
