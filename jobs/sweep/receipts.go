package sweep

import (
	"encoding/json"
	"errors"
	"io/fs"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// applied is what a journal of applied flags holds.
type applied struct {
	intents  map[unitKey]schemas.Receipt // the unit was about to become this
	receipts map[unitKey]schemas.Receipt // the unit is this
	sources  map[unitKey]schemas.UnitSources
}

func newApplied() applied {
	return applied{intents: map[unitKey]schemas.Receipt{}, receipts: map[unitKey]schemas.Receipt{}, sources: map[unitKey]schemas.UnitSources{}}
}

// load takes an event of the journal.
func (a applied) load(e schemas.Event) error {
	if e.Type == schemas.EventUnitSources {
		var v schemas.UnitSources
		err := json.Unmarshal(e.Data, &v)
		a.sources[unitKey{v.Table, v.Unit}] = v
		return err
	}
	var receipt schemas.Receipt
	if err := json.Unmarshal(e.Data, &receipt); err != nil {
		return err
	}
	a.add(e.Type, receipt)
	return nil
}

func (a applied) add(typ schemas.EventType, receipt schemas.Receipt) {
	key := unitKey{receipt.Table, receipt.Unit}
	if typ == schemas.EventApplyIntent {
		a.intents[key] = receipt
	} else {
		a.receipts[key] = receipt
	}
}

// moved gives the units at the versions that the receipts leave them at.
func (a applied) moved(units []schemas.Unit) []schemas.Unit {
	now := make([]schemas.Unit, len(units))
	for i, u := range units {
		if receipt, ok := a.receipts[keyOf(u)]; ok {
			u.Version, u.Written = receipt.VersionAfter, receipt.Staged
		}
		now[i] = u
	}
	return now
}

// loadApplied reads a journal of applied flags; one that does not exist yet is
// empty.
func (r *run) loadApplied(log string) (applied, error) {
	a := newApplied()
	_, err := ledger.Read(r.path(log), a.load)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return a, err
}

// loadPasses reads what the run has written so far, first to last.
func (r *run) loadPasses() ([]applied, error) {
	before, err := r.loadApplied(reapplyLog)
	if err != nil {
		return nil, err
	}
	done, err := r.loadApplied(applyLog)
	return []applied{before, done}, err
}

// versions are those that a unit may have if nobody but this run has written
// to it: after an intent without a receipt there are two.
func versions(u schemas.Unit, passes []applied) []string {
	possible := []string{u.Version}
	for _, pass := range passes {
		if receipt, ok := pass.receipts[keyOf(u)]; ok {
			possible = []string{receipt.VersionAfter}
		} else if intent, ok := pass.intents[keyOf(u)]; ok {
			possible = append(possible, intent.VersionAfter)
		}
	}
	return possible
}
