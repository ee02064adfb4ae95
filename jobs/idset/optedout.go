package idset

import (
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"math/bits"

	"optsweep/schemas"
)

// OptedOut is a set of opted-out ids in memory, each with the earliest time at
// which it was listed. Lookups may run concurrently with each other, not with
// Add. It takes 47 to 56 bytes per id, if the number of ids is known from the
// start.
//
// It is an open-addressing table with linear probing. A slot is 0, or holds
// the number of an id plus 1 in its low bits and bits of the hash in all
// others, so that a miss seldom looks at an id.
type OptedOut struct {
	rules schemas.Rules
	seed  maphash.Seed
	ids   []schemas.ID
	since []int64
	slots []uint32 // a power of two, at most three quarters in use
}

// NewOptedOut makes an empty set for the ids that rules accept, with room for
// expect ids; it grows if there are more.
func NewOptedOut(rules schemas.Rules, expect int) *OptedOut {
	o := &OptedOut{
		rules: rules,
		seed:  maphash.MakeSeed(),
		ids:   make([]schemas.ID, 0, expect),
		since: make([]int64, 0, expect),
	}
	o.resize(min(1<<bits.Len(uint(max(expect, 8))*4/3), maxSlots))
	return o
}

// maxSlots leaves a slot at least one bit for the hash.
const maxSlots = 1 << 31

// Add adds opted-out ids. Of an id that is added again the earlier time stays.
func (o *OptedOut) Add(optOuts ...schemas.OptOut) error {
	for i := range optOuts {
		if len(o.ids) >= len(o.slots)/4*3 {
			if len(o.slots) == maxSlots {
				return fmt.Errorf("more than %d opted-out ids", len(o.ids))
			}
			o.resize(2 * len(o.slots))
		}
		x := &optOuts[i]
		var room [schemas.TextSize]byte
		slot, n := o.find(spell(&x.ID, &room))
		if n >= 0 {
			o.since[n] = min(o.since[n], x.SinceMS)
			continue
		}
		o.ids = append(o.ids, x.ID)
		o.since = append(o.since, x.SinceMS)
		o.slots[slot.at] = slot.tag | uint32(len(o.ids))
	}
	return nil
}

// resize makes a table of n slots.
func (o *OptedOut) resize(n int) {
	o.slots = make([]uint32, n)
	for i := range o.ids {
		var room [schemas.TextSize]byte
		slot, _ := o.find(spell(&o.ids[i], &room))
		o.slots[slot.at] = slot.tag | uint32(i+1)
	}
}

// slot is where an id belongs.
type slot struct{ at, tag uint32 }

// find looks up an id by its canonical text. It returns the number of the id,
// or -1 and the empty slot where it belongs.
func (o *OptedOut) find(text []byte) (slot, int) {
	h := maphash.Bytes(o.seed, text)
	mask := uint32(len(o.slots) - 1)
	tag := uint32(h>>32) &^ mask
	for at := uint32(h) & mask; ; at = (at + 1) & mask {
		s := o.slots[at]
		if s == 0 {
			return slot{at, tag}, -1
		}
		if s&^mask == tag {
			n := int(s&mask) - 1
			var room [schemas.TextSize]byte
			if string(spell(&o.ids[n], &room)) == string(text) {
				return slot{at, tag}, n
			}
		}
	}
}

// spell writes the canonical text of id into room.
func spell(id *schemas.ID, room *[schemas.TextSize]byte) []byte {
	base64.StdEncoding.Encode(room[:], id.Raw())
	return room[:]
}

// Since looks up a cell of an id column. The result is that of parsing the
// cell and looking the id up, but a cell of the usual length is not parsed: it
// can spell an id in one way only.
func (o *OptedOut) Since(cell []byte) (sinceMS int64, ok bool) {
	if len(cell) != schemas.TextSize {
		return o.sinceOdd(cell)
	}
	if _, n := o.find(cell); n >= 0 {
		return o.since[n], true
	}
	return 0, false
}

func (o *OptedOut) sinceOdd(cell []byte) (sinceMS int64, ok bool) {
	if len(cell) < schemas.TextSize {
		return 0, false // white space only makes an id longer
	}
	id, _, reason := o.rules.Parse(cell)
	if reason != schemas.Valid {
		return 0, false
	}
	return o.SinceID(id)
}

// SinceID looks up an id.
func (o *OptedOut) SinceID(id schemas.ID) (sinceMS int64, ok bool) {
	var room [schemas.TextSize]byte
	if _, n := o.find(spell(&id, &room)); n >= 0 {
		return o.since[n], true
	}
	return 0, false
}

// Len is the number of ids.
func (o *OptedOut) Len() int { return len(o.ids) }

// Bytes is the memory that the set takes.
func (o *OptedOut) Bytes() int64 {
	return int64(cap(o.ids))*schemas.IDSize + int64(cap(o.since))*8 + int64(len(o.slots))*4
}
