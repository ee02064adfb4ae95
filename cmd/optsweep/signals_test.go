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
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"optsweep/schemas"
)

// receiver is a server that keeps the bodies that it is sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string]string // by path
}

func newReceiver(l net.Listener, seen func(text string)) *receiver {
	r := &receiver{bodies: map[string]string{}}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		text := fmt.Sprintf("%s %s %v\n%s\n", q.Method, q.URL, q.Header, body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies[q.URL.Path] += string(body) + "\n"
		seen(text)
	}))
	if l != nil {
		_ = r.Listener.Close()
		r.Listener = l
	}
	r.Start()
	return r
}

// body gives all bodies that were sent to a path.
func (r *receiver) body(path string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies[path]
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

const allSignals = `
metrics: {textfile: told.prom, pushgateway: {env: GATEWAY}}
lineage: {file: told.ndjson, url: {env: LINEAGE}, api_key: {env: LINEAGE_KEY}}
tracing: {endpoint: {env: TRACES}, authorization: {env: LINEAGE_KEY}}
heartbeat: {url: {env: BEAT}, method: POST}
notify:
  - {kind: webhook, url: {env: HOOK}, secret: {file: client_secret}, on: [failed, missed, canary, limit, gate, first_hit, quarantine]}
  - {kind: slack, url: {env: SLACK}, on: [failed, missed, canary, limit, gate, first_hit, quarantine]}
`

// signals runs jobs that tell everything to everybody, also when things go
// wrong, and looks through all that they tell.
func (p *privacy) signals() {
	r := newReceiver(nil, func(string) {})
	defer r.Close()
	const token = "Zm9yLXlvdXItZXllcy1vbmx5LTQ3MTE"
	p.secrets.text("a URL", []byte(token))
	p.env["LINEAGE_KEY"] = "bGluZWFnZS1hcGkta2V5LTA4MTU"
	p.secrets.text("an API key of lineage", []byte(p.env["LINEAGE_KEY"]))
	paths := map[string]string{"GATEWAY": "/metrics/job/remote", "LINEAGE": "", "TRACES": "", "BEAT": "", "HOOK": "", "SLACK": ""}
	for name := range paths {
		paths[name] = "/" + name + "/" + token + paths[name]
		p.env[name] = strings.TrimSuffix(r.URL+paths[name], "/metrics/job/remote")
	}
	p.write("canaries.csv", "id,expected\n"+p.optedOut+",clear\n")
	p.patience = 10 * time.Second
	stop := p.serve("")
	for n, change := range [][]string{
		{"{file: client_secret}\n", "{file: client_secret}\n  canaries: {file: canaries.csv}\n"},
		{"workspace: ws", "workspace: told\nlimits: {max_quarantined: 0%}"},
		{"workspace: ws", "workspace: told\nlimits: {max_new_flags: 0%}"},
		{}, // before this nothing is flagged
		{"api_key: {file: api_key}", "api_key: {file: client_secret}"},
		{"api_key: {file: api_key}", "api_key: {env: NONE}"},
		{"data/*.parquet", "client*"},
		{"id_column: euid", "id_column: none"},
	} {
		config := "--config=" + p.job("told.yaml", append(change, "workspace: ws", "workspace: told")...)
		file, err := os.OpenFile(p.path("told.yaml"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := io.WriteString(file, allSignals); err != nil {
			p.t.Fatal(err)
		}
		_ = file.Close()
		if n == 0 {
			p.run("", "init", config)
		}
		p.run("", "run", config)
		p.run("", "doctor", config)
	}
	stop()
	for name, path := range paths {
		body := r.body(path)
		if what := p.secrets.find([]byte(body)); what != "" {
			p.t.Errorf("%s is told %s", name, what)
		}
		if strings.Contains(body, schemas.Hidden) {
			p.t.Errorf("%s needed the mask", name)
		}
		if name != "BEAT" && len(body) < 100 {
			p.t.Errorf("%s was told %q only", name, body)
		}
	}
	for _, event := range schemas.NoticeEvents() {
		told := strings.Contains(r.body(paths["HOOK"]), `"event":"`+event+`"`)
		if event != schemas.NoticeMissed && event != schemas.NoticeGate && !told {
			p.t.Errorf("no notice of %s was looked at", event)
		}
	}
	// Receivers that are gone must not be named either.
	r.Close()
	p.run("", "run", "--config="+p.path("told.yaml"))
}
