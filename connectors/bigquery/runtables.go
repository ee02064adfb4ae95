package bigquery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/bigquery"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"

	"optsweep/schemas"
)

// RunRows passes on the rows that a run has in one run table, each with its
// values in the order of the columns. A row is valid until each returns.
type RunRows = func(t schemas.RunTable, each func(row []any) error) error

// PublishRun puts the rows of a run that has ended into the run tables in
// dataset, in place of those that an earlier call has put there. It makes
// tables and columns that are missing.
//
// The rows of all tables appear in one transaction, so that nobody sees a part
// of a run, and a run that is in optsweep_runs is whole. Jobs have ids that
// follow from the run and its rows: if PublishRun is killed and called again,
// it adopts what was done.
//
// The dataset must be in the location of the staging dataset.
func (c *Client) PublishRun(ctx context.Context, dataset TableRef, job string, run schemas.RunRef, rows RunRows) error {
	p := publication{c: c, dataset: dataset, job: job, run: run}
	defer p.remove()
	if err := p.collect(ctx, rows); err != nil {
		return err
	}
	for _, t := range p.tables {
		if err := p.ensure(ctx, t.RunTable); err != nil {
			return err
		}
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	return p.replace(ctx)
}

// Published lists the runs of a job that are in the run tables in dataset, by
// id, each with the number of the ledger event up to which it is told there. A
// run whose ledger went on since is to be published again.
func (c *Client) Published(ctx context.Context, dataset TableRef, job string) (map[string]int64, error) {
	runs := map[string]int64{}
	r := dataset.In(schemas.RunsTable)
	if _, found, err := c.metadata(ctx, r); err != nil || !found {
		return runs, err
	}
	err := c.retryLong(ctx, func(ctx context.Context) error {
		q := c.query(publishedRuns(r, job))
		q.Labels = c.labels(map[string]string{"optsweep_step": "published"})
		rows, err := q.Read(ctx)
		if err != nil {
			return err
		}
		for {
			var row struct {
				Run string `bigquery:"run_id"`
				Seq int64  `bigquery:"ledger_seq"`
			}
			if err := rows.Next(&row); errors.Is(err, iterator.Done) {
				return nil
			} else if err != nil {
				return err
			}
			runs[row.Run] = row.Seq
		}
	})
	return runs, explain(err, "list the published runs of %s", r)
}

// publication is one run on its way into the run tables.
type publication struct {
	c       *Client
	dataset TableRef
	job     string
	run     schemas.RunRef
	tables  []*runFile
}

// remove removes the files.
func (p *publication) remove() {
	for _, f := range p.tables {
		f.remove()
	}
}

// collect writes the rows of each table into a file.
func (p *publication) collect(ctx context.Context, rows RunRows) error {
	for _, t := range schemas.RunTables() {
		f, err := newRunFile(p.c.Temp, t, p.job, p.run)
		if err != nil {
			return err
		}
		p.tables = append(p.tables, f)
		err = rows(t, func(row []any) error { return errors.Join(ctx.Err(), f.add(row)) })
		if err != nil {
			return err
		}
		if err := f.finish(); err != nil {
			return err
		}
	}
	if n := p.tables[0].n; n != 1 {
		return schemas.Errorf(schemas.Failed, "run %s has %d rows in %s, want 1", p.run.ID, n, p.tables[0].Name)
	}
	return nil
}

// ensure makes a run table, or adds the columns that it lacks.
func (p *publication) ensure(ctx context.Context, t schemas.RunTable) error {
	r := p.dataset.In(t.Name)
	unlock := p.c.lock(r)
	defer unlock()
	schema, err := runSchema(t)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		m, found, err := p.c.metadata(ctx, r)
		if err != nil {
			return err
		}
		if !found {
			return p.c.create(ctx, r, &bigquery.TableMetadata{
				Schema: schema, Description: t.Doc + " Schema: " + t.Schema + ".",
				TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType, Field: t.Partition},
				Clustering:       &bigquery.Clustering{Fields: t.Cluster},
			})
		}
		wider, err := widened(r, m.Schema, schema)
		if wider == nil || err != nil {
			return err
		}
		err = p.c.retry(ctx, func(ctx context.Context) error {
			_, err := p.c.table(r).Update(ctx, bigquery.TableMetadataToUpdate{Schema: wider}, m.ETag)
			return err
		})
		if err == nil || !isPrecondition(err) || n == attempts {
			return explain(err, "add columns to %s", r)
		}
	}
}

// runSchema is the schema of a run table in BigQuery.
func runSchema(t schemas.RunTable) (bigquery.Schema, error) {
	data, err := t.BigQuerySchema()
	if err != nil {
		return nil, err
	}
	return bigquery.SchemaFromJSON(data)
}

// widened is the schema have with the columns that it lacks of want, or nil if
// it lacks none. It keeps columns that want does not know: a newer version has
// added them.
func widened(r TableRef, have, want bigquery.Schema) (bigquery.Schema, error) {
	wider := have[:len(have):len(have)]
	for _, w := range want {
		h := findField(have, w.Name)
		switch {
		case h == nil && w.Required:
			return nil, schemas.Errorf(schemas.Failed, "%s has no column %s: it is no run table", r, w.Name).
				WithHint("rename it, or publish into another dataset")
		case h == nil:
			wider = append(wider, w)
		case h.Type != w.Type || h.Repeated:
			return nil, schemas.Errorf(schemas.Failed, "column %s of %s is of type %s, not %s", w.Name, r, h.Type, w.Type).
				WithHint("rename the table, or publish into another dataset")
		}
	}
	if len(wider) == len(have) {
		return nil, nil
	}
	return wider, nil
}

// name makes the name of a staging table or job of the run: letters, digits
// and "_".
func (p *publication) name(what, content string) string {
	return "optsweep_" + strings.ReplaceAll(label(p.run.ID), "-", "_") + "_" + digest(p.job + "\x00" + p.dataset.String())[:12] + "_" + what + "_" + content
}

func (p *publication) staged(f *runFile) TableRef {
	return p.c.Staging.In(p.name(strings.TrimPrefix(f.Name, "optsweep_"), f.digest()))
}

// load stages the rows of the tables that have any.
func (p *publication) load(ctx context.Context) error {
	jobs, ctx := errgroup.WithContext(ctx)
	for _, f := range p.tables {
		if f.n == 0 {
			continue
		}
		schema, err := runSchema(f.RunTable)
		if err != nil {
			return err
		}
		dst := p.staged(f)
		jobs.Go(func() error {
			if _, err := p.c.do(ctx, work{id: dst.Table, step: "load", run: p.run.ID, dst: &dst, file: f.file.Name(), schema: schema}); err != nil {
				return err
			}
			_, err := p.c.expire(ctx, dst)
			return err
		})
	}
	return jobs.Wait()
}

// replace puts what is staged in place of the rows that the run has in the run
// tables, and compares. The tables may hold other rows of the run although a
// job has put these there: others were put there since. Then it is done again.
func (p *publication) replace(ctx context.Context) error {
	var content strings.Builder
	var swaps []swap
	for _, f := range slices.Backward(p.tables) { // optsweep_runs last
		s := swap{table: f.RunTable, into: p.dataset.In(f.Name), job: p.job, run: p.run}
		if f.n > 0 {
			staged := p.staged(f)
			s.from = &staged
		}
		swaps = append(swaps, s)
		content.WriteString(f.digest())
	}
	unlock := p.c.lock(p.dataset.In(schemas.RunsTable))
	defer unlock()
	id := p.name("publish", digest(content.String())[:16])
	for n := 1; ; n++ {
		done, err := p.c.do(ctx, work{id: fmt.Sprintf("%s_%d", id, n), step: "publish", run: p.run.ID, sql: swapAll(swaps)})
		if err != nil {
			return err
		}
		var differ struct{ Total int64 }
		if err := p.c.ask(ctx, "confirm published run", differences(swaps), &differ); err != nil {
			return err
		}
		if differ.Total == 0 {
			p.c.Log.Info("published a run", "run", p.run.ID, "dataset", p.dataset, "job", done.job, "adopted", done.adopted)
			return nil
		}
		if !done.adopted {
			return schemas.Errorf(schemas.Integrity, "%d rows of run %s in the run tables in %s are not as they were written", differ.Total, p.run.ID, p.dataset).
				WithHint("another program writes into these tables: find out which, and publish again")
		}
	}
}
