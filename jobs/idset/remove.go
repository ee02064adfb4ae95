package idset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// FindInList looks an id up in the suppression list at path; first is as in
// OpenList. The whole list is read, so that its digest is known.
func FindInList(ctx context.Context, path string, first bool, id schemas.ID) (found *Entry, info ListInfo, err error) {
	l, err := OpenList(path, first)
	if err != nil {
		return nil, ListInfo{}, err
	}
	defer l.Close()
	err = l.each(ctx, func(e Entry) error {
		if e.ID == id {
			found = &e
		}
		return nil
	})
	return found, ListInfo{Total: l.Len(), Digest: l.Digest()}, err
}

// ListRemoval says which id a list loses.
type ListRemoval struct {
	Disk durable.Disk
	Old  string // the list so far
	ID   schemas.ID
	New  string // where the result goes
}

// RemoveFromList writes a list without one id, whole or not at all. It is the
// only way in which an id ever leaves a list.
func RemoveFromList(ctx context.Context, r ListRemoval) (ListInfo, error) {
	old, err := OpenList(r.Old, false)
	if err != nil {
		return ListInfo{}, err
	}
	defer old.Close()
	sum := sha256.New()
	out, err := create(r.Disk, r.New, listKind, sum)
	if err != nil {
		return ListInfo{}, err
	}
	defer out.discard()
	record := make([]byte, 0, listWidth)
	if err := old.each(ctx, func(e Entry) error {
		if e.ID == r.ID {
			return nil
		}
		record = e.appendTo(record[:0])
		return out.append(record)
	}); err != nil {
		return ListInfo{}, err
	}
	written, err := out.publish()
	if err != nil {
		return ListInfo{}, err
	}
	return ListInfo{Total: written.IDs, Digest: hex.EncodeToString(sum.Sum(nil)), Previous: old.Digest()}, nil
}
