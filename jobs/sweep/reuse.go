package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// Keeper is a Source of units that stay what they are for as long as their
// version does, so that what a run extracted from one is good for the next.
type Keeper interface {
	// Reading names what Scan reads and how. A unit at one version gives the
	// same cells to all readings of that name.
	Reading() string
}

// reading names what makes ids out of a table's units: two runs for which it is
// equal extract the same from a unit at one version. Empty: no run does.
func (r *run) reading(table string) string {
	source := r.source(table)
	k, ok := source.(Keeper)
	if _, pinned := source.(Pinner); pinned || !ok {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", r.job.Started.ToolVersion, r.job.Rules.Scope, r.job.Rules.Environment, k.Reading())
	return hex.EncodeToString(h.Sum(nil))
}

// kept is what an earlier run has left of its units.
type kept struct {
	run   string
	dir   string // its folder
	units map[unitKey]unitExtracted
	after map[unitKey][]string // versions that it made of them by adding flags
}

// loadKept reads what the last run of the job that extracted has left.
func (r *run) loadKept() (k kept, err error) {
	w := r.deps.Workspace
	k = kept{run: w.extracted[r.job.Started.Job], units: map[unitKey]unitExtracted{}, after: map[unitKey][]string{}}
	if k.run == "" || k.run == r.id {
		return k, nil
	}
	before := run{dir: w.runDir(k.run)}
	k.dir = before.dir
	if _, err := ledger.Read(before.path(extractLog), func(e schemas.Event) error {
		d, err := decodeExtracted(e)
		k.units[unitKey{d.Table, d.Unit}] = d
		return err
	}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	passes, err := before.loadPasses()
	for _, pass := range passes {
		for key, receipt := range pass.receipts {
			if k.has(key, receipt.VersionBefore) && receipt.Removed == 0 {
				k.after[key] = append(k.after[key], receipt.VersionAfter)
			}
		}
	}
	return k, err
}

// has tells whether a unit at this version holds the ids that were extracted.
func (k kept) has(key unitKey, version string) bool {
	d, ok := k.units[key]
	return ok && (d.Version == version || slices.Contains(k.after[key], version))
}

// reuse takes over what an earlier run of the job has extracted from the units
// of left, by number, and returns those that must be read. A file that is not
// what the earlier run wrote, to the byte, is not used.
func (r *run) reuse(ctx context.Context, left []int, done map[int]unitExtracted, journal journal) ([]int, error) {
	k, err := r.loadKept()
	if err != nil {
		r.deps.Log.Warn("what was extracted before cannot be used again", "run", k.run, "error", err)
		return left, nil
	}
	var mu sync.Mutex // of found
	found := map[int]unitExtracted{}
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for _, i := range left {
		u := r.units[i]
		d := k.units[keyOf(u)]
		if !k.has(keyOf(u), u.Version) || d.Reading == "" || d.Reading != r.reading(u.Table) || d.Counts.Rows != u.Rows {
			continue
		}
		tasks.Go(func() error {
			result, err := r.takeOver(taskCtx, k, d, i)
			if taskCtx.Err() != nil {
				return taskCtx.Err()
			}
			if err != nil {
				r.deps.Log.Warn("a unit is read again: what was extracted from it before is not usable", "table", u.Table, "unit", u.Name, "error", err)
				return nil
			}
			r.deps.Progress.Add(u.Rows)
			mu.Lock()
			defer mu.Unlock()
			found[i] = result
			return nil
		})
	}
	if err := tasks.Wait(); err != nil || len(found) == 0 {
		return left, err
	}
	for _, dir := range []string{extractDir, quarantineDir} {
		if err := r.deps.Workspace.disk.SyncDir(r.path(dir)); err != nil {
			return nil, err
		}
	}
	var entries []ledger.Entry
	left = slices.DeleteFunc(left, func(i int) bool {
		result, ok := found[i]
		if ok {
			entries = append(entries, ledger.Entry{Type: schemas.EventUnitExtracted, Data: result})
			done[i] = result
		}
		return ok
	})
	return left, journal.AppendAll(r.id, entries)
}

// takeOver gives the files that an earlier run extracted from a unit a second
// name in this run's folder, after checking every byte of them. The names stay
// once their folders are synced.
func (r *run) takeOver(ctx context.Context, k kept, d unitExtracted, index int) (unitExtracted, error) {
	path := filepath.Join(k.dir, d.File)
	info, err := idset.Verify(ctx, path)
	if err != nil {
		return d, err
	}
	if info.Digest != d.Digest || info.IDs != d.Distinct {
		return d, errors.New("another file has taken its place")
	}
	disk, file := r.deps.Workspace.disk, unitFile(index)
	links := map[string]string{path: r.path(file)}
	if d.Quarantine != "" {
		path := filepath.Join(k.dir, QuarantineFile(d.Index))
		digest, err := digestOfFile(path)
		if err != nil {
			return d, err
		}
		if digest != d.Quarantine {
			return d, errors.New("the list of its quarantined cells was changed")
		}
		links[path] = r.path(QuarantineFile(index))
	}
	for path, name := range links {
		// A killed run may have got this far before.
		if err := errors.Join(disk.Remove(name), disk.Link(path, name)); err != nil {
			return d, err
		}
	}
	if d.Rows != "" {
		err := r.takeRows(ctx, filepath.Join(k.dir, rowsFile(d.File)), d, r.path(rowsFile(file)))
		if ctx.Err() != nil {
			return d, ctx.Err()
		}
		if err != nil {
			r.deps.Log.Warn("which rows of a unit hold its ids is not known any more", "table", d.Table, "unit", d.Unit, "error", err)
			d.Rows = ""
		}
	}
	if d.ReadBy == "" {
		d.ReadBy = k.run
	}
	d.Index, d.File, d.Version = index, file, r.units[index].Version
	return d, nil
}

func digestOfFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
