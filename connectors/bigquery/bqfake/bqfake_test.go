package bqfake_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/bigquery"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"go.uber.org/goleak"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"optsweep/connectors/bigquery/bqfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T) (*bqfake.Server, *bigquery.Client) {
	t.Helper()
	s := bqfake.New(t)
	s.Dataset("p.d")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := bigquery.NewClient(t.Context(), "p", option.WithEndpoint(s.Endpoint), option.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return s, c
}

func codeOf(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

// SQL that is not known is refused loudly, also in a dry run.
func TestUnknownStatement(t *testing.T) {
	s, c := newClient(t)
	s.Create("p.d.t", nil)
	for _, sql := range []string{"SELECT 1", "SELECT COUNT(*) AS total\nFROM `p`.`d`.`t` AS t\nWHERE (\n    x LIKE 'a'\n  )", "DROP TABLE `p`.`d`.`t`"} {
		for _, dry := range []bool{false, true} {
			q := c.Query(sql)
			q.DryRun = dry
			if _, err := q.Run(t.Context()); codeOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "bqfake: unknown") {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	q := c.Query("SELECT COUNT(*) AS total\nFROM `p`.`d`.`none` AS t")
	q.DryRun = true
	if _, err := q.Run(t.Context()); codeOf(err) != http.StatusNotFound {
		t.Errorf("a table that is not there: %v", err)
	}
}

// ETags, duplicates, datasets, lists and permissions are as BigQuery has them.
func TestMetadata(t *testing.T) {
	s, c := newClient(t)
	ctx, table := t.Context(), c.Dataset("d").Table("t")
	meta := &bigquery.TableMetadata{Schema: bigquery.Schema{{Name: "id", Type: bigquery.StringFieldType}}}
	if err := table.Create(ctx, meta); err != nil {
		t.Fatal(err)
	}
	if err := table.Create(ctx, meta); codeOf(err) != http.StatusConflict {
		t.Errorf("again: %v", err)
	}
	m, err := table.Metadata(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.Append("p.d.t", bqfake.Row{"id": "a"})
	if _, err := table.Update(ctx, bigquery.TableMetadataToUpdate{Description: "x"}, m.ETag); codeOf(err) != http.StatusPreconditionFailed {
		t.Errorf("an old version: %v", err)
	}
	if _, err := table.Update(ctx, bigquery.TableMetadataToUpdate{Schema: bigquery.Schema{{Name: "other", Type: bigquery.StringFieldType}}}, ""); codeOf(err) != http.StatusBadRequest {
		t.Errorf("without a column: %v", err)
	}
	if _, err := c.Dataset("d").Metadata(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Dataset("e").Create(ctx, &bigquery.DatasetMetadata{Location: "EU"}); err != nil {
		t.Error(err)
	}
	s.Deny("bigquery.tables.update")
	got, err := table.IAM().TestPermissions(ctx, []string{"bigquery.tables.get", "bigquery.tables.update"})
	if err != nil || len(got) != 1 {
		t.Errorf("permissions %v, %v", got, err)
	}
	names := 0
	for it := c.Dataset("d").Tables(ctx); ; names++ {
		if _, err := it.Next(); err != nil {
			break
		}
	}
	if names != 1 {
		t.Errorf("%d tables", names)
	}
	if err := table.Delete(ctx); err != nil {
		t.Error(err)
	}
	if _, err := table.Metadata(ctx); codeOf(err) != http.StatusNotFound {
		t.Errorf("deleted: %v", err)
	}
}

// A Parquet file that is sent in pieces arrives as one job.
func TestResumableUpload(t *testing.T) {
	s, c := newClient(t)
	const rows = 12_000
	file := parquetFile(t, rows)
	load := func(ctx context.Context, id string) error {
		source := bigquery.NewReaderSource(bytes.NewReader(file))
		source.SourceFormat, source.Schema = bigquery.Parquet, bigquery.Schema{{Name: "id", Type: bigquery.StringFieldType}}
		l := c.Dataset("d").Table("t").LoaderFrom(source)
		l.JobID, l.WriteDisposition = id, bigquery.WriteTruncate
		l.MediaOptions = []googleapi.MediaOption{googleapi.ChunkSize(googleapi.MinUploadChunkSize)}
		job, err := l.Run(ctx)
		if err != nil {
			return err
		}
		status, err := job.Wait(ctx)
		return errors.Join(err, status.Err())
	}
	if err := load(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Rows("p.d.t")); n != rows {
		t.Errorf("%d rows", n)
	}
	if n := s.Count(bqfake.Match("jobs.upload", "")); n < 2 {
		t.Errorf("%d pieces", n)
	}
	if err := load(t.Context(), "one"); codeOf(err) != http.StatusConflict {
		t.Errorf("again: %v", err)
	}
}

func parquetFile(t *testing.T, rows int) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String}}, nil)
	build := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer build.Release()
	for i := range rows {
		build.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)})))
	}
	record := build.NewRecord()
	defer record.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A query that needs no job of its own is answered at once.
func TestQueryWithoutJob(t *testing.T) {
	s, c := newClient(t)
	s.Create("p.d.t", nil, bqfake.Row{"id": "a"}, bqfake.Row{"id": "b"})
	it, err := c.Query("SELECT COUNT(*) AS total\nFROM `p`.`d`.`t` AS t").Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var row struct{ Total int64 }
	if err := it.Next(&row); err != nil || row.Total != 2 {
		t.Errorf("total %d, %v", row.Total, err)
	}
	if n := s.Count(bqfake.Match("jobs.query", "")); n != 1 {
		t.Errorf("%d calls", n)
	}
}
