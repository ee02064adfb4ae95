package optoutlog

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"optsweep/schemas"
)

// randomID makes an EUID v3 id.
func randomID(r *rand.ChaCha8) (id schemas.ID) {
	_, _ = r.Read(id[1:])
	id[0] = 0x10
	return id
}

func chacha(n uint64) *rand.ChaCha8 {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], n)
	return rand.NewChaCha8(s)
}

// A table answers like a map that keeps the earliest time, however the ids
// came in, and a table made from it leaves it as it was.
func TestTableIsAMapOfEarliestTimes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := chacha(rapid.Uint64().Draw(rt, "seed"))
		pool := make([]schemas.ID, rapid.IntRange(1, 3000).Draw(rt, "ids"))
		for i := range pool {
			pool[i] = randomID(r)
			if i%3 == 0 { // ids as tests make them up: a counter
				pool[i] = schemas.ID{0: 0x10}
				binary.BigEndian.PutUint64(pool[i][1:], uint64(i))
			}
		}
		tab := emptyTable()
		want := map[schemas.ID]int64{}
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			before, size := tab, tab.size
			a, b := newCollector(&tab.seed, 10), newCollector(&tab.seed, 5000)
			for range rapid.IntRange(0, 4000).Draw(rt, "added") {
				id := pool[r.Uint64()%uint64(len(pool))]
				sec := int64(1 + r.Uint64()%maxSecond)
				if old, ok := want[id]; !ok || sec < old {
					want[id] = sec
				}
				c := a
				if sec%2 == 0 {
					c = b
				}
				c.add(&id, sec)
			}
			tab = tab.with(2, a, b)
			if n := len(allOf(before)); n != size {
				rt.Fatalf("the table before went from %d to %d ids", size, n)
			}
		}
		if tab.size != len(want) {
			rt.Fatalf("%d ids, want %d", tab.size, len(want))
		}
		probes := append(pool, randomID(r), randomID(r))
		got := map[int]int64{}
		last := -1
		tab.findAll(probes, func(i int, sec int64) {
			if i <= last {
				rt.Fatalf("ids out of order")
			}
			last = i
			got[i] = sec
		})
		for i := range probes {
			sec, ok := tab.find(&probes[i])
			wantSec, wantOK := want[probes[i]]
			many, manyOK := got[i]
			if sec != wantSec || ok != wantOK || many != wantSec || manyOK != wantOK {
				rt.Fatalf("probe %d: find %d %t, findAll %d %t, want %d %t", i, sec, ok, many, manyOK, wantSec, wantOK)
			}
		}
	})
}

func allOf(t *table) (all []record) {
	for i := range t.shards {
		all = append(all, t.shards[i].records...)
	}
	return all
}

// A block that overflows answers too: all ids of a shard in one block.
func TestOverflowedBlock(t *testing.T) {
	r := chacha(1)
	sd := newSeed()
	var records []record
	for i := range int64(blockTags + 20) {
		id := randomID(r)
		records = append(records, newRecord(&id, i+1))
	}
	s := shard{blocks: []block{newBlock(&sd, 0, records)}, records: records}
	for i := range records {
		id := records[i].id()
		b := &s.blocks[0]
		if sec, ok := s.confirm(0, b[0], b.match(b[0], sd.hash(id)), id); !ok || sec != int64(i+1) {
			t.Fatalf("record %d: %d %t", i, sec, ok)
		}
	}
	absent := randomID(r)
	if _, ok := s.confirm(0, s.blocks[0][0], s.blocks[0].match(s.blocks[0][0], sd.hash(&absent)), &absent); ok {
		t.Fatal("found an id that is not there")
	}
}

// Memory at rest stays under 48 bytes per id, also where ids come in many
// times.
func TestTableMemory(t *testing.T) {
	for _, copies := range []int{1, 2, 7} {
		r := chacha(2)
		tab := emptyTable()
		c := newCollector(&tab.seed, 0)
		const n = 600_000
		for range n {
			id := randomID(r)
			for range copies {
				c.add(&id, 1_764_547_200)
			}
		}
		tab = tab.with(2, c)
		per := float64(tab.bytes()) / n
		t.Logf("%d copies: %.1f bytes per id", copies, per)
		if tab.size != n || per > 48 {
			t.Errorf("%d copies: %d ids of %.1f bytes", copies, tab.size, per)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000, 10_000_000} {
		r := chacha(3)
		tab := emptyTable()
		c := newCollector(&tab.seed, n)
		var in []schemas.ID
		for i := range n {
			id := randomID(r)
			c.add(&id, 1_764_547_200)
			if i%10 == 0 {
				in = append(in, id)
			}
		}
		tab = tab.with(2, c)
		rand.New(r).Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		for _, hits := range []int{0, 3, 100} {
			ids := make([]schemas.ID, 1<<20)
			for i := range ids {
				if int(r.Uint64()%100) < hits {
					ids[i] = in[i%len(in)]
				} else {
					ids[i] = randomID(r)
				}
			}
			b.Run(fmt.Sprintf("many/ids=%d/hits=%d%%", n, hits), func(b *testing.B) {
				found := 0
				start := cpuSeconds(b)
				for b.Loop() {
					tab.findAll(ids, func(int, int64) { found++ })
				}
				b.ReportMetric(float64(b.N)*float64(len(ids))/1e6/(cpuSeconds(b)-start), "Mids/cpu-s")
				b.ReportMetric(float64(tab.bytes())/float64(tab.size), "B/id")
			})
			b.Run(fmt.Sprintf("one/ids=%d/hits=%d%%", n, hits), func(b *testing.B) {
				start := cpuSeconds(b)
				for b.Loop() {
					for i := range ids {
						_, _ = tab.find(&ids[i])
					}
				}
				b.ReportMetric(float64(b.N)*float64(len(ids))/1e6/(cpuSeconds(b)-start), "Mids/cpu-s")
			})
		}
	}
}

// cpuSeconds is the CPU time of this process: rates per core are told against
// it, because wall time depends on what else the machine does.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
