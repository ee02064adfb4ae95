package idset

import (
	"math"
	"runtime"
	"sync"

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
// for sorting parts; it is enough for parts far above the average.
func newPool(limit int64) pool {
	const perID = 2*entryBytes + sortAhead*idWidth // entries, room for them, sorted ids
	return pool{
		maxSlabs: int(min((limit-limit/8)/slabBytes, math.MaxUint32/slabRecords)),
		maxPart:  int(limit / 8 / perID / maxSorters),
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
	slab := make([]byte, slabBytes)
	prefault(slab)
	p.slabs = append(p.slabs, slab)
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

// sorter sorts the parts of a pool one after the other.
type sorter struct {
	pool         *pool
	entries, tmp []entry
	ids          []byte
}

func (p *pool) sorter() *sorter {
	return &sorter{
		pool:    p,
		entries: make([]entry, 0, p.most),
		tmp:     make([]entry, p.most),
		ids:     make([]byte, 0, p.most*idWidth),
	}
}

// sort returns entries for the distinct ids of a part, in order.
func (s *sorter) sort(t *part) []entry {
	e := s.entries[:0]
	left := t.len()
	for _, c := range t.chunks {
		n := min(left, chunkRecords)
		e = entries(e, s.pool.chunk(c)[:n*idWidth], c*chunkRecords)
		left -= n
	}
	sortEntries(e, s.tmp[:len(e)])
	return s.pool.slabs.distinct(e)
}

// gather puts the ids of e in a row.
func (s *sorter) gather(e []entry) []byte {
	s.ids = s.ids[:len(e)*idWidth]
	for i, x := range e {
		*record(s.ids[i*idWidth:]) = *s.pool.slabs.at(x.at)
	}
	return s.ids
}

const (
	sortAhead   = 3       // parts that one has sorted before they are emitted
	maxSorters  = 4       // goroutines that sort parts of one pool
	parallelIDs = 1 << 16 // a smaller pool is sorted by one
)

// drain emits each distinct id, in order, and empties the pool.
func (p *pool) drain(out emit) error {
	defer p.clear()
	if size(p.parts[:]) >= parallelIDs {
		return p.drainParallel(min(maxSorters, runtime.GOMAXPROCS(0)), out)
	}
	s := p.sorter()
	for i := range p.parts {
		if err := out(s.gather(s.sort(&p.parts[i]))); err != nil {
			return err
		}
	}
	return nil
}

// drainParallel sorts every n-th part in a goroutine of its own, while the
// parts before are emitted.
func (p *pool) drainParallel(n int, out emit) error {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	defer wg.Wait()
	defer close(stop)
	sorted, free := make([]chan []byte, n), make([]chan []byte, n)
	for i := range n {
		sorted[i], free[i] = make(chan []byte, sortAhead), make(chan []byte, sortAhead)
		wg.Go(func() {
			s := p.sorter()
			free[i] <- s.ids
			for range sortAhead - 1 {
				free[i] <- make([]byte, 0, p.most*idWidth)
			}
			for at := i; at < parts; at += n {
				e := s.sort(&p.parts[at])
				select {
				case s.ids = <-free[i]:
				case <-stop:
					return
				}
				select {
				case sorted[i] <- s.gather(e):
				case <-stop:
					return
				}
			}
		})
	}
	for at := range parts {
		ids := <-sorted[at%n]
		if err := out(ids); err != nil {
			return err
		}
		free[at%n] <- ids
	}
	return nil
}

// compact drops the repeated ids from the given parts.
func (p *pool) compact(some []part) {
	s := p.sorter()
	for i := range some {
		ids := s.gather(s.sort(&some[i]))
		p.release(&some[i])
		for ; len(ids) > 0; ids = ids[idWidth:] {
			p.add(record(ids)) // back into memory that was just freed
		}
	}
}
