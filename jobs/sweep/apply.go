package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// applied is what the apply journal holds.
type applied struct {
	intents  map[unitKey]schemas.Receipt // the unit was about to become this
	receipts map[unitKey]schemas.Receipt // the unit is this
}

func (r *run) loadApplied() (applied, error) {
	a, journal, err := r.openApplied()
	if err != nil {
		return a, err
	}
	return a, journal.Close()
}

func (r *run) openApplied() (applied, *ledger.Chain, error) {
	a := applied{intents: map[unitKey]schemas.Receipt{}, receipts: map[unitKey]schemas.Receipt{}}
	journal, err := r.openJournal(applyLog, func(e schemas.Event) error {
		var receipt schemas.Receipt
		if err := json.Unmarshal(e.Data, &receipt); err != nil {
			return err
		}
		key := unitKey{receipt.Table, receipt.Unit}
		if e.Type == schemas.EventApplyIntent {
			a.intents[key] = receipt
		} else {
			a.receipts[key] = receipt
		}
		return nil
	})
	return a, journal, err
}

// explains tells whether the unit is at version because this run made it so.
func (a applied) explains(u schemas.Unit, version string) bool {
	return a.receipts[keyOf(u)].VersionAfter == version || a.intents[keyOf(u)].VersionAfter == version
}

// apply writes the flags into every unit. The order for each is: intent
// durable, unit replaced, receipt durable.
func (r *run) apply(ctx context.Context) error {
	set, err := r.learn(ctx)
	if err != nil {
		return err
	}
	began := r.now()
	extracted, extractJournal, err := r.loadExtracted()
	if err != nil {
		return err
	}
	if err := extractJournal.Close(); err != nil {
		return err
	}
	done, journal, err := r.openApplied()
	if err != nil {
		return err
	}
	defer journal.Close()

	var rows int64
	units := map[string][]schemas.Unit{}
	for _, u := range r.units {
		rows += u.Rows
		units[u.Table] = append(units[u.Table], u)
	}
	for _, t := range r.job.Tables {
		if err := t.Target.RemoveLeftovers(units[t.Name]); err != nil {
			return err
		}
	}
	r.deps.Progress.Start("apply", rows, "rows")
	defer r.deps.Progress.Stop()
	a := &applier{run: r, journal: journal, done: done, set: set, extracted: extracted}
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for i, u := range r.units {
		if r.failed[keyOf(u)] {
			continue
		}
		tasks.Go(func() error {
			if err := taskCtx.Err(); err != nil {
				return err
			}
			err := a.unit(taskCtx, i, u)
			r.deps.Progress.Add(u.Rows)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	r.applySeconds = r.now().Sub(began).Seconds()
	return a.publish()
}

type applier struct {
	run       *run
	set       *idset.OptedOut
	extracted map[int]unitExtracted
	mu        sync.Mutex // of journal, done and the ledger
	journal   *ledger.Chain
	done      applied
}

// unit is the apply task of one unit.
func (a *applier) unit(ctx context.Context, index int, u schemas.Unit) error {
	r := a.run
	a.mu.Lock()
	_, finished := a.done.receipts[keyOf(u)]
	intent, intended := a.done.intents[keyOf(u)]
	a.mu.Unlock()
	if finished {
		return nil
	}
	if intended {
		// Killed around the replacement of the unit: its version tells whether
		// that happened.
		version, err := r.source(u.Table).Version(ctx, u)
		if err == nil && version == intent.VersionAfter {
			return a.record(schemas.EventUnitApplied, intent)
		}
	}
	receipt, err := r.target(u.Table).Apply(ctx, u, a.set.Since, func(receipt schemas.Receipt) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.complete(index, receipt); err != nil {
			return err
		}
		return a.record(schemas.EventApplyIntent, receipt)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = a.complete(index, receipt)
	}
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		return r.fail("apply", failure(u, err))
	}
	return a.record(schemas.EventUnitApplied, receipt)
}

// complete checks that a unit was written with all the rows that were checked.
func (a *applier) complete(index int, receipt schemas.Receipt) error {
	read := a.extracted[index].Counts
	if receipt.Rows != read.Rows || receipt.Nulls != read.Nulls {
		return fmt.Errorf("%d rows (%d without an id) would be written, %d (%d) were checked", receipt.Rows, receipt.Nulls, read.Rows, read.Nulls)
	}
	if receipt.Flagged != receipt.OptedOut+receipt.Kept || receipt.Confirmed != receipt.Flagged {
		return fmt.Errorf("%d rows are opted out, %d had a flag that is kept, but %d are flagged and %d were read back",
			receipt.OptedOut, receipt.Kept, receipt.Flagged, receipt.Confirmed)
	}
	return nil
}

func (a *applier) record(typ schemas.EventType, receipt schemas.Receipt) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.journal.Append(a.run.id, typ, receipt); err != nil {
		return err
	}
	key := unitKey{receipt.Table, receipt.Unit}
	if typ == schemas.EventApplyIntent {
		a.done.intents[key] = receipt
	} else {
		a.done.receipts[key] = receipt
	}
	return nil
}

// receiptsPerEvent keeps the lines of the ledger short.
const receiptsPerEvent = 500

// publish puts the receipts that it does not hold yet into the ledger.
func (a *applier) publish() error {
	held := map[unitKey]bool{}
	for _, e := range a.run.events() {
		if e.Type != schemas.EventTableApplied {
			continue
		}
		var v schemas.TableApplied
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return err
		}
		for _, receipt := range v.Receipts {
			held[unitKey{receipt.Table, receipt.Unit}] = true
		}
	}
	for _, t := range a.run.job.Tables {
		v := schemas.TableApplied{Table: t.Name}
		flush := func() error {
			if len(v.Receipts) == 0 {
				return nil
			}
			err := a.run.append(schemas.EventTableApplied, v)
			v.Receipts = nil
			return err
		}
		for _, u := range a.run.units {
			receipt, ok := a.done.receipts[keyOf(u)]
			if u.Table != t.Name || !ok || held[keyOf(u)] {
				continue
			}
			v.Receipts = append(v.Receipts, receipt)
			if len(v.Receipts) == receiptsPerEvent {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) target(table string) Target {
	for _, t := range r.job.Tables {
		if t.Name == table {
			return t.Target
		}
	}
	return missingTable{table}
}
