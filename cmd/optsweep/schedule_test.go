package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"optsweep/jobs/daemon"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// scheduled is a demo with a schedule whose last fire was missed.
func scheduled(t *testing.T, rows int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "d")
	mustSucceed(t, program(t.Context(), t, "demo", "--rows", fmt.Sprint(rows), "--dir", dir, "--no-run"))
	missFire(t, dir, "optsweep.yaml")
	return dir
}

// missFire gives a demo's job file a schedule, and its workspace a log of fires
// that ends a day ago.
func missFire(t *testing.T, dir, config string) {
	t.Helper()
	// Half an hour ago, so that no fire comes while the test runs.
	cron := time.Now().UTC().Add(-30 * time.Minute).Format("4 15 * * *")
	appendTo(t, filepath.Join(dir, config), fmt.Sprintf("\nschedule: {cron: %q, catch_up: once, grace: 2d}\n", cron))
	workspace := filepath.Join(dir, "workspace")
	if err := os.MkdirAll(filepath.Join(workspace, daemon.Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-24 * time.Hour)
	log, err := ledger.Create(durable.Disk{}, daemon.Log(workspace, "demo"), func() time.Time { return before })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append("", schemas.EventScheduleSet, schemas.ScheduleSet{Cron: cron, Timezone: "UTC", From: before}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(data, text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// process is a daemon in a process of its own.
type process struct {
	*exec.Cmd
	t   *testing.T
	out *output
}

func startDaemon(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: program(context.Background(), t, append([]string{"schedule"}, args...)...), t: t, out: new(output)}
	p.Stdout, p.Stderr = p.out, p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

// says waits until the daemon has logged something.
func (p *process) says(text string) {
	p.t.Helper()
	p.until("it does not say "+text, func() bool { return strings.Contains(string(p.out.Bytes()), text) })
}

func (p *process) until(complaint string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	p.t.Fatalf("%s:\n%s", complaint, p.out.Bytes())
}

// exits sends signals and wants that exit code.
func (p *process) exits(want int, signals ...os.Signal) {
	p.t.Helper()
	for _, s := range signals {
		if err := p.Process.Signal(s); err != nil {
			p.t.Fatal(err)
		}
	}
	_ = p.Wait()
	if got := p.ProcessState.ExitCode(); got != want {
		p.t.Fatalf("exit code %d, want %d:\n%s", got, want, p.out.Bytes())
	}
	if found := idLike.Find(p.out.Bytes()); found != nil {
		p.t.Error("the log shows something like an id")
	}
}

// fires are what became of a job's fires.
func fires(t *testing.T, workspace, job string) (all []daemon.Record) {
	t.Helper()
	if err := daemon.ReadLog(workspace, job, func(r daemon.Record) { all = append(all, r) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

// finishedRuns are the runs of a workspace that have finished.
func finishedRuns(t *testing.T, workspace string) (runs []string) {
	t.Helper()
	if _, err := ledger.Read(sweep.Layout(workspace).Ledger(), func(e schemas.Event) error {
		if e.Type == schemas.EventRunFinished {
			runs = append(runs, e.Run)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return runs
}

// A daemon that starts after a fire was missed runs it, once, serves the
// report, keeps its jobs when a file turns bad, and ends with 0.
func TestDaemonCatchesUp(t *testing.T) {
	t.Parallel()
	dir := scheduled(t, 2000)
	workspace, config := filepath.Join(dir, "workspace"), filepath.Join(dir, "optsweep.yaml")
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p := startDaemon(t, "--config", dir, "--listen", address)
	p.says("a fire is done")
	if got := fires(t, workspace, "demo"); len(got) != 1 || got[0].Status != schemas.StatusReconciled || got[0].Run == "" {
		t.Fatalf("fires %+v", got)
	}
	for path, want := range map[string]string{
		"/": "reconciled", "/healthz": "ok", "/readyz": "ok", "/jobs/demo/runs/" + fires(t, workspace, "demo")[0].Run + "/report": `"status": "reconciled"`,
	} {
		if text := fetch(t, "http://"+address+path); !strings.Contains(text, want) || idLike.MatchString(strings.ReplaceAll(text, "sha256-", "")) && path == "/" && !strings.Contains(text, "style-src") {
			t.Errorf("%s: %s", path, text)
		}
	}

	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, config, "nonsense: true\n")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.says("a job file cannot be used")
	if text := fetch(t, "http://"+address+"/"); !strings.Contains(text, ">demo</h2>") || !strings.Contains(text, "nonsense: unknown key") {
		t.Errorf("page: %s", text)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(good), "catch_up: once", "catch_up: skip", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("the page does not show the new file", func() bool { return strings.Contains(fetch(t, "http://"+address+"/"), "<dd>skip, not older than") })
	p.exits(0, syscall.SIGTERM)

	p = startDaemon(t, "--config", config, "--listen", "off")
	p.says("a job is scheduled")
	p.exits(0, os.Interrupt)
	if runs := finishedRuns(t, workspace); len(runs) != 1 {
		t.Errorf("runs %q", runs)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", url, r.Status, body, err)
	}
	return string(body)
}

// A daemon is killed in the middle of its run. The next one goes on with it:
// one fire, one run, and the bytes of an undisturbed one.
func TestKilledDaemonGoesOn(t *testing.T) {
	t.Parallel()
	dir := scheduled(t, 30000)
	once := copyOf(t, dir)
	mustSucceed(t, program(t.Context(), t, "run", "--config", filepath.Join(once, "optsweep.yaml")))
	want, err := digests(filepath.Join(once, "data"))
	if err != nil {
		t.Fatal(err)
	}
	workspace, config := filepath.Join(dir, "workspace"), filepath.Join(dir, "optsweep.yaml")
	for _, phase := range []string{"phase=extract", "phase=check", "phase=apply"} {
		p := startDaemon(t, "--config", config, "--listen", "off")
		p.until("no "+phase, func() bool {
			text := string(p.out.Bytes())
			return strings.Contains(text, phase) || strings.Contains(text, "a fire is done")
		})
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
	}
	p := startDaemon(t, "--config", config, "--listen", "off")
	p.until("the fire is not done", func() bool { return len(fires(t, workspace, "demo")) > 0 })
	p.exits(0, syscall.SIGTERM)
	if got := fires(t, workspace, "demo"); len(got) != 1 || got[0].Status != schemas.StatusReconciled {
		t.Errorf("fires %+v", got)
	}
	if runs := slices.Compact(finishedRuns(t, workspace)); len(runs) != 1 {
		t.Errorf("runs %q", runs)
	}
	if got, err := digests(filepath.Join(dir, "data")); err != nil || !sameDigests(got, want) {
		t.Errorf("the data is not as after an undisturbed run, %v", err)
	}
}

// The first signal stops a run in the middle and ends with 0; the next daemon
// goes on with it.
func TestStoppedDaemonGoesOn(t *testing.T) {
	t.Parallel()
	dir := scheduled(t, 20000)
	workspace, config := filepath.Join(dir, "workspace"), filepath.Join(dir, "optsweep.yaml")
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	mustSucceed(t, program(t.Context(), t, "operator", "key", "new", "--clients", filepath.Join(dir, "clients.json"),
		"--key-file", filepath.Join(dir, "api_key"), "--secret-file", filepath.Join(dir, "client_secret")))
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	remote := fmt.Sprintf("operator: {kind: public, url: %q, api_key: {file: api_key}, client_secret: {file: client_secret}}\n", "http://"+address)
	text := regexp.MustCompile(`(?s)operator:\n.*optout_log: optout\n`).ReplaceAllString(string(data), remote)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil || text == string(data) {
		t.Fatalf("the demo's job file has changed, %v", err)
	}
	server := program(context.Background(), t, "operator", "serve", "--optout-log", filepath.Join(dir, "optout"), "--clients", filepath.Join(dir, "clients.json"),
		"--listen", address, "--fault", "slow=2s")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	if !isListening(address) {
		t.Fatal("no operator")
	}

	p := startDaemon(t, "--config", config, "--listen", "off")
	p.says("phase=check")
	p.exits(0, syscall.SIGTERM)
	if text := string(p.out.Bytes()); !strings.Contains(text, "stopping a run") || len(fires(t, workspace, "demo")) != 0 {
		t.Errorf("fires %+v, log\n%s", fires(t, workspace, "demo"), text)
	}
	p = startDaemon(t, "--config", config, "--listen", "off")
	p.says("going on with an unfinished run")
	p.says("a fire is done")
	p.exits(0, syscall.SIGTERM)
	if got := fires(t, workspace, "demo"); len(got) != 1 || got[0].Status != schemas.StatusReconciled {
		t.Errorf("fires %+v", got)
	}
}

// Time zones are known where the machine has no database of them.
func TestTimeZonesAreBuiltIn(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "optsweep/cmd/optsweep").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Fields(string(out)), "time/tzdata") {
		t.Error("the program does not hold time/tzdata")
	}
}
