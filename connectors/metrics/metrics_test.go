package metrics

import (
	"flag"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

var ended = time.Date(2026, 3, 4, 4, 10, 0, 500e6, time.UTC)

// whole is the end of a run that reconciled everything.
func whole() schemas.RunEnd {
	return schemas.RunEnd{
		RunStart: schemas.RunStart{Job: "crm-audiences", Run: "20260304T040000.000Z"},
		EndedAt:  ended,
		Past:     schemas.RunPast{Known: true, LastSuccess: ended.Add(-24 * time.Hour), LastFailure: ended.Add(-48 * time.Hour)},
		Honour:   &schemas.Honour{IDs: 40, P50: 3600, P95: 86400, Max: 90000.25},
		Report: schemas.Report{
			Run: "20260304T040000.000Z", Job: "crm-audiences", Status: schemas.StatusReconciled,
			StartedAt: ended.Add(-10 * time.Minute), FinishedAt: ended,
			IDs: schemas.Checked{Distinct: 1000, Known: 50, Asked: 950, OptedOut: 40, Clear: 905,
				Unverifiable: map[schemas.Reason]int64{schemas.OperatorRejected: 5}, Batches: 2, Retries: 1, OldestMS: 1772597000250},
			Suppression: &schemas.SuppressionUpdated{Total: 95, Added: 40},
			Phases:      []schemas.Phase{{Name: "extract", Seconds: 1.5}, {Name: "check", Seconds: 4}, {Name: "apply", Seconds: 2}, {Name: "apply", Seconds: 0.25}},
			Tables: []schemas.TableReport{
				{TableExtracted: schemas.TableExtracted{Table: "crm", Units: 3, Rows: 1500, Nulls: 100, Valid: 1390,
					Malformed: map[schemas.Reason]int64{schemas.BadLength: 4, schemas.HexHash: 6}}, Status: schemas.StatusReconciled, UnitsChanged: 2, RowsOptedOut: 90, RowsFlagged: 91, RowsNew: 45},
				{TableExtracted: schemas.TableExtracted{Table: "web", Units: 1, Rows: 10, Valid: 10}, Status: schemas.StatusReconciled},
			},
		},
	}
}

func stopped() schemas.RunEnd {
	e := whole()
	e.EndedAt = ended.Add(time.Hour)
	e.Class, e.Failure = "limit", "stopped"
	e.Report.Status = schemas.StatusStopped
	e.Report.Limit = &schemas.LimitHit{Limit: "max_new_flags"}
	e.Report.IDs = schemas.Checked{}
	for i := range e.Report.Tables { // nothing was written
		t := &e.Report.Tables[i]
		t.Status, t.UnitsChanged, t.RowsOptedOut, t.RowsFlagged, t.RowsNew = schemas.StatusFailed, 0, 0, 0, 0
	}
	e.Past.LastSuccess, e.Honour = ended, nil
	return e
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s", name, got)
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	return w.Body.String()
}

func TestFiguresOfARun(t *testing.T) {
	m := New()
	m.Observe(whole(), []schemas.Undelivered{{Sink: "notify"}, {Sink: "notify"}, {Sink: "lineage"}})
	data, err := m.text()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "whole.prom", data)
	m.Observe(stopped(), nil)
	if data, err = m.text(); err != nil {
		t.Fatal(err)
	}
	golden(t, "stopped.prom", data)
}

// The names and help texts follow the conventions of Prometheus.
func TestLint(t *testing.T) {
	m := New()
	m.Observe(whole(), []schemas.Undelivered{{Sink: "notify"}})
	m.Observe(stopped(), nil)
	other := whole()
	other.Job = "other"
	m.Observe(other, nil)
	problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n, err := testutil.GatherAndCount(m.last); err != nil || n < 60 {
		t.Errorf("%d series, %v", n, err)
	}
}

// What was not checked is never shown as not opted out.
func TestSilenceIsNotClean(t *testing.T) {
	offline := whole()
	offline.Report.Offline, offline.Report.Status, offline.Report.Tables[0].Status = true, schemas.StatusReapplied, schemas.StatusReapplied
	partial := whole()
	partial.Report.Tables[0].Status = schemas.StatusPartial
	for name, e := range map[string]schemas.RunEnd{"stopped": stopped(), "offline": offline, "partial": partial} {
		m := New()
		m.Observe(e, nil)
		text := scrape(t, m)
		if strings.Contains(text, `table="crm",verdict="not_opted_out"`) || !strings.Contains(text, `reason="not_checked",table="crm",verdict="unverifiable"`) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// Rows and ids add up by verdict to what the report says.
func TestVerdictsAddUp(t *testing.T) {
	m := New()
	e := whole()
	m.Observe(e, nil)
	families, err := m.last.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			key := f.GetName()
			for _, l := range metric.GetLabel() {
				if l.GetName() == "table" {
					key += "/" + l.GetValue()
				}
			}
			sums[key] += metric.GetGauge().GetValue()
		}
	}
	for key, want := range map[string]float64{"optsweep_ids": 1000, "optsweep_rows/crm": 1500, "optsweep_rows/web": 10, "optsweep_rows_quarantined/crm": 10} {
		if math.Abs(sums[key]-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", key, sums[key], want)
		}
	}
}

func TestHandlerShowsCountersAndJobs(t *testing.T) {
	m := New()
	m.Observe(whole(), nil)
	m.Observe(stopped(), []schemas.Undelivered{{Sink: "heartbeat"}})
	other := whole()
	other.Job = "other"
	m.Observe(other, nil)
	m.Undelivered("other", "notify")
	text := scrape(t, m)
	for _, line := range []string{
		`optsweep_runs_total{job="crm-audiences",verdict="reconciled"} 1`, `optsweep_runs_total{job="crm-audiences",verdict="stopped"} 1`,
		`optsweep_notifications_failed_total{job="crm-audiences",reason="heartbeat"} 1`, `optsweep_notifications_failed_total{job="other",reason="notify"} 1`,
		`optsweep_last_run_success{job="crm-audiences"} 0`, `optsweep_last_run_success{job="other"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
}

// A run that could not begin, and could not read the ledger either, changes
// nothing but the time of the last failure.
func TestTextfileKeepsTheLastSuccess(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "optsweep.prom")
	m := New()
	m.Observe(whole(), nil)
	if err := m.WriteTextfile(path, "crm-audiences"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	later := New()
	later.Observe(schemas.RunEnd{RunStart: schemas.RunStart{Job: "crm-audiences"}, EndedAt: ended.Add(time.Hour), Class: "usage", Failure: "no workspace"}, nil)
	if err := later.WriteTextfile(path, "crm-audiences"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "unbegun.prom", data)

	// What is no such file does not stand in the way.
	for _, old := range []string{"", "not metrics {", strings.ReplaceAll(string(data), "crm-audiences", "other")} {
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		m := New()
		m.Observe(whole(), nil)
		if err := m.WriteTextfile(path, "crm-audiences"); err != nil {
			t.Errorf("%q: %v", old, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := m.WriteTextfile(filepath.Join(path, "x"), "j"); err == nil {
		t.Error("a file in a file was written")
	}
}

func TestPush(t *testing.T) {
	type request struct{ method, path, user, body, contentType string }
	var got []request
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, _, _ := r.BasicAuth()
		got = append(got, request{r.Method, r.URL.Path, user, string(body), r.Header.Get("Content-Type")})
	}))
	defer s.Close()
	m := New()
	m.Observe(whole(), nil)
	sender := delivery.New(delivery.Options{})
	defer sender.Close()
	base := schemas.NewSecret(strings.Replace(s.URL, "http://", "http://user:pass@", 1) + "/gateway/")
	for _, all := range []bool{true, false} {
		if err := m.Push(t.Context(), sender, base, "crm-audiences", all); err != nil {
			t.Fatal(err)
		}
	}
	want, err := m.text()
	if err != nil {
		t.Fatal(err)
	}
	for i, method := range []string{"PUT", "POST"} {
		if r := got[i]; r.method != method || r.path != "/gateway/metrics/job/crm-audiences" || r.user != "user" || r.body != string(want) || !strings.HasPrefix(r.contentType, "text/plain; version=0.0.4") {
			t.Errorf("got %s %s as %q, %s", r.method, r.path, r.user, r.contentType)
		}
	}
	s.Close()
	quick := delivery.New(delivery.Options{Attempts: 1})
	defer quick.Close()
	if err := m.Push(t.Context(), quick, base, "crm-audiences", true); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("got %v", err)
	}
}
