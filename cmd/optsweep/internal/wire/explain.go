package wire

import (
	"fmt"
	"time"

	"optsweep/jobs/config"
	"optsweep/jobs/schedule"
	"optsweep/schemas"
)

// ScheduleExplained says when a job will run.
type ScheduleExplained struct {
	Job       string          `json:"job"`
	File      string          `json:"file"`
	Cron      string          `json:"cron"`
	Timezone  string          `json:"timezone"`
	Overlap   string          `json:"overlap"`
	CatchUp   string          `json:"catch_up"`
	GraceS    float64         `json:"grace_s"`
	JitterS   float64         `json:"jitter_s"`
	DeadlineS float64         `json:"deadline_s"`
	Fires     []FireExplained `json:"fires"`
	Notes     []string        `json:"notes"`    // what the clock of the time zone does to it
	Warnings  []string        `json:"warnings"` // what will not go as it is meant
}

// FireExplained is one coming fire.
type FireExplained struct {
	Fire   time.Time `json:"fire"`  // its key: UTC
	Local  time.Time `json:"local"` // the same moment on the clock of the time zone
	Starts time.Time `json:"starts"`
	DelayS float64   `json:"delay_s"` // of the start, by jitter
}

// Explain lists the next n fires of a job after from, and what is odd about
// the schedule.
func Explain(job *config.Job, from time.Time, n int) ScheduleExplained {
	s := *job.Schedule
	x := ScheduleExplained{
		Job: job.Name, File: job.File, Cron: s.Spec.Cron.String(), Timezone: s.Spec.Zone.String(), Overlap: string(s.Overlap), CatchUp: string(s.CatchUp),
		GraceS: s.Grace.Seconds(), JitterS: s.Jitter.Seconds(), DeadlineS: s.Deadline.Seconds(),
		Fires: []FireExplained{}, Notes: []string{}, Warnings: []string{},
	}
	until := from
	for range n {
		fire := s.Spec.Next(until)
		if fire.IsZero() {
			break
		}
		x.Fires = append(x.Fires, FireExplained{
			Fire: fire, Local: fire.In(s.Spec.Zone), Starts: s.Due(job.Name, fire), DelayS: s.Delay(job.Name, fire).Seconds(),
		})
		until = fire
	}
	if year := from.AddDate(1, 0, 0); until.Before(year) {
		until = year
	}
	for _, c := range s.Spec.Changes(from, until) {
		x.Notes = append(x.Notes, clockNote(s.Spec, c))
	}
	shortest := s.Spec.Shortest()
	if shortest > 0 {
		x.Warnings = append(x.Warnings, overlapWarnings(s, shortest, lastDuration(job))...)
	}
	return x
}

// clockNote says what a change of the clock does to a schedule.
func clockNote(s schedule.Spec, c schedule.Change) string {
	day, wall, zone := c.Wall.Format(time.DateOnly), c.Wall.Format("15:04"), s.Zone.String()
	by := ShortSpan(c.By)
	switch {
	case c.Forward && c.Fire.IsZero():
		return fmt.Sprintf("%s: the clock of %s is put forward by %s: there is no %s, and no fire for it", day, zone, by, wall)
	case c.Forward:
		return fmt.Sprintf("%s: the clock of %s is put forward by %s: there is no %s; the run is due right after, at %s local time (%s)",
			day, zone, by, wall, c.Fire.In(s.Zone).Format("15:04"), c.Fire.Format(time.RFC3339))
	case c.Fire.IsZero():
		return fmt.Sprintf("%s: the clock of %s is put back by %s: %s comes twice, and fires both times", day, zone, by, wall)
	default:
		return fmt.Sprintf("%s: the clock of %s is put back by %s: %s comes twice; the run is due the first time (%s), not the second (%s)",
			day, zone, by, wall, c.Fire.Format(time.RFC3339), c.Repeated.Format(time.RFC3339))
	}
}

// overlapWarnings says which runs will meet.
func overlapWarnings(s schedule.Schedule, shortest, last time.Duration) (warnings []string) {
	then := "fires that come while a run is under way are skipped"
	if s.Overlap == schedule.OverlapQueue {
		then = "of the fires that come while a run is under way one waits, the others are skipped"
	}
	if last > shortest {
		warnings = append(warnings, fmt.Sprintf("the last run took %s, and two fires can be %s apart: %s", ShortSpan(last.Round(time.Second)), ShortSpan(shortest), then))
	}
	if s.Deadline < last {
		warnings = append(warnings, fmt.Sprintf("the last run took %s, and the deadline is %s: such a run is cancelled, and goes on with the next fire", ShortSpan(last.Round(time.Second)), ShortSpan(s.Deadline)))
	}
	return warnings
}

// lastDuration is how long the job's last finished run took; 0 if that is not
// known.
func lastDuration(job *config.Job) (d time.Duration) {
	_, _ = Reports(job.Workspace, func(r schemas.Report) error {
		if r.Job == job.Name && !r.DryRun && !r.Offline && (r.Status == schemas.StatusReconciled || r.Status == schemas.StatusPartial) {
			d = r.FinishedAt.Sub(r.StartedAt)
		}
		return nil
	})
	return d
}

// ShortSpan is a time span without needless zeros, such as 1h or 2h30m.
func ShortSpan(d time.Duration) string {
	text := d.String()
	for _, tail := range []string{"m0s", "h0m"} {
		if n := len(text) - 2; len(text) > 2 && text[n-1:] == tail {
			text = text[:n]
		}
	}
	return text
}
