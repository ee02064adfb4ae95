package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// listing is the state of a table's suppression list in this process. What the
// units add to it is collected in a file of its own, and merged once all have
// been looked at: so the counts of a unit do not depend on which others were
// done before, and a data set of many small files costs one merge.
type listing struct {
	mu      sync.Mutex
	since   map[string]int64 // Unix ms, by id; never changed, only replaced
	version string           // of the list that since was read from; empty: none was read

	log  *durable.Log // what units add; nil: RemoveLeftovers was not called
	run  schemas.RunRef
	base string // version of the list that the units are compared with

	replacedKey string // what replaced was found out for
	replaced    bool
}

// known gives the ids of the list that is there, and its version. They take some
// 100 bytes of memory each.
func (t *Table) known() (map[string]int64, string, error) {
	l := &t.own
	l.mu.Lock()
	defer l.mu.Unlock()
	version, err := listVersion(t.List)
	if err != nil || version == l.version {
		return l.since, version, err
	}
	since := map[string]int64{}
	if version != noList {
		r, err := openList(t.List, t.Table)
		if err != nil {
			return nil, "", err
		}
		defer r.close()
		for {
			e, err := r.read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, "", err
			}
			since[e.id] = e.since
		}
	}
	l.since, l.version = since, version
	return since, version, nil
}

// beginList opens the file that collects what units add. One of the same run
// goes on; one of another run, which will not be taken up again, is dropped:
// whatever it held is found again.
func (t *Table) beginList(units []schemas.Unit) error {
	if len(units) == 0 {
		return nil
	}
	l := &t.own
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, path := filepath.Dir(t.List), pendingPath(t.List)
	if err := t.Disk.MkdirAll(dir, 0o700); err != nil {
		return writeError(err)
	}
	if err := durable.RemoveLeftovers(dir); err != nil {
		return err
	}
	if l.log != nil {
		if err := l.log.Close(); err != nil {
			return err
		}
		l.log = nil
	}
	version, err := listVersion(t.List)
	if err != nil {
		return err
	}
	before, err := readPending(path)
	if err != nil {
		return err
	}
	l.run, l.base = units[0].Run, version
	if before != nil && before.Run == l.run.ID {
		if l.run.ID != "" && !before.fits(version) { // an unflag holds for any list
			return t.errListReplaced()
		}
		l.log, err = t.Disk.OpenLog(path, before.size, false)
		return err
	}
	if err := t.Disk.Remove(path); err != nil {
		return err
	}
	if l.log, err = t.Disk.OpenLog(path, 0, true); err != nil {
		return writeError(err)
	}
	return t.note(pendingRecord{Run: l.run.ID, List: version})
}

// note makes a record durable. The caller holds the lock.
func (t *Table) note(r pendingRecord) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	if err := t.own.log.Append(line); err != nil {
		return writeError(err)
	}
	return nil
}

func (t *Table) errListReplaced() error {
	return schemas.Errorf(schemas.Failed, "the suppression list %s was changed by another program during the run", t.List).
		WithHint("run the same command again: it begins anew")
}

// listReplaced tells whether a run that is to go on can no longer rely on the
// list: what it has counted was compared with another one.
func (t *Table) listReplaced(run string) bool {
	l := &t.own
	l.mu.Lock()
	defer l.mu.Unlock()
	path := pendingPath(t.List)
	info, err := os.Stat(path)
	if run == "" || l.log != nil || err != nil {
		return false
	}
	version, err := listVersion(t.List)
	if err != nil {
		return true
	}
	key := fmt.Sprint(run, " ", version, " ", info.Size(), " ", info.ModTime().UnixNano())
	if key != l.replacedKey {
		p, err := readPending(path)
		l.replacedKey, l.replaced = key, err != nil || p != nil && p.Run == run && !p.fits(version)
	}
	return l.replaced
}

// comparison is what a unit and the list have to do with each other.
type comparison struct {
	list  string           // its version
	found map[string]int64 // ids that are not on the list, or later than they should be
	clear map[string]bool  // listed ids that match
}

// compare counts the rows of a unit by what the list says of them. match tells
// which ids an unflag takes off; nil: none. missing is as in Find.
func (t *Table) compare(ctx context.Context, u schemas.Unit, since Since, match func([]byte) bool, missing func(int64, []byte)) (r schemas.Receipt, c comparison, err error) {
	known, version, err := t.known()
	if err != nil {
		return r, c, err
	}
	c = comparison{list: version, found: map[string]int64{}, clear: map[string]bool{}}
	r = schemas.Receipt{Table: u.Table, Unit: u.Name, VersionBefore: u.Version, VersionAfter: u.Version}
	s, err := t.open(u.Location)
	if err != nil {
		return r, c, err
	}
	defer s.close()
	if s.version != u.Version {
		return r, c, errChanged()
	}
	r.BytesBefore, r.BytesAfter = s.meta.Size, s.meta.Size
	err = t.scan(ctx, s, func(cells schemas.Cells) error {
		for i, cell := range cells.Values {
			n := cells.Count(i)
			r.Rows += n
			if cell == nil {
				r.Nulls += n
				continue
			}
			at, out := since(cell)
			had, listed := known[string(cell)]
			switch {
			case listed && match != nil && match(cell):
				r.Cleared += n
				c.clear[string(cell)] = true
				continue
			case out && !listed:
				r.NewlyFlagged += n
			case out && at < had:
				r.MovedEarlier += n
			case out:
				r.OptedOut += n
				continue
			case listed:
				r.Kept += n
				continue
			default:
				continue
			}
			r.OptedOut += n
			c.found[string(cell)] = at
			if missing != nil {
				missing(cells.Row(i), cell)
			}
		}
		return nil
	})
	r.Flagged = r.OptedOut + r.Kept
	r.Confirmed = r.Flagged // or Finish fails
	r.Changed = len(c.found)+len(c.clear) > 0
	return r, c, errors.Join(err, t.unchanged(ctx, u))
}

// suppress collects what a unit adds to the list, and then calls commit: nothing
// of it is visible before Finish.
func (t *Table) suppress(ctx context.Context, u schemas.Unit, since Since, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	r, c, err := t.compare(ctx, u, since, nil, nil)
	if err != nil {
		return schemas.Receipt{}, err
	}
	record := pendingRecord{Unit: u.Name, IDs: slices.Sorted(maps.Keys(c.found))}
	for _, id := range record.IDs {
		record.Since = append(record.Since, c.found[id])
	}
	return r, t.collect(ctx, r, c, record, commit)
}

// unsuppress collects what an unflag takes off the list.
func (t *Table) unsuppress(ctx context.Context, u schemas.Unit, match func([]byte) bool, commit func(schemas.Receipt) error) (schemas.Receipt, error) {
	r, c, err := t.compare(ctx, u, never, match, nil)
	if err != nil {
		return schemas.Receipt{}, err
	}
	return r, t.collect(ctx, r, c, pendingRecord{Unit: u.Name, Clear: slices.Sorted(maps.Keys(c.clear))}, commit)
}

func (t *Table) collect(ctx context.Context, r schemas.Receipt, c comparison, record pendingRecord, commit func(schemas.Receipt) error) error {
	l := &t.own
	l.mu.Lock()
	switch {
	case l.log == nil:
		l.mu.Unlock()
		return schemas.Errorf(schemas.Failed, "the suppression list was not opened").WithHint("report this as a bug")
	case c.list != l.base:
		l.mu.Unlock()
		return t.errListReplaced()
	}
	var err error
	if r.Changed {
		err = t.note(record)
	}
	l.mu.Unlock()
	if err != nil || !r.Changed {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return commit(r)
}

// Finish puts a list in place that holds what Apply and Clear have found since
// RemoveLeftovers, in mode suppression; otherwise there is nothing to do. A list
// to which nothing is added stays as it is, to the byte; where there is none,
// an empty one is made. The new one is durable and read back before it takes
// the place of the old one.
func (t *Table) Finish(ctx context.Context) error {
	l := &t.own
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Mode != Suppression || l.log == nil {
		return nil
	}
	path := pendingPath(t.List)
	p, err := readPending(path)
	if err == nil && (p == nil || p.Run != l.run.ID) { // by a run of another workspace
		err = t.errListReplaced()
	}
	if err != nil {
		return err
	}
	version, err := listVersion(t.List)
	switch {
	case err != nil:
		return err
	case version == p.Written: // by an attempt that was cut short, or whose folder was not synced
		err = t.Disk.SyncDir(filepath.Dir(t.List))
	case version != l.base:
		err = t.errListReplaced()
	case version == noList || len(p.found)+len(p.clear) > 0:
		err = t.merge(ctx, p)
	}
	if err != nil {
		return err
	}
	if err := l.log.Close(); err != nil {
		return err
	}
	l.log = nil
	return t.Disk.Remove(path)
}

// merge writes the new list. The caller holds the lock.
func (t *Table) merge(ctx context.Context, p *pending) error {
	out, err := t.Disk.Create(t.List, 0o600)
	if err != nil {
		return writeError(err)
	}
	defer out.Discard()
	w, err := newListWriter(out, t.Table)
	if err != nil {
		return err
	}
	if err := t.mergeInto(ctx, w, p); err != nil {
		return asWriteError(err)
	}
	if err := w.finish(); err != nil {
		return writeError(err)
	}
	if info, err := os.Stat(t.List); err == nil {
		if err := keepMode(out, info); err != nil {
			return err
		}
	}
	if err := out.Sync(); err != nil {
		return writeError(err)
	}
	if err := w.confirm(out.File, t.Table); err != nil {
		return err
	}
	version, err := versionOf(out)
	if err != nil {
		return err
	}
	if err := t.note(pendingRecord{Written: version}); err != nil {
		return err
	}
	if now, err := listVersion(t.List); err != nil || now != t.own.base {
		return errors.Join(err, t.errListReplaced())
	}
	if err := out.Publish(); err != nil {
		return writeError(err)
	}
	return nil
}

// mergeInto merges the list that is there with what is added.
func (t *Table) mergeInto(ctx context.Context, w *listWriter, p *pending) error {
	old, err := openList(t.List, t.Table)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != nil {
		defer old.close()
	}
	run := t.own.run
	added := slices.Sorted(maps.Keys(p.found))
	add := func(until string, all bool) error {
		for len(added) > 0 && (all || added[0] < until) {
			id := added[0]
			added = added[1:]
			if err := w.write(entry{id, string(t.Scope), p.found[id], run.StartedMS, run.StartedMS, run.ID}); err != nil {
				return err
			}
		}
		return nil
	}
	for n := 0; old != nil; n++ {
		if n%listRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := old.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := add(e.id, false); err != nil {
			return err
		}
		if len(added) > 0 && added[0] == e.id {
			added = added[1:]
			if ms := p.found[e.id]; ms < e.since {
				e.since, e.checked, e.run = ms, run.StartedMS, run.ID
			}
		}
		if p.clear[e.id] {
			continue
		}
		if err := w.write(e); err != nil {
			return err
		}
	}
	return add("", true)
}
