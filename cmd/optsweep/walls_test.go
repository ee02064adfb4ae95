package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is one package as `go list -json` prints it.
type listed struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
	Dir        string
	Name, Doc  string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles,Dir,Name,Doc", "optsweep/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

// room is the first part of the path below the module.
func room(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, "optsweep/")
	if !ok {
		return ""
	}
	return strings.Split(rest, "/")[0]
}

// Imports go down only: cmd -> {jobs, connectors} -> schemas; only wire knows
// both jobs and connectors.
func TestImportsGoDownOnly(t *testing.T) {
	allowed := map[string][]string{
		"cmd":        {"cmd", "jobs", "connectors", "schemas"},
		"jobs":       {"jobs", "schemas"},
		"connectors": {"connectors", "schemas"},
		"schemas":    {"schemas"},
		"testdata":   {},
	}
	for _, p := range packages(t) {
		from := room(p.ImportPath)
		for _, imported := range p.Imports {
			to := room(imported)
			switch {
			case to == "":
				if from == "schemas" && strings.Contains(strings.Split(imported, "/")[0], ".") {
					t.Errorf("%s imports %s: schemas has the standard library only", p.ImportPath, imported)
				}
			case !slices.Contains(allowed[from], to):
				t.Errorf("%s imports %s", p.ImportPath, imported)
			case to == "connectors" && from == "cmd" && !strings.HasSuffix(p.ImportPath, "internal/wire"):
				t.Errorf("%s imports %s: only wire knows connectors", p.ImportPath, imported)
			}
			if slices.Contains([]string{"testing", "net/http/httptest", "pgregory.net/rapid", "optsweep/schemas/durable/powerloss", "optsweep/connectors/bigquery/bqtest", "optsweep/connectors/bigquery/bqfake"}, imported) {
				t.Errorf("%s imports %s outside tests", p.ImportPath, imported)
			}
		}
	}
}

// Every package says in its comment what it is for. go list gives the first
// sentence.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(p.Dir) + " "
		}
		if len(p.GoFiles) > 0 && (!strings.HasPrefix(p.Doc, want) || len(p.Doc) < len(want)+20) {
			t.Errorf("%s has the comment %q, want one that begins with %q", p.ImportPath, p.Doc, want)
		}
	}
}

func TestMainIsSmall(t *testing.T) {
	data, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte{'\n'}); n >= 60 {
		t.Errorf("main.go has %d lines", n)
	}
}

// Only main ends the process, only durable makes, renames and syncs files that
// matter, and nothing reads the clock behind the injected one's back.
func TestForbiddenCalls(t *testing.T) {
	rules := []struct {
		call    string
		allowed []string // path suffixes, from the module's root
	}{
		{"os.Exit(", []string{"cmd/optsweep/main.go"}},
		{"os.Rename(", []string{"schemas/durable/durable.go"}},
		{"log.Fatal", nil},
		{"os.Getenv(", []string{"bqtest/process.go", "bqtest/build.go"}}, // main passes the environment on; the manual lists what is read of it
		{"os.LookupEnv(", nil},
	}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rules {
				if strings.Contains(string(data), r.call) && !slices.ContainsFunc(r.allowed, func(s string) bool { return strings.HasSuffix(path, s) }) {
					t.Errorf("%s calls %s", path, r.call)
				}
			}
		}
	}
}
