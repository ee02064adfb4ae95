package schedule

import (
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database

	"optsweep/schemas"
)

// Spec is a cron spec in a time zone.
type Spec struct {
	Cron Cron
	Zone *time.Location
}

// Zone finds a time zone by its name in the IANA database. The error has class
// Usage and a hint.
func Zone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, schemas.Errorf(schemas.Usage, "must name a time zone: that of the machine can change").WithHint("UTC, or a name such as Europe/Berlin")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "is no known time zone").WithHint("UTC, or a name of the IANA database, such as Europe/Berlin; capitals matter")
	}
	return zone, nil
}

// Parse reads a spec and the name of its time zone.
func Parse(cron, zone string) (s Spec, err error) {
	if s.Cron, err = ParseCron(cron); err != nil {
		return s, schemas.Errorf(schemas.Usage, "cron %w", err).WithHint("%s", schemas.HintOf(err))
	}
	if s.Zone, err = Zone(zone); err != nil {
		return s, schemas.Errorf(schemas.Usage, "timezone %w", err).WithHint("%s", schemas.HintOf(err))
	}
	return s, nil
}

// period is a time during which the clock of a zone is neither put forward nor
// back.
type period struct {
	start, end  time.Time // zero: no such limit
	off, before time.Duration
}

func (s Spec) periodAt(t time.Time) period {
	local := t.In(s.Zone)
	var p period
	p.off = offset(local)
	p.before = p.off
	p.start, p.end = local.ZoneBounds()
	if !p.end.IsZero() && !p.end.After(t) {
		// On the last day of a leap year the library says that the period has
		// ended, where a zone goes on by a rule.
		p.end = local.AddDate(0, 0, 1)
	}
	if !p.start.IsZero() {
		p.before = offset(p.start.Add(-1))
	}
	return p
}

func offset(local time.Time) time.Duration {
	_, seconds := local.Zone()
	return time.Duration(seconds) * time.Second
}

// Next is the first fire after a moment, in UTC. It is zero if there is none
// for years.
func (s Spec) Next(after time.Time) time.Time {
	after = after.UTC().Round(0)
	for p := s.periodAt(after); ; p = s.periodAt(p.end) {
		if s.inGap(p) && after.Before(p.start) {
			return p.start.UTC()
		}
		wall := s.Cron.next(s.floor(p, after))
		if wall.IsZero() {
			return wall
		}
		if fire := wall.Add(-p.off); p.end.IsZero() || fire.Before(p.end) {
			return fire.UTC()
		}
	}
}

// inGap tells whether the spec names a time that the clock left out when the
// period began.
func (s Spec) inGap(p period) bool {
	if s.Cron.hourly || p.off <= p.before {
		return false
	}
	first := s.Cron.next(p.start.UTC().Add(p.before - 1))
	return !first.IsZero() && first.Before(p.start.UTC().Add(p.off))
}

// floor is the time on the wall after which the next fire of the period is.
func (s Spec) floor(p period, after time.Time) time.Time {
	if after.Before(p.start) {
		after = p.start.UTC().Add(-1)
	}
	wall := after.Add(p.off)
	if s.Cron.hourly || p.off >= p.before {
		return wall
	}
	// The clock shows these times again.
	if again := p.start.UTC().Add(p.before - 1); wall.Before(again) {
		return again
	}
	return wall
}

// Shortest is the shortest time between two fires, as far as some hundred of
// them tell; zero if there are fewer than two.
func (s Spec) Shortest() (shortest time.Duration) {
	last := s.Next(someDay)
	for range 800 {
		next := s.Next(last)
		if last.IsZero() || next.IsZero() {
			return shortest
		}
		if d := next.Sub(last); shortest == 0 || d < shortest {
			shortest = d
		}
		last = next
	}
	return shortest
}

// Change is a day on which the clock is put forward or back at a time that a
// spec names.
type Change struct {
	At       time.Time     // when the clock is changed, UTC
	Forward  bool          // put forward, otherwise back
	By       time.Duration // how much, more than 0
	Wall     time.Time     // first time of the spec that does not exist or exists twice, as if it were UTC
	Fire     time.Time     // when it fires; zero for a spec of every hour
	Repeated time.Time     // the second time it will not fire at; zero if the clock is put forward, or for a spec of every hour
}

// Changes lists the changes of the clock that concern a spec.
func (s Spec) Changes(from, to time.Time) (changes []Change) {
	for p := s.periodAt(from); !p.end.IsZero() && p.end.Before(to); {
		p = s.periodAt(p.end)
		if p.off == p.before {
			continue
		}
		at := p.start.UTC()
		low, high := at.Add(min(p.off, p.before)), at.Add(max(p.off, p.before))
		wall := s.Cron.next(low.Add(-1))
		if wall.IsZero() || !wall.Before(high) {
			continue
		}
		c := Change{At: at, Forward: p.off > p.before, By: high.Sub(low), Wall: wall}
		switch {
		case s.Cron.hourly:
		case c.Forward:
			c.Fire = at
		default:
			c.Fire, c.Repeated = wall.Add(-p.before), wall.Add(-p.off)
		}
		changes = append(changes, c)
	}
	return changes
}
