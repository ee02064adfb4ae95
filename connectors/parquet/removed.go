package parquet

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Columns that the quarantine of mode remove has behind those of the table, as
// in BigQuery.
const (
	RemovedSince = "optsweep_opted_out_since" // timestamp in ms, UTC
	RemovedRun   = "optsweep_run_id"
)

// quarantine puts the rows that are taken out of a unit into a file of their
// own, whole, durable and read back, and returns its name. It has the schema of
// the unit and two more columns, and none of its application metadata, which
// would not fit.
func (t *Table) quarantine(ctx context.Context, u schemas.Unit, r *removal) (name string, err error) {
	defer func() {
		if recover() != nil { // arrow v17 panics on what it does not expect
			err = errCannotCarry("its pages")
		}
	}()
	in, err := file.NewParquetReader(io.NewSectionReader(r.file, 0, r.info.Size()))
	if err != nil {
		return "", err
	}
	if in.NumRowGroups() != len(r.drop) {
		return "", errUnconfirmed()
	}
	root, err := removedSchema(in.MetaData().Schema.Root())
	if err != nil {
		return "", err
	}
	if err := t.Disk.MkdirAll(t.Removed, 0o700); err != nil {
		return "", writeError(err)
	}
	name = removedName(u)
	out, err := t.Disk.Create(filepath.Join(t.Removed, name), 0o600)
	if err != nil {
		return "", writeError(err)
	}
	defer out.Discard()
	q := quarantining{cleaning: cleaning{ctx: ctx, drop: inverted(r.drop)}, since: r.since, run: runOf(u), root: root}
	if err := q.write(in, out); err != nil {
		return "", asWriteError(err)
	}
	if err := out.Sync(); err != nil {
		return "", writeError(err)
	}
	if err := q.confirm(out); err != nil {
		return "", err
	}
	if q.rows != r.receipt.Removed {
		return "", errUnconfirmed()
	}
	if err := out.Publish(); err != nil {
		return "", writeError(err)
	}
	return name, nil
}

func runOf(u schemas.Unit) string {
	if u.Run.ID == "" {
		return "adhoc"
	}
	return u.Run.ID
}

// removedName names the quarantine file of a unit at its version.
func removedName(u schemas.Unit) string {
	sum := sha256.Sum256([]byte(u.Name + "\x00" + u.Version))
	base := strings.TrimSuffix(path.Base(u.Name), ".parquet")
	return base[:min(len(base), 100)] + "-" + hex.EncodeToString(sum[:8]) + ".parquet"
}

// removedSchema is root with two more columns.
func removedSchema(root *schema.GroupNode) (*schema.GroupNode, error) {
	var fields schema.FieldList
	for i := range root.NumFields() {
		name := root.Field(i).Name()
		if strings.EqualFold(name, RemovedSince) || strings.EqualFold(name, RemovedRun) {
			return nil, schemas.Errorf(schemas.Failed, "has a column %q, which the quarantine of removed rows needs", name).
				WithHint("rename it, or use write: {mode: remove, keep: false}")
		}
		fields = append(fields, root.Field(i))
	}
	since, err := schema.NewPrimitiveNodeLogical(RemovedSince, parquet.Repetitions.Required,
		schema.NewTimestampLogicalType(true, schema.TimeUnitMillis), parquet.Types.Int64, -1, -1)
	if err != nil {
		return nil, err
	}
	run, err := schema.NewPrimitiveNodeLogical(RemovedRun, parquet.Repetitions.Required, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, -1)
	if err != nil {
		return nil, err
	}
	return schema.NewGroupNode(root.Name(), root.RepetitionType(), append(fields, since, run), -1)
}

// quarantining is the making of one file of removed rows.
type quarantining struct {
	cleaning
	since [][]int64 // by row group of the unit
	run   string
	root  *schema.GroupNode
}

func (q *quarantining) write(in *file.Reader, out io.Writer) error {
	var hit []int
	for g, times := range q.since {
		if len(times) > 0 {
			hit = append(hit, g)
		}
	}
	props, err := properties(in, hit...)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(out, 1<<20)
	w := file.NewParquetWriter(buf, q.root, file.WithWriterProps(props))
	q.schema = w.Schema.String()
	sums := newSums(w.Schema.NumColumns())
	own := len(sums) - 2
	for n, g := range hit {
		q.anew = append(q.anew, n)
		q.rows += int64(len(q.since[g]))
		to := w.AppendRowGroup()
		if err := q.copyColumns(in, g, sums[:own], to); err != nil {
			return err
		}
		if err := q.writeOwn(q.since[g], sums[own:], to); err != nil {
			return err
		}
		if err := to.Close(); err != nil {
			return err
		}
	}
	if err := w.FlushWithFooter(); err != nil {
		return err
	}
	q.digest = sums.digests()
	return buf.Flush()
}

// writeOwn writes the two columns of the quarantine itself.
func (q *quarantining) writeOwn(since []int64, own sums, to file.SerialRowGroupWriter) error {
	runs := make([]parquet.ByteArray, len(since))
	for i, ms := range since {
		runs[i] = parquet.ByteArray(q.run)
		own[0].Write(binary.LittleEndian.AppendUint64(nil, uint64(ms)))
		own[1].Write(sizedBytes(nil, runs[i]))
	}
	for range own {
		column, err := to.NextColumn()
		if err != nil {
			return err
		}
		switch w := column.(type) {
		case *file.Int64ColumnChunkWriter:
			_, err = w.WriteBatch(since, nil, nil)
		case *file.ByteArrayColumnChunkWriter:
			_, err = w.WriteBatch(runs, nil, nil)
		}
		if err := errors.Join(err, column.Close()); err != nil {
			return err
		}
	}
	return nil
}

// confirm reads the file back.
func (q *quarantining) confirm(f *durable.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := file.NewParquetReader(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return err
	}
	sc := r.MetaData().Schema
	switch {
	case sc.String() != q.schema:
		return errCannotCarry("its schema")
	case r.NumRows() != q.rows || r.NumRowGroups() != len(q.anew):
		return errUnconfirmed()
	}
	return confirmColumns(q.ctx, r, q.anew, q.digest)
}
