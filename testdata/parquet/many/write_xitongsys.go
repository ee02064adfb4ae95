package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/xitongsys/parquet-go/parquet"
	"github.com/xitongsys/parquet-go/writer"
)

type old struct {
	RowID int64            `parquet:"name=row_id, type=INT64"`
	EUID  *string          `parquet:"name=euid, type=BYTE_ARRAY, convertedtype=UTF8"`
	Name  string           `parquet:"name=name, type=BYTE_ARRAY, convertedtype=UTF8, encoding=PLAIN_DICTIONARY"`
	Ratio float64          `parquet:"name=ratio, type=DOUBLE"`
	List  []int32          `parquet:"name=list, type=LIST, valuetype=INT32"`
	Map   map[string]int64 `parquet:"name=map, type=MAP, keytype=BYTE_ARRAY, keyconvertedtype=UTF8, valuetype=INT64"`
}

// writeXitongsys: its page indexes carry wrong sizes.
func writeXitongsys(folder string, p people) error {
	for i, codec := range []parquet.CompressionCodec{parquet.CompressionCodec_UNCOMPRESSED, parquet.CompressionCodec_SNAPPY, parquet.CompressionCodec_GZIP, parquet.CompressionCodec_ZSTD} {
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("xitongsys-%d.parquet", i)))
		if err != nil {
			return err
		}
		defer f.Close()
		w, err := writer.NewParquetWriterFromWriter(f, new(old), 1)
		if err != nil {
			return err
		}
		w.CompressionType, w.RowGroupSize, w.PageSize = codec, 16<<10, 2<<10
		for row := range 500 {
			r := old{RowID: int64(row), EUID: p.cell(), Name: fmt.Sprint("name ", row%5), Ratio: float64(row) / 3, Map: map[string]int64{"a": int64(row)}}
			for n := range row % 3 {
				r.List = append(r.List, int32(n))
			}
			if err := w.Write(r); err != nil {
				return err
			}
		}
		if err := w.WriteStop(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
