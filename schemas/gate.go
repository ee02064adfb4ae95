package schemas

import "time"

// GateSchema names the version of the shape of a GateResult. Fields are only
// ever added under the same name.
const GateSchema = "optsweep.gate.v1"

// GateResult is what a gate found. It holds no ids.
type GateResult struct {
	Schema  string      `json:"schema"`
	Job     string      `json:"job"`
	MadeAt  time.Time   `json:"made_at"`
	OK      bool        `json:"ok"`
	Known   int64       `json:"known_ids"` // on the suppression list and on own lists
	MaxAgeS int64       `json:"max_age_s"`
	Tables  []GateTable `json:"tables"`
	Asked   *GateAsked  `json:"asked,omitempty"` // nil: the operator was not asked
	Clean   *GateClean  `json:"clean,omitempty"` // nil: no clean copy was made
}

// GateTable is one table, or the files that were given.
type GateTable struct {
	Table          string        `json:"table"`
	Given          bool          `json:"given,omitempty"` // files that were given: the ledger does not know them as a table
	OK             bool          `json:"ok"`
	Units          int           `json:"units"`
	Rows           int64         `json:"rows"`
	OptedOut       int64         `json:"rows_opted_out"` // whose id is on a list
	Flagged        int64         `json:"rows_flagged"`   // with a flag now
	Breaches       int64         `json:"rows_breach"`    // of OptedOut: without a flag, or with a later one
	Later          int64         `json:"rows_later"`     // of Breaches: with a later one
	CheckedAt      time.Time     `json:"checked_at,omitzero"`
	AgeS           int64         `json:"age_s"` // since CheckedAt; 0: never checked
	Stale          bool          `json:"stale"` // never checked, or longer ago than allowed
	UncheckedUnits int           `json:"units_unchecked"`
	UncheckedIDs   int64         `json:"ids_unchecked"` // of given files: distinct ids that the last run did not see
	Failures       []UnitFailure `json:"failures"`
	Example        *BadCell      `json:"example,omitempty"` // of a breach
}

// GateAsked is what the operator said about ids on no list. Nothing of it is
// kept.
type GateAsked struct {
	IDs          int64 `json:"ids"`
	OptedOut     int64 `json:"opted_out"`
	Unverifiable int64 `json:"unverifiable"`
	Canaries     int   `json:"canaries"`
}

// GateClean is a copy without the rows of opted-out ids.
type GateClean struct {
	Files   []GateCleanFile `json:"files"`
	Rows    int64           `json:"rows"`
	Removed int64           `json:"rows_removed"`
}

// GateCleanFile is one file of a clean copy.
type GateCleanFile struct {
	File    string `json:"file"`
	Rows    int64  `json:"rows"`
	Removed int64  `json:"rows_removed"`
	SHA256  string `json:"sha256"`
}
