package embedded

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
)

// Every error that is not about the envelope.
func TestRoutes(t *testing.T) {
	r := newRig(t, nil)
	tooLong := bytes.Repeat([]byte("A"), maxBody+1)
	for _, tc := range []struct {
		name, method, path string
		body               io.Reader
		status             int
		want, contentType  string
	}{
		{"unknown path", "GET", "/v2/token/generate", nil, 404, "<html><body><h1>Resource not found</h1></body></html>", "text/html; charset=utf-8"},
		{"root", "GET", "/", nil, 404, "<html><body><h1>Resource not found</h1></body></html>", "text/html; charset=utf-8"},
		{"status by GET", "GET", StatusPath, nil, 405, "", ""},
		{"status by PUT", "PUT", StatusPath, strings.NewReader("x"), 405, "", ""},
		{"health by POST", "POST", HealthPath, nil, 405, "", ""},
		{"metrics by POST", "POST", MetricsPath, nil, 405, "", ""},
		{"health", "GET", HealthPath, nil, 200, "OK", "text/plain"},
		{"too long without a key", "POST", StatusPath, bytes.NewReader(tooLong), 413, "Request Too Long", "text/plain"},
		{"too long, length unknown", "POST", StatusPath, io.MultiReader(bytes.NewReader(tooLong)), 413, "Request Too Long", "text/plain"},
		{"longest, without a key", "POST", StatusPath, bytes.NewReader(tooLong[1:]), 401, `{"status":"unauthorized"}`, "application/json"},
		{"longest, length unknown", "POST", StatusPath, io.MultiReader(bytes.NewReader(tooLong[1:])), 401, `{"status":"unauthorized"}`, "application/json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r.server.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, tc.body))
			if w.Code != tc.status || w.Body.String() != tc.want || w.Header().Get("Content-Type") != tc.contentType {
				t.Errorf("%d %q %.100s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
		})
	}
	w := r.post(nil, func(req *http.Request) { req.Header.Set("X-Amzn-Trace-Id", "Root=1") })
	if w.Header().Get("X-Amzn-Trace-Id") != "Root=1" {
		t.Error("the trace id is not echoed")
	}
}

// Without a loaded log nothing is answered, least of all "not opted out".
func TestNotReady(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Store = optoutlog.New(optoutlog.Options{Dir: t.TempDir()}) })
	if w := r.get(HealthPath); w.Code != 503 || w.Body.String() != "opt-out log is not loaded yet" {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if w := r.post(text(r.seal(vectorMS, `{"advertising_ids":[]}`)), nil); w.Code != 503 {
		t.Errorf("status %d %s", w.Code, w.Body)
	}
	r.server.Refresh(t.Context()) // the folder is empty
	if w := r.get(HealthPath); w.Code != 503 || !strings.Contains(w.Body.String(), "holds no entries") {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
}

// A bad log file keeps the old answers and shows in the health check.
func TestDegraded(t *testing.T) {
	r := newRig(t, nil)
	bad := filepath.Join(r.dir, "optout-delta-000_2026-01-01T00.00.00Z_00000001.dat")
	if err := os.WriteFile(bad, make([]byte, 71), 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.Refresh(t.Context())
	if w := r.get(HealthPath); w.Code != 503 || !strings.Contains(w.Body.String(), "not whole entries") {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if got := r.ask(euidV3); got != oneOptedOut {
		t.Error(got)
	}
	if _, err := NewChecker(r.store); err == nil || schemas.HintOf(err) == "" {
		t.Errorf("a checker over a degraded store: %v", err)
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	r.server.Refresh(t.Context())
	if w := r.get(HealthPath); w.Code != 200 {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
}

func TestChecker(t *testing.T) {
	if _, err := NewChecker(optoutlog.New(optoutlog.Options{Dir: t.TempDir()})); err == nil {
		t.Error("a checker over a store that is not loaded")
	}
	r := newRig(t, nil)
	c, err := NewChecker(r.store)
	if err != nil {
		t.Fatal(err)
	}
	opted, other := parseID(t, euidV3), parseID(t, clearV3)
	answer, err := c.Check(t.Context(), []schemas.ID{other, opted, other, opted})
	if err != nil || answer.AsOfMS != vectorMS || len(answer.Rejected) != 0 || len(answer.OptedOut) != 2 ||
		answer.OptedOut[0] != (schemas.OptOut{ID: opted, SinceMS: sinceS * 1000}) {
		t.Errorf("%+v %v", answer, err)
	}
	if batch, parallel := c.Limits(); batch < 50_000 || parallel != 1 {
		t.Errorf("limits %d %d", batch, parallel)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Check(ctx, nil); err == nil {
		t.Error("a cancelled check succeeds")
	}
}

// serve runs a server until stop is called, and gives its address.
func serve(t *testing.T, s *Server) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	var once sync.Once
	stop = func() (err error) {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return ln.Addr().String(), stop
}

func (r *rig) send(client *http.Client, url, payload string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, url+StatusPath, bytes.NewReader(text(r.seal(r.nowMS, payload))))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	w := httptest.NewRecorder()
	w.Code, w.Body = resp.StatusCode, bytes.NewBuffer(b)
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	return r.open(w), nil
}

// Over TCP: connections and parallel requests per client can be read from the
// metrics, which show no id, key or secret; nor does the log.
func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	addr, stop := serve(t, r.server)
	url := "http://" + addr
	one := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	payload := `{"advertising_ids":["` + euidV3 + `","` + clearV3 + `"]}`
	for range 5 {
		if got, err := r.send(one, url, payload); err != nil || got != oneOptedOut {
			t.Fatal(got, err)
		}
	}
	two := &http.Client{Transport: &http.Transport{}}
	if got, err := r.send(two, url, payload); err != nil || got != oneOptedOut {
		t.Fatal(got, err)
	}
	one.CloseIdleConnections()
	two.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	metrics := r.get(MetricsPath).Body.String()
	for _, want := range []string{
		`optsweep_operator_client_connections_total{client="crm"} 2`,
		`optsweep_operator_client_connections_open_max{client="crm"} 2`,
		`optsweep_operator_client_requests_in_flight{client="crm"} 0`,
		`optsweep_operator_client_requests_in_flight_max{client="crm"} 1`,
		`optsweep_operator_requests_total{endpoint="status",status="200"} 6`,
		`optsweep_operator_ids_total{result="asked"} 12`,
		`optsweep_operator_ids_total{result="opted_out"} 6`,
		`optsweep_operator_client_connections_open{client="crm"} 0`,
		`optsweep_operator_log_ids 1`, `optsweep_operator_healthy 0`, // shut down
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, secret := range []string{euidV3, clearV3, r.key, r.key[len(r.key)-20:]} {
		if strings.Contains(metrics, secret) || strings.Contains(r.logged.String(), secret) {
			t.Error("metrics or log show an id or a key")
		}
	}
	if !strings.Contains(r.logged.String(), "endpoint=status method=POST status=200 client=crm ids=2 opted_out=1") {
		t.Errorf("log: %s", r.logged)
	}
}

// A request under way is answered after the server was told to stop.
func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	addr, stop := serve(t, r.server)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := text(r.seal(vectorMS, `{"advertising_ids":[]}`))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", StatusPath, r.key, len(body))
	head := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, head); err != nil { // the handler reads the body now
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for !r.server.draining.Load() {
		runtime.Gosched()
	}
	if w := r.get(HealthPath); w.Code != 503 || w.Body.String() != "shutting down" {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if _, err := conn.Write(body); err != nil {
		t.Fatal(err)
	}
	if answer := readAll(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("answer %.100s", answer)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A client that sends its request too slowly loses the connection.
func TestSlowClient(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	addr, _ := serve(t, r.server)
	for name, part := range map[string]string{
		"header": "POST /v2/optout/status HTTP/1.1\r\nHost: x\r\n",
		"body":   "POST /v2/optout/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		if answer := readAll(t, conn); strings.Contains(answer, "200 OK") {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := writeCertificate(t, cert, key, 1)
	r := newRig(t, func(o *Options) { o.CertFile, o.KeyFile = cert, key })
	addr, _ := serve(t, r.server)
	client := func(pool *x509.CertPool, version uint16) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: version}}}
	}
	payload := `{"advertising_ids":["` + euidV3 + `"]}`
	if got, err := r.send(client(pool, 0), "https://"+addr, payload); err != nil || got != oneOptedOut {
		t.Fatal(got, err)
	}
	if _, err := r.send(client(pool, tls.VersionTLS11), "https://"+addr, payload); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	renewed := writeCertificate(t, cert, key, 2)
	r.server.Refresh(t.Context())
	if got, err := r.send(client(renewed, 0), "https://"+addr, payload); err != nil || got != oneOptedOut {
		t.Errorf("with the renewed certificate: %s %v", got, err)
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.Refresh(t.Context())
	if w := r.get(HealthPath); w.Code != 503 || !strings.Contains(w.Body.String(), "TLS certificate") {
		t.Errorf("health %d %s", w.Code, w.Body)
	}
	if got, err := r.send(client(renewed, 0), "https://"+addr, payload); err != nil || got != oneOptedOut {
		t.Errorf("with a broken key file: %s %v", got, err)
	}
}

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(time.Duration(serial)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// Log files and clients change while requests are answered: no answer is
// wrong, and nobody once listed is missing.
func TestHotReloadWhileAnswering(t *testing.T) {
	r := newRig(t, nil)
	ids := randomIDs(1, 300)
	payload := `{"advertising_ids":["` + euidV3 + `"`
	for _, id := range ids {
		payload += `,"` + string(id.AppendText(nil)) + `"`
	}
	payload += "]}"
	body := text(r.seal(vectorMS, payload))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			seen := 0
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				hits := strings.Count(r.open(r.post(body, nil)), "opted_out_since")
				if hits < max(seen, 1) {
					t.Errorf("%d opt-outs after %d", hits, seen)
					return
				}
				seen = hits
			}
			if seen != len(ids)+1 {
				t.Errorf("%d opt-outs in the end", seen)
			}
		})
	}
	for i := 0; i < len(ids); i += 20 {
		writeLog(t, r.dir, 5, ids[i:i+20]...)
		addClient(t, r.clients, KeyOptions{Name: fmt.Sprint("client ", i)}, nil)
		r.server.Refresh(t.Context())
	}
	close(done)
	readers.Wait()
}
