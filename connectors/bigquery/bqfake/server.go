package bqfake

import (
	"net"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc"
)

// T is what the fake needs of a test; testing.TB has it all.
type T interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is one BigQuery. It is safe for concurrent use.
type Server struct {
	storagepb.UnimplementedBigQueryReadServer

	Endpoint     string // REST
	GRPCEndpoint string // Storage Read API

	mu       sync.Mutex
	datasets map[string]*dataset
	tables   map[string]*table
	jobs     map[string]*job
	order    []*job             // jobs as they came
	uploads  map[string]*upload // resumable, by name
	streams  map[string]*stream // of read sessions, by name
	clock    int64              // counts changes
	serial   int                // numbers what has no name of its own
	calls    []Call
	faults   []*faultRule
	fates    []*fateRule
	dead     death
	denied   map[string]bool // permissions
	per      int             // rows in a message of ReadRows
	width    int             // streams in a session
}

// New starts a server that ends with the test.
func New(t T) *Server {
	t.Helper()
	s := &Server{
		datasets: map[string]*dataset{}, tables: map[string]*table{}, jobs: map[string]*job{},
		uploads: map[string]*upload{}, streams: map[string]*stream{}, denied: map[string]bool{},
		per: 2, width: 2,
	}
	rest, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	storage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = rest.Close()
		t.Fatalf("%v", err)
	}
	s.Endpoint, s.GRPCEndpoint = "http://"+rest.Addr().String(), storage.Addr().String()
	web := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	rpc := grpc.NewServer()
	storagepb.RegisterBigQueryReadServer(rpc, s)
	var done sync.WaitGroup
	done.Go(func() { _ = web.Serve(rest) })
	done.Go(func() { _ = rpc.Serve(storage) })
	t.Cleanup(func() {
		_ = web.Close()
		rpc.Stop()
		done.Wait()
	})
	return s
}

// Reading sets how many rows a message of ReadRows has, and how many streams a
// session has at most.
func (s *Server) Reading(rows, streams int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.per, s.width = rows, streams
}

// Deny takes a permission away that testIamPermissions asks for.
func (s *Server) Deny(permission string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[permission] = true
}
