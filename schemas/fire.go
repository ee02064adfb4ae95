package schemas

import "time"

// Events of a job's log of fires, which is a hash chain of its own. A fire is
// a moment at which a schedule wants a run; its key is that moment, in UTC.
// Between fire_claimed (or fires_due with a claimed fire) and fire_done stands
// a fire_started for each attempt to run.
const (
	EventScheduleSet  EventType = "schedule_set"
	EventFiresDue     EventType = "fires_due"
	EventFireClaimed  EventType = "fire_claimed"
	EventFireStarted  EventType = "fire_started"
	EventFireWaiting  EventType = "fire_waiting"
	EventFireReleased EventType = "fire_released"
	EventFireDone     EventType = "fire_done"
)

// ScheduleSet says which schedule is in force, and from when on its fires
// count.
type ScheduleSet struct {
	Cron     string         `json:"cron"`
	Timezone string         `json:"timezone"`
	From     time.Time      `json:"from"`
	Why      string         `json:"why"`
	Skipped  []SkippedFires `json:"skipped,omitempty"` // of the schedule before
}

// SkippedFires are consecutive fires that did not run, for one reason.
type SkippedFires struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  int       `json:"count"`
	Reason string    `json:"reason"` // one of the reasons of package schedule
}

// FiresDue says what becomes of all fires up to a moment.
type FiresDue struct {
	Until   time.Time      `json:"until"`
	Claimed *time.Time     `json:"claimed,omitempty"` // to run at once
	Queued  []time.Time    `json:"queued,omitempty"`  // to run after those before them
	Skipped []SkippedFires `json:"skipped,omitempty"`
}

// FireClaimed says that the first fire of the queue is to run.
type FireClaimed struct {
	Fire time.Time `json:"fire"`
}

// FireStarted is written before each attempt to run.
type FireStarted struct {
	Fire      time.Time `json:"fire"`
	Attempt   int       `json:"attempt"`    // from 1, since the fire was last released
	LedgerSeq int64     `json:"ledger_seq"` // last event of the workspace's ledger before
}

// FireWaiting says why a claimed fire cannot run yet.
type FireWaiting struct {
	Fire time.Time `json:"fire"`
	Why  string    `json:"why"`
}

// FireReleased says that the attempt was ended on purpose, and is to be made
// again.
type FireReleased struct {
	Fire time.Time `json:"fire"`
	Run  string    `json:"run,omitempty"`
}

// FireDone closes a fire.
type FireDone struct {
	Fire    time.Time `json:"fire"`
	Status  string    `json:"status"` // that of the run, or failed
	Run     string    `json:"run,omitempty"`
	Class   string    `json:"class,omitempty"`
	Message string    `json:"message,omitempty"`
	Seconds float64   `json:"seconds"` // from the claim on
}
