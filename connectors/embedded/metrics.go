package embedded

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"optsweep/connectors/optoutlog"
)

// metrics counts, in a registry of its own. Clients appear by name; ids and
// keys never do.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	ids      *prometheus.CounterVec
	intake   *prometheus.CounterVec
	faults   *prometheus.CounterVec
	keys     *keyMetrics
}

// newMetrics also shows the state of store, and whether health gives nil.
func newMetrics(store *optoutlog.Store, health func() error) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "optsweep_operator_requests_total",
			Help: "Requests by endpoint and HTTP status."}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "optsweep_operator_request_seconds",
			Help: "Time from the first to the last byte of handling a request.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}, []string{"endpoint"}),
		ids: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "optsweep_operator_ids_total",
			Help: "Elements of advertising_ids answered, and how many of them were opted out."}, []string{"result"}),
		intake: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "optsweep_operator_intake_total",
			Help: "Opt-outs received, by what became of them."}, []string{"result"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "optsweep_operator_faults_total",
			Help: "Faults injected, by kind."}, []string{"fault"}),
		keys: newKeyMetrics(),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	stats := func(value func(optoutlog.Stats) float64) func() float64 {
		return func() float64 {
			if s := store.Snapshot(); s != nil {
				return value(s.Stats())
			}
			return 0
		}
	}
	m.registry.MustRegister(m.requests, m.seconds, m.ids, m.intake, m.faults,
		m.keys.connections, m.keys.open, m.keys.openMax, m.keys.inFlight, m.keys.inFlightMax,
		gauge("optsweep_operator_healthy", "1 while the health check answers 200.", func() float64 {
			if health() == nil {
				return 1
			}
			return 0
		}),
		gauge("optsweep_operator_log_ids", "Distinct ids in the opt-out log.", stats(func(s optoutlog.Stats) float64 { return float64(s.IDs) })),
		gauge("optsweep_operator_log_files", "Files of the opt-out log.", stats(func(s optoutlog.Stats) float64 { return float64(s.Files) })),
		gauge("optsweep_operator_log_bytes", "Memory that the opt-out log takes.", stats(func(s optoutlog.Stats) float64 { return float64(s.Bytes) })),
		gauge("optsweep_operator_log_as_of_seconds", "Unix time at which the log folder was last read in full.", stats(func(s optoutlog.Stats) float64 { return float64(s.AsOf.Unix()) })),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observe(endpoint string, status int, took time.Duration) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(endpoint).Observe(took.Seconds())
}

// keyMetrics prove how many connections and parallel requests each client
// uses.
type keyMetrics struct {
	connections                          *prometheus.CounterVec
	open, openMax, inFlight, inFlightMax *prometheus.GaugeVec

	mu      sync.Mutex
	clients map[string]*usage
}

// usage is what one client uses now, and the most it ever did.
type usage struct{ open, openMax, inFlight, inFlightMax int }

func newKeyMetrics() *keyMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"client"})
	}
	return &keyMetrics{
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "optsweep_operator_client_connections_total",
			Help: "Connections on which a client sent a status request."}, []string{"client"}),
		open:        gauge("optsweep_operator_client_connections_open", "Open connections on which a client sent a status request."),
		openMax:     gauge("optsweep_operator_client_connections_open_max", "Most of them open at the same time."),
		inFlight:    gauge("optsweep_operator_client_requests_in_flight", "Status requests of a client being answered."),
		inFlightMax: gauge("optsweep_operator_client_requests_in_flight_max", "Most of them at the same time."),
		clients:     map[string]*usage{},
	}
}

// change adds to what a client uses now, and updates its gauges.
func (k *keyMetrics) change(name string, open, inFlight int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.clients[name]
	if u == nil {
		u = &usage{}
		k.clients[name] = u
	}
	u.open += open
	u.inFlight += inFlight
	u.openMax, u.inFlightMax = max(u.openMax, u.open), max(u.inFlightMax, u.inFlight)
	k.open.WithLabelValues(name).Set(float64(u.open))
	k.openMax.WithLabelValues(name).Set(float64(u.openMax))
	k.inFlight.WithLabelValues(name).Set(float64(u.inFlight))
	k.inFlightMax.WithLabelValues(name).Set(float64(u.inFlightMax))
}

// begin counts a request of a client; call end when it is answered.
func (k *keyMetrics) begin(ctx context.Context, name string) (end func()) {
	if c, ok := ctx.Value(connKey{}).(*connection); ok && c.first(name) {
		k.connections.WithLabelValues(name).Inc()
		k.change(name, 1, 0)
	}
	k.change(name, 0, 1)
	return func() { k.change(name, 0, -1) }
}

// connKey is the context key of a *connection.
type connKey struct{}

// connection remembers which clients used it.
type connection struct {
	mu     sync.Mutex
	names  map[string]bool
	closed bool
}

// first tells whether this is the first request of a client on an open
// connection.
func (c *connection) first(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.names[name] {
		return false
	}
	c.names[name] = true
	return true
}

// connections follow the connections of one http.Server.
type connections struct {
	keys *keyMetrics
	all  sync.Map // net.Conn -> *connection
}

func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	one := &connection{names: map[string]bool{}}
	c.all.Store(conn, one)
	return context.WithValue(ctx, connKey{}, one)
}

func (c *connections) state(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	one, ok := c.all.LoadAndDelete(conn)
	if !ok {
		return
	}
	used := one.(*connection)
	used.mu.Lock()
	defer used.mu.Unlock()
	used.closed = true
	for name := range used.names {
		c.keys.change(name, -1, 0)
	}
}
