package bigquery

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/bigquery/bqfake"
	"optsweep/schemas"
)

// attemptsOf are the ids of the jobs of a step, without what they share.
func (w *world) attemptsOf(step string) []string {
	var list []string
	for _, j := range w.server.Jobs() {
		if j.Step == step {
			list = append(list, j.ID[strings.LastIndexByte(j.ID, '_')+1:])
		}
	}
	return list
}

// A job that takes its time is awaited; one that an earlier process started is
// adopted.
func TestRunningJob(t *testing.T) {
	for _, step := range []string{"stage", "load", "merge"} {
		w := newWorld(t)
		w.server.Let(idle(step), 1, bqfake.Fate{Polls: 4})
		if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if n := w.server.Count(bqfake.Match("jobs.get", step)); n != 5 {
			t.Errorf("%s: asked %d times, want 5", step, n)
		}

		// The process ends while it waits; the job goes on; the next one adopts it.
		w = newWorld(t)
		w.server.Let(idle(step), 1, bqfake.Fate{Polls: -1})
		ctx, cancel := context.WithCancel(t.Context())
		w.server.On(bqfake.Match("jobs.get", step), 3, bqfake.Fault{Do: cancel})
		if _, err := sweep(ctx, w.table(fakeOptions(Column)), fakeOptedOut()); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: cancelled: %v", step, err)
		}
		if n := w.server.Count(func(c bqfake.Call) bool { return strings.Contains(c.Method, "cancel") || c.Method == "unknown" }); n > 0 {
			t.Errorf("%s: the job was cancelled", step)
		}
		w.server.On(bqfake.Match("jobs.get", step), 3, bqfake.Fault{Do: w.server.Finish})
		if _, err := w.apply(fakeOptions(Column), fakeOptedOut()); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if got := w.attemptsOf(step); !slices.Equal(got, []string{"1"}) {
			t.Errorf("%s: attempts %v", step, got)
		}
		if n := w.unflagged(fakeOptedOut()); n > 0 {
			t.Errorf("%s: %d rows lack a flag", step, n)
		}
	}
}

// What a job fails for decides whether it is done again, and what the user is
// told.
func TestFailedJob(t *testing.T) {
	const (
		conflict = "Could not serialize access to table p:d.crm due to concurrent update"
		queue    = "Resources exceeded: Too many DML statements outstanding against table p:d.crm, limit is 20."
	)
	for _, c := range []struct {
		reason, message string
		again           bool
		hint            string
	}{
		{"backendError", "Retry.", true, ""},
		{"internalError", "Retry.", true, ""},
		{"jobInternalError", "Retry.", true, ""},
		{"rateLimitExceeded", "Too fast.", true, ""},
		{"jobRateLimitExceeded", "Too fast.", true, ""},
		{"tableUnavailable", "Retry.", true, ""},
		{"invalidQuery", conflict, true, "another program changes the same rows"},
		{"resourcesExceeded", queue, true, ""},
		{"quotaExceeded", "Quota exceeded.", false, "run the same command again later"},
		{"accessDenied", "Access Denied.", false, "optsweep doctor"},
		{"stopped", "Job execution was cancelled: User requested cancellation", false, "somebody cancelled the job"},
		{"invalidQuery", "Syntax error", false, ""},
		{"resourcesExceeded", "Resources exceeded during query execution", false, "split the table"},
		{"bytesBilledLimitExceeded", "Query exceeded limit for bytes billed", false, "max_bytes_billed"},
		{"invalidQuery", "UPDATE or DELETE statement over table p.d.crm would affect rows in the streaming buffer, which is not supported", false, "30 minutes"},
	} {
		for _, step := range []string{"stage", "load", "merge"} {
			name := c.reason + " of " + step
			fate := bqfake.Fate{Reason: c.reason, Message: c.message + " id " + testID(1)}

			// Once: a passing one is got over, the others stop the process, and the
			// next one makes another attempt.
			w := newWorld(t)
			w.server.Let(idle(step), 1, fate)
			_, err := w.apply(fakeOptions(Column), fakeOptedOut())
			if (err == nil) != c.again {
				t.Errorf("%s once: %v", name, err)
			}
			if err != nil {
				if !strings.Contains(schemas.HintOf(err), c.hint) {
					t.Errorf("%s: hint %q, want %q", name, schemas.HintOf(err), c.hint)
				}
				if got := w.attemptsOf(step); !slices.Equal(got, []string{"1"}) {
					t.Errorf("%s: attempts %v", name, got)
				}
				if _, err = w.apply(fakeOptions(Column), fakeOptedOut()); err != nil {
					t.Errorf("%s: the next process: %v", name, err)
				}
			}
			if got := w.attemptsOf(step); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("%s: attempts %v", name, got)
			}
			if n := w.unflagged(fakeOptedOut()); n > 0 {
				t.Errorf("%s: %d rows lack a flag", name, n)
			}

			if step != "merge" {
				continue
			}
			// Always: there is a bound.
			w = newWorld(t)
			w.server.Let(idle(step), 0, fate)
			_, err = w.apply(fakeOptions(Column), fakeOptedOut())
			want := 1
			if c.again {
				want = attempts
			}
			if got := len(w.attemptsOf(step)); err == nil || got != want {
				t.Errorf("%s always: %d attempts, want %d: %v", name, got, want, err)
			}
			if !strings.Contains(schemas.HintOf(err), c.hint) {
				t.Errorf("%s: hint %q, want %q", name, schemas.HintOf(err), c.hint)
			}
		}
	}
}

// Requests that are refused for good are not sent again.
func TestRefusedRequest(t *testing.T) {
	for _, c := range []struct {
		status       int
		reason, hint string
	}{
		{http.StatusForbidden, "quotaExceeded", "run the same command again later"},
		{http.StatusForbidden, "accessDenied", "optsweep doctor"},
		{http.StatusUnauthorized, "authError", "optsweep doctor"},
		{http.StatusNotFound, "notFound", "check project"},
		{http.StatusBadRequest, "invalid", ""},
	} {
		w := newWorld(t)
		w.server.On(idle("stage"), 0, bqfake.Fault{Status: c.status, Reason: c.reason, Message: "No. " + testID(1)})
		_, err := w.apply(fakeOptions(Column), fakeOptedOut())
		if err == nil || !strings.Contains(schemas.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", c.reason, err, schemas.HintOf(err))
		}
		if n := w.server.Count(idle("stage")); n != 1 {
			t.Errorf("%s: sent %d times", c.reason, n)
		}
	}
}

// What would cost too much is not started; what turns out to cost more has no
// effect.
func TestBytesLimit(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		w.server.SetBytes(crmName, DefaultMaxBytes+1, 0)
		before := w.state(crmName)
		_, err := w.apply(fakeOptions(mode), fakeOptedOut())
		if err == nil || !strings.Contains(err.Error(), "would be billed for") {
			t.Errorf("%s: %v", mode, err)
		}
		if n := len(w.server.Jobs()); n > 0 {
			t.Errorf("%s: %d jobs", mode, n)
		}

		w = newWorld(t)
		w.server.SetBytes(crmName, DefaultMaxBytes+1, 1)
		_, err = w.apply(fakeOptions(mode), fakeOptedOut())
		if err == nil || !strings.Contains(schemas.HintOf(err), "max_bytes_billed") {
			t.Errorf("%s: %v", mode, err)
		}
		if len(w.effects()) > 0 || w.state(crmName) != before {
			t.Errorf("%s: %v", mode, w.effects())
		}
	}

	// The change of the table, after staging was cheap.
	for _, mode := range []Mode{Column, Remove} {
		w := newWorld(t)
		w.server.On(func(c bqfake.Call) bool { return c.Step == "load" }, 1, bqfake.Fault{Do: func() { w.server.SetBytes(crmName, DefaultMaxBytes+1, 0) }})
		before := w.state(crmName)
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); schemas.ClassOf(err) != schemas.Limit {
			t.Errorf("%s: %v", mode, err)
		}
		if w.state(crmName) != before || w.effects()["merge"]+w.effects()["remove"] > 0 {
			t.Errorf("%s: the table was changed", mode)
		}
	}
}

// Every job carries its labels and bounds, and no id.
func TestJobsAreLabelled(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		if _, err := w.apply(fakeOptions(mode), fakeOptedOut()); err != nil {
			t.Fatal(err)
		}
		for _, j := range w.server.Jobs() {
			if j.Labels["optsweep_job"] != "crm" || j.Step == "" {
				t.Errorf("%s: job %s has labels %v", mode, j.ID, j.Labels)
			}
			if named := strings.HasPrefix(j.ID, "optsweep_"); named && j.Labels["optsweep_run"] != label(fakeRun) {
				t.Errorf("%s: job %s has labels %v", mode, j.ID, j.Labels)
			}
			if j.Timeout != DefaultJobTimeout.Milliseconds() {
				t.Errorf("%s: job %s may take %s", mode, j.ID, time.Duration(j.Timeout)*time.Millisecond)
			}
			if j.SQL != "" && j.MaxBytes != DefaultMaxBytes {
				t.Errorf("%s: job %s may be billed for %d", mode, j.ID, j.MaxBytes)
			}
		}
		for _, c := range w.server.Calls() {
			if c.DryRun && c.Labels["optsweep_job"] != "crm" {
				t.Errorf("%s: a dry run has labels %v", mode, c.Labels)
			}
		}
	}
}

// Rows in a streaming buffer cannot be changed, which is said; a suppression
// table does not mind them.
func TestStreamingBuffer(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		w.server.Stream(crmName, 2)
		_, err := w.apply(fakeOptions(mode), fakeOptedOut())
		if mode == Suppression {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(schemas.HintOf(err), "30 minutes") {
			t.Errorf("%s: %v, hint %q", mode, err, schemas.HintOf(err))
		}
	}
}
