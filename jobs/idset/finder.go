package idset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"optsweep/schemas"
)

// Finder finds the ids of a set in files of sorted ids. It may be used
// concurrently, while nothing is added to the set. It takes 4 bytes per id.
type Finder struct {
	set   *OptedOut
	order []uint32 // numbers of the ids of the set, in the order of the files
}

// NewFinder makes a Finder for the ids that are in set now.
func NewFinder(set *OptedOut) *Finder {
	f := &Finder{set: set, order: make([]uint32, len(set.ids))}
	for i := range f.order {
		f.order[i] = uint32(i)
	}
	slices.SortFunc(f.order, func(a, b uint32) int {
		return cmp.Or(compare(&set.ids[a], &set.ids[b]), cmp.Compare(a, b))
	})
	return f
}

// Digest names the ids of the set that the file at path holds, with their
// times: two digests are equal if, and only if, all of that is. Every byte of
// the file is checked.
func (f *Finder) Digest(ctx context.Context, path string) (digest [sha256.Size]byte, err error) {
	h := sha256.New()
	next := 0 // in order
	err = EachID(ctx, path, func(id schemas.ID) error {
		if next = f.seek(next, &id); next == len(f.order) {
			return nil
		}
		if n := f.order[next]; f.set.ids[n] == id {
			h.Write(binary.BigEndian.AppendUint64(id[:], uint64(f.set.since[n])))
		}
		return nil
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// seek returns the first position from at on whose id is not less than id. It
// takes steps that double, so that a few ids are found fast in a large set.
func (f *Finder) seek(at int, id *schemas.ID) int {
	less := func(i int) bool { return compare(&f.set.ids[f.order[i]], id) < 0 }
	if at == len(f.order) || !less(at) {
		return at
	}
	step := 1
	for at+step < len(f.order) && less(at+step) {
		at += step
		step *= 2
	}
	low, high := at+1, min(at+step, len(f.order)) // less(at); not less(high), if there is such
	for low < high {
		if mid := (low + high) / 2; less(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
