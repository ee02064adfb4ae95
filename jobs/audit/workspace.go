// Package audit checks, without changing anything, that what runs have left in
// a workspace is whole and fits together: that the ledger was only ever added
// to, but for what it says that retention has removed from its beginning, and
// that every other file is the one that the ledger speaks of.
//
// It needs no lease. What a run under way is about to write is told apart from
// what is missing by the ledger's head, which is written last.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/signing"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Options say what is verified.
type Options struct {
	Dir         string // of the workspace
	ToolVersion string // of this program: its own reports are compared byte by byte
	Now         func() time.Time
	// Version tells the present version of a unit; nil: units are not looked at.
	Version func(ctx context.Context, u schemas.Unit) (string, error)
}

// Result is what was found.
type Result struct {
	Workspace string              `json:"workspace"`
	Events    int64               `json:"events"`         // in the ledger
	Removed   int64               `json:"events_removed"` // from its beginning, by retention
	Runs      int                 `json:"runs"`
	Signer    *schemas.SigningKey `json:"signer,omitempty"` // of evidence packs
	Checks    Checks              `json:"checks"`
}

// auditor is one verification under way.
type auditor struct {
	Result
	ctx    context.Context
	opts   Options
	layout sweep.Layout

	// Read before the ledger, so that the ledger can only be ahead of them.
	sealed  ledger.Head
	heads   map[int64][]recorded // by number of the event
	byRun   map[string]recorded  // those in the folders of runs
	folders []folder
	newest  []byte // report.json of the newest run; nil if it has none

	purges []purge // what retention has removed

	cut   *ledger.Cut                           // why the ledger does not begin with event 1; nil: it does
	last  recorded                              // in the folder of the last finished run
	size  int64                                 // of the ledger, as read
	known map[string]bool                       // runs that the ledger knows
	lists map[string]schemas.SuppressionUpdated // by file
	list  string                                // file of the one in force
	units *applied                              // of the last finished run
	own   map[string]schemas.OwnList            // own lists in force, by source
}

// recorded is a head of the ledger that was kept in a file.
type recorded struct {
	ledger.Head
	run, file string
}

// folder is the folder of a run.
type folder struct {
	run   string
	empty bool // a run that was killed before its first event leaves it so
}

// Workspace verifies a workspace. The error is for what kept it from looking;
// see Checks.Err for what it found.
func Workspace(ctx context.Context, o Options) (Result, error) {
	a := &auditor{
		Result: Result{Workspace: o.Dir, Checks: Checks{}}, ctx: ctx, opts: o, layout: sweep.Layout(o.Dir),
		heads: map[int64][]recorded{}, byRun: map[string]recorded{}, known: map[string]bool{}, lists: map[string]schemas.SuppressionUpdated{}, own: map[string]schemas.OwnList{},
	}
	if err := a.layout.Check(); schemas.ClassOf(err) == schemas.Usage && (!there(a.layout.Ledger()) || there(a.layout.Identity())) {
		return a.Result, err // no workspace at all, or that of a newer version
	}
	a.workspaceFiles()
	if err := a.readFirst(); err != nil {
		return a.Result, err
	}
	whole, err := a.ledger()
	if err != nil {
		return a.Result, err
	}
	if whole {
		a.unknownFolders()
		a.suppression()
		a.ownLists()
		a.evidenceKey()
	}
	if err := a.schedules(); err != nil {
		return a.Result, err
	}
	return a.Result, a.files()
}

func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// rel is a path as it is shown.
func (a *auditor) rel(path string) string {
	rel, err := filepath.Rel(a.opts.Dir, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

func (a *auditor) ok(what, run, path, format string, args ...any) {
	a.Checks.Add(OK, what, run, a.rel(path), format, args...)
}

func (a *auditor) fail(what, run, path, format string, args ...any) {
	a.Checks.Add(Failed, what, run, a.rel(path), format, args...)
}

func (a *auditor) note(what, run, path, format string, args ...any) {
	a.Checks.Add(Note, what, run, a.rel(path), format, args...)
}

func (a *auditor) workspaceFiles() {
	dir := a.opts.Dir
	if err := a.layout.Check(); err != nil {
		a.fail("workspace", "", dir, "%v", err)
	} else {
		a.ok("workspace", "", dir, "a workspace of format %d", sweep.WorkspaceFormat)
	}
	path := a.layout.PseudonymKey()
	switch key, err := os.ReadFile(path); {
	case err != nil:
		a.fail("pseudonym key", "", path, "%s", explain(path, err))
	case len(key) != 32:
		a.fail("pseudonym key", "", path, "%d bytes, want 32", len(key))
	default:
		a.ok("pseudonym key", "", path, "it is there")
	}
}

// readFirst reads what must not be ahead of the ledger.
func (a *auditor) readFirst() error {
	a.readPurged()
	a.sealed = a.head("", a.layout.Head())
	entries, err := os.ReadDir(a.layout.Runs())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		inside, err := os.ReadDir(a.layout.Run(e.Name()))
		if err != nil {
			return err
		}
		a.folders = append(a.folders, folder{run: e.Name(), empty: len(inside) == 0})
		a.head(e.Name(), a.layout.Run(e.Name(), ledger.HeadFile))
	}
	if n := len(a.folders); n > 0 {
		a.newest, err = os.ReadFile(a.layout.Run(a.folders[n-1].run, sweep.ReportFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// head reads a recorded head. A missing one in the folder of a run is judged
// with the run.
func (a *auditor) head(run, path string) ledger.Head {
	h, err := ledger.ReadHead(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && run != "":
	case err != nil:
		a.fail("ledger head", run, path, "%s", explain(path, err))
	default:
		a.heads[h.Seq] = append(a.heads[h.Seq], recorded{h, run, path})
		a.byRun[run] = recorded{h, run, path}
	}
	return h
}

// ledger verifies the chain against all recorded heads, and each run as it
// ends. whole is false if the chain is broken: what follows the break is not
// looked at.
func (a *auditor) ledger() (whole bool, err error) {
	path := a.layout.Ledger()
	runs := ledger.Grouper{Each: a.run}
	end, err := ledger.ReadLines(path, func(l ledger.Line) error {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		a.Events = l.Event.Seq
		a.compareHeads(l.Event.Seq, l.Hash)
		if err := a.remember(l.Event); err != nil {
			return err
		}
		return runs.Add(l.Event)
	})
	if a.ctx.Err() != nil {
		return false, a.ctx.Err()
	}
	if schemas.ClassOf(err) == schemas.Usage {
		return false, err // a newer version has written to it
	}
	if err != nil {
		a.fail("ledger", "", path, "%s", explain(path, err))
		a.note("ledger", "", path, "what follows event %d was not looked at", a.Events)
		return false, nil
	}
	delete(a.heads, 0) // of a ledger without events
	a.removed(end)
	for _, seq := range sortedKeys(a.heads) {
		a.fail("ledger", "", path, "it was cut off: it ends with event %d, but had event %d when %s was written", end.Seq, seq, a.rel(a.heads[seq][0].file))
	}
	if len(a.heads) == 0 {
		detail := fmt.Sprintf("%d events, each follows from the one before", a.Events)
		if end.Torn {
			detail += "; a line that a killed run did not finish follows, it does not count"
		}
		a.ok("ledger", "", path, "%s", detail)
	}
	a.size = end.Size
	return true, runs.Finish()
}

// remember keeps what is needed once the ledger is read.
func (a *auditor) remember(e schemas.Event) error {
	switch e.Type {
	case schemas.EventRunStarted:
		a.known[e.Run] = true
		if a.last.Seq > e.Seq {
			a.fail("ledger head", a.last.run, a.last.file, "it is the head of a later run: event %d", a.last.Seq)
		}
	case schemas.EventSuppressionUpdated:
		v, err := decode[schemas.SuppressionUpdated](e)
		if err != nil {
			return err
		}
		a.lists[v.File] = v
		if !v.Preview {
			a.list = v.File
		}
	case schemas.EventOwnListImported, schemas.EventOwnListEdited, schemas.EventOwnListRemoved:
		return rememberOwn(a.own, e)
	case schemas.EventLedgerCut:
		return a.rememberCut(e)
	case schemas.EventUnflagApplied:
		v, err := decode[schemas.UnflagReceipt](e)
		if err != nil {
			return err
		}
		a.units.add(v.Receipt)
	case schemas.EventSigningKey:
		v, err := decode[schemas.SigningKey](e)
		if err != nil {
			return err
		}
		a.Signer = &v
	}
	return nil
}

func (a *auditor) evidenceKey() {
	if a.Signer == nil {
		return
	}
	path := a.layout.EvidenceKey()
	key, err := signing.Load(path)
	switch {
	case err != nil:
		a.fail("evidence key", "", path, "%s", explain(path, err))
	case signing.Of(key) != *a.Signer:
		a.fail("evidence key", "", path, "it is not the key that the ledger knows")
	default:
		a.ok("evidence key", "", path, "its fingerprint is %s", signing.Show(*a.Signer))
	}
}

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
