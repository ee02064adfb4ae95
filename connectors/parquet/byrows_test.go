package parquet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
)

// rowTimes tells of the rows of ids what rule does.
func rowTimes(ids [][]byte) schemas.RowTimes {
	return func(_ context.Context, first, n int64, optedOut func(row, sinceMS int64)) (nulls int64, err error) {
		for row := first; row < first+n; row++ {
			if ids[row] == nil {
				nulls++
			} else if ms, ok := rule(ids[row]); ok {
				optedOut(row, ms)
			}
		}
		return nulls, nil
	}
}

// ApplyRows leaves the bytes and the receipt of Apply, also where another time
// is there already, and does not decode the ids: they are overwritten.
func TestRowsLeaveWhatIdsDo(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	byIDs, byRows := filepath.Join(dir, "ids.parquet"), filepath.Join(dir, "rows.parquet")
	rapid.Check(t, func(r *rapid.T) {
		ids := drawShape(r).write(t, byIDs)
		for range 2 {
			file := read(t, byIDs)
			if err := os.WriteFile(byRows, file, 0o640); err != nil {
				r.Fatal(err)
			}
			want := apply(t, table(t, byIDs), plan(t, table(t, byIDs))[0], rule)
			whole := read(t, byRows)
			destroy(t, byRows, "euid")
			tab := table(t, byRows)
			u := plan(t, tab)[0]
			var committed schemas.Receipt
			got, err := tab.ApplyRows(ctx, u, rowTimes(ids), func(x schemas.Receipt) error { committed = x; return nil })
			if err != nil || got.Changed && got != committed {
				r.Fatalf("%v, receipt %+v, committed %+v", err, got, committed)
			}
			restore(t, byRows, whole, "euid")
			if got.VersionBefore != u.Version || (got.VersionAfter != u.Version) != got.Changed {
				r.Fatalf("versions %q, %q", got.VersionBefore, got.VersionAfter)
			}
			got.Unit, got.VersionBefore, got.VersionAfter = want.Unit, want.VersionBefore, want.VersionAfter
			if got != want {
				r.Fatalf("receipt %+v, want %+v", got, want)
			}
			if string(read(t, byRows)) != string(read(t, byIDs)) {
				r.Fatal("other bytes")
			}
		}
	})
}

func TestRowsOfAnotherFileAreRefused(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "x.parquet")
	ids := shape{groups: []int{50, 0, 50}, nulls: 10, distinct: 1000}.write(t, path)
	before := string(read(t, path))
	broken := errors.New("broken")
	tell := func(rows ...int64) schemas.RowTimes {
		return func(_ context.Context, first, n int64, optedOut func(row, sinceMS int64)) (int64, error) {
			for _, row := range rows {
				optedOut(first+row, 1)
			}
			return 0, nil
		}
	}
	for name, rows := range map[string]schemas.RowTimes{
		"behind the end":   tell(50),
		"before the start": tell(-1),
		"twice":            tell(3, 3),
		"not in order":     tell(4, 3),
		"more than rows": func(_ context.Context, _, n int64, optedOut func(row, sinceMS int64)) (int64, error) {
			return n + 1, nil
		},
		"an error": func(context.Context, int64, int64, func(row, sinceMS int64)) (int64, error) { return 0, broken },
	} {
		tab := table(t, path)
		u := plan(t, tab)[0]
		_, err := tab.ApplyRows(ctx, u, rows, func(schemas.Receipt) error { t.Errorf("%s: committed", name); return nil })
		if err == nil || name == "an error" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		u.Version += "x"
		if _, err := tab.ApplyRows(ctx, u, rowTimes(ids), nothing); err == nil {
			t.Error("another version was flagged")
		}
	}
	if string(read(t, path)) != before {
		t.Error("the file was changed")
	}
}

// Other modes go by ids.
func TestOnlyFlagsGoByRows(t *testing.T) {
	for _, mode := range []parquet.Mode{parquet.Suppression, parquet.Remove} {
		tab, err := parquet.New(parquet.Options{Path: "x.parquet", IDColumn: "euid", Mode: mode, List: "list.parquet", Removed: "removed"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tab.ApplyRows(context.Background(), schemas.Unit{}, rowTimes(nil), nothing); err == nil || tab.TakesRows() {
			t.Errorf("mode %s takes rows: %v", mode, err)
		}
	}
}
