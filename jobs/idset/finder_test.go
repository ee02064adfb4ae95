package idset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

func TestFinderNamesTheIDsOfASetInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unit.ids")
	b := NewBuilder(Options{Spill: t.TempDir()})
	defer b.Close()
	rapid.Check(t, func(t *rapid.T) {
		ids, listed := someIDs(t, "ids", 3000), someIDs(t, "listed", 3000)
		if n := min(len(ids), len(listed)); n > 0 {
			copy(listed, ids[:rapid.IntRange(0, n).Draw(t, "in common")])
		}
		if err := b.Add(ids); err != nil {
			t.Fatal(err)
		}
		info, err := b.WriteFile(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Verify(context.Background(), path); err != nil || got != info {
			t.Fatalf("verified %+v, %v; want %+v", got, err, info)
		}
		set := NewOptedOut(schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}, 0)
		since := map[schemas.ID]int64{}
		for i, id := range listed {
			if _, again := since[id]; !again {
				since[id] = int64(i)
			}
			if err := set.Add(schemas.OptOut{ID: id, SinceMS: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(ids, Compare)
		h := sha256.New()
		for _, id := range slices.Compact(ids) {
			if ms, ok := since[id]; ok {
				h.Write(binary.BigEndian.AppendUint64(id[:], uint64(ms)))
			}
		}
		got, err := NewFinder(set).Find(context.Background(), path, 1<<20)
		if err != nil || got.Digest != [sha256.Size]byte(h.Sum(nil)) || got.File != info.Digest {
			t.Fatalf("another digest, %v", err)
		}
	})
}

func TestEveryByteOfAFileIsVerified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unit.ids")
	whole := encodeIDs(t, []schemas.ID{{0x10, 1}, {0x10, 2}})
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 4
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(context.Background(), path); err == nil {
			t.Errorf("byte %d was changed, and nobody noticed", i)
		}
	}
	if _, err := Verify(context.Background(), path+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
