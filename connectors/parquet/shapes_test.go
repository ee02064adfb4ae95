package parquet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

const shapesDir = "../../testdata/parquet/shapes"

// shapes.json: file, id column, rows, ids of the row; null for NULL.
func shapesOfFiles(t testing.TB) map[string]map[string][][]*string {
	t.Helper()
	var all map[string]map[string][][]*string
	if err := json.Unmarshal(read(t, filepath.Join(shapesDir, "shapes.json")), &all); err != nil || len(all) < 10 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	return all
}

func textCells(rows [][]*string) (all [][][]byte) {
	for _, row := range rows {
		var cells [][]byte
		for _, id := range row {
			if id == nil {
				cells = append(cells, nil)
			} else {
				cells = append(cells, []byte(*id))
			}
		}
		all = append(all, cells)
	}
	return all
}

// TestShapesOfOtherWriters treats nested, repeated and binary ids that pyarrow,
// DuckDB and Polars wrote, in every way.
func TestShapesOfOtherWriters(t *testing.T) {
	for name, columns := range shapesOfFiles(t) {
		for column, rows := range columns {
			t.Run(name+"/"+column, func(t *testing.T) {
				path := filepath.Join(work(t, filepath.Join(shapesDir, name+".parquet")), name+".parquet")
				o := parquet.Options{Table: "t", Path: path, IDColumn: column}
				if column == "bytes" {
					o.IDEncoding = parquet.Binary
				}
				checkShape(t, o, textCells(rows))
			})
		}
	}
}

// wide opts four ids in ten out, so that lists have several of them.
func wide(cell []byte) (int64, bool) {
	if len(cell) != 44 || cell[0] < 'A' || cell[0] > 'Z' {
		return 0, false
	}
	return 1_700_000_000_000 + int64(cell[1]), true
}

// checkShape holds all that can be done with a file against the ids of its rows.
func checkShape(t testing.TB, o parquet.Options, rows [][][]byte) {
	t.Helper()
	ctx := context.Background()
	path := o.Path
	tab, err := parquet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	original := read(t, path)
	u := plan(t, tab)[0]

	var want []*int64
	var cells, nulls, opted int64
	for _, row := range rows {
		var flag *int64
		for _, cell := range row {
			cells++
			if cell == nil {
				nulls++
			}
			if ms, ok := wide(cell); ok && (flag == nil || ms < *flag) {
				flag = &ms
			}
		}
		if want = append(want, flag); flag != nil {
			opted++
		}
	}
	if u.Rows != cells {
		t.Fatalf("planned %d cells, want %d", u.Rows, cells)
	}
	checkScan(t, tab, u, rows)

	var mu sync.Mutex
	missing := map[int64]bool{}
	found, err := tab.Find(ctx, u, wide, func(row int64, cell []byte) {
		mu.Lock()
		defer mu.Unlock()
		if ms, ok := wide(cell); !ok || missing[row] || want[row] == nil || *want[row] != ms {
			t.Errorf("row %d is missing a flag", row)
		}
		missing[row] = true
	})
	if err != nil || found.OptedOut != opted || int64(len(missing)) != opted {
		t.Fatalf("found %+v, %d missing, want %d; %v", found, len(missing), opted, err)
	}

	r := apply(t, tab, u, wide)
	if r.Rows != cells || r.Nulls != nulls || r.OptedOut != opted || r.Flagged != opted || r.NewlyFlagged != opted || r.Confirmed != opted || !r.Changed {
		t.Fatalf("%+v, want %d cells, %d nulls, %d rows opted out", r, cells, nulls, opted)
	}
	once := read(t, path)
	if !bytes.HasPrefix(once, original) {
		t.Fatal("the old file is not the beginning of the new one")
	}
	sameFlags(t, flags(t, path, "opted_out_since"), want)
	if again := apply(t, tab, plan(t, tab)[0], wide); again.Changed || again.Flagged != opted {
		t.Fatalf("again: %+v", again)
	}
	if kept := apply(t, tab, plan(t, tab)[0], nobody); kept.Changed || kept.Kept != opted {
		t.Fatalf("sticky: %+v", kept)
	}
	checkClearing(t, tab, rows, want)
	checkCleanShape(t, tab, rows, want)
	if err := os.WriteFile(path, original, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkScan: every cell in order, with its row.
func checkScan(t testing.TB, tab *parquet.Table, u schemas.Unit, rows [][][]byte) {
	t.Helper()
	row, next := int64(0), 0
	err := tab.Scan(context.Background(), u, func(c schemas.Cells) error {
		for i, cell := range c.Values {
			for row < int64(len(rows)) && next == len(rows[row]) {
				row, next = row+1, 0
			}
			if row == int64(len(rows)) || c.Row(i) != row {
				t.Fatalf("a cell of row %d, want row %d of %d", c.Row(i), row, len(rows))
			}
			if want := rows[row][next]; (cell == nil) != (want == nil) || !bytes.Equal(cell, want) {
				t.Fatalf("cell %d of row %d of %s differs: %d and %d bytes, NULL %t and %t", next, row, tab.Path, len(cell), len(want), cell == nil, want == nil)
			}
			next++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkParts(t, tab, u)
	if len(rows) > 0 && (row != int64(len(rows))-1 || next != len(rows[row])) {
		t.Fatalf("it ends at row %d of %d", row, len(rows))
	}
}

// checkClearing: the flags of one id go, but for rows with others.
func checkClearing(t testing.TB, tab *parquet.Table, rows [][][]byte, want []*int64) {
	t.Helper()
	var victim []byte
	for _, row := range rows {
		for _, cell := range row {
			if _, ok := wide(cell); ok {
				victim = cell
			}
		}
	}
	match := func(cell []byte) bool { return bytes.Equal(cell, victim) }
	others := func(cell []byte) bool { _, ok := wide(cell); return ok && !match(cell) }
	u := plan(t, tab)[0]
	r, err := tab.Clear(context.Background(), u, match, others, nothing)
	if err != nil {
		t.Fatal(err)
	}
	left, cleared := slices.Clone(want), int64(0)
	for i, row := range rows {
		if victim != nil && slices.ContainsFunc(row, match) && !slices.ContainsFunc(row, others) {
			left[i] = nil
			cleared++
		}
	}
	if r.Cleared != cleared || r.Changed != (cleared > 0) || r.Confirmed != r.Flagged {
		t.Fatalf("%+v, want %d flags cleared", r, cleared)
	}
	sameFlags(t, flags(t, u.Location, "opted_out_since"), left)
	apply(t, tab, plan(t, tab)[0], wide)
	sameFlags(t, flags(t, u.Location, "opted_out_since"), want)
}

// checkCleanShape: a copy without the flagged rows, or a refusal.
func checkCleanShape(t testing.TB, tab *parquet.Table, rows [][][]byte, want []*int64) {
	t.Helper()
	out := tab.Path + ".clean"
	c, err := tab.Clean(context.Background(), plan(t, tab)[0], wide, out)
	if err != nil {
		if schemas.ClassOf(err) == schemas.Failed && schemas.HintOf(err) != "" {
			return
		}
		t.Fatal(err)
	}
	if err := c.Publish(); err != nil {
		t.Fatal(err)
	}
	var left [][][]byte
	for i, row := range rows {
		if want[i] == nil {
			left = append(left, row)
		}
	}
	if c.Rows != int64(len(left)) || c.Rows+c.Removed != int64(len(rows)) {
		t.Fatalf("%+v, want %d rows of %d", c, len(left), len(rows))
	}
	o := tab.Options
	o.Path = out
	clean, err := parquet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	checkScan(t, clean, plan(t, clean)[0], left)
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
}

// TestWrongEncodingIsNeverClean: text read as bytes, and bytes read as text, give
// no valid id at all.
func TestWrongEncodingIsNeverClean(t *testing.T) {
	rules := schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}
	for column, o := range map[string]parquet.Options{
		"bytes": {Path: "binary-plain"}, "ids[]": {Path: "pyarrow-v1", IDEncoding: parquet.Binary},
	} {
		o.IDColumn = column
		o.Path = filepath.Join(shapesDir, o.Path+".parquet")
		tab, err := parquet.New(o)
		if err != nil {
			t.Fatal(err)
		}
		reasons := map[schemas.Reason]int{}
		err = tab.Scan(context.Background(), plan(t, tab)[0], func(c schemas.Cells) error {
			for _, cell := range c.Values {
				if cell != nil {
					_, _, reason := rules.Parse(cell)
					reasons[reason]++
				}
			}
			return nil
		})
		want := schemas.RawBytes
		if o.IDEncoding == parquet.Binary {
			want = schemas.BadLength
		}
		if err != nil || len(reasons) != 1 && column != "bytes" || reasons[want] < 40 || reasons[schemas.Valid] != 0 {
			t.Errorf("%s: %v, %v", column, reasons, err)
		}
	}
	for encoding, columns := range map[parquet.Encoding][]string{parquet.Base64: {"fixed32", "fixed33", "list[]"}, parquet.Binary: {"fixed44"}} {
		for _, column := range columns {
			tab, err := parquet.New(parquet.Options{Path: filepath.Join(shapesDir, "binary-plain.parquet"), IDColumn: column, IDEncoding: encoding})
			if err != nil {
				t.Fatal(err)
			}
			_, failed, err := tab.Plan(context.Background())
			if err != nil || len(failed) != 1 || failed[0].Hint == "" {
				t.Errorf("%s as %s: %+v, %v", column, encoding, failed, err)
			}
		}
	}
}
