package schemas

import "time"

// ReportSchema names the version of the report's shape. Fields are only ever
// added under the same name.
const ReportSchema = "optsweep.report.v1"

// Statuses of a run and of a table.
const (
	StatusReconciled  = "reconciled"  // everything in scope was checked and written
	StatusPreviewed   = "previewed"   // a dry run: nothing written
	StatusReapplied   = "reapplied"   // an offline run: all that was known is written, nothing was checked
	StatusPartial     = "partial"     // some units were not
	StatusStopped     = "stopped"     // a safety limit stopped the run before it wrote
	StatusFailed      = "failed"      // nothing was reconciled, or a law was broken
	StatusInterrupted = "interrupted" // unfinished; the same command goes on with it
	StatusAbandoned   = "abandoned"   // unfinished and given up for a new run
)

// Report is what one run found and did. It holds no ids. All counts of ids are
// distinct ids over all tables; all counts of rows are per table.
type Report struct {
	Schema       string              `json:"schema"`
	Run          string              `json:"run"`
	Job          string              `json:"job"`
	Status       string              `json:"status"`
	DryRun       bool                `json:"dry_run"`
	Offline      bool                `json:"offline"`
	StartedAt    time.Time           `json:"started_at"`
	FinishedAt   time.Time           `json:"finished_at"`
	Resumed      int                 `json:"resumed"` // how often the run was taken up again
	ToolVersion  string              `json:"tool_version"`
	ConfigDigest string              `json:"config_digest"`
	Scope        Scope               `json:"scope"`
	Environment  Environment         `json:"environment"`
	Operator     Operator            `json:"operator"`
	IDs          Checked             `json:"ids"`
	Suppression  *SuppressionUpdated `json:"suppression,omitempty"`
	Tables       []TableReport       `json:"tables"`
	Failures     []UnitFailed        `json:"failures"`
	Limit        *LimitHit           `json:"limit,omitempty"`
	Overrides    []LimitOverridden   `json:"overrides"` // limits that this run was let past
	Laws         []Law               `json:"laws"`
	Phases       []Phase             `json:"phases"`
	Notes        []string            `json:"notes"`             // what a reader must know to read the figures right
	Sources      *ReportSources      `json:"sources,omitempty"` // own lists that were applied; nil: there were none
}

// TableReport is one table's part of a Report.
type TableReport struct {
	TableExtracted
	Status        string `json:"status"`
	UnitsChanged  int    `json:"units_changed"`
	UnitsFailed   int    `json:"units_failed"`
	UnitsCarried  int    `json:"units_carried,omitempty"` // whose flags could not have to change: they were read and counted only
	RowsOptedOut  int64  `json:"rows_opted_out"`
	RowsFlagged   int64  `json:"rows_flagged"`
	RowsNew       int64  `json:"rows_new"`
	RowsReapplied int64  `json:"rows_reapplied"` // of RowsNew: known before, written before anything was asked
	RowsEarlier   int64  `json:"rows_earlier"`
	RowsKept      int64  `json:"rows_flag_kept"`
	BytesBefore   int64  `json:"bytes_before"`
	BytesAfter    int64  `json:"bytes_after"`

	RowsRemoved  int64          `json:"rows_removed,omitempty"`   // of RowsNew: taken out of the table
	RowsBySource *SourceCount   `json:"rows_by_source,omitempty"` // of RowsOptedOut; nil: there were no own lists
	Honour       *TableHonoured `json:"honour,omitempty"`         // nil: not recorded
}

// Law is an equation that the figures of a run must satisfy.
type Law struct {
	Name   string `json:"name"`
	Table  string `json:"table,omitempty"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // the equation with its figures
}

// Phase is how long one phase took, in seconds of work.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}
