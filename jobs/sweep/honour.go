package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// honour tells of every table how long people waited whose flags this run was
// the first to write. The ids that earlier runs saw, and the journals in which
// they learned of opt-outs, say who that is.
func (r *run) honour(ctx context.Context) error {
	flagged, told, err := r.flaggedAt()
	if err != nil {
		return err
	}
	done, err := r.loadApplied(applyLog)
	if err != nil {
		return err
	}
	tables := map[string]*schemas.TableHonoured{}
	for _, t := range r.job.Tables {
		if !told[t.Name] {
			tables[t.Name] = &schemas.TableHonoured{Table: t.Name, Flagged: flagged[t.Name], Before: r.past().Flagged[t.Name].Run}
		}
	}
	units := map[schemas.FlaggedRun][]int{} // by the run that wrote their flags before
	extracted, journal, err := r.loadExtracted()
	if err != nil {
		return err
	}
	if err := journal.Close(); err != nil {
		return err
	}
	for i, u := range r.units {
		if _, ok := extracted[i]; ok && tables[u.Table] != nil {
			before := r.past().Flagged[u.Table].Of(u.Name)
			units[before] = append(units[before], i)
		}
	}
	for before, which := range units {
		waiting, unseen, err := r.waiting(ctx, before)
		if err != nil {
			return err
		}
		if err := r.countWaits(ctx, waiting, which, extracted, done, tables); err != nil {
			return err
		}
		for _, i := range which {
			t := tables[r.units[i].Table]
			t.Unseen = t.Unseen || unseen
		}
	}
	for _, t := range r.job.Tables {
		if h := tables[t.Name]; h != nil {
			if err := r.append(schemas.EventTableHonoured, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// flaggedAt tells when the flags of each table were written: when the ledger
// got the last receipt. told are the tables of which the ledger holds all.
func (r *run) flaggedAt() (at map[string]time.Time, told map[string]bool, err error) {
	at, told = map[string]time.Time{}, map[string]bool{}
	last := r.started
	for _, e := range r.events() {
		var v struct {
			Table string `json:"table"`
		}
		switch e.Type {
		case schemas.EventTableApplied, schemas.EventTableHonoured:
			if err := json.Unmarshal(e.Data, &v); err != nil {
				return nil, nil, err
			}
			if e.Type == schemas.EventTableHonoured {
				told[v.Table] = true
				continue
			}
			at[v.Table] = e.Time
			last = e.Time
		case schemas.EventSuppressionUpdated:
			last = e.Time
		}
	}
	for _, t := range r.job.Tables {
		if _, ok := at[t.Name]; !ok {
			at[t.Name] = last // nothing was written
		}
	}
	return at, told, nil
}

// wait is an id whose flags this run is the first to write.
type wait struct {
	id      schemas.ID
	start   int64 // Unix ms; from when on it waits
	known   int64 // Unix ms; when its opt-out became known here
	arrived bool  // start is when it came, not its opt-out
	backlog bool  // nobody knows when it came
}

// waiting finds those ids among all of the run that are listed now, and that the
// run before did not flag because it did not know of the opt-out, or did not see
// the id. unseen tells that the ids which that run saw are gone.
func (r *run) waiting(ctx context.Context, before schemas.FlaggedRun) (found []wait, unseen bool, err error) {
	w := r.deps.Workspace
	learned, err := r.learnedSince(before.Run)
	if err != nil {
		return nil, false, err
	}
	lists, err := r.openLists()
	defer func() {
		for _, l := range lists {
			l.list.Close()
		}
	}()
	if err != nil {
		return nil, false, err
	}
	ids, err := idset.OpenReader(r.path(shardsDir))
	if err != nil {
		return nil, false, err
	}
	defer ids.Close()
	seen := &walk{}
	if before.Run != "" {
		seen.ids, err = idset.OpenReader(Layout(w.dir).Run(before.Run, shardsDir))
		if unseen = errors.Is(err, fs.ErrNotExist); err != nil && !unseen {
			return nil, false, err
		}
		defer seen.close()
	}
	known := min(before.EndedMS, r.started.UnixMilli()) // should the clock have been set back
	for each := (&walk{ids: ids}); ; {
		id, err := each.next()
		if errors.Is(err, io.EOF) {
			return found, unseen, nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, false, err
		}
		for len(learned) > 0 && idset.Compare(learned[0].ID, id) < 0 {
			learned = learned[1:]
		}
		answered := int64(0)
		if len(learned) > 0 && learned[0].ID == id {
			answered = learned[0].FoundMS
		}
		e, err := listed(lists, id, answered)
		if err != nil {
			return nil, false, err
		}
		if e == nil {
			continue
		}
		since := answered > 0 || e.FoundMS > known
		was, err := seen.has(id)
		if err != nil {
			return nil, false, err
		}
		x := wait{id: id, start: e.SinceMS, known: e.FoundMS}
		switch {
		case before.Run == "":
			x.backlog = e.SinceMS < r.started.UnixMilli()
		case unseen && !since, was && !since:
			continue // flagged before, as far as can be known
		case unseen:
			x.backlog = e.SinceMS < before.StartedMS
		case !was && e.SinceMS < before.StartedMS:
			x.start, x.arrived = before.StartedMS, true
		}
		found = append(found, x)
	}
}

// openLists opens the suppression list in force, and then all own lists.
func (r *run) openLists() (lists []*known, err error) {
	w := r.deps.Workspace
	list := w.list
	if r.suppressed != nil {
		list = *r.suppressed
	}
	operator, err := w.openList(list)
	if err != nil {
		return nil, err
	}
	lists = append(lists, operator)
	for _, l := range w.OwnLists() {
		own, err := w.openOwn(l)
		if err != nil {
			return lists, err
		}
		lists = append(lists, own)
	}
	return lists, nil
}

// listed finds an id on lists; of several entries the earliest times count. The
// first list is the operator's: what it has found is as old as the operator's
// data, so answered, if it is known, takes its place. Ids must come in order.
func listed(lists []*known, id schemas.ID, answered int64) (found *idset.Entry, err error) {
	for i, l := range lists {
		ok, err := l.has(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		e := l.rest[0]
		if i == 0 && answered > 0 {
			e.FoundMS = answered
		}
		if found != nil {
			e.SinceMS, e.FoundMS = min(e.SinceMS, found.SinceMS), min(e.FoundMS, found.FoundMS)
		}
		found = &e
	}
	return found, nil
}

// learnedSince are the ids that operators told to be opted out in this run and
// all others since the one named, with the time of the first answer.
func (r *run) learnedSince(before string) ([]idset.Entry, error) {
	var all []idset.Entry
	layout := Layout(r.deps.Workspace.dir)
	runs, err := os.ReadDir(layout.Runs())
	if err != nil {
		return nil, err
	}
	for _, e := range runs {
		if e.Name() <= before || e.Name() > r.id || !e.IsDir() {
			continue
		}
		_, err := ledger.Read(filepath.Join(layout.Runs(), e.Name(), checkLog), func(e schemas.Event) error {
			a, err := decodeAnswered(e)
			for _, o := range a.OptedOut {
				all = append(all, idset.Entry{ID: o.ID, SinceMS: o.SinceMS, FoundMS: e.Time.UnixMilli()})
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return idset.Distinct(all), nil
}

// countWaits counts which of the waiting ids are in units, and whether their
// flags were written.
func (r *run) countWaits(ctx context.Context, waiting []wait, which []int, extracted map[int]unitExtracted, done applied, tables map[string]*schemas.TableHonoured) error {
	if len(waiting) == 0 {
		return nil
	}
	var mu sync.Mutex // of both
	written, open := map[string][]bool{}, map[string][]bool{}
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for _, i := range which {
		tasks.Go(func() error {
			hits, err := holds(taskCtx, r.path(extracted[i].File), waiting)
			mu.Lock()
			defer mu.Unlock()
			u, to := r.units[i], open
			if _, ok := done.receipts[keyOf(u)]; ok {
				to = written
			}
			if to[u.Table] == nil {
				to[u.Table] = make([]bool, len(waiting))
			}
			for _, n := range hits {
				to[u.Table][n] = true
			}
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	for name, t := range tables {
		flagged := t.Flagged.UnixMilli()
		for n, x := range waiting {
			switch {
			case open[name] != nil && open[name][n]:
				t.Open.Add(flagged - x.start)
			case written[name] == nil || !written[name][n]:
			case x.backlog:
				t.Backlog.Add(flagged - x.start)
			default:
				known := max(x.known, x.start)
				t.Total.Add(flagged - x.start)
				t.Detect.Add(known - x.start)
				t.Apply.Add(flagged - known)
				if x.arrived {
					t.Arrived++
				}
			}
		}
	}
	return nil
}

// errAll ends a search that can find nothing more.
var errAll = errors.New("all found")

// holds tells which of the waiting ids, by number, are in the file of a unit's
// ids. Both are in order.
func holds(ctx context.Context, path string, waiting []wait) (hits []int, err error) {
	n := 0
	err = idset.EachID(ctx, path, func(id schemas.ID) error {
		for n < len(waiting) && idset.Compare(waiting[n].id, id) < 0 {
			n++
		}
		switch {
		case n == len(waiting):
			return errAll
		case waiting[n].id == id:
			hits = append(hits, n)
		}
		return nil
	})
	if errors.Is(err, errAll) {
		err = nil
	}
	return slices.Clip(hits), err
}

// walk reads sorted ids one by one. Without ids there are none.
type walk struct {
	ids  *idset.Reader
	buf  []schemas.ID
	rest []schemas.ID
}

func (w *walk) next() (schemas.ID, error) {
	if err := w.fill(); err != nil {
		return schemas.ID{}, err
	}
	id := w.rest[0]
	w.rest = w.rest[1:]
	return id, nil
}

func (w *walk) fill() error {
	if w.ids == nil {
		return io.EOF
	}
	if len(w.rest) > 0 {
		return nil
	}
	if w.buf == nil {
		w.buf = make([]schemas.ID, 4096)
	}
	n, err := w.ids.Next(w.buf)
	if w.rest = w.buf[:n]; n > 0 {
		return nil
	}
	return err
}

// has tells whether id is among them. Ids must come in order.
func (w *walk) has(id schemas.ID) (bool, error) {
	for {
		if err := w.fill(); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		switch c := idset.Compare(w.rest[0], id); {
		case c == 0:
			return true, nil
		case c > 0:
			return false, nil
		}
		w.rest = w.rest[1:]
	}
}

func (w *walk) close() {
	if w.ids != nil {
		w.ids.Close()
	}
}
