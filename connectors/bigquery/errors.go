package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/bigquery"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"optsweep/schemas"
)

// reasonOf is the reason that BigQuery gives for an error (BigQuery, error
// messages, table of errors), or empty.
func reasonOf(err error) string {
	var api *googleapi.Error
	if errors.As(err, &api) && len(api.Errors) > 0 {
		return api.Errors[0].Reason
	}
	var job *bigquery.Error
	if errors.As(err, &job) {
		return job.Reason
	}
	return ""
}

func codeOf(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

func isNotFound(err error) bool {
	return codeOf(err) == http.StatusNotFound || reasonOf(err) == "notFound" || status.Code(err) == codes.NotFound
}

func isDuplicate(err error) bool {
	return codeOf(err) == http.StatusConflict || reasonOf(err) == "duplicate"
}

// isRetryable tells whether the same request may succeed soon. A quota for the
// day does not come back that fast.
func isRetryable(err error) bool {
	switch reasonOf(err) {
	case "backendError", "internalError", "jobBackendError", "jobInternalError", "rateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable":
		return true
	case "":
	default:
		return conflicts(err)
	}
	switch codeOf(err) {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0:
	default:
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.Internal:
		return true
	}
	var network *url.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// conflicts tells whether a statement gave way to another one on the same
// table.
func conflicts(err error) bool {
	text := err.Error()
	return strings.Contains(text, "Could not serialize access") || strings.Contains(text, "due to concurrent update") ||
		strings.Contains(text, "Too many DML statements outstanding")
}

// backoff starts at a tenth of a second, as statements on small tables take
// that long, and goes up to half a minute.
func backoff() *gax.Backoff {
	return &gax.Backoff{Initial: 100 * time.Millisecond, Max: 30 * time.Second, Multiplier: 1.6}
}

// retries and patience bound how often and how long a request is sent that
// fails for a passing reason.
const (
	retries  = 20
	patience = 5 * time.Minute
)

// retry sends a request that may be sent twice until it succeeds or fails for
// good. Each attempt has its own deadline.
func (c *Client) retry(ctx context.Context, call func(ctx context.Context) error) error {
	pause, began := c.pauses(), time.Now()
	for n := 1; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, callTimeout)
		err := call(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !isRetryable(err) || n == retries || time.Since(began) > patience {
			return err
		}
		wait := pause.Pause()
		c.Log.Warn("BigQuery does not answer as it should; trying again", "reason", clean(err), "attempt", n, "wait", wait)
		if gax.Sleep(ctx, wait) != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// clean is the text of an error on one line, without what looks like an id:
// messages may quote values.
func clean(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	text = strings.TrimPrefix(text, "googleapi: ")
	const most = 600
	if len(text) > most {
		text = text[:most] + " ..."
	}
	return string(schemas.Hide([]byte(text)))
}

// explain says in what an error of BigQuery lies and what to do about it. An
// error of ours stays as it is.
func explain(err error, format string, args ...any) error {
	var own *schemas.Error
	if err == nil || errors.As(err, &own) || errors.Is(err, context.Canceled) {
		return err
	}
	e := schemas.Errorf(schemas.Failed, "%s: %s", fmt.Sprintf(format, args...), clean(err))
	e.Err = err
	return e.WithHint("%s", advice(err))
}

// advice says what to do about an error.
func advice(err error) string {
	text := err.Error()
	switch reasonOf(err) {
	case "accessDenied":
		return "optsweep doctor names the missing permission and how to grant it"
	case "bytesBilledLimitExceeded":
		return "the statement would read more than bigquery.max_bytes_billed; restrict the table with partitions, or raise it"
	case "quotaExceeded":
		return "a quota of the project or table is used up; it will not come back within the hour: run the same command again later"
	case "notFound":
		return "check project, dataset, table and bigquery.location"
	case "responseTooLarge", "resourcesExceeded":
		return "split the table with partitions, so that one statement treats less"
	case "stopped":
		return "somebody cancelled the job, or bigquery.job_timeout has passed; the same command tries again"
	}
	switch {
	case strings.Contains(text, "streaming buffer"):
		return "rows that tabledata.insertAll wrote in the last 30 minutes cannot be changed: run again when they are older, leave them out with a partition, or use write mode suppression"
	case strings.Contains(text, "Too many DML statements outstanding"):
		return "other programs keep the queue of the table full: run again when they are done, or use write mode suppression"
	case conflicts(err):
		return "another program changes the same rows: run again when it is done, or use write mode suppression"
	case codeOf(err) == http.StatusForbidden || codeOf(err) == http.StatusUnauthorized || status.Code(err) == codes.PermissionDenied || status.Code(err) == codes.Unauthenticated:
		return "optsweep doctor names the missing permission and how to grant it"
	case isNotFound(err):
		return "check project, dataset, table and bigquery.location"
	case isRetryable(err):
		return "BigQuery did not recover in time: run the same command again later"
	}
	return ""
}
