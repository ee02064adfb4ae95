package daemon

import (
	"context"
	"testing"
	"time"

	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// A year of daily fires, with the clock put forward and back: one run on every
// local day.
func TestAYearOfDailyFires(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "Europe/London", "America/New_York"} {
		for _, cron := range []string{"30 2 * * *", "30 1 * * *"} {
			t.Run(zone+" "+cron[:4], func(t *testing.T) {
				t.Parallel()
				b := newBench(t, cron, zone)
				location := b.job.Schedule.Spec.Zone
				now := time.Date(2026, 1, 1, 0, 0, 0, 0, location)
				b.now = func() time.Time { return now }
				days := map[string]int{}
				b.job.Run = func(context.Context, time.Time, sweep.Progress) (schemas.Report, error) {
					days[now.In(location).Format(time.DateOnly)]++
					return schemas.Report{Run: "r", Status: schemas.StatusReconciled}, nil
				}
				d := b.daemon()
				d.Load([]Job{b.job}, nil)
				ticks, end := 0, now.AddDate(1, 0, 0)
				for ; now.Before(end); ticks++ {
					pause := d.tick(t.Context())
					d.runs.Wait()
					if pause == look {
						pause = 4 * time.Minute // a busy machine
					}
					now = now.Add(pause)
				}
				if len(days) != 365 {
					t.Errorf("runs on %d days, want 365", len(days))
				}
				for day, n := range days {
					if n != 1 {
						t.Errorf("%s: %d runs", day, n)
					}
				}
				records := b.records()
				if len(records) < 364 {
					t.Errorf("%d records", len(records))
				}
				for _, r := range records {
					if r.Status != schemas.StatusReconciled {
						t.Errorf("record %+v", r)
					}
				}
				t.Logf("%d looks at the clock", ticks)
				for _, e := range d.jobs {
					d.shut(e)
				}
			})
		}
	}
}
