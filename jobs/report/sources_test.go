package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"
)

// sourced are the events of a run with one own list; change spoils them.
func sourced(t *testing.T, change func(*schemas.SourcesCounted, *schemas.UnitSources, *schemas.Checked)) []schemas.Event {
	t.Helper()
	ids := schemas.SourcesCounted{IDs: schemas.SourceCount{Operator: 3, Own: 2, Both: 1, BySource: map[string]int64{"form": 3}}}
	unit := schemas.UnitSources{Table: "crm", Unit: "a", SourceCount: schemas.SourceCount{Operator: 4, Own: 5, Both: 1, BySource: map[string]int64{"form": 6}}}
	checked := schemas.Checked{Distinct: 20, Known: 3, Asked: 17, OptedOut: 1, Clear: 16}
	if change != nil {
		change(&ids, &unit, &checked)
	}
	return ledgerOf(t, schemas.RunStarted{},
		schemas.EventOwnLists, schemas.OwnLists{Lists: []schemas.OwnList{{Source: "form", Basis: "form of the site", Total: 9, User: "ann", Host: "alpha", At: 1_700_000_000_000}}},
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "crm", Units: 2, Rows: 30, Valid: 30},
		schemas.EventExtracted, schemas.Extracted{Distinct: 20},
		schemas.EventChecked, checked,
		schemas.EventSourcesCounted, ids,
		schemas.EventTableApplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{
			{Table: "crm", Unit: "a", Rows: 20, OptedOut: 10, Flagged: 10, Confirmed: 10}, {Table: "crm", Unit: "b", Rows: 10, OptedOut: 2, Flagged: 2, Confirmed: 2}}},
		schemas.EventTableSources, schemas.TableSources{Table: "crm", Units: []schemas.UnitSources{unit}})
}

func TestOptedOutIsToldBySource(t *testing.T) {
	rep, text := build(t, sourced(t, nil))
	if c := rep.Tables[0].RowsBySource; c == nil || c.Operator != 6 || c.Own != 5 || c.Both != 1 || c.BySource["form"] != 6 {
		t.Errorf("%+v", c)
	}
	for _, want := range []string{"distinct ids              3                  2               1", "rows of crm               6                  5               1",
		"own list form: 3 of its 9 ids were found, in 6 rows; form of the site; imported 2023-11-14T22:13:20Z by ann on alpha"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if plain, _ := build(t, ledgerOf(t, schemas.RunStarted{}, schemas.EventOwnLists, schemas.OwnLists{})); plain.Sources != nil {
		t.Error("a run whose lists were removed in the meantime tells of some")
	}
}

func TestFiguresBySourceThatDoNotAddUpBreakALaw(t *testing.T) {
	type change = func(*schemas.SourcesCounted, *schemas.UnitSources, *schemas.Checked)
	for law, spoil := range map[string]change{
		"rows opted out = operator only + own lists only + both": func(_ *schemas.SourcesCounted, u *schemas.UnitSources, _ *schemas.Checked) { u.Operator++ },
		"rows on own lists are on one or more of them":           func(_ *schemas.SourcesCounted, u *schemas.UnitSources, _ *schemas.Checked) { u.BySource["form"]++ },
		"known + newly opted out = operator only + both":         func(s *schemas.SourcesCounted, _ *schemas.UnitSources, _ *schemas.Checked) { s.IDs.Both++ },
		"ids on own lists are on one or more of them": func(s *schemas.SourcesCounted, _ *schemas.UnitSources, _ *schemas.Checked) {
			s.IDs.BySource["form"] = 2
		},
		"ids on own lists only were asked about, and are not opted out for the operator": func(s *schemas.SourcesCounted, _ *schemas.UnitSources, _ *schemas.Checked) { s.IDs.Own = 17 },
	} {
		rep, err := Build("r", sourced(t, spoil))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(rep.Laws, func(l schemas.Law) bool { return l.Name == law && !l.OK }) || rep.Status != schemas.StatusFailed {
			t.Errorf("%s: status %s, %+v", law, rep.Status, rep.Laws)
		}
		var text bytes.Buffer
		if err := WriteText(&text, rep); err != nil || !strings.Contains(text.String(), "LAW BROKEN") {
			t.Errorf("%s: %v\n%s", law, err, text.String())
		}
	}
}
