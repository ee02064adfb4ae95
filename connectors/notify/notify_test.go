package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 3, 4, 4, 10, 0, 0, time.UTC)

type request struct{ method, path, signature, kind, body string }

// listen gives a server, and what it was sent.
func listen(t *testing.T) (*httptest.Server, *[]request) {
	var got []request
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, request{r.Method, r.URL.Path, r.Header.Get(Signature), r.Header.Get("Content-Type"), string(body)})
	}))
	t.Cleanup(s.Close)
	return s, &got
}

func newSender(t *testing.T) *delivery.Sender {
	s := delivery.New(delivery.Options{Attempts: 1})
	t.Cleanup(s.Close)
	return s
}

func notice(event string) schemas.Notice {
	return schemas.Notice{Schema: schemas.NoticeSchema, Event: event, Job: "crm-audiences", Run: "20260304T040000.000Z", At: now,
		Status: "stopped", Limit: "max_new_flags", Message: "max_new_flags is 7% <of> 5 & more"}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("%s: got %s", name, got)
	}
}

func TestWebhookIsSigned(t *testing.T) {
	s, got := listen(t)
	secret := schemas.NewSecret("hunter2")
	r := Receiver{URL: schemas.NewSecret(s.URL + "/hook"), Secret: secret, On: []string{schemas.NoticeLimit}, Sender: newSender(t), Now: func() time.Time { return now }}
	if err := r.Tell(t.Context(), []schemas.Notice{notice(schemas.NoticeLimit)}); err != nil {
		t.Fatal(err)
	}
	one := (*got)[0]
	golden(t, "webhook.json", one.body)
	if one.method != "POST" || one.path != "/hook" || one.kind != "application/json" {
		t.Errorf("got %+v", one)
	}
	// As README tells it, without our own code.
	mac := hmac.New(sha256.New, []byte("hunter2"))
	mac.Write([]byte("1772597400." + one.body))
	if want := "t=1772597400,v1=" + hex.EncodeToString(mac.Sum(nil)); one.signature != want {
		t.Errorf("signature %s, want %s", one.signature, want)
	}
	body := []byte(one.body)
	if err := Verify(secret, one.signature, body, now.Add(time.Minute), 5*time.Minute); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another body":   Verify(secret, one.signature, append(body, ' '), now, time.Hour),
		"another secret": Verify(schemas.NewSecret("hunter3"), one.signature, body, now, time.Hour),
		"another time":   Verify(secret, strings.Replace(one.signature, "t=1772597400", "t=1772597401", 1), body, now, time.Hour),
		"too old":        Verify(secret, one.signature, body, now.Add(6*time.Minute), 5*time.Minute),
		"too new":        Verify(secret, one.signature, body, now.Add(-6*time.Minute), 5*time.Minute),
		"no signature":   Verify(secret, "", body, now, time.Hour),
		"cut off":        Verify(secret, one.signature[:len(one.signature)-2], body, now, time.Hour),
		"no time":        Verify(secret, strings.TrimPrefix(one.signature, "t="), body, now, time.Hour),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWithoutASecretThereIsNoSignature(t *testing.T) {
	s, got := listen(t)
	r := Receiver{URL: schemas.NewSecret(s.URL), On: schemas.NoticeEvents(), Sender: newSender(t), Now: func() time.Time { return now }}
	if err := r.Tell(t.Context(), []schemas.Notice{notice(schemas.NoticeMissed)}); err != nil || (*got)[0].signature != "" {
		t.Errorf("%+v, %v", *got, err)
	}
}

func TestSlack(t *testing.T) {
	s, got := listen(t)
	r := Receiver{URL: schemas.NewSecret(s.URL), Slack: true, On: []string{schemas.NoticeLimit}, Sender: newSender(t)}
	if err := r.Tell(t.Context(), []schemas.Notice{notice(schemas.NoticeLimit)}); err != nil {
		t.Fatal(err)
	}
	golden(t, "slack.json", (*got)[0].body)
}

// A receiver gets what it asked for, and of a failure with a known cause the
// cause only.
func TestWanted(t *testing.T) {
	all := []schemas.Notice{notice(schemas.NoticeFailed), notice(schemas.NoticeLimit), notice(schemas.NoticeFirstHit)}
	for _, c := range []struct{ on, want string }{
		{"failed", "failed"}, {"limit", "limit"}, {"failed limit", "limit"}, {"failed canary", "failed"},
		{"failed first_hit", "failed first_hit"}, {"failed limit first_hit", "limit first_hit"}, {"missed", ""},
	} {
		var got []string
		for _, n := range (Receiver{On: strings.Fields(c.on)}).wanted(all) {
			got = append(got, n.Event)
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("on %s: got %v, want %s", c.on, got, c.want)
		}
	}
}

// One notice that does not arrive does not hold up the next.
func TestTellGoesOn(t *testing.T) {
	seen := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if seen++; seen == 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	r := Receiver{URL: schemas.NewSecret(s.URL + "/SECRET"), On: schemas.NoticeEvents(), Sender: newSender(t), Slack: true}
	err := r.Tell(t.Context(), []schemas.Notice{notice(schemas.NoticeMissed), notice(schemas.NoticeGate)})
	if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "status 403") || seen != 2 {
		t.Errorf("%d were sent: %v", seen, err)
	}
}

func TestHeartbeat(t *testing.T) {
	s, got := listen(t)
	at := func(path string) schemas.Secret { return schemas.NewSecret(s.URL + path) }
	end := func(class, status string) schemas.RunEnd {
		return schemas.RunEnd{Class: class, Report: schemas.Report{Status: status}}
	}
	one := Heartbeat{URL: at("/uuid/"), Method: "GET", Sender: newSender(t)}
	three := Heartbeat{URL: at("/uuid?rid=1"), Start: at("/a"), Fail: at("/b"), Method: "POST", Sender: newSender(t)}
	onlyFail := Heartbeat{Fail: at("/b"), Method: "POST", Sender: newSender(t)}
	for _, c := range []struct {
		what string
		tell func() error
		want string
	}{
		{"start", func() error { return one.Started(t.Context(), schemas.RunStart{}) }, "GET /uuid/start"},
		{"start offline", func() error { return one.Started(t.Context(), schemas.RunStart{Offline: true}) }, ""},
		{"success", func() error { return one.Ended(t.Context(), end("", "reconciled")) }, "GET /uuid/"},
		{"failure", func() error { return one.Ended(t.Context(), end("partial", "partial")) }, "GET /uuid/fail"},
		{"cancelled", func() error { return one.Ended(t.Context(), end("cancelled", "interrupted")) }, ""},
		{"locked", func() error { return one.Ended(t.Context(), end("locked", "")) }, ""},
		{"offline", func() error { return one.Ended(t.Context(), end("", "reapplied")) }, ""},
		{"start elsewhere", func() error { return three.Started(t.Context(), schemas.RunStart{}) }, "POST /a"},
		{"failure elsewhere", func() error { return three.Ended(t.Context(), end("failed", "failed")) }, "POST /b"},
		{"success beside them", func() error { return three.Ended(t.Context(), end("", "reconciled")) }, "POST /uuid"},
		{"no start", func() error { return onlyFail.Started(t.Context(), schemas.RunStart{}) }, ""},
		{"no success", func() error { return onlyFail.Ended(t.Context(), end("", "reconciled")) }, ""},
	} {
		*got = nil
		if err := c.tell(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		text := ""
		for _, r := range *got {
			text += r.method + " " + r.path
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.what, text, c.want)
		}
	}
}
