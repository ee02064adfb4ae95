package idset

import (
	"math"

	"optsweep/schemas"
)

const (
	parts        = 256 // by the first byte of the order
	chunkRecords = 256
	chunkBytes   = chunkRecords * idWidth
	slabChunks   = slabRecords / chunkRecords
)

// pool collects ids in memory, unsorted, in parts by the first byte of the
// order. It takes memory in small chunks and keeps it for the next use.
type pool struct {
	slabs slabs
	free  []uint32 // chunks that no part uses
	parts [parts]part
	most  int // size of the largest part so far

	maxSlabs, maxPart int
}

// newPool makes a pool that takes at most limit bytes. An eighth of that is
// for sorting one part; it is enough for a part far above the average.
func newPool(limit int64) pool {
	const perID = 2*entryBytes + idWidth // entries, room for them, compacted ids
	return pool{
		maxSlabs: int(min((limit-limit/8)/slabBytes, math.MaxUint32/slabRecords)),
		maxPart:  int(limit / 8 / perID),
	}
}

// part is one part of a pool.
type part struct {
	room   []byte   // what is left of the last chunk
	chunks []uint32 // chunk c holds the ids from number c*chunkRecords on
}

func (t *part) len() int { return len(t.chunks)*chunkRecords - len(t.room)/idWidth }

// add takes in an id, or tells that there is no memory left for it.
func (p *pool) add(id *schemas.ID) bool {
	t := &p.parts[id[keyAt]]
	if len(t.room) == 0 && !p.grow(t) {
		return false
	}
	*record(t.room) = *id
	t.room = t.room[idWidth:]
	return true
}

// grow gives a part its next chunk, within the limits.
func (p *pool) grow(t *part) bool {
	size := t.len() + chunkRecords
	if size > p.maxPart || len(p.free) == 0 && !p.addSlab() {
		return false
	}
	c := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	t.chunks = append(t.chunks, c)
	t.room = p.chunk(c)
	p.most = max(p.most, size)
	return true
}

func (p *pool) addSlab() bool {
	if len(p.slabs) >= p.maxSlabs {
		return false
	}
	first := uint32(len(p.slabs)) * slabChunks
	p.slabs = append(p.slabs, make([]byte, slabBytes))
	for c := first + slabChunks; c > first; c-- {
		p.free = append(p.free, c-1)
	}
	return true
}

func (p *pool) chunk(c uint32) []byte {
	at := c % slabChunks * chunkBytes
	return p.slabs[c/slabChunks][at : at+chunkBytes : at+chunkBytes]
}

// size is the number of ids in some parts, repeated ones included.
func size(some []part) (n int) {
	for i := range some {
		n += some[i].len()
	}
	return n
}

// halfEmpty tells whether half of the memory is free, for every part.
func (p *pool) halfEmpty() bool {
	for i := range p.parts {
		if p.parts[i].len() > p.maxPart/2 {
			return false
		}
	}
	free := len(p.free) + (p.maxSlabs-len(p.slabs))*slabChunks
	return free >= p.maxSlabs*slabChunks/2
}

// scratch is room to sort the parts of a pool one after the other.
type scratch struct{ entries, tmp []entry }

func (p *pool) scratch() *scratch {
	return &scratch{make([]entry, 0, p.most), make([]entry, p.most)}
}

// drain emits each distinct id of one part, in order, and empties it.
func (p *pool) drain(t *part, s *scratch, out emit) error {
	e := s.entries[:0]
	left := t.len()
	for _, c := range t.chunks {
		n := min(left, chunkRecords)
		e = entries(e, p.chunk(c)[:n*idWidth], c*chunkRecords)
		left -= n
	}
	sortEntries(e, s.tmp[:len(e)])
	err := p.slabs.send(p.slabs.distinct(e), out)
	p.release(t)
	return err
}

func (p *pool) release(t *part) {
	p.free = append(p.free, t.chunks...)
	t.chunks, t.room = t.chunks[:0], nil
}

// clear drops all ids.
func (p *pool) clear() {
	for i := range p.parts {
		p.release(&p.parts[i])
	}
	p.most = 0
}

// drainAll emits each distinct id, in order, and empties the pool.
func (p *pool) drainAll(out emit) error {
	s := p.scratch()
	for i := range p.parts {
		if err := p.drain(&p.parts[i], s, out); err != nil {
			return err
		}
	}
	p.most = 0
	return nil
}

// compact drops the repeated ids from the given parts.
func (p *pool) compact(some []part) {
	s := p.scratch()
	var kept []byte
	for i := range some {
		kept = kept[:0]
		_ = p.drain(&some[i], s, func(records []byte) error {
			kept = append(kept, records...)
			return nil
		})
		for at := 0; at < len(kept); at += idWidth {
			p.add(record(kept[at:])) // back into memory that was just freed
		}
	}
}
