package tools

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// instruction is one line of a Dockerfile: COPY, and what follows.
type instruction struct{ name, rest string }

func dockerfile(t *testing.T) (all []instruction) {
	t.Helper()
	data, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(name, "#") {
			all = append(all, instruction{strings.ToUpper(name), strings.TrimSpace(rest)})
		}
	}
	return all
}

// sent is what .dockerignore lets into the build: the last rule that matches
// counts, * stays within a folder, ** does not, and a folder's rule holds for
// all below.
func sent(t *testing.T, file string) bool {
	t.Helper()
	data, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	out := false
	for line := range strings.Lines(string(data)) {
		rule := strings.TrimSpace(line)
		if rule == "" || strings.HasPrefix(rule, "#") {
			continue
		}
		rule, again := strings.CutPrefix(rule, "!")
		for part := file; part != "."; part = path.Dir(part) {
			if matches(rule, part) {
				out = !again
			}
		}
	}
	return !out
}

func matches(rule, name string) bool {
	if tail, ok := strings.CutPrefix(rule, "**/"); ok {
		ok, err := path.Match(tail, path.Base(name))
		return ok && err == nil
	}
	ok, err := path.Match(rule, name)
	return ok && err == nil
}

// The build stage works without an engine: its steps in order, in a folder of
// their own, on what .dockerignore lets in. The binary it leaves is static and
// says its version.
func TestDockerfileBuilds(t *testing.T) {
	root := t.TempDir()
	in := func(p, dir string) string {
		if !path.IsAbs(p) {
			p = path.Join(dir, p)
		}
		return filepath.Join(root, p)
	}
	dir, args, stage := "/", map[string]string{}, 0
	expand := func(s string) string {
		return os.Expand(s, func(name string) string { return args[name] })
	}
	for _, i := range dockerfile(t) {
		switch i.name {
		case "FROM":
			stage++
		case "WORKDIR":
			dir = i.rest
		case "ARG":
			name, value, _ := strings.Cut(i.rest, "=")
			args[name] = value
		}
		if stage != 1 {
			continue
		}
		switch i.name {
		case "COPY":
			words := strings.Fields(i.rest)
			target := in(words[len(words)-1], dir)
			for _, from := range words[:len(words)-1] {
				copyTree(t, from, target)
			}
		case "RUN":
			command := strings.ReplaceAll(expand(i.rest), " /out/", " "+filepath.Join(root, "out")+"/")
			cmd := exec.Command("sh", "-ec", command)
			cmd.Dir = in(".", dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", i.rest, err, out)
			}
		}
	}
	binary := filepath.Join(root, "out", "optsweep")
	out, err := exec.Command(binary, "version").Output()
	if err != nil || string(out) != "optsweep "+args["VERSION"]+"\n" {
		t.Errorf("it says %q, %v", out, err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("ld-linux")) || bytes.Contains(data, []byte(root)) {
		t.Error("the binary needs a loader, or names the folder in which it was built")
	}
}

func copyTree(t *testing.T, from, target string) {
	t.Helper()
	source := filepath.Join("../..", from)
	info, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		copyFile(t, source, filepath.Join(target, from))
		return
	}
	err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel("../..", p)
		if err != nil {
			return err
		}
		if d.IsDir() && name == ".git" {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && sent(t, filepath.ToSlash(name)) {
			copyFile(t, p, filepath.Join(target, name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDockerignoreKeepsDataOut(t *testing.T) {
	for name, want := range map[string]bool{
		"go.mod": true, "cmd/optsweep/main.go": true, "schemas/ids.go": true,
		"workspace/suppression/x": false, "optsweep.yaml": false, ".git/config": false, "deploy/Dockerfile": false,
		"connectors/parquet/testdata/a.parquet": false, "jobs/ledger/lease_test.go": false, "client_secret": false,
	} {
		if sent(t, name) != want {
			t.Errorf("%s is sent: %v", name, !want)
		}
	}
}

func TestImageRunsAsNobody(t *testing.T) {
	all := dockerfile(t)
	last := map[string]string{}
	for _, i := range all {
		last[i.name] = i.rest
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(last["USER"]) || last["ENTRYPOINT"] != `["/usr/local/bin/optsweep"]` || last["FROM"] != "${RUN_IMAGE}" {
		t.Errorf("user %s, entrypoint %s, from %s", last["USER"], last["ENTRYPOINT"], last["FROM"])
	}
	// Both are built alike.
	script, err := os.ReadFile("../release/build.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{"-trimpath -buildvcs=false", "-s -w -buildid= -X optsweep/cmd/optsweep/internal/wire.stamp="} {
		if !strings.Contains(string(script), flags) || !strings.Contains(last["RUN"]+joined(all), flags) {
			t.Errorf("not both have %s", flags)
		}
	}
}

func joined(all []instruction) (s string) {
	for _, i := range all {
		s += i.rest + "\n"
	}
	return s
}
