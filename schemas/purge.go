package schemas

import "time"

// EventPurged is written before retention removes something.
const EventPurged EventType = "purged"

// Purged says what retention removes. Of runs that were started before a time,
// what is named here is gone for good reason. The events of the ledger and the
// suppression list are never removed.
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
