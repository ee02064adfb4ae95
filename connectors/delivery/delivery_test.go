package delivery

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"optsweep/schemas"
)

func quick() Options {
	return Options{Timeout: 200 * time.Millisecond, Attempts: 3, Pause: time.Millisecond}
}

// receiver answers with the statuses, one after the other, the last for ever.
func receiver(t *testing.T, statuses ...int) (url string, seen *atomic.Int64) {
	seen = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := int(seen.Add(1))
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}))
	t.Cleanup(s.Close)
	return s.URL, seen
}

func send(ctx context.Context, t *testing.T, o Options, url string) error {
	t.Helper()
	s := New(o)
	defer s.Close()
	return s.Send(ctx, Message{Method: http.MethodPost, URL: schemas.NewSecret(url + "/hook/SECRET?token=SECRET"), Type: "text/plain", Body: []byte("hello")})
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		statuses []int
		attempts int64
		want     string // in the error; empty: none
	}{
		{[]int{200}, 1, ""}, {[]int{204}, 1, ""},
		{[]int{500, 429, 202}, 3, ""}, {[]int{408, 200}, 2, ""},
		{[]int{503}, 3, "status 503"}, {[]int{400}, 1, "status 400"}, {[]int{404}, 1, "status 404"},
		{[]int{307}, 1, "status 307"}, {[]int{502, 401}, 2, "status 401"},
	} {
		url, seen := receiver(t, c.statuses...)
		err := send(t.Context(), t, quick(), url)
		if got := seen.Load(); got != c.attempts {
			t.Errorf("%v: %d attempts, want %d", c.statuses, got, c.attempts)
		}
		check(t, err, c.want)
	}
}

// check wants an error that names the host and no more of the URL.
func check(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "127.0.0.1:")) {
		t.Errorf("got %v, want the host and %q", err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "hook")) {
		t.Errorf("shows the URL: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	check(t, send(t.Context(), t, quick(), "http://"+l.Addr().String()), "refused")
}

func TestBadCertificateIsNotTriedAgain(t *testing.T) {
	var seen atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	began := time.Now()
	o := quick()
	o.Pause = 10 * time.Second
	check(t, send(t.Context(), t, o, s.URL), "certificate")
	if seen.Load() != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("tried again, or got through: %d", seen.Load())
	}
}

func TestTimeAndBudget(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	began := time.Now()
	check(t, send(t.Context(), t, Options{Timeout: 50 * time.Millisecond, Attempts: 2, Pause: time.Millisecond}, s.URL), "no answer in time")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	check(t, send(ctx, t, Options{Timeout: time.Minute, Attempts: 100, Pause: time.Minute}, s.URL), "no answer in time")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// A receiver that wants to be left alone for an hour does not hold anybody up
// beyond the end of ctx.
func TestRetryAfterIsBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	check(t, send(ctx, t, quick(), s.URL), "status 429")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

// A redirect could take the message, which is not for everybody, elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	other, seen := receiver(t, 200)
	s := httptest.NewServer(http.RedirectHandler(other+"/SECRET", http.StatusTemporaryRedirect))
	defer s.Close()
	check(t, send(t.Context(), t, quick(), s.URL), "status 307")
	if seen.Load() != 0 {
		t.Error("it was")
	}
}

func TestNotAURL(t *testing.T) {
	s := New(quick())
	defer s.Close()
	for _, url := range []string{"", "SECRET", "http://", "http://a b/SECRET", "\x00SECRET"} {
		if err := s.Send(t.Context(), Message{Method: "GET", URL: schemas.NewSecret(url)}); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
