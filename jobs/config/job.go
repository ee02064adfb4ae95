package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"optsweep/jobs/schedule"
	"optsweep/schemas"
)

// Job is a validated job file. All its paths are absolute, or relative to the
// base folder that Parse was given.
type Job struct {
	File        string // the job file itself, as Load or Parse was given it
	Name        string // a to z, 0 to 9 and '-', at most 63
	Scope       schemas.Scope
	Environment schemas.Environment
	Operator    Operator
	Workspace   string // folder for everything a run leaves behind
	Limits      Limits
	BigQuery    BigQuery // connection; zero unless a table is there
	Tables      []Table  // at least one, with distinct names
	RunTables   RunTables
	Signals     Signals            // who is told about runs
	Schedule    *schedule.Schedule // nil: the job file has none
}

// Rules are the rules for the ids of this job.
func (j *Job) Rules() schemas.Rules {
	return schemas.Rules{Scope: j.Scope, Environment: j.Environment}
}

// OperatorKind says what answers the questions of a job.
type OperatorKind string

// The kinds of operator.
const (
	Public   OperatorKind = "public"   // over HTTPS, one connection, one batch at a time
	Private  OperatorKind = "private"  // over HTTPS, may be asked in parallel
	Embedded OperatorKind = "embedded" // this program, over opt-out log files
)

// Operator says whom to ask and how.
type Operator struct {
	Kind              OperatorKind
	URL               string    // base URL without a trailing "/" or "/v2"; empty when public: the default of scope and environment
	APIKey            SecretRef // zero when embedded
	ClientSecret      SecretRef // zero when embedded
	Parallel          int       // batches in flight, from 1; above 1 only when private
	Binary            bool      // send envelopes as bytes instead of base64 text
	OptOutLog         string    // file or folder of opt-out logs; only when embedded
	CanariesFile      string    // see ReadCanaries; empty: no canaries
	CAFile            string    // PEM certificates to trust besides the system's; may be empty
	AllowPlainHTTP    []string  // lower-case host names that may be asked without TLS, besides this machine
	AllowHostMismatch bool      // ask a host that is known to belong to another scope or environment
}

// Limits stop a run before it does harm.
type Limits struct {
	MemoryBytes    int64         // for ids held in memory
	MaxNewFlags    Percent       // newly opted out, of the distinct ids of all tables
	MaxQuarantined Percent       // without a valid id, of the rows of a table that are not NULL
	MaxRowDrop     Percent       // fewer rows of a table than in the last run that reconciled it
	AllowZeroHits  bool          // go on if no id is opted out although the last run found some
	MaxDuration    time.Duration // of a whole run
	Workers        int           // parallel tasks; 0: let the program choose
}

// Limits of a job file that sets none.
const (
	DefaultMemoryBytes    = 1 << 30
	DefaultMaxNewFlags    = Percent(5)
	DefaultMaxQuarantined = Percent(1)
	DefaultMaxRowDrop     = Percent(50)
	DefaultMaxDuration    = 20 * time.Hour
)

// BigQuery says how BigQuery is reached, and what may be spent there.
type BigQuery struct {
	Project      string        // runs and pays for the jobs
	Reservation  string        // projects/P/locations/L/reservations/R; may be empty
	MaxBytes     int64         // that one statement may be billed for
	USDPerTiB    float64       // what that costs, for plans
	JobTimeout   time.Duration // of one statement
	Expiry       time.Duration // of staging tables
	KeyFile      string        // of a service account; empty: application default credentials
	Impersonate  string        // service account to act as; may be empty
	Endpoint     string        // REST; empty: Google's
	GRPCEndpoint string        // Storage APIs, host and port; empty: Google's
	Insecure     bool          // endpoints of this machine without TLS and credentials
	Runs         string        // dataset for the run tables, "project.dataset"; empty: none
	Location     string        // of Runs, and of tables that name none
	Staging      string        // for Runs, and for tables that name none
}

// RunTables says where run tables go besides BigQuery.Runs.
type RunTables struct {
	Parquet string // folder; empty: none
}

// Defaults of a BigQuery connection.
const (
	DefaultMaxBytesBilled = 1 << 40
	DefaultUSDPerTiB      = 6.25
	DefaultJobTimeout     = 6 * time.Hour
	DefaultStagingExpiry  = 7 * 24 * time.Hour
)

// Table is one thing to reconcile: either Parquet files or a table of BigQuery.
type Table struct {
	Name     string
	Parquet  Parquet
	BigQuery *BigQueryTable `json:",omitempty"` // nil: Parquet
	Write    Write
}

// BigQueryTable is a table, view or query of BigQuery.
type BigQueryTable struct {
	Table      string   // "project.dataset.table"; empty: Query
	Query      string   // SQL that gives the rows
	IDColumns  []string // paths such as euid, user.euid, ids[].value
	Filter     string   // SQL condition; may be empty
	Partitions []string // SQL conditions, each treated on its own; may be empty
	Location   string   // such as EU; empty: BigQuery finds out
	Staging    string   // dataset for staging tables, "project.dataset"
}

// Parquet is a data set of Parquet files.
type Parquet struct {
	Path       string // pattern in the syntax of bmatcuk/doublestar: *, **, ?, [ab], {a,b}
	IDColumn   string // its name, or a path such as user.euid or ids[].value
	IDEncoding string `json:",omitempty"` // base64 or binary; empty: by the type of the column
}

// WriteMode says how opt-outs are written back.
type WriteMode string

// The modes.
const (
	Column      WriteMode = "column"      // adds or updates a timestamp column in place
	Suppression WriteMode = "suppression" // keeps a table of suppressed ids, in BigQuery with views, of Parquet a file
	Remove      WriteMode = "remove"      // deletes rows
)

// Write says how opt-outs are written back.
type Write struct {
	Mode       WriteMode
	Column     string // mode column
	Type       string `json:",omitempty"` // int64 (ms since 1970), or empty: timestamp; only Parquet
	Dataset    string `json:",omitempty"` // modes suppression and remove: "project.dataset" for optsweep's own tables
	View       bool   `json:",omitempty"` // mode suppression: keep views
	Authorized bool   `json:",omitempty"` // mode suppression: views that read the table for others
	Drop       bool   `json:",omitempty"` // mode remove: keep no copy
	Path       string `json:",omitempty"` // Parquet: in mode suppression the list, in mode remove the folder for removed rows
	Stream     bool   `json:",omitempty"` // stage through the Storage Write API
}

// DefaultColumn is the column that opt-outs are written to.
const DefaultColumn = "opted_out_since"

// Percent is a share from 0 to 100.
type Percent float64

// Exceeded tells whether part is more than p percent of whole.
func (p Percent) Exceeded(part, whole int64) bool {
	return float64(part)*100 > float64(p)*float64(whole)
}

func (p Percent) String() string {
	return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%"
}

// Digest is the SHA-256, in hexadecimal, of everything that decides what a run
// finds and where it writes: name, scope, environment, operator, workspace and
// tables. A run may go on after its limits, its connection settings, the place
// of its secrets or who is told about it were changed, so those are left out.
func (j *Job) Digest() string {
	canonical, err := json.Marshal(struct {
		Version     int
		Name        string
		Scope       schemas.Scope
		Environment schemas.Environment
		Kind        OperatorKind
		URL         string
		OptOutLog   string
		Workspace   string
		Tables      []Table
		BigQuery    string `json:",omitempty"`
	}{1, j.Name, j.Scope, j.Environment, j.Operator.Kind, j.Operator.URL, j.Operator.OptOutLog, j.Workspace, j.Tables, j.BigQuery.Endpoint})
	if err != nil {
		// Strings, numbers and slices of them always marshal.
		return ""
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
