package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

// ledgerOf makes the events of one run.
func ledgerOf(t *testing.T, started schemas.RunStarted, data ...any) []schemas.Event {
	t.Helper()
	var events []schemas.Event
	add := func(typ schemas.EventType, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, schemas.Event{Seq: int64(len(events) + 1), Time: time.Unix(1_700_000_000, 0), Run: "r", Type: typ, Data: raw})
	}
	add(schemas.EventRunStarted, started)
	for i := 0; i < len(data); i += 2 {
		add(data[i].(schemas.EventType), data[i+1])
	}
	return events
}

func build(t *testing.T, events []schemas.Event) (schemas.Report, string) {
	t.Helper()
	rep, err := Build("r", events)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteText(&text, rep); err != nil {
		t.Fatal(err)
	}
	for _, l := range rep.Laws {
		if !l.OK {
			t.Errorf("law %+v", l)
		}
	}
	return rep, text.String()
}

// A unit that is written before and after the check counts once, and its flags
// add up.
func TestFlagsOfBothPassesAddUp(t *testing.T) {
	before := schemas.Receipt{Table: "crm", Unit: "a", Changed: true, Rows: 10, OptedOut: 3, Flagged: 3, Confirmed: 3, NewlyFlagged: 3, BytesBefore: 100, BytesAfter: 110}
	after := schemas.Receipt{Table: "crm", Unit: "a", Changed: true, Rows: 10, OptedOut: 5, Flagged: 5, Confirmed: 5, NewlyFlagged: 2, BytesBefore: 110, BytesAfter: 120}
	other := schemas.Receipt{Table: "crm", Unit: "b", Rows: 5, BytesBefore: 50, BytesAfter: 50}
	rep, text := build(t, ledgerOf(t, schemas.RunStarted{},
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "crm", Units: 2, Rows: 15, Valid: 15},
		schemas.EventTableReapplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{before}},
		schemas.EventTableApplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{after, other}}))
	x := rep.Tables[0]
	if x.RowsNew != 5 || x.RowsReapplied != 3 || x.UnitsChanged != 1 || x.RowsFlagged != 5 || x.BytesBefore != 150 || x.BytesAfter != 170 {
		t.Errorf("%+v", x)
	}
	if rep.Status != schemas.StatusReconciled || !strings.Contains(text, "3 of the flags were known from earlier runs") {
		t.Errorf("%s\n%s", rep.Status, text)
	}
}

func TestOfflineRunIsNotCalledReconciled(t *testing.T) {
	rep, text := build(t, ledgerOf(t, schemas.RunStarted{Offline: true},
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "crm", Units: 1, Rows: 10, Valid: 10},
		schemas.EventExtracted, schemas.Extracted{Distinct: 10},
		schemas.EventChecked, schemas.Checked{Distinct: 10, Known: 3, Unverifiable: map[schemas.Reason]int64{schemas.NotAsked: 7}},
		schemas.EventTableApplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{{Table: "crm", Unit: "a", Rows: 10}}}))
	if rep.Status != schemas.StatusReapplied || rep.Tables[0].Status != schemas.StatusReapplied || !strings.Contains(strings.Join(rep.Notes, "\n"), "no operator was asked") {
		t.Errorf("%s, notes %q", rep.Status, rep.Notes)
	}
	if !strings.Contains(text, "no operator was asked") || strings.Contains(text, "reconciled") {
		t.Error(text)
	}
}

func TestOverrideIsToldAndTheStopForgotten(t *testing.T) {
	hit := schemas.LimitHit{Limit: "max_new_flags", Figure: "7%", Allows: "5%"}
	stopped := ledgerOf(t, schemas.RunStarted{}, schemas.EventLimitHit, hit, schemas.EventRunInterrupted, schemas.RunEnded{Status: schemas.StatusStopped})
	if rep, _ := build(t, stopped); rep.Status != schemas.StatusStopped || rep.Limit == nil {
		t.Errorf("stopped: %s, %+v", rep.Status, rep.Limit)
	}
	rep, text := build(t, ledgerOf(t, schemas.RunStarted{},
		schemas.EventLimitHit, hit, schemas.EventRunInterrupted, schemas.RunEnded{Status: schemas.StatusStopped},
		schemas.EventRunResumed, struct{}{},
		schemas.EventLimitOverridden, schemas.LimitOverridden{LimitHit: hit, User: "alice", Host: "alpha"},
		schemas.EventRunFinished, schemas.RunEnded{Status: schemas.StatusReconciled}))
	if rep.Status != schemas.StatusReconciled || rep.Limit != nil || len(rep.Overrides) != 1 {
		t.Errorf("%s, %+v, %+v", rep.Status, rep.Limit, rep.Overrides)
	}
	if !strings.Contains(text, "limit max_new_flags was overridden by alice on alpha: 7%, allowed is 5%") {
		t.Error(text)
	}
}

// What was not read again is told, with all its figures.
func TestReportTellsWhatWasNotReadAgain(t *testing.T) {
	rep, text := build(t, ledgerOf(t, schemas.RunStarted{},
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "crm", Units: 2, Rows: 15, Valid: 15, Reused: 2},
		schemas.EventTableApplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{
			{Table: "crm", Unit: "a", Rows: 10, OptedOut: 3, Flagged: 3, Confirmed: 3, Carried: true},
			{Table: "crm", Unit: "b", Rows: 5},
		}}))
	if x := rep.Tables[0]; x.UnitsCarried != 1 || x.Reused != 2 || x.RowsFlagged != 3 || x.RowsOptedOut != 3 {
		t.Errorf("%+v", x)
	}
	for _, want := range []string{"crm: the ids of 2 of 2 files were not read again", "crm: in 1 files no flag can have changed since"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
