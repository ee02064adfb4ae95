package sweep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func readMark(t *testing.T, b *bench) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, workspaceFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func openAs(b *bench, disk durable.Disk, tool string) error {
	w, err := OpenWorkspace(disk, b.dir, b.now, ledger.Owner{PID: 1, Tool: tool})
	if err != nil {
		return err
	}
	return w.Close()
}

// A workspace is marked once, by the first who opens it for writing, and stays
// the same workspace.
func TestWorkspaceIsMarked(t *testing.T) {
	b := newBench(t)
	id, err := Layout(b.dir).ID()
	if err != nil || strings.Contains(readMark(t, b), "tool_version") {
		t.Fatalf("%v, %s", err, readMark(t, b))
	}
	before := readMark(t, b)
	broken := errors.New("broken")
	for _, stored := range []bool{false, true} {
		failing := durable.Disk{Fault: oneByOne(func(step durable.Step, path string) (bool, error) {
			if step == durable.Rename && filepath.Base(path) == workspaceFile {
				return stored, broken
			}
			return false, nil
		})}
		if err := os.WriteFile(filepath.Join(b.dir, workspaceFile), []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openAs(b, failing, "v0.9.0"); !errors.Is(err, broken) {
			t.Fatalf("stored %v: %v", stored, err)
		}
		if err := openAs(b, durable.Disk{}, "v0.9.0"); err != nil {
			t.Fatal(err)
		}
		marked := readMark(t, b)
		if want := strings.Replace(before, "}", `,"tool_version":"v0.9.0"}`, 1); marked != want {
			t.Errorf("got %s, want %s", marked, want)
		}
	}
	marked := readMark(t, b)
	if err := openAs(b, durable.Disk{}, "v0.10.0"); err != nil || readMark(t, b) != marked {
		t.Errorf("%v, %s", err, readMark(t, b))
	}
	if again, err := Layout(b.dir).ID(); err != nil || again != id {
		t.Errorf("it is another workspace now: %v", err)
	}
	b.mustRun()
}

func TestWorkspaceOfAnotherFormat(t *testing.T) {
	for name, x := range map[string]struct {
		mark  string
		class schemas.Class
		says  []string
	}{
		"newer, of a known version": {`{"format":2,"created":"2027-01-01T00:00:00Z","tool_version":"v1.4.0","more":[]}`, schemas.Usage,
			[]string{"has format 2", "reads formats up to 1", "it needs optsweep v1.4.0", "nothing was changed"}},
		"newer":                  {`{"format":3}`, schemas.Usage, []string{"has format 3", "a newer version has changed it"}},
		"newer, of other fields": {`{"created":7,"format":2,"tool_version":"v2.0.0"}`, schemas.Usage, []string{"has format 2", "needs optsweep v2.0.0"}},
		"none":                   {`{}`, schemas.Integrity, []string{"says no format", "restore it"}},
		"below the first":        {`{"format":-1}`, schemas.Integrity, []string{"says no format"}},
		"cut":                    {`{"form`, schemas.Integrity, []string{"says no format"}},
		"empty":                  {``, schemas.Integrity, []string{"says no format"}},
	} {
		b := newBench(t)
		b.mustRun()
		if err := os.WriteFile(filepath.Join(b.dir, workspaceFile), []byte(x.mark), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := b.run(context.Background())
		_, idErr := Layout(b.dir).ID()
		for _, err := range []error{err, idErr, Layout(b.dir).Check()} {
			if schemas.ClassOf(err) != x.class || err == nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, want := range x.says {
				if !strings.Contains(err.Error()+" "+schemas.HintOf(err), want) {
					t.Errorf("%s: %q is not in %v (%s)", name, want, err, schemas.HintOf(err))
				}
			}
		}
		if readMark(t, b) != x.mark {
			t.Errorf("%s: the mark was changed", name)
		}
	}
}
