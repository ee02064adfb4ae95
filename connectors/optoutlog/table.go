package optoutlog

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"optsweep/schemas"
)

// A table maps ids to the second of their opt-out. It is immutable. About 43
// bytes per id: a record of 38, and a block of 32 for about 7 records.
//
// Ids are spread by hash over shards, and within a shard over blocks. A block
// is half a cache line: where its records begin, and 16 bits of hash ("tag")
// for each of them. So an id that is not there costs one cache miss, and one
// that is there costs two.
//
// Shards make small additions cheap: only the shards they fall into are built
// anew, the others are shared with the table before.
type table struct {
	seed   seed
	shards [shardCount]shard
	size   int // number of ids
}

const (
	shardBits  = 10
	shardCount = 1 << shardBits
	perBlock   = 7  // records per block on average
	blockTags  = 14 // tags per block; a block with more records has overflowed
)

type shard struct {
	blocks  []block  // at least one
	records []record // block by block
}

// record is an id and its time: 33 bytes and 5 (little endian).
type record [recordSize]byte

const recordSize = schemas.IDSize + 5

func newRecord(id *schemas.ID, second int64) (r record) {
	copy(r[:], id[:])
	binary.LittleEndian.PutUint32(r[schemas.IDSize:], uint32(second))
	r[recordSize-1] = byte(second >> 32)
	return r
}

func (r *record) id() *schemas.ID { return (*schemas.ID)(r[:schemas.IDSize]) }

func (r *record) second() int64 {
	return int64(binary.LittleEndian.Uint32(r[schemas.IDSize:])) | int64(r[recordSize-1])<<32
}

// block is, from the lowest bits of word 0 on: the index of its first record
// (31 bits), the overflow flag (1 bit), and 14 tags of 16 bits, 0 for none.
type block [4]uint64

const (
	overflow = 1 << 31
	headBits = 32
	tagBits  = 16
	tagOnes  = 0x0001000100010001 // lowest bit of every tag
	tagRest  = 0x7FFF7FFF7FFF7FFF // all but the highest bit of every tag
)

// base is the index of the first record of a block that starts with word.
func base(word uint64) int { return int(word & (overflow - 1)) }

// seed makes the hash of ids differ between tables, so that nobody can choose
// ids that fall into one block.
type seed [4]uint64

func newSeed() (s seed) {
	for i := range s {
		s[i] = rand.Uint64()
	}
	return s
}

// hash mixes the 32 bytes that all versions share. Ids are evenly distributed
// already, except for the first bytes of v4 ids and for ids made up by tests.
func (s *seed) hash(id *schemas.ID) uint64 {
	h0, l0 := bits.Mul64(binary.LittleEndian.Uint64(id[1:])^s[0], binary.LittleEndian.Uint64(id[9:])^s[1])
	h1, l1 := bits.Mul64(binary.LittleEndian.Uint64(id[17:])^s[2], binary.LittleEndian.Uint64(id[25:])^s[3])
	return h0 ^ l0 ^ bits.RotateLeft64(h1^l1, 32)
}

// The hash is used up from the top: shard, block, tag.

func shardOf(hash uint64) uint64 { return hash >> (64 - shardBits) }

func (s *shard) block(hash uint64) int {
	return int(hash << shardBits >> 32 * uint64(len(s.blocks)) >> 32)
}

// tagOf is never 0.
func tagOf(hash uint64) uint64 {
	tag := hash & (1<<tagBits - 1)
	return tag + (tag-1)>>63
}

var noBlocks = make([]block, 1)

func emptyTable() *table {
	t := &table{seed: newSeed()}
	for i := range t.shards {
		t.shards[i].blocks = noBlocks
	}
	return t
}

// find looks one id up.
func (t *table) find(id *schemas.ID) (second int64, ok bool) {
	hash := t.seed.hash(id)
	s := &t.shards[shardOf(hash)]
	at := s.block(hash)
	b := &s.blocks[at]
	m := b.match(b[0], hash)
	if m.none(b[0]) {
		return 0, false
	}
	return s.confirm(at, b[0], m, id)
}

// matches has the highest bit of every tag set that fits a hash.
type matches struct{ w0, w1, w2, w3 uint64 }

// match finds the tags that fit hash. word is word 0 of b.
func (b *block) match(word, hash uint64) matches {
	tags := tagOf(hash) * tagOnes
	return matches{zeroTags(word^tags) >> headBits << headBits,
		zeroTags(b[1] ^ tags), zeroTags(b[2] ^ tags), zeroTags(b[3] ^ tags)}
}

// zeroTags sets the highest bit of every 16 bits of x that are 0, and no other.
func zeroTags(x uint64) uint64 {
	return ^((x&tagRest + tagRest) | x | tagRest)
}

// none tells that the id is in no record of the block that starts with word.
func (m matches) none(word uint64) bool {
	return m.w0|m.w1|m.w2|m.w3|word&overflow == 0
}

// first is the index of the first record whose tag fits, or of one near it.
func (m matches) first(word uint64) int {
	at := 0
	for _, w := range [4]uint64{m.w0, m.w1, m.w2, m.w3} {
		if w != 0 {
			return base(word) + at + bits.TrailingZeros64(w)/tagBits - headBits/tagBits
		}
		at += 64 / tagBits
	}
	return base(word) + blockTags
}

// confirm compares id with the records whose tags fit, and with those beyond
// the tags of an overflowed block.
func (s *shard) confirm(at int, word uint64, m matches, id *schemas.ID) (second int64, ok bool) {
	next := base(word) - headBits/tagBits
	for _, w := range [4]uint64{m.w0, m.w1, m.w2, m.w3} {
		for ; w != 0; w &= w - 1 {
			if r := &s.records[next+bits.TrailingZeros64(w)/tagBits]; *r.id() == *id {
				return r.second(), true
			}
		}
		next += 64 / tagBits
	}
	if word&overflow != 0 {
		for i := base(word) + blockTags; i < s.end(at); i++ {
			if r := &s.records[i]; *r.id() == *id {
				return r.second(), true
			}
		}
	}
	return 0, false
}

// end is the index after the last record of a block.
func (s *shard) end(at int) int {
	if at+1 < len(s.blocks) {
		return base(s.blocks[at+1][0])
	}
	return len(s.records)
}

// lookahead is how many ids are looked up together, so that their cache misses
// overlap.
const lookahead = 128

// lookup is an id on its way through findAll.
type lookup struct {
	hash  uint64
	shard *shard
	block *block
	at    int    // index of block
	word  uint64 // word 0 of block
	match matches
	i     int  // index of the id
	touch byte // read only to have the record in the cache
}

// findAll calls found for every id that is in the table, in order.
func (t *table) findAll(ids []schemas.ID, found func(i int, second int64)) {
	var lookups [lookahead]lookup
	for first := 0; first < len(ids); first += lookahead {
		group := ids[first:min(first+lookahead, len(ids))]
		for i := range group {
			l := &lookups[i]
			l.hash = t.seed.hash(&group[i])
			l.shard = &t.shards[shardOf(l.hash)]
			l.at = l.shard.block(l.hash)
			l.block = &l.shard.blocks[l.at]
		}
		for i := range group {
			lookups[i].word = lookups[i].block[0]
		}
		n := 0 // lookups[:n] may be in the table
		for i := range group {
			l := &lookups[i]
			m := l.block.match(l.word, l.hash)
			if !m.none(l.word) {
				l.match, l.i = m, first+i
				lookups[n] = *l
				n++
			}
		}
		for i := range lookups[:n] {
			l := &lookups[i]
			l.touch = l.shard.records[l.match.first(l.word)][0]
		}
		for i := range lookups[:n] {
			l := &lookups[i]
			if second, ok := l.shard.confirm(l.at, l.word, l.match, &ids[l.i]); ok {
				found(l.i, second)
			}
		}
	}
}

// bytes is the memory that the table takes.
func (t *table) bytes() int64 {
	n := int64(shardCount) * 48
	for i := range t.shards {
		n += int64(cap(t.shards[i].blocks))*32 + int64(cap(t.shards[i].records))*recordSize
	}
	return n
}
