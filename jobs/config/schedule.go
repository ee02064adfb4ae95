package config

import (
	"errors"
	"fmt"
	"time"

	"optsweep/jobs/schedule"
	"optsweep/schemas"
)

// minDeadline is shorter than any run that does something.
const minDeadline = time.Minute

// readSchedule reads when the job runs; nil if the file does not say.
func readSchedule(at value, maxDuration time.Duration) *schedule.Schedule {
	if !at.present() {
		return nil
	}
	s := at.section()
	cron, zone, jitter, deadline := s.required("cron"), s.optional("timezone"), s.optional("jitter"), s.optional("deadline")
	plan := schedule.Schedule{
		Overlap: schedule.Overlap(s.optional("overlap").oneOf(string(schedule.OverlapSkip), string(schedule.OverlapQueue))),
		CatchUp: schedule.CatchUp(s.optional("catch_up").oneOf(string(schedule.CatchUpSkip), string(schedule.CatchUpOnce), string(schedule.CatchUpAll))),
		Grace:   s.optional("grace").duration(schedule.DefaultGrace),
		Jitter:  jitter.duration(0), Deadline: deadline.duration(maxDuration),
	}
	if plan.Overlap == "" {
		plan.Overlap = schedule.DefaultOverlap
	}
	if plan.CatchUp == "" {
		plan.CatchUp = schedule.DefaultCatchUp
	}
	var readable bool
	plan.Spec.Cron, readable = cron.cron()
	name, given := schedule.DefaultZone, true
	if zone.present() {
		name, given = zone.text()
	}
	if given {
		var err error
		plan.Spec.Zone, err = schedule.Zone(name)
		zone.refuse(err)
		readable = readable && err == nil
	}
	if readable && given {
		if shortest := plan.Spec.Shortest(); plan.Jitter > 0 && shortest > 0 && plan.Jitter >= shortest {
			jitter.fail(fmt.Sprintf("must be shorter than the time between two fires, which can be %s", shortest), "")
		}
	}
	if deadline.present() && plan.Deadline < minDeadline {
		deadline.fail("must be at least 1m", "it is for whole runs; limits.max_duration is the default")
	}
	s.done()
	return &plan
}

// cron reads a cron spec.
func (v value) cron() (schedule.Cron, bool) {
	text, ok := v.text()
	if !ok {
		return schedule.Cron{}, false
	}
	c, err := schedule.ParseCron(text)
	v.refuse(err)
	return c, err == nil
}

// refuse reports an error about the value, if there is one.
func (v value) refuse(err error) {
	var problem *schemas.Error
	if errors.As(err, &problem) {
		v.fail(problem.Msg, problem.Hint)
	}
}
