package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// TestMain makes the test binary double as optsweep itself, so that scripts
// and the kill test run the real main in processes of their own.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"optsweep": main, "printid": printID})
}

// asProgram makes a process started from the test binary run main.
const asProgram = "OPTSWEEP_TEST_AS_PROGRAM"

// TestScript runs the command line as users do; each script says what it is
// about in its first line.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			address, err := freeAddress()
			e.Setenv("ADDRESS", address)
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, "tmp")) // leases on API keys stay in the script
			e.Setenv("OPTSWEEP_PROGRESS", "none")
			shapes, shapesErr := filepath.Abs(filepath.Join("..", "..", "testdata", "parquet", "shapes"))
			e.Setenv("SHAPES", shapes)
			return errors.Join(err, shapesErr)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"appendevent": appendEvent,
			"exits":       exits,
			"listens":     listens,
			"waitfor":     waitFor,
			"truncate":    truncate,
			"noids":       noIDs,
			"same":        same,
			"takeid":      takeID,
			"receives":    receives,
		},
	})
}

// freeAddress is a loopback address on which nothing listens at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// exits CODE COMMAND... runs optsweep and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARG...")
	}
	err := ts.Exec("optsweep", args[1:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// listens ADDRESS waits until something listens there.
func listens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listens ADDRESS")
	}
	if !isListening(args[0]) {
		ts.Fatalf("nothing listens on %s", args[0])
	}
}

// isListening waits until something listens.
func isListening(address string) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// waitFor PATTERN waits until a file of such a name holds something.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor PATTERN")
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() > 0 {
				return
			}
		}
	}
	ts.Fatalf("no file %s", args[0])
}

// truncate FILE cuts off the second half of a file.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: truncate FILE")
	}
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()/2))
}

// same A B wants two folders with the same files, byte for byte.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR")
	}
	a, err := digests(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := digests(ts.MkAbs(args[1]))
	ts.Check(err)
	if equal := sameDigests(a, b); equal == neg {
		ts.Fatalf("%s and %s: same is %v", args[0], args[1], equal)
	}
}

// noIDs FILE... wants that the outputs of the last command and the files show
// nothing that looks like an advertising id or a secret.
func noIDs(ts *testscript.TestScript, neg bool, args []string) {
	texts := map[string]string{"stdout": ts.ReadFile("stdout"), "stderr": ts.ReadFile("stderr")}
	for _, name := range args {
		texts[name] = ts.ReadFile(name)
	}
	for name, text := range texts {
		if found := idLike.FindString(text); found != "" {
			ts.Fatalf("%s shows something like an id or a secret", name)
		}
	}
}

// appendEvent FILE TYPE appends an event of that type to a log.
func appendEvent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: appendevent FILE TYPE")
	}
	path := ts.MkAbs(args[0])
	log, err := ledger.Open(durable.Disk{}, path, time.Now, nil)
	ts.Check(err)
	_, err = log.Append("", schemas.EventType(args[1]), struct{}{})
	ts.Check(err)
	ts.Check(log.Close())
}
