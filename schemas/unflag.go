package schemas

// Events of an unflag, which belong to no run. Between unflag_started and
// unflagged stand a suppression_updated if the id was on the list, and for each
// unit that changes an unflag_intent before and an unflag_applied after it.
const (
	EventUnflagStarted EventType = "unflag_started"
	EventUnflagIntent  EventType = "unflag_intent"
	EventUnflagApplied EventType = "unflag_applied"
	EventUnflagged     EventType = "unflagged"
)

// Unflag is why and by whom an id is taken off the suppression list and its
// flags are cleared.
type Unflag struct {
	Pseudonym   string `json:"id"`
	Reason      string `json:"reason"`
	Ticket      string `json:"ticket,omitempty"`
	User        string `json:"user"` // of the operating system
	Host        string `json:"host"`
	ToolVersion string `json:"tool_version"`
}

// UnflagStarted is written before anything changes.
type UnflagStarted struct {
	Unflag
	ListDigest string `json:"list_digest,omitempty"` // of the suppression list before; empty if there is none
	SinceMS    int64  `json:"opted_out_since_ms,omitempty"`
	FoundMS    int64  `json:"found_ms,omitempty"` // when the id came on the list; 0: it is not there

	OwnLists []OwnListing `json:"own_lists,omitempty"` // that the id was taken off
}

// UnflagReceipt is one unit of an unflag.
type UnflagReceipt struct {
	Pseudonym string  `json:"id"`
	Receipt   Receipt `json:"receipt"`
}

// Unflagged is written when the id is off the list and no unit flags it.
type Unflagged struct {
	UnflagStarted
	ListDigestAfter string    `json:"list_digest_after,omitempty"`
	Units           int       `json:"units"` // that were searched for flags
	Receipts        []Receipt `json:"receipts"`
}
