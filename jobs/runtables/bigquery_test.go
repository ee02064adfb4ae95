package runtables_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"optsweep/connectors/bigquery"
	"optsweep/connectors/bigquery/bqtest"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/jobs/runtables"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/queries"
)

// The rows of real runs go into BigQuery, and the example queries give the
// figures of the runs' reports.
func TestInBigQuery(t *testing.T) {
	b := bench(t)
	reconciled := mustRun(t, b)
	b.OptedOut[sweeptest.ID(2)] = 1_650_000_000_000
	b.DryRun = true
	mustRun(t, b)
	all, _ := runs(t, b)

	em := bqtest.New(t)
	d := em.Dataset(t)
	dataset := bigquery.TableRef{Project: d.Project, Dataset: d.ID}
	client, err := bigquery.Dial(t.Context(), bigquery.Connection{
		Project: d.Project, Location: "EU", Staging: dataset, Temp: t.TempDir(), Endpoint: em.Endpoint(), GRPCEndpoint: em.GRPCEndpoint(), Insecure: true,
		Job: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: b.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, run := range all {
		if err := publish(t.Context(), client, dataset, b, run); err != nil {
			t.Fatalf("%v (%s)", err, schemas.HintOf(err))
		}
	}
	published, err := client.Published(t.Context(), dataset, "test")
	if err != nil || len(published) != len(all) {
		t.Errorf("published are %v, %v", published, err)
	}
	for _, run := range all {
		if last, err := run.Position(); err != nil || published[run.ID] != last.Seq {
			t.Errorf("run %s is published up to event %d, its last is %d (%v)", run.ID, published[run.ID], last.Seq, err)
		}
	}
	sameRows(t, d, b, all)

	list, err := queries.All()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string][][]string{}
	for _, q := range list {
		sql, err := schemas.InDataset(q.SQL, d.Project+"."+d.ID)
		if err != nil {
			t.Fatal(err)
		}
		answers[q.Name] = d.Query(t, sql)
	}
	batches := int(reconciled.IDs.Batches)
	for name, rows := range map[string]int{
		"batch_proof": batches + 6, "figures_add_up": 0, "gaps": 1, "limits_overridden": 0, "not_reconciled": 0, "unverifiable_by_reason": 8, "time_to_honour": 1,
		"asked": batches + 6, "time_to_honour_by_week": 1, "opted_out_by_source": 0,
	} {
		if len(answers[name]) != rows {
			t.Errorf("%s has %d rows, want %d: %v", name, len(answers[name]), rows, answers[name])
		}
	}
	for _, row := range answers["batch_proof"] {
		if row[9] != "true" {
			t.Errorf("the chain of batch %s does not hold", row[0])
		}
	}
	if row := answers["time_to_honour"]; len(row) == 1 && (row[0][1] != reconciled.Run || row[0][3] != fmt.Sprint(reconciled.IDs.OptedOut)) {
		t.Errorf("time to honour: %v", row)
	}
}

func publish(ctx context.Context, c *bigquery.Client, dataset bigquery.TableRef, b *sweeptest.Bench, run ledger.Run) error {
	ref := schemas.RunRef{ID: run.ID, StartedMS: run.Events[0].Time.UnixMilli()}
	return c.PublishRun(ctx, dataset, "test", ref, func(t schemas.RunTable, each func([]any) error) error {
		_, err := runtables.Rows(ctx, sweep.Layout(b.Dir), run, t, each)
		return err
	})
}

// sameRows compares every cell of the tables with the rows that were made of
// the runs.
func sameRows(t *testing.T, d *bqtest.Dataset, b *sweeptest.Bench, all []ledger.Run) {
	t.Helper()
	for _, table := range schemas.RunTables() {
		columns := make([]string, len(table.Columns))
		for i, c := range table.Columns {
			if columns[i] = c.Name; c.Type == schemas.TimestampColumn {
				columns[i] = "UNIX_MILLIS(" + c.Name + ")"
			}
		}
		left := map[string]int{}
		for _, row := range d.Query(t, fmt.Sprintf("SELECT %s FROM `%s`", strings.Join(columns, ", "), d.Name(table.Name))) {
			left[strings.Join(row, "|")]++
		}
		for _, run := range all {
			_, err := runtables.Rows(t.Context(), sweep.Layout(b.Dir), run, table, func(row []any) error {
				cells := make([]string, len(row))
				for i, v := range row {
					if cells[i] = fmt.Sprint(v); v == nil {
						cells[i] = "NULL"
					}
				}
				left[strings.Join(cells, "|")]--
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for row, n := range left {
			if n != 0 {
				t.Errorf("%s: %+d of %s", table.Name, n, row)
			}
		}
	}
}
