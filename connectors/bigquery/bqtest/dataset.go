package bqtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"
)

// Dataset is a dataset of one test.
type Dataset struct {
	Project string
	ID      string
	Client  *bigquery.Client // of the REST API, without hooks
}

// Dataset makes a dataset with a new name. It stays until the emulator ends:
// with every table that is deleted the emulator takes more memory, until it has
// taken 2 GiB and fails.
func (em *Emulator) Dataset(t T) *Dataset {
	t.Helper()
	if err := em.Died(); err != nil {
		t.Fatalf("%v", err)
	}
	client, err := em.NewClient(t.Context())
	if err != nil {
		t.Fatalf("BigQuery client: %v", err)
	}
	d := &Dataset{Project: project, ID: "t_" + strings.ToLower(rand.Text()[:12]), Client: client}
	if err := client.Dataset(d.ID).Create(t.Context(), &bigquery.DatasetMetadata{Location: "EU"}); err != nil {
		t.Fatalf("making a dataset: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return d
}

// NewClient is a client of the REST API.
func (em *Emulator) NewClient(ctx context.Context) (*bigquery.Client, error) {
	return bigquery.NewClient(ctx, project, em.RESTOptions()...)
}

// NewReadingClient is a client that reads rows through the Storage Read API.
func (em *Emulator) NewReadingClient(ctx context.Context) (*bigquery.Client, error) {
	client, err := em.NewClient(ctx)
	if err != nil {
		return nil, err
	}
	if err := client.EnableStorageReadClient(ctx, em.GRPCOptions()...); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// Name is the full name of a table, as SQL and job files have it.
func (d *Dataset) Name(table string) string { return d.Project + "." + d.ID + "." + table }

// StorageName is the full name of a table in the Storage APIs.
func (d *Dataset) StorageName(table string) string {
	return fmt.Sprintf("projects/%s/datasets/%s/tables/%s", d.Project, d.ID, table)
}

// Create makes a table and loads rows, whose values are in the order of the
// schema: nil for NULL, time.Time for TIMESTAMP, else what JSON has for the
// column's type.
func (d *Dataset) Create(t T, table string, schema bigquery.Schema, rows [][]any) {
	t.Helper()
	d.CreateTable(t, table, &bigquery.TableMetadata{Schema: schema})
	if len(rows) > 0 {
		d.Load(t, table, schema, rows)
	}
}

// CreateTable makes an empty table, with partitioning and clustering, say.
func (d *Dataset) CreateTable(t T, table string, metadata *bigquery.TableMetadata) {
	t.Helper()
	if err := d.Client.Dataset(d.ID).Table(table).Create(t.Context(), metadata); err != nil {
		t.Fatalf("making table %s: %v", table, err)
	}
}

// Load appends rows to a table by a load job. Keep them below 3,000 if joins
// follow, and below 16 MiB.
func (d *Dataset) Load(t T, table string, schema bigquery.Schema, rows [][]any) {
	t.Helper()
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, row := range rows {
		if len(row) != len(schema) {
			t.Fatalf("loading %s: a row of %d values for %d columns", table, len(row), len(schema))
		}
		fields := map[string]any{}
		for i, v := range row {
			if at, ok := v.(time.Time); ok {
				v = at.UTC().Format(time.RFC3339Nano)
			}
			fields[schema[i].Name] = v
		}
		if err := encoder.Encode(fields); err != nil {
			t.Fatalf("loading %s: %v", table, err)
		}
	}
	source := bigquery.NewReaderSource(&lines)
	source.SourceFormat = bigquery.JSON
	source.Schema = schema
	job, err := d.Client.Dataset(d.ID).Table(table).LoaderFrom(source).Run(t.Context())
	if err != nil {
		t.Fatalf("loading %s: %v", table, err)
	}
	status, err := job.Wait(t.Context())
	if err == nil {
		err = status.Err()
	}
	if err != nil {
		t.Fatalf("loading %s: %v", table, err)
	}
}

var braces = regexp.MustCompile(`\{(\w+)\}`)

// Query runs SQL, in which {name} stands for the full name of a table of the
// dataset, and returns the rows as texts: NULL, times in RFC 3339, the rest as
// fmt prints it.
func (d *Dataset) Query(t T, sql string, parameters ...bigquery.QueryParameter) [][]string {
	t.Helper()
	sql = d.SQL(sql)
	q := d.Client.Query(sql)
	q.Parameters = parameters
	it, err := q.Read(t.Context())
	if err != nil {
		t.Fatalf("query: %v\n%s", err, sql)
	}
	var rows [][]string
	for {
		var values []bigquery.Value
		err := it.Next(&values)
		if errors.Is(err, iterator.Done) {
			return rows
		}
		if err != nil {
			t.Fatalf("query: %v\n%s", err, sql)
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = text(v)
		}
		rows = append(rows, row)
	}
}

// SQL puts full names in the place of {name}, as Query does.
func (d *Dataset) SQL(sql string) string {
	return braces.ReplaceAllStringFunc(sql, func(name string) string {
		return "`" + d.Name(strings.Trim(name, "{}")) + "`"
	})
}

func text(v bigquery.Value) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}

// Count is the number of rows of a table.
func (d *Dataset) Count(t T, table string) int {
	t.Helper()
	rows := d.Query(t, "SELECT COUNT(*) FROM {"+table+"}")
	var n int
	if _, err := fmt.Sscan(rows[0][0], &n); err != nil {
		t.Fatalf("counting %s: %v", table, err)
	}
	return n
}
