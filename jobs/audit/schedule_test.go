package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"optsweep/jobs/daemon"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// A log of fires of which a line was changed is found out.
func TestScheduleIsVerified(t *testing.T) {
	b, err := sweeptest.New(filepath.Join(t.TempDir(), "a[b]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := daemon.Log(b.Dir, "crm")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Create(durable.Disk{}, path, b.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := log.Append("", schemas.EventFireDone, schemas.FireDone{Fire: time.Unix(0, 0), Status: schemas.StatusFailed}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	status := func() (found Status) {
		r, err := Workspace(t.Context(), Options{Dir: b.Dir, ToolVersion: sweeptest.ToolVersion, Now: b.Now})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Checks {
			if c.What == "schedule" {
				found = c.Status
			}
		}
		return found
	}
	if got := status(); got != OK {
		t.Errorf("whole: %q", got)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte("failed"), []byte("reconciled"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != Failed {
		t.Errorf("changed: %q", got)
	}
}
