package idset

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// MinMemory is the least memory that a Builder or a merge works with.
const MinMemory = 8 << 20

// fanIn is the number of spilled runs that are merged into one, and of unit
// files that are merged without a detour over a Builder.
const (
	fanIn     = 32
	unitFanIn = 256
)

// Options say where sets are built and in how much memory.
type Options struct {
	Disk   durable.Disk
	Spill  string // folder for what does not fit into memory; it must exist
	Memory int64  // bytes; less than MinMemory counts as MinMemory
}

func (o Options) memory() int64 { return max(o.Memory, MinMemory) }

// Builder makes one sorted file of unique ids out of ids in any order. It may
// be used again after WriteFile, which is cheaper than a new one. Its methods
// are safe for concurrent use.
//
// Ids stay in memory until the budget is used up. Then, if most of them are
// repetitions, those are dropped; otherwise all are sorted and spilled to a
// temporary file, which has no name where the system allows that. A killed
// process leaves at most files that durable.RemoveLeftovers removes.
type Builder struct {
	opts Options
	mu   sync.Mutex
	pool pool
	runs []run
}

// run is a sorted file of ids that were spilled. Runs of level n+1 are made of
// fanIn runs of level n.
type run struct {
	*file
	level int
}

// NewBuilder makes an empty Builder. Close it.
func NewBuilder(opts Options) *Builder {
	b := &Builder{opts: opts}
	const buffers = 2 * encoderBlocks * blockRecords * idWidth
	b.pool = newPool(opts.memory() - b.mergeMemory() - 2*buffers) // a run and the result
	return b
}

// mergeMemory is what merging spilled runs may take.
func (b *Builder) mergeMemory() int64 {
	return min(fanIn*mergeSlots*slotBytes, b.opts.memory()/4)
}

// Add takes in ids. They are copied.
func (b *Builder) Add(ids []schemas.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range ids {
		for !b.pool.add(&ids[i]) {
			if err := b.makeRoom(); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteFile puts the sorted, unique ids added so far at path, whole or not at
// all, and empties the Builder, also when it fails.
func (b *Builder) WriteFile(ctx context.Context, path string) (Info, error) {
	out, err := create(b.opts.Disk, path, idKind, nil)
	if err != nil {
		b.Close()
		return Info{}, err
	}
	defer out.discard()
	if err := b.drain(ctx, out.append); err != nil {
		return Info{}, err
	}
	return out.publish()
}

// Close drops all ids and removes what was spilled.
func (b *Builder) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reset()
}

func (b *Builder) reset() {
	for _, r := range b.runs {
		r.close()
	}
	b.runs = nil
	b.pool.clear()
}

// drain emits each distinct id, in order, and empties the Builder.
func (b *Builder) drain(ctx context.Context, out emit) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.reset()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(b.runs) == 0 {
		return b.pool.drain(out)
	}
	if err := b.spill(); err != nil {
		return err
	}
	return merge(ctx, files(b.runs), b.mergeMemory(), out)
}

func files(runs []run) []*file {
	fs := make([]*file, len(runs))
	for i, r := range runs {
		fs[i] = r.file
	}
	return fs
}

// makeRoom makes the pool at least half empty.
func (b *Builder) makeRoom() error {
	all := b.pool.parts[:]
	sample := all[:parts/32] // tells whether dropping repetitions is worth the time
	before := size(sample)
	b.pool.compact(sample)
	if size(sample) <= before/2 {
		b.pool.compact(all[parts/32:])
		if b.pool.halfEmpty() {
			return nil
		}
	}
	return b.spill()
}

// spill moves the ids of the pool to a new run.
func (b *Builder) spill() error {
	if size(b.pool.parts[:]) == 0 {
		return nil
	}
	if err := b.writeRun(0, b.pool.drain); err != nil {
		return err
	}
	for {
		tail := slices.Clone(b.runs[max(0, len(b.runs)-fanIn):])
		level := tail[len(tail)-1].level
		if len(tail) < fanIn || tail[0].level != level {
			return nil
		}
		if err := b.writeRun(level+1, func(out emit) error {
			return merge(context.Background(), files(tail), b.mergeMemory(), out)
		}); err != nil {
			return err
		}
		for _, r := range tail {
			r.close()
		}
		b.runs = slices.Delete(b.runs, len(b.runs)-1-fanIn, len(b.runs)-1)
	}
}

// writeRun makes a run of what drain emits. It need not survive a power loss,
// so it is neither synced nor renamed.
func (b *Builder) writeRun(level int, drain func(emit) error) error {
	out, err := create(b.opts.Disk, filepath.Join(b.opts.Spill, "ids"), idKind, nil)
	if err != nil {
		return err
	}
	_ = os.Remove(out.file.Name()) // works while it is open, but not on every system
	if err := drain(out.append); err != nil {
		out.discard()
		return err
	}
	info, err := out.finish()
	if err != nil {
		out.discard()
		return err
	}
	f, err := parse(out.file.Name(), out.file, info.Bytes, idKind)
	if err != nil {
		out.discard()
		return err
	}
	f.close = out.discard
	b.runs = append(b.runs, run{f, level})
	return nil
}
