package idset

import (
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"

	"optsweep/schemas"
)

// OptedOut is a set of opted-out ids in memory, each with the earliest time at
// which it was listed. Lookups may run concurrently with each other, not with
// Add. It takes 47 to 56 bytes per id, if the number of ids is known from the
// start.
//
// It is an open-addressing table with linear probing. A slot is 0, or holds
// the number of an id plus 1 in its low bits and bits of the hash in all
// others, so that other ids are seldom compared. In front of it is a Bloom
// filter with two bits, in one word, per id: SinceEach tests it for many cells
// at once, so that the processor waits for memory once and not for every cell.
// Both are made for the first lookup: who goes by rows never looks a cell up.
type OptedOut struct {
	rules schemas.Rules
	seed  maphash.Seed
	ids   []schemas.ID
	since []int64
	made  sync.Once
	slots []uint32 // a power of two, at most three quarters in use; nil until made
	bloom []uint64 // one word per 8 slots
}

// NewOptedOut makes an empty set for the ids that rules accept, with room for
// expect ids; it grows if there are more.
func NewOptedOut(rules schemas.Rules, expect int) *OptedOut {
	return &OptedOut{
		rules: rules,
		seed:  maphash.MakeSeed(),
		ids:   make([]schemas.ID, 0, expect),
		since: make([]int64, 0, expect),
	}
}

// table makes the table, unless it is there. It is called before every use.
func (o *OptedOut) table() {
	o.made.Do(func() {
		o.resize(min(1<<bits.Len(uint(max(cap(o.ids), 8))*4/3), maxSlots))
	})
}

// maxSlots leaves a slot at least one bit for the hash.
const maxSlots = 1 << 31

// Add adds opted-out ids. Of an id that is added again the earlier time stays.
func (o *OptedOut) Add(optOuts ...schemas.OptOut) error {
	for i := range optOuts {
		if len(o.ids) >= maxSlots/4*3 {
			return fmt.Errorf("more than %d opted-out ids", len(o.ids))
		}
		x := &optOuts[i]
		if n := len(o.ids); o.slots == nil && (n == 0 || compare(&o.ids[n-1], &x.ID) < 0) {
			o.ids = append(o.ids, x.ID) // in the order of lists: it cannot be there yet
			o.since = append(o.since, x.SinceMS)
			continue
		}
		if o.table(); len(o.ids) >= len(o.slots)/4*3 {
			o.resize(2 * len(o.slots))
		}
		var room [schemas.TextSize]byte
		text := spell(&x.ID, &room)
		h := maphash.Bytes(o.seed, text)
		n := o.find(h, text)
		if n >= 0 {
			o.since[n] = min(o.since[n], x.SinceMS)
			continue
		}
		o.ids = append(o.ids, x.ID)
		o.since = append(o.since, x.SinceMS)
		o.enter(h, len(o.ids)-1)
	}
	return nil
}

// resize makes a table of n slots.
func (o *OptedOut) resize(n int) {
	o.slots = make([]uint32, n)
	o.bloom = make([]uint64, n/8)
	for i := range o.ids {
		var room [schemas.TextSize]byte
		o.enter(maphash.Bytes(o.seed, spell(&o.ids[i], &room)), i)
	}
}

// enter puts id number n with hash h into the table.
func (o *OptedOut) enter(h uint64, n int) {
	at, tag, mask := o.place(h)
	for o.slots[at] != 0 {
		at = (at + 1) & mask
	}
	o.slots[at] = tag | uint32(n+1)
	word, a, b := o.bloomBits(h)
	*word |= 1<<a | 1<<b
}

// place tells at which slot the search for hash h begins, the tag of that
// hash, and the bits of a slot that are not tag.
func (o *OptedOut) place(h uint64) (at, tag, mask uint32) {
	mask = uint32(len(o.slots) - 1)
	return uint32(h) & mask, uint32(h>>32) &^ mask, mask
}

// bloomBits gives the word and the two bits of the Bloom filter for hash h.
func (o *OptedOut) bloomBits(h uint64) (word *uint64, a, b uint64) {
	return &o.bloom[uint32(h)&uint32(len(o.bloom)-1)], h >> 58, h >> 52 & 63
}

// find returns the number of the id with this canonical text and its hash h,
// or -1.
func (o *OptedOut) find(h uint64, text []byte) int {
	at, tag, mask := o.place(h)
	for ; o.slots[at] != 0; at = (at + 1) & mask {
		if o.slots[at]&^mask == tag {
			n := int(o.slots[at]&mask) - 1
			var room [schemas.TextSize]byte
			if string(spell(&o.ids[n], &room)) == string(text) {
				return n
			}
		}
	}
	return -1
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
	return o.sinceText(cell)
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

// SinceEach looks up many cells, two to three times as fast as Since. It calls
// hit for those that are opted out, in order; i is the index in cells.
func (o *OptedOut) SinceEach(cells [][]byte, hit func(i int, sinceMS int64)) {
	o.table()
	const batch = 256
	var hashes [batch]uint64
	var maybe [batch]uint8
	for first := 0; first < len(cells); first += batch {
		some := cells[first:min(first+batch, len(cells))]
		found := len(some)
		for i := range found {
			maybe[i] = uint8(i)
		}
		if o.hashAll(some, &hashes) {
			found = o.sift(hashes[:len(some)], &maybe)
		}
		for _, i := range maybe[:found] {
			if since, ok := o.Since(some[i]); ok {
				hit(first+int(i), since)
			}
		}
	}
}

// hashAll hashes cells; of those that are too short to be ids it leaves an
// arbitrary hash. It gives up if one is too long to be looked up as it is.
func (o *OptedOut) hashAll(cells [][]byte, hashes *[256]uint64) bool {
	for i, c := range cells {
		if len(c) > schemas.TextSize {
			return false
		}
		if len(c) == schemas.TextSize {
			hashes[i] = maphash.Bytes(o.seed, c)
		}
	}
	return true
}

// sift puts the indexes of the hashes that pass the Bloom filter in front and
// counts them. It has no branches that depend on the data.
func (o *OptedOut) sift(hashes []uint64, passed *[256]uint8) (n int) {
	for i, h := range hashes {
		word, a, b := o.bloomBits(h)
		passed[n] = uint8(i)
		n += int(*word >> a & (*word >> b) & 1)
	}
	return n
}

// SinceID looks up an id.
func (o *OptedOut) SinceID(id schemas.ID) (sinceMS int64, ok bool) {
	var room [schemas.TextSize]byte
	return o.sinceText(spell(&id, &room))
}

func (o *OptedOut) sinceText(text []byte) (sinceMS int64, ok bool) {
	o.table()
	h := maphash.Bytes(o.seed, text)
	if word, a, b := o.bloomBits(h); *word>>a&(*word>>b)&1 == 0 {
		return 0, false // the filter fits into nearer caches than the table
	}
	if n := o.find(h, text); n >= 0 {
		return o.since[n], true
	}
	return 0, false
}

// Len is the number of ids.
func (o *OptedOut) Len() int { return len(o.ids) }

// Bytes is the memory that the set takes.
func (o *OptedOut) Bytes() int64 {
	o.table()
	return int64(cap(o.ids))*schemas.IDSize + int64(cap(o.since))*8 + int64(len(o.slots))*4 + int64(len(o.bloom))*8
}
