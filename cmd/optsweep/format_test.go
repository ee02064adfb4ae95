package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var makeFixture = flag.Bool("make-fixture", false, "make the workspace in testdata anew; only for a new format, under a new name")

const fixture = "testdata/workspace-format-1.tar.gz"

// makeWorkspace makes what the fixture holds: a job with data of the demo's
// fixed seed, an own list, an id that was unflagged, and finished runs of all
// kinds, one of which retention has taken the ids of.
func makeWorkspace(t *testing.T, dir string) {
	config := filepath.Join(dir, "optsweep.yaml")
	exitsWith(t, 0, "demo", "--rows", "150", "--dir", dir)
	exitsWith(t, 0, "suppress", "import", "--config", config, "--source", "form", "--basis", "form of the site", "--format", "csv",
		"--id-column", "id", "--since", "2026-05-01", ownListOf(t, dir))
	exitsWith(t, 0, "run", "--config", config)
	exitsWith(t, 0, "purge", "--config", config, "--ids", "0d")
	exitsWith(t, 0, "run", "--config", config, "--dry-run")
	exitsWith(t, 0, "run", "--config", config, "--offline")
	mustSucceed(t, withID(t, dir, "unflag", "--config", config, "--reason", "test", "--off-list", "form"))
	if err := pack(fixture, dir); err != nil {
		t.Fatal(err)
	}
}

// withID is a command that reads the first id of the data that is opted out.
func withID(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	ids, err := demoIDs(dir)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := optedOutOf(dir, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if listed[id] {
			cmd := program(t.Context(), t, args...)
			cmd.Stdin = strings.NewReader(string(id.AppendText(nil)) + "\n")
			return cmd
		}
	}
	t.Fatal("no id is opted out")
	return nil
}

// The workspace of format 1 in testdata was made by the first version that had
// this test: every later one must read it, and go on with it.
func TestWorkspaceOfFormat1IsRead(t *testing.T) {
	if *makeFixture {
		makeWorkspace(t, filepath.Join(t.TempDir(), "d"))
	}
	dir := t.TempDir()
	if err := unpack(fixture, dir); err != nil {
		t.Fatal(err)
	}
	config, tables := filepath.Join(dir, "optsweep.yaml"), filepath.Join(t.TempDir(), "tables")
	out := func(code int, want string, args ...string) {
		t.Helper()
		if got := string(exitsWith(t, code, append(args, "--config", config)...)); !strings.Contains(got, want) {
			t.Errorf("%v: %q is not in\n%s", args, want, got)
		}
	}
	before, err := digests(dir)
	if err != nil {
		t.Fatal(err)
	}
	out(0, "0 failed", "verify")
	out(0, `"status": "reapplied"`, "runs", "--output", "json")
	out(0, "form of the site", "suppress", "list")
	out(0, `"own_only": 3`, "report", "--format", "json", "--run", runOf(t, dir, 2))
	out(7, "", "gate", "--max-age", "99y") // the id that was unflagged has no flag
	proof, err := withID(t, dir, "prove", "--config", config).Output()
	if err != nil || !strings.Contains(string(proof), "unflag") {
		t.Errorf("prove: %v\n%s", err, proof)
	}
	if after, err := digests(dir); err != nil || !sameDigests(before, after) {
		t.Errorf("reading has changed it, %v", err)
	}
	out(0, "published 5 runs", "publish", "--out", tables)
	out(0, "reconciled", "run")
	out(0, "0 failed", "verify")
	out(0, "published 1 run ", "publish", "--out", tables)
	out(0, "", "gate", "--max-age", "1h")
	out(0, "", "purge", "--older-than", "0d")
	out(0, "0 failed", "verify")
}

// runOf is the id of a run, counted from 0.
func runOf(t *testing.T, dir string, n int) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "workspace", "runs"))
	if err != nil || len(entries) <= n {
		t.Fatal(err, len(entries))
	}
	return entries[n].Name()
}

// pack puts the files of a folder into an archive, with modes and times.
func pack(path, dir string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		h.Uid, h.Gid, h.Uname, h.Gname, h.Format = 0, 0, "", "", tar.FormatPAX
		if err := w.WriteHeader(h); err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	return errors.Join(err, w.Close(), z.Close())
}

func unpack(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			if err := os.Mkdir(to, h.FileInfo().Mode().Perm()); err != nil {
				return err
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, data, h.FileInfo().Mode().Perm()); err != nil {
			return err
		}
		if err := os.Chtimes(to, h.ModTime, h.ModTime); err != nil {
			return err
		}
	}
}
