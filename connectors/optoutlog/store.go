package optoutlog

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"optsweep/schemas"
)

// Snapshot answers who has opted out, as of one moment. It never changes and
// is safe for concurrent use.
type Snapshot struct {
	table *table
	stats Stats
}

// Stats describe a snapshot.
type Stats struct {
	IDs        int       `json:"ids"`         // distinct ids
	Files      int       `json:"files"`       // log files it was made from
	EmptyFiles int       `json:"empty_files"` // of these, without a single byte
	Bytes      int64     `json:"bytes"`       // memory
	AsOf       time.Time `json:"as_of"`       // when the folder was last listed
}

// Stats describe the snapshot.
func (s *Snapshot) Stats() Stats { return s.stats }

// Since tells when id opted out, in Unix ms; ok is false if it did not.
func (s *Snapshot) Since(id schemas.ID) (sinceMS int64, ok bool) {
	second, ok := s.table.find(&id)
	return second * 1000, ok
}

// AppendOptedOut appends those of ids that have opted out, in their order and
// as often as they occur. It is several times faster than Since for each.
func (s *Snapshot) AppendOptedOut(dst []schemas.OptOut, ids []schemas.ID) []schemas.OptOut {
	s.table.findAll(ids, func(i int, second int64) {
		dst = append(dst, schemas.OptOut{ID: ids[i], SinceMS: second * 1000})
	})
	return dst
}

// Options say what a Store follows.
type Options struct {
	Dir        string           // folder of log files, searched at any depth
	AllowEmpty bool             // an existing folder without log files means that nobody opted out
	Log        *slog.Logger     // nil: none
	Now        func() time.Time // nil: time.Now
	Workers    int              // goroutines that load; 0: one per CPU
}

// Store follows a folder of log files. Snapshot and Health never wait for a
// load.
type Store struct {
	opts     Options
	snapshot atomic.Pointer[Snapshot]
	problem  atomic.Pointer[error] // why the last load failed; nil if it did not
	loading  sync.Mutex            // held during Load, guards known
	known    map[string]file       // what is in the snapshot
	mu       sync.Mutex            // guards publishing and added
	added    []Entry               // given to Add and perhaps in no file yet
}

// New makes a store. It is not ready before the first successful Load.
func New(opts Options) *Store {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Workers == 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	return &Store{opts: opts}
}

// Dir is the folder that the store follows.
func (s *Store) Dir() string { return s.opts.Dir }

// Snapshot gives the present snapshot, or nil before the first successful
// Load.
func (s *Store) Snapshot() *Snapshot { return s.snapshot.Load() }

// Health tells whether the store answers, and as of now. Ready means that
// there is a snapshot. Degraded is nil, or says why the last Load failed; the
// snapshot is then the one before.
func (s *Store) Health() (ready bool, degraded error) {
	ready = s.snapshot.Load() != nil
	if p := s.problem.Load(); p != nil {
		degraded = *p
	}
	return ready, degraded
}

// Load brings the snapshot up to date with the folder. Files that are new are
// read; if one went away or changed, all are. If anything is wrong with the
// folder or a file, the snapshot stays as it is, and the error is also the
// reason that Health gives until a later Load succeeds.
//
// A folder that does not exist is an error, and so is one without entries
// unless Options.AllowEmpty is set: an operator that knows nothing would
// answer that nobody has opted out.
func (s *Store) Load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	err := s.load(ctx)
	if err == nil {
		s.problem.Store(nil)
	} else if ctx.Err() == nil {
		s.problem.Store(&err)
	}
	return err
}

// Settle is Load for someone who has just written everything given to Add so
// far into files of the folder: once they are read, the store forgets it.
func (s *Store) Settle(ctx context.Context) error {
	s.mu.Lock()
	n := len(s.added)
	s.mu.Unlock()
	if err := s.Load(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = slices.Clone(s.added[n:])
	return nil
}

// Add puts entries into the snapshot at once, ahead of the file that will hold
// them.
func (s *Store) Add(entries ...Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, entries...)
	if old := s.snapshot.Load(); old != nil {
		s.publish(withEntries(old.table, entries), old.stats)
	}
}

func withEntries(t *table, entries []Entry) *table {
	if len(entries) == 0 {
		return t
	}
	c := newCollector(&t.seed, 0)
	for i := range entries {
		c.add(&entries[i].ID, entries[i].Second)
	}
	return t.with(1, c)
}

// publish needs mu.
func (s *Store) publish(t *table, stats Stats) {
	stats.IDs = t.size
	stats.Bytes = t.bytes()
	s.snapshot.Store(&Snapshot{table: t, stats: stats})
}

// load needs loading.
func (s *Store) load(ctx context.Context) error {
	start := s.opts.Now()
	files, err := list(ctx, s.opts.Dir)
	if err != nil {
		return err
	}
	stats := Stats{Files: len(files), AsOf: start}
	total := 0
	for _, f := range files {
		total += f.entries()
		if f.size == 0 {
			stats.EmptyFiles++
		}
	}
	if total == 0 && !s.opts.AllowEmpty {
		return schemas.Errorf(schemas.Usage, "opt-out log folder %s holds no entries (%d log files, all empty)", s.opts.Dir, len(files)).
			WithHint("an operator without a log would answer that nobody has opted out; put the log files there, or allow an empty log explicitly")
	}
	base, todo := s.changes(files)
	fresh, err := s.extend(ctx, base, todo)
	if err != nil {
		return err
	}
	s.known = make(map[string]file, len(files))
	for _, f := range files {
		s.known[f.path] = f
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(todo) == 0 && base != nil {
		fresh = s.snapshot.Load().table // Add may have made it
	} else {
		fresh = withEntries(fresh, s.added)
	}
	s.publish(fresh, stats)
	if len(todo) > 0 {
		s.opts.Log.InfoContext(ctx, "opt-out log loaded", "files_read", len(todo), "files", stats.Files,
			"empty_files", stats.EmptyFiles, "ids", fresh.size, "seconds", s.opts.Now().Sub(start).Seconds())
	}
	return nil
}

// changes tells which files to read, and on top of which table. The table is
// nil if everything has to be read.
func (s *Store) changes(files []file) (base *table, todo []file) {
	present := 0
	for _, f := range files {
		old, ok := s.known[f.path]
		switch {
		case !ok || old.size == 0 && f.size > 0:
			todo = append(todo, f)
		case !old.same(f):
			return nil, files
		}
		if ok {
			present++
		}
	}
	snapshot := s.snapshot.Load()
	if snapshot == nil || present < len(s.known) {
		return nil, files
	}
	return snapshot.table, todo
}

// extend reads files into a table on top of base.
func (s *Store) extend(ctx context.Context, base *table, files []file) (*table, error) {
	if err := checkSizes(files); err != nil {
		return nil, err
	}
	if base == nil {
		base = emptyTable()
	}
	total := 0
	for _, f := range files {
		total += f.entries()
	}
	workers := min(s.opts.Workers, max(1, total*EntrySize/segment))
	collectors := make([]*collector, workers)
	for i := range collectors {
		collectors[i] = newCollector(&base.seed, total/workers)
	}
	err := read(ctx, s.opts.Dir, files, workers, func(worker int, entries []byte) error {
		return collectors[worker].addAll(entries)
	})
	if err != nil {
		return nil, err
	}
	return base.with(workers, collectors...), nil
}

// addAll collects the opt-outs of entries.
func (c *collector) addAll(entries []byte) error {
	for i := 0; i < len(entries); i += EntrySize {
		b := entries[i : i+EntrySize]
		if kindOf(b) != OptOut {
			continue
		}
		at := second(b)
		if at < 1 || at > maxSecond {
			return errTime
		}
		id := idOf(b)
		c.add(&id, at)
	}
	return nil
}
