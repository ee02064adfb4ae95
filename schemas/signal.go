package schemas

import "time"

// RunStart is what the world is told when a run starts or is taken up again.
// It holds no ids and no secrets.
type RunStart struct {
	Workspace   string    // digest that tells one workspace from another
	Run         string    // id; empty if the run could not begin
	Attempt     int       // how often the run was taken up again
	At          time.Time // of this attempt
	Job         string
	ToolVersion string
	Scheduled   time.Time // fire time of the schedule; zero: not started by one
	Offline     bool      // nobody is asked
	Tables      []Dataset
}

// Dataset says where a table is, in the names of OpenLineage.
type Dataset struct {
	Table     string // name in the job file
	Namespace string // such as file or bigquery
	Name      string // such as /data/crm or project.dataset.table
	IDColumn  string
	Output    DatasetName // where opt-outs are written
}

// DatasetName names a data set in OpenLineage.
type DatasetName struct{ Namespace, Name string }

// RunEnd is what the world is told when an attempt at a run has ended. It
// holds no ids and no secrets.
type RunEnd struct {
	RunStart
	EndedAt time.Time
	Report  Report  // its Run is empty if the run could not begin
	Class   string  // of the failure; empty: none
	Failure string  // what happened; empty: nothing
	Killed  bool    // the process ended before the attempt did; found out afterwards
	Stages  []Stage // phases of this attempt, in order
	Past    RunPast // of the job's other runs
	Honour  *Honour // nil: not known, or nothing was flagged
	Notices []Notice
}

// Stage is when a phase was under way.
type Stage struct {
	Name       string
	Began      time.Time
	Ended      time.Time
	Total      int64
	Unit       string // of Total
	Unfinished bool
}

// RunPast is what is known of a job's earlier runs.
type RunPast struct {
	Known       bool            // false: the ledger could not be read
	LastSuccess time.Time       // end of the last run that reconciled everything; zero: none
	LastFailure time.Time       // end of the last that did not; zero: none
	Hit         map[string]bool // tables in which opted-out ids were found
}

// Honour is how long people waited, from their opt-out until all flags of the
// run were written, in seconds. It counts each distinct id that the run was the
// first to find opted out; an id that came into the data after its opt-out
// counts from the opt-out.
type Honour struct {
	IDs           int64
	P50, P95, Max float64
}

// NoticeSchema names the version of the shape of a Notice. Fields are only
// ever added under the same name.
const NoticeSchema = "optsweep.notice.v1"

// What a Notice can be about.
const (
	NoticeFailed     = "failed"     // a run failed or is partial
	NoticeMissed     = "missed"     // a run was due and did not start
	NoticeCanary     = "canary"     // a canary came back with another verdict
	NoticeLimit      = "limit"      // a safety limit stopped a run
	NoticeGate       = "gate"       // a table did not pass the gate
	NoticeFirstHit   = "first_hit"  // opted-out ids in a table that had none in any run before
	NoticeQuarantine = "quarantine" // more ids of a table are not valid than allowed
)

// NoticeEvents lists what a Notice can be about.
func NoticeEvents() []string {
	return []string{NoticeFailed, NoticeMissed, NoticeCanary, NoticeLimit, NoticeGate, NoticeFirstHit, NoticeQuarantine}
}

// Notice is one thing that somebody wants to know. It holds no ids.
type Notice struct {
	Schema  string    `json:"schema"`
	Event   string    `json:"event"`
	Job     string    `json:"job"`
	Run     string    `json:"run,omitempty"`
	Table   string    `json:"table,omitempty"`
	At      time.Time `json:"at"`
	Status  string    `json:"status,omitempty"` // of the run or the table
	Limit   string    `json:"limit,omitempty"`
	Rows    int64     `json:"rows,omitempty"` // that the notice is about
	Message string    `json:"message"`        // one line for people
}

// Undelivered is a signal that did not reach its receiver. It never makes a
// run fail.
type Undelivered struct {
	Sink  string `json:"sink"` // metrics, lineage, tracing, heartbeat or notify
	Error string `json:"error"`
}
