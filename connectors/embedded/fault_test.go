package embedded

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

func mustFaults(t testing.TB, text string) Faults {
	t.Helper()
	f, err := ParseFaults(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFaults(t *testing.T) {
	for _, good := range []string{"", "429", "429:every=10", "429:retry_after=2s:every=3", "slow=2s,500:every=7,drop:every=50", "skew=-3m", "garbage,nonce:every=2,unasked,cut"} {
		if _, err := ParseFaults(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{",", "399", "600", "0429", "+429", "429=1", "slow", "slow=", "slow=2", "slow=-1s", "skew", "drop=1", "drops",
		"429:every", "429:every=0", "429:every=x", "429:each=2", "drop:retry_after=2s", "429:retry_after=1ms", "429 ", "429,"} {
		if _, err := ParseFaults(bad); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add("429:every=10,slow=2s,500:every=7,drop:every=50,garbage:every=20,nonce:every=3,skew=3m,unasked:every=9")
	f.Add("503:retry_after=30s:every=2,cut")
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseFaults(text)
		if err != nil {
			if faults.Active() {
				t.Fatal("faults in spite of an error")
			}
			return
		}
		for _, term := range faults.terms {
			if term.every < 1 || term.kind == faultStatus && (term.status < 400 || term.status > 599) {
				t.Fatalf("%q gives %+v", text, term)
			}
		}
	})
}

// outcome sends one request and says in a word what came back.
func outcome(r *rig) (word string) {
	defer func() {
		if p := recover(); p != nil {
			word = fmt.Sprint(p)
		}
	}()
	w := r.post(text(r.seal(r.nowMS, `{"advertising_ids":["`+clearV3+`"]}`)), nil)
	if w.Code != 200 {
		return fmt.Sprint(w.Code)
	}
	sealed, err := base64.StdEncoding.DecodeString(w.Body.String())
	if err != nil {
		return "garbage"
	}
	opened, err := r.cipher.OpenResponse(nil, sealed, testNonce)
	switch {
	case errors.Is(err, envelope.ErrNonce):
		return "nonce"
	case err != nil:
		return err.Error()
	case strings.Contains(string(opened.Payload), "advertising_id"):
		return "unasked"
	}
	return "ok"
}

func TestFaults(t *testing.T) {
	abort := http.ErrAbortHandler.Error()
	for spec, want := range map[string][]string{
		"":                            {"ok", "ok"},
		"429:every=3":                 {"ok", "ok", "429", "ok", "ok", "429"},
		"500:every=2,502:every=3":     {"ok", "500", "502", "500", "ok", "500"},
		"401,drop:every=2":            {"401", abort},
		"garbage:every=2":             {"ok", "garbage"},
		"nonce:every=2,unasked":       {"unasked", "nonce"},
		"cut":                         {abort},
		"skew=3m":                     {"400"},
		"skew=-3m:every=2":            {"ok", "400"},
		"slow=1ns,unasked:every=2":    {"ok", "unasked"},
		"400:every=2,404:every=3,429": {"429", "400", "404"},
	} {
		r := newRig(t, func(o *Options) { o.Faults = mustFaults(t, spec) })
		for i, w := range want {
			if got := outcome(r); got != w {
				t.Errorf("%s: request %d: %s, want %s", spec, i+1, got, w)
			}
		}
	}
}

func TestFaultHeaders(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Faults = mustFaults(t, "429:retry_after=90s,skew=3m") })
	w := r.post(nil, nil)
	if w.Header().Get("Retry-After") != "90" || w.Header().Get("Date") != vectorTime.Add(3*time.Minute).UTC().Format(http.TimeFormat) {
		t.Errorf("headers %v", w.Header())
	}
	if w := r.get(HealthPath); w.Code != 200 || w.Header().Get("Retry-After") != "" {
		t.Errorf("the health check has faults too: %d", w.Code)
	}
}
