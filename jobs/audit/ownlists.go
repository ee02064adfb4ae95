package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// rememberOwn keeps which own lists are in force.
func rememberOwn(own map[string]schemas.OwnList, e schemas.Event) error {
	switch e.Type {
	case schemas.EventOwnListImported:
		v, err := decode[schemas.OwnListImported](e)
		if err == nil {
			err = adds(v)
		}
		own[v.Source] = v.OwnList
		return err
	case schemas.EventOwnListEdited:
		v, err := decode[schemas.OwnListEdited](e)
		l := own[v.Source]
		l.File, l.Total, l.Digest = v.File, v.Total, v.Digest
		own[v.Source] = l
		return err
	case schemas.EventOwnListRemoved:
		v, err := decode[schemas.OwnListRemoved](e)
		delete(own, v.Source)
		return err
	case schemas.EventLedgerCut:
		v, err := decode[schemas.LedgerCut](e)
		for _, l := range v.Kept.OwnLists {
			own[l.Source] = l
		}
		return err
	}
	return nil
}

// adds checks that the figures of an import add up.
func adds(v schemas.OwnListImported) error {
	bad := int64(0)
	for _, n := range v.Malformed {
		bad += n
	}
	if v.Rows == v.Valid+bad && v.Valid == v.Distinct+v.Repeated && v.Distinct == v.Added+v.Moved+v.Unchanged && v.Total >= v.Distinct {
		return nil
	}
	return fmt.Errorf("the figures of an import into the own list %s do not add up", v.Source)
}

// ownLists compares the own lists in force with the ledger.
func (a *auditor) ownLists() {
	const what = "own list"
	for _, source := range slices.Sorted(maps.Keys(a.own)) {
		l, inForce := a.presentOwn(a.own[source])
		if !inForce {
			continue
		}
		path := a.layout.OwnList(l)
		digest, err := digestOf(a.ctx, path)
		switch {
		case err != nil:
			a.fail(what, "", path, "%s", explain(path, err))
		case digest != l.Digest:
			a.fail(what, "", path, "it is not the list that the ledger knows")
		default:
			a.ok(what, "", path, "%d ids, the list that the ledger knows", l.Total)
		}
		if l.Quarantine == "" {
			continue
		}
		path = a.path(l.Quarantine)
		data, err := digestOf(a.ctx, path)
		switch {
		case err != nil:
			a.fail(what, "", path, "%s", explain(path, err))
		case data != l.QuarantineDigest:
			a.fail(what, "", path, "it is not the file that the ledger knows")
		default:
			a.ok(what, "", path, "the rows that the last import left out")
		}
	}
}

// presentOwn is a list in force, which may have been replaced or removed since
// the ledger was read.
func (a *auditor) presentOwn(l schemas.OwnList) (present schemas.OwnList, inForce bool) {
	for {
		if _, err := os.Stat(a.layout.OwnList(l)); !errors.Is(err, fs.ErrNotExist) {
			return l, true
		}
		now := map[string]schemas.OwnList{}
		_, err := ledger.Read(a.layout.Ledger(), func(e schemas.Event) error { return rememberOwn(now, e) })
		newer, ok := now[l.Source]
		switch {
		case err == nil && !ok:
			return l, false
		case err != nil || newer.File == l.File:
			return l, true // it is missing
		}
		l = newer
	}
}
