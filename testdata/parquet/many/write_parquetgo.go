package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

type inner struct {
	X int64    `parquet:"x"`
	Y *string  `parquet:"y,optional"`
	Z []string `parquet:"z,list"`
}

// flat has the id first, rich last.
type flat struct {
	EUID  *string `parquet:"euid,optional"`
	RowID int64   `parquet:"row_id,delta"`
	Text  string  `parquet:"text,dict"`
}

type delta struct {
	RowID int64   `parquet:"row_id"`
	EUID  string  `parquet:"euid,optional,delta"` // NULL if empty
	Ratio float64 `parquet:"ratio,split"`
}

type rich struct {
	RowID  int64             `parquet:"row_id"`
	Flag   *bool             `parquet:"flag,optional"`
	U      uint32            `parquet:"u"`
	Raw    []byte            `parquet:"raw"`
	UUID   [16]byte          `parquet:"uuid,uuid"`
	Price  int64             `parquet:"price,decimal(2:12)"`
	Seen   time.Time         `parquet:"seen,timestamp(microsecond)"`
	Day    int32             `parquet:"day,date"`
	Tags   []string          `parquet:"tags,list"`
	Many   []inner           `parquet:"many"`
	One    *inner            `parquet:"one,optional"`
	Labels map[string]string `parquet:"labels"`
	EUID   *string           `parquet:"euid,optional,dict"`
}

type required struct {
	EUID  string `parquet:"euid"`
	RowID int64  `parquet:"row_id"`
}

func writeParquetGo(folder string, p people) error {
	codecs := []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Brotli, &parquet.Zstd, &parquet.Lz4Raw}
	for i, codec := range codecs {
		options := []parquet.WriterOption{
			parquet.Compression(codec), parquet.DataPageVersion(1 + i%2), parquet.PageBufferSize(200 << (i % 4)),
			parquet.BloomFilters(parquet.SplitBlockFilter(10, "euid"), parquet.SplitBlockFilter(10, "row_id")),
			parquet.MaxRowsPerRowGroup(int64(100 + 150*i)), parquet.DataPageStatistics(i%3 == 0), parquet.KeyValueMetadata("owner", "somebody"),
		}
		if i >= 3 {
			options = append(options, parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("row_id"))))
		}
		name := func(kind string) string {
			return filepath.Join(folder, fmt.Sprintf("parquet-go-%s-%d.parquet", kind, i))
		}
		if err := writeRows(name("flat"), 400, options, func(row int) flat {
			return flat{RowID: int64(row), EUID: p.cell(), Text: fmt.Sprint("text ", row%7)}
		}); err != nil {
			return err
		}
		if err := writeRows(name("delta"), 90*i, options, func(row int) delta {
			return delta{RowID: int64(row), EUID: p.text(), Ratio: float64(row) / 7}
		}); err != nil {
			return err
		}
		if err := writeRows(name("required"), 300, options, func(row int) required {
			return required{RowID: int64(row), EUID: p.text()}
		}); err != nil {
			return err
		}
		if err := writeRows(name("rich"), 350, options, p.rich); err != nil {
			return err
		}
	}
	return nil
}

func (p people) rich(row int) rich {
	text, yes := fmt.Sprint(row), row%2 == 0
	r := rich{
		RowID: int64(row), U: uint32(row) << 20, Raw: []byte(text), UUID: [16]byte{byte(row)}, Price: int64(row) * 7, Day: int32(row),
		Seen: time.UnixMicro(int64(row) * 1e9).UTC(), EUID: p.cell(), Labels: map[string]string{},
	}
	if row%3 == 0 {
		r.Flag = &yes
	}
	if row%5 > 0 {
		r.One = &inner{X: int64(row), Y: &text}
	}
	for i := range row % 4 {
		r.Tags = append(r.Tags, fmt.Sprint("tag ", i))
		r.Many = append(r.Many, inner{X: int64(i), Z: []string{"z", text}})
		r.Labels[fmt.Sprint(i)] = text
	}
	return r
}

func writeRows[T any](path string, rows int, options []parquet.WriterOption, row func(int) T) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := parquet.NewGenericWriter[T](f, options...)
	for i := range rows {
		if _, err := w.Write([]T{row(i)}); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
