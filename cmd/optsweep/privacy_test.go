package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"optsweep/cmd/optsweep/internal/cli"
	"optsweep/schemas"
)

// output collects what commands print. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}

// privacy is a demo whose ids and secrets are known.
type privacy struct {
	t        *testing.T
	dir      string
	secrets  *secrets
	env      map[string]string
	optedOut string // text of an id of each kind
	clear    string
	strange  string // an id of no table
	key      string
	secret   string
	ran      map[string]bool // command lines
	patience time.Duration   // with a command that tries again and again
	odd      bool            // ids are put where none belong, so that the mask may be needed
}

const hiddenEmail = "jane.doe.1971@example.com"

func newPrivacy(t *testing.T) *privacy {
	p := &privacy{
		t: t, dir: filepath.Join(t.TempDir(), "d"), secrets: newSecrets(), env: map[string]string{}, ran: map[string]bool{}, patience: time.Minute,
		strange: "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
	}
	t.Setenv("TMPDIR", t.TempDir()) // leases on API keys stay here
	t.Chdir(t.TempDir())
	p.run("", "demo", "--rows", "1500", "--dir", p.dir, "--no-run")
	ids, err := demoIDs(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := optedOutOf(p.dir, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		p.secrets.id(id)
		if listed[id] {
			p.optedOut = string(id.AppendText(nil))
		} else {
			p.clear = string(id.AppendText(nil))
		}
	}
	odd, _, reason := demoRules.Parse([]byte(p.strange))
	if reason != schemas.Valid {
		t.Fatal(reason)
	}
	p.secrets.id(odd)
	p.secrets.text("an e-mail address", []byte(hiddenEmail))

	p.run("", "operator", "key", "new", "--clients", p.path("clients.json"), "--key-file", p.path("api_key"), "--secret-file", p.path("client_secret"))
	p.key, p.secret = p.read("api_key"), p.read("client_secret")
	p.secrets.text("an API key", []byte(p.key[strings.LastIndexByte(p.key, '-')+1:]))
	p.secrets.text("an API key", []byte(p.key[strings.LastIndexByte(p.key, '.')+1:]))
	p.secrets.text("a client secret", []byte(p.secret))
	return p
}

func (p *privacy) path(name string) string { return filepath.Join(p.dir, name) }

func (p *privacy) read(name string) string {
	p.t.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func (p *privacy) write(name, text string) string {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.path(name)
}

// run runs a command in this process with each output format, checks all that
// it prints, and returns it.
func (p *privacy) run(stdin string, args ...string) string {
	p.t.Helper()
	var all []byte
	for _, format := range []string{"text", "json"} {
		ctx, cancel := context.WithTimeout(context.Background(), p.patience)
		out := p.once(ctx, format, stdin, args...)
		cancel()
		all = append(all, out...)
		if p.optedOut == "" {
			break // the demo is being made
		}
	}
	return string(all)
}

func (p *privacy) once(ctx context.Context, format, stdin string, args ...string) []byte {
	p.t.Helper()
	out := new(output)
	env := maps.Clone(p.env)
	env["OPTSWEEP_OUTPUT"], env["OPTSWEEP_LOG_FORMAT"], env["OPTSWEEP_PROGRESS"] = format, format, "plain"
	code := cli.Run(ctx, args, cli.Surroundings{
		Stdin: strings.NewReader(stdin), Stdout: out, Stderr: out,
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	text := out.Bytes()
	if what := p.secrets.find(text); what != "" {
		p.t.Errorf("%s (%s) shows %s", p.hide(args), format, what)
		p.t.Log(p.hide([]string{string(text)}))
	}
	if !p.odd && bytes.Contains(text, []byte("[hidden]")) {
		p.t.Errorf("%s (%s) needed the mask", p.hide(args), format)
	}
	p.ran[strings.Join(args, " ")] = true
	if testing.Verbose() {
		p.t.Logf("%d %s", code, p.hide(args))
	}
	return text
}

// hide keeps ids out of the test's own output.
func (p *privacy) hide(args []string) string {
	text := strings.Join(args, " ")
	for _, x := range []string{p.strange, p.optedOut, p.clear, p.key, p.secret} {
		if x != "" {
			text = strings.ReplaceAll(text, x, "<hidden>")
		}
	}
	return text
}

// job writes a job file. replace are pairs of old and new text.
func (p *privacy) job(name string, replace ...string) string {
	const text = `version: 1
job: remote
scope: euid
environment: production
operator:
  kind: public
  url: "URL"
  api_key: {file: api_key}
  client_secret: {file: client_secret}
workspace: ws
tables:
  - name: crm
    parquet: {path: "data/*.parquet", id_column: euid}
    write: {mode: column}
`
	return p.write(name, strings.NewReplacer(append(replace, "URL", "http://"+p.env["ADDRESS"])...).Replace(text))
}

// serve runs the embedded operator over HTTP until stop is called.
func (p *privacy) serve(faults string) (stop func()) {
	p.t.Helper()
	address, err := freeAddress()
	if err != nil {
		p.t.Fatal(err)
	}
	p.env["ADDRESS"] = address
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.once(ctx, "json", "", "operator", "serve", "--optout-log", p.path("optout"), "--clients", p.path("clients.json"),
			"--listen", address, "--fault", faults, "--intake-path", "/webhook/optout", "--intake-token-file", p.path("client_secret"))
	}()
	if !isListening(address) {
		p.t.Fatalf("nothing listens on %s", address)
	}
	return func() {
		cancel()
		<-done
	}
}

// Nothing that any command prints or leaves in a file shows an id, a key or a
// secret: in all formats, also when things go wrong, also if the user puts an id
// or a secret where none belongs.
func TestNothingShowsAnIDOrASecret(t *testing.T) {
	p := newPrivacy(t)
	p.embedded()
	p.remote()
	p.signals()
	p.wrongPlaces()
	p.damaged()

	for _, name := range commands(t, func(args ...string) string { return string(p.once(t.Context(), "text", "", args...)) }) {
		covered := false
		for line := range p.ran {
			covered = covered || line == name || strings.HasPrefix(line, name+" ")
		}
		if !covered && name != "help" {
			t.Errorf("the command %q is not covered: add it to this test", name)
		}
		p.run("", append(strings.Fields(name), "--help")...)
	}
	for _, data := range []string{"data", "optout"} {
		if err := os.RemoveAll(p.path(data)); err != nil {
			t.Fatal(err)
		}
	}
	p.secrets.files(t, p.dir, "api_key", "client_secret", "clients.json", "canaries.csv", "*.id", "odd.yaml",
		"*/suppression/*", "*/suppression/sources/*.ids", "*/runs/*/shards/*", "*/runs/*/extract/*", "*/runs/*/check.ndjson", "*/runs/*/preview.ids")
}

// embedded runs everything on the demo's own job.
func (p *privacy) embedded() {
	config := "--config=" + p.path("optsweep.yaml")
	p.write("canaries.csv", "id,expected\n"+p.optedOut+",clear\n")
	p.run("", "version")
	p.run("", "validate", config)
	for _, document := range []string{"markdown", "schema"} {
		p.run("", "docs", document)
	}
	p.run("", "docs", "man", "--out", p.dir)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		p.run("", "completion", shell)
	}
	p.run("", "__complete", "gate", config, "--table", "")
	p.run("", "__complete", "report", config, "--run", "")
	p.write("scheduled.yaml", p.read("optsweep.yaml"))
	missFire(p.t, p.dir, "scheduled.yaml")
	p.run("", "schedule", "explain", "--config", p.path("scheduled.yaml"))
	for _, format := range []string{"text", "json"} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		p.once(ctx, format, "", "schedule", "--config", p.path("scheduled.yaml"), "--listen", "off")
		cancel()
	}
	if all := fires(p.t, p.path("workspace"), "demo"); len(all) != 1 {
		p.t.Errorf("%d fires, want one", len(all))
	}
	p.run("", "doctor", config)
	p.run("", "plan", config, "--out", p.path("plan.json"))
	p.run(p.optedOut+"\n", "prove", config)
	p.run("", "run", config, "--dry-run")
	files := p.path("data/*.parquet")
	p.run("", "gate", config)
	p.run("", "gate", config, files, "--ask")
	p.run("", "run", config)
	p.run("", "gate", config, "--table", "crm")
	p.run("", "gate", config, files, "--flag-column", "other")
	p.run("", "gate", config, files, "--flag-column", "other", "--clean", p.path("data/clean/"+fmt.Sprint(len(p.ran))))
	p.run("", "run", config, "--offline")
	p.run("", "report", config)
	for _, format := range []string{"text", "json", "csv", "html"} {
		p.run("", "report", config, "--since", "1d", "--format", format)
		p.run("", "report", config, "--since", "1d", "--slo", "24h", "--format", format)
	}
	p.run("", "report", "columns")
	p.run("", "report", config, "--evidence", p.path("pack.zip"))
	p.run("", "verify", config, "--files")
	p.run("", "publish", config)
	p.run("", "publish", config, "--out", p.path("tables"))
	p.run("", "verify", p.path("pack.zip"))
	p.run("", "runs", config)
	p.run("", "runs", "show", config)
	for _, id := range []string{p.optedOut, p.clear, p.strange, hiddenEmail, strings.ToLower(p.strange), p.strange + "\n" + p.clear, ""} {
		p.run(id+"\n", "prove", config)
		p.run(id+"\n", "prove", config, "--no-scan")
		p.run(id+"\n", "check", config)
	}
	for _, reason := range []string{"entered by mistake", "", "asked by " + hiddenEmail, "it is " + p.optedOut, "key " + p.key} {
		p.run(p.optedOut+"\n", "unflag", config, "--reason", reason)
		p.run(p.clear+"\n", "unflag", config, "--reason", "test", "--ticket", reason)
	}
	p.run(p.strange+"\n"+p.clear, "unflag", config, "--reason", "test")
	p.run(p.optedOut, "prove", config)
	p.run("", "verify", config)
	p.run("", "run", config)
	p.run("", "operator", "inspect", p.path("optout"))
	list := p.write("optouts.csv.id", "id,at\n"+p.strange+",2026-01-02T03:04:05Z\n"+hiddenEmail+",x\n")
	for _, unit := range []string{"rfc3339", "s"} {
		p.run("", "operator", "import", list, "--format", "csv", "--id-column", "id", "--time-column", "at", "--time-unit", unit, "--optout-log", p.path("optout"))
	}
	p.run("", "operator", "import", list, "--format", "csv", "--id-column", "id", "--time-column", "at", "--time-unit", "rfc3339", "--optout-log", p.path("optout"), "--skip-bad")
	p.suppress(config, list)
	p.run("", "purge", config, "--dry-run", "--older-than", "0d")
	p.run("", "purge", config, "--ids", "0d")
	p.run("", "verify", config)
	p.run(p.clear, "prove", config)
	p.run("", "run", config)
	p.run("", "purge", config, "--older-than", "0d")
	p.run("", "verify", config)
	p.run("", "runs", config)
	p.run(p.optedOut, "prove", config)
	p.run("", "init", "--config", p.path("new.yaml"))
	p.run("", "demo", "--rows", "200", "--keep=false")
}

// suppress keeps lists of our own: one of ids that other lists have, too, and
// of cells that are none.
func (p *privacy) suppress(config, list string) {
	own := p.write("own.csv.id", "id,at\n"+p.clear+",2026-01-02T03:04:05Z\n"+p.optedOut+",2026-01-02T03:04:05Z\n"+hiddenEmail+",x\n")
	args := []string{"suppress", "import", config, "--source", "form", "--format", "csv", "--id-column", "id"}
	p.run("", append(args, "--basis", "form of the site", "--since", "2026-05-01", own)...)
	p.run("", append(args, "--basis", "form of the site", "--since", "2026-05-01", "--override", "max_quarantined", own)...)
	p.run("", append(args, "--basis", "form of the site", "--time-column", "at", "--time-unit", "rfc3339", "--override", "max_quarantined", own)...)
	p.run("", append(args, "--basis", "asked by "+hiddenEmail, "--since", "2026-05-01", own)...)
	p.run("", append(args, "--basis", p.clear, "--since", "2026-05-01", list)...)
	p.run("", "suppress", "list", config)
	p.run("", "run", config)
	p.run("", "report", config)
	p.run("", "report", config, "--evidence", p.path("own.zip"))
	p.run("", "verify", config)
	for _, id := range []string{p.clear, p.optedOut} {
		p.run(id, "prove", config)
		p.run(id, "unflag", config, "--reason", "test")
		p.run(id, "unflag", config, "--reason", "test", "--off-list", "form")
	}
	p.run("", "suppress", "import", config, "--source", "kept", "--format", "csv", "--id-column", "id", "--basis", "test", "--since", "2026-05-01", "--override", "max_quarantined", own)
	p.run("", "suppress", "remove", config, "--source", "form", "--reason", "asked by "+hiddenEmail)
	p.run("", "suppress", "remove", config, "--source", "form", "--reason", "no longer kept")
}

// remote runs jobs against our operator over HTTP, which misbehaves.
func (p *privacy) remote() {
	for n, faults := range []string{"", "garbage", "nonce", "unasked", "401", "400", "skew=5m"} {
		stop := p.serve(faults)
		config := "--config=" + p.job("job.yaml", "ws", fmt.Sprint("ws", n))
		p.run("", "init", config)
		if faults != "" {
			p.patience = 300 * time.Millisecond
		}
		p.run("", "doctor", config)
		p.run("", "run", config, "--dry-run")
		p.run("", "gate", config, "--ask")
		p.run(p.optedOut+"\n"+p.clear+"\n"+hiddenEmail+"\n", "check", config)
		p.run("", "report", config)
		stop()
	}
	p.patience = 2 * time.Second
	stop := p.serve("")
	defer stop()
	p.env["OTHER"] = "HB0eHxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgs="
	p.secrets.text("another secret", []byte(p.env["OTHER"]))
	for _, change := range [][]string{
		{"api_key: {file: api_key}", "api_key: {file: client_secret}"},          // wrong key
		{"client_secret: {file: client_secret}", "client_secret: {env: OTHER}"}, // wrong secret
		{"client_secret: {file: client_secret}", "client_secret: {file: api_key}"},
		{"client_secret: {file: client_secret}", "client_secret: {env: NONE}"},
		{"{file: client_secret}\n", "{file: client_secret}\n  canaries: {file: canaries.csv}\n"}, // another answer
		{"job: remote", "job: other"},
	} {
		config := "--config=" + p.job("changed.yaml", append(change, "ws", "ws0")...)
		p.run("", "run", config)
		p.run("", "doctor", config)
		p.run(p.clear+"\n", "check", config)
	}
}

// wrongPlaces puts ids and secrets where none belong.
func (p *privacy) wrongPlaces() {
	p.patience = 100 * time.Millisecond // there is no operator to be reached
	p.odd = true
	defer func() { p.odd = false }()
	for _, x := range []string{p.strange, p.clear, strings.ReplaceAll(p.clear, "+", "-"), hiddenEmail, p.key, p.secret} {
		changes := [][]string{
			{"job: remote", "job: " + x}, {"job: remote", x + ": remote"}, {"version: 1", "version: " + x}, {"scope: euid", "scope: " + x},
			{"environment: production", "environment: " + x}, {"kind: public", "kind: " + x}, {`url: "URL"`, `url: "` + x + `"`},
			{`url: "URL"`, `url: "https://` + x + `/"`}, {"{file: api_key}", x}, {"{file: client_secret}", x}, {"{file: api_key}", "{env: " + x + "}"},
			{"{file: api_key}", "{file: " + x + "}"}, {"{file: api_key}", "{" + x + ": 1}"}, {"name: crm", "name: " + x}, {"id_column: euid", "id_column: " + x},
			{"mode: column", "mode: " + x}, {"{mode: column}", "{mode: column, column: " + x + "}"}, {"tables:", x + "\ntables:"},
			{"data/*.parquet", x + "/*.parquet"}, {"workspace: ws", "workspace: ws0\nlimits: {max_duration: " + x + "}"},
			{"workspace: ws", "workspace: ws0\nlimits: {memory: " + x + "}"}, {"workspace: ws", "workspace: [" + x},
		}
		if x == hiddenEmail {
			changes = nil // an address may stand in a job file
		}
		for _, change := range changes {
			config := "--config=" + p.job("odd.yaml", append(change, "workspace: ws", "workspace: ws0")...)
			p.run("", "validate", config)
			p.run("", "run", config, "--dry-run")
			p.run("", "plan", config, "--out", p.path("plan2.json"))
		}
		config := "--config=" + p.path("optsweep.yaml")
		for _, args := range [][]string{
			{x}, {"run", x}, {"run", "--" + x}, {"run", "--dry-run=" + x}, {"--config", x, "validate"}, {"prove", config, x}, {"purge", config, "--ids", x}, {"purge", config, "--ledger", x}, {"purge", x}, {"unflag", config, x, "--reason", x}, {"check", config, x},
			{"validate", x}, {"report", config, "--run", x}, {"runs", "show", config, x}, {"verify", x}, {"verify", config, "--public-key", x},
			{"run", config, "--override", x}, {"run", config, "--plan", x}, {"report", config, "--since", x}, {"report", config, "--slo", x}, {"report", config, "--table", x}, {"operator", x}, {"operator", "inspect", x},
			{"gate", config, x}, {"gate", config, "--table", x}, {"gate", config, "--max-age", x}, {"gate", config, p.path("data/*.parquet"), "--id-column", x, "--flag-column", x, "--clean", x},
			{"suppress", x}, {"unflag", config, "--reason", "x", "--off-list", x}, {"suppress", "list", config, x}, {"suppress", "remove", config, "--source", x, "--reason", "x"},
			{"suppress", "import", config, "--source", x, "--basis", "x", "--format", "csv", "--id-column", "id", "--since", "2026-05-01", p.path("optouts.csv.id")},
			{"suppress", "import", config, "--source", "x", "--basis", x, "--format", "csv", "--id-column", "id", "--since", "2026-05-01", p.path("optouts.csv.id")},
			{"suppress", "import", config, "--source", "x", "--basis", "x", "--format", x, "--id-column", x, "--since", x, x},
			{"operator", "import", x, "--format", x}, {"operator", "serve", "--fault", x, "--optout-log", p.path("optout"), "--clients", p.path("clients.json")},
			{"demo", "--rows", x}, {"--output", x, "version"}, {"init", "--log-format", x}, {"help", x},
			{"operator", "import", p.path("optouts.csv.id"), "--format", "csv", "--id-column", x, "--time-column", "at", "--time-unit", "s", "--optout-log", p.path("optout")},
		} {
			p.run("", args...)
		}
	}
}

// damaged runs jobs on files and workspaces that are broken.
func (p *privacy) damaged() {
	p.patience = time.Minute
	config := "--config=" + p.path("optsweep.yaml")
	parts, err := filepath.Glob(p.path("data/*.parquet"))
	if err != nil || len(parts) < 3 {
		p.t.Fatal(err)
	}
	for n, size := range []int64{0, 5, 2000} {
		if err := os.Truncate(parts[n], size); err != nil {
			p.t.Fatal(err)
		}
	}
	p.run("", "run", config)
	p.run("", "gate", config)
	p.run("", "gate", config, p.path("data/*.parquet"), "--ask")
	p.run("", "plan", config)
	p.run(p.optedOut+"\n", "prove", config)
	for _, pattern := range []string{"workspace/runs/*/check.ndjson", "workspace/runs/*/shards/*.ids", "workspace/suppression/sources/*.ids", "workspace/suppression/*.ids", "workspace/ledger.ndjson"} {
		files, err := filepath.Glob(p.path(pattern))
		if err != nil || len(files) == 0 {
			p.t.Fatalf("%s: %v", pattern, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				p.t.Fatal(err)
			}
			if len(data) == 0 {
				continue
			}
			data[len(data)/2] ^= 1
			if err := os.WriteFile(f, data, 0o600); err != nil {
				p.t.Fatal(err)
			}
		}
		p.run("", "verify", config)
		p.run(p.clear+"\n", "prove", config)
		p.run("", "run", config)
		p.run("", "report", config)
		p.run("", "runs", config)
		p.run("", "gate", config)
		p.run("", "suppress", "list", config)
	}
}
