package schemas

import (
	"encoding/json"
	"time"
)

// EventType names what an event of the ledger records.
type EventType string

// Events of a workspace's ledger, in the order in which a run writes them.
const (
	EventWorkspaceCreated   EventType = "workspace_created"
	EventRunStarted         EventType = "run_started"
	EventRunResumed         EventType = "run_resumed"
	EventRunAbandoned       EventType = "run_abandoned"
	EventPlanned            EventType = "planned"
	EventTableExtracted     EventType = "table_extracted"
	EventExtracted          EventType = "extracted"
	EventTableReapplied     EventType = "table_reapplied"
	EventChecked            EventType = "checked"
	EventSuppressionUpdated EventType = "suppression_updated"
	EventLimitHit           EventType = "limit_hit"
	EventLimitOverridden    EventType = "limit_overridden"
	EventTableApplied       EventType = "table_applied"
	EventUnitFailed         EventType = "unit_failed"
	EventRunInterrupted     EventType = "run_interrupted"
	EventRunFinished        EventType = "run_finished"
)

// Events of a run's own journals, which also hold ids and stay private.
const (
	EventUnitExtracted EventType = "unit_extracted"
	EventBatchAnswered EventType = "batch_answered"
	EventApplyIntent   EventType = "apply_intent"
	EventUnitApplied   EventType = "unit_applied"
)

// Event is one link of a hash chain.
type Event struct {
	Seq  int64           `json:"seq"` // from 1, without gaps
	Time time.Time       `json:"time"`
	Run  string          `json:"run,omitempty"`
	Type EventType       `json:"type"`
	Prev string          `json:"prev"` // hash of the event before, in hexadecimal
	Data json.RawMessage `json:"data,omitempty"`
}

// RunStarted says under which circumstances a run was made.
type RunStarted struct {
	Job          string      `json:"job"`
	ConfigDigest string      `json:"config_digest"`
	ToolVersion  string      `json:"tool_version"`
	Scope        Scope       `json:"scope"`
	Environment  Environment `json:"environment"`
	Operator     Operator    `json:"operator"`
	DryRun       bool        `json:"dry_run"`
	Offline      bool        `json:"offline,omitempty"` // nobody is asked, only what is known is applied
	Plan         string      `json:"plan,omitempty"`    // SHA-256 of the plan file that the run keeps to
}

// Operator says who answered, without a secret.
type Operator struct {
	Kind    string `json:"kind"`               // public, private or embedded
	Host    string `json:"host,omitempty"`     // of the URL; empty when embedded
	KeyName string `json:"key_name,omitempty"` // the printable part of the API key
}

// Planned sums up a plan.
type Planned struct {
	Tables int    `json:"tables"`
	Units  int    `json:"units"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest,omitempty"` // SHA-256 of the run's plan.json
}

// TableExtracted counts the id cells of one table. Rows = Nulls + Valid + the
// sum of Malformed.
type TableExtracted struct {
	Table     string           `json:"table"`
	Units     int              `json:"units"`
	Rows      int64            `json:"rows"`
	Nulls     int64            `json:"nulls"`
	Valid     int64            `json:"valid"`
	Repaired  int64            `json:"repaired"` // of the valid ones: white space around them was ignored
	Malformed map[Reason]int64 `json:"malformed"`
	Example   *BadCell         `json:"example,omitempty"`

	// Of Units: their ids were not read again, but taken from an earlier run
	// that read the same version.
	Reused int `json:"units_reused,omitempty"`
}

// BadCell is one quarantined cell, as an example.
type BadCell struct {
	Unit      string `json:"unit"`
	Row       int64  `json:"row"` // from 0; NoRow where cells have no place
	Reason    Reason `json:"reason"`
	Pseudonym string `json:"pseudonym"`
}

// Extracted counts the distinct ids of all tables together.
type Extracted struct {
	Distinct int64   `json:"distinct"`
	Digest   string  `json:"digest"` // SHA-256 over the sorted ids' shards
	Seconds  float64 `json:"seconds"`
}

// Checked counts the verdicts. Distinct = Known + Asked + Unverifiable[NotAsked]
// and Asked = OptedOut + Clear + the sum of the other Unverifiable.
type Checked struct {
	Distinct     int64            `json:"distinct"`
	Known        int64            `json:"known_opted_out"` // on the suppression list before: not asked again
	Asked        int64            `json:"asked"`
	OptedOut     int64            `json:"opted_out"`
	Clear        int64            `json:"clear"`
	Unverifiable map[Reason]int64 `json:"unverifiable"`
	Batches      int64            `json:"batches"`
	Retries      int64            `json:"retries"`
	OldestMS     int64            `json:"oldest_answer_ms,omitempty"` // Unix time in ms
	NewestMS     int64            `json:"newest_answer_ms,omitempty"`
	Canaries     int              `json:"canaries"`
	Journal      string           `json:"journal"` // hash of the last line of the run's check journal
	Seconds      float64          `json:"seconds"`
}

// SuppressionUpdated describes the suppression list after a check.
type SuppressionUpdated struct {
	File    string `json:"file"` // under the workspace, with slashes
	Total   int64  `json:"total"`
	Added   int64  `json:"added"`
	Moved   int64  `json:"moved_earlier"`
	Removed int64  `json:"removed,omitempty"` // by an unflag; never by a run
	Digest  string `json:"digest"`
	Preview bool   `json:"preview,omitempty"` // of a dry run: the workspace's list is as before
}

// TableApplied holds receipts of one table, of flags that were known before the
// run (table_reapplied) or of all flags (table_applied). A table with many units
// has several such events.
type TableApplied struct {
	Table    string    `json:"table"`
	Receipts []Receipt `json:"receipts"`
}

// UnitFailed is a unit that this run could not treat.
type UnitFailed struct {
	Phase string `json:"phase"`
	UnitFailure
}

// LimitHit names the safety limit that stopped a run.
type LimitHit struct {
	Limit  string `json:"limit"`
	Figure string `json:"figure"`
	Allows string `json:"allows"`
}

// LimitOverridden says that a run was let past a safety limit, and by whom.
type LimitOverridden struct {
	LimitHit
	User string `json:"user"` // of the operating system
	Host string `json:"host"`
}

// RunEnded closes or interrupts a run.
type RunEnded struct {
	Status  string  `json:"status"` // one of the statuses of a Report
	Class   string  `json:"class,omitempty"`
	Message string  `json:"message,omitempty"`
	Apply   float64 `json:"apply_seconds,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // of work, over all resumptions
}
