package sweep

import (
	"context"
	"testing"
	"time"

	"optsweep/schemas"
)

// Retention that removes the events of imports keeps the lists in force.
func TestOwnListsOutliveTheEventsOfTheirImports(t *testing.T) {
	b := newBench(t)
	b.importOwn("a", own{1: late})
	b.importOwn("gone", own{2: late})
	b.removeOwn("gone")
	b.mustRun()
	b.clock = b.clock.Add(time.Hour)
	b.mustRun()
	if err := b.acts(func(w *Workspace) error {
		_, err := w.Purge(context.Background(), Retention{IDsBefore: b.clock, RunsBefore: b.clock, LedgerBefore: b.clock})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if b.ledgerTypes()[schemas.EventOwnListImported] != 0 {
		t.Fatal("nothing was removed")
	}
	b.table.units[0].since[1] = 0
	b.table.units[0].version++
	if rep := b.mustRun(); rep.Sources == nil || len(rep.Sources.Lists) != 1 || rep.Sources.Lists[0].Basis != "form of the site" || rep.Tables[0].RowsNew != 1 {
		t.Errorf("%+v", rep.Sources)
	}
	b.importOwn("a", own{1: early}) // merged with what is there
	if got := b.ownEntries("a"); len(got) != 1 || got[1] != early {
		t.Errorf("%v", got)
	}
}
