package sweep

import (
	"context"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// Recounter is a Target that can count the flags of a unit without reading its
// ids.
type Recounter interface {
	// CountFlags reads all flags of the unit and counts them. It fails if the
	// unit is not at u.Version.
	CountFlags(ctx context.Context, u schemas.Unit) (int64, error)
}

// carrier finds the units whose flags need not be worked out again.
type carrier struct {
	run  *run
	left map[unitKey]schemas.Receipt // of the last finished run of the same job file
}

func (r *run) newCarrier() (*carrier, error) {
	left, err := r.past().left(r.job.Started.ConfigDigest)
	return &carrier{run: r, left: left}, err
}

// hits names the opted-out ids of a unit, their times, and what made ids of its
// cells: another version of this program works everything out anew. It is empty
// if nobody will ask for it.
func (c *carrier) hits(u schemas.Unit, d unitExtracted, found idset.Found) string {
	if _, can := c.run.target(u.Table).(Recounter); !can || d.Reading == "" {
		return ""
	}
	return c.run.deps.Workspace.Pseudonyms.Set(append(found.Digest[:], d.Reading...))
}

// may tells whether a unit might be one of these.
func (c *carrier) may(u schemas.Unit) bool {
	if c == nil {
		return false
	}
	before := c.left[keyOf(u)]
	return before.VersionAfter == u.Version && before.Hits != ""
}

// carry makes the receipt of a unit that an earlier run has left at its present
// version, with flags for exactly the opted-out ids that it holds now. Which
// rows hold them cannot have changed since, and the flags are read once more.
func (c *carrier) carry(ctx context.Context, u schemas.Unit, d unitExtracted, hits string) (receipt schemas.Receipt, ok bool) {
	before := c.left[keyOf(u)]
	target, can := c.run.target(u.Table).(Recounter)
	if !can || !c.may(u) || before.Hits != hits ||
		before.Rows != d.Counts.Rows || before.Nulls != d.Counts.Nulls {
		return receipt, false
	}
	flags, err := target.CountFlags(ctx, u)
	if err != nil || flags != before.Flagged {
		return receipt, false // Apply will tell why
	}
	return schemas.Receipt{
		Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version,
		Rows: before.Rows, Nulls: before.Nulls, OptedOut: before.OptedOut, Kept: before.Kept,
		Flagged: flags, Confirmed: flags, BytesBefore: before.BytesAfter, BytesAfter: before.BytesAfter,
		Hits: hits, Carried: true,
	}, true
}
