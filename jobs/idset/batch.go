package idset

import (
	"github.com/segmentio/asm/base64"

	"optsweep/schemas"
)

// batchCells is how many cells a batch takes at a time.
const batchCells = 64

// batch parses good cells many at a time, faster than schemas.Rules.Parse does:
// most columns hold little else. One goroutine uses it.
type batch struct {
	texts [batchCells * schemas.TextSize]byte
	bytes [batchCells * schemas.IDSize]byte
}

// parse puts the ids of up to batchCells cells into ids, without gaps for cells
// that are NULL, and tells how many there are. ok is false if one of the others
// is no valid id as it stands; then ids hold nothing of use, and Rules.Parse
// tells of each cell what it is.
func (b *batch) parse(r schemas.Rules, cells [][]byte, ids []schemas.ID) (n int, ok bool) {
	var padded uint64 // a bit for each id
	for _, cell := range cells {
		if cell == nil {
			continue
		}
		if len(cell) != schemas.TextSize {
			return 0, false
		}
		text := b.texts[n*schemas.TextSize:][:schemas.TextSize]
		copy(text, cell)
		if text[schemas.TextSize-1] == '=' {
			text[schemas.TextSize-1] = 'A' // no bits that are set
			padded |= 1 << n
		}
		n++
	}
	// Line breaks, which are skipped, would be missed at the end.
	if end, err := base64.StdEncoding.Decode(b.bytes[:], b.texts[:n*schemas.TextSize]); err != nil || end != n*schemas.IDSize {
		return 0, false
	}
	for i := range n {
		raw := b.bytes[i*schemas.IDSize:][:schemas.IDSize]
		if padded>>i&1 != 0 {
			if raw[schemas.IDSize-1] != 0 {
				return 0, false // canonical text leaves these bits 0
			}
			raw = raw[:schemas.IDSize-1]
		}
		if !r.FromBytes(&ids[i], raw) {
			return 0, false
		}
	}
	return n, true
}
