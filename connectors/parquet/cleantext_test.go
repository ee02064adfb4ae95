package parquet_test

import (
	"fmt"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
)

// otherText reads a value of the rarer types.
func otherText(c file.ColumnChunkReader, def, rep []int16) (text string, total int64, read int, err error) {
	switch r := c.(type) {
	case *file.Int96ColumnChunkReader:
		var v [1]parquet.Int96
		total, read, err = r.ReadBatch(1, v[:], def, rep)
		text = fmt.Sprintf("%x", v[0][:])
	case *file.Float32ColumnChunkReader:
		var v [1]float32
		total, read, err = r.ReadBatch(1, v[:], def, rep)
		text = fmt.Sprint(v[0])
	case *file.Float64ColumnChunkReader:
		var v [1]float64
		total, read, err = r.ReadBatch(1, v[:], def, rep)
		text = fmt.Sprint(v[0])
	case *file.ByteArrayColumnChunkReader:
		var v [1]parquet.ByteArray
		total, read, err = r.ReadBatch(1, v[:], def, rep)
		text = fmt.Sprintf("%q", []byte(v[0]))
	case *file.FixedLenByteArrayColumnChunkReader:
		var v [1]parquet.FixedLenByteArray
		total, read, err = r.ReadBatch(1, v[:], def, rep)
		text = fmt.Sprintf("%q", []byte(v[0]))
	default:
		err = fmt.Errorf("a %T", c)
	}
	return text, total, read, err
}
