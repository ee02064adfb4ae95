package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// Cut removes the events up to last from the ledger, as long as the workspace
// is still its holder's.
func (j journal) Cut(last ledger.Head) error {
	if err := j.fence.Check(); err != nil {
		return err
	}
	return j.Chain.Cut(last, j.fence.Check)
}

// cutter finds out how much of the ledger is older than before and no longer
// needed: whole runs and unflags, and what stands between them.
type cutter struct {
	before  time.Time
	stays   int64 // number of the first event that stays in any case
	pending int64 // number of the last event of a cut that was begun

	done    bool
	run     string          // that has not ended
	unflags map[string]bool // that have not been completed, by pseudonym
	sum     schemas.CutCount
	found   schemas.CutCount
	last    ledger.Head
	kept    schemas.LedgerKept
}

// planCut says what of the ledger is to be removed; nothing if Last is zero.
// begun tells that a cut which the ledger holds already says the same.
func (w *Workspace) planCut(ctx context.Context, before time.Time) (cut schemas.LedgerCut, begun bool, err error) {
	path := Layout(w.dir).Ledger()
	end, err := ledger.Read(path, nil)
	if err != nil {
		return cut, false, err
	}
	c := cutter{before: before, stays: w.firstNeeded(), unflags: map[string]bool{}}
	if end.Pending != nil {
		c.pending = end.Pending.Last.Seq
	}
	if _, err := ledger.ReadLines(path, func(l ledger.Line) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.add(l)
	}); err != nil {
		return cut, false, err
	}
	if w.list.File != "" {
		c.kept.List = &w.list
	}
	c.kept.OwnLists = w.OwnLists()
	c.kept.Jobs = map[string]schemas.JobPast{}
	for job, h := range w.past {
		c.kept.Jobs[job] = h.JobPast
	}
	return schemas.LedgerCut{Last: c.last, Before: before.UTC(), CutCount: c.found, Kept: c.kept}, c.last.Seq > 0 && c.last.Seq == c.pending, nil
}

// firstNeeded is the first event of the last run, or of the last one that left
// receipts, which tell the next run which units are as they were left.
func (w *Workspace) firstNeeded() int64 {
	first, applied := int64(math.MaxInt64), int64(0)
	if len(w.last) > 0 {
		first = w.last[0].Seq
	}
	for _, h := range w.past {
		applied = max(applied, h.first)
	}
	if applied > 0 {
		first = min(first, applied)
	}
	return first
}

// add takes the next line of the ledger.
func (c *cutter) add(l ledger.Line) error {
	e := l.Event
	if err := c.keep(e); err != nil {
		return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
	}
	if e.Seq > c.pending && (e.Seq >= c.stays || !e.Time.Before(c.before)) {
		c.done = true
	}
	if c.done {
		return nil
	}
	if err := c.count(l); err != nil {
		return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
	}
	between := c.run == "" && len(c.unflags) == 0 && c.sum.Runs+c.sum.Unflags > 0
	if between || e.Seq == c.pending {
		c.found, c.last = c.sum, ledger.Head{Seq: e.Seq, Hash: l.Hash}
	}
	return nil
}

func (c *cutter) count(l ledger.Line) error {
	e := l.Event
	if c.sum.Events == 0 {
		c.sum.Since = e.Time
	}
	c.sum.Events++
	c.sum.Bytes += int64(len(l.Raw))
	c.sum.Until = e.Time
	switch e.Type {
	case schemas.EventRunStarted:
		c.run = e.Run // the one before, if it has not ended, never will
		c.sum.Runs++
		c.sum.Newest = e.Run
		if c.sum.Oldest == "" {
			c.sum.Oldest = e.Run
		}
	case schemas.EventRunFinished, schemas.EventRunAbandoned:
		c.run = ""
	case schemas.EventUnflagStarted, schemas.EventUnflagged:
		var v schemas.Unflag
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return err
		}
		if e.Type == schemas.EventUnflagged {
			delete(c.unflags, v.Pseudonym)
			return nil
		}
		c.unflags[v.Pseudonym] = true
		c.sum.Unflags++
	}
	return nil
}

// keep takes down what must outlive the event.
func (c *cutter) keep(e schemas.Event) error {
	switch e.Type {
	case schemas.EventSigningKey:
		c.kept.SigningKey = new(schemas.SigningKey)
		return json.Unmarshal(e.Data, c.kept.SigningKey)
	case schemas.EventLedgerCut:
		var v schemas.LedgerCut
		err := json.Unmarshal(e.Data, &v)
		if v.Kept.SigningKey != nil {
			c.kept.SigningKey = v.Kept.SigningKey
		}
		return err
	}
	return nil
}

// cut removes the events. The ledger says so first, and its head is sealed
// behind that, so that no recorded head of the workspace lies before the
// ledger's new beginning. If it is cut short, the next purge completes it.
func (w *Workspace) cut(cut schemas.LedgerCut, begun bool) error {
	if cut.Last.Seq == 0 {
		return nil
	}
	if !begun {
		if err := w.append("", schemas.EventLedgerCut, cut); err != nil {
			return err
		}
	}
	if err := w.seal(); err != nil {
		return err
	}
	if err := w.ledger.Cut(cut.Last); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// rememberCut takes what a cut restates while the ledger is read. The receipts
// of a run that is gone are not restated: without them the next run of its job
// looks at every unit.
func (w *Workspace) rememberCut(e schemas.Event) error {
	var v schemas.LedgerCut
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return fmt.Errorf("event %d of the ledger: %w", e.Seq, err)
	}
	if v.Kept.List != nil {
		w.list = *v.Kept.List
	}
	for _, l := range v.Kept.OwnLists {
		if w.own == nil {
			w.own, w.removed = map[string]ownList{}, map[string]schemas.OwnListRemoved{}
		}
		if _, known := w.own[l.Source]; !known {
			w.own[l.Source] = ownList{OwnList: l}
		}
	}
	for job, past := range v.Kept.Jobs {
		if w.past == nil {
			w.past = map[string]history{}
		}
		h := w.past[job]
		h.JobPast = past
		w.past[job] = h
	}
	return nil
}
