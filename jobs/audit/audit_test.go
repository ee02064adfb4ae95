package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/audit"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// bench is a workspace in memory where the system has such a thing.
func bench(t testing.TB) *sweeptest.Bench {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "optsweep-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b, err := sweeptest.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.Rejected[sweeptest.ID(1)] = schemas.OperatorRejected
	return b
}

func mustRun(t testing.TB, b *sweeptest.Bench) string {
	t.Helper()
	rep, err := b.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return rep.Run
}

func verify(t testing.TB, b *sweeptest.Bench, change func(*audit.Options)) audit.Result {
	t.Helper()
	o := audit.Options{Dir: b.Dir, ToolVersion: sweeptest.ToolVersion, Now: b.Now}
	if change != nil {
		change(&o)
	}
	r, err := audit.Workspace(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func failed(r audit.Result) (lines []string) {
	for _, c := range r.Checks {
		if c.Status == audit.Failed {
			lines = append(lines, c.What+" | "+c.Run+" | "+c.File+" | "+c.Detail)
		}
	}
	return lines
}

func mustBeWhole(t testing.TB, r audit.Result) {
	t.Helper()
	if lines := failed(r); len(lines) > 0 || r.Checks.Err() != nil {
		t.Fatalf("failed:\n%s", strings.Join(lines, "\n"))
	}
}

func TestUntouchedWorkspaceIsWhole(t *testing.T) {
	b := bench(t)
	mustBeWhole(t, verify(t, b, nil)) // without a run
	first := mustRun(t, b)
	b.OptedOut[sweeptest.ID(2)] = 1_650_000_000_000
	second := mustRun(t, b)
	b.DryRun = true
	dry := mustRun(t, b)
	before := tree(t, b.Dir)
	r := verify(t, b, nil)
	mustBeWhole(t, r)
	if r.Runs != 3 || r.Signer == nil {
		t.Errorf("%d runs, signer %v", r.Runs, r.Signer)
	}
	for _, want := range []string{"workspace", "pseudonym key", "ledger", "ledger head", "runs", "laws", "report", "check journal",
		"ids", "plan", "unit counts", "quarantine", "receipts", "suppression list", "previewed list", "evidence key"} {
		if !slices.ContainsFunc(r.Checks, func(c audit.Check) bool { return c.What == want && c.Status == audit.OK }) {
			t.Errorf("%q was not checked", want)
		}
	}
	for _, run := range []string{first, second, dry} {
		if n := len(slices.DeleteFunc(slices.Clone(r.Checks), func(c audit.Check) bool { return c.Run != run })); n < 8 {
			t.Errorf("run %s has only %d checks", run, n)
		}
	}
	if after := tree(t, b.Dir); !slices.Equal(before, after) {
		t.Error("verification has changed the workspace")
	}
}

// tree lists all files with their content.
func tree(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, path+"\x00"+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every artefact of a workspace is changed, removed, cut off, and exchanged
// for that of another run: it is named each time.
func TestEveryTamperedArtefactIsNamed(t *testing.T) {
	template := bench(t)
	template.Rejected[sweeptest.ID(3)] = schemas.OperatorRejected
	first := mustRun(t, template)
	template.OptedOut[sweeptest.ID(2)] = 1_650_000_000_000
	template.Rejected[sweeptest.ID(4)] = schemas.OperatorRejected
	second := mustRun(t, template)

	perRun := []struct{ file, what string }{
		{"report.json", "report"},
		{"ledger.head", "ledger head"},
		{"plan.json", "plan"},
		{"check.ndjson", "check journal"},
		{"extract.ndjson", "unit counts"},
		{"apply.ndjson", "receipts"},
		{"shards/manifest.json", "ids"},
		{"shards/shard-000000.ids", "ids"},
		{"quarantine/000000.csv", "quarantine"},
		{"quarantine/000001.csv", "quarantine"},
		{"quarantine/operator.csv", "quarantine"},
	}
	type target struct{ file, other, what string }
	var targets []target
	for _, x := range perRun {
		targets = append(targets, target{"runs/" + first + "/" + x.file, "runs/" + second + "/" + x.file, x.what})
	}
	targets = append(targets,
		target{"ledger.ndjson", "runs/" + first + "/check.ndjson", "ledger"},
		target{"ledger.head", "workspace.json", "ledger head"},
		target{"workspace.json", "ledger.head", "workspace"},
		target{"pseudonym.key", "ledger.head", "pseudonym key"},
		target{"evidence.key", "pseudonym.key", "evidence key"},
		target{"suppression/" + first + ".ids", "suppression/" + second + ".ids", "earlier list"},
		target{"suppression/" + second + ".ids", "suppression/" + first + ".ids", "suppression list"},
	)
	acts := map[string]func(t *testing.T, path, other string){
		"changed": func(t *testing.T, path, _ string) {
			data := read(t, path)
			if reason := anyReason.Find(data); filepath.Ext(path) == ".csv" {
				data = bytes.Replace(data, reason, []byte("hex_hash"), 1)
			} else {
				data[len(data)/2] ^= 0x01
			}
			write(t, path, data)
		},
		"removed":   func(t *testing.T, path, _ string) { check(t, os.Remove(path)) },
		"emptied":   func(t *testing.T, path, _ string) { check(t, os.Truncate(path, 0)) },
		"last line": func(t *testing.T, path, _ string) { write(t, path, withoutLastLine(read(t, path))) },
		"exchanged": func(t *testing.T, path, other string) { write(t, path, read(t, other)) },
	}
	copies := 0
	for _, x := range targets {
		for name, act := range acts {
			switch {
			case name == "changed" && (x.file == "pseudonym.key" || x.file == "workspace.json"):
				continue // nothing tells one key from another, or whether the workspace was made at another time
			case x.file == "suppression/"+first+".ids" && name == "removed":
				continue // it is no longer needed
			case name == "exchanged" && strings.Contains(x.file, "quarantine/00000"):
				continue // the same rows, so the same file
			case name == "exchanged" && strings.Contains(x.file, "shards"):
				continue // the same ids
			}
			t.Run(x.file[strings.LastIndex(x.file, "/")+1:]+" "+name, func(t *testing.T) {
				copies++
				b := *template
				b.Dir = filepath.Join(filepath.Dir(template.Dir), "copy", name, strings.ReplaceAll(x.file, "/", "_"))
				check(t, os.CopyFS(b.Dir, os.DirFS(template.Dir)))
				defer func() { check(t, os.RemoveAll(b.Dir)) }()
				act(t, filepath.Join(b.Dir, filepath.FromSlash(x.file)), filepath.Join(template.Dir, filepath.FromSlash(x.other)))
				r := verify(t, &b, nil)
				if schemas.ClassOf(r.Checks.Err()) != schemas.Integrity {
					t.Fatal("it was not found")
				}
				named := slices.ContainsFunc(r.Checks, func(c audit.Check) bool {
					file := c.File
					if x.what == "ids" {
						file = filepath.ToSlash(filepath.Join(c.File, filepath.Base(x.file))) // the folder is named, the file in the detail
					}
					return c.Status == audit.Failed && c.What == x.what && (file == x.file || x.what == "workspace")
				})
				if !named {
					t.Fatalf("not named:\n%s", strings.Join(failed(r), "\n"))
				}
			})
		}
	}
	if copies < 70 {
		t.Errorf("only %d cases", copies)
	}
}

var anyReason = regexp.MustCompile(`looks_like_email|not_base64|operator_rejected`)

func withoutLastLine(data []byte) []byte {
	trimmed := bytes.TrimSuffix(data, []byte("\n"))
	return data[:bytes.LastIndexByte(trimmed, '\n')+1]
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(path, data, 0o600))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Any number of lines is cut off the ledger.
func TestLedgerThatWasCutOffIsFound(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	path := filepath.Join(b.Dir, "ledger.ndjson")
	for data := withoutLastLine(read(t, path)); len(data) > 0; data = withoutLastLine(data) {
		write(t, path, data)
		r := verify(t, b, nil)
		if !strings.Contains(strings.Join(failed(r), "\n"), "ledger.ndjson | it was cut off: it ends with event ") {
			t.Fatalf("%d lines left: %q", bytes.Count(data, []byte("\n")), failed(r))
		}
	}
}

// A history that was written anew, with all hashes right, does not fit the
// heads that were recorded.
func TestRewrittenLedgerIsFound(t *testing.T) {
	b := bench(t)
	run := mustRun(t, b)
	path := filepath.Join(b.Dir, "ledger.ndjson")
	var events []schemas.Event
	_, err := ledger.Read(path, func(e schemas.Event) error { events = append(events, e); return nil })
	check(t, err)
	check(t, os.Remove(path))
	now := time.Time{}
	chain, err := ledger.Create(durable.Disk{}, path, func() time.Time { return now })
	check(t, err)
	for _, e := range events {
		now = e.Time
		data := e.Data
		if e.Type == schemas.EventChecked {
			data = bytes.Replace(data, []byte(`"retries":0`), []byte(`"retries":1`), 1)
		}
		_, err := chain.Append(e.Run, e.Type, data)
		check(t, err)
	}
	check(t, chain.Close())
	r := verify(t, b, nil)
	lines := strings.Join(failed(r), "\n")
	for _, want := range []string{
		" | ledger.head | event ", "runs/" + run + "/ledger.head | event ", "runs/" + run + "/report.json | .ids.retries is not what the ledger gives",
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in:\n%s", want, lines)
		}
	}
}

func TestFolderOfAnUnknownRunIsFound(t *testing.T) {
	b := bench(t)
	run := mustRun(t, b)
	check(t, os.Mkdir(filepath.Join(b.Dir, "runs", "20300101T000000.000Z"), 0o700)) // as a killed process leaves it
	mustBeWhole(t, verify(t, b, nil))
	check(t, os.CopyFS(filepath.Join(b.Dir, "runs", "20300101T000000.000Z"), os.DirFS(filepath.Join(b.Dir, "runs", run))))
	r := verify(t, b, nil)
	if !strings.Contains(strings.Join(failed(r), "\n"), "runs/20300101T000000.000Z | the ledger knows no such run") {
		t.Errorf("%q", failed(r))
	}
	check(t, os.RemoveAll(filepath.Join(b.Dir, "runs", run)))
	if r = verify(t, b, nil); !strings.Contains(strings.Join(failed(r), "\n"), "folder | "+run) {
		t.Errorf("%q", failed(r))
	}
}

// Whatever durable step a process dies at, what it leaves is not taken for
// tampering, neither then nor after the next run.
func TestKilledRunIsNotTakenForTampering(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for step := 0; ; step++ {
			b := bench(t)
			n := 0
			b.Disk.Fault = func(durable.Step, string) (bool, error) {
				n++
				if n <= step {
					return false, nil
				}
				return stored && n == step+1, errors.New("dead")
			}
			_, err := b.Run(context.Background())
			if n <= step {
				check(t, err)
				break
			}
			mustBeWhole(t, verify(t, b, nil))
			b.Disk.Fault = nil
			if _, err := b.Run(context.Background()); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			r := verify(t, b, nil)
			mustBeWhole(t, r)
			if n := r.Checks.Count(audit.Note); n != 0 {
				t.Fatalf("step %d stored=%v: %d notes after the next run: %+v", step, stored, n, r.Checks)
			}
		}
	}
}

// Verification beside runs that come and go never takes what is being written
// for tampering.
func TestVerificationBesideRuns(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	o := audit.Options{Dir: b.Dir, ToolVersion: sweeptest.ToolVersion, Now: func() time.Time { return time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC) }}
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < 30 && err == nil; n++ {
			_, err = b.Run(context.Background())
		}
		done <- err
	}()
	for times := 0; ; times++ {
		select {
		case err := <-done:
			check(t, err)
			if times < 3 {
				t.Errorf("verified only %d times", times)
			}
			return
		default:
		}
		r, err := audit.Workspace(context.Background(), o)
		check(t, err)
		mustBeWhole(t, r)
	}
}

func TestInterruptedAndAbandonedRunsAreWhole(t *testing.T) {
	b := bench(t)
	b.Fail = func(batch int) error {
		if batch == 3 {
			return errors.New("down")
		}
		return nil
	}
	rep, err := b.Run(context.Background())
	if err == nil {
		t.Fatal("not interrupted")
	}
	mustBeWhole(t, verify(t, b, nil))
	path := filepath.Join(b.Dir, "runs", rep.Run, "report.json")
	whole := read(t, path)
	write(t, path, bytes.Replace(whole, []byte(`"resumed": 0`), []byte(`"resumed": 1`), 1))
	if r := verify(t, b, nil); !strings.Contains(strings.Join(failed(r), "\n"), "report | "+rep.Run) {
		t.Errorf("%q", failed(r))
	}
	write(t, path, whole)
	b.Fail = nil
	b.Clock = b.Clock.Add(2 * time.Hour) // too old to go on
	if again := mustRun(t, b); again == rep.Run {
		t.Fatal("the run was resumed")
	}
	mustBeWhole(t, verify(t, b, nil))
}

func TestIDsRemovedByRetentionAreGoneNotMissing(t *testing.T) {
	b := bench(t)
	run := mustRun(t, b)
	check(t, os.RemoveAll(filepath.Join(b.Dir, "runs", run, "shards")))
	if r := verify(t, b, nil); !strings.Contains(strings.Join(failed(r), "\n"), "ids | "+run) {
		t.Errorf("removed too early: %q", failed(r))
	}
	b.Clock = b.Clock.Add(31 * 24 * time.Hour)
	r := verify(t, b, nil)
	mustBeWhole(t, r)
	if r.Checks.Count(audit.Gone) != 1 {
		t.Errorf("%+v", r.Checks)
	}
}

func TestChangedUnitsAreNamedWithoutFailing(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	files := func(o *audit.Options) { o.Version = b.Version }
	r := verify(t, b, files)
	if mustBeWhole(t, r); r.Checks.Count(audit.Note) != 0 {
		t.Errorf("%+v", r.Checks)
	}
	b.Change("b")
	r = verify(t, b, files)
	mustBeWhole(t, r)
	last := r.Checks[len(r.Checks)-1]
	if last.Status != audit.Note || !strings.Contains(last.Detail, "crm, b has changed") {
		t.Errorf("%+v", last)
	}
}

// Another version of optsweep made the report: it may lack what this one adds.
func TestReportOfAnotherVersion(t *testing.T) {
	b := bench(t)
	run := mustRun(t, b)
	path := filepath.Join(b.Dir, "runs", run, "report.json")
	var fields map[string]any
	check(t, json.Unmarshal(read(t, path), &fields))
	delete(fields, "offline")
	fields["laws"] = fields["laws"].([]any)[1:]
	older, err := json.Marshal(fields)
	check(t, err)
	write(t, path, older)
	other := func(o *audit.Options) { o.ToolVersion = "v2" }
	mustBeWhole(t, verify(t, b, other))
	if len(failed(verify(t, b, nil))) == 0 {
		t.Error("this version's own report may lack nothing")
	}
	fields["resumed"] = 3
	changed, err := json.Marshal(fields)
	check(t, err)
	write(t, path, changed)
	if lines := strings.Join(failed(verify(t, b, other)), "\n"); !strings.Contains(lines, ".resumed is not what the ledger gives") {
		t.Errorf("%q", lines)
	}
}

func TestNoWorkspace(t *testing.T) {
	_, err := audit.Workspace(context.Background(), audit.Options{Dir: t.TempDir(), Now: time.Now})
	if schemas.ClassOf(err) != schemas.Usage {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := audit.Workspace(ctx, audit.Options{Dir: b.Dir, Now: b.Now}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
