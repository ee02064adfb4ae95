package runtables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Rows passes on the rows that a run, ended or not, has in table t, each with
// its values in the order of t.Columns. A row is valid until each returns. The
// notes say what can no longer be told. With an error, the rows passed on
// before do not count: what they came from is not what the ledger knows, say.
func Rows(ctx context.Context, l sweep.Layout, run ledger.Run, t schemas.RunTable, each func(row []any) error) (notes []string, err error) {
	r := reader{ctx: ctx, layout: l, run: run, table: t}
	r.each = func(row []any) error {
		if err := errors.Join(ctx.Err(), t.Check(row)); err != nil {
			return err
		}
		return each(row)
	}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("run %s: %w", run.ID, err)
	}
	switch t.Name {
	case schemas.RunsTable, schemas.TablesTable:
		err = r.fromLedger()
	case schemas.BatchesTable:
		err = r.batches()
	case schemas.QuarantineTable:
		err = r.quarantine()
	case schemas.OptOutsTable:
		err = r.optOuts()
	default:
		_, err = schemas.RunTableNamed(t.Name)
	}
	if err != nil {
		return r.notes, fmt.Errorf("run %s, %s: %w", run.ID, t.Name, err)
	}
	return r.notes, nil
}

// reader makes the rows of one run in one table.
type reader struct {
	ctx    context.Context
	layout sweep.Layout
	run    ledger.Run
	table  schemas.RunTable
	each   func(row []any) error
	notes  []string

	job       string
	startedMS int64
	extracted map[string]schemas.TableExtracted // by table
	checked   *schemas.Checked
}

// read takes what the ledger knows of the files that the run has left.
func (r *reader) read() error {
	r.extracted = map[string]schemas.TableExtracted{}
	for _, e := range r.run.Events {
		var err error
		switch e.Type {
		case schemas.EventRunStarted:
			var v schemas.RunStarted
			err = json.Unmarshal(e.Data, &v)
			r.job, r.startedMS = v.Job, e.Time.UnixMilli()
		case schemas.EventTableExtracted:
			var v schemas.TableExtracted
			err = json.Unmarshal(e.Data, &v)
			r.extracted[v.Table] = v
		case schemas.EventChecked:
			r.checked = new(schemas.Checked)
			err = json.Unmarshal(e.Data, r.checked)
		}
		if err != nil {
			return fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
		}
	}
	return nil
}

func (r *reader) fromLedger() error {
	last, err := r.run.Position()
	if err != nil {
		return err
	}
	row, rows, err := report.RunTables(r.run.ID, r.run.Events, r.run.Ended, last)
	if err != nil {
		return err
	}
	if r.table.Name == schemas.RunsTable {
		rows = [][]any{row}
	}
	for _, row := range rows {
		if err := r.each(row); err != nil {
			return err
		}
	}
	return nil
}

// start is the beginning of a row, which the columns of every table but
// optsweep_runs share, with room for the rest.
func (r *reader) start() []any {
	row := make([]any, len(r.table.Columns))
	row[0], row[1], row[2] = r.job, r.run.ID, r.startedMS
	return row
}

// rest puts the values of the columns behind start into row.
func rest(row []any, values ...any) []any {
	return append(row[:3], values...)
}

// gone notes that files of the run are not there.
func (r *reader) gone(what string) {
	r.notes = append(r.notes, fmt.Sprintf("run %s: its %s is gone, so %s has no rows of it; if retention did not remove it, optsweep verify says so",
		r.run.ID, what, r.table.Name))
}

// tampered is an error about a file that is not what the ledger knows.
func tampered(format string, args ...any) error {
	return schemas.Errorf(schemas.Integrity, format, args...).WithHint("find out what was changed with: optsweep verify")
}
