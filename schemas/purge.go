package schemas

import "time"

// EventPurged is written before retention removes something.
const EventPurged EventType = "purged"

// Purged says what retention removes. Of runs that were started before a time,
// what is named here is gone for good reason. Events of the ledger are removed
// by a LedgerCut only, the suppression list never.
type Purged struct {
	IDsBefore  time.Time  `json:"ids_before"`  // ids, answers and quarantine of runs started before
	RunsBefore time.Time  `json:"runs_before"` // whole folders of runs started before
	IDs        PurgeCount `json:"ids"`
	Runs       PurgeCount `json:"runs"`
	User       string     `json:"user"` // of the operating system
	Host       string     `json:"host"`
}

// PurgeCount sums up what is removed.
type PurgeCount struct {
	Runs   int    `json:"runs"`
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
	Oldest string `json:"oldest,omitempty"` // run
	Newest string `json:"newest,omitempty"` // run
}

// EventLedgerCut is written before retention removes the first events of the
// ledger. It belongs to no run.
const EventLedgerCut EventType = "ledger_cut"

// LedgerCut says which events retention removes from the beginning of the
// ledger, and restates what is needed of them later. A ledger may begin behind
// an event only if it holds a LedgerCut that names that event.
type LedgerCut struct {
	Last   LedgerPosition `json:"last"`   // the last event that is removed
	Before time.Time      `json:"before"` // older events are removed
	CutCount
	User string     `json:"user"` // of the operating system
	Host string     `json:"host"`
	Kept LedgerKept `json:"kept"`
}

// CutCount sums up the events that are removed.
type CutCount struct {
	Events  int64     `json:"events"`
	Bytes   int64     `json:"bytes"`
	Runs    int       `json:"runs"`
	Unflags int       `json:"unflags,omitempty"`
	Oldest  string    `json:"oldest,omitempty"` // run
	Newest  string    `json:"newest,omitempty"` // run
	Since   time.Time `json:"since,omitzero"`   // time of the first event
	Until   time.Time `json:"until,omitzero"`   // time of the last event
}

// LedgerKept is what outlives the events that told it, as of the LedgerCut.
// Earlier Purged events need not be restated: all runs that they concern stand
// before them in the ledger.
type LedgerKept struct {
	SigningKey *SigningKey         `json:"signing_key,omitempty"`
	List       *SuppressionUpdated `json:"suppression_list,omitempty"` // the one in force
	Jobs       map[string]JobPast  `json:"jobs,omitempty"`
	OwnLists   []OwnList           `json:"own_lists,omitempty"` // those in force
}

// JobPast is what the limits and estimates of a job's next run rest on.
type JobPast struct {
	// Of the last run that asked.
	Hits     int64 `json:"hits"` // distinct ids that were opted out
	Distinct int64 `json:"distinct"`
	Read     int64 `json:"rows_read"`
	// Of the last one that was not interrupted.
	BatchSeconds float64 `json:"batch_seconds,omitempty"`

	Rows    map[string]int64 `json:"rows,omitempty"`       // by table, of the last run that reconciled all of it
	Checked map[string]int64 `json:"checked_ms,omitempty"` // by table: start of the last run that asked and reconciled all of it, or its oldest answer if that is earlier

	Flagged map[string]FlaggedTable `json:"flagged,omitempty"` // by table
}

// FlaggedRun is a finished run that wrote flags; zero: none is known.
type FlaggedRun struct {
	Run       string `json:"run,omitempty"`
	StartedMS int64  `json:"started_ms,omitempty"` // Unix ms
	EndedMS   int64  `json:"ended_ms,omitempty"`   // Unix ms
}

// FlaggedTable says which run last wrote the flags of a table, and of units that
// it could not treat, which did before.
type FlaggedTable struct {
	FlaggedRun
	Left map[string]FlaggedRun `json:"left,omitempty"` // by unit
}

// Of is the run that last wrote the flags of a unit, or would have if the unit
// had been there.
func (t FlaggedTable) Of(unit string) FlaggedRun {
	if left, ok := t.Left[unit]; ok {
		return left
	}
	return t.FlaggedRun
}

// PurgeResult is what retention removed, or would remove.
type PurgeResult struct {
	Purged
	LedgerBefore time.Time `json:"ledger_before"` // older events of the ledger
	Ledger       CutCount  `json:"ledger"`
}
