package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// shown is a decision in short: "run 04; queue 05; skip 01-03 (3 grace); until 05".
func shown(d Decision) string {
	var parts []string
	if !d.Claim.IsZero() {
		parts = append(parts, "run "+d.Claim.Format("02"))
	}
	for _, f := range d.Queue {
		parts = append(parts, "queue "+f.Format("02"))
	}
	for _, s := range d.Skipped {
		parts = append(parts, fmt.Sprintf("skip %s-%s (%d %s)", s.First.Format("02"), s.Last.Format("02"), s.Count, s.Reason))
	}
	return strings.Join(parts, "; ")
}

// A daily job was last looked at on the 1st, and is looked at again later.
func TestDecide(t *testing.T) {
	const day = 24 * time.Hour
	last := time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		overlap Overlap
		catchUp CatchUp
		grace   time.Duration
		busy    bool
		queued  int
		after   time.Duration
		want    string
	}{
		{"nothing due", "skip", "once", day, false, 0, day - 1, ""},
		{"due now", "skip", "skip", day, false, 0, day, "run 02"},
		{"a little late", "skip", "skip", day, false, 0, day + OnTime, "run 02"},
		{"missed, skip", "skip", "skip", day, false, 0, day + OnTime + 1, "skip 02-02 (1 missed)"},
		{"missed, once", "skip", "once", day, false, 0, day + time.Hour, "run 02"},
		{"missed, all", "skip", "all", day, false, 0, day + time.Hour, "run 02"},
		{"three missed, skip", "skip", "skip", 9 * day, false, 0, 3*day + time.Hour, "skip 02-04 (3 missed)"},
		{"three missed, once", "skip", "once", 9 * day, false, 0, 3*day + time.Hour, "run 04; skip 02-03 (2 catch_up_once)"},
		{"three missed, all", "skip", "all", 9 * day, false, 0, 3*day + time.Hour, "run 02; queue 03; queue 04"},
		{"beyond grace, once", "skip", "once", 12 * time.Hour, false, 0, 3*day + time.Hour, "run 04; skip 02-03 (2 grace)"},
		{"beyond grace, all", "skip", "all", 30 * time.Hour, false, 0, 3*day + time.Hour, "run 03; queue 04; skip 02-02 (1 grace)"},
		{"all beyond grace", "skip", "all", time.Hour, false, 0, 3*day + 2*time.Hour, "skip 02-04 (3 grace)"},
		{"missed, and one on time, once", "skip", "once", 9 * day, false, 0, 3 * day, "run 04; skip 02-03 (2 catch_up_once)"},
		{"missed, and one on time, all", "skip", "all", 9 * day, false, 0, 3 * day, "run 02; queue 03; skip 04-04 (1 overlap)"},
		{"busy, skip", "skip", "once", day, true, 0, day, "skip 02-02 (1 overlap)"},
		{"busy, queue", "queue", "once", day, true, 0, day, "queue 02"},
		{"busy and queued", "queue", "once", day, true, 1, day, "skip 02-02 (1 overlap)"},
		{"busy, missed, skip", "skip", "once", 9 * day, true, 0, 3*day + time.Hour, "skip 02-03 (2 catch_up_once); skip 04-04 (1 overlap)"},
		{"busy, missed, queue", "queue", "once", 9 * day, true, 0, 3*day + time.Hour, "queue 04; skip 02-03 (2 catch_up_once)"},
		{"busy, missed, all", "skip", "all", 9 * day, true, 0, 3*day + time.Hour, "queue 02; queue 03; queue 04"},
		{"the clock went back", "skip", "all", day, false, 0, -9 * day, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Schedule{Spec: mustParse(t, "0 4 * * *", "UTC"), Overlap: c.overlap, CatchUp: c.catchUp, Grace: c.grace}
			at := Standing{Until: last, Busy: c.busy, Queued: c.queued}
			d := s.Decide("j", at, last.Add(c.after))
			if got := shown(d); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if d.Empty(at) != (c.want == "") {
				t.Errorf("empty %v", d.Empty(at))
			}
			at.Until = d.Until
			if again := s.Decide("j", at, last.Add(c.after)); !again.Empty(at) {
				t.Errorf("decided again: %s", shown(again))
			}
		})
	}
}

// A fire that ran before the clock was set back does not run again.
func TestDecideKnowsWhatRan(t *testing.T) {
	s := Schedule{Spec: mustParse(t, "0 4 * * *", "UTC"), CatchUp: CatchUpAll, Grace: 90 * time.Hour}
	last := time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)
	at := Standing{Until: last, Ran: func(f time.Time) bool { return f.Day() == 2 }}
	if got := shown(s.Decide("j", at, last.AddDate(0, 0, 2).Add(time.Hour))); got != "run 03" {
		t.Error(got)
	}
}

func TestTooManyMissedFires(t *testing.T) {
	s := Schedule{Spec: mustParse(t, "* * * * *", "UTC"), CatchUp: CatchUpAll, Grace: 90 * 24 * time.Hour}
	last := time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)
	d := s.Decide("j", Standing{Until: last}, last.Add(50*time.Hour))
	missed := 0
	for _, skipped := range d.Skipped {
		if skipped.Reason == TooMany {
			missed += skipped.Count
		}
	}
	// Six were on time and found a run under way.
	if len(d.Queue) != MaxQueue-1 || missed != 50*60-6-MaxQueue {
		t.Errorf("%d queued, %d too many", len(d.Queue), missed)
	}
}

func TestDelay(t *testing.T) {
	s := Schedule{Jitter: 10 * time.Minute}
	fire := time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)
	seen := map[time.Duration]bool{}
	for n := range 500 {
		at := fire.AddDate(0, 0, n)
		d := s.Delay("crm", at)
		if d != s.Delay("crm", at.In(time.FixedZone("x", 7200))) || d < 0 || d >= s.Jitter || d%time.Second != 0 {
			t.Fatalf("fire %d: %s", n, d)
		}
		seen[d] = true
	}
	if len(seen) < 250 {
		t.Errorf("only %d delays", len(seen))
	}
	// For ever: a change would start runs of one fire at two times.
	if d := s.Delay("crm", fire); d != 8*time.Minute+15*time.Second {
		t.Errorf("it became %s", d)
	}
	if s.Delay("crm", fire) == s.Delay("crm2", fire) {
		t.Error("two jobs start at one time")
	}
	if d := (Schedule{}).Delay("crm", fire); d != 0 {
		t.Errorf("without jitter %s", d)
	}
}
