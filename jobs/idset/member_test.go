package idset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

func TestHoldsAnyIsAMeetingOfTwoSets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unit.ids")
	b := NewBuilder(Options{Spill: t.TempDir()})
	defer b.Close()
	rapid.Check(t, func(t *rapid.T) {
		ids, others := someIDs(t, "ids", 3000), someIDs(t, "others", 20)
		if err := b.Add(ids); err != nil {
			t.Fatal(err)
		}
		if _, err := b.WriteFile(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		set := NewOptedOut(schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}, 0)
		want := false
		for _, id := range others {
			want = want || slices.Contains(ids, id)
			if err := set.Add(schemas.OptOut{ID: id, SinceMS: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := HoldsAny(context.Background(), path, set); err != nil || got != want {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	})
}

func TestHoldsAnyFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unit.ids")
	set := NewOptedOut(schemas.Rules{}, 0)
	if _, err := HoldsAny(context.Background(), path, set); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("nothing of the kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := HoldsAny(context.Background(), path, set); err == nil {
		t.Error("a damaged file was read")
	}
	if err := os.WriteFile(path, encodeIDs(t, []schemas.ID{{0x10, 1}}), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := HoldsAny(ctx, path, set); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
