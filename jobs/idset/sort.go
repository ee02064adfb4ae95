package idset

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"optsweep/schemas"
)

// keyAt is the first byte of an id in the order of this package.
const keyAt = 4

// Compare orders ids as this package stores them: by bytes 4 to 32, then by
// bytes 0 to 3.
func Compare(a, b schemas.ID) int { return compare(&a, &b) }

func compare(a, b *schemas.ID) int {
	// Nearly all differ here already.
	x, y := binary.BigEndian.Uint64(a[keyAt:]), binary.BigEndian.Uint64(b[keyAt:])
	if x != y {
		if x < y {
			return -1
		}
		return 1
	}
	if c := bytes.Compare(a[keyAt:], b[keyAt:]); c != 0 {
		return c
	}
	return bytes.Compare(a[:keyAt], b[:keyAt])
}

// slabRecords is the number of ids in a slab: a whole number of memory pages.
const slabRecords = 16 * blockRecords

const slabBytes = slabRecords * idWidth

// slabs hold ids under numbers: id n is record n%slabRecords of slab
// n/slabRecords.
type slabs [][]byte

func (s slabs) at(n uint32) *schemas.ID {
	return record(s[n/slabRecords][n%slabRecords*idWidth:])
}

// record is the id that b starts with, in place.
func record(b []byte) *schemas.ID { return (*schemas.ID)(b) }

// entry stands for an id in slabs while ids are sorted.
type entry struct {
	key uint64 // bytes 4 to 11 of the id
	at  uint32 // its number
}

const entryBytes = 16

// entries appends an entry for each record, the first of which has number at.
func entries(dst []entry, records []byte, at uint32) []entry {
	for ; len(records) > 0; records = records[idWidth:] {
		dst = append(dst, entry{binary.BigEndian.Uint64(records[keyAt:]), at})
		at++
	}
	return dst
}

const (
	insertionMax  = 24 // up to this many entries are sorted by insertion
	maxBucketBits = 11
)

// sortEntries sorts e by key; tmp is room of the same length. It cuts the
// range of the keys into equal buckets, about four entries to each, and sorts
// those in turn: linear time for random keys. Every level narrows the range at
// least eightfold, so that bad keys cost at most 22 levels.
func sortEntries(e, tmp []entry) {
	if len(e) <= insertionMax {
		insertionSort(e)
		return
	}
	low, high := e[0].key, e[0].key
	for _, x := range e {
		low, high = min(low, x.key), max(high, x.key)
	}
	if low == high {
		return
	}
	width := min(maxBucketBits, bits.Len(uint(len(e)))-2)
	shift := max(0, bits.Len64(high-low)-width)

	var room [1 << maxBucketBits]uint32
	ends := room[:(high-low)>>shift+1]
	for _, x := range e {
		ends[(x.key-low)>>shift]++
	}
	sum := uint32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	for _, x := range e {
		b := (x.key - low) >> shift
		tmp[ends[b]] = x
		ends[b]++
	}
	copy(e, tmp)
	start := uint32(0)
	for _, end := range ends {
		if end-start > 1 {
			sortEntries(e[start:end], tmp[start:end])
		}
		start = end
	}
}

func insertionSort(e []entry) {
	for i := 1; i < len(e); i++ {
		x := e[i]
		j := i
		for j > 0 && e[j-1].key > x.key {
			e[j] = e[j-1]
			j--
		}
		e[j] = x
	}
}

// distinct keeps one entry for each id. e is sorted by key on entry and in the
// order of the ids on return: ids that share a key are compared in full here.
func (s slabs) distinct(e []entry) []entry {
	kept := e[:0]
	for i := 0; i < len(e); {
		n := 1
		for i+n < len(e) && e[i+n].key == e[i].key {
			n++
		}
		group := e[i : i+n]
		i += n
		if n > 1 && s.same(group) {
			group = group[:1]
		} else if n > 1 {
			slices.SortFunc(group, func(a, b entry) int { return compare(s.at(a.at), s.at(b.at)) })
			group = slices.CompactFunc(group, func(a, b entry) bool { return *s.at(a.at) == *s.at(b.at) })
		}
		kept = append(kept, group...)
	}
	return kept
}

// same tells whether all of e stand for one id.
func (s slabs) same(e []entry) bool {
	first := s.at(e[0].at)
	for _, x := range e[1:] {
		if *s.at(x.at) != *first {
			return false
		}
	}
	return true
}

// emit takes ids in order, one or more records at a time. They are valid until
// it returns.
type emit func(records []byte) error
