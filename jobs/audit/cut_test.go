package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"optsweep/jobs/audit"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// purged is a workspace of three runs of which retention has left the last.
func purged(t testing.TB) (b *sweeptest.Bench, runs []string) {
	t.Helper()
	b = bench(t)
	for n := range 3 {
		b.OptedOut[sweeptest.ID(n+1)] = 1_650_000_000_000
		runs = append(runs, mustRun(t, b))
	}
	mustPurge(t, b)
	return b, runs
}

func mustPurge(t testing.TB, b *sweeptest.Bench) schemas.PurgeResult {
	t.Helper()
	p, err := b.Purge(context.Background(), b.Everything())
	check(t, err)
	return p
}

// details of all checks with a status.
func details(r audit.Result, status audit.Status) string {
	var all []string
	for _, c := range r.Checks {
		if c.Status == status {
			all = append(all, c.What+" | "+c.Run+" | "+c.File+" | "+c.Detail)
		}
	}
	return strings.Join(all, "\n")
}

func TestCutLedgerIsWholeAndSaysWhatIsGone(t *testing.T) {
	b, _ := purged(t)
	r := verify(t, b, nil)
	mustBeWhole(t, r)
	if r.Runs != 1 || r.Removed == 0 || r.Signer == nil || r.Events == 0 {
		t.Errorf("%d runs, %d events, %d removed", r.Runs, r.Events, r.Removed)
	}
	notes := details(r, audit.Note)
	if !strings.Contains(notes, fmt.Sprintf("events 1 to %d, until 2026-05-01T", r.Removed)) || !strings.Contains(notes, "by ops on alpha") {
		t.Errorf("notes %q", notes)
	}
	for _, want := range []string{"suppression list", "evidence key", "ledger head", "report", "receipts"} {
		if !slices.ContainsFunc(r.Checks, func(c audit.Check) bool { return c.What == want && c.Status == audit.OK }) {
			t.Errorf("%q was not checked", want)
		}
	}
	mustRun(t, b)
	r = verify(t, b, nil)
	if mustBeWhole(t, r); r.Runs != 2 {
		t.Errorf("%d runs", r.Runs)
	}
}

// The last run is spared by a purge, so what is missing of it is missing.
func TestPurgeDoesNotExcuseWhatItSpared(t *testing.T) {
	for _, file := range []string{"shards", "check.ndjson", "quarantine", "."} {
		b, runs := purged(t)
		path := filepath.Join(b.Dir, "runs", runs[2], file)
		check(t, os.RemoveAll(path))
		if r := verify(t, b, nil); len(failed(r)) == 0 {
			t.Errorf("%s: it is not missed", file)
		}
		b, runs = purged(t)
		mustRun(t, b)
		r := b.Everything()
		r.LedgerBefore = r.LedgerBefore.AddDate(-1, 0, 0)
		_, err := b.Purge(context.Background(), r)
		check(t, err)
		check(t, os.RemoveAll(filepath.Join(b.Dir, "runs", runs[2], file)))
		mustBeWhole(t, verify(t, b, nil))
	}
}

// What the events told that are gone is still compared: the key and the list.
func TestWhatACutRestatesIsCompared(t *testing.T) {
	for file, what := range map[string]string{"evidence.key": "evidence key", "suppression": "suppression list"} {
		b := bench(t)
		// A run that is given up tells of the list, and nothing that stays does.
		b.Disk.Fault = func(_ durable.Step, path string) (bool, error) {
			if filepath.Base(path) == sweep.ApplyJournal {
				return false, errors.New("dead")
			}
			return false, nil
		}
		if _, err := b.Run(context.Background()); err == nil {
			t.Fatal("the run was not cut short")
		}
		b.Disk.Fault = nil
		b.DryRun = true
		mustRun(t, b)
		mustPurge(t, b)
		mustBeWhole(t, verify(t, b, nil))
		path := filepath.Join(b.Dir, file)
		if file == "suppression" {
			lists, err := filepath.Glob(filepath.Join(path, "*.ids"))
			if err != nil || len(lists) != 1 {
				t.Fatal(lists, err)
			}
			path = lists[0]
		}
		data := read(t, path)
		data[len(data)/2] ^= 1
		write(t, path, data)
		if r := verify(t, b, nil); !strings.Contains(details(r, audit.Failed), what) {
			t.Errorf("%s: %q", file, details(r, audit.Failed))
		}
	}
}

func TestForgedBeginningIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T) *sweeptest.Bench
		drop    int
	}{
		"of a whole ledger": {func(t *testing.T) *sweeptest.Bench { b := bench(t); mustRun(t, b); return b }, 1},
		"of a cut one":      {func(t *testing.T) *sweeptest.Bench { b, _ := purged(t); return b }, 1},
		"up to a later run": {func(t *testing.T) *sweeptest.Bench { b := bench(t); mustRun(t, b); mustRun(t, b); return b }, 12},
	} {
		b := c.prepare(t)
		path := filepath.Join(b.Dir, "ledger.ndjson")
		lines := bytes.SplitAfter(read(t, path), []byte("\n"))
		write(t, path, bytes.Join(lines[c.drop:], nil))
		r := verify(t, b, nil)
		if got := details(r, audit.Failed); !strings.Contains(got, "ledger |  | ledger.ndjson | its beginning was cut off: it begins with event") {
			t.Errorf("%s: %q", name, got)
		}
		if _, err := b.Run(context.Background()); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: a run went on: %v", name, err)
		}
	}
}

// A folder or a head from before the cut cannot be compared; that is said, and
// is an error only where no such thing can be left.
func TestLeftoversFromBeforeACut(t *testing.T) {
	b := bench(t)
	older := read(t, filepath.Join(b.Dir, "ledger.head"))
	first := mustRun(t, b)
	mustRun(t, b)
	mustRun(t, b)
	folder := filepath.Join(b.Dir, "runs", first)
	saved := filepath.Join(t.TempDir(), "saved")
	check(t, os.CopyFS(saved, os.DirFS(folder)))
	mustPurge(t, b)
	check(t, os.CopyFS(folder, os.DirFS(saved)))
	r := verify(t, b, nil)
	mustBeWhole(t, r)
	if notes := details(r, audit.Note); !strings.Contains(notes, "runs | "+first) || !strings.Contains(notes, "ledger head | "+first) {
		t.Errorf("notes %q", notes)
	}
	if p := mustPurge(t, b); p.Runs.Runs != 1 || p.Ledger.Events != 0 {
		t.Errorf("%+v", p)
	}
	if r = verify(t, b, nil); r.Checks.Count(audit.Note) != 1 {
		t.Errorf("%q", details(r, audit.Note))
	}
	check(t, os.CopyFS(filepath.Join(b.Dir, "runs", "20990101T000000.000Z"), os.DirFS(saved)))
	if r = verify(t, b, nil); !strings.Contains(details(r, audit.Failed), "the ledger knows no such run") {
		t.Errorf("%q", details(r, audit.Failed))
	}
	check(t, os.RemoveAll(filepath.Join(b.Dir, "runs", "20990101T000000.000Z")))
	write(t, filepath.Join(b.Dir, "ledger.head"), older)
	if r = verify(t, b, nil); !strings.Contains(details(r, audit.Failed), "it is older than the ledger") {
		t.Errorf("%q", details(r, audit.Failed))
	}
	if _, err := b.Run(context.Background()); schemas.ClassOf(err) != schemas.Integrity {
		t.Errorf("a run went on: %v", err)
	}
}

// Whatever durable step a purge dies at, what it leaves is not taken for
// tampering.
func TestKilledPurgeIsNotTakenForTampering(t *testing.T) {
	for _, stored := range []bool{false, true} {
		pending := 0
		for step := 0; ; step++ {
			b := bench(t)
			for range 3 {
				mustRun(t, b)
			}
			n := 0
			b.Disk.Fault = func(durable.Step, string) (bool, error) {
				n++
				if n <= step {
					return false, nil
				}
				return stored && n == step+1, errors.New("dead")
			}
			_, err := b.Purge(context.Background(), b.Everything())
			b.Disk.Fault = nil
			r := verify(t, b, nil)
			mustBeWhole(t, r)
			if strings.Contains(details(r, audit.Note), "retention was cut short") {
				pending++
			}
			mustRun(t, b)
			mustBeWhole(t, verify(t, b, nil))
			if n <= step {
				check(t, err)
				break
			}
		}
		if pending == 0 {
			t.Error("no purge was cut short before it removed the events")
		}
	}
}

// Two workspaces live the same life, but for purges at any time of one of them.
// It verifies all the time, and what its runs find and write is the same.
func TestPurgeChangesNoOutcome(t *testing.T) {
	parent := t.TempDir()
	cuts := 0
	rapid.Check(t, func(t *rapid.T) {
		var both [2]*sweeptest.Bench
		for i := range both {
			dir, err := os.MkdirTemp(fast(parent), "optsweep-test-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if both[i], err = sweeptest.New(dir); err != nil {
				t.Fatal(err)
			}
		}
		plain, purged := both[0], both[1]
		run := func() {
			one, oneErr := plain.Run(context.Background())
			two, twoErr := purged.Run(context.Background())
			if (oneErr == nil) != (twoErr == nil) || one.Status != two.Status || one.Resumed != two.Resumed {
				t.Fatalf("%s, %v; purged: %s, %v", one.Status, oneErr, two.Status, twoErr)
			}
			one.IDs.Journal, two.IDs.Journal = "", ""
			one.IDs.Seconds, two.IDs.Seconds = 0, 0
			for _, s := range []*schemas.SuppressionUpdated{one.Suppression, two.Suppression} {
				if s != nil {
					s.File = "" // is named after the run
				}
			}
			if !reflect.DeepEqual(one.IDs, two.IDs) || !reflect.DeepEqual(one.Laws, two.Laws) || !reflect.DeepEqual(one.Suppression, two.Suppression) {
				t.Fatalf("%+v\npurged: %+v", one, two)
			}
		}
		verify := func() {
			r, err := audit.Workspace(context.Background(), audit.Options{Dir: purged.Dir, ToolVersion: sweeptest.ToolVersion, Now: purged.Now})
			if err != nil || len(failed(r)) > 0 {
				t.Fatalf("%v, %q", err, failed(r))
			}
		}
		for range rapid.IntRange(5, 12).Draw(t, "acts") {
			switch act := rapid.SampledFrom([]string{"run", "run", "run", "run", "dry run", "fail", "purge", "purge", "purge", "opt out", "restore", "wait"}).Draw(t, "act"); act {
			case "run":
				run()
				verify()
			case "dry run":
				plain.DryRun, purged.DryRun = true, true
				run()
				plain.DryRun, purged.DryRun = false, false
				verify()
			case "fail":
				at := rapid.IntRange(1, 6).Draw(t, "batch")
				for _, b := range both {
					b.Fail = func(batch int) error {
						if batch >= at { // another may be waiting for its turn
							return errors.New("down")
						}
						return nil
					}
				}
				run()
				plain.Fail, purged.Fail = nil, nil
				verify()
			case "purge":
				r := purged.Everything()
				days := rapid.SampledFrom([]int{0, 0, 0, 5, 40})
				r.IDsBefore = r.IDsBefore.AddDate(0, 0, -days.Draw(t, "ids"))
				r.RunsBefore = r.RunsBefore.AddDate(0, 0, -days.Draw(t, "runs"))
				r.LedgerBefore = r.RunsBefore.AddDate(0, 0, -days.Draw(t, "ledger"))
				p, err := purged.Purge(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				if p.Ledger.Events > 0 {
					cuts++
				}
				verify()
			case "opt out":
				id := sweeptest.ID(rapid.IntRange(0, 59).Draw(t, "id"))
				for _, b := range both {
					b.OptedOut[id] = 1_650_000_000_000
				}
			case "restore":
				unit := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "unit")
				plain.Restore(unit)
				purged.Restore(unit)
			case "wait":
				days := rapid.IntRange(1, 60).Draw(t, "days")
				for _, b := range both {
					b.Clock = b.Clock.AddDate(0, 0, days)
				}
			}
			if plain.State() != purged.State() {
				t.Fatalf("%s\npurged: %s", plain.State(), purged.State())
			}
		}
		run()
		verify()
		if plain.State() != purged.State() {
			t.Fatalf("%s\npurged: %s", plain.State(), purged.State())
		}
	})
	t.Logf("%d cuts", cuts)
	if cuts == 0 {
		t.Error("no ledger was cut")
	}
}

// fast is a folder in memory where the system has such a thing.
func fast(otherwise string) string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return otherwise
}

// Verification beside purges never takes what is being removed for tampering.
func TestCutLedgerIsReadBesideAPurge(t *testing.T) {
	b, _ := purged(t)
	path := filepath.Join(b.Dir, "ledger.ndjson")
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	mustRun(t, b)
	mustRun(t, b)
	mustPurge(t, b)
	// Who had opened the ledger before reads it to its end.
	if _, err := ledger.ReadLines(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), func(ledger.Line) error { return nil }); err != nil {
		t.Error(err)
	}
	mustBeWhole(t, verify(t, b, nil))
}
