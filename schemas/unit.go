package schemas

import "context"

// Unit is the piece of a table that is written atomically: a Parquet file, a
// BigQuery statement. It is plain data, so that a task over it can be handed
// to another process.
type Unit struct {
	Table    string `json:"table"`    // name of the table in the job file
	Name     string `json:"name"`     // unique within the table, stable over runs
	Location string `json:"location"` // where the connector finds it
	Version  string `json:"version"`  // opaque; differs when the content may differ
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`

	// Where a service bills by bytes: for reading the ids, and at the most for
	// writing the flags.
	ScanBytes     int64 `json:"scan_bytes,omitempty"`
	WriteBytesMax int64 `json:"write_bytes_max,omitempty"`

	Run RunRef `json:"run,omitzero"` // that treats the unit; zero in a plan

	// What the run has written into a copied unit since it was copied: the
	// Staged of that receipt.
	Written string `json:"written,omitempty"`
}

// RunRef names a run.
type RunRef struct {
	ID        string `json:"id"`
	StartedMS int64  `json:"started_ms"` // Unix time in ms
}

// UnitFailure is a unit that could not be treated, and why.
type UnitFailure struct {
	Table string `json:"table"`
	Unit  string `json:"unit"`
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// Cells are consecutive cells of an id column, or distinct ones with the
// number of cells that are like each.
type Cells struct {
	First  int64    // row of Values[0] in its unit, from 0; NoRow: they have no place
	Values [][]byte // nil for NULL; valid only until the callback returns
	Counts []int64  // cells like each of Values, from 1; nil: one each

	// Rows of Values in their unit, none before the one before it, where a row
	// may hold several cells; empty: each has a row of its own, from First on.
	At []int64
}

// NoRow is the row of a cell that has no place in its unit.
const NoRow = -1

// Count is the number of cells that are like Values[i].
func (c Cells) Count(i int) int64 {
	if c.Counts == nil {
		return 1
	}
	return c.Counts[i]
}

// Row is the row of Values[i], or NoRow.
func (c Cells) Row(i int) int64 {
	if len(c.At) > 0 {
		return c.At[i]
	}
	if c.First == NoRow {
		return NoRow
	}
	return c.First + int64(i)
}

// Rows is the number of all cells.
func (c Cells) Rows() (n int64) {
	if c.Counts == nil {
		return int64(len(c.Values))
	}
	for _, count := range c.Counts {
		n += count
	}
	return n
}

// OptOut is an id that an operator lists as opted out.
type OptOut struct {
	ID      ID
	SinceMS int64 // Unix time in ms, as in opted_out_since
}

// Rejection is an id that was asked without getting a verdict.
type Rejection struct {
	ID     ID
	Reason Reason
}

// Answer is what an operator said of one batch. Every id of the batch that is
// in neither list was asked, the answer was authentic and complete, and the
// operator did not list it: it is clear as of AsOfMS.
type Answer struct {
	OptedOut []OptOut
	Rejected []Rejection
	AsOfMS   int64 // Unix time in ms at which the operator answered
}

// Receipt says what applying the flags did to one unit.
type Receipt struct {
	Table         string `json:"table"`
	Unit          string `json:"unit"`
	VersionBefore string `json:"version_before"`
	VersionAfter  string `json:"version_after"`
	Changed       bool   `json:"changed"`                // false: not one byte was written
	Rows          int64  `json:"rows"`                   // cells of the id column, as Scan gives them
	Nulls         int64  `json:"nulls"`                  // of them NULL
	OptedOut      int64  `json:"rows_opted_out"`         // rows of which an id is opted out
	Flagged       int64  `json:"rows_flagged"`           // rows with a flag afterwards
	NewlyFlagged  int64  `json:"rows_new"`               // had no flag before
	MovedEarlier  int64  `json:"rows_earlier"`           // had a later flag before
	Cleared       int64  `json:"rows_cleared,omitempty"` // had a flag that an unflag took away; never in a run
	Kept          int64  `json:"rows_flag_kept"`         // flag from before whose id is not in the opted-out set
	Confirmed     int64  `json:"rows_confirmed"`         // flags counted by reading the new file back
	BytesBefore   int64  `json:"bytes_before"`
	BytesAfter    int64  `json:"bytes_after"`

	// Names the opted-out ids of the unit with their times, under the key of
	// the pseudonyms. Carried: the unit is as an earlier receipt with the same
	// Hits left it, so its counts of rows are that receipt's, and only its
	// flags were read and counted again.
	Hits    string `json:"hits,omitempty"`
	Carried bool   `json:"carried,omitempty"`

	Removed int64  `json:"rows_removed,omitempty"` // opted-out rows that are no longer there
	Job     string `json:"job,omitempty"`          // id of the job that changed the unit
	Billed  int64  `json:"bytes_billed,omitempty"` // for it
	Staged  string `json:"staged,omitempty"`       // where the changes were staged; opaque
}

// RowTimes passes on which rows of a unit hold an id that is opted out, from
// row first on and n of them, in order and with the earliest time at which that
// id was (Unix ms), and counts the rows that are NULL. It may be called
// concurrently and always tells the same.
type RowTimes = func(ctx context.Context, first, n int64, optedOut func(row, sinceMS int64)) (nulls int64, err error)
