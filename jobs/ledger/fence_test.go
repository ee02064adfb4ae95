package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func raise(t *testing.T, path string, me Owner) *Fence {
	t.Helper()
	f, err := Raise(durable.Disk{}, path, "the workspace", me)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFenceTurnsAwayTheOwnerBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := raise(t, path, Owner{PID: 1, Host: "alpha"})
	if err := first.Check(); err != nil {
		t.Fatal(err)
	}
	second := raise(t, path, Owner{PID: 4711, Host: "beta", Job: "crm", Since: since})
	if err := second.Check(); err != nil {
		t.Fatal(err)
	}
	err := first.Check()
	if schemas.ClassOf(err) != schemas.Locked || schemas.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"4711", "beta", `"crm"`, "2026-01-02T03:04:05Z"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}

// The very same owner gets another number, so what an earlier life of it left
// under way does not count any more.
func TestFenceNumbersOneOwnersLeasesApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	first := raise(t, path, Owner{PID: 1})
	second := raise(t, path, Owner{PID: 1})
	if first.Check() == nil || second.Check() != nil {
		t.Fatal("two leases have one number")
	}
}

func TestLostOrDamagedFenceIsNotPassed(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":    os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "fence")
		f := raise(t, path, Owner{PID: 1})
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		if err := f.Check(); schemas.ClassOf(err) != schemas.Locked {
			t.Errorf("%s: got %v", name, err)
		}
		_, err := Raise(durable.Disk{}, path, "the workspace", Owner{PID: 2})
		if (err != nil) != (name == "damaged") {
			t.Errorf("%s: raised with %v", name, err)
		}
	}
}

// A number that is not surely stored is not used.
func TestFenceThatCannotBeStoredIsNotRaised(t *testing.T) {
	for _, stored := range []bool{false, true} {
		disk := durable.Disk{Fault: func(durable.Step, string) (bool, error) { return stored, errors.New("injected") }}
		if _, err := Raise(disk, filepath.Join(t.TempDir(), "fence"), "the workspace", Owner{}); err == nil {
			t.Errorf("stored=%v: the failure was not seen", stored)
		}
	}
}
