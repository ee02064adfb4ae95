package bigquery

import (
	"context"
	"errors"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

// stageSQL is the statement that stages the distinct cells of a source with
// the flags that they have.
func (t *Table) stageSQL(ctx context.Context, s source, m *bigquery.TableMetadata) (string, error) {
	switch t.Write.Mode {
	case Column:
		has, err := t.flagColumn(m)
		if err != nil {
			return "", err
		}
		if !has {
			return s.stageColumn(""), nil
		}
		return s.stageColumn(t.Write.Column), nil
	case Suppression:
		_, found, err := t.c.metadata(ctx, t.suppression())
		if err != nil {
			return "", err
		}
		if found {
			return s.stageSuppression(t.suppression(), string(t.Scope)), nil
		}
	}
	return s.stageColumn(""), nil
}

// stage makes sure that the cells of a unit are staged for its run, and
// returns where and how many. What is staged is one snapshot of the source.
func (t *Table) stage(ctx context.Context, u schemas.Unit) (TableRef, stagedTotals, error) {
	staged := t.staging(u, "ids")
	s, err := t.of(u)
	if err != nil {
		return staged, stagedTotals{}, err
	}
	m, found, err := t.c.metadata(ctx, staged)
	if err != nil {
		return staged, stagedTotals{}, err
	}
	if !found || m.Description != stagedMark { // it was not yet found to be whole
		if err := t.fill(ctx, u, s, staged); err != nil {
			return staged, stagedTotals{}, err
		}
	}
	if _, err := t.c.expire(ctx, staged); err != nil {
		return staged, stagedTotals{}, err
	}
	var sum stagedTotals
	err = t.c.ask(ctx, "count staged ids", totals(staged), &sum)
	return staged, sum, err
}

// since stages the cells of a unit once more, with the flags that the run has
// written since: rows that it has flagged before it asked are not flagged, nor
// counted, again.
func (t *Table) since(ctx context.Context, u schemas.Unit, staged TableRef, want stagedTotals) (TableRef, stagedTotals, error) {
	hits := t.c.Staging.In(u.Written)
	after := t.staging(u, "ids_"+digest(u.Written)[:12])
	sql := written(staged, hits)
	if _, err := t.c.price(ctx, "staging flags of "+t.Table, sql); err != nil {
		return after, want, err
	}
	if _, err := t.c.do(ctx, work{id: after.Table, step: "stage", run: t.run(u), sql: sql, dst: &after, cluster: colID}); err != nil {
		return after, want, err
	}
	_, err := t.c.expire(ctx, after)
	return after, want, err // as many cells as before
}

// stagedTotals says what a staging table holds.
type stagedTotals struct {
	Cells int64 // distinct, NULL included
	Total int64 // cells of the source
}

func (t *Table) fill(ctx context.Context, u schemas.Unit, s source, staged TableRef) error {
	before, err := t.inspect(ctx)
	if err != nil {
		return err
	}
	sql, err := t.stageSQL(ctx, s, before)
	if err != nil {
		return err
	}
	if _, err := t.c.price(ctx, "staging ids of "+t.Table, sql); err != nil {
		return err
	}
	done, err := t.c.do(ctx, work{id: t.name(u, "stage"), step: "stage", run: t.run(u), sql: sql, dst: &staged, cluster: colID})
	if err != nil {
		return err
	}
	t.c.Log.Info("staged the ids of a table", "table", t.Table, "unit", u.Name, "job", done.job, "bytes_billed", done.billed)
	if done.adopted && t.version(before, u.Rows) != u.Version {
		return nil // of the table as it was then nothing is known any more
	}
	return t.whole(ctx, s, before, staged)
}

// whole compares what was staged with the number of rows that BigQuery knows
// of a table that nobody changed meanwhile: with row-level security a query
// sees only some of them, without a word.
func (t *Table) whole(ctx context.Context, s source, before *bigquery.TableMetadata, staged TableRef) error {
	if before == nil || before.Type != bigquery.RegularTable || before.StreamingBuffer != nil || len(s.predicates) > 0 || !s.simple() {
		return nil
	}
	after, err := t.inspect(ctx)
	if err != nil || t.version(after, 0) != t.version(before, 0) {
		return err
	}
	var sum stagedTotals
	if err := t.c.ask(ctx, "count staged ids", totals(staged), &sum); err != nil {
		return err
	}
	if sum.Total == int64(before.NumRows) {
		return nil
	}
	return schemas.Errorf(schemas.Integrity, "%s has %d rows, but a query sees %d of them", t.Ref, before.NumRows, sum.Total).
		WithHint("row-level security may hide the others: let the service account see all rows")
}

// Pinned tells whether the unit was copied for its run, so that changes of the
// table do not matter to the run any more.
func (t *Table) Pinned(ctx context.Context, u schemas.Unit) (bool, error) {
	if u.Run.ID == "" {
		return false, nil
	}
	_, found, err := t.c.metadata(ctx, t.staging(u, "ids"))
	return found, err
}

// Scan gives every distinct cell of a unit once, with the number of cells that
// are like it, in no order. They are those of the moment at which the run first
// scanned the unit. It is an error if they are not all read.
func (t *Table) Scan(ctx context.Context, u schemas.Unit, yield func(schemas.Cells) error) error {
	staged, want, err := t.stage(ctx, u)
	if err != nil {
		return err
	}
	return t.c.scan(ctx, staged, want, func(b batch) error {
		return yield(schemas.Cells{First: schemas.NoRow, Values: b.ids, Counts: b.counts})
	})
}

// scan reads a staging table, all of it.
func (c *Client) scan(ctx context.Context, staged TableRef, want stagedTotals, yield func(batch) error) error {
	var got stagedTotals
	var yieldErr error
	err := c.readStaged(ctx, staged, func(b batch) error {
		for _, n := range b.counts {
			got.Total += n
		}
		got.Cells += int64(len(b.ids))
		yieldErr = yield(b)
		return yieldErr
	})
	switch {
	case yieldErr != nil:
		return yieldErr
	case err != nil:
		return explain(err, "read %s", staged)
	case got != want:
		return errors.Join(ctx.Err(), schemas.Errorf(schemas.Integrity, "%d distinct ids of %d rows were read from %s, it holds %d of %d", got.Cells, got.Total, staged, want.Cells, want.Total).
			WithHint("run the same command again"))
	}
	return nil
}
