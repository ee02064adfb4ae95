package bigquery

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

// Since tells when the id in a cell was opted out, in Unix ms; ok is false if
// the cell holds no opted-out id.
type Since = func(cell []byte) (sinceMS int64, ok bool)

// rule decides which flags change.
type rule struct {
	since Since
	clear func(cell []byte) bool // whose flags are taken away; nil: none
}

// Apply writes the flags of a unit back, in the way that the job file names. A
// flag that is there is never cleared and only moves to an earlier time; rows
// whose flag would not change are not touched, and without any nothing is
// sent.
//
// The figures of the receipt are those of the snapshot that the run has
// scanned. Rows that were added since are flagged along if they hold the same
// ids; the others are left to the next run.
//
// commit is called just before the one statement that changes the table. It
// runs under an id that follows from the run, the unit and the flags: if Apply
// is killed and called again, it adopts what was done.
func (t *Table) Apply(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	return t.rewrite(ctx, u, rule{since: since}, t.writer(u), commit)
}

// Clear takes the flags of the rows away whose cell matches. It is for an
// explicit act on single ids. What mode remove has removed stays so.
func (t *Table) Clear(ctx context.Context, u schemas.Unit, match func(cell []byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	never := func([]byte) (int64, bool) { return 0, false }
	return t.rewrite(ctx, u, rule{since: never, clear: match}, t.clearer(u), commit)
}

// Preview works out the receipt of Apply and writes nothing but what Scan has
// staged.
func (t *Table) Preview(ctx context.Context, u schemas.Unit, since Since) (schemas.Receipt, error) {
	receipt, h, err := t.compare(ctx, u, rule{since: since})
	if err != nil {
		return receipt, err
	}
	defer h.remove()
	return receipt, nil
}

// writer is how one mode changes a table.
type writer interface {
	// prepare makes what the change needs, even if no flag changes.
	prepare(ctx context.Context) error
	// target is the table that the change is made to.
	target() TableRef
	// change makes the change. h is a table of hits.
	change(ctx context.Context, h TableRef, id string) (outcome, error)
	// confirm reads back what was changed.
	confirm(ctx context.Context, h TableRef) (confirmed, error)
}

// confirmed counts rows, or ids of a suppression table, that a change was
// about.
type confirmed struct {
	Total   int64
	Good    int64 // they are as they were meant to be
	Missing int64 // no flag
	Later   int64 // a later flag
}

func (t *Table) rewrite(ctx context.Context, u schemas.Unit, r rule, w writer, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	if err := w.prepare(ctx); err != nil {
		return schemas.Receipt{}, err
	}
	receipt, h, err := t.compare(ctx, u, r)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer h.remove()
	if receipt.Changed {
		if err := t.write(ctx, u, &receipt, h, w, commit); err != nil {
			return schemas.Receipt{}, err
		}
	}
	receipt.VersionAfter, err = t.Version(ctx, u)
	return receipt, err
}

// write stages hits, changes the table, and reads back.
func (t *Table) write(ctx context.Context, u schemas.Unit, receipt *schemas.Receipt, h *hits, w writer, commit func(schemas.Receipt) error) error {
	id := t.name(u, "")
	staged := t.staging(u, "hits_"+h.digest())
	load := t.c.stageHits
	if t.Write.Stream {
		load = t.c.streamHits
	}
	if _, err := load(ctx, h, id+"load_"+h.digest(), t.run(u), staged); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), commit(*receipt)); err != nil {
		return err
	}
	unlock := t.c.lock(w.target())
	defer unlock()
	done, err := w.change(ctx, staged, id+"write_"+h.digest())
	if err != nil {
		return err
	}
	receipt.Job, receipt.Billed = done.job, done.billed
	t.c.Log.Info("changed a table", "table", t.Table, "unit", u.Name, "job", done.job, "adopted", done.adopted, "bytes_billed", done.billed)
	got, err := w.confirm(ctx, staged)
	if err != nil {
		return err
	}
	return t.settle(receipt, h, got)
}

// settle compares what was read back with what was meant. Rows that came in
// between may lack a flag; they are the next run's.
func (t *Table) settle(receipt *schemas.Receipt, h *hits, got confirmed) error {
	wrong := got.Total - got.Good
	want := receipt.NewlyFlagged + receipt.MovedEarlier + receipt.Cleared
	if t.Write.Mode == Suppression {
		want = h.n
	}
	if wrong > 0 && got.Good < want {
		return schemas.Errorf(schemas.Failed, "%d rows were to be changed, but of %d only %d read back as they were meant", want, got.Total, got.Good).
			WithHint("run the same command again")
	}
	if wrong > 0 {
		t.c.Log.Info("rows with opted-out ids were added while the table was changed; the next run flags them", "table", t.Table, "rows", wrong)
	}
	return nil
}

// compare reads what is staged of a unit, collects the cells whose flag
// changes, and makes out the receipt.
func (t *Table) compare(ctx context.Context, u schemas.Unit, r rule) (receipt schemas.Receipt, h *hits, err error) {
	if h, err = newHits(t.c.Temp); err != nil {
		return receipt, nil, err
	}
	defer func() {
		if err != nil {
			h.remove()
		}
	}()
	receipt = schemas.Receipt{Table: t.Table, Unit: u.Name, VersionBefore: u.Version, BytesBefore: u.Bytes, BytesAfter: u.Bytes}
	staged, want, err := t.stage(ctx, u)
	if err != nil {
		return receipt, h, err
	}
	mixed := false
	err = t.c.scan(ctx, staged, want, func(b batch) error {
		for i, cell := range b.ids {
			since, change, unclear := r.judge(&receipt, cell, b.counts[i], b.flagged[i], b.min[i], b.max[i])
			mixed = mixed || unclear
			if !change {
				continue
			}
			if err := h.add(cell, since); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return receipt, h, err
	}
	if mixed {
		t.c.Log.Info("the flags of some ids differ from row to row; those that move are counted by id", "table", t.Table)
	}
	receipt.Changed = h.n > 0
	if t.Write.Mode == Remove {
		receipt.Removed = receipt.NewlyFlagged
	}
	receipt.Flagged = receipt.OptedOut + receipt.Kept
	receipt.Confirmed = receipt.Flagged // or write fails
	return receipt, h, nil
}

// judge counts the rows of one cell and tells whether their flags change.
// unclear tells that some have a later flag and some have not, so that it is
// not known how many.
func (r rule) judge(c *schemas.Receipt, cell []byte, n, flagged, minUS, maxUS int64) (sinceUS int64, change, unclear bool) {
	c.Rows += n
	if cell == nil {
		c.Nulls += n
		c.Kept += flagged
		return 0, false, false
	}
	sinceMS, found := r.since(cell)
	if !found {
		if flagged > 0 && r.clear != nil && r.clear(cell) {
			c.Cleared += flagged
			return minUS, true, false
		}
		c.Kept += flagged
		return 0, false, false
	}
	sinceUS = sinceMS * 1000
	c.OptedOut += n
	c.NewlyFlagged += n - flagged
	if flagged > 0 && maxUS > sinceUS {
		c.MovedEarlier += flagged
		return sinceUS, true, minUS <= sinceUS
	}
	return sinceUS, n > flagged, false
}

// columnWriter changes the flag column of a table.
type columnWriter struct {
	*Table
	unit  schemas.Unit
	clear bool
}

func (t *Table) writer(u schemas.Unit) writer {
	switch t.Write.Mode {
	case Suppression:
		return suppressionWriter{t, u, false}
	case Remove:
		return removeWriter{t, u}
	default:
		return columnWriter{t, u, false}
	}
}

func (t *Table) clearer(u schemas.Unit) writer {
	switch t.Write.Mode {
	case Suppression:
		return suppressionWriter{t, u, true}
	case Remove:
		return removeWriter{t, u} // which never finds a flag
	default:
		return columnWriter{t, u, true}
	}
}

func (w columnWriter) target() TableRef { return w.Ref }

// prepare adds the column unless it is there. Only a table whose schema is
// still the one that was read gets a new one.
func (w columnWriter) prepare(ctx context.Context) error {
	if w.clear {
		return nil
	}
	unlock := w.c.lock(w.Ref)
	defer unlock()
	for n := 1; ; n++ {
		m, err := w.inspect(ctx)
		if err != nil {
			return err
		}
		if has, err := w.flagColumn(m); has || err != nil {
			return err
		}
		schema := append(m.Schema[:len(m.Schema):len(m.Schema)], &bigquery.FieldSchema{
			Name: w.Write.Column, Type: bigquery.TimestampFieldType,
			Description: "since when the person behind this row's id has opted out; NULL: the id was not listed when it was asked about, or could not be asked about",
		})
		err = w.c.retry(ctx, func(ctx context.Context) error {
			_, err := w.c.table(w.Ref).Update(ctx, bigquery.TableMetadataToUpdate{Schema: schema}, m.ETag)
			return err
		})
		if err == nil || !isPrecondition(err) || n == attempts {
			return explain(err, "add column %q to %s", w.Write.Column, w.Ref)
		}
	}
}

// rows gives a table that joins with the rows that hold hits: that of the hits
// itself, or one of matches made from it.
func (t *Table) rows(ctx context.Context, u schemas.Unit, s source, h TableRef) (TableRef, error) {
	if s.simple() {
		return h, nil
	}
	matches := h.In(h.Table + "_rows")
	if _, err := t.c.price(ctx, "find rows of "+t.Table, s.matches(h)); err != nil {
		return matches, err
	}
	if _, err := t.c.do(ctx, work{id: matches.Table, step: "match", run: t.run(u), sql: s.matches(h), dst: &matches, cluster: hitKey}); err != nil {
		return matches, err
	}
	return matches, t.c.expire(ctx, matches)
}

func (w columnWriter) change(ctx context.Context, h TableRef, id string) (outcome, error) {
	s, err := w.of(w.unit)
	if err != nil {
		return outcome{}, err
	}
	rows, err := w.rows(ctx, w.unit, s, h)
	if err != nil {
		return outcome{}, err
	}
	sql, step := s.mergeColumn(rows, w.Write.Column), "merge"
	if w.clear {
		sql, step = s.clearColumn(rows, w.Write.Column), "clear"
	}
	if _, err := w.c.price(ctx, "flagging rows of "+w.Table.Table, sql); err != nil {
		return outcome{}, err
	}
	return w.c.do(ctx, work{id: id, step: step, run: w.run(w.unit), sql: sql})
}

func (w columnWriter) confirm(ctx context.Context, h TableRef) (got confirmed, err error) {
	s, err := w.of(w.unit)
	if err != nil {
		return got, err
	}
	rows, err := w.rows(ctx, w.unit, s, h)
	if err != nil {
		return got, err
	}
	err = w.c.ask(ctx, "confirm flags", s.flags(rows, w.Write.Column), &got)
	if w.clear {
		got.Good = got.Missing
	}
	return got, err
}

// removeWriter deletes rows.
type removeWriter struct {
	*Table
	unit schemas.Unit
}

func (w removeWriter) target() TableRef { return w.Ref }

// quarantine is the table that keeps removed rows.
func (t *Table) quarantine() *TableRef {
	if t.Write.DropRemoved {
		return nil
	}
	r := t.Write.Dataset.In("optsweep_removed_" + t.Ref.Dataset + "_" + t.Ref.Table)
	return &r
}

// prepare makes the table that keeps removed rows, or checks that it still has
// the columns of the table.
func (w removeWriter) prepare(ctx context.Context) error {
	q := w.quarantine()
	if q == nil {
		return nil
	}
	m, err := w.inspect(ctx)
	if err != nil {
		return err
	}
	schema := append(relaxed(m.Schema),
		&bigquery.FieldSchema{Name: "optsweep_opted_out_since", Type: bigquery.TimestampFieldType},
		&bigquery.FieldSchema{Name: "optsweep_run_id", Type: bigquery.StringFieldType})
	if err := w.c.create(ctx, *q, &bigquery.TableMetadata{
		Schema: schema, Description: "rows that optsweep has removed from " + w.Ref.String() + " because the person behind them has opted out",
	}); err != nil {
		return err
	}
	have, found, err := w.c.metadata(ctx, *q)
	if err != nil || !found {
		return errors.Join(err, ctx.Err())
	}
	for _, f := range schema {
		if findField(have.Schema, f.Name) == nil {
			return schemas.Errorf(schemas.Failed, "%s has no column %q, which %s has by now", q, f.Name, w.Ref).
				WithHint("add the column to it, so that no value of a removed row is lost")
		}
	}
	return nil
}

func findField(schema bigquery.Schema, name string) *bigquery.FieldSchema {
	for _, f := range schema {
		if equalFold(f.Name, name) {
			return f
		}
	}
	return nil
}

// relaxed is a schema that takes the rows of s now and later.
func relaxed(s bigquery.Schema) bigquery.Schema {
	out := make(bigquery.Schema, len(s))
	for i, f := range s {
		c := *f
		c.Required, c.PolicyTags, c.DefaultValueExpression = false, nil, ""
		c.Schema = relaxed(f.Schema)
		out[i] = &c
	}
	return out
}

func (w removeWriter) change(ctx context.Context, h TableRef, id string) (outcome, error) {
	s, err := w.of(w.unit)
	if err != nil {
		return outcome{}, err
	}
	rows, err := w.rows(ctx, w.unit, s, h)
	if err != nil {
		return outcome{}, err
	}
	m, err := w.inspect(ctx)
	if err != nil {
		return outcome{}, err
	}
	names := make([]string, len(m.Schema))
	for i, f := range m.Schema {
		names[i] = f.Name
	}
	q := w.quarantine()
	sql := s.remove(rows, q, names, w.run(w.unit))
	if _, err := w.c.price(ctx, "removing rows of "+w.Table.Table, s.remove(rows, nil, nil, "")); err != nil {
		return outcome{}, err
	}
	return w.c.do(ctx, work{id: id, step: "remove", run: w.run(w.unit), sql: sql})
}

// confirm counts the rows that are still there, and those in quarantine.
func (w removeWriter) confirm(ctx context.Context, h TableRef) (got confirmed, err error) {
	s, err := w.of(w.unit)
	if err != nil {
		return got, err
	}
	rows, err := w.rows(ctx, w.unit, s, h)
	if err != nil {
		return got, err
	}
	var there, kept struct{ Total int64 }
	if err := w.c.ask(ctx, "confirm removal", s.left(rows), &there); err != nil {
		return got, err
	}
	if q := w.quarantine(); q != nil {
		if err := w.c.ask(ctx, "confirm quarantine", removed(*q, w.run(w.unit)), &kept); err != nil {
			return got, err
		}
	}
	return confirmed{Total: there.Total + kept.Total, Good: kept.Total}, nil
}

func (t *Table) String() string { return fmt.Sprintf("table %s", t.Table) }
