package idset

import (
	"context"

	"optsweep/schemas"
)

// Common calls hit with the numbers of those of n ids that the file of ids at
// path holds. Both are in order. Every byte of the file is checked.
func Common(ctx context.Context, path string, n int, ids func(int) *schemas.ID, hit func(int)) error {
	f, err := open(path, idKind)
	if err != nil {
		return err
	}
	next := 0 // of the ids
	err = copyRecords(ctx, f, func(records []byte) error {
		for at, end := 0, len(records)/idWidth; at < end && next < n; {
			id := record(records[at*idWidth:])
			if next = seek(next, n, func(i int) bool { return compare(ids(i), id) < 0 }); next == n {
				break
			}
			want := ids(next)
			at = seek(at, end, func(i int) bool { return compare(record(records[i*idWidth:]), want) < 0 })
			if at < end && *record(records[at*idWidth:]) == *want {
				hit(next)
				at++
				next++
			}
		}
		return nil
	})
	f.close()
	return err
}

// seek returns the first number from at on that is not less, or end. It takes
// steps that double, so that a few ids are found fast among many.
func seek(at, end int, less func(int) bool) int {
	if at == end || !less(at) {
		return at
	}
	step := 1
	for at+step < end && less(at+step) {
		at += step
		step *= 2
	}
	low, high := at+1, min(at+step, end) // less(at); not less(high), if there is such
	for low < high {
		if mid := (low + high) / 2; less(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
