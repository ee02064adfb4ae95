package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/operator"
	"optsweep/schemas"
)

func TestDoctor(t *testing.T) {
	for name, tc := range map[string]struct {
		operator func(*fake)
		options  func(*fake, *operator.Options)
		want     string // of each check, by first letter: o, s, w, f
		words    string // somewhere in the findings
	}{
		"all well":      {want: "ooosooooo", words: "EUID-C-I-123-abcde"},
		"over TLS":      {operator: func(f *fake) { f.StartTLS() }, options: func(f *fake, o *operator.Options) { o.RootCAs = pool(f) }, want: "ooosooooo", words: "TLS 1.3, certificate valid for"},
		"untrusted TLS": {operator: func(f *fake) { f.StartTLS() }, want: "ooosfssss", words: "operator.ca_file"},
		"wrong key":     {operator: func(f *fake) { f.key = otherKey }, want: "ooosoofos", words: "roles MAPPER"},
		"wrong secret":  {operator: func(f *fake) { f.cipher = newCipher(otherSecret) }, want: "ooosoofos", words: "operator.client_secret"},
		"malformed secret": {options: func(_ *fake, o *operator.Options) {
			o.Credentials = func(context.Context) (operator.Credentials, error) { return credentials(testKey, "short"), nil }
		}, want: "oofsoosos", words: "44 characters"},
		"malformed key": {options: func(_ *fake, o *operator.Options) {
			o.Credentials = func(context.Context) (operator.Credentials, error) { return credentials("a b", testSecret), nil }
		}, want: "ofosoosos", words: "only the key itself"},
		"unreadable credentials": {options: func(_ *fake, o *operator.Options) {
			o.Credentials = func(context.Context) (operator.Credentials, error) {
				return operator.Credentials{}, errors.New("no such file")
			}
		}, want: "ofssoosos", words: "no such file"},
		"no credentials":          {options: func(_ *fake, o *operator.Options) { o.Credentials = nil }, want: "fssssssss", words: "operator.api_key"},
		"key of another scope":    {options: func(_ *fake, o *operator.Options) { o.Scope = schemas.UID2 }, want: "owosooooo", words: "the API key is of EUID integration"},
		"host of another scope":   {options: func(_ *fake, o *operator.Options) { o.URL = "https://prod.uidapi.com" }, want: "foossssss", words: "belongs to UID2"},
		"clock behind":            {operator: func(f *fake) { f.ahead = 10 * time.Minute }, want: "ooosooffs", words: "10 min behind"},
		"clock a little ahead":    {operator: func(f *fake) { f.ahead = -40 * time.Second }, want: "ooosooowo", words: "40 s ahead"},
		"no time":                 {operator: func(f *fake) { f.noDate, f.key = true, otherKey }, want: "ooosoofss", words: "did not tell its time"},
		"unhealthy":               {operator: func(f *fake) { health(f, 503, "stale salts") }, want: "ooosowooo", words: "stale salts"},
		"health is not for all":   {operator: func(f *fake) { health(f, 404, "") }, want: "ooososooo", words: "does not show"},
		"not an operator":         {operator: func(f *fake) { f.first = func(re reply) bool { return re.status(200, "hi") } }, want: "ooosoofos", words: "proxy"},
		"nobody listens":          {operator: func(f *fake) { f.Start(); f.Close() }, want: "ooosfssss", words: "connection refused"},
		"dns is left to a proxy":  {options: func(_ *fake, o *operator.Options) { o.URL = "https://operator.test" }, want: "ooosfssss", words: "left to the proxy 127.0.0.1"},
		"a public operator named": {options: func(_ *fake, o *operator.Options) { o.URL = "" }, want: "ooosfssss", words: "public operator of EUID integration"},
		"localhost is looked up":  {options: func(f *fake, o *operator.Options) { o.URL = strings.Replace(f.URL, "127.0.0.1", "localhost", 1) }, want: "ooooooooo", words: "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(f *fake) {
				if tc.operator != nil {
					tc.operator(f)
				}
			})
			clock := &clock{}
			o := operator.Options{
				Kind: operator.Public, URL: f.URL, Scope: schemas.EUID, Environment: schemas.Integration,
				Credentials: func(context.Context) (operator.Credentials, error) { return credentials(testKey, testSecret), nil },
				Now:         clock.now, Sleep: clock.sleep,
			}
			if tc.options != nil {
				tc.options(f, &o)
			}
			findings := operator.Doctor(t.Context(), o)
			var names []string
			got := ""
			for _, finding := range findings {
				names = append(names, finding.Name)
				got += string(finding.Status)[:1]
				if finding.Detail == "" || (finding.Status == operator.Fail || finding.Status == operator.Warn) != (finding.Fix != "") && finding.Detail != "no such file" {
					t.Errorf("%+v", finding)
				}
			}
			if want := []string{"address", "api_key", "client_secret", "dns", "connection", "health", "access", "clock", "latency"}; !slices.Equal(names, want) {
				t.Errorf("checks %v", names)
			}
			printed, err := json.Marshal(findings)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want || !strings.Contains(string(printed), tc.words) {
				t.Errorf("%s, want %s with %q: %s", got, tc.want, tc.words, printed)
			}
			noSecrets(t, string(printed), f)
			for _, r := range f.seen() {
				if len(r.ids) != 0 {
					t.Error("asked about ids")
				}
			}
			if f.mostBusy > 1 {
				t.Error("more than one request at a time")
			}
		})
	}
}

// health answers health checks in the place of the fake.
func health(f *fake, status int, body string) {
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ops/healthcheck" {
			inner.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}
