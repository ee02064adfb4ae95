package schemas

import "time"

// Events of own suppression lists: opt-outs that a participant holds and the
// operator does not know. Those without a run are acts of a person.
const (
	EventOwnListImported EventType = "suppression_imported"
	EventOwnListRemoved  EventType = "suppression_removed"
	EventOwnListEdited   EventType = "suppression_edited" // by an unflag
	EventOwnLists        EventType = "own_lists"          // that a run applies; of several events of a run the last counts
	EventSourcesCounted  EventType = "sources_counted"    // distinct ids, once the check is over
	EventTableSources    EventType = "table_sources"      // rows, once the flags are written
)

// EventUnitSources is an event of a run's apply journal.
const EventUnitSources EventType = "unit_sources"

// OwnList is an own suppression list as the last import has left it.
type OwnList struct {
	Source string `json:"source"`
	Basis  string `json:"basis"`          // why the ids must not be used
	File   string `json:"file"`           // under the workspace, with slashes
	Total  int64  `json:"total"`          // distinct ids
	Digest string `json:"digest"`         // SHA-256 of the file
	User   string `json:"user"`           // of the operating system
	Host   string `json:"host"`           // that imported
	Tool   string `json:"tool_version"`   // that imported
	At     int64  `json:"imported_at_ms"` // Unix ms; ids that this import added have it as the time at which they were found

	Quarantine       string `json:"quarantine,omitempty"` // file of the rows that were left out; empty if none
	QuarantineDigest string `json:"quarantine_digest,omitempty"`
}

// OwnListImported is written when a list, merged from the one before and a
// file, comes into force. Rows = Valid + the sum of Malformed, and Valid =
// Distinct + Repeated, and Distinct = Added + Moved + Unchanged.
type OwnListImported struct {
	OwnList
	Previous   string           `json:"previous_digest,omitempty"` // of the list before; empty if there was none
	FileDigest string           `json:"file_digest"`               // SHA-256 of the imported file
	Reading    string           `json:"reading"`                   // SHA-256 of how it was read: format, columns, unit
	Rows       int64            `json:"rows"`
	Valid      int64            `json:"valid"`
	Malformed  map[Reason]int64 `json:"malformed"`
	Repeated   int64            `json:"repeated"`
	Distinct   int64            `json:"distinct"`
	Added      int64            `json:"added"`
	Moved      int64            `json:"moved_earlier"`
	Unchanged  int64            `json:"unchanged"`
	Overridden bool             `json:"overridden,omitempty"` // let past max_quarantined
}

// OwnListRemoved is written when a source is given up. Flags that it alone
// justified stay until they are unflagged.
type OwnListRemoved struct {
	Source string `json:"source"`
	Basis  string `json:"basis"`
	Total  int64  `json:"total"`
	Digest string `json:"digest"` // of the list that is no longer in force
	Reason string `json:"reason"`
	Ticket string `json:"ticket,omitempty"`
	User   string `json:"user"` // of the operating system
	Host   string `json:"host"`
	Tool   string `json:"tool_version"`
}

// OwnListEdited is written when an unflag takes one id off an own list.
type OwnListEdited struct {
	Pseudonym string `json:"id"`
	Source    string `json:"source"`
	File      string `json:"file"`
	Total     int64  `json:"total"`
	Digest    string `json:"digest"`
	Previous  string `json:"previous_digest"`
	SinceMS   int64  `json:"opted_out_since_ms"`
	FoundMS   int64  `json:"found_ms"`
}

// OwnLists are the own lists that a run applies, in the order of their names.
type OwnLists struct {
	Lists []OwnList `json:"lists"`
}

// SourceCount says who lists what is opted out. BySource counts what is on each
// own list, whoever else lists it.
type SourceCount struct {
	Operator int64            `json:"operator_only"`
	Own      int64            `json:"own_only"`
	Both     int64            `json:"both"`
	BySource map[string]int64 `json:"by_source"`
}

// Sum is the number of all that is opted out.
func (c SourceCount) Sum() int64 { return c.Operator + c.Own + c.Both }

// Add adds other to c.
func (c *SourceCount) Add(other SourceCount) {
	c.Operator += other.Operator
	c.Own += other.Own
	c.Both += other.Both
	for source, n := range other.BySource {
		if c.BySource == nil {
			c.BySource = map[string]int64{}
		}
		c.BySource[source] += n
	}
}

// SourcesCounted counts the distinct ids of a run that are opted out.
type SourcesCounted struct {
	IDs SourceCount `json:"ids"`
}

// UnitSources counts the opted-out rows of a unit that holds an id of an own
// list.
type UnitSources struct {
	Table string `json:"table"`
	Unit  string `json:"unit"`
	SourceCount
}

// TableSources are the UnitSources of a table. A table with many units has
// several such events.
type TableSources struct {
	Table string        `json:"table"`
	Units []UnitSources `json:"units"`
}

// ReportSources is the part of a Report about own lists.
type ReportSources struct {
	Lists []OwnList   `json:"lists"`
	IDs   SourceCount `json:"ids"` // distinct
}

// OwnListStatus is what is shown of an own list in force.
type OwnListStatus struct {
	Source     string    `json:"source"`
	Basis      string    `json:"basis"`
	Total      int64     `json:"total"`
	ImportedAt time.Time `json:"imported_at"` // last
	User       string    `json:"user"`
	Host       string    `json:"host"`
	Digest     string    `json:"digest"`
}

// Status is what is shown of the list.
func (l OwnList) Status() OwnListStatus {
	return OwnListStatus{Source: l.Source, Basis: l.Basis, Total: l.Total, ImportedAt: time.UnixMilli(l.At).UTC(), User: l.User, Host: l.Host, Digest: l.Digest}
}
