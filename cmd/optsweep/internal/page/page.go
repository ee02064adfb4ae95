// Package page serves what a daemon is doing to people and probes: one HTML
// page, health checks and the reports of runs. It is read-only.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"optsweep/jobs/daemon"
	"optsweep/jobs/report"
	"optsweep/jobs/report/render"
	"optsweep/jobs/schedule"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Source is a daemon.
type Source interface {
	Status() daemon.Status
	Alive() error
	Loaded() bool
	Workspace(job string) string
}

// Options say what is served.
type Options struct {
	Source  Source
	Version string
	Metrics http.Handler // at /metrics; nil: none

	// Report gives the compliance report of a job of late; nil: there is none.
	Report func(job string) (schemas.Compliance, error)
}

//go:embed page.html
var html string

//go:embed page.css
var css string

// pages is what a handler needs.
type pages struct {
	o        Options
	template *template.Template
	policy   string
}

// New makes the handler:
//
//	/                            the page
//	/healthz                     200 as long as the loop turns, else 503
//	/readyz                      200 once jobs are loaded and until the daemon stops, else 503
//	/jobs/JOB/runs/RUN/report    report.json of a run
//	/jobs/JOB/report             the compliance report, if there is one
//	/metrics                     if there are metrics
func New(o Options) (http.Handler, error) {
	t, err := template.New("page").Funcs(functions()).Parse(strings.Replace(html, "CSS", css, 1))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(css))
	p := &pages{o: o, template: t, policy: fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", base64.StdEncoding.EncodeToString(sum[:]))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.page)
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /jobs/{job}/runs/{run}/report", p.report)
	if o.Report != nil {
		mux.HandleFunc("GET /jobs/{job}/report", p.compliance)
	}
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", p.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}), nil
}

// shown is what the template gets.
type shown struct {
	daemon.Status
	Version string
	Live    bool // a run is under way
	Reports bool // there are compliance reports
}

func (p *pages) page(w http.ResponseWriter, _ *http.Request) {
	s := shown{Status: p.o.Source.Status(), Version: p.o.Version, Reports: p.o.Report != nil}
	for _, j := range s.Jobs {
		s.Live = s.Live || j.State == daemon.Running
	}
	var b bytes.Buffer
	if err := p.template.Execute(&b, s); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (p *pages) health(w http.ResponseWriter, _ *http.Request) {
	if err := p.o.Source.Alive(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// ready stays 200 if a reload failed: the jobs go on as they were.
func (p *pages) ready(w http.ResponseWriter, _ *http.Request) {
	if !p.o.Source.Loaded() {
		http.Error(w, "no jobs are loaded, or the daemon is stopping", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// runID keeps other files out of reach.
var runID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z$`)

func (p *pages) report(w http.ResponseWriter, r *http.Request) {
	job, run := r.PathValue("job"), r.PathValue("run")
	workspace := p.o.Source.Workspace(job)
	if workspace == "" || !runID.MatchString(run) {
		http.NotFound(w, r)
		return
	}
	data, err := os.ReadFile(sweep.Layout(workspace).Run(run, sweep.ReportFile))
	var found struct {
		Job string `json:"job"`
	}
	if err != nil || json.Unmarshal(data, &found) != nil || found.Job != job {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// compliance shows the compliance report of a job. It has a style of its own.
func (p *pages) compliance(w http.ResponseWriter, r *http.Request) {
	job := r.PathValue("job")
	if p.o.Source.Workspace(job) == "" {
		http.NotFound(w, r)
		return
	}
	c, err := p.o.Report(job)
	var b bytes.Buffer
	if err == nil {
		err = render.HTML(&b, c)
	}
	if err != nil {
		http.Error(w, "the report could not be made: "+string(schemas.Hide([]byte(err.Error()))), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func functions() template.FuncMap {
	return template.FuncMap{
		"time":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"second": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"span":   span,
		"took":   func(seconds float64) string { return span(time.Duration(seconds * float64(time.Second))) },
		"count":  report.Count,
		"rate":   func(rate float64) string { return report.Count(int64(rate)) },
		"share":  func(p daemon.Progress) int64 { return min(100, 100*p.Done/max(1, p.Total)) },
		"max1":   func(n int64) int64 { return max(1, n) },
		"hide":   func(text string) string { return string(schemas.Hide([]byte(text))) },
		"tone":   tone,
		"why":    why,
	}
}

// span is a time span to the minute, or the second if it is short.
func span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// tone is how a state or status looks; it also stands there in words.
func tone(status string) string {
	switch status {
	case schemas.StatusReconciled, daemon.Running:
		return "good"
	case daemon.Idle, schemas.StatusPreviewed, schemas.StatusReapplied:
		return ""
	case schemas.StatusPartial, schemas.StatusInterrupted, daemon.Skipped, daemon.Waiting:
		return "warn"
	default:
		return "bad"
	}
}

// why says in words why a fire did not run or did not succeed.
func why(r daemon.Record) string {
	if r.Status != daemon.Skipped {
		return string(schemas.Hide([]byte(r.Reason)))
	}
	switch r.Reason {
	case schedule.Missed:
		return "missed: the daemon was not running, and catch_up is skip"
	case schedule.Superseded:
		return "a later run did its work (catch_up: once)"
	case schedule.TooOld:
		return "missed, and older than the grace period when the daemon was back"
	case schedule.Overlapped:
		return "the run before was still under way (overlap)"
	case schedule.TooMany:
		return "more were missed than are caught up with"
	case schedule.Rescheduled:
		return "missed before the schedule was changed"
	default:
		return r.Reason
	}
}
