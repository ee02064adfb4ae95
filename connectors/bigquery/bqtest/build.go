package bqtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"optsweep/schemas/durable"

	"github.com/gofrs/flock"
)

// BinaryVariable names the environment variable with the path of a ready
// emulator. With "build" it is built if need be, which takes minutes; without
// the variable the tests that need an emulator are skipped, unless it was built
// before.
const BinaryVariable = "BQ_EMULATOR_BIN"

const emulatorPackage = "github.com/goccy/bigquery-emulator/cmd/bigquery-emulator"

// moduleDir is the folder of the emulator's module.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // not with -trimpath
		dir = filepath.Dir(file)
	}
	for {
		module := filepath.Join(dir, "testdata", "bigquery-emulator")
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no testdata/bigquery-emulator above the working folder")
		}
		dir = parent
	}
}

// ready tells whether there is an emulator, or one may be built.
func ready() (bool, error) {
	if os.Getenv(BinaryVariable) != "" {
		return true, nil
	}
	_, path, err := cached()
	if err != nil {
		return false, err
	}
	return exists(path)
}

// binary is the path of the emulator, which it builds if the cache has none
// for this state of its module. Of several processes one builds and the others
// wait.
func binary(ctx context.Context) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" && path != "build" {
		return path, nil
	}
	module, path, err := cached()
	if err != nil {
		return "", err
	}
	if present, err := exists(path); present || err != nil {
		return path, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting for another process to build it: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if present, err := exists(path); present || err != nil {
		return path, err
	}
	if err := durable.RemoveLeftovers(dir); err != nil {
		return "", err
	}
	return path, build(ctx, module, path)
}

// cached is the folder of the emulator's module, and where the emulator is kept
// that is built from this state of it.
func cached() (module, path string, err error) {
	if module, err = moduleDir(); err != nil {
		return "", "", err
	}
	key := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", "", err
		}
		_, _ = key.Write(data)
	}
	_, _ = key.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(cache, "optsweep-bigquery-emulator", hex.EncodeToString(key.Sum(nil)[:8]))
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	return module, path, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// build links the emulator beside path and puts it there whole.
func build(ctx context.Context, module, path string) error {
	f, err := (durable.Disk{}).Create(path, 0o755)
	if err != nil {
		return err
	}
	defer f.Discard()
	linked := f.Name() + ".linked" + durable.TempSuffix
	defer func() { _ = os.Remove(linked) }()
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-mod=readonly", "-ldflags=-s -w", "-o", linked, emulatorPackage)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build -C testdata/bigquery-emulator: %w\n%s", err, output.Bytes())
	}
	in, err := os.Open(linked)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := f.ReadFrom(in); err != nil {
		return err
	}
	return f.Publish()
}
