package audit

import (
	"time"

	"optsweep/jobs/ledger"
	"optsweep/schemas"
)

// purge is one act of retention, as far as the folders of runs are concerned.
type purge struct {
	idsBefore, runsBefore time.Time
	spared                string // the last run at that time
}

// readPurged finds out what retention has removed. A ledger that cannot be read
// is found out later. A purge concerns earlier runs only, so it does not matter
// if its event is removed from the ledger: theirs are, too.
func (a *auditor) readPurged() {
	last := ""
	_, _ = ledger.Read(a.layout.Ledger(), func(e schemas.Event) error {
		switch e.Type {
		case schemas.EventRunStarted:
			last = e.Run
		case schemas.EventPurged:
			p, err := decode[schemas.Purged](e)
			a.purges = append(a.purges, purge{p.IDsBefore, p.RunsBefore, last})
			return err
		}
		return nil
	})
}

// purgedIDs tells whether the ids of a run were removed on request.
func (a *auditor) purgedIDs(f facts) bool {
	return a.purged(f, func(p purge) time.Time { return p.idsBefore })
}

// purgedFolder tells whether the folder of a run was removed on request.
func (a *auditor) purgedFolder(f facts) bool {
	return a.purged(f, func(p purge) time.Time { return p.runsBefore })
}

func (a *auditor) purged(f facts, before func(purge) time.Time) bool {
	for _, p := range a.purges {
		if f.started.Before(before(p)) && f.ID != p.spared {
			return true
		}
	}
	return false
}
