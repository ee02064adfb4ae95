package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

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
	Tables      []Table // at least one, with distinct names
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

// Table is one thing to reconcile.
type Table struct {
	Name    string
	Parquet Parquet
	Write   Write
}

// Parquet is a data set of Parquet files.
type Parquet struct {
	Path     string // pattern in the syntax of bmatcuk/doublestar: *, **, ?, [ab], {a,b}
	IDColumn string
}

// WriteMode says how opt-outs are written back.
type WriteMode string

// Column adds or updates a timestamp column in place.
const Column WriteMode = "column"

// Write says how opt-outs are written back.
type Write struct {
	Mode   WriteMode
	Column string
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
// tables. A run may go on after its limits, its connection settings or the
// place of its secrets were changed, so those are left out.
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
	}{1, j.Name, j.Scope, j.Environment, j.Operator.Kind, j.Operator.URL, j.Operator.OptOutLog, j.Workspace, j.Tables})
	if err != nil {
		// Strings, numbers and slices of them always marshal.
		return ""
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
