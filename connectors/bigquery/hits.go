package bigquery

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strconv"

	"cloud.google.com/go/bigquery"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"optsweep/schemas"
)

// hitsSchema is that of a table of hits in BigQuery.
func hitsSchema() bigquery.Schema {
	return bigquery.Schema{
		{Name: hitID, Type: bigquery.StringFieldType, Required: true},
		{Name: hitSince, Type: bigquery.TimestampFieldType, Required: true},
	}
}

// hits collects cells whose flags are to be set, in a Parquet file that only
// this user can read. It takes the memory of one row group.
type hits struct {
	file  *os.File
	buf   *bufio.Writer
	out   *pqarrow.FileWriter
	ids   *array.StringBuilder
	since *array.TimestampBuilder
	build *array.RecordBuilder

	n       int64
	cells   int64     // that are like one of them
	flagged bool      // some cell of the snapshot has a flag, whether it is a hit or not
	sum     [4]uint64 // of the hashes of all hits: they come in no order
}

// hitsPerGroup is the number of rows in a row group: some 6 MB.
const hitsPerGroup = 128 << 10

// Kinds of temporary files.
const (
	hitsKind = "hits"
	rowsKind = "rows" // of a run table
)

// tempPattern is the name of a temporary file of a process; "*" for all.
func tempPattern(kind, process string) string { return kind + "-" + process + "-*.parquet" }

// createTemp makes a temporary file that only this user can read.
func createTemp(dir, kind string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, tempPattern(kind, strconv.Itoa(os.Getpid()))) // mode 0600
}

// newHits begins a file in the folder dir.
func newHits(dir string) (*hits, error) {
	f, err := createTemp(dir, hitsKind)
	if err != nil {
		return nil, err
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: hitID, Type: arrow.BinaryTypes.String},
		{Name: hitSince, Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
	}, nil)
	h := &hits{file: f, buf: bufio.NewWriterSize(f, 64<<10)}
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDictionaryDefault(false), parquet.WithStats(false),
		parquet.WithRootRepetition(parquet.Repetitions.Required)) // some readers take arrow's default, a repeated root, for a list
	if h.out, err = pqarrow.NewFileWriter(schema, h.buf, properties, pqarrow.DefaultWriterProps()); err != nil {
		h.remove()
		return nil, err
	}
	h.build = array.NewRecordBuilder(memory.DefaultAllocator, schema)
	h.ids, h.since = h.build.Field(0).(*array.StringBuilder), h.build.Field(1).(*array.TimestampBuilder)
	return h, nil
}

// add takes a cell of which there are n, and its flag, in microseconds since
// 1970.
func (h *hits) add(cell []byte, sinceUS, n int64) error {
	h.ids.Append(string(cell))
	h.since.Append(arrow.Timestamp(sinceUS))
	h.n++
	h.cells += n
	record := binary.BigEndian.AppendUint64(make([]byte, 0, len(cell)+8), uint64(sinceUS))
	hash := sha256.Sum256(append(record, cell...))
	for i := range h.sum {
		h.sum[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
	if h.n%hitsPerGroup == 0 {
		return h.flush()
	}
	return nil
}

func (h *hits) flush() error {
	record := h.build.NewRecord()
	defer record.Release()
	if record.NumRows() == 0 {
		return nil
	}
	return h.out.Write(record)
}

// digest names the hits, in whatever order they came.
func (h *hits) digest() string {
	var b []byte
	for _, part := range h.sum {
		b = binary.BigEndian.AppendUint64(b, part)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.n))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:16]
}

// finish completes the file.
func (h *hits) finish() error {
	if err := h.flush(); err != nil {
		return err
	}
	if err := h.out.Close(); err != nil {
		return err
	}
	return h.buf.Flush()
}

// remove removes the file.
func (h *hits) remove() {
	if h.build != nil {
		h.build.Release()
	}
	_ = h.file.Close()
	_ = os.Remove(h.file.Name())
}

// stageHits puts hits into a staging table, by a load job that is done once.
func (c *Client) stageHits(ctx context.Context, h *hits, id, run string, dst TableRef) (outcome, error) {
	if err := h.finish(); err != nil {
		return outcome{}, err
	}
	done, err := c.do(ctx, work{id: id, step: "load", run: run, dst: &dst, file: h.file.Name(), schema: hitsSchema()})
	if err != nil {
		return done, err
	}
	rows, err := c.expire(ctx, dst)
	if err == nil && rows != h.n {
		err = schemas.Errorf(schemas.Integrity, "%s has %d rows, %d were loaded", dst, rows, h.n).WithHint("run the same command again")
	}
	return done, err
}
