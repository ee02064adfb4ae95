package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver is a server that keeps all that it is sent: method, URL, headers
// and body.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all strings.Builder
}

func newReceiver(l net.Listener, seen func(text string)) *receiver {
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		text := fmt.Sprintf("%s %s %v\n%s\n", q.Method, q.URL, q.Header, body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all.WriteString(text)
		seen(text)
	}))
	if l != nil {
		_ = r.Listener.Close()
		r.Listener = l
	}
	r.Start()
	return r
}

func (r *receiver) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// receives FILE starts a server at $ADDRESS that appends to FILE what it is
// sent.
func receives(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receives FILE")
	}
	l, err := net.Listen("tcp", ts.Getenv("ADDRESS"))
	ts.Check(err)
	file := ts.MkAbs(args[0])
	r := newReceiver(l, func(text string) {
		f, err := os.OpenFile(filepath.Clean(file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = io.WriteString(f, text)
			_ = f.Close()
		}
	})
	ts.Defer(r.Close)
}
