package bqtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
)

// project is the only project of the emulator.
const project = "optsweep-test"

// process is a running emulator.
type process struct {
	rest, grpc string // addresses
	output     *output
	dir        string // its temporary files
	kill       context.CancelFunc
	ended      chan struct{}
}

// startProcess starts the emulator and waits until it listens.
func startProcess(ctx context.Context, path string) (*process, error) {
	dir, err := os.MkdirTemp("", "bigquery-emulator-")
	if err != nil {
		return nil, err
	}
	running, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &process{output: &output{listens: make(chan struct{})}, dir: dir, kill: kill, ended: make(chan struct{})}
	cmd := exec.CommandContext(running, path, "--project", project, "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0")
	// Nothing of the caller's environment, where BIGQUERY_EMULATOR_* would set options.
	cmd.Env = []string{"TMPDIR=" + dir, "TMP=" + dir, "SystemRoot=" + os.Getenv("SystemRoot")}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	dieWithParent(cmd)
	started := make(chan error, 1)
	go func() {
		// dieWithParent watches the thread that starts the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		p.stop()
		return nil, err
	}
	select {
	case <-p.output.listens:
	case <-p.ended:
		err = errors.New("it ended before it listened")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%w; its output:\n%s", err, p.output.tail())
	}
	p.rest, p.grpc = p.output.addresses()
	return p, nil
}

func (p *process) stop() {
	p.kill()
	<-p.ended
	_ = os.RemoveAll(p.dir)
}

// died is an error with the emulator's output once it has ended.
func (p *process) died() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the emulator has died; its output:\n%s", p.output.tail())
	default:
		return nil
	}
}

// output collects what the emulator prints.
type output struct {
	mu      sync.Mutex
	text    []byte
	open    bool
	rest    string
	grpc    string
	listens chan struct{} // closed when both addresses are known
}

// maxOutput is the length of the kept end of an emulator's output.
const maxOutput = 64 << 10

var (
	listensREST = regexp.MustCompile(`REST server listening at (\S+)\n`)
	listensGRPC = regexp.MustCompile(`gRPC server listening at (\S+)\n`)
)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	if !o.open {
		rest, grpc := listensREST.FindSubmatch(o.text), listensGRPC.FindSubmatch(o.text)
		if rest != nil && grpc != nil {
			o.open, o.rest, o.grpc = true, string(rest[1]), string(grpc[1])
			close(o.listens)
		}
	}
	if o.open && len(o.text) > 2*maxOutput {
		o.text = bytes.Clone(o.text[len(o.text)-maxOutput:])
	}
	return len(b), nil
}

func (o *output) addresses() (rest, grpc string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rest, o.grpc
}

func (o *output) tail() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text[max(0, len(o.text)-maxOutput):])
}
