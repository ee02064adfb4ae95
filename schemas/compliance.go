package schemas

import "time"

// ComplianceSchema names the version of the shape of a Compliance. Fields are
// only ever added under the same name.
const ComplianceSchema = "optsweep.compliance.v1"

// Compliance tells somebody who answers for it what was checked, what was not
// and why, and how long opted-out people waited. It is about one run, or about
// all runs that were started in a period. It holds no ids, not even as
// pseudonyms. Dry runs are listed, but count nowhere.
type Compliance struct {
	Schema      string              `json:"schema"`
	MadeAt      time.Time           `json:"made_at"`
	ToolVersion string              `json:"tool_version"`   // that made the report
	Run         string              `json:"run,omitempty"`  // about one run; empty: about a period
	Since       time.Time           `json:"since,omitzero"` // of a period; zero: from the beginning
	Until       time.Time           `json:"until,omitzero"` // runs were started before; zero: to MadeAt
	End         time.Time           `json:"end"`            // ages are told as of then
	OnlyTables  []string            `json:"only_tables"`    // empty: all
	Settings    []ComplianceSetting `json:"settings"`       // under which the runs were made
	Tables      []ComplianceTable   `json:"tables"`         // by job and name
	Total       ComplianceFigures   `json:"total"`          // over all tables
	Runs        []ComplianceRun     `json:"runs"`           // in the order of their start
	Gaps        []ComplianceGap     `json:"gaps"`           // what was not checked or not written, and why
	Schedules   []ComplianceFires   `json:"schedules"`      // one for each job that has a log of fires; not of a single run
	Limits      []ComplianceLimit   `json:"limits"`         // that were hit or overridden
	OwnLists    []ComplianceList    `json:"own_lists"`      // that were applied, as of the last run
	Evidence    ComplianceEvidence  `json:"evidence"`
	SLO         *ComplianceSLO      `json:"slo,omitempty"` // nil: none was asked for
	Notes       []string            `json:"notes"`         // what a reader must know to read the figures right
}

// ComplianceSetting says for whom and with whom runs were made.
type ComplianceSetting struct {
	Job          string      `json:"job"`
	Scope        Scope       `json:"scope"`
	Environment  Environment `json:"environment"`
	Operator     Operator    `json:"operator"`
	ToolVersion  string      `json:"tool_version"`
	ConfigDigest string      `json:"config_digest"`
	Runs         int         `json:"runs"`
	First        string      `json:"first_run"`
	Last         string      `json:"last_run"`
}

// ComplianceFigures are those of a table, or the sums over all tables. Rows are
// as the last run of the report found them; what changed is a sum over its runs.
type ComplianceFigures struct {
	Units      int              `json:"units"`
	Rows       int64            `json:"rows"`
	Nulls      int64            `json:"nulls"`
	Valid      int64            `json:"valid"`
	Malformed  map[Reason]int64 `json:"malformed"`      // could not be checked
	OptedOut   int64            `json:"rows_opted_out"` // of Valid
	Clear      int64            `json:"rows_clear"`     // of Valid: asked, and not on the operator's list then
	Unsettled  int64            `json:"rows_unsettled"` // of Valid: not asked, no verdict, or not told apart from rows without one
	Flagged    int64            `json:"rows_flagged"`
	FlagKept   int64            `json:"rows_flag_kept"`
	Open       Waits            `json:"open"` // ids that were known and not flagged in all units after the last run
	New        int64            `json:"rows_new"`
	Reapplied  int64            `json:"rows_reapplied"`
	Earlier    int64            `json:"rows_earlier"`
	Changed    int              `json:"units_changed"`
	Failed     int              `json:"units_failed"` // units of all runs
	Total      Waits            `json:"time_to_honour"`
	Detect     Waits            `json:"time_to_detect"`
	Apply      Waits            `json:"time_to_apply"`
	Backlog    Waits            `json:"backlog"`               // see TableHonoured
	Arrived    int64            `json:"arrived"`               // of Total
	Beside     int64            `json:"rows_new_beside"`       // of New: beside one row for each id of Total and Backlog
	BesideMaxS int64            `json:"rows_new_beside_max_s"` // the longest that such a row can have waited; 0: there is none, or it is not known
	NotTold    int              `json:"runs_without_time_to_honour"`
	Unseen     int              `json:"runs_without_arrivals"` // runs that could not tell what came since the run before
	P50S       int64            `json:"time_to_honour_p50_s"`
	P95S       int64            `json:"time_to_honour_p95_s"`
}

// ComplianceTable is one table.
type ComplianceTable struct {
	Job        string    `json:"job"`
	Table      string    `json:"table"`
	Status     string    `json:"status"`          // of the last run that was to treat it; never_run: none was
	Runs       int       `json:"runs"`            // that were to treat it
	Reconciled int       `json:"runs_reconciled"` // that treated all of it
	LastRun    string    `json:"last_run,omitempty"`
	CheckedAt  time.Time `json:"checked_at,omitzero"` // the oldest answer that the last complete check rests on, or its start; zero: there was none
	AgeS       int64     `json:"check_age_s"`         // of CheckedAt, at the end of the report
	ComplianceFigures
}

// StatusNeverRun is the status of a table that no run was to treat.
const StatusNeverRun = "never_run"

// ComplianceRun is one run.
type ComplianceRun struct {
	Run          string          `json:"run"`
	Job          string          `json:"job"`
	Status       string          `json:"status"`
	DryRun       bool            `json:"dry_run"`
	Offline      bool            `json:"offline"`
	StartedAt    time.Time       `json:"started_at"`
	FinishedAt   time.Time       `json:"finished_at"` // of its last event
	Resumed      int             `json:"resumed"`
	Scope        Scope           `json:"scope"`
	Environment  Environment     `json:"environment"`
	Operator     Operator        `json:"operator"`
	ToolVersion  string          `json:"tool_version"`
	ConfigDigest string          `json:"config_digest"`
	IDs          Checked         `json:"ids"` // distinct, over all tables of the job
	Asked        bool            `json:"asked"`
	Class        string          `json:"failure_class,omitempty"`
	Message      string          `json:"failure_message,omitempty"`
	LawsChecked  int             `json:"laws_checked"`
	LawsBroken   int             `json:"laws_broken"`
	Ledger       LedgerPosition  `json:"ledger"` // its last event
	Tables       []ComplianceRow `json:"tables"`
}

// ComplianceRow is one table in one run.
type ComplianceRow struct {
	TableReport
	Clear     int64 `json:"rows_clear"`
	Unsettled int64 `json:"rows_unsettled"`
}

// Kinds of gaps.
const (
	GapNeverRun     = "never_run"     // no run was to treat the table
	GapUnitFailed   = "unit_failed"   // a unit could not be treated
	GapQuarantined  = "quarantined"   // rows whose cell is no id
	GapUnverifiable = "unverifiable"  // distinct ids without a verdict
	GapRunFailed    = "run_failed"    // a run that did not end well
	GapFireSkipped  = "fire_skipped"  // a run was due and did not start
	GapFireFailed   = "fire_failed"   // a run was due and could not begin
	GapFiresUnknown = "fires_unknown" // nothing tells whether runs were missed
	GapRetention    = "retention"     // retention removed the events
	GapNotRecorded  = "not_recorded"  // a figure that runs of that version did not record
)

// ComplianceGap is one thing that was not checked or not written.
type ComplianceGap struct {
	Kind  string    `json:"kind"`
	Job   string    `json:"job,omitempty"`
	Table string    `json:"table,omitempty"`
	Unit  string    `json:"unit,omitempty"`
	Run   string    `json:"run,omitempty"` // the last one
	At    time.Time `json:"at,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Count int64     `json:"count"` // of what Kind says
	Why   string    `json:"why"`
}

// ComplianceFires sums up what became of the fires of a job's schedule.
type ComplianceFires struct {
	Job     string         `json:"job"`
	Known   time.Time      `json:"known_until,omitzero"` // last entry of the log of fires
	Started int            `json:"started"`              // runs
	ByEnd   map[string]int `json:"by_status"`            // of Started
	Skipped map[string]int `json:"skipped"`              // fires, by reason
}

// ComplianceLimit is a safety limit that a run hit, or was let past.
type ComplianceLimit struct {
	Run string `json:"run"`
	Job string `json:"job"`
	LimitHit
	Overridden bool   `json:"overridden"`
	User       string `json:"user,omitempty"` // who overrode it
	Host       string `json:"host,omitempty"`
}

// ComplianceList is an own suppression list.
type ComplianceList struct {
	OwnListStatus
	IDs  int64 `json:"ids_found"`  // distinct ids of the last run that are on it
	Rows int64 `json:"rows_found"` // and their rows
}

// ComplianceEvidence is what a reader can verify the report with.
type ComplianceEvidence struct {
	Begin        LedgerPosition `json:"ledger_begin"` // the event before the first of the ledger
	Head         LedgerPosition `json:"ledger_head"`
	RemovedUntil time.Time      `json:"removed_until,omitzero"` // events until then were removed by retention
	RemovedAt    time.Time      `json:"removed_at,omitzero"`
	RemovedRuns  int            `json:"removed_runs"`
	Signer       string         `json:"signer,omitempty"` // fingerprint of the key of evidence packs
}

// ComplianceSLO says whether time to honour met an objective.
type ComplianceSLO struct {
	LimitS   int64              `json:"limit_s"`
	OK       bool               `json:"ok"`
	Summary  string             `json:"summary"` // one line
	Breaches []ComplianceBreach `json:"breaches"`
}

// Kinds of breaches.
const (
	BreachLate    = "late"    // flagged too late
	BreachOpen    = "open"    // known, and not flagged
	BreachBacklog = "backlog" // flagged, but nobody knows since when the id was there
	BreachUnknown = "unknown" // it cannot be shown
)

// ComplianceBreach is why an objective is not met.
type ComplianceBreach struct {
	Kind   string `json:"kind"`
	Job    string `json:"job,omitempty"`
	Table  string `json:"table,omitempty"`
	IDs    int64  `json:"ids"`     // 0 if they cannot be counted
	Exact  bool   `json:"exact"`   // false: at most so many
	WorstS int64  `json:"worst_s"` // 0 if it is not known
	Why    string `json:"why"`
}

// ScheduleLog is what a job's log of fires holds.
type ScheduleLog struct {
	Job   string
	Last  time.Time // of its last event
	Next  time.Time // first fire after it; zero: none, or not known
	Fires []FireOutcome
}

// FireOutcome is what became of a fire, or of several that were skipped for one
// reason.
type FireOutcome struct {
	First, Last time.Time
	Count       int
	Status      string // of the run, failed, or skipped
	Reason      string
	Run         string // empty: none was begun
}

// Add adds the figures of another table, but for the quantiles.
func (f *ComplianceFigures) Add(x ComplianceFigures) {
	f.Units += x.Units
	f.Rows += x.Rows
	f.Nulls += x.Nulls
	f.Valid += x.Valid
	if f.Malformed == nil {
		f.Malformed = map[Reason]int64{}
	}
	for reason, n := range x.Malformed {
		f.Malformed[reason] += n
	}
	f.OptedOut += x.OptedOut
	f.Clear += x.Clear
	f.Unsettled += x.Unsettled
	f.Flagged += x.Flagged
	f.FlagKept += x.FlagKept
	f.Open.Merge(x.Open)
	f.New += x.New
	f.Reapplied += x.Reapplied
	f.Earlier += x.Earlier
	f.Changed += x.Changed
	f.Failed += x.Failed
	f.Total.Merge(x.Total)
	f.Detect.Merge(x.Detect)
	f.Apply.Merge(x.Apply)
	f.Backlog.Merge(x.Backlog)
	f.Arrived += x.Arrived
	f.Beside += x.Beside
	f.BesideMaxS = max(f.BesideMaxS, x.BesideMaxS)
	f.NotTold += x.NotTold
	f.Unseen += x.Unseen
}

// Bad is the number of rows whose cell is no id.
func (f ComplianceFigures) Bad() (n int64) {
	for _, count := range f.Malformed {
		n += count
	}
	return n
}
