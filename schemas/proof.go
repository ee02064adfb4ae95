package schemas

import "time"

// ProofSchema names the version of the shape of a Proof. Fields are only ever
// added under the same name.
const ProofSchema = "optsweep.proof.v1"

// Answers of a ProofRun.
const (
	AnswerOptedOut     = "opted_out"
	AnswerClear        = "clear"
	AnswerUnverifiable = "unverifiable" // asked, but without a verdict
	AnswerKnown        = "known"        // on the suppression list: flagged without being asked about again
	AnswerNotAsked     = "not_asked"
	AnswerNotInData    = "not_in_data" // none of the tables held the id
	AnswerNotProvable  = "not_provable"
)

// Proof is all that a workspace and the tables of a job tell about one id,
// which it does not show.
type Proof struct {
	Schema    string            `json:"schema"`
	Pseudonym string            `json:"id"`
	MadeAt    time.Time         `json:"made_at"`
	Seen      bool              `json:"seen"` // false: no table, no run and no list knows the id
	Listing   *ProofListing     `json:"suppression_list,omitempty"`
	Unflagged []ProofUnflag     `json:"unflagged"`
	OwnLists  []ProofOwnListing `json:"own_lists,omitempty"`
	Runs      []ProofRun        `json:"runs"` // whose ids or answers still exist, oldest first
	Scan      *ProofScan        `json:"scan,omitempty"`
	Units     []ProofUnit       `json:"units"` // that hold the id now
	Gaps      []string          `json:"gaps"`  // what cannot be told any more, and why
}

// ProofListing is an id's entry in the suppression list.
type ProofListing struct {
	SinceMS int64  `json:"opted_out_since_ms"`
	FoundMS int64  `json:"found_ms"`      // when optsweep first learned of it
	Run     string `json:"run,omitempty"` // that learned of it
}

// OwnListing is an id's entry on an own list.
type OwnListing struct {
	Source  string `json:"source"`
	SinceMS int64  `json:"opted_out_since_ms"`
	FoundMS int64  `json:"found_ms"` // when it was first imported
}

// ProofOwnListing is an id's entry on an own list in force, and who put it
// there.
type ProofOwnListing struct {
	OwnListing
	Basis string `json:"basis"`
	User  string `json:"user"`
	Host  string `json:"host"`
}

// ProofUnflag is an act of taking the id off the list.
type ProofUnflag struct {
	At time.Time `json:"at"`
	Unflagged
	Complete bool `json:"complete"` // false: it was cut short
}

// ProofRun is what one run did about the id.
type ProofRun struct {
	Run       string    `json:"run"`
	StartedAt time.Time `json:"started_at"`
	DryRun    bool      `json:"dry_run"`
	Answer    string    `json:"answer"`
	Reason    Reason    `json:"reason,omitempty"`
	SinceMS   int64     `json:"opted_out_since_ms,omitempty"`
	AsOfMS    int64     `json:"as_of_ms,omitempty"` // when the operator answered
	Batch     int64     `json:"batch,omitempty"`    // from 1
	Digest    string    `json:"batch_digest,omitempty"`
	Proven    bool      `json:"proven"` // the batch's digest fits the run's ids, and the journal the ledger
}

// ProofScan says what was searched.
type ProofScan struct {
	Units    int           `json:"units"`
	Rows     int64         `json:"rows"`
	Failures []UnitFailure `json:"failures"`
}

// ProofUnit is a unit that holds the id.
type ProofUnit struct {
	Table         string         `json:"table"`
	Unit          string         `json:"unit"`
	Version       string         `json:"version"`
	Count         int64          `json:"rows_count"`
	Rows          []int64        `json:"rows"`                    // from 0; the first ones
	Misspelt      int64          `json:"rows_misspelt"`           // of Count: in a spelling that is quarantined, so never asked about
	FlaggedBy     *ProofReceipt  `json:"flagged,omitempty"`       // the receipt since which the flag is there, if no other program wrote the unit
	FlaggedBefore time.Time      `json:"flagged_before,omitzero"` // the flag was there at this time; retention removed the run that wrote it
	Receipts      []ProofReceipt `json:"receipts,omitempty"`      // of runs that wrote to it or confirmed it, oldest first
}

// ProofReceipt is a unit's receipt in a run.
type ProofReceipt struct {
	Run           string    `json:"run"`
	At            time.Time `json:"at"`
	VersionBefore string    `json:"version_before"`
	VersionAfter  string    `json:"version_after"`
	Changed       bool      `json:"changed"`
	Listed        bool      `json:"listed"` // the id was on the list that was applied
}
