// Package ledger keeps append-only, hash-chained event logs and the leases
// that make sure that only one run writes to them.
//
// A log is a text file with one event a line:
//
//	{"hash":"<SHA-256 of the event's bytes>","event":{"seq":1,...,"prev":"<hash of the line before>"}}
//
// Every line is synced before Append returns. A line that a crash cut short is
// dropped when the log is opened; a whole line that does not fit the chain is
// reported as tampering and nothing is written behind it. Retention may remove
// the first lines: a later line says so, and names the last of them by its hash.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// The envelope of an event on disk, around its hash and the event.
const (
	lineStart  = `{"hash":"`
	lineMiddle = `","event":`
	lineEnd    = "}\n"
	dataKey    = `,"data":` // before the last field of an event
)

// spell writes an event with data, which json.Marshal has written: marshalling
// both together would read the data three times more.
func spell(event schemas.Event, data []byte) ([]byte, error) {
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	body = slices.Grow(body[:len(body)-1], len(dataKey)+len(data)+1)
	return append(append(append(body, dataKey...), data...), '}'), nil
}

// Chain is a log open for appending. It is not safe for concurrent use.
type Chain struct {
	log    *durable.Log
	disk   durable.Disk
	path   string
	now    func() time.Time
	head   Head
	broken error // set once the log may be another file
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
	return &Chain{log: log, disk: disk, path: path, now: now}, nil
}

// Open verifies the log at path, passes every event to each (which may be
// nil), drops a last line that a crash cut short, and opens it for appending.
// A missing log is an error: its history would be lost without a word.
func Open(disk durable.Disk, path string, now func() time.Time, each func(schemas.Event) error) (*Chain, error) {
	return OpenFrom(disk, path, now, Head{}, each)
}

// OpenFrom is Open for a log that is known to have held an event: a log that
// no longer does is an error of class Integrity, and is not changed.
func OpenFrom(disk durable.Disk, path string, now func() time.Time, known Head, each func(schemas.Event) error) (*Chain, error) {
	end, err := readFrom(path, known, each)
	if err != nil {
		return nil, err
	}
	log, err := disk.OpenLog(path, end.Size, false)
	if err != nil {
		return nil, err
	}
	return &Chain{log: log, disk: disk, path: path, now: now, head: end.Head}, nil
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
	events, err := c.AppendAll(run, []Entry{{typ, data}})
	if err != nil {
		return schemas.Event{}, err
	}
	return events[0], nil
}

// Entry is an event to append.
type Entry struct {
	Type schemas.EventType
	Data any
}

// AppendAll is Append for several events, which are synced together. After a
// crash some of the first ones may be stored, without the others.
func (c *Chain) AppendAll(run string, entries []Entry) ([]schemas.Event, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	events := make([]schemas.Event, len(entries))
	head, lines := c.head, []byte(nil)
	for i, e := range entries {
		raw, err := json.Marshal(e.Data)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.Type, err)
		}
		event := schemas.Event{
			Seq: head.Seq + 1, Time: c.now().UTC().Truncate(time.Millisecond),
			Run: run, Type: e.Type, Prev: head.Hash,
		}
		body, err := spell(event, raw)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.Type, err)
		}
		event.Data = raw
		events[i] = event
		head = Head{Seq: event.Seq, Hash: hashOf(body)}
		lines = append(lines, lineStart...)
		lines = append(lines, head.Hash...)
		lines = append(lines, lineMiddle...)
		lines = append(lines, body...)
		lines = append(lines, lineEnd...)
	}
	if err := c.log.Append(lines); err != nil {
		return nil, err
	}
	c.head = head
	return events, nil
}

// Head is the last event, which stands for the whole log.
func (c *Chain) Head() Head { return c.head }

// Close closes the file.
func (c *Chain) Close() error { return c.log.Close() }

func hashOf(event []byte) string {
	sum := sha256.Sum256(event)
	return hex.EncodeToString(sum[:])
}
