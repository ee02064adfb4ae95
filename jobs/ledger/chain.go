// Package ledger keeps append-only, hash-chained event logs and the leases
// that make sure that only one run writes to them.
//
// A log is a text file with one event a line:
//
//	{"hash":"<SHA-256 of the event's bytes>","event":{"seq":1,...,"prev":"<hash of the line before>"}}
//
// Every line is synced before Append returns. A line that a crash cut short is
// dropped when the log is opened; a whole line that does not fit the chain is
// reported as tampering and nothing is written behind it.
package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// line is the envelope of an event on disk.
type line struct {
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

// Chain is a log open for appending. It is not safe for concurrent use.
type Chain struct {
	log  *durable.Log
	path string
	now  func() time.Time
	seq  int64
	head string
}

// Create makes a new, empty log. It fails if there is one already.
func Create(disk durable.Disk, path string, now func() time.Time) (*Chain, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create %s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	log, err := disk.OpenLog(path, 0, true)
	if err != nil {
		return nil, err
	}
	return &Chain{log: log, path: path, now: now}, nil
}

// Open verifies the log at path, passes every event to each (which may be
// nil), drops a last line that a crash cut short, and opens it for appending.
// A missing log is an error: its history would be lost without a word.
func Open(disk durable.Disk, path string, now func() time.Time, each func(schemas.Event) error) (*Chain, error) {
	end, err := Read(path, each)
	if err != nil {
		return nil, err
	}
	log, err := disk.OpenLog(path, end.Size, false)
	if err != nil {
		return nil, err
	}
	return &Chain{log: log, path: path, now: now, seq: end.Seq, head: end.Hash}, nil
}

// OpenOrCreate opens the log at path, or makes it where a run's own journal
// does not exist yet.
func OpenOrCreate(disk durable.Disk, path string, now func() time.Time, each func(schemas.Event) error) (*Chain, error) {
	c, err := Open(disk, path, now, each)
	if errors.Is(err, fs.ErrNotExist) {
		return Create(disk, path, now)
	}
	return c, err
}

// Append adds an event and returns it once it is durable. After an error
// nothing more can be appended: whether the event is stored shows when the log
// is opened again.
func (c *Chain) Append(run string, typ schemas.EventType, data any) (schemas.Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return schemas.Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	event := schemas.Event{
		Seq: c.seq + 1, Time: c.now().UTC().Truncate(time.Millisecond),
		Run: run, Type: typ, Prev: c.head, Data: raw,
	}
	body, err := json.Marshal(event)
	if err != nil {
		return schemas.Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	hash := hashOf(body)
	record, err := json.Marshal(line{Hash: hash, Event: body})
	if err != nil {
		return schemas.Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	if err := c.log.Append(append(record, '\n')); err != nil {
		return schemas.Event{}, err
	}
	c.seq++
	c.head = hash
	return event, nil
}

// Head is the hash of the last event, which stands for the whole log.
func (c *Chain) Head() string { return c.head }

// Close closes the file.
func (c *Chain) Close() error { return c.log.Close() }

func hashOf(event []byte) string {
	sum := sha256.Sum256(event)
	return hex.EncodeToString(sum[:])
}

// End is where a verified log ends.
type End struct {
	Seq  int64
	Hash string // of the last event
	Size int64  // bytes up to and including the last whole line
	Torn bool   // a line that a crash cut short follows
}

// maxLine bounds the memory that one line of a damaged log can take.
const maxLine = 1 << 30

// Read verifies the log at path without changing it and passes every event to
// each, which may be nil.
func Read(path string, each func(schemas.Event) error) (End, error) {
	f, err := os.Open(path)
	if err != nil {
		return End{}, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var end End
	for {
		raw, err := readLine(r)
		if errors.Is(err, io.EOF) {
			end.Torn = len(raw) > 0
			return end, nil
		}
		if err != nil {
			return End{}, fmt.Errorf("%s: %w", path, err)
		}
		event, hash, err := parseLine(raw, end)
		if err != nil {
			return End{}, schemas.Errorf(schemas.Integrity, "%s: line %d: %v", path, end.Seq+1, err).
				WithHint("the log was changed or damaged after it was written; restore it from a copy, nothing was written to it")
		}
		if each != nil {
			if err := each(event); err != nil {
				return End{}, err
			}
		}
		end.Seq, end.Hash = event.Seq, hash
		end.Size += int64(len(raw))
	}
}

// readLine returns a line with its line break. With io.EOF it returns what
// stands behind the last line break.
func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		whole = append(whole, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return whole, err
		}
		if len(whole) > maxLine {
			return nil, errors.New("a line is too long")
		}
	}
}

func parseLine(raw []byte, end End) (schemas.Event, string, error) {
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return schemas.Event{}, "", errors.New("not a line of a ledger")
	}
	// The line must be the only spelling of itself, or two logs with different
	// bytes could carry the same hashes.
	again, err := json.Marshal(l)
	if err != nil || !bytes.Equal(append(again, '\n'), raw) {
		return schemas.Event{}, "", errors.New("not a line of a ledger")
	}
	if hashOf(l.Event) != l.Hash {
		return schemas.Event{}, "", errors.New("the hash does not fit the event")
	}
	var e schemas.Event
	if err := json.Unmarshal(l.Event, &e); err != nil {
		return schemas.Event{}, "", errors.New("not an event")
	}
	if e.Seq != end.Seq+1 || e.Prev != end.Hash {
		return schemas.Event{}, "", fmt.Errorf("event %d does not follow event %d", e.Seq, end.Seq)
	}
	return e, l.Hash, nil
}
