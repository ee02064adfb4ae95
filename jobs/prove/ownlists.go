package prove

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"optsweep/schemas"
)

// ownHistory is what the ledger says about own lists.
type ownHistory struct {
	inForce map[string]schemas.OwnList
	imports map[string][]schemas.OwnList // by source, oldest first
	removed []removedList
	edited  []editedEntry // that unflags have taken off
}

type editedEntry struct {
	schemas.OwnListing
	seq int64 // of the event that took it off
}

type removedList struct {
	schemas.OwnListRemoved
	at time.Time
}

// add takes an event that is an act on own lists.
func (o *ownHistory) add(e schemas.Event, pseudonym string) error {
	if o.inForce == nil {
		o.inForce, o.imports = map[string]schemas.OwnList{}, map[string][]schemas.OwnList{}
	}
	switch e.Type {
	case schemas.EventOwnListImported:
		var v schemas.OwnListImported
		err := json.Unmarshal(e.Data, &v)
		o.inForce[v.Source] = v.OwnList
		o.imports[v.Source] = append(o.imports[v.Source], v.OwnList)
		return err
	case schemas.EventOwnListEdited:
		var v schemas.OwnListEdited
		err := json.Unmarshal(e.Data, &v)
		l := o.inForce[v.Source]
		l.File, l.Total, l.Digest = v.File, v.Total, v.Digest
		o.inForce[v.Source] = l
		if v.Pseudonym == pseudonym {
			o.edited = append(o.edited, editedEntry{schemas.OwnListing{Source: v.Source, SinceMS: v.SinceMS, FoundMS: v.FoundMS}, e.Seq})
		}
		return err
	case schemas.EventOwnListRemoved:
		var v schemas.OwnListRemoved
		err := json.Unmarshal(e.Data, &v)
		delete(o.inForce, v.Source)
		o.removed = append(o.removed, removedList{v, e.Time})
		return err
	case schemas.EventLedgerCut:
		var v schemas.LedgerCut
		err := json.Unmarshal(e.Data, &v)
		for _, l := range v.Kept.OwnLists {
			if _, known := o.inForce[l.Source]; !known {
				o.inForce[l.Source] = l
				o.imports[l.Source] = append(o.imports[l.Source], l)
			}
		}
		return err
	}
	return nil
}

// ownListings finds the id on the own lists in force, and who put it there.
func (a *asker) ownListings() ([]schemas.ProofOwnListing, error) {
	var lists []schemas.OwnList
	for _, source := range slices.Sorted(maps.Keys(a.history.own.inForce)) {
		lists = append(lists, a.history.own.inForce[source])
	}
	found, err := a.layout.OwnListings(a.ctx, lists, a.id)
	if err != nil {
		return nil, err
	}
	var listings []schemas.ProofOwnListing
	for _, l := range found {
		by := a.history.own.inForce[l.Source]
		for _, earlier := range a.history.own.imports[l.Source] {
			if earlier.At == l.FoundMS {
				by = earlier
			}
		}
		listings = append(listings, schemas.ProofOwnListing{OwnListing: l, Basis: by.Basis, User: by.User, Host: by.Host})
	}
	return listings, nil
}

// gaps says which lists are gone, so that nobody can tell whether the id was on
// them.
func (o *ownHistory) gaps() (gaps []string) {
	for _, r := range o.removed {
		gaps = append(gaps, fmt.Sprintf("the own list %s (%s) was removed at %s by %s on %s: whether it held this id, and so justified a flag", r.Source, r.Basis, r.at.Format(time.RFC3339), r.User, r.Host))
	}
	return gaps
}

// ownListed tells whether the id was on an own list that a run applied.
func (h *history) ownListed(r *run) bool {
	var entries []schemas.OwnListing
	for _, e := range h.own.edited {
		if r.seq < e.seq {
			entries = append(entries, e.OwnListing)
		}
	}
	for _, l := range h.ownListings {
		entries = append(entries, l.OwnListing)
	}
	for _, applied := range r.own {
		for _, e := range entries {
			if e.Source == applied.Source && e.FoundMS <= applied.At {
				return true
			}
		}
	}
	return false
}
