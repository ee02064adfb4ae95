package parquet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
)

// entry is a row of a suppression list.
type entry struct {
	id                    string
	scope                 string
	since, first, checked int64 // Unix ms
	run                   string
}

// listRows is the number of rows in a row group of a list: some 12 MB.
const listRows = 128 << 10

// Keys of the application metadata of a list.
const (
	listSchemaKey = "optsweep.schema" // schemas.SuppressionListSchema
	listTableKey  = "optsweep.table"  // name of the table in the job file
)

// noList is the version of a list that is not there.
const noList = "none"

func errNoList(path string) *schemas.Error {
	return schemas.Errorf(schemas.Failed, "%s is no suppression list of this table", path).
		WithHint("name another file with write.path; this one stays as it is")
}

func errDamagedList(path string) *schemas.Error {
	return schemas.Errorf(schemas.Failed, "%s is damaged", path).WithHint("restore it from a copy, or remove it: the next run makes it anew")
}

// listSchema is that of a list.
func listSchema() (*schema.GroupNode, error) {
	var fields schema.FieldList
	for _, c := range schemas.SuppressionListColumns() {
		var logical schema.LogicalType = schema.StringLogicalType{}
		physical := parquet.Types.ByteArray
		if c.Type == schemas.TimestampColumn {
			logical, physical = schema.NewTimestampLogicalType(true, schema.TimeUnitMillis), parquet.Types.Int64
		}
		node, err := schema.NewPrimitiveNodeLogical(c.Name, parquet.Repetitions.Required, logical, physical, -1, -1)
		if err != nil {
			return nil, err
		}
		fields = append(fields, node)
	}
	return schema.NewGroupNode("optsweep_suppression", parquet.Repetitions.Required, fields, -1)
}

// listReader gives the rows of a list in their order.
type listReader struct {
	file  *os.File
	in    *file.Reader
	next  int // row group
	rows  []entry
	table string
}

// openList opens a list. There may be none: then the error is fs.ErrNotExist.
func openList(path, table string) (*listReader, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	r, err := newListReader(f, path, table)
	if err != nil {
		_ = f.Close()
	}
	return r, err
}

func newListReader(f *os.File, path, table string) (r *listReader, err error) {
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			r, err = nil, errNoList(path)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in, err := openArrow(f, info.Size())
	if err != nil {
		return nil, errNoList(path)
	}
	root, err := listSchema()
	if err != nil {
		return nil, err
	}
	meta := in.MetaData().KeyValueMetadata()
	if !in.MetaData().Schema.Equals(schema.NewSchema(root)) || valueOf(meta, listSchemaKey) != schemas.SuppressionListSchema || valueOf(meta, listTableKey) != table {
		return nil, errNoList(path)
	}
	return &listReader{file: f, in: in, table: table}, nil
}

func valueOf(m metadata.KeyValueMetadata, key string) string {
	if v := m.FindValue(key); v != nil {
		return *v
	}
	return ""
}

func (r *listReader) close() { _ = r.file.Close() }

// read gives the next row; io.EOF behind the last.
func (r *listReader) read() (e entry, err error) {
	for len(r.rows) == 0 {
		if r.next == r.in.NumRowGroups() {
			return e, io.EOF
		}
		if err := r.group(); err != nil {
			return e, err
		}
		r.next++
	}
	e, r.rows = r.rows[0], r.rows[1:]
	return e, nil
}

// group reads the next row group.
func (r *listReader) group() (err error) {
	defer func() {
		if recover() != nil {
			err = errDamagedList(r.file.Name())
		}
	}()
	g := r.in.RowGroup(r.next)
	n := g.NumRows()
	r.rows = make([]entry, n)
	for i, set := range []func(*entry, []byte, int64){
		func(e *entry, b []byte, _ int64) { e.id = string(b) },
		func(e *entry, b []byte, _ int64) { e.scope = string(b) },
		func(e *entry, _ []byte, ms int64) { e.since = ms },
		func(e *entry, _ []byte, ms int64) { e.first = ms },
		func(e *entry, _ []byte, ms int64) { e.checked = ms },
		func(e *entry, b []byte, _ int64) { e.run = string(b) },
	} {
		p, err := newPageReader(r.in, r.next, i)
		if err != nil {
			return err
		}
		if p.meta.NumValues() != n {
			return errDamagedList(r.file.Name())
		}
		row := 0
		if p.column.PhysicalType() == parquet.Types.Int64 {
			err = eachPage(context.Background(), p, func(p page[int64]) error {
				for _, ms := range p.values {
					set(&r.rows[row], nil, ms)
					row++
				}
				return nil
			})
		} else {
			err = eachPage(context.Background(), p, func(p page[parquet.ByteArray]) error {
				for _, v := range p.values {
					set(&r.rows[row], v, 0)
					row++
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listWriter writes a list, whose rows come in their order.
type listWriter struct {
	buf  *bufio.Writer
	out  *file.Writer
	rows []entry
	last string
	n    int64
	sum  hash.Hash
}

func newListWriter(out io.Writer, table string) (*listWriter, error) {
	root, err := listSchema()
	if err != nil {
		return nil, err
	}
	meta := metadata.NewKeyValueMetadata()
	if err := errors.Join(meta.Append(listSchemaKey, schemas.SuppressionListSchema), meta.Append(listTableKey, table)); err != nil {
		return nil, err
	}
	props := parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy("optsweep"), parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithDictionaryDefault(true), parquet.WithDictionaryFor("id", false), parquet.WithRootName(root.Name()), parquet.WithRootRepetition(root.RepetitionType()))
	w := &listWriter{buf: bufio.NewWriterSize(out, 1<<20), sum: sha256.New()}
	w.out = file.NewParquetWriter(w.buf, root, file.WithWriterProps(props), file.WithWriteMetadata(meta))
	return w, nil
}

func (w *listWriter) write(e entry) error {
	if w.n > 0 && e.id <= w.last {
		return schemas.Errorf(schemas.Integrity, "the suppression list is not in order").WithHint("restore it from a copy, or remove it: the next run makes it anew")
	}
	w.last = e.id
	w.n++
	e.addTo(w.sum)
	if w.rows = append(w.rows, e); len(w.rows) == listRows {
		return w.flush()
	}
	return nil
}

// addTo adds a row to a digest.
func (e entry) addTo(sum hash.Hash) {
	var b []byte
	for _, s := range []string{e.id, e.scope, e.run} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	for _, ms := range []int64{e.since, e.first, e.checked} {
		b = binary.LittleEndian.AppendUint64(b, uint64(ms))
	}
	sum.Write(b)
}

// flush writes a row group.
func (w *listWriter) flush() error {
	if len(w.rows) == 0 {
		return nil
	}
	to := w.out.AppendRowGroup()
	texts, times := make([]parquet.ByteArray, len(w.rows)), make([]int64, len(w.rows))
	for _, get := range []func(entry) (string, int64){
		func(e entry) (string, int64) { return e.id, 0 },
		func(e entry) (string, int64) { return e.scope, 0 },
		func(e entry) (string, int64) { return "", e.since },
		func(e entry) (string, int64) { return "", e.first },
		func(e entry) (string, int64) { return "", e.checked },
		func(e entry) (string, int64) { return e.run, 0 },
	} {
		column, err := to.NextColumn()
		if err != nil {
			return err
		}
		for i, e := range w.rows {
			var text string
			text, times[i] = get(e)
			texts[i] = parquet.ByteArray(text)
		}
		switch c := column.(type) {
		case *file.ByteArrayColumnChunkWriter:
			_, err = c.WriteBatch(texts, nil, nil)
		case *file.Int64ColumnChunkWriter:
			_, err = c.WriteBatch(times, nil, nil)
		}
		if err := errors.Join(err, column.Close()); err != nil {
			return err
		}
	}
	w.rows = w.rows[:0]
	return to.Close()
}

func (w *listWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.out.FlushWithFooter(); err != nil {
		return err
	}
	return w.buf.Flush()
}

// confirm reads a finished list back.
func (w *listWriter) confirm(f *os.File, table string) error {
	r, err := newListReader(f, f.Name(), table)
	if err != nil {
		return errUnconfirmed()
	}
	sum, n := sha256.New(), int64(0)
	for {
		e, err := r.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e.addTo(sum)
		n++
	}
	if n != w.n || !bytes.Equal(sum.Sum(nil), w.sum.Sum(nil)) {
		return errUnconfirmed()
	}
	return nil
}

// listVersion is that of a list, as Version is that of a unit; noList if there
// is none.
func listVersion(path string) (string, error) {
	f, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return noList, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	version, err := versionOf(f)
	if err != nil {
		return "", errNoList(path)
	}
	return version, nil
}
