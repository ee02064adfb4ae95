package wire

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/config"
	"optsweep/schemas"
)

// stopper cancels a run in a phase.
type stopper struct {
	silent
	phase  string
	cancel context.CancelFunc
}

func (s stopper) Start(phase string, _ int64, _ string) {
	if phase == s.phase {
		s.cancel()
	}
}

// An attempt whose end lineage was never told of, because its process died,
// say, is told of by the next start. Each attempt has one START and one end.
func TestTheNextStartMakesUpForWhatWasNotTold(t *testing.T) {
	x := newTold(t)
	x.job.Signals.Lineage = config.Lineage{File: filepath.Join(x.dir, "lineage.ndjson"), Namespace: "n"}
	marks := func() int {
		all, err := filepath.Glob(filepath.Join(x.job.Workspace, "runs", "*", "lineage-*.open"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	x.s.Progress = stopper{phase: "check", cancel: cancel}
	if _, err := x.run(ctx, RunOptions{}); schemas.ClassOf(err) != schemas.Cancelled {
		t.Fatalf("got %v", err)
	}
	types, _ := x.events()
	if strings.Join(types, " ") != "START ABORT" || marks() != 0 {
		t.Fatalf("events %v, %d marks", types, marks())
	}
	// Now one whose end does not reach the file.
	ctx, cancel = context.WithCancel(t.Context())
	x.s.Progress = stopper{phase: "check", cancel: func() {
		waitForMark(t, marks)
		hide(t, x.dir, true)
		cancel()
	}}
	if _, err := x.run(ctx, RunOptions{}); schemas.ClassOf(err) != schemas.Cancelled || len(x.failed) != 1 || marks() != 1 {
		t.Fatalf("got %v, %v, %d marks", err, x.failed, marks())
	}
	hide(t, x.dir, false)
	x.s.Progress = silent{}
	rep := x.mustRun()
	types, ids := x.events()
	if strings.Join(types, " ") != "START ABORT START ABORT START COMPLETE" || marks() != 0 || rep.Resumed != 2 {
		t.Fatalf("events %v, %d marks, resumed %d times", types, marks(), rep.Resumed)
	}
	if ids[0] != ids[1] || ids[2] != ids[3] || ids[4] != ids[5] || ids[0] == ids[2] || ids[2] == ids[4] {
		t.Errorf("ids %v", ids)
	}
	// The same for a run that had ended, after which its process died.
	mark := filepath.Join(x.job.Workspace, "runs", rep.Run, "lineage-2.open")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x.mustRun()
	types, ids = x.events()
	if strings.Join(types[6:], " ") != "COMPLETE START COMPLETE" || ids[6] != ids[5] || marks() != 0 {
		t.Errorf("events %v of %v", types, ids)
	}
	if strings.Count(x.read("lineage.ndjson"), `"outputStatistics"`) != 3 {
		t.Error("figures are missing, or told of attempts that wrote nothing")
	}
	if r, err := VerifyWorkspace(t.Context(), x.s, x.job.Workspace, x.job); err != nil || r.Checks.Err() != nil {
		t.Errorf("verify: %v, %v", r.Checks.Err(), err)
	}
}

func waitForMark(t *testing.T, marks func() int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); marks() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no mark")
		}
	}
	time.Sleep(50 * time.Millisecond) // START follows it
}

// hide puts a folder in the place of the lineage file, and takes it away again.
func hide(t *testing.T, dir string, on bool) {
	t.Helper()
	file, kept := filepath.Join(dir, "lineage.ndjson"), filepath.Join(dir, "kept")
	steps := []func() error{func() error { return os.Rename(file, kept) }, func() error { return os.Mkdir(file, 0o700) }}
	if !on {
		steps = []func() error{func() error { return os.Remove(file) }, func() error { return os.Rename(kept, file) }}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}
