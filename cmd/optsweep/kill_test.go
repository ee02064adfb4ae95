package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

var kills = flag.Int("kills", 12, "how often the kill test kills a run")

// idLike matches 44 characters of base64, which ids and secrets are, but not
// the hexadecimal digests that reports are full of.
var idLike = regexp.MustCompile(`(^|[^A-Za-z0-9+/=])([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{44})($|[^A-Za-z0-9+/=])`)

// program runs optsweep in a process of its own.
func program(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "OPTSWEEP_PROGRESS=none")
	return cmd
}

func mustSucceed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args[1:], err, out)
	}
}

// digests are the SHA-256 of all files below dir, by relative path.
func digests(dir string) (map[string][32]byte, error) {
	sums := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		sums[rel] = [32]byte(h.Sum(nil))
		return err
	})
	return sums, err
}

func sameDigests(a, b map[string][32]byte) bool { return maps.Equal(a, b) }

// A run that is killed at any moment and started again ends with the very
// bytes of an undisturbed one.
func TestKilledRunEndsLikeAnUndisturbedOne(t *testing.T) {
	ctx := context.Background()
	source := filepath.Join(t.TempDir(), "demo")
	mustSucceed(t, program(ctx, t, "demo", "--rows", "30000", "--dir", source, "--no-run"))
	untouched, err := digests(filepath.Join(source, "data"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	once := copyOf(t, source)
	mustSucceed(t, program(ctx, t, "run", "--config", filepath.Join(once, "optsweep.yaml")))
	took := time.Since(began)
	want, err := digests(filepath.Join(once, "data"))
	if err != nil || sameDigests(want, untouched) {
		t.Fatalf("an undisturbed run changed nothing, %v", err)
	}

	landed := 0
	for n := range *kills {
		dir := copyOf(t, source)
		config := filepath.Join(dir, "optsweep.yaml")
		delay := time.Duration(rand.Int64N(int64(took)))
		killed, cancel := context.WithTimeout(ctx, delay)
		err := program(killed, t, "run", "--config", config).Run()
		cancel()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == -1 {
			landed++
		}
		mustSucceed(t, program(ctx, t, "run", "--config", config))
		got, err := digests(filepath.Join(dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		if !sameDigests(got, want) {
			t.Fatalf("kill %d after %s of %s: the files differ from those of an undisturbed run", n, delay, took)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d kills hit a running process", landed, *kills)
	if landed == 0 {
		t.Fatal("no kill hit a running process")
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to, err := os.MkdirTemp(t.TempDir(), "copy-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
