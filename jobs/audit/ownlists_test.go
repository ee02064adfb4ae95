package audit_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"optsweep/jobs/audit"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// importOwn puts ids on an own list, with one row that is none, and returns the
// list's file.
func importOwn(t testing.TB, b *sweeptest.Bench, source string, ids ...int) schemas.OwnListImported {
	t.Helper()
	var done schemas.OwnListImported
	act(t, b, func(w *sweep.Workspace) (err error) {
		done, _, err = w.ImportOwn(context.Background(), sweep.OwnImport{
			Source: source, Basis: "form of the site", FileDigest: source, User: "ops", Host: "alpha", MaxBad: -1, Now: b.Now,
			Read: func(_ context.Context, valid func(schemas.ID, int64) error, bad func(int64, schemas.Reason, []byte) error) error {
				for _, n := range ids {
					if err := valid(sweeptest.ID(n), 1_600_000_000_000); err != nil {
						return err
					}
				}
				return bad(int64(len(ids)), schemas.LooksLikeEmail, []byte("nobody@example.com"))
			},
		})
		return err
	})
	return done
}

func act(t testing.TB, b *sweeptest.Bench, do func(*sweep.Workspace) error) {
	t.Helper()
	w, err := sweep.OpenWorkspace(durable.Disk{}, b.Dir, b.Now, ledger.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := do(w); err != nil {
		t.Fatal(err)
	}
}

func TestOwnListsAreComparedWithTheLedger(t *testing.T) {
	b := bench(t)
	first, second := importOwn(t, b, "a", 1, 2, 3), importOwn(t, b, "b", 1)
	mustRun(t, b)
	r := verify(t, b, nil)
	mustBeWhole(t, r)
	if n := len(slices.DeleteFunc(slices.Clone(r.Checks), func(c audit.Check) bool { return c.What != "own list" })); n != 4 {
		t.Errorf("%d checks of own lists", n)
	}
	for _, x := range []struct{ file, other string }{{first.File, second.File}, {first.Quarantine, second.Quarantine}} {
		path := filepath.Join(b.Dir, filepath.FromSlash(x.file))
		whole := read(t, path)
		for name, data := range map[string][]byte{
			"changed": append(slices.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1), "emptied": {}, "exchanged": read(t, filepath.Join(b.Dir, filepath.FromSlash(x.other))),
		} {
			write(t, path, data)
			r := verify(t, b, nil)
			if !slices.ContainsFunc(r.Checks, func(c audit.Check) bool {
				return c.Status == audit.Failed && c.What == "own list" && c.File == x.file
			}) {
				t.Errorf("%s, %s: not named:\n%s", x.file, name, strings.Join(failed(r), "\n"))
			}
		}
		write(t, path, whole)
	}
	mustBeWhole(t, verify(t, b, nil))
	act(t, b, func(w *sweep.Workspace) error {
		_, _, err := w.RemoveOwn(sweep.OwnRemoval{Source: "a", Reason: "test"})
		return err
	})
	mustBeWhole(t, verify(t, b, nil))
}

// An import whose figures do not add up was not written by this program.
func TestImportsThatDoNotAddUpAreNamed(t *testing.T) {
	b := bench(t)
	done := importOwn(t, b, "a", 1, 2, 3)
	chain, err := ledger.Open(durable.Disk{}, filepath.Join(b.Dir, "ledger.ndjson"), b.Now, func(schemas.Event) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	done.Added++
	if _, err := chain.Append("", schemas.EventOwnListImported, done); err != nil {
		t.Fatal(err)
	}
	if err := chain.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := failed(verify(t, b, nil)); !strings.Contains(strings.Join(lines, "\n"), "the figures of an import into the own list a do not add up") {
		t.Errorf("failed:\n%s", strings.Join(lines, "\n"))
	}
}
