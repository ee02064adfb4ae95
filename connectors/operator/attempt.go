package operator

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

const (
	// maxAnswer bounds the body of an answer; one that lists 5,000 ids has
	// about 0.7 MB.
	maxAnswer = 4 << 20
	// maxErrorBody is how much of any other body is read so that the
	// connection can be used again.
	maxErrorBody = 1 << 20
	// maxDrift is how far the operator's time in an answer may be from the
	// time between request and answer here. It would have refused the request
	// beyond 2 minutes (operator V2RequestUtil.java).
	maxDrift = 10 * time.Minute
	// maxFuture is how far ahead of the operator's time an opt-out may lie.
	maxFuture = 24 * time.Hour
	// warnSkew is the clock difference that is worth a warning: the contract
	// with the operator is 60 s (docs).
	warnSkew = 30 * time.Second
)

// attempt asks b once and counts what happened.
func (c *Client) attempt(ctx context.Context, b *batch, k *keys, answer *schemas.Answer) *failure {
	a := Attempt{IDs: len(b.ids)}
	f := c.ask(ctx, b, k, answer, &a)
	a.Outcome = answered.String()
	if f != nil {
		a.Outcome = f.class.String()
	}
	c.count(func(s *Stats) {
		s.Attempts++
		s.SentBytes += int64(a.SentBytes)
		s.ReceivedBytes += int64(a.ReceivedBytes)
		s.Busy += a.Took
	})
	c.opt.Logger.LogAttrs(ctx, slog.LevelDebug, "operator attempt", slog.Int("ids", a.IDs),
		slog.Int("status", a.Status), slog.String("outcome", a.Outcome), slog.Duration("took", a.Took))
	c.opt.Observe(a)
	return f
}

// ask seals b afresh, posts it and adds what the operator says to answer.
func (c *Client) ask(ctx context.Context, b *batch, k *keys, answer *schemas.Answer, a *Attempt) *failure {
	var iv [12]byte
	var nonce envelope.Nonce
	if err := errors.Join(c.random(iv[:]), c.random(nonce[:])); err != nil {
		return &failure{class: fatal, err: err}
	}
	sent := c.opt.Now()
	body := b.seal(k.cipher, envelope.Request{TimeMS: sent.UnixMilli(), Nonce: nonce, Payload: b.payload}, iv, c.opt.Binary)
	resp, err := c.post(ctx, b, k, body, a)
	if resp == nil {
		return c.networkFailure(err)
	}
	received := c.opt.Now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.measureClock(sent, received, date.Add(time.Second/2)) // Date is cut to whole seconds
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return c.statusFailure(resp, b.received, k)
	case err != nil:
		return c.networkFailure(err)
	case len(b.received) > maxAnswer:
		return c.untrusted("is larger than %d bytes", maxAnswer)
	}
	return c.accept(b, k, resp, nonce, sent, received, answer)
}

// post sends body and reads what comes back into b.received. There is a
// response without a whole body if both results are set.
func (c *Client) post(ctx context.Context, b *batch, k *keys, body *requestBody, a *Attempt) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	body.ctx = ctx
	a.SentBytes = body.Len()
	began := c.opt.Now()
	defer func() {
		a.Took = c.opt.Now().Sub(began)
		if !body.closed.Load() { // the transport may still be reading it
			b.sealed, b.text = nil, nil
		}
	}()
	resp, err := c.transport.RoundTrip(c.request(ctx, k, body))
	if err != nil {
		return nil, err
	}
	c.reached.Store(true)
	a.Status = resp.StatusCode
	err = b.receive(resp)
	a.ReceivedBytes = len(b.received)
	return resp, err
}

// request makes the HTTP request. It has no GetBody, so that the transport can
// never send the same envelope twice by itself.
func (c *Client) request(ctx context.Context, k *keys, body *requestBody) *http.Request {
	contentType := "text/plain"
	if c.opt.Binary {
		contentType = "application/octet-stream" // compared as a whole by the operator
	}
	req := &http.Request{
		Method: http.MethodPost,
		URL:    c.endpoint,
		Host:   c.endpoint.Host,
		Header: http.Header{
			"Authorization":         {k.authorization.Reveal()},
			"Content-Type":          {contentType},
			"User-Agent":            {c.opt.ClientVersion},
			"X-Uid2-Client-Version": {c.opt.ClientVersion},
		},
		Body:          body,
		ContentLength: int64(body.Len()),
	}
	return req.WithContext(ctx)
}

// seal makes the body of a request.
func (b *batch) seal(cipher *envelope.Cipher, r envelope.Request, iv [12]byte, binary bool) *requestBody {
	b.sealed = cipher.SealRequest(b.sealed[:0], r, iv)
	wire := b.sealed
	if !binary {
		n := base64.StdEncoding.EncodedLen(len(b.sealed))
		b.text = slices.Grow(b.text[:0], n)[:n]
		putBase64(b.text, b.sealed)
		wire = b.text
	}
	body := &requestBody{before: b.turn}
	body.rest.Reset(wire)
	return body
}

// receive reads the body into b.received: one byte more than allowed if it is
// too long.
func (b *batch) receive(resp *http.Response) error {
	limit := int64(maxErrorBody)
	if resp.StatusCode == http.StatusOK {
		limit = maxAnswer
	}
	buf := bytes.NewBuffer(b.received[:0])
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	b.received = buf.Bytes()
	return errors.Join(err, resp.Body.Close())
}

// accept opens a 200 and adds what it says to answer.
func (c *Client) accept(b *batch, k *keys, resp *http.Response, nonce envelope.Nonce, sent, received time.Time, answer *schemas.Answer) *failure {
	raw := b.received
	// By its own type, not by that of the request: operators fall back to text.
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || mediaType != "application/octet-stream" {
		n := base64.StdEncoding.DecodedLen(len(raw))
		b.decoded = slices.Grow(b.decoded[:0], n)[:n]
		if n, err = base64.StdEncoding.Decode(b.decoded, raw); err != nil {
			return c.untrusted("is neither base64 nor marked as binary")
		}
		raw = b.decoded[:n]
	}
	b.plain = slices.Grow(b.plain[:0], len(raw))
	r, err := k.cipher.OpenResponse(b.plain, raw, nonce)
	if err != nil {
		return c.untrusted("is not authentic: %w", err)
	}
	stamp := time.UnixMilli(r.TimeMS)
	if stamp.Before(sent.Add(-maxDrift)) || stamp.After(received.Add(maxDrift)) {
		return c.untrusted("carries a time that is not now")
	}
	c.measureClock(sent, received, stamp)
	known := len(answer.OptedOut)
	optedOut, err := b.parse(r.Payload, r.TimeMS+maxFuture.Milliseconds(), answer.OptedOut)
	if err != nil {
		answer.OptedOut = optedOut[:known]
		return c.untrusted("cannot be used: %w", err)
	}
	answer.OptedOut = optedOut
	answer.AsOfMS = min(answer.AsOfMS, r.TimeMS)
	return nil
}

// measureClock notes how far this machine's clock is ahead of the operator's,
// which showed operator some time between sent and received.
func (c *Client) measureClock(sent, received, operator time.Time) {
	skew := sent.Add(received.Sub(sent) / 2).Sub(operator)
	warn := false
	c.count(func(s *Stats) {
		warn = !c.skewWarned && skew.Abs() > warnSkew
		c.skewWarned = c.skewWarned || warn
		s.ClockSkew, s.ClockMeasured = skew, true
	})
	if warn {
		c.opt.Logger.Warn(clockWords(skew), "limit", "60s")
	}
}
