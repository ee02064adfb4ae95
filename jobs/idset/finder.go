package idset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"slices"
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

// Found is what a Finder finds in one file.
type Found struct {
	// Digest names the ids of the set that the file holds, with their times:
	// two are equal if, and only if, all of that is.
	Digest [sha256.Size]byte
	// File is the digest of the file.
	File string
	// Hits are these ids, by their keys; nil if another id of the file has the
	// key of one of them, or there are more than were asked for.
	Hits *Hits
}

// Find finds the ids of the set that the file at path holds. Every byte of the
// file is checked. It takes 24 bytes for each of the hits; more than most are
// not kept.
func (f *Finder) Find(ctx context.Context, path string, most int64) (Found, error) {
	file, err := open(path, idKind)
	if err != nil {
		return Found{}, err
	}
	c := newCursor(file)
	defer c.close()
	w := finding{Finder: f, hash: sha256.New(), most: most}
	for {
		if err := errors.Join(ctx.Err(), c.fill()); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Found{}, err
		}
		w.walk(c.rest)
		c.rest = nil
	}
	found := Found{Digest: [sha256.Size]byte(w.hash.Sum(nil)), File: file.info().Digest}
	if !w.unfit {
		found.Hits = newHits(f.set, w.hits)
	}
	return found, ctx.Err()
}

// finding is a walk through a file beside the ids of a set.
type finding struct {
	*Finder
	next int // in order
	hash hash.Hash
	buf  []byte // what goes into hash next
	most int64

	last  uint64 // key of the id before; 0: there is none
	found bool   // it is in the set
	hits  []uint32
	unfit bool
}

// walk takes in ids, which follow each other in order.
func (w *finding) walk(ids []byte) {
	for len(ids) > 0 && w.next < len(w.order) {
		if w.found { // the id behind a hit
			w.unfit = w.unfit || keyOf(ids) == w.last
			w.found = false
		}
		want := &w.set.ids[w.order[w.next]]
		if n := seek(0, len(ids)/idWidth, func(i int) bool { return compare(record(ids[i*idWidth:]), want) < 0 }); n > 0 {
			w.last = keyOf(ids[(n-1)*idWidth:])
			ids = ids[n*idWidth:]
			continue
		}
		id := record(ids)
		before := func(n int) bool { return compare(&w.set.ids[w.order[n]], id) < 0 }
		if w.next = seek(w.next, len(w.order), before); w.next == len(w.order) {
			return
		}
		if n := w.order[w.next]; w.set.ids[n] == *id {
			w.hit(n)
			w.last = keyOf(ids)
			ids = ids[idWidth:]
		}
	}
}

// hit takes in the id of the set with number n, which is the next of the file.
func (w *finding) hit(n uint32) {
	id := &w.set.ids[n]
	w.buf = binary.BigEndian.AppendUint64(append(w.buf[:0], id[:]...), uint64(w.set.since[n]))
	w.hash.Write(w.buf)
	w.found = true
	key := keyOf(id[:])
	w.unfit = w.unfit || key == w.last || key < firstKey || int64(len(w.hits)) >= w.most
	if w.unfit {
		w.hits = nil
	} else {
		w.hits = append(w.hits, n)
	}
}
