package idset

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"

	"optsweep/schemas"
)

const (
	// mergeSlots is the number of blocks that a merge holds of each file, if it
	// has the memory. More only fall out of the caches.
	mergeSlots = 8

	// slotBytes is the memory that a merge takes for a block.
	slotBytes = blockRecords * (idWidth + 2*entryBytes)
)

// input is one file of a merge. Its next blocks lie in a ring of slots: block
// b in slot b%slots, slot 0 at number base of the slabs.
type input struct {
	*file
	base   uint32
	slots  int64
	head   int64 // first record that is not used yet
	tail   int64 // end of the records that are loaded
	blocks int64 // loaded so far
}

func (in *input) number(record int64) uint32 {
	return in.base + uint32(record%(in.slots*blockRecords))
}

// load reads blocks into every slot whose records are all used.
func (in *input) load(s slabs) error {
	for in.tail < in.count && in.head/blockRecords+in.slots > in.blocks {
		n := in.number(in.blocks * blockRecords)
		at := n % slabRecords * idWidth
		got, err := in.readBlock(in.blocks, s[n/slabRecords][at:at+blockRecords*idWidth])
		if err != nil {
			return err
		}
		in.blocks++
		in.tail += int64(len(got) / idWidth)
	}
	return nil
}

// take appends entries for the records up to and including bound (nil: for all
// that are loaded) and counts them as used.
func (in *input) take(s slabs, bound *schemas.ID, dst []entry) []entry {
	n := in.tail - in.head
	if bound != nil {
		n = int64(sort.Search(int(n), func(i int) bool {
			return compare(s.at(in.number(in.head+int64(i))), bound) > 0
		}))
	}
	for end := in.head + n; in.head < end; {
		stop := min(end, (in.head/blockRecords+1)*blockRecords)
		first := in.number(in.head)
		at := first % slabRecords * idWidth
		dst = entries(dst, s[first/slabRecords][at:at+uint32(stop-in.head)*idWidth], first)
		in.head = stop
	}
	return dst
}

// merge emits each distinct id of files, in order. It works in rounds. A round
// loads what fits, takes from every file the ids up to the lowest id that ends
// what is loaded of a file with more to come, and sorts them: whatever comes
// later is greater. So the cost of an id does not grow with the number of
// files. Memory: budget, or one block per file if that is more.
func merge(ctx context.Context, files []*file, budget int64, out emit) error {
	if len(files) == 1 {
		return copyRecords(ctx, files[0], out)
	}
	slots := max(1, min(mergeSlots, budget/slotBytes/int64(max(1, len(files)))))
	inputs := make([]input, len(files))
	var total int64
	for i, f := range files {
		inputs[i] = input{file: f, base: uint32(total * blockRecords), slots: min(slots, blocksOf(f.count))}
		total += inputs[i].slots
	}
	s := make(slabs, (total*blockRecords+slabRecords-1)/slabRecords)
	for i := range s {
		s[i] = make([]byte, min(slabRecords, int(total)*blockRecords-i*slabRecords)*idWidth)
	}
	taken := make([]entry, 0, total*blockRecords)
	tmp := make([]entry, total*blockRecords)

	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var bound *schemas.ID
		for i := range inputs {
			in := &inputs[i]
			if err := in.load(s); err != nil {
				return err
			}
			if in.tail < in.count {
				if last := s.at(in.number(in.tail - 1)); bound == nil || compare(last, bound) < 0 {
					bound = last
				}
			}
		}
		taken = taken[:0]
		for i := range inputs {
			taken = inputs[i].take(s, bound, taken)
		}
		if len(taken) == 0 {
			return nil
		}
		sortEntries(taken, tmp[:len(taken)])
		if err := s.send(s.distinct(taken), out); err != nil {
			return err
		}
	}
}

// copyRecords emits each id of one file.
func copyRecords(ctx context.Context, f *file, out emit) error {
	c := newCursor(f)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.fill(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out(c.rest); err != nil {
			return err
		}
		c.rest = nil
	}
}

// send emits the ids of e.
func (s slabs) send(e []entry, out emit) error {
	const batch = 256
	var ids [batch * idWidth]byte
	for some := range slices.Chunk(e, batch) {
		for i, x := range some {
			*record(ids[i*idWidth:]) = *s.at(x.at)
		}
		if err := out(ids[:len(some)*idWidth]); err != nil {
			return err
		}
	}
	return nil
}
