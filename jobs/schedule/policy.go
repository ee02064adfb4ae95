package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"optsweep/schemas"
)

// Overlap says what becomes of a fire that comes while a run is under way.
type Overlap string

// The ways.
const (
	OverlapSkip  Overlap = "skip"  // it is skipped
	OverlapQueue Overlap = "queue" // it runs afterwards; at most one waits
)

// CatchUp says what becomes of fires that nobody was there to start.
type CatchUp string

// The ways.
const (
	CatchUpSkip CatchUp = "skip" // they are skipped
	CatchUpOnce CatchUp = "once" // the last one runs, for all of them
	CatchUpAll  CatchUp = "all"  // all run, one after the other
)

// Schedule is when a job runs.
type Schedule struct {
	Spec     Spec
	Overlap  Overlap
	CatchUp  CatchUp
	Grace    time.Duration // older fires are not caught up with
	Jitter   time.Duration // starts are put off by less than this; 0: not at all
	Deadline time.Duration // for a fire, from when it is claimed, or taken up again, until its run has ended
}

// Defaults of a schedule.
const (
	DefaultZone    = "UTC"
	DefaultOverlap = OverlapSkip
	DefaultCatchUp = CatchUpOnce
	DefaultGrace   = 24 * time.Hour
)

// Reasons why a fire is skipped.
const (
	Missed      = "missed"        // nobody was there to start it
	Superseded  = "catch_up_once" // a later fire ran for it
	TooOld      = "grace"         // it was older than the grace period when somebody was there
	Overlapped  = "overlap"       // a run was under way
	TooMany     = "too_many"      // more were missed than are caught up with
	Rescheduled = "rescheduled"   // it was missed, and the schedule was changed before anybody was there
)

const (
	// OnTime is how late a fire may be noticed and still count as noticed.
	OnTime = 5 * time.Minute
	// MaxQueue bounds how many missed fires are caught up with.
	MaxQueue = 1000
)

// Delay is by how much the start of a fire is put off: less than Jitter, and
// the same for the same job and fire.
func (s Schedule) Delay(job string, fire time.Time) time.Duration {
	if s.Jitter < time.Second {
		return 0
	}
	sum := sha256.Sum256([]byte(job + "\n" + fire.UTC().Format(time.RFC3339)))
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(s.Jitter)).Truncate(time.Second)
}

// Due is when a fire is to start.
func (s Schedule) Due(job string, fire time.Time) time.Time { return fire.Add(s.Delay(job, fire)) }

// Standing is how far the fires of a job have been decided about.
type Standing struct {
	Until  time.Time            // all fires up to here are decided about
	Busy   bool                 // a fire is claimed and not done
	Queued int                  // fires that wait for it
	Ran    func(time.Time) bool // fires after Until that ran before the clock was set back; nil: none
}

// Decision is what becomes of the fires that are due.
type Decision struct {
	Until   time.Time // all fires up to here are decided about now
	Claim   time.Time // fire to run at once; zero: none
	Queue   []time.Time
	Skipped []schemas.SkippedFires
}

// Empty tells whether nothing was due.
func (d Decision) Empty(at Standing) bool { return d.Until.Equal(at.Until) }

// Decide says what becomes of the fires of a job that are due.
func (s Schedule) Decide(job string, at Standing, now time.Time) Decision {
	d := Decision{Until: at.Until}
	var missed, fresh []time.Time
	for fire := s.Spec.Next(at.Until); !fire.IsZero(); fire = s.Spec.Next(fire) {
		late := now.Sub(s.Due(job, fire))
		if late < 0 {
			break
		}
		d.Until = fire
		switch {
		case at.Ran != nil && at.Ran(fire):
		case late <= OnTime:
			fresh = append(fresh, fire)
		case late > s.Grace:
			d.skip(TooOld, fire)
		case s.CatchUp == CatchUpSkip:
			d.skip(Missed, fire)
		default:
			missed = append(missed, fire)
		}
	}
	switch n := len(missed); {
	case s.CatchUp == CatchUpOnce && len(fresh) > 0:
		d.skip(Superseded, missed...)
		missed = nil
	case s.CatchUp == CatchUpOnce && n > 1:
		d.skip(Superseded, missed[:n-1]...)
		missed = missed[n-1:]
	case n > MaxQueue:
		d.skip(TooMany, missed[:n-MaxQueue]...)
		missed = missed[n-MaxQueue:]
	}
	for _, fire := range missed {
		d.take(s, at, fire, s.CatchUp == CatchUpAll)
	}
	for _, fire := range fresh {
		d.take(s, at, fire, false)
	}
	return d
}

// take finds a place for a fire that is to run.
func (d *Decision) take(s Schedule, at Standing, fire time.Time, inAnyCase bool) {
	waiting := at.Queued + len(d.Queue)
	switch {
	case !at.Busy && d.Claim.IsZero() && waiting == 0:
		d.Claim = fire
	case inAnyCase || s.Overlap == OverlapQueue && waiting == 0:
		d.Queue = append(d.Queue, fire)
	default:
		d.skip(Overlapped, fire)
	}
}

// skip notes fires that do not run. Neighbours with one reason are one entry.
func (d *Decision) skip(reason string, fires ...time.Time) {
	for _, fire := range fires {
		if n := len(d.Skipped); n > 0 && d.Skipped[n-1].Reason == reason {
			d.Skipped[n-1].Last = fire
			d.Skipped[n-1].Count++
			continue
		}
		d.Skipped = append(d.Skipped, schemas.SkippedFires{First: fire, Last: fire, Count: 1, Reason: reason})
	}
}

// Skip lists the fires after from that are due at now as skipped for a reason,
// and tells up to where they go.
func (s Schedule) Skip(job string, from, now time.Time, reason string) (skipped []schemas.SkippedFires) {
	var d Decision
	for fire := s.Spec.Next(from); !fire.IsZero() && !s.Due(job, fire).After(now); fire = s.Spec.Next(fire) {
		d.skip(reason, fire)
	}
	return d.Skipped
}
