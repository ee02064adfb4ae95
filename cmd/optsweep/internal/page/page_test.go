package page

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/daemon"
	"optsweep/schemas"
)

var show = flag.String("show", "", "address to serve a page with everything on, for a minute, so that a browser can look at it")

// fake is a daemon in every state at once.
type fake struct {
	status    daemon.Status
	alive     error
	loaded    bool
	workspace string
}

func (f *fake) Status() daemon.Status { return f.status }
func (f *fake) Alive() error          { return f.alive }
func (f *fake) Loaded() bool          { return f.loaded }
func (f *fake) Workspace(job string) string {
	if job == "crm-audiences" {
		return f.workspace
	}
	return ""
}

const (
	anID  = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	aRun  = "20261125T040312.000Z"
	other = "20261124T040312.000Z"
)

func newFake(t *testing.T) *fake {
	now := time.Date(2026, 11, 25, 14, 30, 0, 0, time.UTC)
	fire := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC) }
	dir := t.TempDir()
	for run, job := range map[string]string{aRun: "crm-audiences", other: "segments"} {
		if err := os.MkdirAll(filepath.Join(dir, "runs", run), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs", run, "report.json"), []byte(`{"job": "`+job+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "elsewhere", "report.json"), []byte(`{"job": "crm-audiences"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	limits := []daemon.Limit{{Name: "max_new_flags", Value: "5%"}, {Name: "max_quarantined", Value: "1%"}, {Name: "max_duration", Value: "20h"}}
	return &fake{loaded: true, workspace: dir, status: daemon.Status{
		Now: now, Started: now.Add(-50 * time.Hour),
		Reload: daemon.Reload{At: now.Add(-time.Hour), Problems: []string{"jobs/segments.yaml:12:9: schedule.cron: never comes <script>alert(1)</script>"}},
		Jobs: []daemon.JobStatus{
			{
				Name: "crm-audiences", File: "jobs/crm.yaml", Cron: "0 */6 * * *", Timezone: "Europe/Berlin", Overlap: "queue", CatchUp: "once", Grace: "24h", Jitter: "10m", Deadline: "20h",
				Limits: limits, State: daemon.Running, Fire: fire(25, 12), Began: fire(25, 12).Add(4 * time.Minute),
				Progress: &daemon.Progress{Phase: "check", Unit: "ids", Done: 1_500_000, Total: 4_000_000, Rate: 1250, Left: 33*time.Minute + 20*time.Second},
				Queue:    []time.Time{fire(25, 13)}, Next: []daemon.Coming{{Fire: fire(25, 18), Starts: fire(25, 18).Add(3 * time.Minute)}, {Fire: fire(26, 0), Starts: fire(26, 0).Add(time.Minute)}},
				Recent: []daemon.Record{
					{Fire: fire(25, 4), Count: 1, Status: schemas.StatusReconciled, Run: aRun, Seconds: 4000},
					{Fire: fire(24, 4), Count: 1, Status: schemas.StatusFailed, Reason: "the operator refused the key of jane@example.com, " + anID, Seconds: 3},
					{Fire: fire(20, 4), Last: fire(23, 4), Count: 4, Status: daemon.Skipped, Reason: "grace"},
					{Fire: fire(19, 4), Count: 1, Status: schemas.StatusPartial, Reason: "2 of the units could not be reconciled", Run: other, Seconds: 90},
					{Fire: fire(18, 4), Count: 1, Status: daemon.Skipped, Reason: "overlap"},
				},
			},
			{
				Name: "segments", File: "jobs/segments.yaml", Cron: "0 4 * * *", Timezone: "UTC", Limits: limits, State: daemon.Blocked,
				Why: `the schedule of job "segments" is in use by job "segments", process 4711 on alpha since 2026-11-23T12:00:00Z`, Next: []daemon.Coming{{Fire: fire(26, 4), Starts: fire(26, 4)}},
			},
			{Name: "quiet", File: "jobs/quiet.yaml", Cron: "0 4 * * 1", Timezone: "UTC", Limits: limits, State: daemon.Idle, Removed: true},
		},
	}}
}

func serve(t *testing.T, o Options) (get func(path string) (*http.Response, string)) {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(path string) (*http.Response, string) {
		t.Helper()
		method, rest, ok := strings.Cut(path, " ")
		if !ok {
			method, rest = "GET", path
		}
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+rest, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, string(body)
	}
}

// The page says everything, shows nothing that it must not, and needs nothing
// from elsewhere.
func TestPage(t *testing.T) {
	get := serve(t, Options{Source: newFake(t), Version: "v1.2.3"})
	r, body := get("/")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s, %s", r.Status, r.Header.Get("Content-Type"))
	}
	for _, part := range []string{
		"version v1.2.3", "running for 2d 2h", ">crm-audiences</h2>", `<span class="state good">running</span>`, "check: 1,500,000 of 4,000,000 ids, 37 %, 1,250 ids/s, 33m 20s left",
		`max="4000000" value="1500000"`, "2026-11-25 18:00", "2026-11-25 18:03:00", "3h 33m", "the fire of 2026-11-25 13:00 UTC", "1h 6m", `href="/jobs/crm-audiences/runs/` + aRun + `/report"`,
		"skipped (4 fires)", "to 2026-11-23 04:00", "older than the grace period", "was still under way", "process 4711 on alpha", "never comes &lt;script&gt;", "no longer scheduled",
		"max_quarantined", "Europe/Berlin", `<html lang="en">`, `name="viewport"`, `http-equiv="refresh"`, `scope="col"`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("no %q", part)
		}
	}
	for _, part := range []string{anID, "jane@example.com", "<script", "http:", "https:", "src=", "url(", "@import", "style=", "on" + "click"} {
		if strings.Contains(body, part) {
			t.Errorf("there is %q", part)
		}
	}
	if n := strings.Count(body, "<h1"); n != 1 {
		t.Errorf("%d h1", n)
	}
}

// The policy forbids everything but the one style sheet that is in the page.
func TestHeaders(t *testing.T) {
	get := serve(t, Options{Source: newFake(t)})
	r, body := get("/")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := r.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	for _, path := range []string{"/", "/healthz", "/nothing", "/jobs/crm-audiences/runs/" + aRun + "/report"} {
		r, _ := get(path)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": policy,
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestPaths(t *testing.T) {
	f := newFake(t)
	get := serve(t, Options{Source: f, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })})
	for path, want := range map[string]int{
		"/": 200, "HEAD /": 200, "POST /": 405, "PUT /healthz": 405, "DELETE /jobs/crm-audiences/runs/" + aRun + "/report": 405, "/index.html": 404, "/metrics": 200,
		"/healthz": 200, "/readyz": 200,
		"/jobs/crm-audiences/runs/" + aRun + "/report":         200,
		"/jobs/crm-audiences/runs/" + other + "/report":        404, // that of another job
		"/jobs/crm-audiences/runs/20261123T040312.000Z/report": 404,
		"/jobs/crm-audiences/runs/..%2f..%2fetc/report":        404,
		"/jobs/crm-audiences/runs/..%2felsewhere/report":       404,
		"/jobs/crm-audiences/runs/%2e%2e/report":               404,
		"/jobs/none/runs/" + aRun + "/report":                  404,
	} {
		if r, _ := get(path); r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
	}
	if _, body := get("/jobs/crm-audiences/runs/" + aRun + "/report"); body != `{"job": "crm-audiences"}` {
		t.Errorf("report %q", body)
	}
	f.alive, f.loaded = errors.New("the loop has not turned for 5m"), false
	for path, want := range map[string]string{"/healthz": "the loop has not turned for 5m\n", "/readyz": "no jobs are loaded, or the daemon is stopping\n"} {
		if r, body := get(path); r.StatusCode != 503 || body != want {
			t.Errorf("%s: %d %q", path, r.StatusCode, body)
		}
	}
	f.status = daemon.Status{}
	if r, body := get("/"); r.StatusCode != 200 || !strings.Contains(body, "No job is scheduled") || strings.Contains(body, "refresh") {
		t.Errorf("empty page: %d", r.StatusCode)
	}
}

// The compliance report is a page of its own, with a style of its own.
func TestComplianceReport(t *testing.T) {
	var fail error
	asked := ""
	get := serve(t, Options{Source: newFake(t), Report: func(job string) (schemas.Compliance, error) {
		asked = job
		return schemas.Compliance{Schema: schemas.ComplianceSchema, Settings: []schemas.ComplianceSetting{{Job: "<b>" + job}}}, fail
	}})
	if _, body := get("/"); !strings.Contains(body, `<a href="/jobs/crm-audiences/report"`) {
		t.Error("the page has no link to it")
	}
	r, body := get("/jobs/crm-audiences/report")
	policy := r.Header.Get("Content-Security-Policy")
	if r.StatusCode != 200 || asked != "crm-audiences" || !strings.Contains(body, "Opt-out compliance report") || !strings.Contains(body, "&lt;b&gt;crm-audiences") {
		t.Errorf("%s, asked for %q", r.Status, asked)
	}
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'unsafe-inline';") || strings.Contains(policy, "script") || r.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("policy %s", policy)
	}
	if r, _ := get("/jobs/none/report"); r.StatusCode != 404 {
		t.Errorf("of a job that is none: %s", r.Status)
	}
	fail = errors.New("the ledger is damaged at " + anID)
	if r, body := get("/jobs/crm-audiences/report"); r.StatusCode != 503 || !strings.Contains(body, "the ledger is damaged") || strings.Contains(body, anID) {
		t.Errorf("%s, %q", r.Status, body)
	}
	without := serve(t, Options{Source: newFake(t)})
	if _, body := without("/"); strings.Contains(body, `/jobs/crm-audiences/report"`) {
		t.Error("a link to nothing")
	}
	if r, _ := without("/jobs/crm-audiences/report"); r.StatusCode != 404 {
		t.Errorf("without reports: %s", r.Status)
	}
}

func TestListen(t *testing.T) {
	for _, address := range []string{"", ":9090", "9090", "localhost", "127.0.0.1:99999"} {
		if l, err := Listen(address); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" || l != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil || !Loopback(l) {
		t.Fatal(err)
	}
	if _, err := Listen(l.Addr().String()); schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("taken: %v", err)
	}
	all, err := Listen("0.0.0.0:0")
	if err != nil || Loopback(all) {
		t.Errorf("%v", err)
	}
	_, _ = l.Close(), all.Close()
}

// TestShow serves the page for a browser; see testdata/statuspage.sh.
func TestShow(t *testing.T) {
	if *show == "" {
		t.Skip("only with -show")
	}
	h, err := New(Options{Source: newFake(t), Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", *show)
	if err != nil {
		t.Fatal(err)
	}
	go func() { time.Sleep(time.Minute); _ = l.Close() }()
	_ = Serve(t.Context(), l, h, slog.New(slog.DiscardHandler))
}
