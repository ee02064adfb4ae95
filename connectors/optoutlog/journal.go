package optoutlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// JournalName is the file in which a Journal keeps entries that are in no
// delta yet. It holds plain 72-byte entries.
const JournalName = "intake.journal"

// Journal makes opt-outs that arrive one by one durable, and from time to time
// writes those it holds as a delta file. One process at a time may have it.
type Journal struct {
	opts    JournalOptions
	lock    *flock.Flock
	mu      sync.Mutex // guards next
	next    *group     // takes the entries of the next commit
	writing sync.Mutex // held by whoever writes; guards the rest
	log     *durable.Log
	held    []Entry
	since   time.Time // when the first of held came in
}

// JournalOptions say where a journal is.
type JournalOptions struct {
	Dir     string           // existing folder, for the journal and its deltas
	Replica int              // number of the producer in the names of deltas
	Now     func() time.Time // nil: time.Now
	Disk    durable.Disk
}

// group is what is committed with one write and one sync.
type group struct {
	entries []Entry
	done    chan struct{}
	err     error
}

// NewEntry makes an entry for an id whose identity hash is unknown, as it is
// for every sender of the DSP webhook. The SHA-256 of the id stands in for it:
// no two ids share it, so that no merge by identity hash drops one of them.
func NewEntry(id schemas.ID, second int64) Entry {
	return Entry{Hash: sha256.Sum256(id.Raw()), ID: id, Second: second}
}

// OpenJournal opens the journal of a folder, making it if need be, and writes
// what a killed process left in it as a delta. So a Store that loads the folder
// afterwards misses nothing. An error of class Locked means that another
// process has the journal.
func OpenJournal(opts JournalOptions) (*Journal, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	j := &Journal{opts: opts, lock: flock.New(filepath.Join(opts.Dir, "."+JournalName+".lock"), flock.SetPermissions(0o600))}
	locked, err := j.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the intake journal in %s: %w", opts.Dir, err)
	}
	if !locked {
		return nil, schemas.Errorf(schemas.Locked, "another process takes in opt-outs for %s", opts.Dir).
			WithHint("give each operator that takes in opt-outs a folder of its own")
	}
	if err := j.recover(); err != nil {
		_ = j.Close()
		return nil, fmt.Errorf("recover the intake journal in %s: %w", opts.Dir, err)
	}
	return j, nil
}

func (j *Journal) path() string { return filepath.Join(j.opts.Dir, JournalName) }

// recover reads what is in the file. Bytes at the end that are no entry with
// the hash of its own id were never acknowledged.
func (j *Journal) recover() error {
	b, err := os.ReadFile(j.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for ; len(b) >= EntrySize; b = b[EntrySize:] {
		e, kind, err := Decode((*[EntrySize]byte)(b))
		if err == nil && kind == OptOut && e.Hash == NewEntry(e.ID, e.Second).Hash {
			j.held = append(j.held, e)
		}
	}
	j.since = j.opts.Now()
	_, err = j.Rotate()
	return err
}

// Append makes entries durable: when it returns nil, they survive a power
// loss. Calls that arrive while another one writes share one write and sync.
// After an error the entries may or may not have been kept, so the caller
// must send them again.
func (j *Journal) Append(entries ...Entry) error {
	for _, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	g, leads := j.next, false
	if g == nil {
		g, leads = &group{done: make(chan struct{})}, true
		j.next = g
	}
	g.entries = append(g.entries, entries...)
	j.mu.Unlock()
	if leads {
		j.writing.Lock()
		j.mu.Lock()
		j.next = nil // whoever comes now is in the next group
		j.mu.Unlock()
		g.err = j.commit(g.entries)
		j.writing.Unlock()
		close(g.done)
	}
	<-g.done
	return g.err
}

// commit needs writing.
func (j *Journal) commit(entries []Entry) error {
	if j.log == nil {
		log, err := j.opts.Disk.OpenLog(j.path(), int64(len(j.held))*EntrySize, true)
		if err != nil {
			return fmt.Errorf("open the intake journal: %w", err)
		}
		j.log = log
	}
	b := make([]byte, 0, len(entries)*EntrySize)
	for _, e := range entries {
		b = Append(b, e)
	}
	if err := j.log.Append(b); err != nil {
		j.closeLog() // reopened, and cut back to held, by the next commit
		return fmt.Errorf("write the intake journal: %w", err)
	}
	if len(j.held) == 0 {
		j.since = j.opts.Now()
	}
	j.held = append(j.held, entries...)
	return nil
}

func (j *Journal) closeLog() {
	if j.log != nil {
		_ = j.log.Close()
		j.log = nil
	}
}

// Held is the number of entries that are in no delta yet.
func (j *Journal) Held() int {
	j.writing.Lock()
	defer j.writing.Unlock()
	return len(j.held)
}

// Rotate writes the entries that the journal holds as a delta file and then
// empties the journal. The path is empty if there are none. After an error they
// are in the journal, in a file, or in both, which changes no answer.
func (j *Journal) Rotate() (path string, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	path, err = Write(WriterOptions{Dir: j.opts.Dir, Replica: j.opts.Replica,
		Start: j.since, End: j.opts.Now(), Disk: j.opts.Disk}, j.held)
	if err != nil {
		return "", fmt.Errorf("write the intake journal as a delta: %w", err)
	}
	j.closeLog()
	j.held = nil // the next commit cuts the file to nothing if it is still there
	if err := j.opts.Disk.Remove(j.path()); err != nil {
		return "", fmt.Errorf("empty the intake journal: %w", err)
	}
	return path, nil
}

// Close gives the journal up to other processes. What it holds stays in its
// file.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.closeLog()
	return j.lock.Close()
}
