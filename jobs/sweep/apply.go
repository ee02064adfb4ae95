package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/schemas"
)

// apply writes the flags of all ids that are known to be opted out.
func (r *run) apply(ctx context.Context) error {
	set, err := r.learn(ctx)
	if err != nil {
		return err
	}
	began := r.now()
	before, err := r.loadApplied(reapplyLog)
	if err != nil {
		return err
	}
	if err := r.countSources(ctx); err != nil {
		return err
	}
	a := applier{run: r, phase: "apply", published: schemas.EventTableApplied, units: before.moved(r.units), set: set, finder: idset.NewFinder(set)}
	if a.sources, err = r.attribute(ctx, set); err != nil {
		return err
	}
	if a.carrier, err = r.newCarrier(); err != nil {
		return err
	}
	for i := range r.units {
		a.which = append(a.which, i)
	}
	if err := a.all(ctx, applyLog); err != nil {
		return err
	}
	r.applySeconds = r.now().Sub(began).Seconds()
	if err := a.publish(); err != nil {
		return err
	}
	return a.publishSources()
}

// applier writes flags into units. The order for each is: intent durable, unit
// replaced, receipt durable.
type applier struct {
	run       *run
	phase     string
	published schemas.EventType // of the receipts in the ledger
	units     []schemas.Unit    // those of the run, as they are now
	which     []int             // of them are to be treated
	set       *idset.OptedOut
	finder    *idset.Finder // of set
	sources   *attribution  // of rows to own lists; nil: not wanted
	carrier   *carrier      // nil: every unit is worked out

	extracted map[int]unitExtracted
	mu        sync.Mutex // of journal, done and the ledger
	journal   journal
	done      applied
}

// all treats the units that the journal named log has no receipts of.
func (a *applier) all(ctx context.Context, log string) (err error) {
	r := a.run
	extracted, extractJournal, err := r.loadExtracted()
	if err != nil {
		return err
	}
	if err := extractJournal.Close(); err != nil {
		return err
	}
	a.extracted, a.done = extracted, newApplied()
	if a.journal, err = r.openJournal(log, a.done.load); err != nil {
		return err
	}
	defer a.journal.Close()

	var rows int64
	units := map[string][]schemas.Unit{}
	which := slices.DeleteFunc(slices.Clone(a.which), func(i int) bool { return r.failed[keyOf(a.units[i])] })
	for _, i := range which {
		u := a.units[i]
		rows += u.Rows
		units[u.Table] = append(units[u.Table], u)
	}
	for _, t := range r.job.Tables {
		if err := t.Target.RemoveLeftovers(units[t.Name]); err != nil {
			return err
		}
	}
	r.deps.Progress.Start(a.phase, rows, "rows")
	defer r.deps.Progress.Stop()
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(r.job.Workers)
	for _, i := range which {
		tasks.Go(func() error {
			if err := taskCtx.Err(); err != nil {
				return err
			}
			u := a.units[i]
			err := a.unit(taskCtx, i, u)
			r.deps.Progress.Add(u.Rows)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	return a.finish(ctx)
}

// finish writes what the units of a table share.
func (a *applier) finish(ctx context.Context) error {
	for _, t := range a.run.job.Tables {
		f, ok := t.Target.(Finisher)
		if !ok {
			continue
		}
		if err := a.run.deps.Workspace.fence.Check(); err != nil {
			return err
		}
		if err := f.Finish(ctx); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	return nil
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
	err := a.count(ctx, r.path(a.extracted[index].File), u)
	var broken *unitError
	if err != nil && !errors.As(err, &broken) {
		return err // of the workspace, which all units need
	}
	receipt, carried := schemas.Receipt{}, false
	find := a.finding(ctx, u, a.extracted[index])
	if err == nil && a.carrier.may(u) {
		found, err := find()
		if err != nil {
			return err // of the workspace, too
		}
		receipt, carried = a.carrier.carry(ctx, u, a.extracted[index], found.name)
	}
	if err == nil && !carried {
		receipt, err = a.write(ctx, index, u, find)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errFinding) {
		return err // of the workspace
	}
	if err == nil {
		err = a.complete(index, receipt)
	}
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		return r.fail(a.phase, failure(u, err))
	}
	return a.record(schemas.EventUnitApplied, receipt)
}

// write writes the flags of a unit.
func (a *applier) write(ctx context.Context, index int, u schemas.Unit, find func() (found, error)) (schemas.Receipt, error) {
	commit := func(receipt schemas.Receipt) error {
		f, err := find()
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		receipt.Hits = f.name
		if err := a.complete(index, receipt); err != nil {
			return err
		}
		return a.record(schemas.EventApplyIntent, receipt)
	}
	receipt, ok, err := a.byRows(ctx, index, u, find, commit)
	if !ok {
		receipt, err = a.run.target(u.Table).Apply(ctx, u, a.set.Since, commit)
	}
	if err == nil {
		var f found
		f, err = find()
		receipt.Hits = f.name
	}
	return receipt, err
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
	a.done.add(typ, receipt)
	return nil
}

// receiptsPerEvent keeps the lines of the ledger short.
const receiptsPerEvent = 500

// publish puts the receipts that it does not hold yet into the ledger.
func (a *applier) publish() error {
	held := map[unitKey]bool{}
	for _, e := range a.run.events() {
		if e.Type != a.published {
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
			err := a.run.append(a.published, v)
			v.Receipts = nil
			return err
		}
		for _, u := range a.units {
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
