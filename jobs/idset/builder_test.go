package idset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// tiny makes a Builder that spills after some hundred ids.
func tiny(opts Options, maxSlabs, maxPart int) *Builder {
	b := NewBuilder(opts)
	b.pool.maxSlabs, b.pool.maxPart = maxSlabs, maxPart
	return b
}

func TestBuilderMakesTheSameFileInAnyOrderAndMemory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "unit.ids")
	opts := Options{Spill: dir}
	builders := []*Builder{NewBuilder(opts), tiny(opts, 1, chunkRecords), tiny(opts, 5, 4*chunkRecords)}
	for _, b := range builders {
		defer b.Close()
	}
	rapid.Check(t, func(t *rapid.T) {
		ids := someIDs(t, "ids", 6000)
		want := model(ids)
		var first []byte
		for i, b := range builders {
			rand.New(rand.NewPCG(uint64(i), 1)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			for some := range slices.Chunk(ids, rapid.IntRange(1, 1000).Draw(t, "chunk")) {
				if err := b.Add(some); err != nil {
					t.Fatal(err)
				}
			}
			info, err := b.WriteFile(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = data
				if got, err := decode(data, idKind); err != nil || !bytes.Equal(got, flat(want)) {
					t.Fatalf("wrong set: %d ids, want %d (%v)", len(got)/idWidth, len(want), err)
				}
			}
			if !bytes.Equal(data, first) {
				t.Fatalf("builder %d makes another file", i)
			}
			if got, err := ReadInfo(path); err != nil || got != info || info.IDs != int64(len(want)) {
				t.Fatalf("info %+v, read back %+v, %v", info, got, err)
			}
		}
	})
}

func flat(ids []schemas.ID) []byte {
	var b []byte
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func TestBuilderMergesRunsOfSeveralLevels(t *testing.T) {
	dir := t.TempDir()
	b := tiny(Options{Spill: dir}, 1, chunkRecords)
	defer b.Close()
	ids := randomIDs(1, 80_000) // 64 to a run, 32 runs to one of the next level
	if err := b.Add(ids); err != nil {
		t.Fatal(err)
	}
	if b.runs[0].level != 2 || len(b.runs) > 3*fanIn {
		t.Fatalf("%d runs, the first of level %d", len(b.runs), b.runs[0].level)
	}
	noLeftovers(t, dir) // the files have no name
	path := filepath.Join(dir, "unit.ids")
	if _, err := b.WriteFile(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(readFile(t, path), model(ids)) {
		t.Fatal("wrong set")
	}
	if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", stat.Mode(), err)
	}
}

// Many rows with few ids must not go to disk.
func TestBuilderDropsRepetitionsBeforeItSpills(t *testing.T) {
	b := tiny(Options{Spill: t.TempDir()}, 8, 20*chunkRecords)
	defer b.Close()
	ids := randomIDs(1, 10_000)
	for range 50 {
		if err := b.Add(ids); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.runs) != 0 {
		t.Fatalf("%d runs were spilled", len(b.runs))
	}
}

func TestBuilderKeepsItsBudget(t *testing.T) {
	const memory = 16 << 20
	b := NewBuilder(Options{Spill: t.TempDir(), Memory: memory})
	defer b.Close()
	if err := b.Add(randomIDs(1, 600_000)); err != nil {
		t.Fatal(err)
	}
	const perSort = 2*entryBytes + idWidth
	used := int64(len(b.pool.slabs))*slabBytes + maxSorters*int64(b.pool.maxPart)*perSort + b.mergeMemory() + 4*encoderBlocks*blockRecords*idWidth
	if len(b.runs) == 0 || used > memory {
		t.Fatalf("%d runs, %d bytes used of %d", len(b.runs), used, memory)
	}
}

func TestBuilderIsUsableFromManyGoroutines(t *testing.T) {
	dir := t.TempDir()
	b := tiny(Options{Spill: dir}, 5, 4*chunkRecords)
	defer b.Close()
	ids := randomIDs(1, 20_000)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for some := range slices.Chunk(ids[i*4000:i*4000+8000], 300) {
				if err := b.Add(some); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	path := filepath.Join(dir, "unit.ids")
	if _, err := b.WriteFile(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(readFile(t, path), model(ids)) {
		t.Fatal("wrong set")
	}
}

// A large pool is sorted by several goroutines; the file is the same, and they
// end when writing fails.
func TestBuilderSortsInParallel(t *testing.T) {
	dir := t.TempDir()
	ids := randomIDs(1, 3*parallelIDs/2)
	var failing durable.Disk
	failing.Fault = func(step durable.Step, _ string) (bool, error) {
		if step == durable.Write {
			return false, errFault
		}
		return false, nil
	}
	for _, disk := range []durable.Disk{{}, failing} {
		b := NewBuilder(Options{Disk: disk, Spill: dir, Memory: 64 << 20})
		defer b.Close()
		if err := b.Add(append(ids, ids[:1000]...)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "unit.ids")
		if _, err := b.WriteFile(context.Background(), path); disk.Fault != nil {
			if !errors.Is(err, errFault) {
				t.Fatalf("got %v", err)
			}
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(readFile(t, path), model(ids)) {
			t.Fatal("wrong set")
		}
	}
}

func TestBuilderStopsWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	b := tiny(Options{Spill: dir}, 1, chunkRecords)
	defer b.Close()
	if err := b.Add(randomIDs(1, 1000)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path := filepath.Join(dir, "unit.ids")
	if _, err := b.WriteFile(ctx, path); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	noLeftovers(t, dir)
	if info, err := b.WriteFile(context.Background(), path); err != nil || info.IDs != 0 {
		t.Fatalf("a failed Builder is not empty: %+v, %v", info, err)
	}
}

// At every fault the old file stays, or the new one is there whole; the next
// attempt succeeds.
func TestBuilderFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "unit.ids")
	ids := randomIDs(1, 2000)
	build := func(disk durable.Disk, ids []schemas.ID) error {
		b := tiny(Options{Disk: disk, Spill: dir}, 1, chunkRecords)
		defer b.Close()
		if err := b.Add(ids); err != nil {
			return err
		}
		_, err := b.WriteFile(context.Background(), path)
		return err
	}
	if err := build(durable.Disk{}, ids); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults(t, dir, restore, func(disk durable.Disk) error { return build(disk, ids[:300]) },
		func(step durable.Step, at string, stored bool) {
			want := ids
			if step == durable.SyncDir || step == durable.Rename && stored {
				want = ids[:300]
			}
			if step == durable.Sync && at == path {
				t.Fatal("the file in place is written")
			}
			if !slices.Equal(readFile(t, path), model(want)) {
				t.Fatalf("after a fault at %s (stored %v) the file is not what it should be", step, stored)
			}
		})
}

func TestCollector(t *testing.T) {
	dir := t.TempDir()
	ids := randomIDs(1, 5)
	text := func(i int) []byte { return ids[i].AppendText(nil) }
	values := [][]byte{
		text(0), nil, text(1), text(0),
		[]byte(" " + string(text(2)) + "\n"),
		[]byte("someone@example.com"),
		{}, []byte("  "),
		append(text(3), 'A'),
		text(4)[:43],
	}
	b := NewBuilder(Options{Spill: dir})
	defer b.Close()
	var bad []string
	c := NewCollector(rules, b, func(row, _ int64, reason schemas.Reason, cell []byte) error {
		bad = append(bad, fmt.Sprintf("%d %s %d", row, reason, len(cell)))
		return nil
	})
	if err := c.Add(schemas.Cells{First: 100, Values: values[:5]}); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(schemas.Cells{First: 105, Values: values[5:]}); err != nil {
		t.Fatal(err)
	}
	counts, err := c.Counts()
	if err != nil {
		t.Fatal(err)
	}
	want := "{10 1 4 1 map[empty:2 looks_like_email:1 missing_padding:1 not_base64:1]}"
	if got := fmt.Sprint(counts); got != want {
		t.Errorf("counts %s, want %s", got, want)
	}
	if got := fmt.Sprint(bad); got != "[105 looks_like_email 19 106 empty 0 107 empty 2 108 not_base64 45 109 missing_padding 43]" {
		t.Errorf("bad cells %s", bad)
	}
	path := filepath.Join(dir, "unit.ids")
	if _, err := b.WriteFile(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(readFile(t, path), model(ids[:3])) {
		t.Error("wrong set")
	}
}

func TestCollectorIsUsableFromManyGoroutines(t *testing.T) {
	dir := t.TempDir()
	cells := cellsOf(20_000)
	for i := range cells.Values {
		switch i % 10 {
		case 3:
			cells.Values[i] = nil
		case 4:
			cells.Values[i] = cells.Values[i][:20]
		}
	}
	build := func(workers int) (Counts, []schemas.ID, int64) {
		b := NewBuilder(Options{Spill: dir})
		defer b.Close()
		var rows int64
		c := NewCollector(rules, b, func(row, _ int64, _ schemas.Reason, _ []byte) error { rows += row; return nil })
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				n := len(cells.Values) / workers
				if err := c.Add(schemas.Cells{First: int64(w * n), Values: cells.Values[w*n : (w+1)*n]}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		counts, err := c.Counts()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "unit.ids")
		if _, err := b.WriteFile(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		return counts, readFile(t, path), rows
	}
	counts1, ids1, rows1 := build(1)
	counts4, ids4, rows4 := build(4)
	if fmt.Sprint(counts1) != fmt.Sprint(counts4) || !slices.Equal(ids1, ids4) || rows1 != rows4 {
		t.Fatalf("%v %d %d, with four goroutines %v %d %d", counts1, len(ids1), rows1, counts4, len(ids4), rows4)
	}
	if counts1.Nulls != 2000 || counts1.Valid != 16000 || counts1.Rows != 20000 {
		t.Fatalf("counts %v", counts1)
	}
}

func TestCollectorStopsWhenQuarantineFails(t *testing.T) {
	b := NewBuilder(Options{Spill: t.TempDir()})
	defer b.Close()
	c := NewCollector(rules, b, func(_, _ int64, _ schemas.Reason, _ []byte) error { return errFault })
	if err := c.Add(schemas.Cells{Values: [][]byte{[]byte("x")}}); !errors.Is(err, errFault) {
		t.Fatalf("got %v", err)
	}
}

func TestCountsCheck(t *testing.T) {
	good := Counts{Rows: 6, Nulls: 1, Valid: 2, Repaired: 2, Malformed: map[schemas.Reason]int64{schemas.Empty: 3}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	sum := good
	sum.Malformed = nil
	sum.Rows = 3
	sum.Add(good)
	if err := sum.Check(); err != nil || sum.Rows != 9 || sum.Malformed[schemas.Empty] != 3 {
		t.Errorf("%v, %v", sum, err)
	}
	lost, tooMany := good, good
	lost.Rows++
	tooMany.Repaired++
	for _, c := range []Counts{lost, tooMany} {
		if err := c.Check(); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%v passes: %v", c, err)
		}
	}
}
