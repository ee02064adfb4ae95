package idset

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"optsweep/schemas"
)

var rules = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// randomIDs makes n valid ids of all versions that differ with near certainty.
func randomIDs(seed uint64, n int) []schemas.ID {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	random := rand.NewChaCha8(key)
	ids := make([]schemas.ID, n)
	for i := range ids {
		id := &ids[i]
		_, _ = random.Read(id[1:])
		switch i % 4 {
		case 0:
			id[0] = 0xFF // v2
		case 1:
			id[0] = 0xB0 // v4, one of 16 keys
			id[1], id[2], id[3] = 0, 0, id[3]%16
			var x byte
			for _, b := range id[:32] {
				x ^= b
			}
			id[32] = x
		default:
			id[0] = 0x10 // v3
		}
	}
	return ids
}

// cellsOf spells n cells, about 30 % of them repetitions.
func cellsOf(n int) schemas.Cells {
	ids := randomIDs(1, n*7/10)
	text := make([]byte, 0, n*schemas.TextSize)
	values := make([][]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range values {
		id := ids[min(i, r.IntN(len(ids)))]
		if i < len(ids) {
			id = ids[i]
		}
		text = id.AppendText(text)
		values[i] = text[i*schemas.TextSize : (i+1)*schemas.TextSize]
	}
	return schemas.Cells{Values: values}
}

func reportPerID(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mids/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(n)/float64(b.N), "ns/id")
}

func BenchmarkParse(b *testing.B) {
	cells := cellsOf(1_000_000)
	for b.Loop() {
		for _, c := range cells.Values {
			if _, _, reason := rules.Parse(c); reason != schemas.Valid {
				b.Fatal(reason)
			}
		}
	}
	reportPerID(b, len(cells.Values))
}

// BenchmarkBatch is BenchmarkParse for 64 cells at a time.
func BenchmarkBatch(b *testing.B) {
	cells, ids, room := cellsOf(1_000_000), make([]schemas.ID, batchCells), new(batch)
	for b.Loop() {
		for some := range slices.Chunk(cells.Values, batchCells) {
			if n, ok := room.parse(rules, some, ids); !ok || n != len(some) {
				b.Fatal("a good cell was refused")
			}
		}
	}
	reportPerID(b, len(cells.Values))
}

// BenchmarkUnit validates, deduplicates and sorts the cells of one unit into a
// durable file.
func BenchmarkUnit(b *testing.B) {
	cells := cellsOf(1_000_000)
	for _, memory := range []int64{256 << 20, MinMemory} {
		b.Run(fmt.Sprintf("memory=%dMiB", memory>>20), func(b *testing.B) {
			dir := b.TempDir()
			to := NewBuilder(Options{Spill: dir, Memory: memory})
			defer to.Close()
			for b.Loop() {
				c := NewCollector(rules, to, nil)
				if err := c.Add(cells); err != nil {
					b.Fatal(err)
				}
				if _, err := to.WriteFile(context.Background(), filepath.Join(dir, "unit.ids")); err != nil {
					b.Fatal(err)
				}
			}
			reportPerID(b, len(cells.Values))
		})
	}
}

// BenchmarkBuild is BenchmarkUnit without validation.
func BenchmarkBuild(b *testing.B) {
	ids := randomIDs(1, 1_000_000)
	dir := b.TempDir()
	to := NewBuilder(Options{Spill: dir, Memory: 256 << 20})
	defer to.Close()
	for b.Loop() {
		if err := to.Add(ids); err != nil {
			b.Fatal(err)
		}
		if _, err := to.WriteFile(context.Background(), filepath.Join(dir, "unit.ids")); err != nil {
			b.Fatal(err)
		}
	}
	reportPerID(b, len(ids))
}

// BenchmarkMerge merges unit files into shards.
func BenchmarkMerge(b *testing.B) {
	for _, units := range []int{1, 2, 16, 256, 1000} {
		b.Run(fmt.Sprintf("units=%d", units), func(b *testing.B) {
			const n = 1_000_000
			dir := b.TempDir()
			opts := MergeOptions{Options: Options{Spill: dir, Memory: 256 << 20}}
			paths := writeUnits(b, opts.Options, dir, randomIDs(1, n), units)
			for b.Loop() {
				m, err := Merge(context.Background(), opts, paths, dir)
				if err != nil || m.IDs != n {
					b.Fatal(m.IDs, err)
				}
			}
			reportPerID(b, n)
		})
	}
}

// writeUnits spreads ids over unit files.
func writeUnits(tb testing.TB, opts Options, dir string, ids []schemas.ID, units int) (paths []string) {
	b := NewBuilder(opts)
	defer b.Close()
	for i := range units {
		if err := b.Add(ids[i*len(ids)/units : (i+1)*len(ids)/units]); err != nil {
			tb.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("unit-%d.ids", i))
		if _, err := b.WriteFile(context.Background(), path); err != nil {
			tb.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func BenchmarkReader(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	opts := MergeOptions{Options: Options{Spill: dir}}
	if _, err := Merge(context.Background(), opts, writeUnits(b, opts.Options, dir, randomIDs(1, n), 1), dir); err != nil {
		b.Fatal(err)
	}
	batch := make([]schemas.ID, 5000)
	for b.Loop() {
		r, err := OpenReader(dir)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(batch); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
	}
	reportPerID(b, n)
}

// BenchmarkLookup looks up cells of which 3 % are opted out.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{150_000, 10_000_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			ids := randomIDs(2, n)
			set := NewOptedOut(rules, n)
			for i := range ids {
				if err := set.Add(schemas.OptOut{ID: ids[i], SinceMS: int64(i)}); err != nil {
					b.Fatal(err)
				}
			}
			cells := cellsOf(1_000_000)
			var text []byte
			for i := range len(cells.Values) * 3 / 100 {
				text = ids[i].AppendText(text)
				cells.Values[i*33] = text[i*schemas.TextSize:]
				cells.Values[i*33] = cells.Values[i*33][:schemas.TextSize]
			}
			measure := func(name string, look func(cells [][]byte, hit func(int, int64))) {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						hits := 0
						look(cells.Values, func(int, int64) { hits++ })
						if hits != len(cells.Values)*3/100 {
							b.Fatal(hits)
						}
					}
					reportPerID(b, len(cells.Values))
					b.ReportMetric(float64(set.Bytes())/float64(set.Len()), "B/entry")
				})
			}
			measure("Since", func(cells [][]byte, hit func(int, int64)) {
				for i, c := range cells {
					if since, ok := set.Since(c); ok {
						hit(i, since)
					}
				}
			})
			measure("SinceEach", set.SinceEach)
		})
	}
}
