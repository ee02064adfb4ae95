package chunk

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

var (
	errLevels  = errors.New("has damaged definition levels")
	errRepeats = errors.New("has damaged repetition levels")
)

// hybrid walks the runs of the RLE/bit-packed hybrid encoding (parquet-format
// Encodings.md). A run is either repeat times value, or packed bytes of bit
// packed values.
type hybrid struct {
	data  []byte
	width uint // bits of a value, 0 to 32
}

type run struct {
	length int // values; a packed run may have up to 7 too many at the end
	value  uint32
	packed []byte // nil for a repeated value
}

// next returns the next run of at least one value.
func (h *hybrid) next() (run, error) {
	head, n := binary.Uvarint(h.data)
	if n <= 0 || head < 2 || head>>1 > 1<<31-1 {
		return run{}, errors.New("has a damaged run of values")
	}
	h.data = h.data[n:]
	if head&1 == 0 {
		size := int(h.width+7) / 8
		if size > len(h.data) {
			return run{}, errors.New("ends within a run of values")
		}
		var value [4]byte
		copy(value[:], h.data[:size])
		h.data = h.data[size:]
		return run{length: int(head >> 1), value: binary.LittleEndian.Uint32(value[:])}, nil
	}
	length := int(head>>1) * 8
	size := int(head>>1) * int(h.width)
	if size > len(h.data) { // some writers cut the padding of the last values off
		size = len(h.data)
		length = size * 8 / int(h.width)
	}
	if length == 0 {
		return run{}, errors.New("ends within a run of values")
	}
	r := run{length: length, packed: h.data[:size:size]}
	h.data = h.data[size:]
	return r, nil
}

// levels walks the levels of a page: those of definition or of repetition.
type levels struct {
	all     bool   // there are none, as if each were the one that counts
	left    int    // levels of the page not given yet
	counts  uint32 // the level that counts: of a value, or of the start of a row
	runs    hybrid
	current run
	used    int // levels of current that were given
}

// width is the number of bits of levels up to highest.
func width(highest int) uint { return uint(bits.Len(uint(highest))) }

// countLevels counts how often the level that counts comes among n levels, and
// checks that the levels reach that far and that none is above highest.
func countLevels(data []byte, n int, highest, counts uint32) (found int, err error) {
	h := hybrid{data: data, width: width(int(highest))}
	for n > 0 {
		r, err := h.next()
		if err != nil {
			return 0, errLevels
		}
		length := min(r.length, n)
		n -= length
		switch {
		case r.packed == nil && r.value > highest:
			return 0, errLevels
		case r.packed == nil:
			if r.value == counts {
				found += length
			}
		case h.width == 1:
			ones := countBits(r.packed, length)
			if counts == 0 {
				ones = length - ones
			}
			found += ones
		default:
			for i := range length {
				level := uint32(unpack(r.packed, i, h.width))
				if level > highest {
					return 0, errLevels
				}
				if level == counts {
					found++
				}
			}
		}
	}
	return found, nil
}

// next tells of the next levels, at most len(set), which of them count. It
// returns how many levels and how many of those that count there are.
func (l *levels) next(set []bool) (n, found int) {
	set = set[:min(len(set), l.left)]
	l.left -= len(set)
	if l.all {
		for i := range set {
			set[i] = true
		}
		return len(set), len(set)
	}
	for i := range set {
		if l.used == l.current.length {
			// countLevels has walked these runs before.
			l.current, _ = l.runs.next()
			l.used = 0
		}
		switch {
		case l.current.packed == nil:
			set[i] = l.current.value == l.counts
		case l.runs.width == 1:
			set[i] = uint32(l.current.packed[l.used>>3]>>(l.used&7)&1) == l.counts
		default:
			set[i] = uint32(unpack(l.current.packed, l.used, l.runs.width)) == l.counts
		}
		if set[i] {
			found++
		}
		l.used++
	}
	return len(set), found
}
