package operator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"optsweep/schemas"
)

// class is what an attempt's outcome calls for.
type class uint8

const (
	answered  class = iota
	retry           // ask again after a wait
	restamp         // the timestamp was refused: seal again, once
	auth            // key or secret were refused: read them again, once
	tooLarge        // ask with fewer ids
	rejected        // refused without a reason that concerns all ids: ask in halves
	integrity       // an answer, but none that can be trusted
	fatal           // nothing helps but a person
)

func (c class) String() string {
	return [...]string{"answered", "retry", "restamp", "auth", "too_large", "rejected", "integrity", "fatal"}[c]
}

// failure is an attempt without an answer.
type failure struct {
	class class
	err   error         // what to tell if nothing else helps
	after time.Duration // how long the operator asks to wait, 0 if it does not
}

// untrusted is a 200 that does not count.
func (c *Client) untrusted(format string, args ...any) *failure {
	return &failure{class: integrity, err: schemas.Errorf(schemas.Integrity, "answer of operator %s "+format, append([]any{c.base.Host}, args...)...).
		WithHint("nothing of it was used; is there a proxy or another server in between?")}
}

// statusFailure reads an answer that is not 200: plaintext JSON from the
// operator itself (operator ResponseUtil.java, AuthMiddleware.java,
// GenericFailureHandler.java), or anything at all from what stands before it.
func (c *Client) statusFailure(resp *http.Response, body []byte, k *keys) *failure {
	status := resp.StatusCode
	refuse := func(class class, what, hint string, args ...any) *failure {
		return &failure{class: class, err: schemas.Errorf(schemas.Refused, "operator %s answers %d: %s", c.base.Host, status, what).
			WithHint(hint, args...)}
	}
	switch {
	case status == http.StatusBadRequest:
		return c.badRequest(messageOf(body), k, refuse)
	case status == http.StatusUnauthorized:
		return refuse(auth, "API key "+k.label()+" is not accepted", "%s", c.keyHint(k))
	case status == http.StatusForbidden:
		return refuse(fatal, "blocked before it reached the operator", "is this machine's address allowed there? is there a proxy or firewall in between?")
	case status == http.StatusProxyAuthRequired:
		return refuse(fatal, "the proxy wants a login", "see HTTPS_PROXY")
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return refuse(fatal, "there is no opt-out status here", "check operator.url; a private operator may have this endpoint switched off")
	case status == http.StatusRequestEntityTooLarge:
		return refuse(tooLarge, "the request is too large", "even for one id: check operator.url and what is in between")
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status >= 500:
		return &failure{class: retry, after: retryAfter(resp.Header, c.opt.Now()),
			err: schemas.Errorf(schemas.Failed, "operator %s answers %d %s", c.base.Host, status, http.StatusText(status))}
	case status >= 300 && status < 400:
		return refuse(fatal, "it redirects, which is not followed", "is operator.url right? it points to %s", hostOf(resp.Header.Get("Location")))
	case status < 300:
		return c.untrusted("has status %d, where only 200 counts", status)
	}
	return refuse(fatal, strings.ToLower(http.StatusText(status)), "check operator.url and what is in between")
}

// badRequest tells the operator's messages apart by how they begin: newer
// operators add advice at the end (operator V2RequestUtil.java,
// UIDOperatorVerticle.java).
func (c *Client) badRequest(message string, k *keys, refuse func(class, string, string, ...any) *failure) *failure {
	begins := func(prefix string) bool { return strings.HasPrefix(message, prefix) }
	switch {
	case begins("Invalid timestamp"):
		what, hint := c.clockRefusal()
		return refuse(restamp, what, "%s", hint)
	case begins("Request payload is too large"):
		return refuse(tooLarge, "the batch is too large", "even for one id: see optout_status_max_request_size of this operator")
	case begins("Invalid body: Check encryption key"):
		return refuse(auth, "the client secret does not belong to API key "+k.label(),
			"take both from the same set of credentials: see operator.client_secret")
	case begins("Invalid body") && c.opt.Binary:
		return refuse(fatal, "the request envelope cannot be read", "older operators know no binary mode: switch operator.binary off")
	case begins("Invalid body"):
		return refuse(fatal, "the request envelope cannot be read", "does something in between change requests? is it an operator of this protocol?")
	case begins("Invalid payload in body"), begins("Invalid request body"), begins("Required Parameter Missing"):
		return refuse(fatal, "the request is not understood", "is it an operator of this protocol?")
	}
	what := "bad request"
	if message != "" {
		what = fmt.Sprintf("bad request: %q", presentable(message))
	}
	return refuse(rejected, what, "is it an operator of this protocol?")
}

// messageOf takes the message out of an operator's error body, if it is one.
func messageOf(body []byte) string {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.Message
}

// longRun is anything in a message that might be an id or a key.
var longRun = regexp.MustCompile(`[A-Za-z0-9+/=_.-]{20,}|[^ -~]+`)

// presentable makes an unknown message fit to be shown.
func presentable(message string) string {
	message = longRun.ReplaceAllString(message, "...")
	return message[:min(len(message), 120)]
}

func hostOf(location string) string {
	if u, err := url.Parse(location); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return "another path of the same host"
}

func (c *Client) keyHint(k *keys) string {
	if mismatch := keyMismatch(k.source.APIKey, c.opt.Scope, c.opt.Environment); mismatch != "" {
		return mismatch
	}
	return "it is unknown or disabled there, or has none of the roles MAPPER, SHARER, ID_READER: ask who issued it"
}

// retryAfter reads how long the server asks to wait, in seconds or as a date,
// which is by the server's own clock.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, until.Sub(now))
}

// clockRefusal puts a refused timestamp in words.
func (c *Client) clockRefusal() (what, hint string) {
	s := c.Stats()
	switch {
	case !s.ClockMeasured:
		return "the request's time is not accepted: this machine's clock or the operator's is wrong", "set the clock (NTP), then run the same command again"
	case s.ClockSkew.Abs() < warnSkew:
		return "the request's time is not accepted, although the clocks agree to " + span(s.ClockSkew.Abs()), "did the request take minutes to arrive? run the same command again"
	}
	return clockWords(s.ClockSkew), "set the clock (NTP), then run the same command again"
}

func clockWords(skew time.Duration) string {
	switch {
	case skew.Abs() < time.Second:
		return "this machine's clock agrees with the operator's"
	case skew < 0:
		return "this machine's clock is " + span(-skew) + " behind the operator's"
	}
	return "this machine's clock is " + span(skew) + " ahead of the operator's"
}

// span is a duration in words, in the largest unit of which there are two.
func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if d.Round(unit.size/60) >= 2*unit.size {
			return fmt.Sprintf("%d %s", d.Round(unit.size)/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
}

// proxyError is a proxy that does not connect.
type proxyError struct{ status int }

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy answers %d %s", e.status, http.StatusText(e.status))
}

func checkProxy(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &proxyError{status: resp.StatusCode}
	}
	return nil
}

// networkFailure is a request without a whole answer. Most are worth another
// try; what only a change of configuration can mend is not.
func (c *Client) networkFailure(err error) *failure {
	var (
		host        = c.base.Host
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
		dns         *net.DNSError
		proxy       *proxyError
		first       = !c.reached.Load()
	)
	final := func(class schemas.Class, what, hint string) *failure {
		return &failure{class: fatal, err: schemas.Errorf(class, "operator %s: "+what+": %w", host, err).WithHint("%s", hint)}
	}
	switch {
	case errors.As(err, &certificate):
		return final(schemas.Refused, "its certificate is not trusted", "for a private authority set operator.ca_file; also check this machine's clock and for an intercepting proxy")
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return final(schemas.Refused, "no TLS on this port", "check scheme and port of operator.url")
	case errors.As(err, &proxy) && proxy.status >= 400 && proxy.status < 500:
		return final(schemas.Refused, "not reached", "see HTTPS_PROXY and NO_PROXY")
	case errors.As(err, &op) && op.Op == "remote error" && first: // a TLS alert
		return final(schemas.Refused, "no TLS connection", "it needs TLS 1.2 or later")
	case errors.As(err, &dns) && dns.IsNotFound && first:
		return final(schemas.Failed, "no such host", "check operator.url and this machine's DNS")
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", c.opt.Timeout)
	}
	return &failure{class: retry, err: schemas.Errorf(schemas.Failed, "operator %s: %w", host, err).
		WithHint("is it running, and reachable from this machine? check address, port, firewall and proxy")}
}
