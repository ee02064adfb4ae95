package idset

import (
	"context"
	"errors"
	"io"

	"optsweep/schemas"
)

// Distinct returns entries in order, each id once, with the earliest times.
func Distinct(entries []Entry) []Entry { return sortedEntries(entries) }

// EachEntry passes the entries of the list at path to use, in order.
func EachEntry(ctx context.Context, path string, use func(Entry) error) (ListInfo, error) {
	l, err := OpenList(path, false)
	if err != nil {
		return ListInfo{}, err
	}
	defer l.Close()
	if err := l.each(ctx, use); err != nil {
		return ListInfo{}, err
	}
	return ListInfo{Total: l.Len(), Digest: l.Digest()}, ctx.Err()
}

// errFound ends a search.
var errFound = errors.New("found")

// InList finds an id in the list at path and reads no further.
func InList(ctx context.Context, path string, id schemas.ID) (found *Entry, err error) {
	_, err = EachEntry(ctx, path, func(e Entry) error {
		switch c := compare(&e.ID, &id); {
		case c == 0:
			found = &e
			return errFound
		case c > 0:
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

// EachID passes the ids of a file that a Builder has written to use, in order.
func EachID(ctx context.Context, path string, use func(schemas.ID) error) error {
	f, err := open(path, idKind)
	if err != nil {
		return err
	}
	c := newCursor(f)
	defer c.close()
	for {
		if err := errors.Join(ctx.Err(), c.fill()); errors.Is(err, io.EOF) {
			return ctx.Err()
		} else if err != nil {
			return err
		}
		for ; len(c.rest) > 0; c.rest = c.rest[idWidth:] {
			if err := use(schemas.ID(c.rest)); err != nil {
				return err
			}
		}
	}
}
