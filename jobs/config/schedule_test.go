package config

import (
	"strings"
	"testing"
	"time"

	"optsweep/jobs/schedule"
	"optsweep/schemas"
)

func TestScheduleGivesEveryValue(t *testing.T) {
	parse := func(text string) *schedule.Schedule {
		t.Helper()
		job, err := Parse("f", []byte(embedded+text), "/jobs")
		if err != nil {
			t.Fatal(err)
		}
		return job.Schedule
	}
	if parse("") != nil {
		t.Error("a schedule out of nothing")
	}
	got := parse("schedule: {cron: '30  2 * * *', timezone: Europe/Berlin, overlap: queue, catch_up: all, grace: 2d, jitter: 10m, deadline: 5h}\n")
	if got.Spec.Cron.String() != "30 2 * * *" || got.Spec.Zone.String() != "Europe/Berlin" {
		t.Errorf("spec %v", got.Spec)
	}
	got.Spec = schedule.Spec{}
	if *got != (schedule.Schedule{Overlap: "queue", CatchUp: "all", Grace: 48 * time.Hour, Jitter: 10 * time.Minute, Deadline: 5 * time.Hour}) {
		t.Errorf("got %+v", got)
	}
	got = parse("limits: {max_duration: 3h}\nschedule:\n  cron: 0 4 * * *\n")
	if got.Spec.Zone != time.UTC {
		t.Errorf("zone %v", got.Spec.Zone)
	}
	got.Spec = schedule.Spec{}
	if *got != (schedule.Schedule{Overlap: "skip", CatchUp: "once", Grace: 24 * time.Hour, Deadline: 3 * time.Hour}) {
		t.Errorf("defaults %+v", got)
	}
}

// scheduleProblems stand at the end of embedded.
var scheduleProblems = []struct{ name, text, want string }{
	{"no value", "schedule:", "f:8:1: schedule: has no value"},
	{"no cron", "schedule: {timezone: UTC}", "f:8:11: schedule.cron: is missing"},
	{"number", "schedule: {cron: 5}", "f:8:18: schedule.cron: must be text"},
	{"empty", "schedule: {cron: '  '}", "f:8:18: schedule.cron: is empty"},
	{"never", "schedule: {cron: '0 0 30 2 *'}", "f:8:18: schedule.cron: never comes: no month it names has such a day"},
	{"zone in front", "schedule: {cron: 'TZ=UTC'}", "f:8:18: schedule.cron: must not name a time zone (write it as timezone:"},
	{"cron zone in front", "schedule: {cron: 'CRON_TZ=UTC 0 4 * * *'}", "f:8:18: schedule.cron: must not name a time zone"},
	{"every", "schedule: {cron: '@every 6h'}", "f:8:18: schedule.cron: @every is not supported: it would count from whenever the daemon was started (name the times instead"},
	{"seconds", "schedule: {cron: '0 0 4 * * *'}", "f:8:18: schedule.cron: has six fields: seconds are not supported"},
	{"too few", "schedule: {cron: '0 4 * *'}", "f:8:18: schedule.cron: has 4 fields, want 5"},
	{"empty field", "schedule: {cron: '0 , * * *'}", "f:8:18: schedule.cron: has an empty item in its field for the hour"},
	{"minute", "schedule: {cron: '60 4 * * *'}", "f:8:18: schedule.cron: is no cron spec: end of range (60) above maximum (59)"},
	{"Sunday", "schedule: {cron: '0 4 * * 7'}", "f:8:18: schedule.cron: is no cron spec"},
	{"word", "schedule: {cron: '0 4 L * *'}", "f:8:18: schedule.cron: has no valid day of the month: want 1 to 31"},
	{"zone", "schedule: {cron: '0 4 * * *', timezone: Europe/Berlinn}", "f:8:41: schedule.timezone: is no known time zone"},
	{"local zone", "schedule: {cron: '0 4 * * *', timezone: Local}", "f:8:41: schedule.timezone: must name a time zone"},
	{"overlap", "schedule: {cron: '0 4 * * *', overlap: allow}", "f:8:40: schedule.overlap: must be skip or queue"},
	{"catch up", "schedule: {cron: '0 4 * * *', catch_up: yes}", "f:8:41: schedule.catch_up: must be skip or once or all"},
	{"grace", "schedule: {cron: '0 4 * * *', grace: 0s}", "f:8:38: schedule.grace: must be a time span"},
	{"jitter", "schedule: {cron: '*/10 * * * *', jitter: 10m}", "f:8:42: schedule.jitter: must be shorter than the time between two fires, which can be 10m0s"},
	{"deadline", "schedule: {cron: '0 4 * * *', deadline: 5s}", "f:8:41: schedule.deadline: must be at least 1m"},
	{"unknown", "schedule: {cron: '0 4 * * *', catchup: all}", "f:8:31: schedule.catchup: unknown key (did you mean catch_up?)"},
}

// Every slip in a schedule is told with its place.
func TestScheduleProblems(t *testing.T) {
	for _, c := range scheduleProblems {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(embedded+c.text+"\n"), "/jobs")
			if schemas.ClassOf(err) != schemas.Usage || err == nil {
				t.Fatalf("got %v", err)
			}
			if !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// A new schedule does not make an unfinished run unfit to go on.
func TestScheduleIsNotPartOfTheDigest(t *testing.T) {
	with, err := Parse("f", []byte(embedded+"schedule: {cron: '0 4 * * *'}\n"), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	without, err := Parse("f", []byte(embedded), "/jobs")
	if err != nil {
		t.Fatal(err)
	}
	if with.Digest() != without.Digest() {
		t.Error("it is")
	}
}
