package bigquery

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/bigquery"

	"optsweep/schemas"
)

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

func isPrecondition(err error) bool { return codeOf(err) == http.StatusPreconditionFailed }

// suppressionSchema is that of the suppression table. One row stands for one
// spelling of an id as it stands in the tables, so that views match as they
// are.
func suppressionSchema() bigquery.Schema {
	return bigquery.Schema{
		{Name: "id", Type: bigquery.StringFieldType, Required: true, Description: "the id as it stands in the table"},
		{Name: "scope", Type: bigquery.StringFieldType, Required: true, Description: "euid or uid2"},
		{Name: "opted_out_since", Type: bigquery.TimestampFieldType, Required: true, Description: "since when the person has opted out"},
		{Name: "first_flagged_at", Type: bigquery.TimestampFieldType, Required: true, Description: "start of the run that put the id here"},
		{Name: "last_checked_at", Type: bigquery.TimestampFieldType, Required: true, Description: "start of the run that last changed this row; a listed id is not asked about again"},
		{Name: "run_id", Type: bigquery.StringFieldType, Required: true, Description: "that run"},
	}
}

// suppressionWriter keeps the suppression table and its views.
type suppressionWriter struct {
	*Table
	unit  schemas.Unit
	clear bool
}

func (w suppressionWriter) target() TableRef { return w.suppression() }

// prepare makes the suppression table and the views.
func (w suppressionWriter) prepare(ctx context.Context, flagged bool) error {
	if w.clear {
		return nil
	}
	unlock := w.c.lock(w.suppression())
	defer unlock()
	m, found, err := w.c.metadata(ctx, w.suppression())
	if err != nil {
		return err
	}
	if !found && flagged {
		return errFlagsGone("the suppression table", w.Ref)
	}
	if !found {
		if err := w.c.create(ctx, w.suppression(), &bigquery.TableMetadata{
			Schema: suppressionSchema(), Clustering: &bigquery.Clustering{Fields: []string{"id"}},
			Description: "ids whose person has opted out; kept by optsweep, which never removes a row by itself",
		}); err != nil {
			return err
		}
	} else if err := likeSuppression(w.suppression(), m.Schema); err != nil {
		return err
	}
	if !w.Write.Views || w.Query != "" {
		return nil
	}
	return w.views(ctx)
}

func likeSuppression(r TableRef, have bigquery.Schema) error {
	for _, want := range suppressionSchema() {
		f := findField(have, want.Name)
		if f == nil || f.Type != want.Type {
			return schemas.Errorf(schemas.Failed, "%s is no suppression table: it lacks the column %s %s", r, want.Name, want.Type).
				WithHint("rename it, or name another dataset with write.dataset")
		}
	}
	return nil
}

// viewMark begins the description of our views. It names the table as well, so
// that no other view is ever changed, nor that of another table.
const viewMark = "Kept by optsweep."

// views makes the views that an audience query can use, or brings them up to
// date.
func (t *Table) views(ctx context.Context) error {
	for _, v := range []struct {
		suffix, text string
		active       bool
	}{
		{"_active", "the rows of " + t.Ref.String() + " without a suppressed id", true},
		{"_suppressed", "the rows of " + t.Ref.String() + " with a suppressed id", false},
	} {
		r := t.Write.Dataset.In(t.Ref.Table + v.suffix)
		sql := t.everything().view(t.suppression(), string(t.Scope), v.active)
		changed, err := t.view(ctx, r, sql, viewMark+" "+v.text)
		if err == nil && t.Write.Authorized {
			err = t.authorize(ctx, r, changed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// view makes a view, or gives ours another query; changed tells that it did
// the latter.
func (t *Table) view(ctx context.Context, r TableRef, sql, description string) (changed bool, err error) {
	for n := 1; ; n++ {
		m, found, err := t.c.metadata(ctx, r)
		switch {
		case err != nil:
			return changed, err
		case !found:
			return false, t.c.create(ctx, r, &bigquery.TableMetadata{ViewQuery: sql, Description: description})
		case m.ViewQuery == sql:
			return changed, nil
		case m.ViewQuery == "" || m.Description != description:
			return false, schemas.Errorf(schemas.Failed, "%s exists and is not optsweep's view of that table", r).
				WithHint("rename it, or name another dataset with write.dataset")
		}
		changed = true
		err = t.c.retry(ctx, func(ctx context.Context) error {
			_, err := t.c.table(r).Update(ctx, bigquery.TableMetadataToUpdate{ViewQuery: sql}, m.ETag)
			return err
		})
		// Another version may be our own, whose answer was lost.
		if err == nil || !isPrecondition(err) || n == attempts {
			return changed, explain(err, "update the view %s", r)
		}
	}
}

// authorize lets a view read the dataset of the table on behalf of those who
// may not read it themselves. A view whose query has changed must be
// authorized anew (BigQuery, authorized views).
func (t *Table) authorize(ctx context.Context, view TableRef, changed bool) error {
	isView := func(a *bigquery.AccessEntry) bool {
		return a.View != nil && a.View.ProjectID == view.Project && a.View.DatasetID == view.Dataset && a.View.TableID == view.Table
	}
	if changed {
		if err := t.access(ctx, view, func(list []*bigquery.AccessEntry) ([]*bigquery.AccessEntry, bool) {
			without := slices.DeleteFunc(slices.Clone(list), isView)
			return without, len(without) < len(list)
		}); err != nil {
			return err
		}
	}
	return t.access(ctx, view, func(list []*bigquery.AccessEntry) ([]*bigquery.AccessEntry, bool) {
		if slices.ContainsFunc(list, isView) {
			return list, false
		}
		return append(slices.Clone(list), &bigquery.AccessEntry{EntityType: bigquery.ViewEntity, View: t.c.table(view)}), true
	})
}

// access changes who may read the dataset of the table, and nothing that
// another program changes meanwhile.
func (t *Table) access(ctx context.Context, view TableRef, change func([]*bigquery.AccessEntry) ([]*bigquery.AccessEntry, bool)) error {
	dataset := t.c.bq.DatasetInProject(t.Ref.Project, t.Ref.Dataset)
	for n := 1; ; n++ {
		var m *bigquery.DatasetMetadata
		err := t.c.retry(ctx, func(ctx context.Context) (err error) {
			m, err = dataset.Metadata(ctx)
			return err
		})
		if err != nil {
			return explain(err, "dataset of %s", t.Ref)
		}
		list, differs := change(m.Access)
		if !differs {
			return nil
		}
		err = t.c.retry(ctx, func(ctx context.Context) error {
			_, err := dataset.Update(ctx, bigquery.DatasetMetadataToUpdate{Access: list}, m.ETag)
			return err
		})
		if err == nil || !isPrecondition(err) || n == attempts {
			return explain(err, "authorize the view %s", view)
		}
	}
}

func (w suppressionWriter) change(ctx context.Context, h TableRef, id string) (outcome, error) {
	sql, step := mergeSuppression(w.suppression(), h, string(w.Scope), w.run(w.unit), w.unit.Run.StartedMS), "merge"
	if w.clear {
		sql, step = clearSuppression(w.suppression(), h, string(w.Scope)), "clear"
	}
	if _, err := w.c.price(ctx, "suppressing ids of "+w.Table.Table, sql); err != nil {
		return outcome{}, err
	}
	return w.c.do(ctx, work{id: id, step: step, run: w.run(w.unit), sql: sql})
}

func (w suppressionWriter) confirm(ctx context.Context, h TableRef) (got confirmed, err error) {
	err = w.c.ask(ctx, "confirm suppression", suppressed(w.suppression(), h, string(w.Scope)), &got)
	if w.clear {
		got.Good = got.Missing
	}
	return got, errors.Join(err, ctx.Err())
}
