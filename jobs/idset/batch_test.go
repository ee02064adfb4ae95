package idset

import (
	"slices"
	"testing"

	"optsweep/schemas"
)

// Ids that the docs derive from test@example.com.
const (
	idV2 = "JU93RRD6rRTGd1EQoeceWGl8PzefJFRoSU6r8aWt5KY="
	idV3 = "ECVPd0UQ+q0UxndREKHnHlhpfD83nyRUaElOq/GlreSm"
)

// checkBatch checks that a batch tells of cells what Parse does.
func checkBatch(t *testing.T, rules schemas.Rules, cells [][]byte) {
	t.Helper()
	var want []schemas.ID
	good := true
	for _, cell := range cells {
		if cell == nil {
			continue
		}
		id, repaired, reason := rules.Parse(cell)
		good = good && reason == schemas.Valid && !repaired
		want = append(want, id)
	}
	var b batch
	got := make([]schemas.ID, batchCells)
	n, ok := b.parse(rules, cells, got)
	if ok != good || ok && !slices.Equal(got[:n], want) {
		t.Fatalf("a batch of %d cells: ok %v, %d ids; Parse: %v, %d", len(cells), ok, n, good, len(want))
	}
}

func TestBatch(t *testing.T) {
	v2, v3 := []byte(idV2), []byte(idV3)
	for size := 0; size <= batchCells; size++ {
		cells := make([][]byte, size)
		for i := range cells {
			cells[i] = [][]byte{v2, v3, nil, v3}[(i*7+size)%4]
		}
		checkBatch(t, euids, cells)
	}
	// Every byte at every place of a cell, alone and among others.
	for _, good := range [][]byte{v2, v3} {
		for at := range good {
			for c := range 256 {
				cell := slices.Clone(good)
				cell[at] = byte(c)
				checkBatch(t, euids, [][]byte{cell})
				checkBatch(t, euids, [][]byte{v3, v2, nil, cell, v3, v2})
			}
		}
	}
	// Line breaks that make up for each other, and cells of other lengths.
	text := idV3 + idV3
	for _, cells := range [][][]byte{
		{[]byte(text[:40] + "\n\n\n\n"), v3}, {[]byte("\r\n\r\n" + text[:40]), []byte(text[:40] + "\n\n\n\n")},
		{[]byte(text[:43]), []byte(text[43:])}, {v3, []byte("")}, {[]byte(" " + idV3)}, {[]byte("====" + text[:40])}, {v3, []byte(text[:42] + "==")},
	} {
		checkBatch(t, euids, cells)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(idV2+idV3), []byte{44, 0, 44, 255})
	f.Add([]byte(idV3+"\n\n\n\n"), []byte{44, 4})
	f.Fuzz(func(t *testing.T, text []byte, sizes []byte) {
		var cells [][]byte
		for _, size := range sizes[:min(len(sizes), batchCells)] {
			n := min(int(size), len(text))
			cell := text[:n:n]
			if size == 255 {
				cell = nil
			}
			cells, text = append(cells, cell), text[n:]
		}
		checkBatch(t, euids, cells)
	})
}
