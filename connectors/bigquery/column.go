package bigquery

import (
	"context"
	"strconv"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

// columnWriter changes the flag column of a table.
type columnWriter struct {
	*Table
	unit  schemas.Unit
	clear bool
}

func (w columnWriter) target() TableRef { return w.Ref }

// prepare adds the column unless it is there. Only a table whose schema is
// still the one that was read gets a new one.
func (w columnWriter) prepare(ctx context.Context, flagged bool) error {
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
		if flagged {
			return errFlagsGone("the column "+strconv.Quote(w.Write.Column), w.Ref)
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
// itself, or one of matches made from it for the job with this id.
func (t *Table) rows(ctx context.Context, u schemas.Unit, s source, h TableRef, id string) (TableRef, error) {
	if s.simple() {
		return h, nil
	}
	matches := h.In(id + "_rows")
	if _, err := t.c.price(ctx, "find rows of "+t.Table, s.matches(h)); err != nil {
		return matches, err
	}
	if _, err := t.c.do(ctx, work{id: matches.Table, step: "match", run: t.run(u), sql: s.matches(h), dst: &matches, cluster: hitKey}); err != nil {
		return matches, err
	}
	_, err := t.c.expire(ctx, matches)
	return matches, err
}

func (w columnWriter) change(ctx context.Context, h TableRef, id string) (outcome, error) {
	s, err := w.of(w.unit)
	if err != nil {
		return outcome{}, err
	}
	rows, err := w.rows(ctx, w.unit, s, h, id)
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
	err = w.c.ask(ctx, "confirm flags", s.flags(h, w.Write.Column), &got)
	if w.clear {
		got.Good = got.Missing
	}
	return got, err
}
