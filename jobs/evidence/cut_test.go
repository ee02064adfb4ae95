package evidence

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"optsweep/jobs/audit"
	"optsweep/jobs/internal/sweeptest"
	"optsweep/schemas"
)

// Packs over what retention has left are whole, and say what they lack; those
// that were made before stay valid, and fit the ledger that is left.
func TestPacksOverACutLedger(t *testing.T) {
	b, err := sweeptest.New(t.TempDir())
	check(t, err)
	var runs []string
	for range 4 {
		rep, err := b.Run(context.Background())
		check(t, err)
		runs = append(runs, rep.Run)
		b.Clock = b.Clock.AddDate(0, 1, 0)
	}
	all, last, second := options(b), options(b), options(b)
	all.Since = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second.Run = runs[1]
	before, lastBefore := mustWrite(t, all), mustWrite(t, last)

	r := b.Everything()
	r.RunsBefore = b.Clock.AddDate(0, -3, 0).Add(time.Hour)
	r.LedgerBefore = r.RunsBefore
	p, err := b.Purge(context.Background(), r)
	check(t, err)
	if p.Ledger.Runs != 2 {
		t.Fatalf("%+v", p.Ledger)
	}

	mustBeWhole(t, verifyBytes(t, before, pinned()))
	mustBeWhole(t, verifyBytes(t, lastBefore, pinned()))
	after := verifyBytes(t, mustWrite(t, all), pinned())
	mustBeWhole(t, after)
	if len(after.Runs) != 2 || after.Runs[0].Run != runs[2] || after.Ledger.Before.Seq != p.Ledger.Events || !after.Ledger.RemovedUntil.Equal(p.Ledger.Until) {
		t.Errorf("%+v, %+v", after.Runs, after.Ledger)
	}
	note := after.Checks[len(after.Checks)-1]
	for _, c := range after.Checks {
		if c.Status == audit.Note {
			note = c
		}
	}
	if note.Status != audit.Note || !strings.Contains(note.Detail, "had been removed by retention when the pack was made") {
		t.Errorf("%+v", note)
	}
	since := options(b)
	since.Since = p.Ledger.Until.Add(time.Second)
	if r := verifyBytes(t, mustWrite(t, since), pinned()); len(r.Runs) != 2 || r.Checks.Count(audit.Note) != 0 {
		t.Errorf("%+v", r.Checks)
	}
	if got := unzip(t, mustWrite(t, last)); !bytes.Equal(got["ledger.ndjson"], unzip(t, lastBefore)["ledger.ndjson"]) {
		t.Error("the lines of the last run are not those from before")
	}

	_, err = Write(context.Background(), io.Discard, second)
	if schemas.ClassOf(err) != schemas.Usage || !strings.Contains(err.Error(), "retention removed all runs until") {
		t.Errorf("a run that was removed: %v", err)
	}
	gone := options(b)
	gone.Until = b.Clock.AddDate(0, -4, 0).Add(time.Hour)
	if _, err = Write(context.Background(), io.Discard, gone); schemas.ClassOf(err) != schemas.Usage || !strings.Contains(err.Error(), "retention has removed all runs until") {
		t.Errorf("a period that was removed: %v", err)
	}
	// A later extract may hold the cut itself.
	if _, err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	data := mustWrite(t, all)
	mustBeWhole(t, verifyBytes(t, data, pinned()))
	if !bytes.Contains(unzip(t, data)["ledger.ndjson"], []byte(`"type":"ledger_cut"`)) {
		t.Error("the extract does not hold the cut")
	}
}
