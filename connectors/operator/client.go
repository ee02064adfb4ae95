// Package operator asks an EUID or UID2 operator which advertising ids are
// opted out: it is a client of POST /v2/optout/status.
//
// A Client keeps the operator's rules by construction. Against a public
// operator it uses one TCP connection, HTTP/1.1, with one batch of at most
// 5,000 ids in flight; only a private operator may be asked in parallel (docs,
// "POST /optout/status"). Every attempt is sealed afresh. An answer counts
// only if it opens under the client secret, carries the nonce of its request
// and lists nothing that was not asked; everything else is an error that says
// what to fix, and never "not opted out".
//
// The package also knows the operators' addresses, asks canaries, and
// diagnoses a set-up (Doctor).
package operator

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"optsweep/schemas"
)

// Kind says which connection rule holds for an operator.
type Kind string

// The kinds of operator that are asked over HTTP.
const (
	Public  Kind = "public"  // strictly one batch after the other, on one connection
	Private Kind = "private" // batches may run in parallel
)

// MaxBatch is the largest number of ids in one request (docs; operator
// configuration optout_status_max_request_size). A private operator may be
// set to less, which the client finds out.
const MaxBatch = 5000

// Defaults of Options.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultDeadline    = 10 * time.Minute
	DefaultBackoffBase = 500 * time.Millisecond
	DefaultBackoffMax  = 30 * time.Second
)

const maxParallel = 64

// Options describe an operator and how to treat it.
type Options struct {
	Kind        Kind
	URL         string // empty: the public operator of Scope and Environment
	Scope       schemas.Scope
	Environment schemas.Environment

	// Credentials reads the API key and the client secret. It is called on
	// the first request, and once more when the operator refuses them, so
	// that keys can be rotated under a running job.
	Credentials func(context.Context) (Credentials, error)

	Parallel  int  // batches in flight; only Private may have more than 1; 0 means 1
	BatchSize int  // ids in one request; 0 means MaxBatch
	Binary    bool // send raw envelopes instead of base64 text; needs an operator from mid-2025 on

	CAFile         string         // PEM file of certificate authorities to trust as well
	RootCAs        *x509.CertPool // to trust instead of the system's
	AllowHosts     []string       // host names to accept although they belong to another scope or environment
	AllowPlainHTTP []string       // host names to speak plain http to; loopback needs no permission

	Timeout     time.Duration // of one attempt
	Deadline    time.Duration // of all attempts at one batch, waits included
	BackoffBase time.Duration // upper bound of the first wait; it doubles with each retry
	BackoffMax  time.Duration // upper bound of any wait, Retry-After aside

	ClientVersion string                                           // sent as X-UID2-Client-Version; empty: "optsweep"
	Logger        *slog.Logger                                     // nil: silent
	Observe       func(Attempt)                                    // called after every attempt, possibly from several goroutines; may be nil
	Now           func() time.Time                                 // nil: time.Now
	Sleep         func(ctx context.Context, d time.Duration) error // nil: a timer
	Rand          io.Reader                                        // IVs, nonces, jitter; nil: crypto/rand; must be safe for concurrent use
}

// Client asks one operator with one API key. It is safe for concurrent use:
// calls beyond the allowed number wait, with their first request already
// encoded.
type Client struct {
	opt       Options // defaults filled in
	base      *url.URL
	endpoint  *url.URL
	transport *http.Transport
	turns     chan *turn // as many as batches may be in flight
	keys      keyring
	buffers   sync.Pool // of *batch
	limit     atomic.Int64
	reached   atomic.Bool // any HTTP answer came back

	mu         sync.Mutex // guards the rest
	stats      Stats
	skewWarned bool
}

// New checks the options and makes a client, without touching the network or
// the credentials. Every refusal is a schemas.Usage error.
func New(o Options) (*Client, error) {
	base, err := BaseURL(o)
	if err != nil {
		return nil, err
	}
	if err := o.fill(); err != nil {
		return nil, err
	}
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	c := &Client{
		opt:       o,
		base:      base,
		endpoint:  under(base, "/v2/optout/status"),
		transport: newTransport(o.Parallel, roots),
		turns:     newTurns(o.Parallel),
		keys:      keyring{load: o.Credentials},
	}
	c.buffers.New = func() any { return new(batch) }
	c.limit.Store(int64(o.BatchSize))
	return c, nil
}

// fill checks the options that stand for themselves and sets the defaults.
func (o *Options) fill() error {
	switch {
	case o.Credentials == nil:
		return schemas.Errorf(schemas.Usage, "operator has no source of credentials").
			WithHint("set operator.api_key and operator.client_secret")
	case o.Kind == Public && o.Parallel > 1:
		return schemas.Errorf(schemas.Usage, "a public operator must be asked over one connection, not %d", o.Parallel).
			WithHint("remove operator.parallel; only a private operator may be asked in parallel")
	case o.Parallel < 0 || o.Parallel > maxParallel:
		return schemas.Errorf(schemas.Usage, "operator.parallel is %d, not 1 to %d", o.Parallel, maxParallel)
	case o.BatchSize < 0 || o.BatchSize > MaxBatch:
		return schemas.Errorf(schemas.Usage, "a batch of %d ids is not 1 to %d", o.BatchSize, MaxBatch)
	case o.Timeout < 0 || o.Deadline < 0 || o.BackoffBase < 0 || o.BackoffMax < 0:
		return schemas.Errorf(schemas.Usage, "operator timeouts must not be negative")
	}
	setDefault(&o.Parallel, 1)
	setDefault(&o.BatchSize, MaxBatch)
	setDefault(&o.Timeout, DefaultTimeout)
	setDefault(&o.Deadline, DefaultDeadline)
	setDefault(&o.BackoffBase, DefaultBackoffBase)
	setDefault(&o.BackoffMax, DefaultBackoffMax)
	setDefault(&o.ClientVersion, "optsweep")
	setDefault(&o.Rand, rand.Reader)
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	if o.Observe == nil {
		o.Observe = func(Attempt) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// roots are the trusted authorities: nil means the system's.
func (o *Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return o.RootCAs, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "operator CA file: %w", err)
	}
	pool := o.RootCAs
	if pool == nil {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("system certificate authorities: %w", err)
		}
	}
	pool = pool.Clone()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, schemas.Errorf(schemas.Usage, "operator CA file %s holds no PEM certificate", o.CAFile)
	}
	return pool, nil
}

// newTransport makes a transport that never has more than parallel
// connections open: it does not race IPv4 against IPv6 either.
func newTransport(parallel int, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, FallbackDelay: -1}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkProxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxConnsPerHost:        parallel,
		MaxIdleConns:           parallel,
		MaxIdleConnsPerHost:    parallel,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// Limits returns the largest batch that fits one request, as far as is known
// so far, and how many Check calls can be under way at once.
func (c *Client) Limits() (batch, parallel int) {
	return int(c.limit.Load()), cap(c.turns)
}

// URL is the operator's base URL, without /v2.
func (c *Client) URL() string { return c.base.String() }

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// random fills fixed-size fields with random bytes.
func (c *Client) random(b []byte) error {
	if _, err := io.ReadFull(c.opt.Rand, b); err != nil {
		return fmt.Errorf("random numbers: %w", err)
	}
	return nil
}

// backoff is how long to wait before retry number n, counting from 0: full
// jitter, that is anything up to an exponentially growing bound, but at least
// what the operator asked for.
func (c *Client) backoff(n int, asked time.Duration) (time.Duration, error) {
	bound := c.opt.BackoffMax
	if n < 30 { // beyond, the shift could overflow
		bound = min(bound, c.opt.BackoffBase<<n)
	}
	var b [8]byte
	if err := c.random(b[:]); err != nil {
		return 0, err
	}
	fraction := float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
	return max(time.Duration(fraction*float64(bound)), asked), nil
}

// Attempt is one request and what became of it.
type Attempt struct {
	IDs           int
	Status        int           // HTTP status; 0 if no answer came
	Outcome       string        // "answered", "retry", "restamp", "auth", "too_large", "rejected", "integrity" or "fatal"
	SentBytes     int           // body only
	ReceivedBytes int           // body only
	Took          time.Duration // from the first byte sent until the last one read
}

// Stats are totals since the client was made.
type Stats struct {
	Batches       int64         // Check calls that ended with an answer
	Attempts      int64         // requests sent
	Retries       int64         // attempts that repeated a request after a failure
	MostRetries   int64         // the most that one batch needed
	Rejected      int64         // ids that the operator would not take
	SentBytes     int64         // bodies
	ReceivedBytes int64         // bodies
	Busy          time.Duration // sum of the attempts' durations; of several connections if parallel
	ClockSkew     time.Duration // last measured; positive: this machine is ahead of the operator
	ClockMeasured bool          // ClockSkew means something
	BatchLimit    int           // ids in one request, as far as is known
}

// Stats returns the totals so far.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.BatchLimit = int(c.limit.Load())
	return s
}

func (c *Client) count(update func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	update(&c.stats)
}
