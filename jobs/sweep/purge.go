package sweep

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// previewFile is the suppression list that a dry run would leave.
const previewFile = "preview.ids"

// idFiles are what holds the ids of a run, the answers to them, and the cells
// that are no ids.
func idFiles() []string {
	return []string{extractDir, spillDir, shardsDir, checkLog, previewFile, quarantineDir}
}

// Retention says what is kept.
type Retention struct {
	IDsBefore    time.Time // ids of runs that were started before are removed
	RunsBefore   time.Time // so are whole folders of runs
	LedgerBefore time.Time // older events of the ledger are removed; not later than RunsBefore
	DryRun       bool      // only tell
	User, Host   string    // who removes
}

// Purge applies retention. What it removes is in the ledger before it happens;
// if it was cut short, doing it again removes the rest. The suppression list
// and the last run, finished or not, stay with their events.
func (w *Workspace) Purge(ctx context.Context, r Retention) (schemas.PurgeResult, error) {
	p := schemas.PurgeResult{
		Purged:       schemas.Purged{IDsBefore: r.IDsBefore.UTC(), RunsBefore: r.RunsBefore.UTC(), User: r.User, Host: r.Host},
		LedgerBefore: r.LedgerBefore.UTC(),
	}
	if r.LedgerBefore.After(r.RunsBefore) {
		return p, schemas.Errorf(schemas.Usage, "the events of a run cannot be removed before its folder")
	}
	if err := w.settle(); err != nil {
		return p, err
	}
	cut, begun, err := w.planCut(ctx, r.LedgerBefore)
	if err != nil {
		return p, err
	}
	p.Ledger = cut.CutCount
	cut.User, cut.Host = r.User, r.Host
	remove, err := w.old(ctx, r, &p.Purged)
	if err != nil || r.DryRun {
		return p, err
	}
	if err := errors.Join(w.fence.Check(), durable.RemoveLeftovers(w.dir)); err != nil {
		return p, err
	}
	if len(remove) > 0 {
		if err := w.append("", schemas.EventPurged, p.Purged); err != nil {
			return p, err
		}
		if err := w.remove(ctx, remove); err != nil {
			return p, err
		}
	}
	return p, w.cut(cut, begun)
}

// old lists what is too old in the folders of runs, and counts it.
func (w *Workspace) old(ctx context.Context, r Retention, p *schemas.Purged) (remove []string, err error) {
	entries, err := os.ReadDir(filepath.Join(w.dir, runsDir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		started, err := time.Parse(runIDLayout, e.Name())
		if err != nil || !e.IsDir() || len(w.last) > 0 && w.last[0].Run == e.Name() {
			continue
		}
		var paths []string
		count := &p.IDs
		switch {
		case started.Before(r.RunsBefore):
			count, paths = &p.Runs, []string{w.runDir(e.Name())}
		case started.Before(r.IDsBefore):
			for _, name := range idFiles() {
				paths = append(paths, filepath.Join(w.runDir(e.Name()), name))
			}
		}
		files := count.Files
		for _, path := range paths {
			if err := measure(ctx, path, count); err != nil {
				return nil, err
			}
		}
		if count.Files == files {
			continue // nothing is left of it
		}
		remove = append(remove, paths...)
		count.Runs++
		count.Newest = e.Name()
		if count.Oldest == "" {
			count.Oldest = e.Name()
		}
	}
	return remove, nil
}

// measure adds what is at path to count. A folder counts with its files.
func measure(ctx context.Context, path string, count *schemas.PurgeCount) error {
	return filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		count.Files++
		count.Bytes += info.Size()
		return nil
	})
}

// remove removes files and folders for good.
func (w *Workspace) remove(ctx context.Context, paths []string) error {
	above := map[string]bool{}
	for _, path := range paths {
		if err := errors.Join(ctx.Err(), w.fence.Check()); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		above[filepath.Dir(path)] = true
	}
	for dir := range above {
		if err := w.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
