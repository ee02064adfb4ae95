package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Dir is the folder of a workspace with the logs of fires.
const Dir = "schedule"

// Log is the path of a job's log of fires.
func Log(workspace, job string) string { return filepath.Join(workspace, Dir, job+".ndjson") }

// book is the log of fires of one job, open. No other process can open it
// meanwhile.
type book struct {
	state
	lease *ledger.Lease
	fence *ledger.Fence
	chain *ledger.Chain
}

// state is what a log of fires amounts to.
type state struct {
	set     schemas.ScheduleSet
	until   time.Time // all fires up to here are decided about
	current *claim
	queue   []time.Time
	ran     []time.Time // the last fires that were claimed
	recent  []Record    // the newest last
}

// claim is a fire that is to run.
type claim struct {
	fire    time.Time
	at      time.Time // when it was claimed
	attempt int
	seq     int64  // of the workspace's ledger, before the attempt
	started bool   // an attempt was begun, and nothing is known of its end
	waiting string // why it cannot run; empty: it can
}

// Record is one thing that became of a fire, or of several that were skipped.
type Record struct {
	Fire    time.Time `json:"fire"`
	Last    time.Time `json:"last,omitzero"` // of several
	Count   int       `json:"count"`
	At      time.Time `json:"at"`     // when it was recorded
	Status  string    `json:"status"` // of the run, failed, or skipped
	Reason  string    `json:"reason,omitempty"`
	Run     string    `json:"run,omitempty"`
	Seconds float64   `json:"seconds,omitempty"`
}

// Skipped is the status of fires that did not run.
const Skipped = "skipped"

const (
	keepRan    = 2000
	keepRecent = 40
)

// openBook takes the lease on a job's log and reads it.
func openBook(disk durable.Disk, workspace, job string, now func() time.Time, me ledger.Owner) (*book, error) {
	path := Log(workspace, job)
	if err := disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	base, what := path[:len(path)-len(".ndjson")], fmt.Sprintf("the schedule of job %q", job)
	lease, err := ledger.Acquire(base+".lease", what, me)
	if err != nil {
		return nil, err
	}
	b := &book{lease: lease}
	b.fence, err = ledger.Raise(disk, base+".fence", what, me)
	if err == nil {
		b.chain, err = ledger.OpenOrCreate(disk, path, now, b.apply)
	}
	if err != nil {
		return nil, errors.Join(err, lease.Release())
	}
	return b, nil
}

// append makes an event durable. After an error the book must be closed.
func (b *book) append(typ schemas.EventType, data any) error {
	if err := b.fence.Check(); err != nil {
		return err
	}
	e, err := b.chain.Append("", typ, data)
	if err != nil {
		return fmt.Errorf("log of fires: %w", err)
	}
	return b.apply(e)
}

func (b *book) close() error { return errors.Join(b.chain.Close(), b.lease.Release()) }

// ReadLog passes what became of a job's fires to each, in the order of the
// log, without changing it.
func ReadLog(workspace, job string, each func(Record)) error {
	var s state
	_, err := ledger.Read(Log(workspace, job), func(e schemas.Event) error {
		if err := s.apply(e); err != nil {
			return err
		}
		for _, r := range s.recent {
			each(r)
		}
		s.recent = nil
		return nil
	})
	return err
}

// apply adds an event to the state.
func (s *state) apply(e schemas.Event) error {
	add := func(v any) error {
		if err := json.Unmarshal(e.Data, v); err != nil {
			return fmt.Errorf("event %d of the log of fires: %w", e.Seq, err)
		}
		return nil
	}
	switch e.Type {
	case schemas.EventScheduleSet:
		s.set = schemas.ScheduleSet{}
		if err := add(&s.set); err != nil {
			return err
		}
		s.until = s.set.From
		s.skipped(e.Time, s.set.Skipped)
	case schemas.EventFiresDue:
		var v schemas.FiresDue
		if err := add(&v); err != nil {
			return err
		}
		s.until = v.Until
		if v.Claimed != nil {
			s.claimed(*v.Claimed, e.Time)
		}
		s.queue = append(s.queue, v.Queued...)
		s.skipped(e.Time, v.Skipped)
	case schemas.EventFireClaimed:
		var v schemas.FireClaimed
		if err := add(&v); err != nil {
			return err
		}
		s.queue = slices.DeleteFunc(s.queue, v.Fire.Equal)
		s.claimed(v.Fire, e.Time)
	default:
		return s.applyToCurrent(e, add)
	}
	return nil
}

func (s *state) applyToCurrent(e schemas.Event, add func(any) error) error {
	if s.current == nil {
		return nil
	}
	switch c := s.current; e.Type {
	case schemas.EventFireStarted:
		var v schemas.FireStarted
		if err := add(&v); err != nil {
			return err
		}
		c.started, c.attempt, c.seq, c.waiting = true, v.Attempt, v.LedgerSeq, ""
	case schemas.EventFireWaiting:
		var v schemas.FireWaiting
		if err := add(&v); err != nil {
			return err
		}
		c.started, c.attempt, c.waiting = false, 0, v.Why
	case schemas.EventFireReleased:
		c.started, c.attempt, c.waiting = false, 0, ""
	case schemas.EventFireDone:
		var v schemas.FireDone
		if err := add(&v); err != nil {
			return err
		}
		s.current = nil
		s.record(Record{Fire: v.Fire, Count: 1, At: e.Time, Status: v.Status, Reason: v.Message, Run: v.Run, Seconds: v.Seconds})
	}
	return nil
}

func (s *state) claimed(fire, at time.Time) {
	s.current = &claim{fire: fire, at: at}
	s.ran = append(s.ran, fire)
	if n := len(s.ran); n > keepRan {
		s.ran = s.ran[n-keepRan:]
	}
}

func (s *state) skipped(at time.Time, list []schemas.SkippedFires) {
	for _, f := range list {
		r := Record{Fire: f.First, Count: f.Count, At: at, Status: Skipped, Reason: f.Reason}
		if f.Count > 1 {
			r.Last = f.Last
		}
		s.record(r)
	}
}

func (s *state) record(r Record) {
	s.recent = append(s.recent, r)
	if n := len(s.recent); n > keepRecent {
		s.recent = s.recent[n-keepRecent:]
	}
}

// hasRun tells whether a fire was claimed before.
func (s *state) hasRun(fire time.Time) bool { return slices.ContainsFunc(s.ran, fire.Equal) }
