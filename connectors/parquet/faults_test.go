package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"optsweep/connectors/parquet"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// faulty is a table whose disk fails at step n, before the step or after it.
func faulty(t *testing.T, path string, n int, stored bool, fault error) (tab *parquet.Table, failed *durable.Step) {
	t.Helper()
	count, failed := 0, new(durable.Step)
	tab, err := parquet.New(parquet.Options{Path: path, IDColumn: "euid", Workers: 1, Disk: durable.Disk{
		Fault: func(step durable.Step, _ string) (bool, error) {
			if count++; count == n {
				*failed = step
				return stored, fault
			}
			return false, nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tab, failed
}

// eachFault calls act with a disk that fails at the first step, then at the
// second, until there are no more. It checks that all kinds of steps have had
// their turn.
func eachFault(t *testing.T, act func(t *testing.T, n int, stored bool) durable.Step) {
	t.Helper()
	for _, stored := range []bool{false, true} {
		seen := map[durable.Step]bool{}
		for n := 1; ; n++ {
			step := act(t, n, stored)
			if step == "" {
				break
			}
			seen[step] = true
		}
		for _, step := range []durable.Step{durable.Create, durable.Write, durable.Chmod, durable.Sync, durable.Read, durable.Rename, durable.SyncDir} {
			if !seen[step] {
				t.Errorf("no fault at %s (stored %v)", step, stored)
			}
		}
	}
}

// reported tells whether err tells of a fault at a step. Arrow, which reads back,
// may keep the cause to itself.
func reported(err, fault error, step durable.Step) bool {
	var known *schemas.Error
	return errors.Is(err, fault) || step == durable.Read && errors.As(err, &known) && known.Class == schemas.Integrity
}

func onlyFile(t *testing.T, name, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Fatalf("%s: %d files left, %v", name, len(entries), err)
	}
}

// TestFaults fails every step on the disk of Apply in turn: creating, writing,
// permissions, syncing, reading back, renaming. The file is the old one or the
// whole new one, and a second try ends with the right file. Once on a file without
// the column, and once on one whose column is replaced.
func TestFaults(t *testing.T) {
	goal := filepath.Join(t.TempDir(), "goal.parquet")
	shape{groups: []int{40, 40}, nulls: 9, distinct: 100, schema: true}.write(t, goal)
	plain := read(t, goal)
	tab := table(t, goal)
	apply(t, tab, plan(t, tab)[0], rule)
	flagged := read(t, goal)
	earlier := func(cell []byte) (int64, bool) {
		ms, ok := rule(cell)
		return ms - 1000, ok
	}
	apply(t, tab, plan(t, tab)[0], earlier)
	moved := read(t, goal)

	for name, c := range map[string]struct {
		old, want []byte
		since     parquet.Since
	}{"first": {plain, flagged, rule}, "replaced": {flagged, moved, earlier}} {
		t.Run(name, func(t *testing.T) {
			eachFault(t, func(t *testing.T, n int, stored bool) durable.Step {
				return faultInApply(t, c.old, c.want, c.since, n, stored)
			})
		})
	}
}

func faultInApply(t *testing.T, old, want []byte, since parquet.Since, n int, stored bool) durable.Step {
	fault := error(syscall.EIO)
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	put(t, path, old)
	tab, failed := faulty(t, path, n, stored, fault)
	u := plan(t, tab)[0]
	var told schemas.Receipt
	_, err := tab.Apply(context.Background(), u, since, func(r schemas.Receipt) error { told = r; return nil })
	if *failed == "" { // there is no n-th step
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	name := fmt.Sprintf("step %d (%s, stored %v)", n, *failed, stored)
	if !reported(err, fault, *failed) {
		t.Fatalf("%s: %v", name, err)
	}
	switch got := read(t, path); {
	case bytes.Equal(got, old):
	case bytes.Equal(got, want) && (*failed == durable.Rename || *failed == durable.SyncDir):
		if version, err := tab.Version(context.Background(), u); err != nil || version != told.VersionAfter {
			t.Fatalf("%s: version %s, commit was told %s", name, version, told.VersionAfter)
		}
	default:
		t.Fatalf("%s: the file is neither the old nor the new one", name)
	}
	onlyFile(t, name, dir)
	apply(t, tab, plan(t, tab)[0], since)
	if !bytes.Equal(read(t, path), want) {
		t.Fatalf("%s: the second try gives another file", name)
	}
	return *failed
}

// TestFaultsInClean fails every step on the disk of a clean copy: there is none, or
// the whole one, and the file itself stays as it is.
func TestFaultsInClean(t *testing.T) {
	eachFault(t, func(t *testing.T, n int, stored bool) durable.Step {
		fault := error(syscall.EIO)
		from, to := t.TempDir(), t.TempDir()
		path, out := filepath.Join(from, "x.parquet"), filepath.Join(to, "out.parquet")
		shape{groups: []int{40, 40}, nulls: 9, distinct: 100}.write(t, path)
		old := read(t, path)
		tab, failed := faulty(t, path, n, stored, fault)
		made, err := tab.Clean(context.Background(), plan(t, tab)[0], rule, out)
		if err == nil {
			err = made.Publish()
			made.Discard()
		}
		if *failed == "" {
			if err != nil {
				t.Fatal(err)
			}
			return ""
		}
		name := fmt.Sprintf("step %d (%s, stored %v)", n, *failed, stored)
		if !reported(err, fault, *failed) {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(read(t, path), old) {
			t.Fatalf("%s: the file has changed", name)
		}
		onlyFile(t, name, from)
		if *failed == durable.SyncDir || *failed == durable.Rename && stored {
			onlyFile(t, name, to)
		} else if entries, err := os.ReadDir(to); err != nil || len(entries) != 0 {
			t.Fatalf("%s: %d files left, %v", name, len(entries), err)
		}
		return *failed
	})
}
