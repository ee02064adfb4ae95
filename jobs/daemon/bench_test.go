package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/schedule"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// bench is a workspace and a daemon over it, with a clock that can be set.
// Everything that waits does so in the bubble of synctest.
type bench struct {
	t      *testing.T
	dir    string
	job    Job
	disk   durable.Disk
	fault  durable.Fault
	ahead  time.Duration // of the clock on the wall
	log    *lines
	takes  time.Duration     // a run
	before func(n int) error // before run n, from 1, does anything; it may panic
	mu     sync.Mutex        // guards the rest
	dead   bool              // the process is taken to be dead: runs stop where they are
	n      int               // runs that were begun
	runs   []string          // what runs did, in order: "started 02T04:00", ...
	users  *users
	extra  []string         // things that the job's runs use besides the workspace
	now    func() time.Time // in place of the clock
	finish func(n int) (schemas.Report, error)
}

// users counts who uses exclusive things right now.
type users struct {
	mu    sync.Mutex
	n     map[string]int
	clash bool // two runs used one thing
}

func (u *users) add(things []string, by int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, thing := range things {
		u.n[thing] += by
		u.clash = u.clash || u.n[thing] > 1
	}
}

// lines collects log lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t *testing.T, cron, zone string) *bench {
	t.Helper()
	return newBenchIn(t, filepath.Join(t.TempDir(), "ws"), "crm", cron, zone)
}

func newBenchIn(t *testing.T, dir, job, cron, zone string) *bench {
	t.Helper()
	spec, err := schedule.Parse(cron, zone)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir, log: &lines{}, takes: 10 * time.Minute, users: &users{n: map[string]int{}}}
	b.job = Job{
		Name: job, File: job + ".yaml", Workspace: dir,
		Schedule: schedule.Schedule{
			Spec: spec, Overlap: schedule.OverlapSkip, CatchUp: schedule.CatchUpOnce, Grace: 24 * time.Hour, Deadline: 20 * time.Hour,
		},
		Exclusive: func() []string { return append([]string{"workspace " + dir}, b.extra...) },
		Run:       b.run,
	}
	b.disk = durable.Disk{Fault: func(step durable.Step, path string) (bool, error) {
		if b.isDead() {
			return false, errKilled
		}
		if b.fault != nil {
			return b.fault(step, path)
		}
		return false, nil
	}}
	if _, err := os.Stat(dir); err != nil {
		if err := sweep.CreateWorkspace(durable.Disk{}, dir, time.Now); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != nil {
		return b.now()
	}
	return time.Now().Add(b.ahead)
}

// set moves the clock on the wall, not the time that passes.
func (b *bench) set(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead += by
}

func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = append(b.runs, fmt.Sprintf(format, args...))
}

func (b *bench) isDead() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

var errKilled = errors.New("killed")

// run does what a run does to the ledger of a workspace, as far as a daemon
// can tell.
func (b *bench) run(ctx context.Context, _ time.Time, p sweep.Progress) (rep schemas.Report, err error) {
	b.mu.Lock()
	b.n++
	n := b.n
	b.mu.Unlock()
	lease, err := ledger.Acquire(filepath.Join(b.dir, "lease"), "the workspace", ledger.Owner{PID: 7, Host: "alpha", Job: b.job.Name})
	if err != nil {
		return rep, err
	}
	defer lease.Release()
	b.users.add(b.job.Exclusive(), 1)
	defer b.users.add(b.job.Exclusive(), -1)
	if b.before != nil {
		if err := b.before(n); err != nil {
			return rep, err
		}
	}
	last, ended := "", true
	chain, err := ledger.Open(durable.Disk{}, sweep.Layout(b.dir).Ledger(), b.clock, func(e schemas.Event) error {
		if e.Run != "" {
			last, ended = e.Run, e.Type == schemas.EventRunFinished
		}
		return nil
	})
	if err != nil {
		return rep, err
	}
	defer chain.Close()
	add := func(typ schemas.EventType, data any) {
		if _, err := chain.Append(last, typ, data); err != nil {
			b.t.Error(err)
		}
	}
	if b.isDead() {
		return rep, errKilled
	}
	verb := "resumed"
	if ended {
		verb, last = "started", "run-"+b.clock().Format("02T15:04:05.000")
		add(schemas.EventRunStarted, schemas.RunStarted{Job: b.job.Name})
	} else {
		add(schemas.EventRunResumed, struct{}{})
	}
	b.note("%s %s", verb, b.clock().UTC().Format("02T15:04"))
	rep = schemas.Report{Run: last, Status: schemas.StatusInterrupted}
	p.Start("check", 100, "ids")
	p.Add(40)
	select {
	case <-ctx.Done():
		if b.isDead() {
			return rep, errKilled
		}
		add(schemas.EventRunInterrupted, schemas.RunEnded{Status: schemas.StatusInterrupted, Class: "cancelled"})
		return rep, schemas.Errorf(schemas.Cancelled, "run %s was cancelled", last)
	case <-time.After(b.takes):
	}
	p.Stop()
	if b.isDead() {
		return rep, errKilled
	}
	if b.finish != nil {
		return b.finish(n)
	}
	rep.Status = schemas.StatusReconciled
	add(schemas.EventRunFinished, schemas.RunEnded{Status: rep.Status})
	b.note("finished %s", b.clock().UTC().Format("02T15:04"))
	return rep, nil
}

// daemon makes a daemon over the bench's disk and clock.
func (b *bench) daemon() *Daemon {
	return New(Options{
		Disk: b.disk, Now: b.clock, After: time.After, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		Owner: func(job string) ledger.Owner {
			return ledger.Owner{PID: 4711, Host: "alpha", Since: b.clock(), Job: job}
		},
	})
}

// start runs a daemon with jobs until stop is called.
func (b *bench) start(jobs ...Job) (d *Daemon, stop func()) {
	d = b.daemon()
	d.Load(jobs, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil && !b.isDead() {
			b.t.Error(err)
		}
	}
}

// kill ends a daemon without letting it or its runs write anything more.
func (b *bench) kill(stop func()) {
	b.t.Helper()
	b.setDead(true)
	stop()
	b.setDead(false)
}

func (b *bench) setDead(dead bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = dead
}

// records are what became of all fires.
func (b *bench) records() (all []Record) {
	b.t.Helper()
	if err := ReadLog(b.dir, b.job.Name, func(r Record) { all = append(all, r) }); err != nil {
		b.t.Fatal(err)
	}
	return all
}

// outcomes are records in short, such as "02T04:00 reconciled".
func (b *bench) outcomes() (all []string) {
	for _, r := range b.records() {
		text := r.Fire.Format("02T15:04") + " " + r.Status
		if r.Count > 1 {
			text += fmt.Sprintf(" x%d", r.Count)
		}
		if r.Status == Skipped {
			text += " " + r.Reason
		}
		all = append(all, text)
	}
	return all
}

func (b *bench) did() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.runs)
}

func (b *bench) want(what string, got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// bubble runs test in a bubble whose time begins at midnight UTC of 2000-01-01.
func bubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

const day = 24 * time.Hour
