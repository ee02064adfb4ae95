package sweep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
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
	var seen *idset.Reader
	if before.Run != "" {
		seen, err = idset.OpenReader(Layout(w.dir).Run(before.Run, shardsDir))
		if unseen = errors.Is(err, fs.ErrNotExist); err != nil && !unseen {
			return nil, false, err
		}
		if !unseen {
			defer seen.Close()
		}
	}
	c := chooser{run: r, before: before, unseen: unseen, lists: lists, learned: learned, seen: seen}
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		next, err := firstListed(lists)
		if err != nil || next == nil {
			return found, unseen, err
		}
		id, err := ids.From(&next.ID)
		if err != nil || id == nil {
			return found, unseen, err
		}
		x, ok, err := c.choose(*id)
		if err != nil {
			return nil, false, err
		}
		if ok {
			found = append(found, x)
		}
		ids.Pass()
	}
}

// firstListed is the first entry that is left on any of the lists, or nil.
func firstListed(lists []*known) (first *idset.Entry, err error) {
	for _, l := range lists {
		e, err := l.first()
		if err != nil {
			return nil, err
		}
		if e != nil && (first == nil || idset.Compare(e.ID, first.ID) < 0) {
			first = e
		}
	}
	return first, nil
}

// chooser tells of sorted ids which are waiting.
type chooser struct {
	run     *run
	before  schemas.FlaggedRun
	unseen  bool
	lists   []*known
	learned []idset.Entry
	seen    *idset.Reader // ids that the run before saw; nil: none are known
}

// saw tells whether the run before saw an id. Ids must come in order.
func (c *chooser) saw(id schemas.ID) (bool, error) {
	if c.seen == nil {
		return false, nil
	}
	at, err := c.seen.From(&id)
	return at != nil && *at == id, err
}

func (c *chooser) choose(id schemas.ID) (x wait, ok bool, err error) {
	e, err := listed(c.lists, id)
	if err != nil || e == nil {
		return x, false, err
	}
	for len(c.learned) > 0 && idset.Compare(c.learned[0].ID, id) < 0 {
		c.learned = c.learned[1:]
	}
	last := min(c.before.EndedMS, c.run.started.UnixMilli()) // should the clock have been set back
	since := (e.own == 0 || e.own > last) && (e.operator == 0 || e.operator > last)
	if len(c.learned) > 0 && c.learned[0].ID == id {
		e.operator = c.learned[0].FoundMS
		since = e.own == 0 || e.own > last
	}
	x = wait{id: id, start: e.since, known: cmp.Or(min(e.own, e.operator), e.own, e.operator)}
	was, err := c.saw(id)
	if err != nil {
		return x, false, err
	}
	switch {
	case c.before.Run == "":
		x.backlog = x.start < c.run.started.UnixMilli()
	case (c.unseen || was) && !since:
		return x, false, nil // flagged before, as far as can be known
	case c.unseen:
		x.backlog = x.start < c.before.StartedMS
	case !was && x.start < c.before.StartedMS:
		x.start, x.arrived = c.before.StartedMS, true
	}
	return x, true, nil
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

// listing is what lists tell of an id, in Unix ms.
type listing struct {
	since         int64
	operator, own int64 // when it was found; 0: it is not there
}

// listed finds an id on lists, of which the first is the operator's: what that
// has found is as old as the operator's data. Ids must come in order.
func listed(lists []*known, id schemas.ID) (found *listing, err error) {
	for i, l := range lists {
		ok, err := l.has(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		e := &l.rest[0]
		if found == nil {
			found = &listing{since: e.SinceMS}
		}
		found.since = min(found.since, e.SinceMS)
		switch {
		case i == 0:
			found.operator = e.FoundMS
		case found.own == 0 || e.FoundMS < found.own:
			found.own = e.FoundMS
		}
	}
	return found, nil
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
			hits, err := holds(taskCtx, r.path(extracted[i].File), len(extracted) == 1, waiting)
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
