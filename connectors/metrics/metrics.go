// Package metrics shows what runs found in the format of Prometheus: in a file
// for node_exporter's textfile collector, to a Pushgateway, and as a handler
// to be scraped. No label holds an id.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"optsweep/schemas"
)

// Verdicts of rows and ids, as values of the label verdict.
const (
	optedOut     = "opted_out"
	clear        = "clear"
	notOptedOut  = "not_opted_out" // rows whose id is valid and, as far as was asked, not opted out
	unverifiable = "unverifiable"
	noID         = "no_id"
)

// notChecked is the reason of rows with a valid id whose table was not
// reconciled as a whole.
const notChecked = "not_checked"

// Metrics are the figures of the last run of each job, and counters over all
// runs that were observed. It is safe for concurrent use.
type Metrics struct {
	last    *prometheus.Registry // of the last run
	total   *prometheus.Registry // since the start of the process
	vectors map[string]*prometheus.GaugeVec
	runs    *prometheus.CounterVec
	failed  *prometheus.CounterVec

	mu    sync.Mutex
	times map[string]times // by job
}

type times struct{ success, failure time.Time }

// gauge is one figure of the last run.
type gauge struct {
	name   string
	help   string
	labels []string // besides job
}

// Names without the prefix, for code that sets them.
const (
	lastSuccess    = "last_success_timestamp_seconds"
	lastFailure    = "last_failure_timestamp_seconds"
	lastRun        = "last_run_timestamp_seconds"
	lastRunSuccess = "last_run_success"
	duration       = "run_duration_seconds"
	phaseDuration  = "phase_duration_seconds"
	ids            = "ids"
	rows           = "rows"
	rowsNew        = "rows_newly_flagged"
	rowsFlagged    = "rows_flagged"
	quarantined    = "rows_quarantined"
	units          = "units"
	batches        = "batches"
	retries        = "retries"
	oldestCheck    = "oldest_check_timestamp_seconds"
	suppressed     = "suppressed_ids"
	honoured       = "time_to_honour_ids"
	honourP50      = "time_to_honour_p50_seconds"
	honourP95      = "time_to_honour_p95_seconds"
	honourMax      = "time_to_honour_max_seconds"
	limitHit       = "limit_hit"
	undelivered    = "notifications_failed"
)

func gauges() []gauge {
	return []gauge{
		{lastSuccess, "Unix time at which the last run ended that checked and wrote everything.", nil},
		{lastFailure, "Unix time at which the last run ended that did not.", nil},
		{lastRun, "Unix time at which the last run ended.", nil},
		{lastRunSuccess, "1 if the last run checked and wrote everything, 0 if not.", nil},
		{duration, "Time from the start of the last run to its end, pauses between resumptions included.", nil},
		{phaseDuration, "Time of work in a phase of the last run.", []string{"phase"}},
		{ids, "Distinct ids over all tables, by verdict; together all that the last run extracted.", []string{"verdict", "reason"}},
		{rows, "Rows read by the last run, by verdict; together all rows of a table.", []string{"table", "verdict", "reason"}},
		{rowsNew, "Rows that the last run gave a flag.", []string{"table"}},
		{rowsFlagged, "Rows with a flag after the last run.", []string{"table"}},
		{quarantined, "Rows of the last run whose id is not valid.", []string{"table"}},
		{units, "Files or statements of a table that the last run changed, or could not treat.", []string{"table", "verdict"}},
		{batches, "Batches that the operator answered in the last run.", nil},
		{retries, "Requests that the last run had to repeat.", nil},
		{oldestCheck, "Unix time of the oldest answer that the last run relies on.", nil},
		{suppressed, "Ids on the suppression list after the last run.", nil},
		{honoured, "Distinct ids that the last run was the first to find opted out, and flagged.", nil},
		{honourP50, "Time from opt-out to flag that half of those ids did not exceed.", nil},
		{honourP95, "Time from opt-out to flag that 95% of those ids did not exceed.", nil},
		{honourMax, "Longest time from opt-out to flag of those ids.", nil},
		{limitHit, "1 if that safety limit stopped the last run.", []string{"reason"}},
		{undelivered, "Messages about the last run that did not reach their receiver, by sink.", []string{"reason"}},
	}
}

const prefix = "optsweep_"

// New makes metrics without a figure.
func New() *Metrics {
	m := &Metrics{
		last: prometheus.NewRegistry(), total: prometheus.NewRegistry(),
		vectors: map[string]*prometheus.GaugeVec{}, times: map[string]times{},
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "runs_total",
			Help: "Runs that ended since this process started, by status."}, []string{"job", "verdict"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "notifications_failed_total",
			Help: "Messages that did not reach their receiver since this process started, by sink."}, []string{"job", "reason"}),
	}
	for _, g := range gauges() {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + g.name, Help: g.help}, append([]string{"job"}, g.labels...))
		m.vectors[g.name] = v
		m.last.MustRegister(v)
	}
	m.total.MustRegister(m.runs, m.failed)
	return m
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	all := prometheus.Gatherers{m.last, m.total}
	return promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		m.mu.Lock() // not between the figures of two runs
		defer m.mu.Unlock()
		return all.Gather()
	}), promhttp.HandlerOpts{})
}

// Observe takes the figures of a run that has ended, in the place of those of
// the run before. failed are the messages about it that did not arrive.
func (m *Metrics) Observe(e schemas.RunEnd, failed []schemas.Undelivered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observe(e, failed)
	m.runs.WithLabelValues(e.Job, status(e)).Inc()
	for _, u := range failed {
		m.failed.WithLabelValues(e.Job, u.Sink).Inc()
	}
}

// Undelivered counts one more message that did not arrive.
func (m *Metrics) Undelivered(job, sink string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed.WithLabelValues(job, sink).Inc()
	m.vectors[undelivered].WithLabelValues(job, sink).Inc()
}

func status(e schemas.RunEnd) string {
	if e.Report.Run == "" {
		return schemas.StatusFailed
	}
	return e.Report.Status
}

// succeeded tells whether everything was checked and written.
func succeeded(e schemas.RunEnd) bool {
	return e.Class == "" && e.Report.Status == schemas.StatusReconciled
}

func (m *Metrics) observe(e schemas.RunEnd, failed []schemas.Undelivered) {
	for _, v := range m.vectors {
		v.DeletePartialMatch(prometheus.Labels{"job": e.Job})
	}
	set := func(name string, value float64, labels ...string) {
		m.vectors[name].WithLabelValues(append([]string{e.Job}, labels...)...).Set(value)
	}
	at := m.times[e.Job]
	at.success, at.failure = later(at.success, e.Past.LastSuccess), later(at.failure, e.Past.LastFailure)
	switch {
	case succeeded(e):
		at.success = later(at.success, e.EndedAt)
		set(lastRunSuccess, 1)
	case e.Class != "":
		at.failure = later(at.failure, e.EndedAt)
		set(lastRunSuccess, 0)
	default:
		set(lastRunSuccess, 0) // offline: nothing was checked
	}
	m.times[e.Job] = at
	if !at.success.IsZero() {
		set(lastSuccess, seconds(at.success))
	}
	if !at.failure.IsZero() {
		set(lastFailure, seconds(at.failure))
	}
	set(lastRun, seconds(e.EndedAt))
	sinks := map[string]float64{}
	for _, u := range failed {
		sinks[u.Sink]++
	}
	for sink, n := range sinks {
		set(undelivered, n, sink)
	}
	if e.Report.Run != "" {
		figures(e, set)
	}
}

// figures sets what only a run that began has.
func figures(e schemas.RunEnd, set func(name string, value float64, labels ...string)) {
	r := e.Report
	set(duration, max(0, r.FinishedAt.Sub(r.StartedAt).Seconds()))
	phases := map[string]float64{}
	for _, p := range r.Phases {
		phases[p.Name] += p.Seconds
	}
	for name, s := range phases {
		set(phaseDuration, s, name)
	}
	c := r.IDs
	if c.Distinct > 0 { // otherwise the run did not come that far
		set(ids, float64(c.Known), optedOut, "known")
		set(ids, float64(c.OptedOut), optedOut, "answered")
		set(ids, float64(c.Clear), clear, "answered")
		for reason, n := range c.Unverifiable {
			set(ids, float64(n), unverifiable, string(reason))
		}
		set(batches, float64(c.Batches))
		set(retries, float64(c.Retries))
	}
	if c.OldestMS > 0 {
		set(oldestCheck, float64(c.OldestMS)/1000)
	}
	if r.Suppression != nil {
		set(suppressed, float64(r.Suppression.Total))
	}
	for _, t := range r.Tables {
		table(t, set)
	}
	if r.Limit != nil {
		set(limitHit, 1, r.Limit.Limit)
	}
	if h := e.Honour; h != nil {
		set(honoured, float64(h.IDs))
		if h.IDs > 0 {
			set(honourP50, h.P50)
			set(honourP95, h.P95)
			set(honourMax, h.Max)
		}
	}
}

func table(t schemas.TableReport, set func(name string, value float64, labels ...string)) {
	bad := int64(0)
	for reason, n := range t.Malformed {
		set(rows, float64(n), t.Table, unverifiable, string(reason))
		bad += n
	}
	set(rows, float64(t.Nulls), t.Table, noID, "null")
	set(rows, float64(t.RowsOptedOut), t.Table, optedOut, "")
	if rest := float64(max(0, t.Valid-t.RowsOptedOut)); t.Status == schemas.StatusReconciled {
		set(rows, rest, t.Table, notOptedOut, "")
	} else {
		set(rows, rest, t.Table, unverifiable, notChecked)
	}
	set(quarantined, float64(bad), t.Table)
	set(rowsNew, float64(t.RowsNew), t.Table)
	if t.Status != schemas.StatusFailed { // otherwise it was not read back
		set(rowsFlagged, float64(t.RowsFlagged), t.Table)
	}
	set(units, float64(t.UnitsChanged), t.Table, "changed")
	set(units, float64(t.UnitsFailed), t.Table, "failed")
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
