package bigquery

import (
	"context"
	"errors"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

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
func (w removeWriter) prepare(ctx context.Context, _ bool) error {
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
	rows, err := w.rows(ctx, w.unit, s, h, id)
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

// confirm counts what is still there, and what of it is in quarantine.
func (w removeWriter) confirm(ctx context.Context, h TableRef) (got confirmed, err error) {
	s, err := w.of(w.unit)
	if err != nil {
		return got, err
	}
	var there, kept struct{ Total int64 }
	if err := w.c.ask(ctx, "confirm removal", s.left(h), &there); err != nil {
		return got, err
	}
	if q := w.quarantine(); q != nil {
		if err := w.c.ask(ctx, "confirm quarantine", s.removed(*q, h, w.run(w.unit)), &kept); err != nil {
			return got, err
		}
	}
	if there.Total > 0 && len(w.parts()) > 1 {
		kept.Total = 0 // it counts other parts' rows, too, and proves nothing
	}
	return confirmed{Total: there.Total + kept.Total, Good: kept.Total}, nil
}
