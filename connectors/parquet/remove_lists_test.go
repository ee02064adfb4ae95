package parquet_test

import (
	"context"
	"path/filepath"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

// A row of a list is taken out if one of its ids is opted out, with all of its
// ids; two passes of a run count all that was read.
func TestRemovalOfRowsWithLists(t *testing.T) {
	for _, name := range []string{"pyarrow-v1", "pyarrow-two-levels", "duckdb", "polars"} {
		t.Run(name, func(t *testing.T) {
			const column = "ids[]"
			rows := textCells(shapesOfFiles(t)[name][column])
			path := filepath.Join(work(t, filepath.Join(shapesDir, name+".parquet")), name+".parquet")
			tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: column, Mode: parquet.Remove, Removed: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			var kept [][][]byte
			var first []byte // an id that is opted out, in a row with several
			cells, nulls := int64(0), int64(0)
			for _, row := range rows {
				out := false
				for _, cell := range row {
					cells++
					if cell == nil {
						nulls++
					} else if _, ok := wide(cell); ok {
						if out = true; len(row) > 2 {
							first = cell
						}
					}
				}
				if !out {
					kept = append(kept, row)
				}
			}
			if first == nil || len(kept) == 0 || len(kept) == len(rows) {
				t.Fatal("the file has too few kinds of rows")
			}
			u := planRun(t, tab, "r")[0]
			a, err := tab.Apply(context.Background(), u, func(cell []byte) (int64, bool) { return 1, string(cell) == string(first) }, nothing)
			if err != nil || a.Rows != cells || a.Nulls != nulls || a.Removed == 0 {
				t.Fatalf("%+v, %v; want %d ids, %d NULL", a, err, cells, nulls)
			}
			u.Version, u.Written = a.VersionAfter, a.Staged
			b, err := tab.Apply(context.Background(), u, wide, nothing)
			want := schemas.Receipt{Rows: cells, Nulls: nulls, OptedOut: int64(len(rows) - len(kept))}
			if err != nil || b.Rows != want.Rows || b.Nulls != want.Nulls || b.OptedOut != want.OptedOut || b.Flagged != want.OptedOut || a.Removed+b.Removed != want.OptedOut {
				t.Fatalf("%+v, then %+v, %v; want %+v", a, b, err, want)
			}
			checkScan(t, tab, plan(t, tab)[0], kept)
		})
	}
}
