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
	ids := func(n int) *schemas.ID { return &f.set.ids[f.order[n]] }
	room := make([]byte, 0, schemas.IDSize+8)
	err = Common(ctx, path, len(f.order), ids, func(n int) {
		h.Write(binary.BigEndian.AppendUint64(append(room, ids(n)[:]...), uint64(f.set.since[f.order[n]])))
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}
