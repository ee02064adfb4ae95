package idset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func readList(tb testing.TB, path string, batch int) []Entry {
	tb.Helper()
	l, err := OpenList(path, false)
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	var all []Entry
	dst := make([]Entry, batch)
	for {
		n, err := l.Next(dst)
		all = append(all, dst[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if sum := sha256.Sum256(data); l.Digest() != hex.EncodeToString(sum[:]) || l.Len() != int64(len(all)) {
		tb.Fatalf("%d entries of %d, digest %s", len(all), l.Len(), l.Digest())
	}
	return all
}

func TestListIsSticky(t *testing.T) {
	dir := t.TempDir()
	ids := randomIDs(1, 3000)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		want := make(map[schemas.ID]Entry)
		var previous string
		for range rapid.IntRange(1, 4).Draw(rt, "merges") {
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
			additions := make([]Entry, rapid.IntRange(0, 2500).Draw(rt, "additions"))
			before := make(map[schemas.ID]Entry, len(want))
			for id, e := range want {
				before[id] = e
			}
			for i := range additions {
				e := Entry{ids[r.IntN(len(ids))], r.Int64N(100) - 10, r.Int64N(100)}
				additions[i] = e
				if old, ok := want[e.ID]; ok {
					e.SinceMS, e.FoundMS = min(e.SinceMS, old.SinceMS), min(e.FoundMS, old.FoundMS)
				}
				want[e.ID] = e
			}
			expect := ListInfo{Total: int64(len(want)), Added: int64(len(want) - len(before)), Previous: previous}
			for id, e := range before {
				if want[id].SinceMS < e.SinceMS {
					expect.MovedEarlier++
				}
			}
			m := ListMerge{Old: path, First: previous == "", Additions: additions, New: path}
			got, err := MergeList(context.Background(), m)
			if err != nil {
				rt.Fatal(err)
			}
			expect.Digest = got.Digest
			if got != expect {
				rt.Fatalf("got %+v, want %+v", got, expect)
			}
			r.Shuffle(len(additions), func(i, j int) { additions[i], additions[j] = additions[j], additions[i] })
			again, err := MergeList(context.Background(), m)
			if err != nil || again != (ListInfo{Total: got.Total, Digest: got.Digest, Previous: got.Digest}) {
				rt.Fatalf("doing it again gives %+v, %v", again, err)
			}
			previous = got.Digest
		}
		entries := readList(t, path, 700)
		if len(entries) != len(want) || !slices.IsSortedFunc(entries, func(a, b Entry) int { return Compare(a.ID, b.ID) }) {
			rt.Fatalf("%d entries, want %d, in order", len(entries), len(want))
		}
		for _, e := range entries {
			if want[e.ID] != e {
				rt.Fatal("an entry is wrong")
			}
		}
		set := NewOptedOut(rules, 0)
		info, err := LoadList(context.Background(), path, false, set)
		if err != nil || info.Digest != previous || set.Len() != len(want) {
			rt.Fatalf("loaded %d of %d, %+v, %v", set.Len(), len(want), info, err)
		}
		for id, e := range want {
			if since, ok := set.SinceID(id); !ok || since != e.SinceMS {
				rt.Fatal("an entry is not found in the loaded set")
			}
		}
		if err := os.Remove(path); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestListMissing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	if _, err := OpenList(path, false); !errors.Is(err, fs.ErrNotExist) || schemas.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if _, err := MergeList(context.Background(), ListMerge{Old: path, New: path}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := LoadList(context.Background(), path, false, NewOptedOut(rules, 0)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if len(contents(t, dir)) != 0 {
		t.Error("a file was written")
	}
	set := NewOptedOut(rules, 0)
	if info, err := LoadList(context.Background(), path, true, set); err != nil || info != (ListInfo{}) || set.Len() != 0 {
		t.Errorf("first: %+v, %v", info, err)
	}
	info, err := MergeList(context.Background(), ListMerge{Old: path, First: true, New: path})
	if err != nil || info.Total != 0 || info.Previous != "" {
		t.Errorf("first: %+v, %v", info, err)
	}
	if got := readList(t, path, 10); len(got) != 0 {
		t.Errorf("%d entries", len(got))
	}
}

// A damaged list is an error also in the first run, and is left as it is.
func TestListDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if _, err := MergeList(context.Background(), ListMerge{Old: path, First: true, New: path, Additions: entriesOf(3000)}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{3, 20, 60_000, 3000*listWidth + 17, len(data) - 1} {
		bad := slices.Clone(data)
		bad[at] ^= 4
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, loadErr := LoadList(context.Background(), path, true, NewOptedOut(rules, 0))
		_, mergeErr := MergeList(context.Background(), ListMerge{Old: path, First: true, New: path, Additions: entriesOf(1)})
		for _, err := range []error{loadErr, mergeErr} {
			if err == nil || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(schemas.HintOf(err), "backup") {
				t.Errorf("byte %d: got %v", at, err)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, bad) {
			t.Errorf("byte %d: the list was changed, %v", at, err)
		}
	}
}

func entriesOf(n int) []Entry {
	entries := make([]Entry, n)
	for i, id := range randomIDs(1, n) {
		entries[i] = Entry{ID: id, SinceMS: int64(1000 + i), FoundMS: int64(i)}
	}
	return entries
}

func TestMergeListFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	entries := entriesOf(2000)
	merge := func(disk durable.Disk, additions []Entry) error {
		_, err := MergeList(context.Background(), ListMerge{Disk: disk, Old: path, First: true, Additions: additions, New: path})
		return err
	}
	faults(t, dir,
		func() {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := merge(durable.Disk{}, entries[:1500]); err != nil {
				t.Fatal(err)
			}
		},
		func(disk durable.Disk) error { return merge(disk, entries[1000:]) },
		func(step durable.Step, at string, stored bool) {
			want := 1500
			if step == durable.SyncDir || step == durable.Rename && stored {
				want = 2000
			}
			if got := len(readList(t, path, 512)); got != want {
				t.Fatalf("after a fault at %s (stored %v): %d entries, want %d", step, stored, got, want)
			}
		})
}

func TestListStopsWhenCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	ctx, cancel := context.WithCancel(context.Background())
	m := ListMerge{Old: path, First: true, New: path, Additions: entriesOf(10)}
	if _, err := MergeList(ctx, m); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := MergeList(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := LoadList(ctx, path, false, NewOptedOut(rules, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestEntryHidesTheID(t *testing.T) {
	e := entriesOf(1)[0]
	text := string(e.ID.AppendText(nil))
	if s := fmt.Sprintf("%v %+v %#v %x", e, e, e, e.ID); strings.Contains(s, text) || !strings.Contains(s, "redacted") {
		t.Error("an entry shows its id")
	}
}
