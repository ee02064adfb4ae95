package sweep

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// listDir holds the suppression list: one file for each run that changed it.
// The last suppression_updated event of the ledger says which one is in force.
const listDir = "suppression"

// ListSink decides where the suppression list of a run goes and whether it
// comes into force.
type ListSink func(w *Workspace, run string) (path string, preview bool)

// KeepList brings the list into force.
func KeepList(w *Workspace, run string) (string, bool) {
	return filepath.Join(w.dir, listDir, run+".ids"), false
}

// PreviewList leaves the workspace's list as it is; for dry runs.
func PreviewList(w *Workspace, run string) (string, bool) {
	return filepath.Join(w.runDir(run), previewFile), true
}

// listPath is the list in force, or empty before the first.
func (w *Workspace) listPath() string {
	if w.list.File == "" {
		return ""
	}
	return filepath.Join(w.dir, filepath.FromSlash(w.list.File))
}

// loadList loads a list, if there is one, and all own lists. They must be those
// that the ledger knows. Of an id on several lists the earliest time counts.
func (r *run) loadList(ctx context.Context, list schemas.SuppressionUpdated) (*idset.OptedOut, error) {
	w := r.deps.Workspace
	set := idset.NewOptedOut(r.job.Rules, int(list.Total+w.ownTotal()))
	if list.File != "" {
		path := Layout(w.dir).List(list)
		info, err := idset.LoadList(ctx, path, false, set)
		if err != nil {
			return nil, err
		}
		if err := sameList(path, info.Digest, list.Digest); err != nil {
			return nil, err
		}
	}
	return set, w.loadOwn(ctx, set)
}

func sameList(path, digest, known string) error {
	if digest == known {
		return nil
	}
	return schemas.Errorf(schemas.Integrity, "the suppression list %s is not the one that the ledger knows", path).
		WithHint("restore it from a copy of the workspace; without it, flags of earlier runs would be forgotten")
}

// known walks through the suppression list beside the sorted ids.
type known struct {
	list *idset.List
	path string
	want string // digest
	buf  []idset.Entry
	rest []idset.Entry
	end  bool // of the list; rest may hold its last entries
}

func (w *Workspace) openKnown() (*known, error) { return w.openList(w.list) }

// openList opens a list of the operator's; without a file it is empty.
func (w *Workspace) openList(l schemas.SuppressionUpdated) (*known, error) {
	path := ""
	if l.File != "" {
		path = Layout(w.dir).List(l)
	}
	list, err := idset.OpenList(path, path == "")
	if err != nil {
		return nil, err
	}
	return &known{list: list, path: path, want: l.Digest, buf: make([]idset.Entry, 1024)}, nil
}

// has tells whether id is on the list. Ids must come in order.
func (k *known) has(id schemas.ID) (bool, error) {
	for {
		e, err := k.first()
		if e == nil {
			return false, err
		}
		switch c := idset.Compare(e.ID, id); {
		case c == 0:
			return true, nil
		case c > 0:
			return false, nil
		}
		k.rest = k.rest[1:]
	}
}

// first is the first entry that is left, or nil.
func (k *known) first() (*idset.Entry, error) {
	if len(k.rest) == 0 {
		if err := k.fill(); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	return &k.rest[0], nil
}

// without moves those of ids that are not on the list to the front and counts
// them. Ids must come in order.
func (k *known) without(ids []schemas.ID) (n int, err error) {
	for i := range ids {
		if k.end && len(k.rest) == 0 {
			if n < i {
				copy(ids[n:], ids[i:])
			}
			return n + len(ids) - i, nil
		}
		on, err := k.has(ids[i])
		if err != nil {
			return n, err
		}
		if !on {
			ids[n] = ids[i]
			n++
		}
	}
	return n, nil
}

func (k *known) fill() error {
	if k.end {
		return io.EOF
	}
	n, err := k.list.Next(k.buf)
	k.rest = k.buf[:n]
	k.end = errors.Is(err, io.EOF)
	return err
}

// finish reads the rest of the list and checks that it is the right one.
func (k *known) finish() error {
	for {
		if err := k.fill(); errors.Is(err, io.EOF) {
			return sameList(k.path, k.list.Digest(), k.want)
		} else if err != nil {
			return err
		}
	}
}

// learn merges what the check found into the suppression list and returns the
// set of all ids to flag. The ledger's event is the commit point; before it,
// doing it again gives the same list.
func (r *run) learn(ctx context.Context) (*idset.OptedOut, error) {
	w := r.deps.Workspace
	if r.suppressed != nil {
		return r.loadList(ctx, *r.suppressed)
	}
	if err := w.fence.Check(); err != nil {
		return nil, err
	}
	found := make([]idset.Entry, 0, r.checked.OptedOut)
	if err := r.eachAnswer(func(a answered) error {
		for o := range a.OptedOut.all() {
			found = append(found, idset.Entry{ID: o.ID, SinceMS: o.SinceMS, FoundMS: a.AsOfMS})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	path, preview := r.deps.List(w, r.id)
	if err := w.disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	before := w.listPath()
	info, err := idset.MergeList(ctx, idset.ListMerge{Disk: w.disk, Old: before, First: before == "", Additions: found, New: path})
	if err != nil {
		return nil, err
	}
	if err := sameList(before, info.Previous, w.list.Digest); err != nil {
		return nil, err
	}
	file, err := filepath.Rel(w.dir, path)
	if err != nil {
		return nil, err
	}
	r.suppressed = &schemas.SuppressionUpdated{
		File: filepath.ToSlash(file), Total: info.Total, Added: info.Added, Moved: info.MovedEarlier, Digest: info.Digest, Preview: preview,
	}
	if err := r.append(schemas.EventSuppressionUpdated, r.suppressed); err != nil {
		return nil, err
	}
	if err := w.dropLists(before); err != nil {
		return nil, err
	}
	return r.loadList(ctx, *r.suppressed)
}

// dropLists removes all lists but the one in force and the one before it.
func (w *Workspace) dropLists(before string) error {
	if err := w.fence.Check(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, listDir))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(w.dir, listDir, e.Name())
		if e.IsDir() || path == before || path == w.listPath() {
			continue
		}
		if err := w.disk.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
