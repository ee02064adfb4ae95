package idset

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// A list without an id is, to the byte, the list that never had it.
func TestRemovedIDWasNeverThere(t *testing.T) {
	dir := t.TempDir()
	list := func(t *rapid.T, name string, entries []Entry) string {
		path := filepath.Join(dir, name)
		if _, err := MergeList(context.Background(), ListMerge{Disk: durable.Disk{}, Old: filepath.Join(dir, "none"), First: true, Additions: entries, New: path}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 1_000_000), 1, 40, rapid.ID[int]).Draw(t, "ids")
		gone := rapid.IntRange(0, len(numbers)-1).Draw(t, "gone")
		var all, rest []Entry
		for i, n := range numbers {
			var id schemas.ID
			copy(id[:], fmt.Sprintf("%033d", n))
			e := Entry{ID: id, SinceMS: int64(n), FoundMS: int64(i)}
			if all = append(all, e); i != gone {
				rest = append(rest, e)
			}
		}
		whole, want := list(t, "whole", all), list(t, "want", rest)
		got := filepath.Join(dir, "got")
		info, err := RemoveFromList(context.Background(), ListRemoval{Old: whole, ID: all[gone].ID, New: got})
		if err != nil || info.Total != int64(len(rest)) {
			t.Fatal(info, err)
		}
		a, errA := os.ReadFile(got)
		b, errB := os.ReadFile(want)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Fatal("another list", errA, errB)
		}
		found, before, err := FindInList(context.Background(), whole, false, all[gone].ID)
		if err != nil || found == nil || *found != all[gone] || before.Digest != info.Previous {
			t.Fatal(found, before, err)
		}
		found, after, err := FindInList(context.Background(), got, false, all[gone].ID)
		if err != nil || found != nil || after.Digest != info.Digest {
			t.Fatal(found, after, err)
		}
	})
}
