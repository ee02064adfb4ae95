package bqtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
)

// serveREST opens a REST API on a free port.
func (em *Emulator) serveREST(hook Hook) (*http.Server, string, error) {
	l, err := listen()
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{Handler: &restProxy{em: em, hook: hook, counts: map[string]int{}, address: l.Addr().String()}}
	go func() { _ = server.Serve(l) }()
	return server, l.Addr().String(), nil
}

// restProxy is one REST API in front of the emulator.
type restProxy struct {
	em      *Emulator
	hook    Hook
	address string

	mu     sync.Mutex
	counts map[string]int // calls by method and path
}

// answer is a whole HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func errorAnswer(status int, reason, message string) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: errorBody(status, reason, message)}
}

func (p *restProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	call := Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Body: body, N: p.count(r)}
	var response *Response
	if p.hook != nil {
		response = p.hook(call)
	}
	var a answer
	if response == nil || response.Forward {
		if a, err = p.mended(r, call); err != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
	}
	switch {
	case response == nil:
	case response.Edit != nil:
		a.status, a.body = response.Edit(a.status, a.body)
	case response.Status == 0:
		panic(http.ErrAbortHandler)
	default:
		a = answer{status: response.Status, header: http.Header{"Content-Type": {"application/json"}}, body: response.Body}
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (p *restProxy) count(r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	p.counts[key]++
	return p.counts[key]
}

// forward passes a request to the emulator.
func (p *restProxy) forward(r *http.Request, body []byte) (answer, error) {
	out := r.Clone(r.Context())
	(&httputil.ProxyRequest{In: r, Out: out}).SetURL(p.em.backURL())
	out.RequestURI = ""
	out.Header.Del("Accept-Encoding") // answers are read here
	out.Header.Del("Connection")
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	a, err := p.em.send(out)
	if err != nil && r.Context().Err() == nil {
		if died := p.em.Died(); died != nil {
			err = died
		}
		// A status that no client retries, so that the test fails at once.
		return errorAnswer(http.StatusNotImplemented, "notImplemented", err.Error()), nil
	}
	return a, err
}

// send does a request to the emulator.
func (em *Emulator) send(r *http.Request) (answer, error) {
	em.turn.Lock()
	defer em.turn.Unlock()
	resp, err := em.back.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("reading the emulator's answer: %w", err)
	}
	resp.Header.Del("Content-Length")
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// locate makes the URL of a resumable upload lead through the proxy.
//
// Emulator: with port 0 it is http://127.0.0.1:0/..., as asked for and not as
// opened.
func (p *restProxy) locate(header http.Header) {
	const scheme = "http://"
	location, ok := strings.CutPrefix(header.Get("Location"), scheme)
	if !ok {
		return
	}
	if _, path, ok := strings.Cut(location, "/"); ok {
		header.Set("Location", scheme+p.address+"/"+path)
	}
}
