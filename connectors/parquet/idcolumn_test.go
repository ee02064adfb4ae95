package parquet_test

import (
	"context"
	"path/filepath"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

// FuzzIDColumn: whatever is named, a file is refused with a hint or read to the
// last cell.
func FuzzIDColumn(f *testing.F) {
	for _, path := range []string{"", ".", "[]", "ids", "ids[]", "ids[][]", "deep[][]", "deep[]", "ids.list[].element", "devices[].euid", "tags[].key", "tags.key_value[].value", "user.ids.euid", "user.", "user.ids[]"} {
		f.Add(path, byte(0))
	}
	f.Add("fixed32", byte(1))
	f.Fuzz(func(t *testing.T, path string, options byte) {
		o := parquet.Options{Path: filepath.Join(shapesDir, []string{"pyarrow-v1", "binary-plain"}[options&1]+".parquet"), IDColumn: path,
			IDEncoding: []parquet.Encoding{"", parquet.Base64, parquet.Binary}[options>>1%3]}
		tab, err := parquet.New(o)
		if err != nil {
			return
		}
		units, failed, err := tab.Plan(context.Background())
		if err != nil || len(units)+len(failed) != 1 || len(failed) == 1 && failed[0].Hint == "" {
			t.Fatalf("units %+v, failures %+v, %v", units, failed, err)
		}
		for _, u := range units {
			rows := int64(0)
			err := tab.Scan(context.Background(), u, func(c schemas.Cells) error { rows += c.Rows(); return nil })
			if err != nil || rows != u.Rows {
				t.Fatalf("%d cells of %d, %v", rows, u.Rows, err)
			}
		}
	})
}

// TestPhysicalPaths: the names of the groups that make a list lead to the ids,
// too.
func TestPhysicalPaths(t *testing.T) {
	for path, name := range map[string]string{"ids.list[].element": "pyarrow-v1", "tags.key_value[].value": "pyarrow-v1", "tags[].key": "duckdb", "ids.list[].item": "pyarrow-two-levels"} {
		tab, err := parquet.New(parquet.Options{Path: filepath.Join(shapesDir, name+".parquet"), IDColumn: path})
		if err != nil {
			t.Fatal(err)
		}
		if u := plan(t, tab)[0]; u.Rows <= 60 {
			t.Errorf("%s: %d cells", path, u.Rows)
		}
	}
}
