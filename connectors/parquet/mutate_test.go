package parquet_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"optsweep/connectors/parquet/footer"
)

// span is a piece of Thrift's compact protocol that can be edited.
type span struct {
	kind     byte // 'i' integer, 'n' count of a list, 'l' length of a string, 'h' header of a field, 's' whole value of a field, 'e' element of a list
	from, to int
	typ      byte // of a list's elements, for 'n'
}

// walker lists the pieces of a struct. It trusts its input, which comes from a
// good file.
type walker struct {
	b     []byte
	at    int
	spans []span
}

func (w *walker) add(kind byte, from int, typ byte) {
	w.spans = append(w.spans, span{kind: kind, from: from, to: w.at, typ: typ})
}

func (w *walker) varint() uint64 {
	v, n := binary.Uvarint(w.b[w.at:])
	w.at += n
	return v
}

func (w *walker) value(typ byte, inList bool) {
	from := w.at
	switch typ {
	case 1, 2:
		if inList {
			w.at++
		}
	case 3:
		w.at++
	case 4, 5, 6:
		w.varint()
		w.add('i', from, 0)
	case 7:
		w.at += 8
	case 8:
		size := int(w.varint())
		w.add('l', from, 0)
		w.at += size
	case 9, 10:
		count, elements := int(w.b[w.at]>>4), w.b[w.at]&15
		w.at++
		if count == 15 {
			count = int(w.varint())
		}
		w.add('n', from, elements)
		for range count {
			start := w.at
			w.value(elements, true)
			w.add('e', start, 0)
		}
	case 12:
		w.fields()
	}
}

func (w *walker) fields() {
	for {
		from := w.at
		head := w.b[w.at]
		w.at++
		if head == 0 {
			return
		}
		if head>>4 == 0 {
			w.varint()
		}
		w.add('h', from, 0)
		w.value(head&15, false)
		w.add('s', from, 0)
	}
}

// enormous are numbers that a careless reader would believe.
var enormous = []int64{
	0, 1, -1, 2, 127, 128, 255, 1 << 15, 1<<16 - 1, 1 << 20, 1 << 24, 1<<31 - 1, 1 << 31, -1 << 31, 1<<32 - 1, 1 << 40, 1<<62 - 1, 1<<63 - 1, -1 << 63,
}

func zigzag(v int64) []byte { return binary.AppendUvarint(nil, uint64(v)<<1^uint64(v>>63)) }

// overlong writes a varint with more bytes than it needs, or than there can be.
func overlong(r *rand.Rand, v []byte) []byte {
	v = bytes.Clone(v)
	if len(v) == 0 {
		return v
	}
	v[len(v)-1] |= 0x80
	for range r.IntN(12) {
		v = append(v, 0x80)
	}
	return append(v, byte(r.IntN(2)))
}

// edit changes one piece of a struct that raw starts with.
func edit(r *rand.Rand, raw []byte, w walker) []byte {
	s := w.spans[r.IntN(len(w.spans))]
	old, other := raw[s.from:s.to], w.spans[r.IntN(len(w.spans))]
	var now []byte
	switch s.kind {
	case 'i':
		v := enormous[r.IntN(len(enormous))]
		if bits, _ := binary.Uvarint(old); r.IntN(3) == 0 {
			v = int64(bits>>1) + int64(r.IntN(7)) - 3
		}
		now = zigzag(v)
		switch r.IntN(6) {
		case 0:
			now = overlong(r, old)
		case 1: // the same number wherever it stands: counts then agree with each other
			return everywhere(raw, w, old, zigzag(v))
		}
	case 'n':
		count := uint64(r.IntN(40))
		if r.IntN(2) == 0 {
			count = uint64(enormous[r.IntN(len(enormous))])
		}
		now = binary.AppendUvarint([]byte{0xF0 | s.typ}, count)
	case 'l':
		now = binary.AppendUvarint(nil, uint64(enormous[r.IntN(len(enormous))]))
		if r.IntN(3) == 0 {
			now = overlong(r, old)
		}
	case 'h':
		now = bytes.Clone(old)
		now[0] ^= 1 << r.IntN(8)
	default:
		switch r.IntN(5) {
		case 0: // gone
		case 1:
			now = append(bytes.Clone(old), old...)
		case 2:
			now = bytes.Clone(raw[other.from:other.to])
		case 3: // structs or lists without an end
			now = bytes.Repeat([]byte{[]byte{0x1C, 0x19, 0x1B}[r.IntN(3)]}, 1+r.IntN(5000))
		default:
			now = append(bytes.Clone(raw[other.from:other.to]), old...)
		}
	}
	return append(append(bytes.Clone(raw[:s.from]), now...), raw[s.to:]...)
}

func everywhere(raw []byte, w walker, old, now []byte) (out []byte) {
	at := 0
	for _, s := range w.spans {
		if s.kind == 'i' && bytes.Equal(raw[s.from:s.to], old) {
			out = append(append(out, raw[at:s.from]...), now...)
			at = s.to
		}
	}
	return append(out, raw[at:]...)
}

// subject is a good file with what mutate needs to know of it.
type subject struct {
	name   string
	data   []byte
	start  int // of the footer
	footer walker
	pages  []int // where the chunks of flat columns begin
}

func newSubject(name string, data []byte) (subject, error) {
	m, err := footer.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return subject{}, err
	}
	s := subject{name: name, data: data, start: int(m.Start), footer: walker{b: data[m.Start : len(data)-8]}}
	s.footer.fields()
	for i, c := range m.Columns {
		// The columns that are decoded: ids and flags.
		if c.Nested || c.Name != "euid" && c.Name != "opted_out_since" {
			continue
		}
		chunks, err := m.Chunks(i)
		if err != nil {
			return subject{}, err
		}
		for _, c := range chunks {
			if c.Values > 0 {
				s.pages = append(s.pages, int(c.Pages.Offset))
			}
		}
	}
	return s, nil
}

// mutate damages a file, once or more: bits, bytes, cuts and stretches of the
// whole file, pieces of the footer, and headers of pages.
func (s subject) mutate(r *rand.Rand) []byte {
	switch {
	case r.IntN(3) == 0:
		return s.withFooter(r)
	case r.IntN(3) == 0 && len(s.pages) > 0:
		return s.withPageHeader(r)
	}
	data := bytes.Clone(s.data)
	for range 1 + r.IntN(3) {
		if data = damage(r, data); len(data) < 16 {
			break
		}
	}
	return data
}

// withFooter edits the footer as a struct; its length stays right, most times.
func (s subject) withFooter(r *rand.Rand) []byte {
	raw := edit(r, s.data[s.start:len(s.data)-8], s.footer)
	length := uint32(len(raw))
	if r.IntN(10) == 0 {
		length = uint32(enormous[r.IntN(len(enormous))])
	}
	data := append(bytes.Clone(s.data[:s.start]), raw...)
	return append(binary.LittleEndian.AppendUint32(data, length), "PAR1"...)
}

// withPageHeader edits the header of a page in place, over what follows it, or
// puts another page's there.
func (s subject) withPageHeader(r *rand.Rand) []byte {
	data := bytes.Clone(s.data)
	at := s.pages[r.IntN(len(s.pages))]
	if r.IntN(4) == 0 {
		from := s.pages[r.IntN(len(s.pages))]
		copy(data[at:], s.data[from:min(from+20+r.IntN(60), len(data))])
		return data
	}
	w := walker{b: s.data[at:]}
	w.fields()
	copy(data[at:s.start], edit(r, s.data[at:at+w.at], w))
	return data
}

// damage knows nothing of the format but where the footer is.
func damage(r *rand.Rand, data []byte) []byte {
	low := 0
	if length := int(binary.LittleEndian.Uint32(data[len(data)-8:])); r.IntN(2) == 0 && length > 0 && length < len(data)-8 {
		low = len(data) - 8 - length
	}
	at := low + r.IntN(len(data)-low)
	switch r.IntN(9) {
	case 0:
		data[at] ^= 1 << r.IntN(8)
	case 1:
		data[at] = byte(r.IntN(256))
	case 2:
		data[at] = 0xFF
	case 3: // a varint that says something enormous
		copy(data[at:], []byte{0xFE, 0xFF, 0xFF, 0xFF, 0x0F})
	case 4: // a stretch of the file over another
		from := r.IntN(len(data))
		copy(data[at:], bytes.Clone(data[from:min(from+1+r.IntN(64), len(data))]))
	case 5:
		clear(data[at:min(at+1+r.IntN(16), len(data))])
	case 6: // a piece is missing, the trailer is there
		if end := len(data) - 8; at < end {
			data = append(data[:at], data[at+min(1+r.IntN(32), end-at):]...)
		}
	case 7: // a piece is there twice
		data = append(bytes.Clone(data[:at]), data[max(0, at-1-r.IntN(64)):]...)
	case 8:
		data = data[:at]
	}
	return data
}
