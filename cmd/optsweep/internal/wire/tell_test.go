package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/connectors/notify"
	"optsweep/jobs/config"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// listener is a server that remembers what it was told.
type listener struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string // method and path
	body map[string][]string
	head map[string]http.Header
}

func newListener(t *testing.T) *listener {
	w := &listener{body: map[string][]string{}, head: map[string]http.Header{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, r.Method+" "+r.URL.Path)
		w.body[r.URL.Path] = append(w.body[r.URL.Path], string(body))
		w.head[r.URL.Path] = r.Header
	}))
	t.Cleanup(w.Close)
	return w
}

// told gives what the world was told since, in order of the names.
func (w *listener) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.got)
	all := strings.Join(w.got, "\n")
	w.got = nil
	return all
}

// signalsTo tells everything to the server at base.
func signalsTo(base, dir string) config.Signals {
	at := func(path string) config.Address { return config.Address{URL: base + path} }
	return config.Signals{
		Metrics:   config.Metrics{Textfile: filepath.Join(dir, "optsweep.prom"), Pushgateway: at("/gateway")},
		Lineage:   config.Lineage{File: filepath.Join(dir, "lineage.ndjson"), URL: at("/lineage"), Namespace: "n"},
		Tracing:   config.Tracing{Endpoint: at("/traces")},
		Heartbeat: config.Heartbeat{URL: at("/beat"), Method: "GET"},
		Notify:    []config.Notify{{Kind: config.Webhook, URL: at("/hook"), Secret: config.SecretRef{Env: "HOOK"}, On: schemas.NoticeEvents()}},
	}
}

// told is a demo job whose runs the world is told about.
type told struct {
	*testing.T
	s       System
	job     *config.Job
	dir     string
	log     *bytes.Buffer
	budgets budgets
	failed  []schemas.Undelivered
}

func newTold(t *testing.T) *told {
	x := &told{T: t, dir: t.TempDir(), log: new(bytes.Buffer)}
	x.s = System{
		LookupEnv: func(name string) (string, bool) {
			secret, ok := map[string]string{"HOOK": "hunter2"}[name]
			return secret, ok
		},
		Log: slog.New(slog.NewTextHandler(x.log, nil)), Progress: silent{}, Now: time.Now,
		Undelivered: func(u schemas.Undelivered) { x.failed = append(x.failed, u) },
	}
	x.budgets = budgets{start: time.Second, end: 2 * time.Second, messages: time.Second, hurry: 100 * time.Millisecond,
		delivery: delivery.Options{Timeout: 500 * time.Millisecond, Attempts: 2, Pause: time.Millisecond}}
	set, err := MakeDemo(t.Context(), x.s, filepath.Join(x.dir, "demo"), 500)
	if err != nil {
		t.Fatal(err)
	}
	x.job = set.Job
	return x
}

func (x *told) run(ctx context.Context, o RunOptions) (schemas.Report, error) {
	x.failed = nil
	x.log.Reset()
	return runTold(ctx, x.s, x.job, o, x.budgets)
}

func (x *told) mustRun() schemas.Report {
	x.Helper()
	rep, err := x.run(x.Context(), RunOptions{})
	if err != nil || rep.Status != schemas.StatusReconciled {
		x.Fatalf("%s, %v", rep.Status, err)
	}
	return rep
}

func (x *told) read(name string) string {
	x.Helper()
	data, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		x.Fatal(err)
	}
	return string(data)
}

// events lists type and run id of the lineage events so far.
func (x *told) events() (types, ids []string) {
	x.Helper()
	for line := range strings.Lines(x.read("lineage.ndjson")) {
		var e struct {
			Type string `json:"eventType"`
			Run  struct {
				ID string `json:"runId"`
			} `json:"run"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			x.Fatal(err)
		}
		types, ids = append(types, e.Type), append(ids, e.Run.ID)
	}
	return types, ids
}

// silent shows no progress.
type silent struct{}

func (silent) Start(string, int64, string) {}
func (silent) Add(int64)                   {}
func (silent) Stop()                       {}

func TestTheWorldIsToldOfARun(t *testing.T) {
	x, w := newTold(t), newListener(t)
	x.job.Signals = signalsTo(w.URL, x.dir)
	rep, err := x.run(t.Context(), RunOptions{Scheduled: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	want := "GET /beat\nGET /beat/start\nPOST /hook\nPOST /lineage\nPOST /lineage\nPOST /traces\nPUT /gateway/metrics/job/demo"
	if got := w.told(); got != want {
		t.Errorf("got\n%s", got)
	}
	if len(x.failed) > 0 {
		t.Errorf("not delivered: %v", x.failed)
	}
	hook := w.body["/hook"][0]
	if err := notify.Verify(schemas.NewSecret("hunter2"), w.head["/hook"].Get(notify.Signature), []byte(hook), time.Now(), time.Minute); err != nil || !strings.Contains(hook, `"event":"first_hit"`) {
		t.Errorf("%s: %v", hook, err)
	}
	textfile := x.read("optsweep.prom")
	for _, line := range []string{
		`optsweep_last_run_success{job="demo"} 1`, fmt.Sprintf(`optsweep_rows_newly_flagged{job="demo",table="crm"} %d`, rep.Tables[0].RowsNew),
		fmt.Sprintf(`optsweep_time_to_honour_ids{job="demo"} %d`, rep.IDs.OptedOut),
	} {
		if !strings.Contains(textfile, line+"\n") {
			t.Errorf("the textfile has no line %s", line)
		}
	}
	if textfile != w.body["/gateway/metrics/job/demo"][0] {
		t.Error("textfile and Pushgateway have other figures")
	}
	types, ids := x.events()
	if strings.Join(types, " ") != "START COMPLETE" || ids[0] != ids[1] || strings.Count(x.read("lineage.ndjson"), `"nominalStartTime":"2026-01-02T03:00:00.000Z"`) != 2 {
		t.Errorf("events %v of %v", types, ids)
	}
	for _, phase := range []string{"run", "extract", "check", "apply"} {
		if !strings.Contains(w.body["/traces"][0], `"name":"`+phase+`"`) {
			t.Errorf("no span %s", phase)
		}
	}
	// Nothing is a first hit twice, and a dry run tells nobody.
	x.mustRun()
	if got := w.told(); strings.Contains(got, "hook") {
		t.Errorf("got\n%s", got)
	}
	before := x.read("optsweep.prom")
	if _, err := Run(t.Context(), x.s, x.job, RunOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if got := w.told(); got != "" || x.read("optsweep.prom") != before {
		t.Errorf("a dry run told\n%s", got)
	}
	if _, err := x.run(t.Context(), RunOptions{Offline: true}); err != nil {
		t.Fatal(err)
	}
	if got := w.told(); strings.Contains(got, "beat") || !strings.Contains(got, "lineage") {
		t.Errorf("an offline run told\n%s", got)
	}
}

// Whatever the receivers do, the run ends as it would without them, in time,
// and says what did not arrive, without the URLs.
func TestReceiversCannotHarmARun(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer broken.Close()
	foreign := httptest.NewUnstartedServer(http.NotFoundHandler())
	foreign.Config.ErrorLog = log.New(io.Discard, "", 0)
	foreign.StartTLS()
	defer foreign.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for name, base := range map[string]string{"slow": slow.URL, "500": broken.URL, "certificate": foreign.URL, "refused": "http://" + l.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			x := newTold(t)
			x.job.Signals = signalsTo(base+"/SECRET", filepath.Join(x.dir, "no such folder"))
			if name == "slow" {
				x.budgets.delivery.Timeout = time.Minute // only the budget ends it
			}
			began := time.Now()
			x.mustRun()
			if took := time.Since(began); took > x.budgets.end+3*time.Second {
				t.Errorf("took %v", took)
			}
			sinks := map[string]int{}
			for _, u := range x.failed {
				sinks[u.Sink]++
				if strings.Contains(u.Error, "SECRET") || strings.Contains(u.Error, "\n") || u.Error == "" {
					t.Errorf("%+v", u)
				}
			}
			for _, sink := range []string{sinkMetrics, sinkLineage, sinkTracing, sinkHeartbeat, sinkNotify} {
				if sinks[sink] == 0 {
					t.Errorf("%s: no failure", sink)
				}
			}
			if log := x.log.String(); strings.Count(log, "was not delivered") != len(x.failed) || strings.Contains(log, "SECRET") {
				t.Errorf("log %s", log)
			}
		})
	}
}

// What a file or a place for a secret does is no reason to fail either, and
// what did not arrive is counted where it can be.
func TestMissingSecretsAreCounted(t *testing.T) {
	x, w := newTold(t), newListener(t)
	x.job.Signals = signalsTo(w.URL, x.dir)
	none := config.SecretRef{Env: "NONE"}
	x.job.Signals.Notify[0].Secret = none
	x.job.Signals.Heartbeat.Fail = config.Address{Ref: none}
	x.job.Signals.Tracing.Authorization = none
	x.job.Signals.Lineage.APIKey = none
	x.job.Signals.Metrics.Pushgateway = config.Address{Ref: none}
	x.mustRun()
	if got := w.told(); got != "" {
		t.Errorf("told\n%s", got)
	}
	if types, _ := x.events(); strings.Join(types, " ") != "START COMPLETE" {
		t.Errorf("events %v: the file needs no key", types)
	}
	for _, sink := range []string{sinkMetrics, sinkLineage, sinkTracing, sinkHeartbeat, sinkNotify} {
		if !strings.Contains(x.read("optsweep.prom"), `optsweep_notifications_failed{job="demo",reason="`+sink+`"} 1`) {
			t.Errorf("%s is not counted", sink)
		}
	}
}

func TestTheWorldIsToldOfFailures(t *testing.T) {
	x, w := newTold(t), newListener(t)
	x.job.Signals = signalsTo(w.URL, x.dir)
	x.mustRun()
	w.told()
	success := lineOf(x.read("optsweep.prom"), "optsweep_last_success_timestamp_seconds{")

	// One that cannot even read its ledger.
	workspace := x.job.Workspace
	x.job.Workspace = filepath.Join(x.dir, "none")
	if rep, err := x.run(t.Context(), RunOptions{}); schemas.ClassOf(err) != schemas.Usage || rep.Run != "" {
		t.Fatalf("got %v", err)
	}
	if got := w.told(); got != "GET /beat/fail\nPOST /gateway/metrics/job/demo\nPOST /hook\nPOST /traces" {
		t.Errorf("got\n%s", got)
	}
	if text := x.read("optsweep.prom"); lineOf(text, "optsweep_last_success_timestamp_seconds{") != success || lineOf(text, "optsweep_last_failure_timestamp_seconds{") == "" {
		t.Errorf("got %s", text)
	}
	// One that a limit stops. The receiver is told the cause, not also that
	// the run failed.
	x.job.Workspace, x.job.Limits.MaxQuarantined = workspace, 0
	if _, err := x.run(t.Context(), RunOptions{}); schemas.ClassOf(err) != schemas.Limit {
		t.Fatalf("got %v", err)
	}
	if got := w.told(); !strings.Contains(got, "GET /beat/fail") || strings.Count(got, "/hook") != 1 {
		t.Errorf("got\n%s", got)
	}
	if hooks := w.body["/hook"]; !strings.Contains(hooks[len(hooks)-1], `"event":"quarantine"`) {
		t.Errorf("got %s", hooks)
	}
	if types, _ := x.events(); types[len(types)-1] != "FAIL" {
		t.Errorf("events %v", types)
	}
	if text := x.read("optsweep.prom"); lineOf(text, "optsweep_last_success_timestamp_seconds{") != success || !strings.Contains(text, `optsweep_limit_hit{job="demo",reason="max_quarantined"} 1`) {
		t.Errorf("got %s", text)
	}
	// One that another run keeps from starting: that one tells.
	held, err := openFor(x)
	if err != nil {
		t.Fatal(err)
	}
	defer held()
	if _, err := x.run(t.Context(), RunOptions{}); schemas.ClassOf(err) != schemas.Locked {
		t.Fatalf("got %v", err)
	}
	if got := w.told(); got != "" {
		t.Errorf("got\n%s", got)
	}
}

func lineOf(text, start string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, start) {
			return line
		}
	}
	return ""
}

// A canary that comes back wrong is told as what it is.
func TestTheWorldIsToldOfCanaries(t *testing.T) {
	x, w := newTold(t), newListener(t)
	x.job.Signals = signalsTo(w.URL, x.dir)
	x.job.Operator.CanariesFile = filepath.Join(x.dir, "canaries.csv")
	if err := os.WriteFile(x.job.Operator.CanariesFile, []byte("id,expected\nEAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g,opted_out\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.run(t.Context(), RunOptions{}); schemas.ClassOf(err) != schemas.Refused {
		t.Fatalf("got %v", err)
	}
	if hooks := w.body["/hook"]; len(hooks) != 1 || !strings.Contains(hooks[0], `"event":"canary"`) {
		t.Errorf("got %v", hooks)
	}
}

// A daemon has the figures of all its runs behind one handler.
func TestMetricsOfAProcessThatGoesOn(t *testing.T) {
	x, w := newTold(t), newListener(t)
	x.s.Metrics = NewMetrics()
	x.mustRun()
	x.mustRun()
	x.job.Signals.Notify = []config.Notify{{Kind: config.Webhook, URL: config.Address{URL: w.URL + "/hook"}, On: []string{schemas.NoticeMissed}},
		{Kind: config.Webhook, URL: config.Address{URL: w.URL + "/gate"}, On: []string{schemas.NoticeGate}},
		{Kind: config.Slack, URL: config.Address{Ref: config.SecretRef{Env: "NONE"}}, On: []string{schemas.NoticeGate}}}
	due := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	if failed := TellMissed(t.Context(), x.s, x.job, due, "the one before was under way"); len(failed) != 1 {
		t.Errorf("failed %v", failed)
	}
	if failed := TellGate(t.Context(), x.s, x.job, "crm", 3, "3 rows of opted-out people"); len(failed) != 1 {
		t.Errorf("failed %v", failed)
	}
	if got := w.told(); got != "POST /gate\nPOST /hook" || !strings.Contains(w.body["/hook"][0], "due at 2026-01-02T03:00:00Z") || !strings.Contains(w.body["/gate"][0], `"rows":3`) {
		t.Errorf("got\n%s", got)
	}
	r := httptest.NewRecorder()
	x.s.Metrics.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{`optsweep_runs_total{job="demo",verdict="reconciled"} 2`, `optsweep_notifications_failed_total{job="demo",reason="notify"} 2`} {
		if !strings.Contains(r.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestDatasets(t *testing.T) {
	table := func(name string) config.Table { return config.Table{Name: name} }
	parquet := table("crm")
	parquet.Parquet = config.Parquet{Path: `/data/a\[1\]/**/*.parquet`, IDColumn: "euid"}
	file := table("one")
	file.Parquet = config.Parquet{Path: "/data/one.parquet", IDColumn: "id"}
	column, suppressed, query := table("c"), table("s"), table("q")
	column.BigQuery = &config.BigQueryTable{Table: "p.d.t", IDColumns: []string{"a", "b[].c"}}
	suppressed.BigQuery, suppressed.Write = &config.BigQueryTable{Table: "p.d.t"}, config.Write{Mode: config.Suppression, Dataset: "p.own"}
	query.BigQuery, query.Write = &config.BigQueryTable{Query: "SELECT 1"}, suppressed.Write
	var got []string
	for _, d := range datasets(&config.Job{Name: "j", Tables: []config.Table{parquet, file, column, suppressed, query}}) {
		got = append(got, fmt.Sprintf("%s: %s %s %s > %s %s", d.Table, d.Namespace, d.Name, d.IDColumn, d.Output.Namespace, d.Output.Name))
	}
	want := []string{
		"crm: file /data/a[1] euid > file /data/a[1]", "one: file /data/one.parquet id > file /data/one.parquet",
		"c: bigquery p.d.t a,b[].c > bigquery p.d.t", "s: bigquery p.d.t  > bigquery p.own.optsweep_suppression",
		"q: optsweep j.q  > bigquery p.own.optsweep_suppression",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// openFor holds the workspace as another run would.
func openFor(x *told) (release func(), err error) {
	w, err := sweep.OpenWorkspace(durable.Disk{}, x.job.Workspace, x.s.Now, x.s.owner(x.job))
	if err != nil {
		return nil, err
	}
	return func() { _ = w.Close() }, nil
}
