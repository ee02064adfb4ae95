package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"optsweep/schemas"
)

const allSignals = `metrics: {textfile: out/optsweep.prom, pushgateway: "http://127.0.0.1:9091"}
lineage: {file: lineage.ndjson, url: https://lineage.example.com/, api_key: {env: LINEAGE_KEY}, namespace: "prod/eu"}
tracing: {endpoint: "https://otel.example.com:4318", authorization: {file: otel.token}}
heartbeat:
  url: {env: HEARTBEAT_URL}
  start: https://hc.example.com/abc/begin
  fail: {file: fail.url}
  method: POST
notify:
  - kind: webhook
    url: https://hooks.example.com/optsweep
    secret: {env: HOOK_SECRET}
    on: [failed, missed, canary, limit, gate, first_hit, quarantine]
  - {kind: slack, url: {env: SLACK_URL}, on: [failed]}
`

func TestSignals(t *testing.T) {
	job, err := Parse("f", []byte(embedded+allSignals), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	want := Signals{
		Metrics: Metrics{Textfile: "/jobs/out/optsweep.prom", Pushgateway: Address{URL: "http://127.0.0.1:9091"}},
		Lineage: Lineage{File: "/jobs/lineage.ndjson", URL: Address{URL: "https://lineage.example.com/"}, APIKey: SecretRef{Env: "LINEAGE_KEY"}, Namespace: "prod/eu"},
		Tracing: Tracing{Endpoint: Address{URL: "https://otel.example.com:4318"}, Authorization: SecretRef{File: "/jobs/otel.token"}},
		Heartbeat: Heartbeat{URL: Address{Ref: SecretRef{Env: "HEARTBEAT_URL"}}, Start: Address{URL: "https://hc.example.com/abc/begin"},
			Fail: Address{Ref: SecretRef{File: "/jobs/fail.url"}}, Method: "POST"},
		Notify: []Notify{
			{Kind: Webhook, URL: Address{URL: "https://hooks.example.com/optsweep"}, Secret: SecretRef{Env: "HOOK_SECRET"}, On: schemas.NoticeEvents()},
			{Kind: Slack, URL: Address{Ref: SecretRef{Env: "SLACK_URL"}}, On: []string{"failed"}},
		},
	}
	if !reflect.DeepEqual(job.Signals, want) {
		t.Errorf("got  %+v\nwant %+v", job.Signals, want)
	}
	if job, err = Parse("f", []byte(embedded+"notify: []\nlineage: {file: a}\nheartbeat: {url: https://a.example}\n"), "/jobs"); err != nil {
		t.Fatal(err)
	}
	if s := job.Signals; s.Notify != nil || s.Lineage.Namespace != DefaultNamespace || s.Heartbeat.Method != "GET" {
		t.Errorf("got %+v", s)
	}
}

// signalProblems stand at the end of embedded.
var signalProblems = []struct{ text, want string }{
	{"metrics: {}", "f:8:10: metrics: says no place (give it textfile or pushgateway)"},
	{"metrics: {textfile: a.txt}", "f:8:21: metrics.textfile: must end in .prom"},
	{"metrics: {textfiel: a.prom}", "f:8:10: metrics: says no place (give it textfile or pushgateway)\nf:8:11: metrics.textfiel: unknown key (did you mean textfile?)"},
	{"metrics: {pushgateway: 'http://gw.example.com:9091'}", "f:8:24: metrics.pushgateway: must be https"},
	{"metrics: {pushgateway: 'https://u:SECRET@gw.example.com'}", "f:8:24: metrics.pushgateway: must not hold a user name"},
	{"lineage: {namespace: x}", "f:8:10: lineage: says no place"},
	{"lineage: {file: a, api_key: {env: A}}", "f:8:20: lineage.api_key: is for url only"},
	{"lineage: {url: https://a.example, api_key: SECRET}", "f:8:44: lineage.api_key: must be a reference"},
	{"lineage: {file: a, namespace: 'a b'}", "f:8:31: lineage.namespace: must be 1 to 200"},
	{"tracing: {}", "f:8:10: tracing.endpoint: is missing"},
	{"tracing: {endpoint: 4318}", "f:8:21: tracing.endpoint: must be text"},
	{"tracing: {endpoint: 'ftp://a'}", "f:8:21: tracing.endpoint: must be a URL"},
	{"heartbeat: {method: GET}", "f:8:12: heartbeat: says no place"},
	{"heartbeat: {url: 'https://a.example/?SECRET=1'}", "f:8:18: heartbeat.url: must not hold"},
	{"heartbeat: {url: 'https://a.example/#SECRET'}", "f:8:18: heartbeat.url: must not hold a fragment"},
	{"heartbeat: {url: https://a.example, method: PUT}", "f:8:45: heartbeat.method: must be GET or POST"},
	{"heartbeat: {url: {env: A, file: SECRET}}", "f:8:18: heartbeat.url: must say where the secret is, in one way"},
	{"notify: webhook", "f:8:9: notify: must be a list"},
	{"notify: [{kind: mail, url: https://a.example, on: [failed]}]", "f:8:17: notify[0].kind: must be webhook or slack"},
	{"notify: [{kind: webhook, url: https://a.example}]", "f:8:10: notify[0].on: is missing"},
	{"notify: [{kind: webhook, url: https://a.example, on: []}]", "f:8:54: notify[0].on: is empty"},
	{"notify: [{kind: webhook, url: https://a.example, on: [fail]}]", "f:8:55: notify[0].on[0]: must be failed or missed"},
	{"notify: [{kind: webhook, url: https://a.example, on: [limit, limit]}]", "f:8:62: notify[0].on[1]: limit is there already"},
	{"notify: [{kind: slack, url: https://hooks.slack.com/services/SECRET, on: [failed]}]", "f:8:29: notify[0].url: is itself a secret"},
	{"notify: [{kind: slack, url: {env: A}, secret: {env: B}, on: [failed]}]", "f:8:39: notify[0].secret: is only for kind webhook"},
	{"notify: [{kind: webhook, url: https://a.example, secret: SECRET, on: [failed]}]", "f:8:58: notify[0].secret: must be a reference"},
}

func TestProblemsOfSignals(t *testing.T) {
	const first = 8 // line of the signals
	for _, c := range signalProblems {
		_, err := Parse("f", []byte(embedded+c.text+"\n"), "/jobs")
		var problems *Problems
		if !errors.As(err, &problems) || !strings.Contains("\n"+err.Error(), "\n"+c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the secret is repeated", c.text)
		}
	}
	if strings.Count(embedded, "\n") != first-1 {
		t.Error("the lines are other ones")
	}
}

func TestAddressResolve(t *testing.T) {
	env := func(name string) (string, bool) {
		text, ok := map[string]string{"GOOD": "https://user:SECRET@a.example/x?token=SECRET\n", "LOCAL": "http://[::1]:9/", "PLAIN": "http://SECRET.example", "BAD": "SECRET", "FRAGMENT": "https://a.example#SECRET"}[name]
		return text, ok
	}
	for name, want := range map[string]string{"GOOD": "", "LOCAL": "", "PLAIN": "environment variable PLAIN must be https", "BAD": "variable BAD must be a URL", "FRAGMENT": "fragment", "NONE": "there is no secret"} {
		got, _, err := Address{Ref: SecretRef{Env: name}}.Resolve(env)
		text, _ := env(name)
		switch {
		case want == "" && (err != nil || got.Reveal() != strings.TrimSpace(text)):
			t.Errorf("%s: %v", name, err)
		case want != "" && (schemas.ClassOf(err) != schemas.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET")):
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(path, []byte("https://a.example"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, warning, err := (Address{Ref: SecretRef{File: path}}).Resolve(env); err != nil || warning == "" || got.Reveal() != "https://a.example" {
		t.Errorf("%q, %v", warning, err)
	}
	if got, _, err := (Address{URL: "https://b.example"}).Resolve(env); err != nil || got.Reveal() != "https://b.example" {
		t.Error(err)
	}
}
