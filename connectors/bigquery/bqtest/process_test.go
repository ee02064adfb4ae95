package bqtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// childVariable makes TestDiesWithItsParent the parent that dies.
const childVariable = "BQTEST_CHILD"

// An emulator ends with the test binary, even if that is killed.
func TestDiesWithItsParent(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		em, err := Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("listens at", em.process.rest)
		select {}
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent died")
	}
	Shared(t) // skips without an emulator
	parent := exec.Command(os.Args[0], "-test.run=^TestDiesWithItsParent$")
	parent.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+t.TempDir())
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = parent.Process.Kill()
	_ = parent.Wait()
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listens at ")
	if err != nil || !ok {
		t.Fatalf("printed %q: %v", line, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the emulator runs on")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// An emulator that ends says why.
func TestDied(t *testing.T) {
	Shared(t)
	em, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer em.Close()
	if err := em.Died(); err != nil {
		t.Fatal(err)
	}
	em.process.kill()
	<-em.process.ended
	client, err := em.NewClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Query("SELECT 1").Read(t.Context()); err == nil || !strings.Contains(err.Error(), "the emulator has died") {
		t.Errorf("got %v", err)
	}
}
