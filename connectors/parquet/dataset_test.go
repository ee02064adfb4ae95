package parquet_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"optsweep/schemas"
)

// TestDataSetThatMoves: between plan and apply a file vanishes, one is replaced
// by another of the same size and time, and one appears. Each is a unit of its
// own: the others are treated, what changed is not, and what is new is there in
// the next plan.
func TestDataSetThatMoves(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	good := read(t, filepath.Join(fixtureDir, "pyarrow-snappy-index.parquet"))
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	for _, name := range []string{"country=DE/day=2026-01-01/a.parquet", "country=DE/day=__HIVE_DEFAULT_PARTITION__/b.parquet", "country=FR/c.parquet", "d.parquet"} {
		put(t, at(name), good)
	}
	tab := table(t, at("**/*.parquet"))
	units := plan(t, tab)
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	if want := []string{"country=DE/day=2026-01-01/a.parquet", "country=DE/day=__HIVE_DEFAULT_PARTITION__/b.parquet", "country=FR/c.parquet", "d.parquet"}; !slices.Equal(names, want) {
		t.Fatalf("units %q", names)
	}

	if err := os.Remove(units[0].Location); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(units[1].Location)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(good, []byte("row_id"), []byte("row_ID"), -1) // in the footer
	put(t, units[1].Location, other)
	if err := os.Chtimes(units[1].Location, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	put(t, at("country=FR/new.parquet"), good)

	for i, want := range []string{"is gone", "changed during the run"} {
		scanErr := tab.Scan(ctx, units[i], func(schemas.Cells) error { return nil })
		_, applyErr := tab.Apply(ctx, units[i], rule, nothing)
		_, findErr := tab.Find(ctx, units[i], rule, nil)
		for _, err := range []error{scanErr, applyErr, findErr} {
			if err == nil || !strings.Contains(err.Error(), want) || schemas.HintOf(err) == "" {
				t.Errorf("%s: %v", units[i].Name, err)
			}
		}
	}
	if _, err := os.Stat(units[0].Location); err == nil || !bytes.Equal(read(t, units[1].Location), other) {
		t.Error("what changed was written to")
	}
	for _, u := range units[2:] {
		if r := apply(t, tab, u, rule); !r.Changed || r.Flagged == 0 {
			t.Errorf("%s: %+v", u.Name, r)
		}
	}
	if !bytes.Equal(read(t, at("country=FR/new.parquet")), good) {
		t.Error("a file that was not planned was written to")
	}
	names = nil
	for _, u := range plan(t, tab) {
		names = append(names, u.Name)
	}
	if !slices.Contains(names, "country=FR/new.parquet") || slices.Contains(names, units[0].Name) || len(names) != 4 {
		t.Errorf("next plan %q", names)
	}
	if left, err := filepath.Glob(at("**/.*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

// TestOwnerStays: as root with any owner, otherwise with one's own.
func TestOwnerStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	shape{groups: []int{20}, distinct: 100}.write(t, path)
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 23456
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	tab := table(t, path)
	for range 2 { // the column is added, then replaced
		apply(t, tab, plan(t, tab)[0], rule)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := info.Sys().(*syscall.Stat_t); int(s.Uid) != uid || int(s.Gid) != gid {
			t.Errorf("owner %d:%d, was %d:%d", s.Uid, s.Gid, uid, gid)
		}
		apply(t, tab, plan(t, tab)[0], func(cell []byte) (int64, bool) {
			ms, ok := rule(cell)
			return ms - 1000, ok
		})
	}
}
