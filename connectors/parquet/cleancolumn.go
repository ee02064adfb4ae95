package parquet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
)

// sums are running digests of what is kept of each column: all levels and all
// values.
type sums []hash.Hash

func newSums(n int) sums {
	s := make(sums, n)
	for i := range s {
		s[i] = sha256.New()
	}
	return s
}

func (s sums) digests() []string {
	all := make([]string, len(s))
	for i, h := range s {
		all[i] = hex.EncodeToString(h.Sum(nil))
	}
	return all
}

// typed reads and writes a column of values of type T.
type typed[T any] struct {
	column *schema.Column
	read   func(n int64, values []T, def, rep []int16) (int64, int, error)
	write  func(values []T, def, rep []int16) (int64, error) // nil: only read
	clone  func(T) T                                         // nil: values own their memory
	bytes  func(dst []byte, v T) []byte

	readErr func() error // why reading has ended
}

// copyColumn reads column i of a row group, adds what is kept to sum, and writes
// it to out, if there is one. drop tells which rows are left out; nil: none.
func copyColumn(g *file.RowGroupReader, i int, drop []bool, sum hash.Hash, out file.ColumnChunkWriter) error {
	in, err := g.Column(i)
	if err != nil {
		return err
	}
	meta, err := g.MetaData().ColumnChunk(i)
	if err != nil {
		return err
	}
	n, nulls := meta.NumValues(), int64(-1)
	if set, err := meta.StatsSet(); err == nil && set {
		if stats, err := meta.Statistics(); err == nil && stats != nil && stats.HasNullCount() {
			nulls = stats.NullCount()
		}
	}
	column := in.Descriptor()
	switch r := in.(type) {
	case *file.BooleanColumnChunkReader:
		t := typed[bool]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v bool) []byte {
			if v {
				return append(b, 1)
			}
			return append(b, 0)
		}}
		if w, ok := out.(*file.BooleanColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.Int32ColumnChunkReader:
		t := typed[int32]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v int32) []byte { return binary.LittleEndian.AppendUint32(b, uint32(v)) }}
		if w, ok := out.(*file.Int32ColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.Int64ColumnChunkReader:
		t := typed[int64]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }}
		if w, ok := out.(*file.Int64ColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.Int96ColumnChunkReader:
		t := typed[parquet.Int96]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v parquet.Int96) []byte { return append(b, v[:]...) }}
		if w, ok := out.(*file.Int96ColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.Float32ColumnChunkReader:
		t := typed[float32]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(v)) }}
		if w, ok := out.(*file.Float32ColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.Float64ColumnChunkReader:
		t := typed[float64]{column: column, read: r.ReadBatch, readErr: r.Err, bytes: func(b []byte, v float64) []byte { return binary.LittleEndian.AppendUint64(b, math.Float64bits(v)) }}
		if w, ok := out.(*file.Float64ColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.ByteArrayColumnChunkReader:
		t := typed[parquet.ByteArray]{column: column, read: r.ReadBatch, readErr: r.Err, clone: cloneBytes[parquet.ByteArray], bytes: sizedBytes[parquet.ByteArray]}
		if w, ok := out.(*file.ByteArrayColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	case *file.FixedLenByteArrayColumnChunkReader:
		t := typed[parquet.FixedLenByteArray]{column: column, read: r.ReadBatch, readErr: r.Err, clone: cloneBytes[parquet.FixedLenByteArray], bytes: sizedBytes[parquet.FixedLenByteArray]}
		if w, ok := out.(*file.FixedLenByteArrayColumnChunkWriter); ok {
			t.write = w.WriteBatch
		}
		return t.copy(n, nulls, drop, sum, out != nil)
	}
	return errCannotCarry("the type of column " + column.Path())
}

// cloneBytes copies a value; an empty one is no NULL.
func cloneBytes[T ~[]byte](v T) T { return append(T{}, bytes.Clone(v)...) }

func sizedBytes[T ~[]byte](b []byte, v T) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
}

// copy copies a chunk of n levels with so many NULLs (negative: not known).
func (t typed[T]) copy(n, nulls int64, drop []bool, sum hash.Hash, writing bool) error {
	if writing != (t.write != nil) {
		return errCannotCarry("the type of column " + t.column.Path())
	}
	values, def, rep, err := t.all(n)
	if err != nil {
		return err
	}
	if nulls >= 0 && t.column.MaxRepetitionLevel() == 0 && n-int64(len(values)) != nulls {
		return schemas.Errorf(schemas.Failed, "column %q says that %d of its values are NULL, but %d are", t.column.Path(), nulls, n-int64(len(values))).
			WithHint("nothing was written; the file is damaged, or its writer has miscounted")
	}
	row, next, kept := -1, 0, 0
	defKept, repKept := def[:0], rep[:0]
	var record []byte
	for i := range int(n) {
		if len(rep) == 0 || rep[i] == 0 {
			row++
		}
		keep := drop == nil || row < len(drop) && !drop[row]
		present := len(def) == 0 || def[i] == t.column.MaxDefinitionLevel()
		record = record[:0]
		if len(def) > 0 && keep {
			record = binary.LittleEndian.AppendUint16(record, uint16(def[i]))
			defKept = append(defKept, def[i])
		}
		if len(rep) > 0 && keep {
			record = binary.LittleEndian.AppendUint16(record, uint16(rep[i]))
			repKept = append(repKept, rep[i])
		}
		if present {
			if keep {
				record = t.bytes(record, values[next])
				values[kept] = values[next]
				kept++
			}
			next++
		}
		sum.Write(record)
	}
	if drop != nil && row+1 != len(drop) || next != len(values) {
		return errUnconfirmed()
	}
	if t.write == nil {
		return nil
	}
	if len(def) == 0 {
		defKept = nil
	}
	if len(rep) == 0 {
		repKept = nil
	}
	_, err = t.write(values[:kept], defKept, repKept)
	return err
}

// all reads a chunk of n levels. Values that lie in the memory of their page are
// read one by one, since several can span pages; all others at once, since arrow
// v17 fails on some encodings if NULLs are read in batches (apache/arrow#43276).
func (t typed[T]) all(n int64) (values []T, def, rep []int16, err error) {
	if t.column.MaxDefinitionLevel() > 0 {
		def = make([]int16, n)
	}
	if t.column.MaxRepetitionLevel() > 0 {
		rep = make([]int16, n)
	}
	values = make([]T, n)
	step := n
	if t.clone != nil {
		step = 1
	}
	var levels int64
	got := 0
	for levels < n {
		var d, p []int16
		if def != nil {
			d = def[levels : levels+step]
		}
		if rep != nil {
			p = rep[levels : levels+step]
		}
		total, read, err := t.read(step, values[got:], d, p)
		if err != nil {
			return nil, nil, nil, err
		}
		if total != step && t.readErr() != nil {
			return nil, nil, nil, errCannotCarry("the encoding of column " + t.column.Path())
		}
		if total != step {
			return nil, nil, nil, schemas.Errorf(schemas.Failed, "column %q ends too early", t.column.Path()).WithHint("nothing was written; the file is damaged")
		}
		if t.clone != nil {
			for i := range read {
				values[got+i] = t.clone(values[got+i])
			}
		}
		got += read
		levels += total
	}
	return values[:got], def, rep, nil
}
