package bigquery

import (
	"context"
	"fmt"
	"os"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"

	"optsweep/schemas"
)

// work is a job whose effect outlives the process: a query into a table, a
// statement that changes one, or a load. It has an id that follows from what
// it does, so that it is done once however often it is asked for.
type work struct {
	id   string // base of the job id; attempts are counted behind it
	step string // for the label
	run  string // that asks for it; may be empty

	sql string
	dst *TableRef // replaced by the result; nil for statements that change tables

	cluster string // column that the result of sql is clustered by; empty: none
	file    string // Parquet file to load into dst in place of sql
	schema  bigquery.Schema
}

// outcome is what a job came to.
type outcome struct {
	job     string // its id
	adopted bool   // an earlier process had started it
	billed  int64  // bytes
	dml     *bigquery.DMLStatistics
}

// attempts bounds how often work is done again whose job failed for a passing
// reason.
const attempts = 8

// do makes sure that work is done: it starts a job, or adopts the one that an
// earlier process has started under the same id. A job that failed is followed
// by another one under the next attempt number.
func (c *Client) do(ctx context.Context, w work) (outcome, error) {
	pause := c.pauses()
	for n, fresh := 1, 0; ; n++ {
		id := fmt.Sprintf("%s_%d", w.id, n)
		job, adopted, err := c.begin(ctx, w, id)
		if err != nil {
			return outcome{}, explain(err, "%s", w.step)
		}
		status, err := c.wait(ctx, job)
		if err != nil {
			return outcome{}, explain(err, "%s: wait for job %s", w.step, id)
		}
		failure := status.Err()
		if failure == nil {
			kept, err := c.kept(ctx, w, adopted)
			if err != nil {
				return outcome{}, err
			}
			if kept {
				return newOutcome(id, adopted, status), nil
			}
			continue
		}
		if adopted {
			c.Log.Info("an earlier job failed and is done again", "job", id, "reason", reasonOf(failure))
			continue
		}
		if fresh++; !isRetryable(failure) || fresh == attempts {
			return outcome{}, explain(failure, "%s: job %s", w.step, id)
		}
		wait := pause.Pause()
		c.Log.Warn("a job failed for a passing reason and is done again", "job", id, "reason", reasonOf(failure), "wait", wait)
		if err := gax.Sleep(ctx, wait); err != nil {
			return outcome{}, err
		}
	}
}

// kept tells whether the table that a job was to fill is still there: what an
// earlier process has staged may have expired.
func (c *Client) kept(ctx context.Context, w work, adopted bool) (bool, error) {
	if !adopted || w.dst == nil {
		return true, nil
	}
	_, found, err := c.metadata(ctx, *w.dst)
	return found, err
}

func newOutcome(id string, adopted bool, s *bigquery.JobStatus) outcome {
	o := outcome{job: id, adopted: adopted}
	if s.Statistics == nil {
		return o
	}
	if q, ok := s.Statistics.Details.(*bigquery.QueryStatistics); ok {
		o.billed, o.dml = q.TotalBytesBilled, q.DMLStats
	}
	return o
}

// begin starts the job with this id or finds the one that has it.
func (c *Client) begin(ctx context.Context, w work, id string) (job *bigquery.Job, adopted bool, err error) {
	duplicate := false
	retry := c.retry
	if w.file != "" {
		retry = c.retryLong // an upload may take longer than a request
	}
	err = retry(ctx, func(ctx context.Context) error {
		var err error
		if job, err = c.insert(ctx, w, id); isDuplicate(err) {
			duplicate = true
			job, err = c.bq.JobFromIDLocation(ctx, id, c.Location)
		}
		return err
	})
	return job, duplicate, err
}

func (c *Client) insert(ctx context.Context, w work, id string) (*bigquery.Job, error) {
	labels := map[string]string{"optsweep_step": label(w.step)}
	if w.run != "" {
		labels["optsweep_run"] = label(w.run)
	}
	if w.file != "" {
		return c.load(ctx, w, id, c.labels(labels))
	}
	q := c.query(w.sql)
	q.JobID, q.Labels = id, c.labels(labels)
	q.DisableQueryCache = true
	if w.dst != nil {
		q.Dst = c.table(*w.dst)
		q.CreateDisposition, q.WriteDisposition = bigquery.CreateIfNeeded, bigquery.WriteTruncate
		if w.cluster != "" {
			q.Clustering = &bigquery.Clustering{Fields: []string{w.cluster}}
		}
	}
	return q.Run(ctx)
}

// load uploads a file as one job. The file appears in the table whole or not
// at all.
func (c *Client) load(ctx context.Context, w work, id string, labels map[string]string) (*bigquery.Job, error) {
	f, err := os.Open(w.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	source := bigquery.NewReaderSource(f)
	source.SourceFormat, source.Schema = bigquery.Parquet, w.schema
	l := c.table(*w.dst).LoaderFrom(source)
	l.JobID, l.Labels, l.Location = id, labels, c.Location
	l.CreateDisposition, l.WriteDisposition = bigquery.CreateIfNeeded, bigquery.WriteTruncate
	l.JobTimeout, l.Reservation = c.JobTimeout, c.Reservation
	l.MediaOptions = []googleapi.MediaOption{googleapi.ChunkSize(int(min(info.Size()+1, googleapi.DefaultUploadChunkSize)))} // is allocated as a whole
	return l.Run(ctx)
}

// query is a query with the bounds of the connection.
func (c *Client) query(sql string) *bigquery.Query {
	q := c.bq.Query(sql)
	q.Location, q.MaxBytesBilled = c.Location, c.MaxBytes
	q.JobTimeout, q.Reservation = c.JobTimeout, c.Reservation
	return q
}

// wait waits for the end of a job. It is left running if ctx ends: the next
// process adopts it.
func (c *Client) wait(ctx context.Context, job *bigquery.Job) (status *bigquery.JobStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.JobTimeout+time.Hour) // queued jobs wait up to six hours before they run
	defer cancel()
	for pause := c.pauses(); ; {
		err := c.retry(ctx, func(ctx context.Context) (err error) {
			status, err = job.Status(ctx)
			return err
		})
		if err != nil || status.Done() {
			return status, err
		}
		if err := gax.Sleep(ctx, pause.Pause()); err != nil {
			return nil, err
		}
	}
}

// price finds out what a statement would be billed for, in bytes, without
// running it. It fails if that is more than allowed.
func (c *Client) price(ctx context.Context, what, sql string) (int64, error) {
	var job *bigquery.Job
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		q := c.query(sql)
		q.DryRun, q.MaxBytesBilled = true, 0
		q.Labels = c.labels(nil)
		job, err = q.Run(ctx)
		return err
	})
	if err != nil {
		return 0, explain(err, "%s", what)
	}
	var bytes int64
	if s := job.LastStatus(); s != nil && s.Statistics != nil {
		bytes = s.Statistics.TotalBytesProcessed
	}
	if bytes > c.MaxBytes {
		return bytes, schemas.Errorf(schemas.Limit, "%s would be billed for %d bytes, allowed are %d", what, bytes, c.MaxBytes).
			WithHint("restrict the table with partitions, or raise bigquery.max_bytes_billed")
	}
	return bytes, nil
}

// ask runs a query that changes nothing and returns its only row.
func (c *Client) ask(ctx context.Context, what, sql string, into any) error {
	if _, err := c.price(ctx, what, sql); err != nil {
		return err
	}
	err := c.retryLong(ctx, func(ctx context.Context) error {
		q := c.query(sql)
		q.Labels = c.labels(map[string]string{"optsweep_step": label(what)})
		rows, err := q.Read(ctx)
		if err != nil {
			return err
		}
		return rows.Next(into)
	})
	return explain(err, "%s", what)
}

// retryLong is retry for what takes longer than a request.
func (c *Client) retryLong(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.JobTimeout)
	defer cancel()
	pause := c.pauses()
	for n := 1; ; n++ {
		err := call(ctx)
		// A duplicate of a job with a random id is one of ours, whose answer was
		// lost: it runs again under another id.
		if err == nil || !isRetryable(err) && !isDuplicate(err) || n == attempts || ctx.Err() != nil {
			return err
		}
		if err := gax.Sleep(ctx, pause.Pause()); err != nil {
			return err
		}
	}
}
