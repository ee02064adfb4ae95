package parquet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/apache/arrow/go/v17/arrow"
)

// columnSum is a running digest of what is kept of a column: of all definition
// levels, of all repetition levels, and of all values. It does not depend on the
// pages in which they come.
type columnSum struct{ def, rep, values hash.Hash }

// sums are those of all columns.
type sums []*columnSum

func newSums(n int) sums {
	s := make(sums, n)
	for i := range s {
		s[i] = &columnSum{def: sha256.New(), rep: sha256.New(), values: sha256.New()}
	}
	return s
}

func (s sums) digests() []string {
	all := make([]string, len(s))
	for i, c := range s {
		all[i] = hex.EncodeToString(c.values.Sum(c.rep.Sum(c.def.Sum(nil))))
	}
	return all
}

func (s *columnSum) addLevels(def, rep []int16) {
	s.def.Write(arrow.Int16Traits.CastToBytes(def))
	s.rep.Write(arrow.Int16Traits.CastToBytes(rep))
}

// addFixed adds values of one size as they are in memory: a digest is compared
// with none but one of the same process.
func addFixed[T any](raw func([]T) []byte) func(*columnSum, []T) {
	return func(s *columnSum, values []T) { s.values.Write(raw(values)) }
}

const sumStep = 1 << 15 // bytes that go into a digest at a time

func addBooleans(s *columnSum, values []bool) {
	var buf [1 << 10]byte
	for len(values) > 0 {
		n := min(len(values), len(buf))
		for i, v := range values[:n] {
			buf[i] = 0
			if v {
				buf[i] = 1
			}
		}
		s.values.Write(buf[:n])
		values = values[n:]
	}
}

// addSized adds values with their sizes.
func addSized[T ~[]byte](s *columnSum, values []T) {
	buf := make([]byte, 0, sumStep)
	for _, v := range values {
		if len(buf)+4+len(v) > cap(buf) {
			s.values.Write(buf)
			buf = buf[:0]
		}
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(v)))
		if len(v) > cap(buf)-len(buf) {
			s.values.Write(buf)
			s.values.Write(v)
			buf = buf[:0]
			continue
		}
		buf = append(buf, v...)
	}
	s.values.Write(buf)
}
