package prove

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// history is what the ledger says about an id and the units that hold it.
type history struct {
	runs     []*run // oldest first
	list     schemas.SuppressionUpdated
	unflags  []unflag // oldest first
	receipts map[unitKey][]receipt
	cut      *ledger.Cut // why the ledger does not begin with event 1; nil: it does

	own         ownHistory
	ownListings []schemas.ProofOwnListing // entries of the id on own lists in force
}

// unflag is an act of taking the id off the list; seq is its last event.
type unflag struct {
	schemas.ProofUnflag
	seq int64
}

type unitKey struct{ table, unit string }

// run is what the ledger says of one run.
type run struct {
	id        string
	seq       int64 // of its first event
	started   time.Time
	dry       bool
	extracted bool
	checked   *schemas.Checked
	answer    string            // once it is known
	own       []schemas.OwnList // that it applied
}

// receipt is one of a unit that holds the id.
type receipt struct {
	schemas.ProofReceipt
	run       *run
	reapplied bool // of flags that were known before the run
}

// readHistory verifies the ledger and keeps what concerns the id of p and its
// units.
func readHistory(l sweep.Layout, p schemas.Proof) (*history, error) {
	h := &history{receipts: map[unitKey][]receipt{}}
	for _, u := range p.Units {
		h.receipts[unitKey{u.Table, u.Unit}] = nil
	}
	byID := map[string]*run{}
	end, err := ledger.Read(l.Ledger(), func(e schemas.Event) error {
		if e.Type == schemas.EventRunStarted {
			byID[e.Run] = &run{id: e.Run, seq: e.Seq}
			h.runs = append(h.runs, byID[e.Run])
		}
		if err := h.add(e, byID[e.Run], p.Pseudonym); err != nil {
			return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
		}
		return nil
	})
	h.cut = end.Cut
	return h, err
}

func (h *history) add(e schemas.Event, r *run, pseudonym string) error {
	if err := h.own.add(e, pseudonym); err != nil {
		return err
	}
	switch e.Type {
	case schemas.EventSuppressionUpdated:
		var v schemas.SuppressionUpdated
		err := json.Unmarshal(e.Data, &v)
		if !v.Preview {
			h.list = v
		}
		return err
	case schemas.EventLedgerCut:
		var v schemas.LedgerCut
		err := json.Unmarshal(e.Data, &v)
		if v.Kept.List != nil {
			h.list = *v.Kept.List
		}
		return err
	case schemas.EventUnflagStarted, schemas.EventUnflagged:
		var v schemas.Unflagged
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return err
		}
		if v.Pseudonym == pseudonym {
			h.unflag(e, v)
		}
		return nil
	}
	if r == nil {
		return nil // an event of no run
	}
	switch e.Type {
	case schemas.EventRunStarted:
		var v schemas.RunStarted
		err := json.Unmarshal(e.Data, &v)
		r.started, r.dry = e.Time, v.DryRun
		return err
	case schemas.EventOwnLists:
		var v schemas.OwnLists
		err := json.Unmarshal(e.Data, &v)
		r.own = v.Lists
		return err
	case schemas.EventExtracted:
		r.extracted = true
	case schemas.EventChecked:
		r.checked = new(schemas.Checked)
		return json.Unmarshal(e.Data, r.checked)
	case schemas.EventTableApplied, schemas.EventTableReapplied:
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil || r.dry {
			return err
		}
		for _, x := range v.Receipts {
			key := unitKey{x.Table, x.Unit}
			if before, wanted := h.receipts[key]; wanted {
				h.receipts[key] = append(before, receipt{
					ProofReceipt: schemas.ProofReceipt{Run: e.Run, At: e.Time, VersionBefore: x.VersionBefore, VersionAfter: x.VersionAfter, Changed: x.Changed},
					run:          r, reapplied: e.Type == schemas.EventTableReapplied,
				})
			}
		}
	}
	return nil
}

// gap says what of the ledger retention has removed; empty if nothing.
func (h *history) gap() string {
	if h.cut == nil {
		return ""
	}
	return fmt.Sprintf("runs and unflags until %s: retention has removed events 1 to %d of the ledger, so what they did cannot be told",
		h.cut.Until.Format(time.RFC3339), h.cut.Last.Seq)
}

// unflag keeps an unflag once: begun, or begun and completed.
func (h *history) unflag(e schemas.Event, v schemas.Unflagged) {
	u := unflag{seq: e.Seq, ProofUnflag: schemas.ProofUnflag{At: e.Time, Unflagged: v, Complete: e.Type == schemas.EventUnflagged}}
	if n := len(h.unflags); u.Complete && n > 0 && !h.unflags[n-1].Complete {
		h.unflags = h.unflags[:n-1]
	}
	h.unflags = append(h.unflags, u)
}

// listed tells whether the id was on the list whose flags a receipt is about.
// What a run did about the id decides; of a run whose records are gone, the
// times of the operator's answers tell.
func (h *history) listed(r *run, reapplied bool, listing *schemas.ProofListing) bool {
	if h.ownListed(r) {
		return true
	}
	switch r.answer {
	case schemas.AnswerOptedOut:
		return !reapplied // those flags were known before the run
	case schemas.AnswerKnown:
		return true
	case schemas.AnswerClear, schemas.AnswerUnverifiable:
		return false
	}
	found, since := int64(0), int64(0) // since: after which event of the ledger
	for _, u := range h.unflags {
		if u.Complete && u.seq > r.seq && found == 0 {
			found = u.FoundMS // what was on the list until then
		}
		if u.Complete && u.seq < r.seq {
			since = u.seq
		}
	}
	if found == 0 && listing != nil && (len(h.unflags) == 0 || since == h.unflags[len(h.unflags)-1].seq) {
		found = listing.FoundMS
	}
	latest := r.started.UnixMilli()
	if r.checked != nil && r.checked.NewestMS > 0 {
		latest = r.checked.NewestMS
	}
	return found > 0 && found <= latest
}

// flags says of every unit since which receipt the flag is there: the versions
// of receipts in a row fit together, so no other program wrote between them. If
// the first one that retention has left already found the flag, the one that
// wrote it is gone.
func (h *history) flags(listing *schemas.ProofListing, units []schemas.ProofUnit) {
	for i := range units {
		u := &units[i]
		version := u.Version
		receipts := h.receipts[unitKey{u.Table, u.Unit}]
		for _, r := range receipts {
			r.Listed = h.listed(r.run, r.reapplied, listing)
			u.Receipts = append(u.Receipts, r.ProofReceipt)
		}
		for n := len(receipts) - 1; n >= 0 && u.Count > u.Misspelt; n-- {
			r := &u.Receipts[n]
			if r.VersionAfter != version || !r.Listed || h.unflaggedSince(receipts[n].run) {
				break
			}
			u.FlaggedBy = r
			version = r.VersionBefore
		}
		if h.cut != nil && u.FlaggedBy != nil && u.FlaggedBy == &u.Receipts[0] && !u.FlaggedBy.Changed {
			u.FlaggedBefore, u.FlaggedBy = u.FlaggedBy.At, nil
		}
	}
}

// unflaggedSince tells whether the id was taken off the list after a run. Where
// flags stand beside the table, the version of a unit does not tell.
func (h *history) unflaggedSince(r *run) bool {
	return slices.ContainsFunc(h.unflags, func(u unflag) bool { return u.Complete && u.seq > r.seq })
}
