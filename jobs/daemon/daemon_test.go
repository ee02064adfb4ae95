package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/schedule"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestDailyRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		d, stop := b.start(b.job)
		time.Sleep(3 * day)
		synctest.Wait()
		if s := d.Status().Jobs[0]; s.State != Idle || len(s.Recent) != 3 || len(s.Next) != 3 || s.Next[0].Fire.Format("02T15:04") != "04T04:00" {
			t.Errorf("status %+v", s)
		}
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 reconciled")
		b.want("runs", b.did(), "started 01T04:00", "finished 01T04:10", "started 02T04:00", "finished 02T04:10", "started 03T04:00", "finished 03T04:10")
	})
}

func TestJitterPutsTheStartOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.job.Schedule.Jitter = 2 * time.Hour
		_, stop := b.start(b.job)
		time.Sleep(3 * day)
		stop()
		for i, r := range b.records() {
			want := b.job.Schedule.Due("crm", r.Fire).UTC().Format("02T15:04")
			if got := b.did()[2*i]; got != "started "+want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// What a restart after two days and some hours does, by policy.
func TestCatchUpAfterDowntime(t *testing.T) {
	for _, c := range []struct {
		policy schedule.CatchUp
		grace  time.Duration
		want   []string
		told   []string
	}{
		{"skip", 9 * day, []string{"01T04:00 reconciled", "02T04:00 skipped x2 missed", "04T04:00 reconciled"}, []string{"2 missed"}},
		{"once", 9 * day, []string{"01T04:00 reconciled", "02T04:00 skipped catch_up_once", "03T04:00 reconciled", "04T04:00 reconciled"}, nil},
		{"all", 9 * day, []string{"01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 reconciled", "04T04:00 reconciled"}, nil},
		{"all", 30 * time.Hour, []string{"01T04:00 reconciled", "02T04:00 skipped grace", "03T04:00 reconciled", "04T04:00 reconciled"}, []string{"1 grace"}},
		{"once", time.Hour, []string{"01T04:00 reconciled", "02T04:00 skipped x2 grace", "04T04:00 reconciled"}, []string{"2 grace"}},
	} {
		t.Run(fmt.Sprint(c.policy, " ", c.grace), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, "0 4 * * *", "UTC")
				b.job.Schedule.CatchUp, b.job.Schedule.Grace = c.policy, c.grace
				told := make(chan string, 9)
				b.job.Missed = func(_ context.Context, f schemas.SkippedFires) { told <- fmt.Sprintf("%d %s", f.Count, f.Reason) }
				_, stop := b.start(b.job)
				time.Sleep(day)
				stop()
				time.Sleep(day + 12*time.Hour) // it is noon of the 3rd
				_, stop = b.start(b.job)
				time.Sleep(day)
				stop()
				b.want("fires", b.outcomes(), c.want...)
				close(told)
				var missed []string
				for text := range told {
					missed = append(missed, text)
				}
				b.want("told of missed fires", missed, c.told...)
			})
		})
	}
}

func TestOverlap(t *testing.T) {
	for policy, want := range map[schedule.Overlap][]string{
		"skip":  {"01T01:00 skipped overlap", "01T02:00 skipped overlap", "01T00:00 reconciled", "01T04:00 skipped overlap", "01T05:00 skipped overlap", "01T03:00 reconciled"},
		"queue": {"01T02:00 skipped overlap", "01T00:00 reconciled", "01T04:00 skipped overlap", "01T01:00 reconciled", "01T06:00 skipped overlap"},
	} {
		t.Run(string(policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				time.Sleep(23*time.Hour + 59*time.Minute)
				b := newBench(t, "0 * * * *", "UTC")
				b.ahead = -day
				b.job.Schedule.Overlap, b.takes = policy, 145*time.Minute
				_, stop := b.start(b.job)
				for range 7 {
					time.Sleep(time.Hour)
				}
				stop()
				b.want("fires", b.outcomes(), want...)
			})
		})
	}
}

// The daemon is stopped in the middle of a run: the run goes on with the next
// daemon, as the same fire.
func TestDrainIsTakenUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stop := b.start(b.job)
		time.Sleep(4*time.Hour + 5*time.Minute)
		stop()
		b.want("fires", b.outcomes())
		time.Sleep(time.Hour)
		_, stop = b.start(b.job)
		time.Sleep(time.Hour)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled")
		b.want("runs", b.did(), "started 01T04:00", "resumed 01T05:05", "finished 01T05:15")
	})
}

func TestPanicOfARunIsItsFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.before = func(n int) error {
			if n == 2 {
				panic("no such thing: jane@example.com")
			}
			return nil
		}
		_, stop := b.start(b.job)
		time.Sleep(4 * day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 failed", "03T04:00 reconciled", "04T04:00 reconciled")
		if r := b.records()[1]; r.Reason != "the run panicked: no such thing: [hidden]" {
			t.Errorf("record %+v", r)
		}
		if !strings.Contains(b.log.String(), "a run has panicked") {
			t.Error("no trace")
		}
	})
}

func TestFailedRunIsRecordedAndTheNextOneRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.before = func(n int) error {
			if n == 1 {
				return schemas.Errorf(schemas.Refused, "no such key")
			}
			return nil
		}
		_, stop := b.start(b.job)
		time.Sleep(2 * day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 failed", "02T04:00 reconciled")
	})
}

func TestDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.job.Schedule.Deadline, b.takes = 2*time.Hour, 5*time.Hour
		_, stop := b.start(b.job)
		time.Sleep(day)
		b.takes = time.Hour
		time.Sleep(day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 interrupted", "02T04:00 reconciled")
		b.want("runs", b.did(), "started 01T04:00", "resumed 02T04:00", "finished 02T05:00")
		if r := b.records()[0]; r.Seconds != 7200 {
			t.Errorf("it took %v s", r.Seconds)
		}
	})
}

// A run by hand is in the way: the fire waits, and is not lost.
func TestLockedWorkspace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		busy := schemas.Errorf(schemas.Locked, "the workspace is in use by job %q, process 99 on beta", "crm")
		b.before = func(n int) error {
			if b.clock().Hour() < 6 {
				return busy
			}
			return nil
		}
		d, stop := b.start(b.job)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if s := d.Status().Jobs[0]; s.State != Waiting || !strings.Contains(s.Why, "process 99 on beta") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(2 * time.Hour)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled")
		if b.n > 40 {
			t.Errorf("it was tried %d times in two hours", b.n)
		}
	})
}

func TestLockedUntilTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.job.Schedule.Deadline = time.Hour
		b.before = func(int) error { return schemas.Errorf(schemas.Locked, "process 99 has it") }
		_, stop := b.start(b.job)
		time.Sleep(day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 failed")
		if r := b.records()[0]; !strings.Contains(r.Reason, "process 99 has it") {
			t.Errorf("record %+v", r)
		}
	})
}

// Two daemons over one workspace: the second waits, and takes over when the
// first ends.
func TestTwoDaemons(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stopFirst := b.start(b.job)
		time.Sleep(time.Second)
		second, stopSecond := b.start(b.job)
		time.Sleep(2 * day)
		synctest.Wait()
		if s := second.Status().Jobs[0]; s.State != Blocked || !strings.Contains(s.Why, "process 4711 on alpha") {
			t.Errorf("status of the second %+v", s)
		}
		time.Sleep(4*time.Hour + 3*time.Minute) // in the middle of the third run
		stopFirst()
		time.Sleep(day + time.Hour)
		stopSecond()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 reconciled", "04T04:00 reconciled")
		b.want("runs", b.did()[4:7], "started 03T04:00", "resumed 03T04:03", "finished 03T04:13")
	})
}

// The lease was lost without a word, and another process has taken over: the
// run is stopped, and nothing of it is recorded until the log is ours again.
func TestLeaseThatIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stop := b.start(b.job)
		time.Sleep(4*time.Hour + 2*time.Minute)
		if err := os.Remove(filepath.Join(b.dir, Dir, "crm.lease")); err != nil {
			t.Fatal(err)
		}
		other, err := openBook(durable.Disk{}, b.dir, "crm", b.clock, ledger.Owner{PID: 99, Host: "beta"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.want("runs", b.did(), "started 01T04:00")
		if !strings.Contains(b.log.String(), "process 99 on beta") {
			t.Errorf("log %s", b.log)
		}
		if err := other.close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		b.want("runs", b.did(), "started 01T04:00", "resumed 01T05:02", "finished 01T05:12")
		b.want("fires", b.outcomes(), "01T04:00 reconciled")
	})
}

func TestAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		d := b.daemon()
		if err := d.Alive(); err != nil || d.Loaded() {
			t.Errorf("at the start: %v, loaded %v", err, d.Loaded())
		}
		time.Sleep(3 * time.Minute)
		if d.Alive() == nil {
			t.Error("a loop that does not turn is alive")
		}
		d, stop := b.start(b.job)
		time.Sleep(time.Hour)
		if err := d.Alive(); err != nil || !d.Loaded() || d.Workspace("crm") != b.dir || d.Workspace("x") != "" {
			t.Errorf("%v, loaded %v", err, d.Loaded())
		}
		stop()
		if d.Loaded() {
			t.Error("a stopped daemon is ready")
		}
	})
}

// Jobs that share an API key run one after the other, those that share nothing
// side by side.
func TestSharedKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		root := t.TempDir()
		var all []*bench
		var jobs []Job
		for i, key := range []string{"A", "A", "B"} {
			b := newBenchIn(t, fmt.Sprint(root, "/", i), fmt.Sprint("job", i), "0 4 * * *", "UTC")
			b.extra = []string{"key " + key}
			if i > 0 {
				b.users = all[0].users
			}
			all, jobs = append(all, b), append(jobs, b.job)
		}
		_, stop := all[0].start(jobs...)
		time.Sleep(day)
		stop()
		all[0].want("first", all[0].did(), "started 01T04:00", "finished 01T04:10")
		all[1].want("second", all[1].did(), "started 01T04:10", "finished 01T04:20")
		all[2].want("third", all[2].did(), "started 01T04:00", "finished 01T04:10")
		for _, b := range all {
			if b.users.clash {
				t.Error("two runs used one key")
			}
			b.want("fires", b.outcomes(), "01T04:00 reconciled")
		}
	})
}

// The clock on the wall jumps. It is noticed within a minute, no fire runs
// twice, and nothing comes in bursts.
func TestClockJumps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.job.Schedule.CatchUp = schedule.CatchUpOnce
		_, stop := b.start(b.job)
		time.Sleep(5 * time.Hour)
		b.set(-2 * time.Hour) // 04:00 comes again
		time.Sleep(6 * time.Hour)
		b.want("fires", b.outcomes(), "01T04:00 reconciled")
		b.set(19*time.Hour + 30*time.Minute) // from 09:00 of the 1st to 04:30 of the 2nd
		time.Sleep(time.Minute)
		synctest.Wait()
		b.want("runs", b.did()[2:], "started 02T04:30")
		time.Sleep(time.Hour)
		b.set(5 * day) // asleep
		time.Sleep(time.Hour)
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 skipped x4 grace", "07T04:00 reconciled")
		b.set(-300 * day) // it had been wrong all the time
		time.Sleep(2 * day)
		stop()
		if got := b.outcomes(); len(got) != 6 || !strings.Contains(b.log.String(), "the clock was set back") {
			t.Errorf("fires %q", got)
		}
		if n := strings.Count(b.log.String(), "the clock has jumped"); n != 4 {
			t.Errorf("%d jumps were noticed", n)
		}
	})
}

// A fire that ran before the clock was set far back does not run again.
func TestClockSetFarBackOverAFire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stop := b.start(b.job)
		time.Sleep(3 * day)
		b.set(-2*day - time.Hour)
		time.Sleep(3 * day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 reconciled", "04T04:00 reconciled")
	})
}

// A changed schedule counts from now on: nothing of yesterday runs.
func TestChangedSchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stop := b.start(b.job)
		time.Sleep(day)
		stop()
		time.Sleep(12 * time.Hour) // noon of the 2nd; 04:00 was missed
		other := newBenchIn(t, b.dir, "crm", "0 3 * * *", "UTC")
		b.job.Schedule.Spec = other.job.Schedule.Spec
		_, stop = b.start(b.job)
		time.Sleep(day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 skipped rescheduled", "03T03:00 reconciled")
	})
}

func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		root := t.TempDir()
		a := newBenchIn(t, root+"/a", "a", "0 4 * * *", "UTC")
		z := newBenchIn(t, root+"/z", "z", "0 4 * * *", "UTC")
		d, stop := a.start(a.job, z.job)
		time.Sleep(4*time.Hour + time.Minute)
		// a's file is bad now: it stays. z's is gone: its run ends, and that is all.
		d.Load(nil, map[string]error{"a.yaml": errors.New("a.yaml:3:1: something is wrong")})
		if s := d.Status(); len(s.Reload.Problems) != 1 || !strings.Contains(a.log.String(), "something is wrong") {
			t.Errorf("status %+v", s.Reload)
		}
		time.Sleep(2 * day)
		if jobs := d.Status().Jobs; len(jobs) != 1 || jobs[0].Name != "a" {
			t.Errorf("jobs %+v", jobs)
		}
		// a moves to another workspace while it runs.
		time.Sleep(2 * time.Minute)
		moved := newBenchIn(t, root+"/m", "a", "0 5 * * *", "UTC")
		d.Load([]Job{moved.job}, nil)
		time.Sleep(day)
		stop()
		a.want("fires of a", a.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled", "03T04:00 reconciled")
		z.want("fires of z", z.outcomes(), "01T04:00 reconciled")
		moved.want("fires of a, moved", moved.outcomes(), "03T05:00 reconciled")
	})
}

// A run that takes the whole process down again and again is given up, so that
// other jobs get their turn.
func TestRunThatKillsTheProcessIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		_, stop := b.start(b.job)
		time.Sleep(4*time.Hour + 5*time.Minute)
		for range 6 {
			b.kill(stop)
			_, stop = b.start(b.job)
			time.Sleep(5 * time.Minute)
		}
		stop()
		if got := b.outcomes(); len(got) != 1 || got[0] != "01T04:00 failed" || !strings.Contains(b.records()[0].Reason, "given up: the process ended 5 times") {
			t.Errorf("fires %q", got)
		}
	})
}

// Killed in the middle of a run: the run goes on, as the same fire.
func TestKilledInTheMiddleOfARun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, "0 4 * * *", "UTC")
		b.job.Schedule.CatchUp = schedule.CatchUpSkip
		_, stop := b.start(b.job)
		time.Sleep(4*time.Hour + 5*time.Minute)
		b.kill(stop)
		time.Sleep(2 * time.Hour)
		_, stop = b.start(b.job)
		time.Sleep(day)
		stop()
		b.want("fires", b.outcomes(), "01T04:00 reconciled", "02T04:00 reconciled")
		b.want("runs", b.did(), "started 01T04:00", "resumed 01T06:05", "finished 01T06:15", "started 02T04:00", "finished 02T04:10")
	})
}
