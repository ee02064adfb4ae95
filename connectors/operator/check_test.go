package operator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"optsweep/connectors/operator"
	"optsweep/schemas"
)

func TestCheckGivesEveryIDItsVerdict(t *testing.T) {
	for _, binary := range []bool{false, true} {
		t.Run(fmt.Sprintf("binary=%t", binary), func(t *testing.T) {
			ids := makeIDs(12_001) // three requests
			f := newFake(t)
			want := []schemas.ID{ids[0], ids[17], ids[4999], ids[5000], ids[12_000]}
			f.optOut(want...)
			c, s := newClient(t, f, func(s *setup) { s.Binary = binary; s.ClientVersion = "optsweep/9" })

			before := time.Now().UnixMilli()
			answer, err := c.Check(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			if got := optedOut(answer); !slices.Equal(got, want) {
				t.Errorf("%d opted out, want %d", len(got), len(want))
			}
			for _, o := range answer.OptedOut {
				if o.SinceMS != since {
					t.Errorf("since %d", o.SinceMS)
				}
			}
			if len(answer.Rejected) != 0 || answer.AsOfMS < before || answer.AsOfMS > time.Now().UnixMilli() {
				t.Errorf("%d rejected, as of %d", len(answer.Rejected), answer.AsOfMS)
			}
			seen := f.seen()
			if len(seen) != 3 || len(seen[0].ids) != 5000 || len(seen[2].ids) != 2001 {
				t.Fatalf("%d requests", len(seen))
			}
			contentType := "text/plain"
			if binary {
				contentType = "application/octet-stream"
			}
			h := seen[0].header
			if h.Get("Content-Type") != contentType || h.Get("X-UID2-Client-Version") != "optsweep/9" || h.Get("Accept-Encoding") != "" {
				t.Errorf("headers %v", h)
			}
			noSecrets(t, fmt.Sprintf("%+v %#v", c, c)+s.log.String(), f)
			stats := c.Stats()
			if stats.Batches != 1 || stats.Attempts != 3 || stats.Retries != 0 || !stats.ClockMeasured || stats.ClockSkew.Abs() > time.Second || stats.BatchLimit != 5000 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

func TestCheckOfNothingAsksNothing(t *testing.T) {
	f := newFake(t)
	c, _ := newClient(t, f)
	answer, err := c.Check(t.Context(), nil)
	if err != nil || answer.AsOfMS == 0 || len(f.seen()) != 0 {
		t.Fatalf("%v, %v, %d requests", answer, err, len(f.seen()))
	}
}

func TestDuplicatesAndOrderDoNotMatter(t *testing.T) {
	ids := makeIDs(100)
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { // an earlier time on each repetition, in reverse order
			var list []string
			for i, id := range re.req.ids {
				if _, ok := f.optedOut[id]; ok {
					list = append(list, fmt.Sprintf(`{"opted_out_since":%d,"advertising_id":"%s"}`, since-int64(i)*1000, strings.ReplaceAll(id, "/", `\/`)))
				}
			}
			slices.Reverse(list)
			return re.answer(`{"status":"success", "x":{"y":[1,"]"]}, "body" : {"opted_out":[` + strings.Join(list, " , ") + `]}}`)
		}
	})
	f.optOut(ids[3], ids[50])
	c, _ := newClient(t, f)
	shuffled := append(slices.Clone(ids), ids[50], ids[3], ids[50])
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	answer, err := c.Check(t.Context(), shuffled)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(optedOut(answer), []schemas.ID{ids[3], ids[50]}) {
		t.Fatalf("%d opted out", len(answer.OptedOut))
	}
	for _, o := range answer.OptedOut {
		last := 0
		for i, id := range shuffled {
			if id == o.ID {
				last = i
			}
		}
		if o.SinceMS != since-int64(last)*1000 {
			t.Error("not the earliest time")
		}
	}
}

// A public operator sees one connection and one request at a time, whatever
// the caller does and whatever goes wrong.
func TestPublicUsesOneConnection(t *testing.T) {
	ids := makeIDs(600)
	f := newFake(t, func(f *fake) {
		f.maxIDs = 50
		f.script = func(re reply) bool {
			switch re.n % 7 {
			case 1:
				return re.status(http.StatusTooManyRequests, "")
			case 3:
				return re.status(http.StatusBadGateway, "<html>"+strings.Repeat("x", 100_000))
			case 5:
				return re.badRequest("no")
			}
			return false
		}
	})
	f.optOut(ids...)
	c, _ := newClient(t, f)
	if _, parallel := c.Limits(); parallel != 1 {
		t.Fatalf("parallel %d", parallel)
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			answer, err := c.Check(t.Context(), ids[i*100:i*100+100])
			if err != nil {
				t.Error(err)
			}
			if len(answer.OptedOut)+len(answer.Rejected) != 100 {
				t.Errorf("%d opted out, %d rejected", len(answer.OptedOut), len(answer.Rejected))
			}
		})
	}
	wg.Wait()
	if f.conns.Load() != 1 || f.mostBusy != 1 {
		t.Errorf("%d connections, %d requests at once", f.conns.Load(), f.mostBusy)
	}
	if batch, _ := c.Limits(); batch > 50 || c.Stats().BatchLimit != batch {
		t.Errorf("limit %d not remembered", batch)
	}
}

func TestPrivateUsesAsManyConnectionsAsAllowed(t *testing.T) {
	const parallel = 4
	ids := makeIDs(parallel)
	together := make(chan struct{})
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			if re.n == parallel { // only now that all are in flight
				close(together)
			}
			<-together
			return false
		}
	})
	c, _ := newClient(t, f, func(s *setup) { s.Kind = operator.Private; s.Parallel = parallel })
	var wg sync.WaitGroup
	for round := range 3 {
		for _, id := range ids {
			wg.Go(func() {
				if _, err := c.Check(t.Context(), []schemas.ID{id}); err != nil {
					t.Error(err)
				}
			})
		}
		if round == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	if f.conns.Load() != parallel || f.mostBusy != parallel {
		t.Errorf("%d connections, %d at once", f.conns.Load(), f.mostBusy)
	}
}

func TestRetriesUntilAnswered(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(reply) bool
		asked time.Duration // least wait before each retry
	}{
		"429":              {fault: func(re reply) bool { return re.status(429, "") }},
		"429, Retry-After": {asked: 90 * time.Second, fault: func(re reply) bool { re.w.Header().Set("Retry-After", "90"); return re.status(429, "") }},
		"503, Retry-After a date": {asked: 118 * time.Second, fault: func(re reply) bool {
			re.w.Header().Set("Retry-After", time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat))
			return re.status(503, "Service Unavailable")
		}},
		"nonsense in Retry-After": {fault: func(re reply) bool { re.w.Header().Set("Retry-After", "-5 soon"); return re.status(503, "") }},
		"500 JSON": {fault: func(re reply) bool {
			return re.status(500, `{"status":"unknown","message":"Unknown error while getting optout status"}`)
		}},
		"502 HTML":           {fault: func(re reply) bool { return re.status(502, "<html><h1>Bad Gateway</h1></html>") }},
		"504 nothing":        {fault: func(re reply) bool { return re.status(504, "") }},
		"408":                {fault: func(re reply) bool { return re.status(408, "") }},
		"connection dropped": {fault: reply.drop},
		"answer cut off": {fault: func(re reply) bool {
			re.w.Header().Set("Content-Length", "5000")
			return re.answer(re.verdicts())
		}},
		"slow": {fault: func(re reply) bool { <-re.r.Context().Done(); return true }},
	} {
		t.Run(name, func(t *testing.T) {
			ids := makeIDs(3)
			f := newFake(t, func(f *fake) {
				f.script = func(re reply) bool { return re.n <= 3 && tc.fault(re) }
			})
			f.optOut(ids[1])
			c, s := newClient(t, f, func(s *setup) {
				if name == "slow" {
					s.Timeout = time.Second // the fourth answer must come within it, on a loaded machine too
				}
			})
			answer, err := c.Check(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(optedOut(answer), ids[1:2]) {
				t.Error("wrong answer")
			}
			if n := len(f.seen()); n != 4 || len(s.clock.slept) != 3 {
				t.Errorf("%d requests, %d waits", n, len(s.clock.slept))
			}
			for i, wait := range s.clock.slept {
				if bound := max(tc.asked+2*time.Second, operator.DefaultBackoffBase<<i); wait < tc.asked || wait > bound {
					t.Errorf("wait %d is %s, want %s to %s", i, wait, tc.asked, bound)
				}
			}
			if st := c.Stats(); st.Retries != 3 || st.MostRetries != 3 || st.Attempts != 4 {
				t.Errorf("stats %+v", st)
			}
			allFresh(t, f.seen())
		})
	}
}

// allFresh checks that no two attempts share IV or nonce.
func allFresh(t *testing.T, seen []request) {
	t.Helper()
	used := map[string]bool{}
	for _, r := range seen {
		for _, part := range []string{"iv" + string(r.envelope[1:13]), "nonce" + string(r.nonce[:])} {
			if used[part] {
				t.Error("an attempt was not sealed afresh")
			}
			used[part] = true
		}
	}
}

func TestEveryAttemptCarriesItsOwnTime(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { return re.n == 1 && re.status(500, "") }
	})
	c, _ := newClient(t, f, func(s *setup) {
		s.Sleep = func(ctx context.Context, d time.Duration) error {
			s.clock.mu.Lock()
			defer s.clock.mu.Unlock()
			s.clock.offset += 20 * time.Second
			return nil
		}
	})
	if _, err := c.Check(t.Context(), makeIDs(1)); err != nil {
		t.Fatal(err)
	}
	if seen := f.seen(); seen[1].timeMS-seen[0].timeMS < 20_000 {
		t.Errorf("times %d and %d", seen[0].timeMS, seen[1].timeMS)
	}
}

func TestBackoffGrowsToItsBoundAndEndsAtTheDeadline(t *testing.T) {
	f := newFake(t, func(f *fake) { f.first = func(re reply) bool { return re.status(503, "") } })
	var slept []time.Duration
	c, _ := newClient(t, f, func(s *setup) {
		s.Rand = allOnes{} // the longest waits there can be
		s.Deadline = 5 * time.Minute
		s.Sleep = func(ctx context.Context, d time.Duration) error {
			s.clock.mu.Lock()
			defer s.clock.mu.Unlock()
			slept = append(slept, d.Round(time.Millisecond))
			s.clock.offset += d
			return nil
		}
	})
	_, err := c.Check(t.Context(), makeIDs(2))
	if schemas.ClassOf(err) != schemas.Failed || !strings.Contains(schemas.HintOf(err), "same command resumes") || !strings.Contains(err.Error(), "503") {
		t.Fatalf("%v; hint: %s", err, schemas.HintOf(err))
	}
	var total time.Duration
	for i, d := range slept {
		if want := min(500*time.Millisecond<<i, 30*time.Second); (d - want).Abs() > time.Millisecond {
			t.Errorf("wait %d is %s, want %s", i, d, want)
		}
		total += d
	}
	if total > 5*time.Minute || total < 4*time.Minute {
		t.Errorf("gave up after %s", total)
	}
	if st := c.Stats(); st.Batches != 0 || st.Attempts != int64(len(slept))+1 {
		t.Errorf("stats %+v", st)
	}
}

type allOnes struct{}

func (allOnes) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0xFF
	}
	return len(b), nil
}

func TestRetryAfterBeyondTheDeadlineEndsAtOnce(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { re.w.Header().Set("Retry-After", "7200"); return re.status(429, "") }
	})
	c, s := newClient(t, f)
	_, err := c.Check(t.Context(), makeIDs(2))
	if schemas.ClassOf(err) != schemas.Failed || !strings.Contains(schemas.HintOf(err), "wait 2 h") {
		t.Fatalf("%v; hint: %s", err, schemas.HintOf(err))
	}
	if len(s.clock.slept) != 0 || len(f.seen()) != 1 {
		t.Errorf("%d waits, %d requests", len(s.clock.slept), len(f.seen()))
	}
}

func TestTooLargeHalvesAndRemembers(t *testing.T) {
	for name, refuse := range map[string]func(reply) bool{
		"400": func(re reply) bool { return re.badRequest("Request payload is too large") },
		"413": func(re reply) bool { return re.status(413, "Request Too Long") },
	} {
		t.Run(name, func(t *testing.T) {
			ids := makeIDs(1000)
			f := newFake(t, func(f *fake) {
				f.script = func(re reply) bool { return len(re.req.ids) > 300 && refuse(re) }
			})
			f.optOut(ids...)
			c, _ := newClient(t, f)
			for range 2 {
				answer, err := c.Check(t.Context(), ids)
				if err != nil || len(answer.OptedOut) != 1000 {
					t.Fatalf("%d opted out, %v", len(answer.OptedOut), err)
				}
			}
			var sizes []int
			for _, r := range f.seen() {
				sizes = append(sizes, len(r.ids))
			}
			if want := []int{1000, 500, 250, 250, 250, 250, 250, 250, 250, 250}; !slices.Equal(sizes, want) {
				t.Errorf("sizes %v, want %v", sizes, want)
			}
			if batch, _ := c.Limits(); batch != 250 {
				t.Errorf("limit %d", batch)
			}
		})
	}
}

func TestTooLargeForOneIDIsRefused(t *testing.T) {
	f := newFake(t, func(f *fake) { f.maxIDs = 0 })
	c, _ := newClient(t, f)
	_, err := c.Check(t.Context(), makeIDs(9))
	if schemas.ClassOf(err) != schemas.Refused || schemas.HintOf(err) == "" || len(f.seen()) != 4 {
		t.Fatalf("%v after %d requests", err, len(f.seen()))
	}
}

func TestUnexplained400IsBisected(t *testing.T) {
	ids := makeIDs(5000)
	bad := []schemas.ID{ids[0], ids[1234], ids[1235], ids[4999]}
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			for _, id := range bad {
				if slices.Contains(re.req.ids, text(id)) {
					return re.badRequest("cannot read " + text(id))
				}
			}
			return false
		}
	})
	f.optOut(ids[7], ids[4998])
	c, s := newClient(t, f)
	answer, err := c.Check(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var rejected []schemas.ID
	for _, r := range answer.Rejected {
		if r.Reason != schemas.OperatorRejected {
			t.Errorf("reason %s", r.Reason)
		}
		rejected = append(rejected, r.ID)
	}
	slices.SortFunc(bad, schemas.ID.Compare)
	if !slices.Equal(rejected, bad) || !slices.Equal(optedOut(answer), []schemas.ID{ids[7], ids[4998]}) {
		t.Errorf("%d rejected, %d opted out", len(rejected), len(answer.OptedOut))
	}
	if n := len(f.seen()); n > 4*2*14 {
		t.Errorf("%d requests for 4 bad ids", n)
	}
	if batch, _ := c.Limits(); batch != 5000 || c.Stats().Rejected != 4 || c.Stats().Retries != 0 {
		t.Errorf("limit %d, stats %+v", batch, c.Stats())
	}
	if strings.Contains(s.log.String(), text(bad[1])) {
		t.Error("the log shows an id")
	}
}

func TestRejectionOfOneIDNeedsAnOperatorThatTakesOthers(t *testing.T) {
	id := makeIDs(1)
	rejectOne := func(re reply) bool { return len(re.req.ids) > 0 && re.badRequest("not this one") }
	rejectAll := func(re reply) bool { return re.badRequest("bad request to " + text(id[0]) + " é") }

	f := newFake(t, func(f *fake) { f.script = rejectOne })
	c, _ := newClient(t, f)
	answer, err := c.Check(t.Context(), id)
	if err != nil || len(answer.Rejected) != 1 || len(f.seen()) != 2 {
		t.Errorf("%d rejected in %d requests, %v", len(answer.Rejected), len(f.seen()), err)
	}

	f = newFake(t, func(f *fake) { f.script = rejectAll })
	c, _ = newClient(t, f)
	_, err = c.Check(t.Context(), id)
	if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(err.Error(), `"bad request to ... ..."`) || len(f.seen()) != 2 {
		t.Errorf("%v after %d requests", err, len(f.seen()))
	}

	f = newFake(t, func(f *fake) { f.script = rejectAll })
	c, _ = newClient(t, f)
	_, err = c.Check(t.Context(), makeIDs(5000))
	if schemas.ClassOf(err) != schemas.Refused || len(f.seen()) > 20 {
		t.Errorf("%v after %d requests", err, len(f.seen()))
	}
}

func TestRejectionOfTooManyIDsIsARequestError(t *testing.T) {
	f := newFake(t, func(f *fake) { f.script = func(re reply) bool { return len(re.req.ids) > 0 && re.badRequest("no") } })
	c, _ := newClient(t, f)
	_, err := c.Check(t.Context(), makeIDs(5000))
	if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(err.Error(), "more than 64 ids") || len(f.seen()) > 200 {
		t.Errorf("%v after %d requests", err, len(f.seen()))
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	hits := 0
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer target.Close()
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			http.Redirect(re.w, re.r, target.URL, http.StatusTemporaryRedirect)
			return true
		}
	})
	c, _ := newClient(t, f)
	_, err := c.Check(t.Context(), makeIDs(1))
	if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(schemas.HintOf(err), "127.0.0.1") || hits != 0 {
		t.Fatalf("%v, %d hits", err, hits)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	f := newFake(t, func(f *fake) { f.script = func(re reply) bool { return re.status(503, "") } })
	c, _ := newClient(t, f, func(s *setup) {
		s.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(cause); return ctx.Err() }
	})
	if _, err := c.Check(ctx, makeIDs(1)); schemas.ClassOf(err) != schemas.Cancelled || !errors.Is(err, cause) {
		t.Fatal(err)
	}
	if _, err := c.Check(ctx, makeIDs(1)); schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatal(err)
	}
}

func TestCancelledInFlightAndInTheQueue(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { cancel(); <-re.r.Context().Done(); return true }
	})
	c, _ := newClient(t, f)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := c.Check(ctx, makeIDs(1)); schemas.ClassOf(err) != schemas.Cancelled {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(f.seen()) != 1 {
		t.Errorf("%d requests", len(f.seen()))
	}
}

func TestRealSleepHonoursTheContext(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			if re.n == 1 {
				return re.status(503, "")
			}
			re.w.Header().Set("Retry-After", "300")
			return re.status(503, "")
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := newClient(t, f, func(s *setup) {
		s.Sleep, s.Now = nil, nil
		s.BackoffBase = time.Millisecond
		s.Observe = func(a operator.Attempt) {
			if a.Status == 503 && len(f.seen()) == 2 {
				time.AfterFunc(time.Millisecond, cancel)
			}
		}
	})
	if _, err := c.Check(ctx, makeIDs(1)); schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatal(err)
	}
}

func TestBrokenRandomIsAnError(t *testing.T) {
	f := newFake(t)
	c, _ := newClient(t, f, func(s *setup) { s.Rand = strings.NewReader("short") })
	if _, err := c.Check(t.Context(), makeIDs(1)); !errors.Is(err, io.ErrUnexpectedEOF) || len(f.seen()) != 0 {
		t.Fatal(err)
	}
}

func TestObserveSeesEveryAttempt(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { return re.n == 1 && re.status(502, "oops") }
	})
	var got []operator.Attempt
	c, _ := newClient(t, f, func(s *setup) { s.Observe = func(a operator.Attempt) { got = append(got, a) } })
	if _, err := c.Check(t.Context(), makeIDs(10)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Outcome != "retry" || got[0].Status != 502 || got[0].ReceivedBytes != 4 ||
		got[1].Outcome != "answered" || got[1].IDs != 10 || got[1].SentBytes < 600 || got[1].Took <= 0 {
		t.Errorf("%+v", got)
	}
	st := c.Stats()
	if st.SentBytes != int64(got[0].SentBytes+got[1].SentBytes) || st.Busy != got[0].Took+got[1].Took {
		t.Errorf("%+v", st)
	}
}

func optedOut(a schemas.Answer) []schemas.ID {
	var ids []schemas.ID
	for _, o := range a.OptedOut {
		ids = append(ids, o.ID)
	}
	return ids
}

// Nothing is sent while the answer of the list before is being settled.
func TestNextRequestWaitsUntilTheAnswerIsSettled(t *testing.T) {
	f := newFake(t)
	c, _ := newClient(t, f)
	ids := makeIDs(7)
	settling, next := make(chan struct{}), make(chan error, 1)
	err := c.Ask(t.Context(), ids[:3], func(schemas.Answer) error {
		go func() {
			close(settling)
			_, err := c.Check(t.Context(), ids[3:])
			next <- err
		}()
		<-settling
		select {
		case err := <-next:
			t.Fatalf("the next list was answered already: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		return errors.New("disk full")
	})
	if err == nil || err.Error() != "disk full" {
		t.Errorf("got %v", err)
	}
	if err := <-next; err != nil {
		t.Error(err)
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d requests", n)
	}
}
