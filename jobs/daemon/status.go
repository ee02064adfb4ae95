package daemon

import (
	"time"

	"optsweep/schemas"
)

// Status is what a daemon is doing.
type Status struct {
	Now      time.Time   `json:"now"`
	Started  time.Time   `json:"started"`
	Draining bool        `json:"draining"`
	Reload   Reload      `json:"reload"`
	Jobs     []JobStatus `json:"jobs"`
}

// States of a job.
const (
	Idle    = "idle"
	Running = "running"
	Waiting = "waiting" // its fire is claimed, and something is in the way
	Blocked = "blocked" // its log of fires is another process's, or cannot be written
)

// JobStatus is what a job is doing.
type JobStatus struct {
	Name     string      `json:"job"`
	File     string      `json:"file"`
	Cron     string      `json:"cron"`
	Timezone string      `json:"timezone"`
	Overlap  string      `json:"overlap"`
	CatchUp  string      `json:"catch_up"`
	Grace    string      `json:"grace"`
	Jitter   string      `json:"jitter"`
	Deadline string      `json:"deadline"`
	Limits   []Limit     `json:"limits"`
	State    string      `json:"state"`
	Why      string      `json:"why,omitempty"`
	Removed  bool        `json:"removed"` // it stops after its current run
	Fire     time.Time   `json:"fire,omitzero"`
	Began    time.Time   `json:"began,omitzero"`
	Progress *Progress   `json:"progress,omitempty"`
	Queue    []time.Time `json:"queue"`
	Next     []Coming    `json:"next"`
	Recent   []Record    `json:"recent"` // the newest first
}

// Coming is a fire to come.
type Coming struct {
	Fire   time.Time `json:"fire"`
	Starts time.Time `json:"starts"`
}

const showNext = 3

// Status tells what the daemon is doing.
func (d *Daemon) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Now: d.now(), Started: d.started.UTC(), Draining: d.draining, Reload: d.reload, Jobs: []JobStatus{}}
	for _, name := range sortedKeys(d.jobs) {
		s.Jobs = append(s.Jobs, d.jobs[name].status(s.Now))
	}
	return s
}

func (e *entry) status(now time.Time) JobStatus {
	p := e.job.Schedule
	s := JobStatus{
		Name: e.job.Name, File: e.job.File, Cron: p.Spec.Cron.String(), Timezone: p.Spec.Zone.String(), Overlap: string(p.Overlap), CatchUp: string(p.CatchUp),
		Grace: p.Grace.String(), Jitter: p.Jitter.String(), Deadline: p.Deadline.String(), Limits: e.job.Limits,
		State: Idle, Why: e.problem, Removed: e.removed, Queue: []time.Time{}, Next: []Coming{}, Recent: []Record{},
	}
	until := now
	if b := e.book; b == nil {
		s.State = Blocked
	} else {
		until = b.until
		s.Queue = append(s.Queue, b.queue...)
		for i := len(b.recent) - 1; i >= 0; i-- {
			s.Recent = append(s.Recent, b.recent[i])
		}
		if c := b.current; c != nil {
			s.State, s.Why, s.Fire = Waiting, c.waiting, c.fire
		}
	}
	if a := e.active; a != nil {
		at := a.progress.look()
		s.State, s.Fire, s.Began, s.Progress = Running, a.fire, a.began, &at
	}
	for range showNext {
		fire := p.Spec.Next(until)
		if fire.IsZero() || e.removed {
			break
		}
		s.Next = append(s.Next, Coming{Fire: fire, Starts: p.Due(e.job.Name, fire)})
		until = fire
	}
	return s
}

// Loaded tells whether job files have been loaded and the daemon is not
// stopping.
func (d *Daemon) Loaded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loaded && !d.draining
}

// Alive fails if the loop has not turned for a while.
func (d *Daemon) Alive() error {
	// Without the lock: a disk that hangs is to be noticed.
	if since := d.o.Now().Sub(*d.looked.Load()); since > 4*look {
		return schemas.Errorf(schemas.Failed, "the loop has not turned for %s", since.Round(time.Second))
	}
	return nil
}

// Workspace is the folder of a job's workspace; empty if there is no such job.
func (d *Daemon) Workspace(job string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.jobs[job]; e != nil {
		return e.job.Workspace
	}
	return ""
}
