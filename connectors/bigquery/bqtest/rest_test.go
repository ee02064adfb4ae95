package bqtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"optsweep/connectors/bigquery/bqtest"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

var people = bigquery.Schema{
	{Name: "euid", Type: bigquery.StringFieldType, Required: true},
	{Name: "seen", Type: bigquery.TimestampFieldType},
	{Name: "n", Type: bigquery.IntegerFieldType},
}

var seen = time.Date(2026, 1, 2, 3, 4, 5, 678000000, time.UTC)

// peopleRows are rows with n distinct ids, each twice.
func peopleRows(n int) [][]any {
	var rows [][]any
	for i := range 2 * n {
		row := []any{fmt.Sprintf("id-%06d", i%n), seen, i}
		if i%10 == 0 {
			row[1] = nil
		}
		rows = append(rows, row)
	}
	return rows
}

// distinct runs the ids of a table into another under a fixed job id.
func distinct(t *testing.T, client *bigquery.Client, d *bqtest.Dataset, jobID string) (*bigquery.Job, error) {
	q := client.Query(d.SQL("SELECT DISTINCT euid FROM {people}"))
	q.JobID, q.Location = jobID, "EU"
	q.Dst, q.WriteDisposition = client.Dataset(d.ID).Table("ids"), bigquery.WriteTruncate
	return q.Run(t.Context())
}

func wait(t *testing.T, job *bigquery.Job) {
	t.Helper()
	if err := outcome(t, job); err != nil {
		t.Fatal(err)
	}
}

// outcome is the error of a job once it is done.
func outcome(t *testing.T, job *bigquery.Job) error {
	status, err := job.Wait(t.Context())
	if err == nil {
		err = status.Err()
	}
	return err
}

// wantFault checks the class of an error of the REST API.
func wantFault(t *testing.T, err error, code int, reason string) {
	t.Helper()
	var fault *googleapi.Error
	if !errors.As(err, &fault) || fault.Code != code || len(fault.Errors) != 1 || fault.Errors[0].Reason != reason {
		t.Fatalf("got error %v, want %d %s", err, code, reason)
	}
}

func TestDuplicateJobs(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	d.Create(t, "people", people, peopleRows(500))
	id := "distinct-" + d.ID
	job, err := distinct(t, d.Client, d, id)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, job)
	if n := d.Count(t, "ids"); n != 500 {
		t.Errorf("%d ids", n)
	}
	_, err = distinct(t, d.Client, d, id)
	wantFault(t, err, http.StatusConflict, "duplicate")
	if want := "Already Exists: Job " + d.Project + ":EU." + id; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	same, err := d.Client.JobFromIDLocation(t.Context(), id, "EU")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, same)
	if n := d.Count(t, "ids"); n != 500 {
		t.Errorf("%d ids after the same job again", n)
	}

	load := func() error {
		source := bigquery.NewReaderSource(strings.NewReader(`{"euid":"x"}`))
		source.SourceFormat, source.Schema = bigquery.JSON, people
		l := d.Client.Dataset(d.ID).Table("people").LoaderFrom(source)
		l.JobID, l.Location = "load-"+d.ID, "EU"
		job, err := l.Run(t.Context())
		if err == nil {
			wait(t, job)
		}
		return err
	}
	if err := load(); err != nil {
		t.Fatal(err)
	}
	wantFault(t, load(), http.StatusConflict, "duplicate")
	if n := d.Count(t, "people"); n != 1001 {
		t.Errorf("%d rows", n)
	}
}

func TestTruncate(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	d.Create(t, "people", people, peopleRows(5))
	for i := range 2 {
		job, err := distinct(t, d.Client, d, fmt.Sprint("distinct-", i, d.ID))
		if err != nil {
			t.Fatal(err)
		}
		wait(t, job)
		if n := d.Count(t, "ids"); n != 5 {
			t.Errorf("query %d: %d ids", i, n)
		}
		source := bigquery.NewReaderSource(strings.NewReader(`{"euid":"x"}`))
		source.SourceFormat, source.Schema = bigquery.JSON, people
		l := d.Client.Dataset(d.ID).Table("staged").LoaderFrom(source)
		l.WriteDisposition = bigquery.WriteTruncate
		if job, err = l.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(t, job)
		if n := d.Count(t, "staged"); n != 1 {
			t.Errorf("load %d: %d rows", i, n)
		}
	}
}

func TestMissingTables(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	_, err := d.Client.Dataset(d.ID).Table("nowhere").Metadata(t.Context())
	wantFault(t, err, http.StatusNotFound, "notFound")

	sql := d.SQL("SELECT * FROM {nowhere}")
	_, err = d.Client.Query(sql).Read(t.Context())
	wantFault(t, err, http.StatusNotFound, "notFound")

	q := d.Client.Query(sql)
	q.JobID = "missing-" + d.ID
	job, err := q.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, outcome(t, job), http.StatusNotFound, "notFound")
	status, err := job.Status(t.Context())
	var fault *bigquery.Error
	if err != nil || !errors.As(status.Err(), &fault) || fault.Reason != "notFound" {
		t.Errorf("job ended with %v, %v", status.Err(), err)
	}

	q = d.Client.Query(sql)
	q.DryRun = true
	_, err = q.Run(t.Context())
	wantFault(t, err, http.StatusNotFound, "notFound")
	d.Create(t, "people", people, nil)
	q = d.Client.Query(d.SQL("SELECT nothing FROM {people}"))
	q.DryRun = true
	_, err = q.Run(t.Context())
	wantFault(t, err, http.StatusBadRequest, "invalidQuery")
}

func TestLastModified(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	before := time.Now().Add(-time.Second)
	d.Create(t, "people", people, peopleRows(5))
	look := func() time.Time {
		m, err := d.Client.Dataset(d.ID).Table("people").Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.NumRows != 10 || m.CreationTime.Before(before) {
			t.Errorf("%d rows, made at %s", m.NumRows, m.CreationTime)
		}
		return m.LastModifiedTime
	}
	first := look()
	if first.Before(before) || !look().Equal(first) {
		t.Errorf("modified at %s, then at %s with no change", first, look())
	}
	d.Query(t, "UPDATE {people} SET n = 99 WHERE n = 3")
	if second := look(); !second.After(first) {
		t.Errorf("modified at %s, after a change at %s", first, second)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	since := bigquery.Schema{{Name: "euid", Type: bigquery.StringFieldType, Required: true}, {Name: "since", Type: bigquery.TimestampFieldType}}
	d.Create(t, "suppression", since, [][]any{{"a", seen}, {"b", nil}})
	d.Create(t, "staged", since, [][]any{{"a", seen.Add(time.Hour)}, {"b", seen}, {"c", seen}})
	merge := `MERGE {suppression} t USING {staged} s ON t.euid = s.euid
		WHEN MATCHED AND (t.since IS NULL OR s.since < t.since) THEN UPDATE SET since = s.since
		WHEN NOT MATCHED THEN INSERT (euid, since) VALUES (s.euid, s.since)`
	at := "2026-01-02T03:04:05.678Z"
	for range 2 { // a second run changes nothing
		d.Query(t, merge)
		got := d.Query(t, "SELECT euid, since FROM {suppression} ORDER BY euid")
		want := [][]string{{"a", at}, {"b", at}, {"c", at}}
		if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Fatalf("got %v", got)
		}
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	d.Create(t, "people", people, peopleRows(3))
	var hook atomic.Pointer[bqtest.Hook]
	var inserts atomic.Int64
	endpoint := em.Hooked(t, func(c bqtest.Call) *bqtest.Response {
		id, ok := c.Inserts()
		if !ok {
			return nil
		}
		inserts.Add(1)
		if !strings.HasSuffix(id, d.ID) || c.N != int(inserts.Load()) {
			t.Errorf("call %d inserts job %q", c.N, id)
		}
		return (*hook.Load())(c)
	})
	client, err := bigquery.NewClient(t.Context(), em.Project(), option.WithEndpoint(endpoint), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stored := func(jobID string) bool {
		_, err := d.Client.JobFromIDLocation(t.Context(), jobID, "EU")
		if err != nil {
			wantFault(t, err, http.StatusNotFound, "notFound")
		}
		return err == nil
	}
	// once fails the first call of a job, so that the client's own repeat shows.
	once := func(r *bqtest.Response) *bqtest.Hook {
		var calls atomic.Int64
		h := bqtest.Hook(func(bqtest.Call) *bqtest.Response {
			if calls.Add(1) == 1 {
				return r
			}
			return nil
		})
		return &h
	}
	for _, c := range []struct {
		name     string
		response *bqtest.Response
		code     int // of the error; 0: the connection ends; -1: none
		reason   string
		stored   bool
	}{
		{"not-stored", bqtest.Fail(403, "quotaExceeded", "no more"), 403, "quotaExceeded", false},
		{"stored", bqtest.FailStored(403, "quotaExceeded", "no more"), 403, "quotaExceeded", true},
		{"lost", bqtest.Lose(), 0, "", true},
		{"closed", &bqtest.Response{}, 0, "", false},
		{"repeated", bqtest.Fail(503, "backendError", "later"), -1, "", true},
		{"repeated-stored", bqtest.FailStored(503, "backendError", "later"), 409, "duplicate", true},
	} {
		hook.Store(once(c.response))
		id := c.name + "-" + d.ID
		_, err := distinct(t, client, d, id)
		switch {
		case c.code > 0:
			wantFault(t, err, c.code, c.reason)
		case c.code == 0 && err == nil, c.code < 0 && err != nil:
			t.Errorf("%s: error %v", c.name, err)
		}
		if got := stored(id); got != c.stored {
			t.Errorf("%s: stored %v", c.name, got)
		}
	}

	h := bqtest.Hook(func(bqtest.Call) *bqtest.Response {
		return &bqtest.Response{Forward: true, Edit: func(status int, body []byte) (int, []byte) {
			return status, []byte(strings.Replace(string(body), `"SELECT"`, `"MERGE"`, 1))
		}}
	})
	hook.Store(&h)
	job, err := distinct(t, client, d, "edited-"+d.ID)
	if err != nil {
		t.Fatal(err)
	}
	statistics := job.LastStatus().Statistics.Details.(*bigquery.QueryStatistics)
	if statistics.StatementType != "MERGE" {
		t.Errorf("statement type %s", statistics.StatementType)
	}
}

// A load job that fails is found as such by those who come later.
func TestFailedLoad(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	d.Create(t, "people", people, nil)
	source := bigquery.NewReaderSource(strings.NewReader(`{"euid":"x","seen":"at noon"}`))
	source.SourceFormat, source.Schema = bigquery.JSON, people
	l := d.Client.Dataset(d.ID).Table("people").LoaderFrom(source)
	l.JobID = "load-" + d.ID
	job, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if outcome(t, job) == nil {
		t.Error("the job succeeded")
	}
	same, err := d.Client.JobFromIDLocation(t.Context(), l.JobID, "EU")
	if err != nil {
		t.Fatal(err)
	}
	var fault *bigquery.Error
	if err := same.LastStatus().Err(); !errors.As(err, &fault) || fault.Reason != "invalid" {
		t.Errorf("job ended with %v", err)
	}
	if n := d.Count(t, "people"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A query that fails leaves the table alone that it would have replaced.
func TestTruncateIsAtomic(t *testing.T) {
	t.Parallel()
	d := bqtest.Shared(t).Dataset(t)
	d.Create(t, "kept", people, peopleRows(1))
	q := d.Client.Query(d.SQL("SELECT nothing FROM {nowhere}"))
	q.Dst, q.WriteDisposition = d.Client.Dataset(d.ID).Table("kept"), bigquery.WriteTruncate
	job, err := q.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if outcome(t, job) == nil {
		t.Error("the query succeeded")
	}
	if n := d.Count(t, "kept"); n != 2 {
		t.Errorf("%d rows", n)
	}
}
