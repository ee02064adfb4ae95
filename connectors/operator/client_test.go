package operator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/operator"
	"optsweep/schemas"

	"pgregory.net/rapid"
)

func TestNewRefuses(t *testing.T) {
	valid := operator.Options{
		Kind: operator.Public, Scope: schemas.EUID, Environment: schemas.Production,
		Credentials: func(context.Context) (operator.Credentials, error) { return operator.Credentials{}, nil },
	}
	if _, err := operator.New(valid); err != nil {
		t.Fatal(err)
	}
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*operator.Options)
		words  string
	}{
		"no kind":                {func(o *operator.Options) { o.Kind = "" }, "kind"},
		"embedded":               {func(o *operator.Options) { o.Kind = "embedded" }, "neither public nor private"},
		"no scope":               {func(o *operator.Options) { o.Scope = "" }, "scope"},
		"no environment":         {func(o *operator.Options) { o.Environment = "staging" }, "environment"},
		"no credentials":         {func(o *operator.Options) { o.Credentials = nil }, "credentials"},
		"public in parallel":     {func(o *operator.Options) { o.Parallel = 2 }, "one connection"},
		"negative parallel":      {func(o *operator.Options) { o.Parallel = -1 }, "parallel"},
		"private without URL":    {func(o *operator.Options) { o.Kind = operator.Private }, "no default address"},
		"public called private":  {func(o *operator.Options) { o.Kind, o.URL = operator.Private, "https://prod.euid.eu" }, "public operator"},
		"hundreds of parallel":   {func(o *operator.Options) { o.Kind, o.URL, o.Parallel = operator.Private, "https://op.example.com", 500 }, "parallel"},
		"batch too large":        {func(o *operator.Options) { o.BatchSize = 5001 }, "5001"},
		"negative timeout":       {func(o *operator.Options) { o.Timeout = -1 }, "negative"},
		"CA file missing":        {func(o *operator.Options) { o.CAFile = notPEM + ".not" }, "CA file"},
		"CA file without a cert": {func(o *operator.Options) { o.CAFile = notPEM }, "no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := valid
			tc.change(&o)
			_, err := operator.New(o)
			if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(fmt.Sprint(err), tc.words) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		name, url   string
		scope       schemas.Scope
		environment schemas.Environment
		change      func(*operator.Options)
		want        string // base URL, or words of the refusal after "!"
	}{
		{name: "default", scope: schemas.EUID, environment: schemas.Production, want: "https://prod.euid.eu"},
		{name: "default", scope: schemas.EUID, environment: schemas.Integration, want: "https://integ.euid.eu"},
		{name: "default", scope: schemas.UID2, environment: schemas.Production, want: "https://global.prod.uidapi.com"},
		{name: "default", scope: schemas.UID2, environment: schemas.Integration, want: "https://operator-integ.uidapi.com"},
		{name: "/v2 as the docs print it", url: "https://prod.euid.eu/v2", want: "https://prod.euid.eu"},
		{name: "slashes", url: " https://PROD.euid.eu/v2// ", want: "https://prod.euid.eu"},
		{name: "whole endpoint", url: "https://prod.euid.eu/v2/optout/status", want: "https://prod.euid.eu"},
		{name: "gateway", url: "https://gw.example.com:8443/euid/v2/", want: "https://gw.example.com:8443/euid"},
		{name: "regional", scope: schemas.UID2, url: "https://jp.prod.uidapi.com", want: "https://jp.prod.uidapi.com"},
		{name: "host of the once wrong docs", url: "https://prod.uidapi.com", want: "!belongs to UID2 production"},
		{name: "the same with a dot", url: "https://prod.uidapi.com./", want: "!belongs to UID2 production"},
		{name: "integration host", url: "https://integ.euid.eu", want: "!belongs to EUID integration, the job is about EUID production"},
		{name: "production host", scope: schemas.UID2, environment: schemas.Integration, url: "https://usw.prod.uidapi.com", want: "!belongs to UID2 production"},
		{name: "unlisted host of the other scope", url: "https://new.prod.uidapi.com", want: "!belongs to UID2"},
		{name: "unlisted host of the scope", url: "https://new.euid.eu", want: "https://new.euid.eu"},
		{name: "told otherwise", url: "https://prod.uidapi.com", change: func(o *operator.Options) { o.AllowHosts = []string{"Prod.UIDapi.com"} }, want: "https://prod.uidapi.com"},
		{name: "told otherwise of another", url: "https://prod.uidapi.com", change: func(o *operator.Options) { o.AllowHosts = []string{"uidapi.com"} }, want: "!belongs"},
		{name: "self-hosted", url: "https://euid.example.com", want: "https://euid.example.com"},
		{name: "look-alike", url: "https://noteuid.eu", scope: schemas.UID2, want: "https://noteuid.eu"},
		{name: "plain http", url: "http://euid.example.com", want: "!plain http"},
		{name: "plain http to a private address", url: "http://10.0.0.7:8080", want: "!plain http"},
		{name: "plain http to another name", url: "http://localhost.example.com", want: "!plain http"},
		{name: "plain http allowed", url: "http://op.internal:8080", change: func(o *operator.Options) { o.AllowPlainHTTP = []string{"op.internal"} }, want: "http://op.internal:8080"},
		{name: "loopback", url: "http://127.0.0.2:8080/", want: "http://127.0.0.2:8080"},
		{name: "loopback 6", url: "http://[::1]:8080", want: "http://[::1]:8080"},
		{name: "localhost", url: "http://localhost:8080/v2", want: "http://localhost:8080"},
		{name: "password", url: "https://me:hunter2@prod.euid.eu", want: "!user name or password"},
		{name: "query", url: "https://prod.euid.eu/?a=b", want: "!query"},
		{name: "no scheme", url: "prod.euid.eu", want: "!https://"},
		{name: "ftp", url: "ftp://prod.euid.eu", want: "!https://"},
		{name: "no host", url: "https:///v2", want: "!no host"},
		{name: "not a URL", url: "https://me:hunter2@[::1", want: "!not a URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := operator.Options{Kind: operator.Public, URL: tc.url, Scope: schemas.EUID, Environment: schemas.Production}
			if tc.scope != "" {
				o.Scope = tc.scope
			}
			if tc.environment != "" {
				o.Environment = tc.environment
			}
			if tc.change != nil {
				tc.change(&o)
			}
			u, err := operator.BaseURL(o)
			if words, refused := strings.CutPrefix(tc.want, "!"); refused {
				if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(fmt.Sprint(err), words) || strings.Contains(fmt.Sprint(err), "hunter2") {
					t.Fatalf("%v, %v", u, err)
				}
				return
			}
			if err != nil || u.String() != tc.want {
				t.Fatalf("%v, %v; want %s", u, err, tc.want)
			}
		})
	}
}

func TestNormalizeURLIsStable(t *testing.T) {
	part := rapid.SampledFrom([]string{"/", "/v2", "/v2/optout/status", "//", "/gw", "v2", "/V2"})
	rapid.Check(t, func(t *rapid.T) {
		raw := "https://h" + strings.Join(rapid.SliceOfN(part, 0, 5).Draw(t, "path"), "")
		once, err := operator.NormalizeURL(raw)
		if err != nil {
			return
		}
		twice, err := operator.NormalizeURL(once.String())
		if err != nil || *twice != *once {
			t.Fatalf("%s became %s, then %v, %v", raw, once, twice, err)
		}
		if strings.HasSuffix(once.Path, "/") || strings.HasSuffix(once.Path, "/v2") {
			t.Fatalf("%s became %s", raw, once)
		}
	})
}

func TestKeyNamesAndFingerprints(t *testing.T) {
	for key, want := range map[string]string{
		testKey:                        "EUID-C-I-123-abcde",
		" " + testKey + "\n":           "EUID-C-I-123-abcde",
		"UID2-O-P-7-Abc+e/" + ".x":     "UID2-O-P-7-Abc+e",
		"":                             "",
		"some-old-key-without-a-form=": "",
		"EUID-C-X-123-abcdef.AAAA":     "",
		"EUID-C-I-123-abcdefg.AAAA":    "",
		"x" + testKey:                  "",
	} {
		if got := operator.KeyName(schemas.NewSecret(key)); got != want {
			t.Errorf("a key of %d characters is named %q, want %q", len(key), got, want)
		}
	}
	a := operator.KeyFingerprint(schemas.NewSecret(testKey))
	if len(a) != 16 || a != operator.KeyFingerprint(schemas.NewSecret(testKey+"\n")) || a == operator.KeyFingerprint(schemas.NewSecret(otherKey)) {
		t.Errorf("fingerprint %q", a)
	}
}

func TestTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		server func(*fake)
		client func(*testing.T, *fake, *setup)
		class  schemas.Class
		words  string // of the error; empty: it works
	}{
		"own roots": {client: func(_ *testing.T, f *fake, s *setup) { s.RootCAs = pool(f) }},
		"CA file": {client: func(t *testing.T, f *fake, s *setup) {
			s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
			if err := os.WriteFile(s.CAFile, block, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"unknown authority": {words: "certificate is not trusted"},
		"TLS 1.1": {
			server: func(f *fake) { f.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} },
			client: func(_ *testing.T, f *fake, s *setup) { s.RootCAs = pool(f) },
			words:  "no TLS connection",
		},
		"http on an https port": {
			client: func(_ *testing.T, f *fake, s *setup) {
				plain := newFake(f.t)
				s.URL = "https" + strings.TrimPrefix(plain.URL, "http")
			},
			words: "no TLS on this port",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var proto string
			f := newFake(t, func(f *fake) {
				f.EnableHTTP2 = true
				if tc.server != nil {
					tc.server(f)
				}
				f.first = func(re reply) bool { proto = re.r.Proto; return false }
				f.StartTLS()
			})
			c, s := newClient(t, f, func(s *setup) {
				if tc.client != nil {
					tc.client(t, f, s)
				}
			})
			_, err := c.Check(t.Context(), makeIDs(1))
			if tc.words == "" {
				if err != nil || proto != "HTTP/1.1" {
					t.Fatalf("%v over %s", err, proto)
				}
				return
			}
			if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(fmt.Sprint(err), tc.words) || schemas.HintOf(err) == "" || len(s.clock.slept) != 0 {
				t.Fatalf("%v; hint %s", err, schemas.HintOf(err))
			}
		})
	}
}

func pool(f *fake) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(f.Certificate())
	return p
}

func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	f := newFake(t)
	for _, url := range []string{"http://operator.test", "https://operator.test"} {
		before := proxyHits.Load()
		c, s := newClient(t, f, func(s *setup) { s.URL = url; s.AllowPlainHTTP = []string{"operator.test"} })
		_, err := c.Check(t.Context(), makeIDs(1))
		if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(fmt.Sprint(err), "407") || proxyHits.Load() != before+1 || len(s.clock.slept) != 0 {
			t.Errorf("%s: %v, %d hits", url, err, proxyHits.Load()-before)
		}
	}
}

// A closed port is retried, like any other network failure, to ride out a
// restart of the operator.
func TestClosedPortIsRetriedUntilTheDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	f := newFake(t)
	c, s := newClient(t, f, func(s *setup) {
		s.URL = url
		s.Deadline = time.Minute
		s.Sleep = func(ctx context.Context, d time.Duration) error {
			s.clock.mu.Lock()
			defer s.clock.mu.Unlock()
			s.clock.offset += d + time.Second
			return nil
		}
	})
	_, err = c.Check(t.Context(), makeIDs(1))
	if schemas.ClassOf(err) != schemas.Failed || !strings.Contains(fmt.Sprint(err), "attempts") || c.Stats().Retries < 3 {
		t.Fatalf("%v after %d retries", err, c.Stats().Retries)
	}
	if !strings.Contains(s.log.String(), "will ask again") {
		t.Error("retries are not logged")
	}
}
