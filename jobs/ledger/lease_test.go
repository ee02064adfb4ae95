package ledger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

func TestSecondOwnerIsTurnedAwayWithTheNameOfTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lease")
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first, err := Acquire(path, "the workspace", Owner{PID: 4711, Host: "alpha", Since: since, Job: "crm"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(path, "the workspace", Owner{PID: 1})
	if schemas.ClassOf(err) != schemas.Locked || schemas.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"4711", "alpha", `"crm"`, "2026-01-02T03:04:05Z"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Acquire(path, "the workspace", Owner{PID: 2})
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestKeyLeaseIsTheSameForTheSameKey(t *testing.T) {
	tmp := t.TempDir()
	a, err := KeyLeasePath(tmp, "0123")
	if err != nil {
		t.Fatal(err)
	}
	b, err := KeyLeasePath(tmp, "0123")
	if err != nil || a != b {
		t.Fatalf("%q, %q, %v", a, b, err)
	}
	c, err := KeyLeasePath(tmp, "4567")
	if err != nil || a == c {
		t.Fatalf("%q, %q, %v", a, c, err)
	}
	info, err := os.Stat(filepath.Dir(a))
	if err != nil || info.Mode().Perm() != 0o777 || info.Mode()&os.ModeSticky == 0 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}
