package daemon

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"optsweep/jobs/schedule"
	"optsweep/schemas/durable"
)

// Every durable step of the log of fires fails once, with and without its
// effect being stored, and the process is taken to be dead from then on: its
// disk and its runs do nothing more. The next daemon must bring each fire to
// its end exactly once.
func TestFiresSurviveAFailureOfAnyDurableStep(t *testing.T) {
	t.Parallel()
	for _, overlap := range []schedule.Overlap{schedule.OverlapSkip, schedule.OverlapQueue} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stored=%v", overlap, stored), func(t *testing.T) {
				step := 0
				for ; ; step++ {
					hit := false
					bubble(t, func(t *testing.T) { hit = crashAt(t, overlap, step, stored) })
					if !hit || t.Failed() {
						break
					}
				}
				t.Logf("%d steps", step)
				if step < 20 {
					t.Errorf("only %d steps were reached", step)
				}
			})
		}
	}
}

// crashAt lets one step be the last one of a daemon, starts another, and tells
// whether there is such a step.
func crashAt(t *testing.T, overlap schedule.Overlap, step int, stored bool) (hit bool) {
	b := newBench(t, "0 4 * * *", "UTC")
	b.job.Schedule.Overlap = overlap
	b.job.Schedule.Grace, b.job.Schedule.CatchUp = 9*day, schedule.CatchUpAll
	if overlap == schedule.OverlapQueue {
		b.takes, b.job.Schedule.Deadline = 26*time.Hour, 40*time.Hour // the next fire is queued behind each
	}
	// The first start is not at stake: without a log there is no fire.
	_, stop := b.start(b.job)
	time.Sleep(time.Hour)
	stop()

	n := 0
	b.fault = func(durable.Step, string) (bool, error) {
		n++
		if n <= step {
			return false, nil
		}
		b.setDead(true)
		return stored && n == step+1, errors.New("dead")
	}
	_, stop = b.start(b.job)
	time.Sleep(2*day + 5*time.Hour)
	hit = b.isDead()
	stop()
	b.fault = nil
	b.setDead(false)
	b.takes = 10 * time.Minute
	time.Sleep(5 * time.Minute)
	_, stop = b.start(b.job)
	time.Sleep(4 * day)
	stop()

	done, finished := map[string]int{}, 0
	for _, r := range b.records() {
		if r.Status != "reconciled" {
			t.Errorf("step %d: %+v", step, r)
		}
		done[r.Fire.Format("02")]++
	}
	for _, line := range b.did() {
		if len(line) > 8 && line[:8] == "finished" {
			finished++
		}
	}
	for _, fire := range []string{"01", "02", "03", "04", "05", "06"} {
		if done[fire] != 1 && fire < "06" {
			t.Errorf("step %d: the fire of the %s ended %d times", step, fire, done[fire])
		}
	}
	if finished != len(b.records()) {
		t.Errorf("step %d: %d runs for %d fires: %q, %q", step, finished, len(b.records()), b.did(), b.outcomes())
	}
	return hit
}

// A disk that fails for a while and then works: the daemon goes on by itself.
func TestDiskThatFailsForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		var failing atomic.Bool
		b.fault = func(durable.Step, string) (bool, error) {
			if failing.Load() {
				return false, errors.New("no space left")
			}
			return false, nil
		}
		_, stop := b.start(b.job)
		time.Sleep(3 * time.Hour)
		failing.Store(true)
		time.Sleep(3 * time.Hour)
		failing.Store(false)
		time.Sleep(22*time.Hour + 5*time.Minute) // in the middle of the second run
		failing.Store(true)
		time.Sleep(time.Hour) // it ends meanwhile
		failing.Store(false)
		time.Sleep(time.Hour)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled")
		b.want("runs", b.did(), "started 01T06:00", "finished 01T06:10", "started 02T04:00", "finished 02T04:10")
	})
}
