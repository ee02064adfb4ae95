package parquet

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
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
	in, err := openArrow(r.file, r.info.Size())
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
	q := quarantining{cleaning: cleaning{ctx: ctx, workers: t.Workers, drop: inverted(r.drop)}, since: r.since, run: runOf(u), root: root}
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
	e, err := newEncoder(buf, q.root, props, q.workers)
	if err != nil {
		return err
	}
	q.schema = e.schema.String()
	sums := newSums(e.schema.NumColumns())
	own := len(sums) - 2
	for n, g := range hit {
		q.anew = append(q.anew, n)
		q.rows += int64(len(q.since[g]))
		columns := append(q.columns(in, g, sums[:own]), q.own(q.since[g], sums[own:])...)
		if err := e.group(q.ctx, int64(len(q.since[g])), columns); err != nil {
			return err
		}
	}
	if err := e.finish(); err != nil {
		return err
	}
	q.digest = sums.digests()
	return buf.Flush()
}

// own writes the two columns of the quarantine itself.
func (q *quarantining) own(since []int64, own sums) []writeColumn {
	return []writeColumn{
		func(_ context.Context, out file.ColumnChunkWriter) error {
			addFixed(arrow.Int64Traits.CastToBytes)(own[0], since)
			return write(out, since)
		},
		func(_ context.Context, out file.ColumnChunkWriter) error {
			runs := slices.Repeat([]parquet.ByteArray{parquet.ByteArray(q.run)}, len(since))
			addSized(own[1], runs)
			return write(out, runs)
		},
	}
}

// write writes values of a column that has no NULLs.
func write[T any](out file.ColumnChunkWriter, values []T) error {
	w, ok := out.(batchWriter[T])
	if !ok {
		return errCannotCarry("the type of column " + out.Descr().Path())
	}
	_, err := w.WriteBatch(values, nil, nil)
	return err
}

// confirm reads the file back.
func (q *quarantining) confirm(f *durable.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := openArrow(f, info.Size())
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
	return confirmColumns(q.ctx, r, q.anew, q.digest, q.workers)
}
