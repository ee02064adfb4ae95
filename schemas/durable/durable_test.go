package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMain is the process that TestKilledAtEveryStep kills, if asked to be.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DURABLE_CRASH_DIR"); dir != "" {
		if err := victim(dir, os.Getenv("DURABLE_CRASH_STEP")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var errFault = errors.New("injected")

// faultAt makes the nth step of a kind fail.
func faultAt(step Step, nth int, stored bool) Disk {
	return Disk{Fault: func(s Step, _ string) (bool, error) {
		if s == step {
			nth--
		}
		if s == step && nth == 0 {
			return stored, errFault
		}
		return false, nil
	}}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", strings.Repeat("n", 255)} {
		path := filepath.Join(dir, name)
		for _, data := range []string{"first", "second, longer", "", "4"} {
			if err := (Disk{}).WriteFile(path, []byte(data), 0o640); err != nil {
				t.Fatal(err)
			}
			if got := content(t, path); got != data {
				t.Errorf("got %q, want %q", got, data)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
	if err := (Disk{}).WriteFile(filepath.Join(dir, "none", "a"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// TestWriteFileFaults fails each step, done or not done, of replacing a file
// and of making a new one, by WriteFile and by streaming.
func TestWriteFileFaults(t *testing.T) {
	write := map[string]func(Disk, string) error{
		"WriteFile": func(d Disk, path string) error { return d.WriteFile(path, []byte("new"), 0o600) },
		"io.Copy": func(d Disk, path string) error {
			f, err := d.Create(path, 0o600)
			if err != nil {
				return err
			}
			defer f.Discard()
			if _, err := io.Copy(f, strings.NewReader("new")); err != nil {
				return err
			}
			return f.Publish()
		},
	}
	for how, write := range write {
		for _, before := range []string{"old", "(none)"} {
			for _, c := range []struct {
				step   Step
				stored bool
				want   string // visible afterwards
			}{
				{Create, false, before}, {Create, true, before},
				{Write, false, before}, {Write, true, before},
				{Sync, false, before}, {Sync, true, before},
				{Rename, false, before}, {Rename, true, "new"},
				{SyncDir, false, "new"}, {SyncDir, true, "new"},
			} {
				t.Run(fmt.Sprintf("%s/%s/%s/%t", how, before, c.step, c.stored), func(t *testing.T) {
					dir := t.TempDir()
					path := filepath.Join(dir, "f")
					if before != "(none)" {
						put(t, path, before)
					}
					if err := write(faultAt(c.step, 1, c.stored), path); !errors.Is(err, errFault) {
						t.Fatalf("got %v", err)
					}
					if got := content(t, path); got != c.want {
						t.Errorf("got %q, want %q", got, c.want)
					}
					if got := names(t, dir); len(got) > 1 || len(got) == 1 && got[0] != "f" {
						t.Errorf("left behind: %v", got)
					}
					if err := write(Disk{}, path); err != nil || content(t, path) != "new" {
						t.Errorf("the next attempt: %q, %v", content(t, path), err)
					}
				})
			}
		}
	}
}

func TestStepsInOrder(t *testing.T) {
	var steps []Step
	disk := Disk{Fault: func(s Step, _ string) (bool, error) { steps = append(steps, s); return false, nil }}
	dir := t.TempDir()
	if err := disk.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := disk.OpenLog(filepath.Join(dir, "log"), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if want := []Step{Create, Write, Sync, Rename, SyncDir, Create, SyncDir, Write, Sync, Remove}; !slices.Equal(steps, want) {
		t.Errorf("got %v, want %v", steps, want)
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := (Disk{}).Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || !strings.HasPrefix(got[0], ".f.") || !strings.HasSuffix(got[0], TempSuffix) {
		t.Errorf("temporary file: %v", got)
	}
	f.Discard()
	f.Discard()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	f, err = (Disk{}).Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Publish(); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	if got := content(t, path); got != "" {
		t.Errorf("Discard after Publish: %q", got)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, c := range []struct {
		disk Disk
		err  error
		want string
	}{
		{faultAt(Remove, 1, false), errFault, "x"}, {faultAt(Remove, 1, true), errFault, "(none)"}, {Disk{}, nil, "(none)"},
	} {
		put(t, path, "x")
		if err := c.disk.Remove(path); !errors.Is(err, c.err) || content(t, path) != c.want {
			t.Errorf("got %v, %q", err, content(t, path))
		}
	}
	if err := (Disk{}).Remove(path); err != nil {
		t.Errorf("not there: %v", err)
	}
}

func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	keep := []string{".hidden", "a.parquet", "x" + TempSuffix}
	for _, name := range append(keep, ".a.parquet.ABCDEFGH"+TempSuffix, ".b"+TempSuffix) {
		put(t, filepath.Join(dir, name), "x")
	}
	for range 2 {
		if err := RemoveLeftovers(dir); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); !slices.Equal(got, keep) {
			t.Errorf("left: %v, want %v", got, keep)
		}
	}
	if err := RemoveLeftovers(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestOpenLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	if _, err := (Disk{}).OpenLog(path, 0, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing log: %v", err)
	}
	for _, c := range []struct {
		disk Disk
		want string
	}{
		{faultAt(Create, 1, false), "(none)"}, {faultAt(Create, 1, true), ""},
		{faultAt(SyncDir, 1, false), ""}, {faultAt(SyncDir, 1, true), ""},
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if log, err := c.disk.OpenLog(path, 0, true); !errors.Is(err, errFault) || log != nil {
			t.Errorf("got %v", err)
		}
		if got := content(t, path); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	put(t, path, "whole|torn")
	if _, err := (Disk{}).OpenLog(path, 11, false); err == nil || content(t, path) != "whole|torn" {
		t.Errorf("a log shorter than its size: %v, %q", err, content(t, path))
	}
	log, err := (Disk{}).OpenLog(path, 6, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "whole|" || log.Size() != 6 {
		t.Errorf("torn end: %q, size %d", got, log.Size())
	}
	if err := log.Append([]byte("next|")); err != nil || log.Size() != 11 {
		t.Errorf("size %d, %v", log.Size(), err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "whole|next|" {
		t.Errorf("got %q", got)
	}
}

// TestAppendFaults fails each step of the second append. Whatever is in the
// file then, the log takes nothing more until it is opened again, and then
// goes on after the first record.
func TestAppendFaults(t *testing.T) {
	for _, c := range []struct {
		step   Step
		stored bool
		want   string
	}{
		{Write, false, "one|"}, {Write, true, "one|two|"}, {Sync, false, "one|two|"}, {Sync, true, "one|two|"},
	} {
		t.Run(fmt.Sprintf("%s/%t", c.step, c.stored), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			log, err := faultAt(c.step, 2, c.stored).OpenLog(path, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			if err := log.Append([]byte("one|")); err != nil {
				t.Fatal(err)
			}
			if err := log.Append([]byte("two|")); !errors.Is(err, errFault) {
				t.Fatalf("got %v", err)
			}
			if err := log.Append([]byte("three|")); !errors.Is(err, errFault) {
				t.Errorf("the next append: %v", err)
			}
			if got := content(t, path); got != c.want || log.Size() != 4 {
				t.Errorf("got %q, size %d", got, log.Size())
			}
			again, err := (Disk{}).OpenLog(path, log.Size(), false)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if err := again.Append([]byte("2|")); err != nil {
				t.Fatal(err)
			}
			if got := content(t, path); got != "one|2|" {
				t.Errorf("after opening again: %q", got)
			}
		})
	}
}

const (
	oldContent = "old content"
	newLength  = 1 << 16
)

// victim replaces a file and appends to a log, and kills its own process right
// before the given step.
func victim(dir, killAt string) error {
	left, err := strconv.Atoi(killAt)
	if err != nil {
		return err
	}
	disk := Disk{Fault: func(Step, string) (bool, error) {
		left--
		if left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return false, nil
	}}
	if err := disk.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte{'n'}, newLength), 0o600); err != nil {
		return err
	}
	log, err := disk.OpenLog(filepath.Join(dir, "log"), 0, true)
	if err != nil {
		return err
	}
	defer log.Close()
	for range 2 {
		if err := log.Append([]byte("record|")); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledAtEveryStep kills a process before each of its steps: the file is
// the old or the new one, never anything between, the log holds whole records,
// and the same work done again succeeds.
func TestKilledAtEveryStep(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	killed, olds := 0, 0
	for step := 1; ; step++ {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "f"), oldContent)
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "DURABLE_CRASH_DIR="+dir, "DURABLE_CRASH_STEP="+strconv.Itoa(step))
		out, err := cmd.CombinedOutput()
		if len(out) > 0 {
			t.Fatalf("step %d: %s", step, out)
		}
		switch got := content(t, filepath.Join(dir, "f")); {
		case got == oldContent:
			olds++
		case got != strings.Repeat("n", newLength):
			t.Errorf("step %d: the file has %d bytes", step, len(got))
		}
		if got := content(t, filepath.Join(dir, "log")); !slices.Contains([]string{"(none)", "", "record|", "record|record|"}, got) {
			t.Errorf("step %d: log %q", step, got)
		}
		if err := RemoveLeftovers(dir); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"f", "log"}) && !slices.Equal(got, []string{"f"}) {
			t.Errorf("step %d: left behind: %v", step, got)
		}
		if err == nil {
			break // past the last step
		}
		killed++
		if err := victim(dir, "0"); err != nil || content(t, filepath.Join(dir, "log")) != "record|record|" {
			t.Errorf("step %d: again: %v", step, err)
		}
	}
	// Create, write, sync, rename, syncdir; create, syncdir, two of write and sync.
	if killed != 11 || olds != 4 {
		t.Errorf("killed %d times, %d times before the new file was there", killed, olds)
	}
}

func TestLinkIsASecondName(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := (Disk{}).WriteFile(a, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	failing := Disk{Fault: func(s Step, path string) (bool, error) {
		if s == Link && path == b {
			return false, errors.New("injected")
		}
		return false, nil
	}}
	if err := failing.Link(a, b); err == nil {
		t.Error("the fault was not seen")
	}
	if err := (Disk{}).Link(a, b); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(b); err != nil || string(data) != "x" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := (Disk{}).Link(a, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name was taken away: %v", err)
	}
}

// A file system without second names gets a copy, whole or not at all.
func TestLinkCopiesWhereItMust(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := (Disk{}).WriteFile(a, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fails := range []Step{Create, Write, Sync, Rename, ""} {
		disk := Disk{Fault: func(s Step, _ string) (bool, error) {
			switch s {
			case Link:
				return false, syscall.EPERM
			case fails:
				return false, errors.New("injected")
			}
			return false, nil
		}}
		err := disk.Link(a, b)
		if (err == nil) != (fails == "") {
			t.Errorf("%s: %v", fails, err)
		}
		if entries, _ := os.ReadDir(dir); fails != "" && len(entries) != 1 {
			t.Errorf("%s left %v", fails, entries)
		}
	}
	info, err := os.Stat(b)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if data, err := os.ReadFile(b); err != nil || string(data) != "x" {
		t.Errorf("read %q, %v", data, err)
	}
}
