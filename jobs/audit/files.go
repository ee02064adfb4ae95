package audit

import (
	"maps"
	"slices"
	"strings"

	"optsweep/schemas"
)

type unitKey struct{ table, unit string }

// applied is how the last finished run, and what was unflagged since, left the
// units.
type applied struct {
	run   string
	units map[unitKey]schemas.Unit // at the versions that they were left at
}

func newApplied(run string, units []schemas.Unit, receipts []schemas.Receipt) *applied {
	a := &applied{run: run, units: map[unitKey]schemas.Unit{}}
	locations := map[unitKey]schemas.Unit{}
	for _, u := range units {
		locations[unitKey{u.Table, u.Name}] = u
	}
	for _, r := range receipts {
		key := unitKey{r.Table, r.Unit}
		if u, ok := locations[key]; ok {
			u.Version = r.VersionAfter
			a.units[key] = u
		}
	}
	return a
}

// add takes a later receipt of a unit.
func (a *applied) add(r schemas.Receipt) {
	if a == nil {
		return
	}
	key := unitKey{r.Table, r.Unit}
	if u, ok := a.units[key]; ok {
		u.Version = r.VersionAfter
		a.units[key] = u
	}
}

// files names the units that are no longer as the last run left them. Their
// rows may be new, so it is information and no error.
func (a *auditor) files() error {
	if a.opts.Version == nil || a.units == nil {
		return nil
	}
	const what = "files"
	keys := slices.SortedFunc(maps.Keys(a.units.units), func(x, y unitKey) int {
		if c := strings.Compare(x.table, y.table); c != 0 {
			return c
		}
		return strings.Compare(x.unit, y.unit)
	})
	changed := 0
	for _, key := range keys {
		u := a.units.units[key]
		version, err := a.opts.Version(a.ctx, u)
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		switch {
		case err != nil:
			changed++
			a.Checks.Add(Note, what, a.units.run, "", "%s, %s: %s", key.table, key.unit, explain(u.Location, err))
		case version != u.Version:
			changed++
			a.Checks.Add(Note, what, a.units.run, "", "%s, %s has changed since the run", key.table, key.unit)
		}
	}
	if changed == 0 {
		a.Checks.Add(OK, what, a.units.run, "", "all %d units are as they were left", len(keys))
	}
	return nil
}
