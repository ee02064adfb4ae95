package idset

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// A file of kind rowKind tells of each row of a unit, in the order of the rows,
// which id it holds: its key, which are bytes 4 to 11 of it, by which ids are
// sorted first, or one of these numbers.
const (
	nullKey   = 0 // NULL
	badKey    = 1 // no valid id, or one with such a number for a key: no Finder has hits with one
	firstKey  = 2
	rowsWidth = 8
)

// rowKey is what stands for an id in a file of kind rowKind.
func rowKey(id *schemas.ID) uint64 { return max(keyOf(id[:]), badKey) }

// keyOf is the key of an id.
func keyOf(id []byte) uint64 { return binary.BigEndian.Uint64(id[keyAt:]) }

// RowWriter writes which row of a unit holds which id, as a Collector takes
// them in. What it leaves is only good for units whose cells come in the order
// of their rows, one for each, or part by part, side by side; of others it leaves
// nothing.
type RowWriter struct {
	disk  durable.Disk
	path  string
	out   *output // nil before the first row
	rows  int64
	later map[int64][]byte // keys that came before those of earlier rows, by their first row
	room  int              // bytes that later may still take
	unfit bool
}

// maxLater is how many bytes of keys may wait for those of earlier rows: those
// of a row group or two.
const maxLater = 32 << 20

// NewRowWriter makes a RowWriter of a file at path. Discard it.
func NewRowWriter(disk durable.Disk, path string) *RowWriter {
	return &RowWriter{disk: disk, path: path, later: map[int64][]byte{}, room: maxLater}
}

// add takes in the keys of cells. Parts of a unit may come side by side: what is
// ahead of the others waits, as far as there is room.
func (w *RowWriter) add(cells schemas.Cells, keys []byte) error {
	if w.unfit || len(cells.Values) == 0 {
		return nil
	}
	_, twice := w.later[cells.First]
	if len(cells.At) > 0 || cells.Counts != nil || cells.First < w.rows || twice || cells.First > w.rows && len(keys) > w.room {
		w.unfit, w.later = true, nil
		w.Discard()
		return nil
	}
	if cells.First > w.rows {
		w.later[cells.First] = bytes.Clone(keys)
		w.room -= len(keys)
		return nil
	}
	if err := w.append(keys); err != nil {
		return err
	}
	for next, ok := w.later[w.rows]; ok; next, ok = w.later[w.rows] {
		delete(w.later, w.rows)
		w.room += len(next)
		if err := w.append(next); err != nil {
			return err
		}
	}
	return nil
}

func (w *RowWriter) append(keys []byte) (err error) {
	if w.out == nil {
		if w.out, err = create(w.disk, w.path, rowKind, nil); err != nil {
			return err
		}
	}
	w.rows += int64(len(keys) / rowsWidth)
	return w.out.append(keys)
}

// Publish puts the file in place and returns the digest of what it holds, which
// is empty if there is no file.
func (w *RowWriter) Publish() (digest string, err error) {
	if w.unfit || w.out == nil || len(w.later) > 0 {
		w.Discard()
		return "", nil
	}
	info, err := w.out.publish()
	return info.Digest, err
}

// Discard drops the file unless it was published.
func (w *RowWriter) Discard() {
	if w.out != nil {
		w.out.discard()
	}
}

// Hits are the ids of a set that a file of ids holds, each with a key that no
// other id of that file has: its rows are found by it. They may be used
// concurrently, while nothing is added to the set.
type Hits struct {
	set   *OptedOut
	slots []uint32 // numbers of ids in set, plus 1, at most half of them in use
	bloom []uint64 // a bit for each key
	shift int      // of a hash, to its slot
}

// bloomShift makes 16 bits out of a slot or two.
const bloomShift = 3

func newHits(set *OptedOut, numbers []uint32) *Hits {
	width := max(bits.Len(uint(2*len(numbers))), 4)
	h := &Hits{set: set, slots: make([]uint32, 1<<width), bloom: make([]uint64, 1<<(width+bloomShift-6)), shift: 64 - width}
	for _, n := range numbers {
		hash := hashKey(keyOf(set.ids[n][:]))
		at := hash >> h.shift
		for h.slots[at] != 0 {
			at = (at + 1) & uint64(len(h.slots)-1)
		}
		h.slots[at] = n + 1
		bit := hash >> (h.shift - bloomShift)
		h.bloom[bit/64] |= 1 << (bit % 64)
	}
	return h
}

// hashKey spreads keys over the high bits.
func hashKey(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 }

// find looks up the id with a key.
func (h *Hits) find(key uint64) (sinceMS int64, ok bool) {
	hash := hashKey(key)
	for at := hash >> h.shift; h.slots[at] != 0; at = (at + 1) & uint64(len(h.slots)-1) {
		if n := h.slots[at] - 1; keyOf(h.set.ids[n][:]) == key {
			return h.set.since[n], true
		}
	}
	return 0, false
}

// maybe is 0 for most keys that find will not find, and 1 for all others.
func (h *Hits) maybe(key uint64) int {
	bit := hashKey(key) >> (h.shift - bloomShift)
	return int(h.bloom[bit/64&uint64(len(h.bloom)-1)] >> (bit % 64) & 1)
}

// RowIndex is a file of a RowWriter, open for reading. It may be used
// concurrently.
type RowIndex struct{ *file }

// OpenRows opens the file at path. Close it.
func OpenRows(path string) (*RowIndex, error) {
	f, err := open(path, rowKind)
	if err != nil {
		return nil, err
	}
	return &RowIndex{f}, nil
}

// Rows is the number of rows.
func (x *RowIndex) Rows() int64 { return x.count }

// Digest names what the file holds, as Publish does.
func (x *RowIndex) Digest() string { return x.info().Digest }

// Close closes the file.
func (x *RowIndex) Close() { x.close() }

// Each passes the rows from first on, n of them, that hold one of hits to use,
// in order, each with the time of its id, and counts those that are NULL. What
// it reads is checked.
func (x *RowIndex) Each(ctx context.Context, hits *Hits, first, n int64, use func(row, sinceMS int64)) (nulls int64, err error) {
	if first < 0 || n < 0 || n > x.count-first {
		return 0, x.damaged("it does not hold rows %d to %d", first, first+n)
	}
	c := newCursor(x.file)
	if n == 0 {
		return 0, nil
	}
	if err := c.seek(first); err != nil {
		return 0, err
	}
	for end := first + n; first < end; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
		keys := c.rest[:min(int64(len(c.rest)), (end-first)*rowsWidth)]
		c.rest = c.rest[len(keys):]
		// First what may be a hit, without branches that depend on the data.
		var maybe [blockRecords]uint16
		some := 0
		for i := range len(keys) / rowsWidth {
			key := binary.BigEndian.Uint64(keys[i*rowsWidth:])
			nulls += int64(^key & (key - 1) >> 63) // 1 if it is nullKey
			maybe[some] = uint16(i)
			some += hits.maybe(key)
		}
		for _, i := range maybe[:some] {
			if since, ok := hits.find(binary.BigEndian.Uint64(keys[int(i)*rowsWidth:])); ok {
				use(first+int64(i), since)
			}
		}
		first += int64(len(keys) / rowsWidth)
	}
	return nulls, nil
}

// VerifyRows checks every byte of the file of rows at path and returns its
// number of rows and its digest.
func VerifyRows(ctx context.Context, path string) (rows int64, digest string, err error) {
	x, err := OpenRows(path)
	if err != nil {
		return 0, "", err
	}
	defer x.Close()
	return x.Rows(), x.Digest(), copyRecords(ctx, x.file, func([]byte) error { return nil })
}
