package schemas

import "github.com/segmentio/asm/base64"

// BatchCells is how many cells a Batch takes at a time.
const BatchCells = 64

// Batch parses good cells in batches, two to three times as fast as Rules.Parse
// does: most columns hold little else. The zero value is ready for use, by one
// goroutine at a time.
type Batch struct {
	texts [BatchCells * TextSize]byte
	bytes [BatchCells * IDSize]byte
}

// Parse puts the ids of up to BatchCells cells into ids, without gaps for cells
// that are NULL, and tells how many there are. ok is false if one of the others
// is no valid id as it stands; then ids hold nothing of use, and Rules.Parse
// tells of each cell what it is.
func (b *Batch) Parse(r Rules, cells [][]byte, ids []ID) (n int, ok bool) {
	var padded uint64 // a bit for each id
	for _, cell := range cells {
		if cell == nil {
			continue
		}
		if len(cell) != TextSize {
			return 0, false
		}
		text := b.texts[n*TextSize:][:TextSize]
		copy(text, cell)
		if text[TextSize-1] == '=' {
			text[TextSize-1] = 'A' // no bits that are set
			padded |= 1 << n
		}
		n++
	}
	// Line breaks, which are skipped, would be missed at the end.
	if end, err := base64.StdEncoding.Decode(b.bytes[:], b.texts[:n*TextSize]); err != nil || end != n*IDSize {
		return 0, false
	}
	for i := range n {
		decoded, id := b.bytes[i*IDSize:][:IDSize], &ids[i]
		if padded>>i&1 != 0 {
			if decoded[IDSize-1] != 0 {
				return 0, false // canonical text leaves these bits 0
			}
			id[0] = v2Tag
			copy(id[1:], decoded)
		} else if copy(id[:], decoded); id[0] == v2Tag {
			return 0, false // not of 32 bytes, and no prefix
		}
		if r.check(id) != Valid {
			return 0, false
		}
	}
	return n, true
}
