package parquet_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	pq "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/connectors/parquet"
)

// An empty cell is no NULL, also where a file has no other cells: it is
// malformed, and must be listed as that.
func TestEmptyCellsAreNoNULLs(t *testing.T) {
	for _, encoding := range []parquet.Encoding{parquet.Base64, parquet.Binary} {
		path := filepath.Join(t.TempDir(), "x.parquet")
		column := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
		column.AppendValues([][]byte{{}, {}, nil}, []bool{true, true, false})
		record := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.Binary, Nullable: true}}, nil), []arrow.Array{column.NewArray()}, 3)
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := pqarrow.NewFileWriter(record.Schema(), out, pq.NewWriterProperties(), pqarrow.DefaultWriterProps())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tab, err := parquet.New(parquet.Options{Table: "t", Path: path, IDColumn: "id", IDEncoding: encoding})
		if err != nil {
			t.Fatal(err)
		}
		got := cells(t, tab, plan(t, tab)[0])
		if len(got) != 3 || got[0] == nil || got[1] == nil || got[2] != nil {
			t.Errorf("%s: %v", encoding, got)
		}
	}
}
