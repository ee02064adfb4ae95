package embedded

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Endpoints.
const (
	StatusPath  = "/v2/optout/status"
	HealthPath  = "/ops/healthcheck"
	MetricsPath = "/metrics"
)

const (
	defaultMaxIDs = 5000    // ids per request (operator optout_status_max_request_size)
	maxBody       = 1 << 20 // bytes of a request body
	maxHeader     = 64 << 10
)

// Options say what a Server serves. Only Store and Clients are required.
type Options struct {
	Store   *optoutlog.Store // need not be loaded yet
	Clients string           // path of the clients file
	Scope   schemas.Scope    // which documentation messages point to; empty: EUID
	MaxIDs  int              // ids per status request; 0: 5,000
	Intake  IntakeOptions    // zero: none
	Faults  Faults           // zero: none

	CertFile, KeyFile string // TLS, PEM; read again when they change

	RefreshEvery time.Duration // how often the log folder is read; 0: 60 s
	ClientsEvery time.Duration // how often the clients and TLS files are; 0: 10 s
	RotateEvery  time.Duration // how often received opt-outs become a log file; 0: 5 min
	ReadTimeout  time.Duration // for a whole request; 0: 30 s
	WriteTimeout time.Duration // for a whole answer; 0: 60 s
	DrainTimeout time.Duration // for requests under way at the end; 0: 20 s

	Log  *slog.Logger     // nil: none. It never sees an id, a key or a query
	Now  func() time.Time // nil: time.Now
	Disk durable.Disk
}

func (o *Options) setDefaults() {
	if o.Scope == "" {
		o.Scope = schemas.EUID
	}
	if o.MaxIDs == 0 {
		o.MaxIDs = defaultMaxIDs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for d, value := range map[*time.Duration]time.Duration{
		&o.RefreshEvery: 60 * time.Second, &o.ClientsEvery: 10 * time.Second, &o.RotateEvery: 5 * time.Minute,
		&o.ReadTimeout: 30 * time.Second, &o.WriteTimeout: 60 * time.Second, &o.DrainTimeout: 20 * time.Second,
	} {
		if *d == 0 {
			*d = value
		}
	}
}

// Server is an operator for opt-out status over HTTP.
type Server struct {
	opts      Options
	clients   *clients
	intake    *intake // nil: none
	metrics   *metrics
	memory    scratches
	certs     *certificates // nil: plain HTTP
	draining  atomic.Bool
	intakeBad atomic.Pointer[error] // why the last rotation failed
}

// NewServer reads the clients file and, with an intake, takes over its journal.
// Call Close in the end. Load the store afterwards, or leave that to Serve.
func NewServer(opts Options) (*Server, error) {
	opts.setDefaults()
	s := &Server{opts: opts, clients: &clients{path: opts.Clients}}
	s.metrics = newMetrics(opts.Store, s.health)
	if _, err := s.clients.load(); err != nil {
		return nil, err
	}
	if opts.CertFile != "" || opts.KeyFile != "" {
		s.certs = &certificates{certFile: opts.CertFile, keyFile: opts.KeyFile}
		if err := s.certs.load(); err != nil {
			return nil, err
		}
	}
	if opts.Intake.Path != "" {
		var err error
		if s.intake, err = newIntake(opts.Intake, opts.Store, opts.Disk, opts.Now, opts.Log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close gives up the journal of the intake.
func (s *Server) Close() error {
	if s.intake == nil {
		return nil
	}
	return s.intake.journal.Close()
}

// health is nil while everything is well: the reason otherwise.
func (s *Server) health() error {
	if s.draining.Load() {
		return errors.New("shutting down")
	}
	ready, degraded := s.opts.Store.Health()
	if degraded != nil {
		return degraded
	}
	if !ready {
		return errNotLoaded
	}
	if p := s.clients.problem.Load(); p != nil {
		return *p
	}
	if p := s.intakeBad.Load(); p != nil {
		return *p
	}
	if s.certs != nil {
		return s.certs.health()
	}
	return nil
}

var errNotLoaded = errors.New("opt-out log is not loaded yet")

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if trace := r.Header.Get("X-Amzn-Trace-Id"); trace != "" {
		w.Header().Set("X-Amzn-Trace-Id", trace)
	}
	endpoint, name := "other", ""
	var rep reply
	switch path := r.URL.Path; {
	case path == StatusPath:
		endpoint = "status"
		if r.Method != http.MethodPost {
			rep = reply{status: http.StatusMethodNotAllowed}
			break
		}
		m := s.memory.get()
		defer s.memory.put(m)
		rep, name = s.status(w, r, m)
	case path == HealthPath:
		endpoint = "health"
		rep = s.healthcheck(r)
	case path == MetricsPath && r.Method == http.MethodGet:
		s.metrics.handler().ServeHTTP(w, r)
		return
	case s.intake != nil && path == s.opts.Intake.Path:
		endpoint = "intake"
		rep = s.receive(r)
	case path == MetricsPath:
		rep = reply{status: http.StatusMethodNotAllowed}
	default:
		rep = reply{status: http.StatusNotFound, contentType: typeHTML, body: []byte("<html><body><h1>Resource not found</h1></body></html>")}
	}
	s.send(w, rep)
	took := time.Since(start)
	s.metrics.observe(endpoint, rep.status, took)
	level := slog.LevelInfo
	if endpoint == "health" {
		level = slog.LevelDebug
	}
	s.opts.Log.Log(r.Context(), level, "request", "endpoint", endpoint, "method", method(r), "status", rep.status, "client", name,
		"ids", rep.asked, "opted_out", rep.hits, "bytes_out", len(rep.body), "ms", float64(took.Microseconds())/1000)
}

// method is the method of r, or "other" for one that could be any text.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return r.Method
	}
	return "other"
}

// send writes a reply. Without a content type none is sent, and none guessed.
func (s *Server) send(w http.ResponseWriter, rep reply) {
	h := w.Header()
	if rep.contentType != "" {
		h.Set("Content-Type", rep.contentType)
	} else {
		h["Content-Type"] = nil
	}
	h.Set("Content-Length", strconv.Itoa(len(rep.body)))
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body) // the client is gone if this fails
}

func (s *Server) healthcheck(r *http.Request) reply {
	if r.Method != http.MethodGet {
		return reply{status: http.StatusMethodNotAllowed}
	}
	if err := s.health(); err != nil {
		return reply{status: http.StatusServiceUnavailable, contentType: typeText, body: []byte(err.Error())}
	}
	return reply{status: 200, contentType: typeText, body: []byte("OK")}
}

func (s *Server) receive(r *http.Request) reply {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return reply{status: http.StatusMethodNotAllowed}
	}
	rep, result := s.intake.receive(r)
	s.metrics.intake.WithLabelValues(result).Inc()
	return rep
}

// status answers POST /v2/optout/status; name is that of the client, once it
// is known.
func (s *Server) status(w http.ResponseWriter, r *http.Request, m *scratch) (rep reply, name string) {
	body, err := readBody(r, m.body)
	m.body = body
	switch {
	case errors.Is(err, errTooLong): // before the key is looked at
		w.Header().Set("Connection", "close")
		return reply{status: http.StatusRequestEntityTooLarge, contentType: typeText, body: []byte("Request Too Long")}, ""
	case err != nil:
		return reply{status: http.StatusRequestTimeout, contentType: typeText, body: []byte("Request Timeout")}, ""
	}
	key, ok := bearer(r.Header.Get("Authorization"))
	if !ok {
		return unauthorized(), ""
	}
	c := s.clients.set.Load().find(key)
	if c == nil {
		return unauthorized(), ""
	}
	defer s.metrics.keys.begin(r.Context(), c.name)()
	if !c.allowed {
		return unauthorized(), c.name
	}
	hit := s.opts.Faults.next()
	if rep, done := s.misbehave(w, r, hit); done {
		return rep, c.name
	}
	snapshot := s.opts.Store.Snapshot()
	if snapshot == nil {
		return reply{status: http.StatusServiceUnavailable, contentType: typeText, body: []byte(errNotLoaded.Error())}, c.name
	}
	a := answerer{scope: s.opts.Scope, maxIDs: s.opts.MaxIDs, lookup: snapshot.AppendOptedOut, tamper: hit.tamper(),
		nowMS: func() int64 { return s.opts.Now().Add(hit.skew()).UnixMilli() }}
	rep = a.answer(c.cipher, body, wantsBinary(r.Header), m)
	s.metrics.ids.WithLabelValues("asked").Add(float64(rep.asked))
	s.metrics.ids.WithLabelValues("opted_out").Add(float64(rep.hits))
	if hit[faultCut] != nil {
		s.cut(w, rep)
	}
	return rep, c.name
}

// wantsBinary tells whether a Content-Type is exactly the binary one, without
// parameters.
func wantsBinary(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Content-Type"), func(v string) bool { return strings.EqualFold(v, typeBinary) })
}

var errTooLong = errors.New("request body is too long")

// readBody reads the body into the room of buf.
func readBody(r *http.Request, buf []byte) ([]byte, error) {
	if r.ContentLength > maxBody {
		return buf[:0], errTooLong
	}
	buf = slices.Grow(buf[:0], int(max(r.ContentLength, 4096))+1)
	for {
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxBody:
			return buf, errTooLong
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) == cap(buf):
			buf = slices.Grow(buf, len(buf))
		}
	}
}

// misbehave does what the faults of a request ask for before it is looked at;
// done means that the reply is all there is.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, h hit) (rep reply, done bool) {
	for kind := range h {
		s.metrics.faults.WithLabelValues(kind).Inc()
	}
	if f := h[faultSkew]; f != nil {
		w.Header().Set("Date", s.opts.Now().Add(f.duration).UTC().Format(http.TimeFormat))
	}
	if f := h[faultSlow]; f != nil {
		wait := time.NewTimer(f.duration)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
		}
	}
	switch {
	case h[faultDrop] != nil:
		panic(http.ErrAbortHandler) // how a handler tells net/http to close the connection
	case h[faultStatus] != nil:
		f := h[faultStatus]
		if f.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter.Seconds())))
		}
		return faultReply(f.status), true
	case h[faultGarbage] != nil:
		return reply{status: 200, contentType: typeText, body: []byte("this is not an envelope\n")}, true
	}
	return reply{}, false
}

// cut sends half of a reply and closes the connection.
func (s *Server) cut(w http.ResponseWriter, rep reply) {
	w.Header().Set("Content-Type", rep.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(rep.body)))
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body[:len(rep.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
