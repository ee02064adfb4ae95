package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/schedule"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Job is a job with a schedule.
type Job struct {
	Name      string
	File      string // job file
	Workspace string // folder, which must be a workspace
	Schedule  schedule.Schedule
	Limits    []Limit
	// Exclusive names what no two runs may use at a time: the workspace, the
	// API key.
	Exclusive func() []string
	// Run makes a run for a fire, or goes on with the unfinished one, and brings
	// it to its end. An error of class Locked means that another process is in
	// the way.
	Run func(ctx context.Context, fire time.Time, p sweep.Progress) (schemas.Report, error)
	// Missed is told of fires that nobody ran and no other fire runs for, aside
	// from the daemon's loop; nil: nobody is told.
	Missed func(ctx context.Context, f schemas.SkippedFires)
}

// Limit is a limit of a job, for show.
type Limit struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Options are the surroundings of a daemon.
type Options struct {
	Disk  durable.Disk
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	Owner func(job string) ledger.Owner
	Log   *slog.Logger
}

const (
	// look is how often the clock is looked at again, at the least.
	look = 30 * time.Second
	// maxPause is how long a fire waits for another process at a time.
	maxPause = 5 * time.Minute
	// blink keeps the loop from turning faster.
	blink = 100 * time.Millisecond
	// jump is by how much the clock may be off between two looks.
	jump = time.Minute
	// setBack is how far back the clock may be set before fires that were
	// decided about ahead of it are waited for no more.
	setBack = 24 * time.Hour
	// maxAttempts is how often a run may take the process down before its fire
	// is given up.
	maxAttempts = 5
)

// Why the context of a run ends.
var (
	errDraining = errors.New("the daemon is stopping")
	errDeadline = errors.New("the deadline has passed")
	errLost     = errors.New("another process has taken over")
)

// Daemon runs jobs on their schedules.
type Daemon struct {
	o    Options
	poke chan struct{} // something has changed: look at once
	runs sync.WaitGroup

	looked atomic.Pointer[time.Time] // when the loop last turned

	mu       sync.Mutex // guards the rest
	jobs     map[string]*entry
	loaded   bool
	draining bool
	started  time.Time
	reload   Reload
}

// Reload says how the last reading of the job files went.
type Reload struct {
	At       time.Time `json:"at"`
	Problems []string  `json:"problems"` // empty: all is well
}

// entry is a job that the daemon knows.
type entry struct {
	job     Job
	moved   *Job // the job with another workspace, once its run has ended; nil: it has not moved
	removed bool
	book    *book     // nil: it could not be opened
	opened  time.Time // when it was
	active  *active
	result  *result       // of a run that has ended, not recorded yet
	retry   time.Time     // the claimed fire is not tried before
	pause   time.Duration // before the next try, while another process is in the way
	problem string        // why there is no book
}

// active is a run under way.
type active struct {
	fire     time.Time
	began    time.Time
	late     bool // cancelled, as its deadline has passed
	uses     []string
	cancel   context.CancelCauseFunc
	progress *progress
}

// result is how a run has ended.
type result struct {
	fire  time.Time
	rep   schemas.Report
	err   error
	cause error // of the end of its context; nil: it was not ended
}

// New makes a daemon without jobs.
func New(o Options) *Daemon {
	d := &Daemon{o: o, poke: make(chan struct{}, 1), jobs: map[string]*entry{}, started: o.Now()}
	d.looked.Store(&d.started)
	return d
}

// Load exchanges the jobs. Those of files in bad stay as they are; jobs that
// are neither there nor in jobs stop after their current run.
func (d *Daemon) Load(jobs []Job, bad map[string]error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loaded = true
	d.reload = Reload{At: d.now(), Problems: []string{}}
	for _, file := range sortedKeys(bad) {
		d.reload.Problems = append(d.reload.Problems, bad[file].Error())
		d.o.Log.Error("a job file cannot be used; if it was loaded before, it stays in force as it was", "file", file, "error", bad[file], "hint", schemas.HintOf(bad[file]))
	}
	named := map[string]bool{}
	for _, job := range jobs {
		named[job.Name] = true
		switch e := d.jobs[job.Name]; {
		case e == nil:
			d.jobs[job.Name] = &entry{job: job}
			d.o.Log.Info("a job is scheduled", "job", job.Name, "cron", job.Schedule.Spec.Cron.String(), "timezone", job.Schedule.Spec.Zone.String())
		case e.job.Workspace != job.Workspace:
			e.moved, e.removed = &job, false
		default:
			e.job, e.moved, e.removed = job, nil, false
		}
	}
	for name, e := range d.jobs {
		if _, kept := bad[e.job.File]; !named[name] && !kept && !e.removed {
			e.removed = true
			d.o.Log.Info("a job is scheduled no more", "job", name, "running", e.active != nil)
		}
	}
	d.wake()
}

func (d *Daemon) now() time.Time { return d.o.Now().Round(0).UTC() } // on the wall, not since boot

func (d *Daemon) wake() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// Run starts runs until ctx is done. Then it cancels those under way, waits for
// them to stop cleanly, and returns nil.
func (d *Daemon) Run(ctx context.Context) error {
	for {
		pause := d.tick(ctx)
		before := d.looked.Load().Round(0)
		select {
		case <-ctx.Done():
			return d.drain()
		case <-d.poke:
		case <-d.o.After(pause):
			if off := d.now().Sub(before) - pause; off.Abs() > jump {
				d.o.Log.Warn("the clock has jumped, or this machine was asleep", "by", off.Round(time.Second))
			}
		}
	}
}

// tick does what is due and says when to look again.
func (d *Daemon) tick(ctx context.Context) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	looked := d.o.Now()
	d.looked.Store(&looked)
	now, pause := d.now(), look
	for _, e := range d.inOrder() {
		if err := d.attend(ctx, e, now); err != nil {
			d.giveUp(e, err)
			continue
		}
		if e.book == nil || e.removed {
			continue
		}
		for _, at := range e.wakeups() {
			pause = min(pause, at.Sub(now))
		}
	}
	return max(pause, blink)
}

// inOrder lists the jobs, those with the oldest claims first.
func (d *Daemon) inOrder() []*entry {
	list := make([]*entry, 0, len(d.jobs))
	for _, name := range sortedKeys(d.jobs) {
		list = append(list, d.jobs[name])
	}
	slices.SortStableFunc(list, func(a, b *entry) int { return cmp.Compare(a.claimedAt(), b.claimedAt()) })
	return list
}

func (e *entry) claimedAt() int64 {
	if e.book == nil || e.book.current == nil {
		return 1 << 62
	}
	return e.book.current.at.UnixMilli()
}

// wakeups are when the job wants to be looked at again.
func (e *entry) wakeups() (times []time.Time) {
	if next := e.job.Schedule.Spec.Next(e.book.until); !next.IsZero() {
		times = append(times, e.job.Schedule.Due(e.job.Name, next))
	}
	if c := e.book.current; c != nil {
		if e.active == nil || !e.active.late {
			times = append(times, e.deadline())
		}
		if e.active == nil {
			times = append(times, e.retry)
		}
	}
	return times
}

// deadline is until when the claimed fire must be done. The time in which no
// daemon was there does not count.
func (e *entry) deadline() time.Time {
	from := e.book.current.at
	if e.opened.After(from) {
		from = e.opened
	}
	return from.Add(e.job.Schedule.Deadline)
}

// giveUp closes a book that cannot be written or is another's. It is opened
// again at the next look.
func (d *Daemon) giveUp(e *entry, err error) {
	if text := err.Error(); text != e.problem {
		e.problem = text
		level := slog.LevelError
		if schemas.ClassOf(err) == schemas.Locked {
			level = slog.LevelWarn
		}
		d.o.Log.Log(context.Background(), level, "a job cannot be scheduled at the moment; it is tried again", "job", e.job.Name, "error", err, "hint", schemas.HintOf(err))
	}
	if schemas.ClassOf(err) == schemas.Locked && e.active != nil {
		e.active.cancel(errLost)
	}
	d.shut(e)
}

func (d *Daemon) shut(e *entry) {
	if e.book == nil {
		return
	}
	if err := e.book.close(); err != nil {
		d.o.Log.Warn("a log of fires was not closed", "job", e.job.Name, "error", err)
	}
	e.book = nil
}

// drain cancels all runs and waits for them.
func (d *Daemon) drain() error {
	d.mu.Lock()
	d.draining = true
	for _, e := range d.inOrder() {
		if e.active != nil {
			d.o.Log.Info("stopping a run; it goes on when the daemon starts again", "job", e.job.Name, "fire", e.active.fire)
			e.active.cancel(errDraining)
		}
	}
	d.mu.Unlock()
	d.runs.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all error
	for _, e := range d.inOrder() {
		if e.book == nil {
			continue
		}
		if err := d.record(e); err != nil {
			all = errors.Join(all, err)
		}
		d.shut(e)
	}
	d.o.Log.Info("stopped")
	return all
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
