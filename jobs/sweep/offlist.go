package sweep

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// ownListings finds an id on the own lists.
func (w *Workspace) ownListings(ctx context.Context, id schemas.ID) ([]schemas.OwnListing, error) {
	return Layout(w.dir).OwnListings(ctx, w.OwnLists(), id)
}

// OwnListings finds an id on lists, which must be those that the ledger knows.
func (l Layout) OwnListings(ctx context.Context, lists []schemas.OwnList, id schemas.ID) (found []schemas.OwnListing, err error) {
	for _, own := range lists {
		e, info, err := idset.FindInList(ctx, l.OwnList(own), false, id)
		if err != nil {
			return nil, err
		}
		if err := sameOwn(own.Source, info.Digest, own.Digest); err != nil {
			return nil, err
		}
		if e != nil {
			found = append(found, schemas.OwnListing{Source: own.Source, SinceMS: e.SinceMS, FoundMS: e.FoundMS})
		}
	}
	return found, nil
}

// mayLeave refuses to take an id off own lists that were not named: each is a
// record of its own that the person opted out.
func (w *Workspace) mayLeave(listed []schemas.OwnListing, named []string) error {
	for _, source := range named {
		if _, ok := w.own[source]; !ok {
			return w.noSuchSource()
		}
	}
	var kept, all []string
	for _, l := range listed {
		all = append(all, "--off-list "+l.Source)
		if !slices.Contains(named, l.Source) {
			kept = append(kept, fmt.Sprintf("%s (%s)", l.Source, w.own[l.Source].Basis))
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return schemas.Errorf(schemas.Usage, "the id is on your own suppression list %s", strings.Join(kept, ", ")).
		WithHint("nothing was changed; if that record is wrong too, name each list: %s", strings.Join(all, " "))
}

// leaveOwn brings own lists without the id into force.
func (w *Workspace) leaveOwn(ctx context.Context, id schemas.ID, listed []schemas.OwnListing) error {
	for _, l := range listed {
		if err := w.fence.Check(); err != nil {
			return err
		}
		before := w.own[l.Source].OwnList
		file := filepath.Join(ownDir, fmt.Sprintf("%s.%d.ids", l.Source, w.ledger.Head().Seq+1))
		info, err := idset.RemoveFromList(ctx, idset.ListRemoval{Disk: w.disk, Old: w.ownPath(before), ID: id, New: filepath.Join(w.dir, file)})
		if err != nil {
			return err
		}
		if err := sameOwn(l.Source, info.Previous, before.Digest); err != nil {
			return err
		}
		if err := w.append("", schemas.EventOwnListEdited, schemas.OwnListEdited{
			Pseudonym: w.Pseudonyms.ID(id), Source: l.Source, File: filepath.ToSlash(file), Total: info.Total, Digest: info.Digest,
			Previous: info.Previous, SinceMS: l.SinceMS, FoundMS: l.FoundMS,
		}); err != nil {
			return err
		}
		if err := w.pruneOwn(before); err != nil {
			return err
		}
	}
	return nil
}
