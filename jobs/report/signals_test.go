package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

func TestHonouredAt(t *testing.T) {
	flagged := time.UnixMilli(1_000_000_000)
	ago := func(seconds ...int64) (since []int64) {
		for _, s := range seconds {
			since = append(since, flagged.UnixMilli()-1000*s)
		}
		return since
	}
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(100 - i)
	}
	for name, c := range map[string]struct {
		since []int64
		want  schemas.Honour
	}{
		"nobody":       {nil, schemas.Honour{}},
		"one":          {ago(7), schemas.Honour{IDs: 1, P50: 7, P95: 7, Max: 7}},
		"two":          {ago(9, 1), schemas.Honour{IDs: 2, P50: 1, P95: 9, Max: 9}},
		"three":        {ago(9, 1, 5), schemas.Honour{IDs: 3, P50: 5, P95: 9, Max: 9}},
		"a hundred":    {ago(hundred...), schemas.Honour{IDs: 100, P50: 50, P95: 95, Max: 100}},
		"milliseconds": {[]int64{flagged.UnixMilli() - 1}, schemas.Honour{IDs: 1, P50: 0.001, P95: 0.001, Max: 0.001}},
		"clock behind": {ago(-60), schemas.Honour{IDs: 1}},
	} {
		if got := HonouredAt(flagged, c.since); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAddPast(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	hit := func(table string, rows int64) schemas.TableReport {
		return schemas.TableReport{TableExtracted: schemas.TableExtracted{Table: table}, RowsOptedOut: rows}
	}
	var p schemas.RunPast
	for _, r := range []schemas.Report{
		{Status: schemas.StatusReconciled, FinishedAt: day(1), Tables: []schemas.TableReport{hit("a", 0), hit("b", 2)}},
		{Status: schemas.StatusReconciled, FinishedAt: day(3)},
		{Status: schemas.StatusPartial, FinishedAt: day(4), Tables: []schemas.TableReport{hit("c", 1)}},
		{Status: schemas.StatusAbandoned, FinishedAt: day(2)},
		{Status: schemas.StatusPreviewed, DryRun: true, FinishedAt: day(9), Tables: []schemas.TableReport{hit("d", 1)}},
		{Status: schemas.StatusFailed, DryRun: true, FinishedAt: day(9)},
		{Status: schemas.StatusReapplied, Offline: true, FinishedAt: day(8), Tables: []schemas.TableReport{{TableExtracted: schemas.TableExtracted{Table: "e"}, RowsReapplied: 1}}},
		{Status: schemas.StatusInterrupted, FinishedAt: day(7)},
	} {
		AddPast(&p, r)
	}
	if !p.LastSuccess.Equal(day(3)) || !p.LastFailure.Equal(day(4)) {
		t.Errorf("last success %v, last failure %v", p.LastSuccess, p.LastFailure)
	}
	var tables []string
	for table := range p.Hit {
		tables = append(tables, table)
	}
	slices.Sort(tables)
	if got := strings.Join(tables, ""); got != "bce" {
		t.Errorf("tables with hits: %s", got)
	}
}

func TestNotices(t *testing.T) {
	run := func(status, class string, change func(*schemas.RunEnd)) schemas.RunEnd {
		e := schemas.RunEnd{RunStart: schemas.RunStart{Job: "j"}, Class: class, Failure: "what happened",
			Report: schemas.Report{Run: "r", Status: status}, Past: schemas.RunPast{Known: true, Hit: map[string]bool{"old": true}}}
		if change != nil {
			change(&e)
		}
		return e
	}
	limit := func(name string) func(*schemas.RunEnd) {
		return func(e *schemas.RunEnd) { e.Report.Limit = &schemas.LimitHit{Limit: name, Figure: "7%", Allows: "5%"} }
	}
	hits := func(e *schemas.RunEnd) {
		for _, name := range []string{"old", "new", "none"} {
			row := schemas.TableReport{TableExtracted: schemas.TableExtracted{Table: name}, RowsOptedOut: 1234}
			if name == "none" {
				row.RowsOptedOut = 0
			}
			e.Report.Tables = append(e.Report.Tables, row)
		}
	}
	for name, c := range map[string]struct {
		end    schemas.RunEnd
		canary bool
		want   string
	}{
		"reconciled":        {run("reconciled", "", nil), false, ""},
		"failed":            {run("failed", "failed", nil), false, "failed"},
		"partial":           {run("partial", "partial", nil), false, "failed"},
		"could not begin":   {run("", "usage", func(e *schemas.RunEnd) { e.Report.Run = "" }), false, "failed"},
		"cancelled":         {run("interrupted", "cancelled", nil), false, ""},
		"locked":            {run("", "locked", nil), false, ""},
		"canary":            {run("interrupted", "refused", nil), true, "failed canary"},
		"limit":             {run("stopped", "limit", limit("max_new_flags")), false, "failed limit"},
		"quarantine":        {run("stopped", "limit", limit("max_quarantined")), false, "failed quarantine"},
		"first hit":         {run("reconciled", "", hits), false, "first_hit"},
		"past unknown":      {run("reconciled", "", func(e *schemas.RunEnd) { hits(e); e.Past = schemas.RunPast{} }), false, ""},
		"hits of a dry run": {run("previewed", "", func(e *schemas.RunEnd) { hits(e); e.Report.DryRun = true }), false, ""},
	} {
		var events []string
		for _, n := range Notices(c.end, c.canary) {
			events = append(events, n.Event)
			if n.Schema != schemas.NoticeSchema || n.Job != "j" || n.Run != c.end.Report.Run || !strings.HasPrefix(n.Message, "job j") {
				t.Errorf("%s: %+v", name, n)
			}
			switch {
			case n.Event == schemas.NoticeFirstHit && (n.Table != "new" || n.Rows != 1234 || !strings.Contains(n.Message, "table new: 1,234 rows")):
				t.Errorf("%s: %+v", name, n)
			case (n.Event == schemas.NoticeLimit || n.Event == schemas.NoticeQuarantine) && (n.Limit != c.end.Report.Limit.Limit || !strings.HasSuffix(n.Message, "is 7%, allowed is 5%")):
				t.Errorf("%s: %+v", name, n)
			case (n.Event == schemas.NoticeFailed || n.Event == schemas.NoticeCanary) && !strings.HasSuffix(n.Message, "what happened"):
				t.Errorf("%s: %+v", name, n)
			}
		}
		if got := strings.Join(events, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestNoticesFromElsewhere(t *testing.T) {
	at := time.Date(2026, 3, 4, 4, 30, 0, 0, time.FixedZone("", 3600))
	if n := MissedNotice("j", at.Add(-time.Hour), at, "the one before was under way"); n.Event != schemas.NoticeMissed || n.Message != "job j: the run that was due at 2026-03-04T02:30:00Z did not start: the one before was under way" || n.At.Location() != time.UTC {
		t.Errorf("%+v", n)
	}
	if n := GateNotice("j", "crm", 7, at, "7 rows"); n.Event != schemas.NoticeGate || n.Table != "crm" || n.Rows != 7 || n.Message != "job j, table crm does not pass the gate: 7 rows" {
		t.Errorf("%+v", n)
	}
}
