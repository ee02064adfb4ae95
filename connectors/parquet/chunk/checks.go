package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"optsweep/connectors/parquet/footer"
)

const (
	maxDelta    = 1 << 23 // values of a delta encoded page: arrow keeps 8 bytes for each
	maxExpanded = 1 << 30 // bytes of a DELTA_BYTE_ARRAY page with all prefixes written out
)

var errDelta = errors.New("has damaged delta encoded values")

// checks proves what the column readers of arrow v17 take for granted of a data
// page: that the values they will be asked for are there, so that they neither
// stop short, nor allocate beyond the page, nor reach outside the dictionary.
type checks struct {
	typ     int64 // INT64, BYTE_ARRAY or FIXED_LEN_BYTE_ARRAY
	width   int   // bytes of a value, at least 1; without meaning for BYTE_ARRAY
	entries int   // of the dictionary
	// Length of the last value of the last DELTA_BYTE_ARRAY page. By the
	// specification a page begins with a whole value, but parquet-mr before 1.8
	// (PARQUET-246) and arrow-go for long wrote a prefix of the page before.
	last int64
}

func (c *checks) page(pg page) error {
	switch {
	case pg.values == 0:
		return nil // nothing will be asked for
	case pg.encoding == footer.Plain:
		// Arrow checks the lengths of byte arrays itself.
		if c.typ != footer.ByteArray && len(pg.data)/c.width < pg.values {
			return errors.New("ends within its values")
		}
		return nil
	case pg.encoding == footer.PlainDictionary || pg.encoding == footer.RLEDictionary:
		return checkIndexes(pg, c.entries)
	case pg.encoding == footer.DeltaBinaryPacked && c.typ == footer.Int64:
		_, err := walkDelta(pg.data, pg.values, 64, nil)
		return err
	case pg.encoding == footer.DeltaLength && c.typ == footer.ByteArray:
		_, err := checkLengths(pg.data, pg.values, nil, 0)
		return err
	case pg.encoding == footer.DeltaByteArray && c.typ == footer.ByteArray:
		prefixes := make([]int32, 0, min(pg.values, maxDelta))
		n, err := walkDelta(pg.data, pg.values, 32, func(v int64) error {
			prefixes = append(prefixes, int32(v))
			return nil
		})
		if err != nil {
			return err
		}
		c.last, err = checkLengths(pg.data[n:], pg.values, prefixes, c.last)
		return err
	}
	return fmt.Errorf("has values in encoding %d, which is not supported", pg.encoding)
}

func checkIndexes(pg page, entries int) error {
	if len(pg.data) == 0 || pg.data[0] > 32 {
		return errors.New("has damaged dictionary indexes")
	}
	h := hybrid{data: pg.data[1:], width: uint(pg.data[0])}
	for left := pg.values; left > 0; {
		r, err := h.next()
		if err != nil {
			return err
		}
		n := min(r.length, left)
		left -= n
		highest := r.value
		if r.packed != nil {
			highest = maxPacked(r.packed, h.width, n)
		}
		if uint64(highest) >= uint64(entries) {
			return errors.New("points outside its dictionary")
		}
	}
	return nil
}

// maxPacked is the largest of n values of width bits.
func maxPacked(packed []byte, width uint, n int) (highest uint32) {
	var buffer uint64
	var have uint
	mask := uint64(1)<<width - 1
	for range n {
		for have < width {
			buffer |= uint64(packed[0]) << have
			packed = packed[1:]
			have += 8
		}
		highest = max(highest, uint32(buffer&mask))
		buffer >>= width
		have -= width
	}
	return highest
}

// countBits counts the ones among the first n bits, lowest bit first.
func countBits(packed []byte, n int) (ones int) {
	for n >= 64 {
		ones += bits.OnesCount64(binary.LittleEndian.Uint64(packed))
		packed, n = packed[8:], n-64
	}
	for i := range n {
		ones += int(packed[i>>3] >> (i & 7) & 1)
	}
	return ones
}

// checkLengths checks a DELTA_LENGTH_BYTE_ARRAY stream of n values; with
// prefixes it holds the suffixes of DELTA_BYTE_ARRAY, whose first prefix is of a
// value of the length last. It returns the length of the last value.
func checkLengths(data []byte, n int, prefixes []int32, last int64) (int64, error) {
	var sum, expanded int64
	i := 0
	head, err := walkDelta(data, n, 32, func(length int64) error {
		sum += length
		var prefix int64
		if prefixes != nil {
			prefix = int64(prefixes[i])
			i++
		}
		if length < 0 || sum > int64(len(data)) || prefix < 0 || prefix > last {
			return errDelta
		}
		last = prefix + length
		if expanded += prefix; expanded > maxExpanded {
			return errDelta
		}
		return nil
	})
	if err == nil && sum > int64(len(data)-head) {
		err = errDelta
	}
	return last, err
}

// walkDelta walks a DELTA_BINARY_PACKED stream of n > 0 integers of width bits
// (parquet-format Encodings.md), gives each to visit if there is one, and
// returns the length of the stream.
func walkDelta(data []byte, n int, width uint, visit func(int64) error) (int, error) {
	if n > maxDelta {
		return 0, errDelta
	}
	in := data
	number := func() uint64 {
		v, size := binary.Uvarint(in)
		if size <= 0 {
			in = nil
			return 0
		}
		in = in[size:]
		return v
	}
	block, minis, total, first := number(), number(), number(), number()
	if in == nil || total != uint64(n) || block == 0 || block%128 != 0 || block > 1<<20 ||
		minis == 0 || block%minis != 0 || block/minis%32 != 0 {
		return 0, errDelta
	}
	perMini := int(block / minis)
	value := int64(first>>1) ^ -int64(first&1)
	give := func() error {
		if width == 32 {
			value = int64(int32(value))
		}
		if visit == nil {
			return nil
		}
		return visit(value)
	}
	if err := give(); err != nil {
		return 0, err
	}
	for left := n - 1; left > 0; {
		low := number()
		if in == nil || uint64(len(in)) < minis {
			return 0, errDelta
		}
		widths := in[:minis]
		in = in[minis:]
		least := int64(low>>1) ^ -int64(low&1)
		for _, w := range widths {
			if left == 0 {
				break // the rest of the block is not written
			}
			size := perMini / 8 * int(w)
			if uint(w) > width || size > len(in) {
				return 0, errDelta
			}
			packed := in[:size]
			in = in[size:]
			count := min(left, perMini)
			left -= count
			if visit == nil {
				continue
			}
			for i := range count {
				value += least + int64(unpack(packed, i, uint(w)))
				if err := give(); err != nil {
					return 0, err
				}
			}
		}
	}
	return len(data) - len(in), nil
}

// unpack returns the i-th value of width bits, at most 64.
func unpack(packed []byte, i int, width uint) (v uint64) {
	bit := uint(i) * width
	for have := uint(0); have < width; {
		b := packed[bit>>3]
		take := min(8-bit&7, width-have)
		v |= uint64(b>>(bit&7)) & (1<<take - 1) << have
		have += take
		bit += take
	}
	return v
}
