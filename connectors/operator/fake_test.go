package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/connectors/operator"
	"optsweep/schemas"

	"go.uber.org/goleak"
)

const (
	testKey    = "EUID-C-I-123-abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	otherKey   = "EUID-C-I-123-ghijkl.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB="
	testSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

var otherSecret = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))

// since is the opted_out_since of every opted-out id of the fake.
const since = int64(1764547200000)

// proxyHits counts requests that reach the proxy of HTTP_PROXY. Loopback
// addresses never go through it.
var proxyHits atomic.Int64

func TestMain(m *testing.M) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxyHits.Add(1)
		http.Error(w, "", http.StatusProxyAuthRequired)
	}))
	_ = os.Setenv("HTTP_PROXY", proxy.URL)
	_ = os.Setenv("HTTPS_PROXY", proxy.URL)
	code := m.Run()
	proxy.Close()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// request is what the fake saw of one attempt.
type request struct {
	header   http.Header
	envelope []byte
	timeMS   int64
	nonce    envelope.Nonce
	ids      []string
}

// reply is what a script of the fake answers with.
type reply struct {
	w   http.ResponseWriter
	r   *http.Request
	n   int // of the attempt, from 1
	req request
	f   *fake
}

// fake is an operator with scripted faults.
type fake struct {
	*httptest.Server
	t        testing.TB
	key      string
	cipher   *envelope.Cipher
	optedOut map[string]int64
	maxIDs   int
	ahead    time.Duration // its clock against the real one
	noDate   bool
	script   func(reply) bool // true: it has answered; runs after auth and decryption
	first    func(reply) bool // the same, before them

	mu       sync.Mutex
	requests []request
	busy     int
	mostBusy int
	conns    atomic.Int64
}

func newFake(t testing.TB, configure ...func(*fake)) *fake {
	t.Helper()
	cipher, err := envelope.NewCipher(schemas.NewSecret(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, key: testKey, cipher: cipher, optedOut: map[string]int64{}, maxIDs: operator.MaxBatch}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}
	for _, c := range configure {
		c(f)
	}
	if f.URL == "" {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if f.noDate {
		w.Header()["Date"] = nil
	} else {
		w.Header().Set("Date", time.Now().Add(f.ahead).UTC().Format(http.TimeFormat))
	}
	if r.URL.Path == "/ops/healthcheck" {
		_, _ = io.WriteString(w, "OK")
		return
	}
	f.mu.Lock()
	f.busy++
	f.mostBusy = max(f.mostBusy, f.busy)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy--
		f.mu.Unlock()
	}()

	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	binary := r.Header.Get("Content-Type") == "application/octet-stream"
	sealed := body
	if !binary {
		if sealed, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			f.t.Error("body is not base64")
		}
	}
	req := request{header: r.Header.Clone(), envelope: sealed}
	opened, openErr := f.cipher.OpenRequest(nil, sealed)
	if openErr == nil {
		var payload struct {
			IDs []string `json:"advertising_ids"`
		}
		if err := json.Unmarshal(opened.Payload, &payload); err != nil {
			f.t.Error("payload is not JSON")
		}
		req.timeMS, req.nonce, req.ids = opened.TimeMS, opened.Nonce, payload.IDs
	}
	f.mu.Lock()
	f.requests = append(f.requests, req)
	n := len(f.requests)
	f.mu.Unlock()

	re := reply{w: w, r: r, n: n, req: req, f: f}
	skew := time.Duration(req.timeMS-time.Now().Add(f.ahead).UnixMilli()) * time.Millisecond
	switch {
	case f.first != nil && f.first(re):
	case r.Method != http.MethodPost || r.URL.Path != "/v2/optout/status":
		http.NotFound(w, r)
	case r.Header.Get("Authorization") != "Bearer "+f.key:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"status":"unauthorized"}`)
	case openErr != nil:
		re.badRequest("Invalid body: Check encryption key (ClientSecret). See https://euid.eu/docs/ for details.")
	case skew.Abs() >= 120*time.Second:
		re.badRequest("Invalid timestamp: Request too old or client time drift.")
	case f.script != nil && f.script(re):
	case len(req.ids) > f.maxIDs:
		re.badRequest("Request payload is too large")
	default:
		re.answer(re.verdicts())
	}
}

func (re reply) badRequest(message string) bool {
	re.w.Header().Set("Content-Type", "application/json")
	re.w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(re.w).Encode(map[string]string{"status": "client_error", "message": message})
	return true
}

func (re reply) status(code int, body string) bool {
	re.w.WriteHeader(code)
	_, _ = io.WriteString(re.w, body)
	return true
}

// verdicts is the JSON of a right answer.
func (re reply) verdicts() string {
	list := []string{}
	for _, id := range re.req.ids {
		if at, ok := re.f.optedOut[id]; ok {
			list = append(list, fmt.Sprintf(`{"advertising_id":"%s","opted_out_since":%d}`, id, at))
		}
	}
	return `{"body":{"opted_out":[` + strings.Join(list, ",") + `]},"status":"success"}`
}

// answer seals payload as the answer to this request.
func (re reply) answer(payload string) bool {
	return re.answerAs(payload, re.req.nonce, time.Now().Add(re.f.ahead))
}

func (re reply) answerAs(payload string, nonce envelope.Nonce, at time.Time) bool {
	var iv [12]byte
	_, _ = rand.Read(iv[:])
	sealed := re.f.cipher.SealResponse(nil, envelope.Request{TimeMS: at.UnixMilli(), Nonce: nonce, Payload: []byte(payload)}, iv)
	if re.r.Header.Get("Content-Type") == "application/octet-stream" {
		re.w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = re.w.Write(sealed)
		return true
	}
	re.w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(re.w, base64.StdEncoding.EncodeToString(sealed))
	return true
}

// drop closes the connection without an answer.
func (re reply) drop() bool {
	conn, _, err := re.w.(http.Hijacker).Hijack()
	if err != nil {
		re.f.t.Error(err)
		return true
	}
	_ = conn.Close()
	return true
}

func (f *fake) seen() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request(nil), f.requests...)
}

// optOut makes ids opted out.
func (f *fake) optOut(ids ...schemas.ID) {
	for _, id := range ids {
		f.optedOut[text(id)] = since
	}
}

// clock notes sleeps instead of sleeping.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	slept  []time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	if len(c.slept) > 100 {
		return errors.New("retries do not end")
	}
	return ctx.Err()
}

// setup is a client of a fake.
type setup struct {
	operator.Options
	clock *clock
	log   *bytes.Buffer
	loads atomic.Int64
}

func newClient(t testing.TB, f *fake, configure ...func(*setup)) (*operator.Client, *setup) {
	t.Helper()
	s := &setup{clock: &clock{}, log: &bytes.Buffer{}}
	var logMu sync.Mutex
	s.Options = operator.Options{
		Kind: operator.Public, URL: f.URL, Scope: schemas.EUID, Environment: schemas.Integration,
		Credentials: func(context.Context) (operator.Credentials, error) {
			s.loads.Add(1)
			return credentials(testKey, testSecret), nil
		},
		Logger: slog.New(slog.NewTextHandler(lockedWriter{&logMu, s.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    s.clock.now,
		Sleep:  s.clock.sleep,
	}
	for _, c := range configure {
		c(s)
	}
	c, err := operator.New(s.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func credentials(key, secret string) operator.Credentials {
	return operator.Credentials{APIKey: schemas.NewSecret(key), ClientSecret: schemas.NewSecret(secret)}
}

// makeIDs makes n different EUIDs in ascending order; every third is a v2 id.
func makeIDs(n int) []schemas.ID {
	ids := make([]schemas.ID, 0, n)
	for _, v2 := range []bool{false, true} {
		for i := range n {
			if (i%3 == 0) != v2 {
				continue
			}
			raw := make([]byte, 33)
			raw[0] = 0x10
			raw[1], raw[2], raw[3], raw[31] = byte(i>>16), byte(i>>8), byte(i), 7
			if v2 {
				raw = raw[1:]
			}
			id, err := schemas.FromRaw(raw)
			if err != nil {
				panic(err)
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func text(id schemas.ID) string { return string(id.AppendText(nil)) }
