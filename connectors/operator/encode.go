package operator

import (
	"encoding/base64"
	"encoding/binary"
	"slices"

	"optsweep/schemas"
)

// The request is {"advertising_ids":["...","..."]} (operator
// UIDOperatorVerticle.handleOptoutStatus). Every id has TextSize characters,
// none of which JSON escapes, so id i starts at payloadHead + i*idStride + 1.
const (
	payloadHead = `{"advertising_ids":[`
	payloadTail = `]}`
	idStride    = schemas.TextSize + 3 // quotes and comma
)

// batch is the ids of one request with the buffers that asking them needs.
type batch struct {
	ids      []schemas.ID
	turn     *turn                          // that was taken to ask them
	payload  []byte                         // JSON of the request
	sealed   []byte                         // request envelope
	text     []byte                         // its base64, in text mode
	received []byte                         // body of the answer
	decoded  []byte                         // its bytes, in text mode
	plain    []byte                         // what is inside
	next     int                            // where find goes on
	byText   map[[schemas.TextSize]byte]int // made only for answers out of order
}

// encode makes b a batch of ids. It keeps ids.
func (b *batch) encode(ids []schemas.ID) {
	b.ids = ids
	n := len(payloadHead) + len(ids)*idStride
	dst := slices.Grow(b.payload[:0], n+len(payloadTail))[:n]
	copy(dst, payloadHead)
	for i := range ids {
		cell := dst[len(payloadHead)+i*idStride:][:idStride]
		cell[0] = '"'
		putBase64(cell[1:], ids[i].Raw())
		cell[idStride-2] = '"'
		cell[idStride-1] = ','
	}
	if len(ids) > 0 {
		dst = dst[:n-1] // no comma after the last
	}
	b.payload = append(dst, payloadTail...)
	b.rewind()
}

// idText is the text of id number i as it was sent.
func (b *batch) idText(i int) []byte {
	start := len(payloadHead) + i*idStride + 1
	return b.payload[start : start+schemas.TextSize]
}

// rewind prepares find for an answer.
func (b *batch) rewind() {
	b.next = 0
	b.byText = nil
}

// find looks up which id of the batch has this text. Operators answer in the
// order of the request, so it looks onwards from the last id it found; if that
// ever fails it makes an index.
func (b *batch) find(text []byte) (i int, ok bool) {
	if len(text) != schemas.TextSize {
		return 0, false
	}
	if b.byText == nil {
		for i := b.next; i < len(b.ids); i++ {
			if string(b.idText(i)) == string(text) {
				b.next = i + 1
				return i, true
			}
		}
		b.byText = make(map[[schemas.TextSize]byte]int, len(b.ids))
		for i := range b.ids {
			b.byText[[schemas.TextSize]byte(b.idText(i))] = i
		}
	}
	i, ok = b.byText[[schemas.TextSize]byte(text)]
	return i, ok
}

// base64Pairs maps 12 bits to their two characters of standard base64, the
// first in the low byte.
var base64Pairs = func() (t [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return t
}()

// putBase64 writes the standard base64 of src to dst. Half of the work on a
// batch is base64, and this is about three times as fast as encoding/base64.
func putBase64(dst, src []byte) {
	for len(src) >= 26 { // 24 are used; the last load reads 2 bytes more
		d, s := dst[:32], src[:26]
		binary.LittleEndian.PutUint64(d, base64Eight(s))
		binary.LittleEndian.PutUint64(d[8:], base64Eight(s[6:]))
		binary.LittleEndian.PutUint64(d[16:], base64Eight(s[12:]))
		binary.LittleEndian.PutUint64(d[24:], base64Eight(s[18:]))
		dst, src = dst[32:], src[24:]
	}
	if len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst, base64Eight(src))
		dst, src = dst[8:], src[6:]
	}
	for len(src) >= 3 {
		v := uint32(src[0])<<16 | uint32(src[1])<<8 | uint32(src[2])
		binary.LittleEndian.PutUint32(dst, uint32(base64Pairs[v>>12])|uint32(base64Pairs[v&0xFFF])<<16)
		dst, src = dst[4:], src[3:]
	}
	if len(src) > 0 {
		base64.StdEncoding.Encode(dst, src)
	}
}

// base64Eight encodes the first 6 of at least 8 bytes; the first character is
// in the low byte.
func base64Eight(s []byte) uint64 {
	v := binary.BigEndian.Uint64(s)
	return uint64(base64Pairs[v>>52]) |
		uint64(base64Pairs[v>>40&0xFFF])<<16 |
		uint64(base64Pairs[v>>28&0xFFF])<<32 |
		uint64(base64Pairs[v>>16&0xFFF])<<48
}
