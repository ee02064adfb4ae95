package schemas

import "time"

// PlanSchema names the version of the shape of a plan file. Fields are only
// ever added under the same name.
const PlanSchema = "optsweep.plan.v1"

// Plan is what a run would treat, as found at one moment, and an estimate of
// what that takes. A run that keeps to a plan treats exactly its units, at
// exactly their versions. It holds no ids.
type Plan struct {
	Schema       string       `json:"schema"`
	MadeAt       time.Time    `json:"made_at"`
	Job          string       `json:"job"`
	ConfigDigest string       `json:"config_digest"`
	ToolVersion  string       `json:"tool_version"`
	Scope        Scope        `json:"scope"`
	Environment  Environment  `json:"environment"`
	OperatorKind string       `json:"operator_kind"` // public, private or embedded
	Tables       []PlanTable  `json:"tables"`        // in the order of the job file
	Estimate     PlanEstimate `json:"estimate"`
	Limits       []LimitHit   `json:"limits"` // that would stop a run before it reads anything
}

// PlanTable is one table of a Plan.
type PlanTable struct {
	Table    string        `json:"table"`
	Rows     int64         `json:"rows"`
	Bytes    int64         `json:"bytes"`
	Units    []Unit        `json:"units"`
	Failures []UnitFailure `json:"failures"` // units that a run could not treat
}

// What the figures of a PlanEstimate rest on.
const (
	BasisRows    = "rows"     // upper bound: every row could hold another id
	BasisLastRun = "last_run" // measured in the last finished run of the job
	BasisAssumed = "assumed"  // nothing was measured yet
)

// PlanEstimate says how much work a plan is, before a single id was read.
type PlanEstimate struct {
	Rows          int64   `json:"rows"`
	Bytes         int64   `json:"bytes"`
	DistinctIDs   int64   `json:"distinct_ids"`
	DistinctBasis string  `json:"distinct_ids_basis"` // rows or last_run
	KnownIDs      int64   `json:"known_ids"`          // opted out in the last run: not asked again
	BatchIDs      int     `json:"batch_ids"`          // ids in one batch
	Batches       int64   `json:"batches"`
	BatchSeconds  float64 `json:"batch_seconds"`
	BatchBasis    string  `json:"batch_seconds_basis"` // assumed or last_run
	CheckSeconds  float64 `json:"check_seconds"`       // Batches at BatchSeconds each
	// A unit is written, whole, if a flag in it changes: surely few of those
	// that are as the last run left them, most of the others. Suppression lists
	// come on top: some 60 bytes for each listed id, if one is added.
	UnitsChanged int   `json:"units_changed"` // not as the last finished run left them, or new
	BytesChanged int64 `json:"bytes_changed"` // of those: what will most likely be written
	BytesMax     int64 `json:"bytes_max"`     // of all units that are written to: no more than this is written into them
	// Where a service bills by bytes: for reading the ids, surely, and at the
	// most for writing flags and reading them back.
	ScanBytes     int64   `json:"scan_bytes,omitempty"`
	ScanUSD       float64 `json:"scan_usd,omitempty"`
	WriteBytesMax int64   `json:"write_bytes_max,omitempty"`
	WriteUSDMax   float64 `json:"write_usd_max,omitempty"`
}
