// Package delivery sends short messages over HTTP: with a time limit for each
// attempt, a few attempts, and errors that name the host and never the rest of
// a URL, which may hold a secret.
package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"optsweep/schemas"
)

// Defaults of Options.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultAttempts = 4
	DefaultPause    = 500 * time.Millisecond
)

// maxPause bounds a pause, whatever the receiver asks for.
const maxPause = 5 * time.Second

// maxRead is how much of an answer is read, in bytes. Nothing is done with it.
const maxRead = 64 << 10

// Options of a Sender. The zero value is the usual one.
type Options struct {
	Timeout  time.Duration // of one attempt
	Attempts int           // at the most
	Pause    time.Duration // at the most, before the second attempt; it doubles
	TLS      *tls.Config   // for tests
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	client *http.Client
	o      Options
}

// New makes a Sender.
func New(o Options) *Sender {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Pause <= 0 {
		o.Pause = DefaultPause
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: o.TLS,
		MaxIdleConns: 8, IdleConnTimeout: 10 * time.Second, MaxResponseHeaderBytes: maxRead,
	}
	return &Sender{o: o, client: &http.Client{
		Transport: t,
		// A redirect could take the message to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close gives up idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Message is what is sent.
type Message struct {
	Method string
	URL    schemas.Secret
	Type   string // media type of Body
	Body   []byte
	Header func(http.Header) // adds to the header of every attempt; may be nil
}

// Send sends m until it is accepted with a status from 200 to 299, or until
// trying again makes no sense: after other statuses than 408, 429 and 5xx, a
// bad certificate, the last attempt, or the end of ctx.
func (s *Sender) Send(ctx context.Context, m Message) error {
	u, err := url.Parse(m.URL.Reveal())
	if err != nil || u.Host == "" {
		return errors.New("not a URL")
	}
	pause := s.o.Pause
	for attempt := 1; ; attempt++ {
		again, wait, err := s.attempt(ctx, m, u)
		if err == nil {
			return nil
		}
		if !again || attempt == s.o.Attempts || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", u.Host, err)
		}
		if wait == 0 {
			wait = time.Duration(rand.Int64N(int64(pause)) + 1)
		}
		timer := time.NewTimer(min(wait, maxPause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", u.Host, err)
		}
		pause *= 2
	}
}

// attempt tells whether another attempt makes sense, and how long the receiver
// wants to be left alone.
func (s *Sender) attempt(ctx context.Context, m Message, u *url.URL) (again bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, errTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, m.Method, u.String(), bytes.NewReader(m.Body))
	if err != nil {
		return false, 0, errors.New("not a request")
	}
	req.Header.Set("User-Agent", "optsweep")
	if m.Type != "" {
		req.Header.Set("Content-Type", m.Type)
	}
	if m.Header != nil {
		m.Header(req.Header)
	}
	answer, err := s.client.Do(req)
	if err != nil {
		return !isBadCertificate(err), 0, plain(ctx, err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxRead)
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return false, 0, nil
	}
	again = answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout || answer.StatusCode >= 500
	if seconds, err := time.ParseDuration(answer.Header.Get("Retry-After") + "s"); err == nil && seconds > 0 {
		wait = seconds
	}
	return again, wait, fmt.Errorf("status %d", answer.StatusCode)
}

var errTimeout = errors.New("no answer in time")

// plain is err without the URL.
func plain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return errTimeout
	} else if cause != nil {
		return errors.New("cancelled")
	}
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

func isBadCertificate(err error) bool {
	bad := (*tls.CertificateVerificationError)(nil)
	return errors.As(err, &bad)
}
