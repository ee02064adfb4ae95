package bigquery

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"optsweep/connectors/bigquery/bqfake"
	"optsweep/schemas"
)

// everyFault makes the tests of faults try each at each call.
var everyFault = flag.Bool("faults", false, "try every fault at every call, which takes minutes")

// scenario is a table and how it is written back.
type scenario struct {
	name    string
	options Options
	world   func(testing.TB) *world
	beside  bool // like another one for the most part: without -faults only a sample of calls fails
}

func scenarios() []scenario {
	var list []scenario
	for _, mode := range modes {
		list = append(list, scenario{string(mode), fakeOptions(mode), newWorld, false})
	}
	list = append(list, scenario{"column added", fakeOptions(Column), newWorldWithoutFlags, true})
	parts := fakeOptions(Remove)
	parts.Partitions = []string{"part = 'x'", "part = 'y'"}
	list = append(list, scenario{"remove by parts", parts, newWorld, true})
	view := fakeOptions(Suppression)
	return append(list, scenario{"suppression, old view", view, func(t testing.TB) *world {
		w := newWorld(t)
		w.server.CreateView("p.d.crm_active", "SELECT 1", viewMark+" the rows of p.d.crm without a suppressed id")
		return w
	}, true})
}

// newWorldWithoutFlags is newWorld before the first run.
func newWorldWithoutFlags(t testing.TB) *world {
	w := newWorld(t)
	rows := crmFakeRows()
	for _, r := range rows {
		delete(r, "opted_out_since")
	}
	w.server.Create(crmName, crmFields()[:3], rows...)
	return w
}

// undisturbed is how a scenario goes without faults.
type undisturbed struct {
	calls   int
	states  string
	figures []schemas.Receipt
	effects map[string]int
}

func (s scenario) undisturbed(t *testing.T) undisturbed {
	t.Helper()
	w := s.world(t)
	r := w.must(w.table(s.options))
	w.discreet()
	return undisturbed{len(w.server.Calls()), w.states(), figures(r), w.effects()}
}

// check fails the test unless a world has become what it would have without
// faults.
func (u undisturbed) check(w *world, r []schemas.Receipt) {
	w.Helper()
	if got := w.states(); got != u.states {
		w.Errorf("tables:\n%s\nwant:\n%s", got, u.states)
	}
	if got := figures(r); !slices.Equal(got, u.figures) {
		w.Errorf("receipts %+v\nwant     %+v", got, u.figures)
	}
	if got := fmt.Sprint(w.effects()); got != fmt.Sprint(u.effects) {
		w.Errorf("jobs with effect: %s, want %v", got, u.effects)
	}
}

// A process that dies at any request, before or after it had its effect, is
// followed by one that ends as if nothing had happened.
func TestKilledAtEveryCall(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := s.undisturbed(t)
			points := 0
			for _, stored := range []bool{false, true} {
				for k := 1; k <= want.calls; k++ {
					if s.beside && !*everyFault && k%5 != 0 {
						continue
					}
					points++
					t.Run(fmt.Sprintf("%t/%d", stored, k), func(t *testing.T) {
						w := s.world(t)
						w.server.Kill(k, stored)
						_, died := sweep(t.Context(), w.table(s.options), fakeOptedOut())
						w.server.Revive()
						r, err := sweep(t.Context(), w.table(s.options), fakeOptedOut())
						if err != nil {
							t.Fatalf("killed at %+v: then %v", w.server.Calls()[k-1], err)
						}
						want.check(w, r)
						w.discreet(died)
					})
				}
			}
			t.Logf("%d points of %d calls", points, want.calls)
		})
	}
}

// passing are faults that go away by themselves. The client library itself
// repeats some of them, after up to a second.
func passing() []bqfake.Fault {
	return []bqfake.Fault{
		{Status: http.StatusBadRequest, Reason: "jobInternalError", Message: "Retry.", Code: codes.Internal},
		{Status: http.StatusServiceUnavailable, Reason: "backendError", Message: "Retry.", Code: codes.Unavailable},
		{Close: true, Code: codes.Unavailable},
		{Status: http.StatusForbidden, Reason: "rateLimitExceeded", Message: "Too fast.", Code: codes.ResourceExhausted},
		{Status: http.StatusInternalServerError, Reason: "internalError", Message: "Retry.", Code: codes.Unavailable},
		{Close: true, Code: codes.Aborted},
		{Status: http.StatusTooManyRequests, Reason: "jobRateLimitExceeded", Message: "Too fast.", Code: codes.Aborted},
	}
}

// One process gets past a passing fault of any request.
func TestPassingFaultAtEveryCall(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := s.undisturbed(t)
			points, faults := 0, passing()
			var group errgroup.Group
			group.SetLimit(48) // most of them wait
			for i, fault := range faults {
				for _, stored := range []bool{false, true} {
					for k := 1; k <= want.calls; k++ {
						if !*everyFault && (k%len(faults) != i || s.beside && k%3 != 0) {
							continue
						}
						points++
						group.Go(func() error {
							part := &subtest{TB: t}
							defer part.end()
							w := s.world(part)
							f := fault
							f.Stored = stored
							w.server.On(func(c bqfake.Call) bool { return c.N == k }, 0, f)
							r, err := sweep(t.Context(), w.table(s.options), fakeOptedOut())
							if err != nil {
								t.Errorf("%s (stored: %t) of %+v: %v", fault.Reason, stored, w.server.Calls()[k-1], err)
								return nil
							}
							want.check(w, r)
							return nil
						})
					}
				}
			}
			_ = group.Wait()
			t.Logf("%d points of %d calls", points, want.calls)
		})
	}
}

// subtest is a part of a test that cleans up behind itself.
type subtest struct {
	testing.TB
	cleanups []func()
}

func (s *subtest) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *subtest) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}
