package idset

import (
	"context"
	"errors"
	"io"

	"optsweep/schemas"
)

// HoldsAny tells whether the file of ids at path, which a Builder has written,
// holds an id of set. It reads no further than the first one.
func HoldsAny(ctx context.Context, path string, set *OptedOut) (bool, error) {
	f, err := open(path, idKind)
	if err != nil {
		return false, err
	}
	c := newCursor(f)
	defer c.close()
	for {
		if err := errors.Join(ctx.Err(), c.fill()); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		for ; len(c.rest) > 0; c.rest = c.rest[idWidth:] {
			if _, ok := set.SinceID(schemas.ID(c.rest)); ok {
				return true, nil
			}
		}
	}
}
