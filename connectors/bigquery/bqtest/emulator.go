package bqtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Emulator is a running emulator behind its proxies.
type Emulator struct {
	process *process
	back    *http.Client // to the emulator
	turn    sync.Mutex   // held by the one request that the emulator works on
	front   *http.Server
	storage *storageProxy
	rest    string // host and port of the REST proxy
	grpc    string

	mu       sync.Mutex
	failed   map[string]failure // jobs that failed, by id
	versions map[string]version // of tables, by full name
}

// Start builds the emulator if need be, starts it, and waits until it and its
// proxies listen. ctx limits the start only.
func Start(ctx context.Context) (*Emulator, error) {
	path, err := binary(ctx)
	if err != nil {
		return nil, fmt.Errorf("building the BigQuery emulator: %w", err)
	}
	p, err := startProcess(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("starting the BigQuery emulator: %w", err)
	}
	em := &Emulator{
		process: p, back: &http.Client{Transport: &http.Transport{DisableCompression: true}},
		failed: map[string]failure{}, versions: map[string]version{},
	}
	if em.front, em.rest, err = em.serveREST(nil); err != nil {
		p.stop()
		return nil, err
	}
	if em.storage, em.grpc, err = em.serveStorage(); err != nil {
		_ = em.front.Close()
		p.stop()
		return nil, err
	}
	return em, nil
}

// Close ends the emulator and its proxies.
func (em *Emulator) Close() {
	_ = em.front.Close()
	em.storage.close()
	em.process.stop()
	em.back.CloseIdleConnections()
}

// Project is the project that every dataset is in.
func (em *Emulator) Project() string { return project }

// Endpoint is the URL of the REST API.
func (em *Emulator) Endpoint() string { return "http://" + em.rest }

// GRPCEndpoint is the address, without TLS, of the Storage Read and Write APIs.
func (em *Emulator) GRPCEndpoint() string { return em.grpc }

// RESTOptions are what a client of the REST API needs.
func (em *Emulator) RESTOptions() []option.ClientOption {
	return []option.ClientOption{option.WithEndpoint(em.Endpoint()), option.WithoutAuthentication()}
}

// GRPCOptions are what a client of the Storage Read or Write API needs.
func (em *Emulator) GRPCOptions() []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(em.grpc), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// Died is an error with the emulator's last output if it has ended.
func (em *Emulator) Died() error { return em.process.died() }

// Output is the end of what the emulator printed.
func (em *Emulator) Output() string { return string(em.process.output.tail()) }

// Hooked opens another REST API of the same emulator, whose requests go
// through hook, and returns its URL. It closes when the test ends. Tests that
// run at the same time do not meet each other's hooks.
func (em *Emulator) Hooked(t T, hook Hook) (endpoint string) {
	t.Helper()
	server, address, err := em.serveREST(hook)
	if err != nil {
		t.Fatalf("opening a hooked endpoint: %v", err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + address
}

// listen opens a free port of the loopback.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// shared is the emulator of the test binary.
var shared struct {
	sync.Mutex
	em  *Emulator
	err error
}

// startLimit is enough for a build from nothing on a small machine.
const startLimit = 9 * time.Minute

// Shared is the one emulator of this test binary. The first call starts it;
// the tests that Around wraps end it.
func Shared(t T) *Emulator {
	t.Helper()
	need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.em == nil && shared.err == nil {
		ctx, cancel := context.WithTimeoutCause(context.Background(), startLimit, errors.New("it took too long"))
		defer cancel()
		shared.em, shared.err = Start(ctx)
	}
	if shared.err != nil {
		t.Fatalf("%v", shared.err)
	}
	return shared.em
}

// need leaves a test out where there is no emulator.
func need(t T) {
	t.Helper()
	switch ok, err := ready(); {
	case err != nil:
		t.Fatalf("%v", err)
	case !ok:
		t.Skipf("left out: no BigQuery emulator was built yet; make emulator builds it in some minutes")
	}
}

// New starts an emulator for one test. It is started in a fraction of a second,
// and the fewer tables it has the faster it answers.
func New(t T) *Emulator {
	t.Helper()
	need(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), startLimit, errors.New("it took too long"))
	defer cancel()
	em, err := Start(ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(em.Close)
	return em
}

// Tests is what runs the tests of a package: a *testing.M, for one.
type Tests interface{ Run() int }

// Around runs tests and then ends the emulator that they shared, if any.
// TestMain exits with Around(m).Run(), or gives Around(m) to whatever runs m.
func Around(tests Tests) Tests { return around{tests} }

type around struct{ tests Tests }

func (a around) Run() int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.em != nil {
			shared.em.Close()
			shared.em = nil
		}
	}()
	return a.tests.Run()
}
