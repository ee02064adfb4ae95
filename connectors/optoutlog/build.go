package optoutlog

import (
	"sync"

	"optsweep/schemas"
)

// collector gathers records by the shard they belong to. One goroutine uses
// it.
type collector struct {
	seed  *seed
	parts [shardCount][]record
	size  int
}

// newCollector expects about n records.
func newCollector(seed *seed, n int) *collector {
	c := &collector{seed: seed}
	if each := n / shardCount; each > 0 {
		for i := range c.parts {
			c.parts[i] = make([]record, 0, each+each/16+8)
		}
	}
	return c
}

func (c *collector) add(id *schemas.ID, second int64) {
	s := shardOf(c.seed.hash(id))
	c.parts[s] = append(c.parts[s], newRecord(id, second))
	c.size++
}

// with makes the table that also holds what was collected, the earliest time
// per id. It uses the collectors up, and up to workers goroutines.
func (t *table) with(workers int, added ...*collector) *table {
	next := &table{seed: t.seed, shards: t.shards}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < shardCount; i += workers {
				parts := make([][]record, 0, len(added)+1)
				for _, c := range added {
					if len(c.parts[i]) > 0 {
						parts = append(parts, c.parts[i])
						c.parts[i] = nil
					}
				}
				if len(parts) > 0 {
					parts = append(parts, t.shards[i].records)
					next.shards[i] = buildShard(&t.seed, parts)
				}
			}
		})
	}
	wg.Wait()
	for i := range next.shards {
		next.size += len(next.shards[i].records)
	}
	return next
}

// buildShard sorts records into blocks and merges those of one id.
func buildShard(seed *seed, parts [][]record) shard {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	s := shard{blocks: make([]block, (n+perBlock-1)/perBlock)}
	ends := make([]uint32, len(s.blocks)+1)
	for _, p := range parts {
		for i := range p {
			ends[s.block(seed.hash(p[i].id()))+1]++
		}
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	sorted := make([]record, n)
	for _, p := range parts { // turns the start of each block into its end
		for i := range p {
			at := &ends[s.block(seed.hash(p[i].id()))]
			sorted[*at] = p[i]
			*at++
		}
	}
	unique, start := 0, 0
	for at := range s.blocks {
		end := int(ends[at])
		first := unique
		for i := start; i < end; i++ {
			if !merge(sorted[first:unique], &sorted[i]) {
				sorted[unique] = sorted[i]
				unique++
			}
		}
		s.blocks[at] = newBlock(seed, first, sorted[first:unique])
		start = end
	}
	if unique < n-n/16 { // keep neither the room nor the thin blocks
		return buildShard(seed, [][]record{sorted[:unique]})
	}
	s.records = sorted[:unique:unique]
	return s
}

// merge folds r into the record of the same id, if there is one.
func merge(records []record, r *record) bool {
	for i := range records {
		if *records[i].id() == *r.id() {
			if r.second() < records[i].second() {
				records[i] = *r
			}
			return true
		}
	}
	return false
}

func newBlock(seed *seed, base int, records []record) block {
	b := block{uint64(base)}
	if len(records) > blockTags {
		b[0] |= overflow
		records = records[:blockTags]
	}
	for i := range records {
		at := i*tagBits + headBits
		b[at/64] |= tagOf(seed.hash(records[i].id())) << (at % 64)
	}
	return b
}
