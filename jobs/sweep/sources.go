package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/bits"
	"slices"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// pinOwn records the own lists that the run applies, unless they are on record.
func (r *run) pinOwn() error {
	lists := r.deps.Workspace.OwnLists()
	if sameLists(r.pinnedOwn(), lists) {
		return nil
	}
	return r.append(schemas.EventOwnLists, schemas.OwnLists{Lists: lists})
}

// pinnedOwn are the own lists on record.
func (r *run) pinnedOwn() []schemas.OwnList {
	var v schemas.OwnLists
	for _, e := range r.events() {
		if e.Type == schemas.EventOwnLists {
			v = schemas.OwnLists{}
			_ = json.Unmarshal(e.Data, &v)
		}
	}
	return v.Lists
}

// ownChanged says why a run that has begun to write what it found cannot go on
// after own lists were imported or removed, or nothing.
func (r *run) ownChanged() string {
	if r.suppressed == nil || sameLists(r.pinnedOwn(), r.deps.Workspace.OwnLists()) {
		return ""
	}
	return "the own suppression lists have changed"
}

func sameLists(a, b []schemas.OwnList) bool {
	return slices.EqualFunc(a, b, func(x, y schemas.OwnList) bool { return x.Source == y.Source && x.Digest == y.Digest })
}

// loadOwn adds the own lists to set.
func (w *Workspace) loadOwn(ctx context.Context, set *idset.OptedOut) error {
	return Layout(w.dir).loadOwn(ctx, w.OwnLists(), set)
}

func (l Layout) loadOwn(ctx context.Context, lists []schemas.OwnList, set *idset.OptedOut) error {
	for _, own := range lists {
		info, err := idset.LoadList(ctx, l.OwnList(own), false, set)
		if err != nil {
			return err
		}
		if err := sameOwn(own.Source, info.Digest, own.Digest); err != nil {
			return err
		}
	}
	return nil
}

// ownTotal is the number of entries of all own lists.
func (w *Workspace) ownTotal() (n int64) {
	for _, l := range w.own {
		n += l.Total
	}
	return n
}

// openOwn opens an own list to walk through it beside sorted ids.
func (w *Workspace) openOwn(l schemas.OwnList) (*known, error) {
	list, err := idset.OpenList(w.ownPath(l), false)
	if err != nil {
		return nil, err
	}
	return &known{list: list, path: w.ownPath(l), want: l.Digest, buf: make([]idset.Entry, 1024)}, nil
}

// counter counts what is opted out by who lists it.
type counter struct {
	names []string
	c     schemas.SourceCount
}

func newCounter(lists []schemas.OwnList) counter {
	t := counter{c: schemas.SourceCount{BySource: map[string]int64{}}}
	for _, l := range lists {
		t.names = append(t.names, l.Source)
		t.c.BySource[l.Source] = 0
	}
	return t
}

// add counts n ids or rows that the operator lists or not, and the own lists
// whose bits are set.
func (t *counter) add(operator bool, own uint64, n int64) {
	switch {
	case operator && own != 0:
		t.c.Both += n
	case own != 0:
		t.c.Own += n
	case operator:
		t.c.Operator += n
	}
	for ; own != 0; own &= own - 1 {
		t.c.BySource[t.names[bits.TrailingZeros64(own)]] += n
	}
}

// countSources counts the distinct ids of the run that are opted out, by who
// lists them. It walks through the ids beside all lists, as they are when
// nothing more will be asked.
func (r *run) countSources(ctx context.Context) error {
	w := r.deps.Workspace
	lists := w.OwnLists()
	for _, e := range r.events() {
		if e.Type == schemas.EventSourcesCounted {
			return nil
		}
	}
	if len(lists) == 0 {
		return nil
	}
	operator, err := w.openList(*r.suppressed)
	if err != nil {
		return err
	}
	defer operator.list.Close()
	own := make([]*known, len(lists))
	for i, l := range lists {
		if own[i], err = w.openOwn(l); err != nil {
			return err
		}
		defer own[i].list.Close()
	}
	reader, err := idset.OpenReader(r.path(shardsDir))
	if err != nil {
		return err
	}
	defer reader.Close()
	count := newCounter(lists)
	for ids := make([]schemas.ID, 4096); ; {
		n, err := reader.Next(ids)
		if errors.Is(err, io.EOF) {
			break
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, id := range ids[:n] {
			listed, err := operator.has(id)
			mask := uint64(0)
			for i := range own {
				on, ownErr := own[i].has(id)
				err = errors.Join(err, ownErr)
				if on {
					mask |= 1 << i
				}
			}
			if err != nil {
				return err
			}
			count.add(listed, mask, 1)
		}
	}
	return r.append(schemas.EventSourcesCounted, schemas.SourcesCounted{IDs: count.c})
}

// attribution tells of rows who lists their ids.
type attribution struct {
	lists []schemas.OwnList
	all   *idset.OptedOut // ids on any list
	own   *idset.OptedOut // ids on own lists; in place of a time it gives the index in masks
	masks []uint64        // a bit for each own list, and operatorBit
}

const operatorBit = 1 << 63

// attribute prepares to count rows; nil if there are no own lists.
func (r *run) attribute(ctx context.Context, all *idset.OptedOut) (*attribution, error) {
	w := r.deps.Workspace
	a := &attribution{lists: w.OwnLists(), all: all}
	if len(a.lists) == 0 {
		return nil, nil
	}
	a.own = idset.NewOptedOut(r.job.Rules, int(w.ownTotal()))
	for i, l := range a.lists {
		operator, err := w.openList(*r.suppressed)
		if err != nil {
			return nil, err
		}
		_, err = idset.EachEntry(ctx, w.ownPath(l), func(e idset.Entry) error {
			listed, err := operator.has(e.ID)
			if err != nil {
				return err
			}
			n, ok := a.own.SinceID(e.ID)
			if !ok {
				n = int64(len(a.masks))
				a.masks = append(a.masks, 0)
				err = a.own.Add(schemas.OptOut{ID: e.ID, SinceMS: n})
			}
			a.masks[n] |= 1 << i
			if listed {
				a.masks[n] |= operatorBit
			}
			return err
		})
		operator.list.Close()
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// unit counts the rows of a unit.
func (a *attribution) unit(ctx context.Context, source Source, u schemas.Unit) (schemas.UnitSources, error) {
	count := newCounter(a.lists)
	add := func(mask uint64, n int64) { count.add(mask&operatorBit != 0, mask&^operatorBit, n) }
	last, lastMask := int64(schemas.NoRow), uint64(0) // of rows with several cells
	err := source.Scan(ctx, u, func(c schemas.Cells) error {
		a.all.SinceEach(c.Values, func(i int, _ int64) {
			mask := uint64(operatorBit)
			if n, ok := a.own.Since(c.Values[i]); ok {
				mask = a.masks[n]
			}
			if len(c.At) == 0 {
				add(mask, c.Count(i))
				return
			}
			if c.At[i] != last {
				add(lastMask, 1)
				last, lastMask = c.At[i], 0
			}
			lastMask |= mask
		})
		return ctx.Err()
	})
	add(lastMask, 1)
	return schemas.UnitSources{Table: u.Table, Unit: u.Name, SourceCount: count.c}, err
}

// count counts the rows of a unit that holds an id of an own list, before its
// flags are written. ids is the file of the unit's ids.
func (a *applier) count(ctx context.Context, ids string, u schemas.Unit) error {
	a.mu.Lock()
	_, done := a.done.sources[keyOf(u)]
	a.mu.Unlock()
	if a.sources == nil || done {
		return nil
	}
	holds, err := idset.HoldsAny(ctx, ids, a.sources.own)
	if err != nil || !holds {
		return err
	}
	counted, err := a.sources.unit(ctx, a.run.source(u.Table), u)
	if err != nil {
		return &unitError{err}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.journal.Append(a.run.id, schemas.EventUnitSources, counted); err != nil {
		return err
	}
	a.done.sources[keyOf(u)] = counted
	return nil
}

// publishSources puts the counted rows that it does not hold yet into the
// ledger.
func (a *applier) publishSources() error {
	held := map[unitKey]bool{}
	for _, e := range a.run.events() {
		if e.Type != schemas.EventTableSources {
			continue
		}
		var v schemas.TableSources
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return err
		}
		for _, u := range v.Units {
			held[unitKey{u.Table, u.Unit}] = true
		}
	}
	for _, t := range a.run.job.Tables {
		var units []schemas.UnitSources
		for _, u := range a.units {
			counted, ok := a.done.sources[keyOf(u)]
			if _, applied := a.done.receipts[keyOf(u)]; u.Table == t.Name && ok && applied && !held[keyOf(u)] {
				units = append(units, counted)
			}
		}
		for part := range slices.Chunk(units, receiptsPerEvent) {
			if err := a.run.append(schemas.EventTableSources, schemas.TableSources{Table: t.Name, Units: part}); err != nil {
				return err
			}
		}
	}
	return nil
}
