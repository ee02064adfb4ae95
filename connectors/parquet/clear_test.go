package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// TestClearTakesAwayTheFlagsOfOneIDOnly: the file is, but for these flags, the
// one that was never flagged for that id.
func TestClearTakesAwayTheFlagsOfOneIDOnly(t *testing.T) {
	someCleared := false
	for _, path := range fixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			path := filepath.Join(work(t, path), "*.parquet")
			tab := table(t, path)
			u := plan(t, tab)[0]
			original := read(t, u.Location)
			ids := cells(t, tab, u)
			var victim []byte
			for _, id := range ids {
				if _, ok := rule(id); ok {
					victim = bytes.Clone(id)
				}
			}
			match := func(cell []byte) bool { return bytes.Equal(cell, victim) }
			clear := func() schemas.Receipt {
				t.Helper()
				r, err := tab.Clear(context.Background(), plan(t, tab)[0], match, nil, nothing)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}

			// Without the column there is nothing to clear, and none is added.
			if r := clear(); r.Changed || r.Cleared != 0 || !bytes.Equal(read(t, u.Location), original) {
				t.Fatalf("an unflagged file: %+v", r)
			}
			before := apply(t, tab, u, rule)
			r := clear()
			want := wantFlags(ids)
			victims := int64(0)
			for i, id := range ids {
				if id != nil && match(id) {
					want[i] = nil
					victims++
				}
			}
			if r.Cleared != victims || r.Flagged != before.Flagged-victims || r.Confirmed != r.Flagged || r.NewlyFlagged != 0 || r.Changed != (victims > 0) {
				t.Fatalf("%+v", r)
			}
			sameFlags(t, flags(t, u.Location, "opted_out_since"), want)
			someCleared = someCleared || victims > 0
			once := read(t, u.Location)
			if r := clear(); r.Changed || !bytes.Equal(read(t, u.Location), once) {
				t.Fatalf("again: %+v", r)
			}

			// The same bytes as if the id had never been flagged.
			other := filepath.Join(t.TempDir(), "x.parquet")
			if err := (durable.Disk{}).WriteFile(other, original, 0o600); err != nil {
				t.Fatal(err)
			}
			never := table(t, other)
			apply(t, never, plan(t, never)[0], func(cell []byte) (int64, bool) {
				if match(cell) {
					return 0, false
				}
				return rule(cell)
			})
			if !bytes.Equal(read(t, other), once) {
				t.Fatal("other bytes than without the flag")
			}
		})
	}
	if !someCleared {
		t.Error("no flag was cleared in any file")
	}
}

func TestClearGivesUpIfTheCommitFails(t *testing.T) {
	path := filepath.Join(work(t, filepath.Join(fixtureDir, "pyarrow-zstd-v2.parquet")), "*.parquet")
	tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: table(t, path).IDColumn})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, tab, plan(t, tab)[0], rule)
	u := plan(t, tab)[0]
	before := read(t, u.Location)
	refused := errors.New("refused")
	_, err = tab.Clear(context.Background(), u, func([]byte) bool { return true }, nil, func(schemas.Receipt) error { return refused })
	if !errors.Is(err, refused) || !bytes.Equal(read(t, u.Location), before) {
		t.Fatalf("got %v", err)
	}
}
