package operator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

// Status is the result of one check of Doctor.
type Status string

// The results, from good to bad; a check is skipped when another one failed or
// when it does not apply.
const (
	OK   Status = "ok"
	Skip Status = "skip"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Finding is one check of Doctor. No text holds a key or a secret.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

const (
	doctorDeadline  = 20 * time.Second
	doctorProbes    = 3
	maxSkew         = 60 * time.Second // what the docs promise to accept
	certificateSoon = 14 * 24 * time.Hour
)

// Doctor finds out whether an operator can be asked with these options, and
// what to do if not. It always returns the same checks in the same order:
// address, api_key, client_secret, dns, connection, health, access, clock,
// latency. It asks about no id: an empty batch shows that key, secret, role
// and clock are accepted.
func Doctor(ctx context.Context, o Options) []Finding {
	if o.Deadline == 0 || o.Deadline > doctorDeadline {
		o.Deadline = doctorDeadline
	}
	d := &doctor{}
	client, err := New(o)
	if err != nil {
		d.fail("address", err)
	} else {
		defer client.Close()
		d.add("address", OK, addressDetail(client), "")
	}
	ready := d.credentials(ctx, &o)
	if client == nil {
		d.skip("the address is not usable", "dns", "connection", "health", "access", "clock", "latency")
		return d.findings
	}
	d.dns(ctx, client)
	d.connection(ctx, client)
	switch {
	case !ready:
		d.skip("the credentials are not usable", "access")
	case d.last("connection") == Fail:
		d.skip("there is no connection", "access")
	default:
		d.access(ctx, client)
	}
	d.clock(client)
	if d.last("access") == OK {
		d.latency(ctx, client)
	} else {
		d.skip("there is no access", "latency")
	}
	return d.findings
}

type doctor struct{ findings []Finding }

func (d *doctor) add(name string, status Status, detail, fix string) {
	d.findings = append(d.findings, Finding{Name: name, Status: status, Detail: detail, Fix: fix})
}

func (d *doctor) fail(name string, err error) {
	d.add(name, Fail, err.Error(), schemas.HintOf(err))
}

func (d *doctor) skip(why string, names ...string) {
	for _, name := range names {
		d.add(name, Skip, why, "")
	}
}

func (d *doctor) last(name string) Status {
	i := slices.IndexFunc(d.findings, func(f Finding) bool { return f.Name == name })
	return d.findings[i].Status
}

func addressDetail(c *Client) string {
	scope, environment, public := publicHost(c.base.Hostname())
	if !public {
		return c.URL() + ", not one of the public operators"
	}
	return c.URL() + ", public operator of " + describe(scope, environment)
}

// credentials checks key and secret as far as their form goes.
func (d *doctor) credentials(ctx context.Context, o *Options) (ready bool) {
	if o.Credentials == nil {
		d.skip("there is no source of credentials", "api_key", "client_secret")
		return false
	}
	credentials, err := o.Credentials(ctx)
	if err != nil {
		d.fail("api_key", err)
		d.skip("the credentials cannot be read", "client_secret")
		return false
	}
	keyErr := checkKey(credentials.APIKey)
	detail := "fingerprint " + KeyFingerprint(credentials.APIKey)
	if name := KeyName(credentials.APIKey); name != "" {
		detail = name + ", " + detail
	}
	if keyErr != nil {
		d.fail("api_key", keyErr)
	} else if mismatch := keyMismatch(credentials.APIKey, o.Scope, o.Environment); mismatch != "" {
		d.add("api_key", Warn, detail, mismatch)
	} else {
		d.add("api_key", OK, detail, "")
	}
	_, secretErr := envelope.NewCipher(trimmedSecret(credentials.ClientSecret))
	if secretErr != nil {
		d.fail("client_secret", secretErr)
	} else {
		d.add("client_secret", OK, "has the right form", "")
	}
	return keyErr == nil && secretErr == nil
}

func (d *doctor) dns(ctx context.Context, c *Client) {
	host := c.base.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		d.skip("the address is a number", "dns")
		return
	}
	if proxy, err := c.transport.Proxy(&http.Request{URL: c.endpoint}); err == nil && proxy != nil {
		d.skip("left to the proxy "+proxy.Hostname(), "dns")
		return
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		d.add("dns", Fail, err.Error(), "check operator.url and this machine's DNS")
		return
	}
	d.add("dns", OK, strings.Join(addresses, ", "), "")
}

// connection asks for the operator's health, which needs no key (operator
// vertx/Endpoints.java). The public one may not show it.
func (d *doctor) connection(ctx context.Context, c *Client) {
	ctx, cancel := context.WithTimeout(ctx, min(c.opt.Timeout, c.opt.Deadline))
	defer cancel()
	sent := c.opt.Now()
	req := (&http.Request{Method: http.MethodGet, URL: under(c.base, "/ops/healthcheck"), Header: http.Header{"User-Agent": {c.opt.ClientVersion}}}).WithContext(ctx)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		d.fail("connection", c.networkFailure(err).err)
		d.skip("there is no connection", "health")
		return
	}
	received := c.opt.Now()
	b := new(batch)
	if err := b.receive(resp); err != nil {
		d.fail("connection", c.networkFailure(err).err)
		d.skip("there is no connection", "health")
		return
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.measureClock(sent, received, date.Add(time.Second/2))
	}
	d.tls(resp.TLS, received)
	switch {
	case resp.StatusCode == http.StatusOK:
		d.add("health", OK, "the operator says that it is healthy", "")
	case resp.StatusCode >= 500:
		detail := fmt.Sprintf("the operator answers %d: %q", resp.StatusCode, presentable(string(b.received)))
		d.add("health", Warn, detail, "ask whoever runs the operator, or wait")
	default:
		d.skip("the operator does not show its health", "health")
	}
}

func (d *doctor) tls(state *tls.ConnectionState, now time.Time) {
	if state == nil {
		d.add("connection", OK, "plain http", "")
		return
	}
	left := state.PeerCertificates[0].NotAfter.Sub(now)
	detail := fmt.Sprintf("%s, certificate valid for %s", tls.VersionName(state.Version), span(left))
	if left < certificateSoon {
		d.add("connection", Warn, detail, "ask whoever runs the operator to renew its certificate")
		return
	}
	d.add("connection", OK, detail, "")
}

// access sends an empty batch.
func (d *doctor) access(ctx context.Context, c *Client) {
	if f := d.probe(ctx, c); f != nil {
		d.fail("access", f.err)
		return
	}
	d.add("access", OK, "key, secret, role and clock are accepted", "")
}

func (d *doctor) probe(ctx context.Context, c *Client) *failure {
	t, err := c.acquire(ctx)
	if err != nil {
		return &failure{class: fatal, err: err}
	}
	defer func() { c.turns <- t }()
	b := &batch{turn: t}
	b.encode(nil)
	var answer schemas.Answer
	var retries int64
	return c.exchange(ctx, b, &answer, &retries)
}

func (d *doctor) clock(c *Client) {
	s := c.Stats()
	skew := s.ClockSkew
	switch {
	case !s.ClockMeasured:
		d.skip("the operator did not tell its time", "clock")
	case skew.Abs() > maxSkew:
		d.add("clock", Fail, clockWords(skew), "set the clock (NTP)")
	case skew.Abs() > warnSkew:
		d.add("clock", Warn, clockWords(skew), "set the clock (NTP): beyond 60 s requests are refused")
	default:
		d.add("clock", OK, clockWords(skew), "")
	}
}

func (d *doctor) latency(ctx context.Context, c *Client) {
	var took []time.Duration
	for range doctorProbes {
		started := c.opt.Now()
		if f := d.probe(ctx, c); f != nil {
			d.fail("latency", f.err)
			return
		}
		took = append(took, c.opt.Now().Sub(started))
	}
	slices.Sort(took)
	d.add("latency", OK, fmt.Sprintf("%d ms for an empty batch", took[len(took)/2].Milliseconds()), "")
}
