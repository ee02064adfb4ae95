package idset

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
