package parquet_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"optsweep/schemas"
)

// mutate damages a file: bits, bytes, numbers, cuts and repeated stretches,
// half of the time within the footer.
func mutate(r *rand.Rand, data []byte) []byte {
	data = append([]byte(nil), data...)
	for range 1 + r.IntN(3) {
		low := 0
		if length := int(binary.LittleEndian.Uint32(data[len(data)-8:])); r.IntN(2) == 0 && length > 0 && length < len(data)-8 {
			low = len(data) - 8 - length
		}
		at := low + r.IntN(len(data)-low)
		switch r.IntN(7) {
		case 0:
			data[at] ^= 1 << r.IntN(8)
		case 1:
			data[at] = byte(r.IntN(256))
		case 2:
			data[at] = 0xFF
		case 3: // a varint that says something enormous
			copy(data[at:], []byte{0xFE, 0xFF, 0xFF, 0xFF, 0x0F})
		case 4: // a stretch of the file over another
			n := 1 + r.IntN(64)
			from := r.IntN(len(data))
			copy(data[at:], append([]byte(nil), data[from:min(from+n, len(data))]...))
		case 5:
			for i := at; i < min(at+1+r.IntN(16), len(data)); i++ {
				data[i] = 0
			}
		case 6: // a piece is missing, the trailer is there
			end := len(data) - 8
			if at < end {
				n := min(1+r.IntN(32), end-at)
				data = append(data[:at], data[at+n:]...)
			}
		}
		if len(data) < 16 {
			return data
		}
	}
	return data
}

// TestMutatedFiles opens, scans and previews damaged files by the thousand:
// each ends in a result or an error, soon, and in little memory.
func TestMutatedFiles(t *testing.T) {
	const rounds = 40 // for each fixture and its flagged twin
	dir := t.TempDir()
	var seeds [][]byte
	for _, f := range fixtures(t) {
		seeds = append(seeds, read(t, f))
		path := filepath.Join(dir, "seed.parquet")
		put(t, path, read(t, f))
		tab := table(t, path)
		apply(t, tab, plan(t, tab)[0], rule)
		seeds = append(seeds, read(t, path))
	}
	ctx := context.Background()
	path := filepath.Join(dir, "x.parquet")
	tab := table(t, path)
	good, bad := 0, 0
	for s, seed := range seeds {
		r := rand.New(rand.NewPCG(1, uint64(s)))
		for round := range rounds {
			data := mutate(r, seed)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			units, _, err := tab.Plan(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range units {
				scanErr := tab.Scan(ctx, u, func(schemas.Cells) error { return nil })
				r, err := tab.Preview(ctx, u, rule)
				if err == nil && r.Confirmed != r.Flagged {
					t.Fatalf("seed %d, round %d: %+v", s, round, r)
				}
				if scanErr == nil && err == nil {
					good++
				}
			}
			runtime.ReadMemStats(&after)
			if took := time.Since(start); took > 20*time.Second {
				t.Fatalf("seed %d, round %d takes %s", s, round, took)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 600<<20 {
				t.Fatalf("seed %d, round %d allocates %d MB", s, round, got>>20)
			}
			bad++
		}
	}
	bad -= good
	t.Logf("%d damaged files, %d read without an error", good+bad, good)
	if good == 0 || bad == 0 {
		t.Fatal("the mutations prove nothing")
	}
}
