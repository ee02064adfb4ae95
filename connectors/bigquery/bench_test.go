package bigquery

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"

	"optsweep/connectors/bigquery/bqtest"
	"optsweep/schemas"
)

// BenchmarkEmulator gives floor figures: the emulator takes far longer than
// BigQuery. Joins are nested loops there, so that few rows are written back.
func BenchmarkEmulator(b *testing.B) {
	for _, size := range []struct{ rows, hits int }{{1_000, 100}, {20_000, 10}} {
		b.Run(fmt.Sprintf("%d rows %d hits", size.rows, size.hits), func(b *testing.B) { benchmarkEmulator(b, size.rows, size.hits) })
	}
}

func benchmarkEmulator(b *testing.B, rows, hits int) {
	em := bqtest.New(b)
	d := em.Dataset(b)
	schema := bigquery.Schema{{Name: "euid", Type: bigquery.StringFieldType}, {Name: "opted_out_since", Type: bigquery.TimestampFieldType}}
	values := make([][]any, rows)
	for i := range values {
		values[i] = []any{fmt.Sprintf("%044d", i), nil}
	}
	d.Create(b, "crm", schema, values)
	c, err := Dial(b.Context(), Connection{
		Project: d.Project, Location: "EU", Staging: TableRef{Project: d.Project, Dataset: d.ID}, Temp: b.TempDir(),
		Endpoint: em.Endpoint(), GRPCEndpoint: em.GRPCEndpoint(), Insecure: true, Job: "bench", Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	table, err := New(c, Options{Table: "crm", Ref: TableRef{d.Project, d.ID, "crm"}, IDColumns: []string{"euid"}, Scope: schemas.EUID, Write: Write{Mode: Column, Column: "opted_out_since"}})
	if err != nil {
		b.Fatal(err)
	}
	units, _, err := table.Plan(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	seconds := map[string]float64{}
	for i := range b.N {
		u := units[0]
		u.Run = schemas.RunRef{ID: fmt.Sprintf("bench-%d", i)}
		began := time.Now()
		lap := func(name string) {
			seconds[name] += time.Since(began).Seconds()
			began = time.Now()
		}
		if _, _, err := table.stage(b.Context(), u); err != nil {
			b.Fatal(err)
		}
		lap("stage")
		if err := table.Scan(b.Context(), u, func(schemas.Cells) error { return nil }); err != nil {
			b.Fatal(err)
		}
		lap("read")
		found := 0
		if _, err := table.Apply(b.Context(), u, func([]byte) (int64, bool) { found++; return day1 - int64(i), found <= hits }, func(schemas.Receipt) error { return nil }); err != nil {
			b.Fatal(err)
		}
		lap("write")
	}
	for name, s := range seconds {
		b.ReportMetric(float64(rows*b.N)/s, name+"-rows/s")
	}
}
