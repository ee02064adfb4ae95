// Package prove tells all that a workspace and the tables of a job know about
// one id: where it stands, when it was asked about, what was answered, and when
// it was flagged. It only reads, and does not need the workspace's lease.
//
// What is said of a run rests on three things that are checked against each
// other: the run's sorted ids, the receipts of its batches, which carry a
// digest of their ids, and the ledger, which carries the hash of those
// receipts. What retention has removed is told as a gap.
package prove

import (
	"context"
	"time"

	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Table is a table to search.
type Table struct {
	Name   string
	Source sweep.Source
}

// Question is what is to be proven.
type Question struct {
	ID      schemas.ID
	Rules   schemas.Rules
	Tables  []Table // nil: no table is searched
	Workers int     // units searched side by side
	Now     func() time.Time
}

// Ask answers a question out of a workspace. A unit that cannot be read is told
// in the proof; the error is for what must not be passed over, such as a ledger
// that was changed.
func Ask(ctx context.Context, l sweep.Layout, q Question) (schemas.Proof, error) {
	if err := l.Check(); err != nil {
		return schemas.Proof{}, err
	}
	names, err := l.Pseudonyms()
	if err != nil {
		return schemas.Proof{}, err
	}
	p := schemas.Proof{
		Schema: schemas.ProofSchema, Pseudonym: names.ID(q.ID), MadeAt: q.Now().UTC().Truncate(time.Millisecond),
		Unflagged: []schemas.ProofUnflag{}, Runs: []schemas.ProofRun{}, Units: []schemas.ProofUnit{}, Gaps: []string{},
	}
	if q.Tables != nil {
		if p.Scan, p.Units, err = scan(ctx, q); err != nil {
			return schemas.Proof{}, err
		}
	} else {
		p.Gaps = append(p.Gaps, "the tables were not searched (--no-scan)")
	}
	h, err := readHistory(l, p)
	if err != nil {
		return schemas.Proof{}, err
	}
	a := asker{ctx: ctx, layout: l, history: h, id: q.ID, pseudonym: p.Pseudonym}
	if p.Listing, err = a.listing(); err != nil {
		return schemas.Proof{}, err
	}
	if h.ownListings, err = a.ownListings(); err != nil {
		return schemas.Proof{}, err
	}
	p.OwnLists = h.ownListings
	if p.Runs, err = a.runs(); err != nil {
		return schemas.Proof{}, err
	}
	for _, u := range h.unflags {
		p.Unflagged = append(p.Unflagged, u.ProofUnflag)
	}
	h.flags(p.Listing, p.Units)
	if gap := h.gap(); gap != "" {
		p.Gaps = append(p.Gaps, gap)
	}
	p.Gaps = append(append(p.Gaps, h.own.gaps()...), a.gaps...)
	p.Seen = p.Listing != nil || len(p.OwnLists) > 0 || len(p.Unflagged) > 0 || len(p.Units) > 0 || seen(p.Runs)
	return p, nil
}

func seen(runs []schemas.ProofRun) bool {
	for _, r := range runs {
		if r.Answer != schemas.AnswerNotInData && r.Answer != schemas.AnswerNotProvable {
			return true
		}
	}
	return false
}
