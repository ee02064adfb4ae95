package idset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Entry is a line of the suppression list: an id that was ever found opted
// out.
type Entry struct {
	ID      schemas.ID
	SinceMS int64 // Unix ms: the earliest opted_out_since that an operator gave
	FoundMS int64 // Unix ms: when optsweep first learned of it
}

func (e *Entry) appendTo(dst []byte) []byte {
	dst = append(dst, e.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.SinceMS))
	return binary.BigEndian.AppendUint64(dst, uint64(e.FoundMS))
}

func parseEntry(record []byte) Entry {
	return Entry{
		ID:      schemas.ID(record),
		SinceMS: int64(binary.BigEndian.Uint64(record[schemas.IDSize:])),
		FoundMS: int64(binary.BigEndian.Uint64(record[schemas.IDSize+8:])),
	}
}

// join keeps the earliest of both times.
func (e Entry) join(other Entry) Entry {
	e.SinceMS = min(e.SinceMS, other.SinceMS)
	e.FoundMS = min(e.FoundMS, other.FoundMS)
	return e
}

// ListInfo describes a suppression list.
type ListInfo struct {
	Total        int64  `json:"total"`
	Added        int64  `json:"added"`         // ids that the list before did not have
	MovedEarlier int64  `json:"moved_earlier"` // ids it had with a later since
	Digest       string `json:"digest"`        // SHA-256 of the file, hexadecimal
	Previous     string `json:"previous"`      // the same of the list before; empty if there was none
}

// List reads a suppression list in order.
type List struct {
	cur  *cursor // nil for a list that does not exist yet
	hash hash.Hash
	sum  string // set at the end
}

// OpenList opens the suppression list at path. A missing file is an error,
// since without the list earlier opt-outs would be forgotten; only with first
// set does it count as an empty list.
func OpenList(path string, first bool) (*List, error) {
	f, err := open(path, listKind)
	switch {
	case errors.Is(err, fs.ErrNotExist) && first:
		return &List{}, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, schemas.Errorf(schemas.Failed, "the suppression list is missing: %w", err).
			WithHint("put it back from a backup; only the first run of a workspace starts without one")
	case err != nil:
		return nil, err
	}
	l := &List{cur: newCursor(f), hash: sha256.New()}
	l.hash.Write(f.kind.header())
	return l, nil
}

// Len is the number of entries.
func (l *List) Len() int64 {
	if l.cur == nil {
		return 0
	}
	return l.cur.count
}

// Next fills dst with the next entries. It gives fewer only at the end of the
// list, and 0 with io.EOF after it.
func (l *List) Next(dst []Entry) (n int, err error) {
	for ; n < len(dst); n++ {
		err := l.fill()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
		dst[n] = parseEntry(l.cur.rest)
		l.cur.rest = l.cur.rest[listWidth:]
	}
	if n == 0 && len(dst) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (l *List) fill() error {
	if l.cur == nil {
		return io.EOF
	}
	if len(l.cur.rest) > 0 {
		return nil
	}
	err := l.cur.fill()
	l.hash.Write(l.cur.rest)
	if errors.Is(err, io.EOF) && l.sum == "" {
		l.hash.Write(l.cur.index)
		l.hash.Write(l.cur.trailer)
		l.sum = hex.EncodeToString(l.hash.Sum(nil))
	}
	return err
}

// Digest is the SHA-256 of the whole file, hexadecimal. It is known once Next
// has given io.EOF, and empty for a list that does not exist yet.
func (l *List) Digest() string { return l.sum }

// Close closes the file.
func (l *List) Close() {
	if l.cur != nil {
		l.cur.close()
	}
}

// each calls use for every entry, in order.
func (l *List) each(ctx context.Context, use func(Entry) error) error {
	entries := make([]Entry, blockRecords)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := l.Next(entries)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries[:n] {
			if err := use(e); err != nil {
				return err
			}
		}
	}
}

// LoadList adds the list at path to set; first is as in OpenList.
func LoadList(ctx context.Context, path string, first bool, set *OptedOut) (ListInfo, error) {
	l, err := OpenList(path, first)
	if err != nil {
		return ListInfo{}, err
	}
	defer l.Close()
	err = l.each(ctx, func(e Entry) error {
		return set.Add(schemas.OptOut{ID: e.ID, SinceMS: e.SinceMS})
	})
	return ListInfo{Total: l.Len(), Digest: l.Digest()}, err
}

// ListMerge says how a list is extended.
type ListMerge struct {
	Disk      durable.Disk
	Old       string // the list so far
	First     bool   // Old may be missing, see OpenList
	Additions []Entry
	New       string // where the result goes; may be Old
}

// MergeList writes the union of a list and additions, whole or not at all. An
// entry never gets lost, and of an id that comes more than once the earliest
// since and the earliest found are kept. Doing it again changes nothing.
func MergeList(ctx context.Context, m ListMerge) (ListInfo, error) {
	old, err := OpenList(m.Old, m.First)
	if err != nil {
		return ListInfo{}, err
	}
	defer old.Close()
	sum := sha256.New()
	out, err := create(m.Disk, m.New, listKind, sum)
	if err != nil {
		return ListInfo{}, err
	}
	defer out.discard()

	var info ListInfo
	additions := sortedEntries(m.Additions)
	record := make([]byte, 0, listWidth)
	put := func(e Entry) error {
		record = e.appendTo(record[:0])
		return out.append(record)
	}
	// add writes the additions before id, or all if id is nil.
	add := func(id *schemas.ID) error {
		for len(additions) > 0 && (id == nil || compare(&additions[0].ID, id) < 0) {
			if err := put(additions[0]); err != nil {
				return err
			}
			additions = additions[1:]
			info.Added++
		}
		return nil
	}
	if err := old.each(ctx, func(e Entry) error {
		if err := add(&e.ID); err != nil {
			return err
		}
		if len(additions) > 0 && additions[0].ID == e.ID {
			if additions[0].SinceMS < e.SinceMS {
				info.MovedEarlier++
			}
			e = e.join(additions[0])
			additions = additions[1:]
		}
		return put(e)
	}); err != nil {
		return ListInfo{}, err
	}
	if err := add(nil); err != nil {
		return ListInfo{}, err
	}
	written, err := out.publish()
	if err != nil {
		return ListInfo{}, err
	}
	info.Total = written.IDs
	info.Digest = hex.EncodeToString(sum.Sum(nil))
	info.Previous = old.Digest()
	return info, nil
}

// sortedEntries returns entries in order, each id once.
func sortedEntries(entries []Entry) []Entry {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return compare(&a.ID, &b.ID) })
	kept := sorted[:0]
	for _, e := range sorted {
		if n := len(kept); n > 0 && kept[n-1].ID == e.ID {
			kept[n-1] = kept[n-1].join(e)
			continue
		}
		kept = append(kept, e)
	}
	return kept
}
