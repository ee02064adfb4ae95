package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"optsweep/jobs/schedule"
	"optsweep/schemas"
)

// attend does what is due for one job. After an error its book is in doubt.
func (d *Daemon) attend(ctx context.Context, e *entry, now time.Time) error {
	if e.active == nil && e.result == nil {
		switch {
		case e.removed:
			d.shut(e)
			delete(d.jobs, e.job.Name)
			return nil
		case e.moved != nil:
			d.shut(e)
			*e = entry{job: *e.moved}
		}
	}
	if e.book == nil {
		b, err := openBook(d.o.Disk, e.job.Workspace, e.job.Name, d.now, d.o.Owner(e.job.Name))
		if err != nil {
			return err
		}
		e.book, e.opened = b, now
		if e.problem != "" {
			e.problem = ""
			d.o.Log.Info("the job is scheduled again", "job", e.job.Name)
		}
	}
	if e.active != nil {
		// A run under way must not outlive the right to record it.
		if err := e.book.fence.Check(); err != nil {
			return err
		}
	}
	if err := d.record(e); err != nil {
		return err
	}
	if e.removed || e.moved != nil {
		return nil
	}
	if err := d.adopt(e, now); err != nil {
		return err
	}
	if err := d.overdue(ctx, e, now); err != nil {
		return err
	}
	if err := d.decide(ctx, e, now); err != nil {
		return err
	}
	if e.book.current == nil || e.active != nil || now.Before(e.retry) || ctx.Err() != nil {
		return nil
	}
	return d.start(ctx, e, now)
}

// adopt puts the job's schedule in force: its fires count from now on. Fires
// of the one before that nobody was there for are skipped.
func (d *Daemon) adopt(e *entry, now time.Time) error {
	spec, set := e.job.Schedule.Spec, e.book.set
	next := schemas.ScheduleSet{Cron: spec.Cron.String(), Timezone: spec.Zone.String(), From: now.Truncate(time.Millisecond)}
	switch {
	case set.Cron == "":
		next.Why = "first start"
	case set.Cron != next.Cron || set.Timezone != next.Timezone:
		next.Why = "the schedule was changed"
		if before, err := schedule.Parse(set.Cron, set.Timezone); err == nil {
			old := e.job.Schedule
			old.Spec = before
			next.Skipped = old.Skip(e.job.Name, e.book.until, now, schedule.Rescheduled)
		}
	case e.book.until.Sub(now) > setBack:
		next.Why = "the clock was set back"
	default:
		return nil
	}
	d.o.Log.Info("a schedule is in force", "job", e.job.Name, "cron", next.Cron, "timezone", next.Timezone, "why", next.Why)
	return e.book.append(schemas.EventScheduleSet, next)
}

// overdue ends what has passed its deadline.
func (d *Daemon) overdue(ctx context.Context, e *entry, now time.Time) error {
	c := e.book.current
	if c == nil || now.Before(e.deadline()) {
		return nil
	}
	if e.active != nil {
		e.active.late = true
		e.active.cancel(errDeadline)
		return nil
	}
	why := "its deadline passed before it could run"
	if c.waiting != "" {
		why += ": " + c.waiting
	}
	d.missed(ctx, e, schemas.SkippedFires{First: c.fire, Last: c.fire, Count: 1, Reason: why})
	return d.done(e, schemas.FireDone{Status: schemas.StatusFailed, Class: "deadline", Message: why})
}

// decide claims, queues and skips the fires that are due.
func (d *Daemon) decide(ctx context.Context, e *entry, now time.Time) error {
	b := e.book
	if b.current == nil && len(b.queue) > 0 {
		if err := b.append(schemas.EventFireClaimed, schemas.FireClaimed{Fire: b.queue[0]}); err != nil {
			return err
		}
	}
	at := schedule.Standing{Until: b.until, Busy: b.current != nil, Queued: len(b.queue), Ran: b.hasRun}
	decided := e.job.Schedule.Decide(e.job.Name, at, now)
	if decided.Empty(at) {
		return nil
	}
	due := schemas.FiresDue{Until: decided.Until, Queued: decided.Queue, Skipped: decided.Skipped}
	if !decided.Claim.IsZero() {
		due.Claimed = &decided.Claim
	}
	if err := b.append(schemas.EventFiresDue, due); err != nil {
		return err
	}
	for _, s := range due.Skipped {
		d.o.Log.Warn("fires are skipped", "job", e.job.Name, "first", s.First, "last", s.Last, "count", s.Count, "reason", s.Reason)
		d.missed(ctx, e, s)
	}
	for _, fire := range due.Queued {
		d.o.Log.Info("a fire waits for the run before it", "job", e.job.Name, "fire", fire)
	}
	return nil
}

// missed tells of fires that did not run, unless another one ran for them.
func (d *Daemon) missed(ctx context.Context, e *entry, f schemas.SkippedFires) {
	if tell := e.job.Missed; tell != nil && f.Reason != schedule.Superseded {
		d.runs.Go(func() { tell(ctx, f) })
	}
}

// start runs the claimed fire, if nothing is in its way.
func (d *Daemon) start(ctx context.Context, e *entry, now time.Time) error {
	c := e.book.current
	if c.started { // by a process that died
		run, ended, found, err := endedSince(e.job.Workspace, e.job.Name, c.seq)
		if err != nil {
			return err
		}
		if found {
			return d.done(e, schemas.FireDone{Status: ended.Status, Run: run, Class: ended.Class, Message: ended.Message})
		}
		if c.attempt >= maxAttempts {
			return d.done(e, schemas.FireDone{Status: schemas.StatusFailed, Message: fmt.Sprintf("given up: the process ended %d times during its run", c.attempt)})
		}
	}
	uses := e.job.Exclusive()
	if other := d.inTheWay(e, uses); other != "" {
		return d.wait(e, now.Add(look), fmt.Sprintf("job %s runs, which has the same workspace or API key", other))
	}
	seq, err := position(e.job.Workspace)
	if err != nil {
		return err
	}
	if err := e.book.append(schemas.EventFireStarted, schemas.FireStarted{Fire: c.fire, Attempt: c.attempt + 1, LedgerSeq: seq}); err != nil {
		return err
	}
	log := d.o.Log.With("job", e.job.Name, "fire", c.fire)
	log.Info("a fire runs", "attempt", c.attempt)
	runCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	job, fire, p := e.job, c.fire, &progress{now: d.o.Now, log: log}
	e.active = &active{fire: fire, began: now, uses: uses, cancel: cancel, progress: p}
	d.runs.Go(func() {
		rep, err := guarded(runCtx, job, fire, p, func(trace []byte) { log.Error("a run has panicked", "trace", string(trace)) })
		d.mu.Lock()
		e.result = &result{fire: fire, rep: rep, err: err, cause: context.Cause(runCtx)}
		e.active = nil
		d.mu.Unlock()
		cancel(nil)
		d.wake()
	})
	return nil
}

// guarded turns a panic of a run into its failure.
func guarded(ctx context.Context, job Job, fire time.Time, p *progress, tell func(trace []byte)) (rep schemas.Report, err error) {
	defer func() {
		if v := recover(); v != nil {
			tell(debug.Stack())
			text := schemas.Hide(fmt.Appendf(nil, "%v", v))
			rep, err = schemas.Report{Status: schemas.StatusFailed}, schemas.Errorf(schemas.Failed, "the run panicked: %s", text)
		}
	}()
	return job.Run(ctx, fire, p)
}

// inTheWay names a job that runs and uses something of uses.
func (d *Daemon) inTheWay(e *entry, uses []string) string {
	for _, name := range sortedKeys(d.jobs) {
		other := d.jobs[name]
		if other != e && other.active != nil && slices.ContainsFunc(uses, func(u string) bool { return slices.Contains(other.active.uses, u) }) {
			return name
		}
	}
	return ""
}

// wait puts the claimed fire off. The reason is recorded when it is new.
func (d *Daemon) wait(e *entry, until time.Time, why string) error {
	e.retry = until
	if c := e.book.current; c.waiting == why && !c.started {
		return nil
	}
	if err := e.book.append(schemas.EventFireWaiting, schemas.FireWaiting{Fire: e.book.current.fire, Why: why}); err != nil {
		return err
	}
	d.o.Log.Warn("a fire has to wait", "job", e.job.Name, "fire", e.book.current.fire, "why", why)
	return nil
}

// record writes down how the run that has ended did.
func (d *Daemon) record(e *entry) error {
	r := e.result
	if r == nil {
		return nil
	}
	if c := e.book.current; c == nil || !c.fire.Equal(r.fire) {
		e.result = nil // another process has recorded it
		return nil
	}
	if err := d.settle(e, r); err != nil {
		return err
	}
	e.result = nil
	return nil
}

func (d *Daemon) settle(e *entry, r *result) error {
	e.retry = time.Time{}
	class := schemas.ClassOf(r.err)
	cancelled := r.err != nil && class == schemas.Cancelled
	switch {
	case cancelled && errors.Is(r.cause, errDeadline):
		return d.done(e, schemas.FireDone{
			Status: schemas.StatusInterrupted, Run: r.rep.Run, Class: "deadline",
			Message: fmt.Sprintf("cancelled after %s, the deadline; the next fire goes on with it", e.job.Schedule.Deadline),
		})
	case cancelled:
		return e.book.append(schemas.EventFireReleased, schemas.FireReleased{Fire: r.fire, Run: r.rep.Run})
	case r.err != nil && class == schemas.Locked:
		e.pause = min(max(look, 2*e.pause), maxPause)
		d.wakeOthers(e)
		return d.wait(e, d.now().Add(e.pause), r.err.Error())
	}
	e.pause = 0
	end := schemas.FireDone{Status: r.rep.Status, Run: r.rep.Run}
	if r.err != nil {
		end.Class, end.Message = class.String(), r.err.Error()
	}
	if end.Status == "" {
		end.Status = schemas.StatusFailed
	}
	d.wakeOthers(e)
	return d.done(e, end)
}

// wakeOthers lets jobs that waited for this one try at once.
func (d *Daemon) wakeOthers(e *entry) {
	for _, other := range d.jobs {
		if other != e && other.book != nil && other.book.current != nil {
			other.retry = time.Time{}
		}
	}
	d.wake()
}

// done closes the claimed fire.
func (d *Daemon) done(e *entry, end schemas.FireDone) error {
	c := e.book.current
	end.Fire, end.Seconds = c.fire, max(0, d.now().Sub(c.at).Seconds())
	if err := e.book.append(schemas.EventFireDone, end); err != nil {
		return err
	}
	log := d.o.Log.With("job", e.job.Name, "fire", end.Fire, "status", end.Status, "run", end.Run)
	if end.Message != "" {
		log.Error("a fire is done", "class", end.Class, "error", end.Message)
	} else {
		log.Info("a fire is done")
	}
	d.wake()
	return nil
}
