package chunk

import (
	"encoding/binary"
	"errors"
)

var errLevels = errors.New("has damaged definition levels")

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

// levels gives the definition levels of a column that is nullable or not, but
// neither nested nor repeated: 1 for a value, 0 for NULL.
type levels struct {
	required bool
	left     int // rows of the page not given yet
	runs     hybrid
	current  run
	used     int // rows of current that were given
}

// countLevels counts the values among n rows and checks that the levels reach
// that far.
func countLevels(data []byte, n int) (values int, err error) {
	h := hybrid{data: data, width: 1}
	for n > 0 {
		r, err := h.next()
		if err != nil {
			return 0, errLevels
		}
		length := min(r.length, n)
		n -= length
		switch {
		case r.packed == nil && r.value > 1:
			return 0, errLevels
		case r.packed == nil:
			values += length * int(r.value)
		default:
			values += countBits(r.packed, length)
		}
	}
	return values, nil
}

// next fills set with the levels of the next rows, at most len(set), and
// returns how many rows and how many values among them.
func (l *levels) next(set []bool) (rows, values int) {
	set = set[:min(len(set), l.left)]
	l.left -= len(set)
	if l.required {
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
		if l.current.packed == nil {
			set[i] = l.current.value == 1
		} else {
			set[i] = l.current.packed[l.used>>3]>>(l.used&7)&1 == 1
		}
		if set[i] {
			values++
		}
		l.used++
	}
	return len(set), values
}
