package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

var day0 = time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)

// madeRun is a run of a test.
type madeRun struct {
	id     string
	events []schemas.Event
	ended  bool
}

// runAt makes a run of job j that was started so many hours after day0; data are
// types and values of its events, 1 minute apart.
func runAt(t *testing.T, hours int, started schemas.RunStarted, ended bool, data ...any) madeRun {
	t.Helper()
	at := day0.Add(time.Duration(hours) * time.Hour)
	started.Job = "j"
	r := madeRun{id: at.Format("20060102T150405.000Z"), ended: ended}
	add := func(typ schemas.EventType, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		r.events = append(r.events, schemas.Event{Seq: int64(len(r.events) + 1), Time: at, Run: r.id, Type: typ, Data: raw})
		at = at.Add(time.Minute)
	}
	add(schemas.EventRunStarted, started)
	for i := 0; i < len(data); i += 2 {
		add(data[i].(schemas.EventType), data[i+1])
	}
	return r
}

// found are the events of a table with 100 rows, of which opted are opted out and
// fresh newly flagged, and people waited for hours each.
func found(table string, opted, fresh int64, hours ...float64) []any {
	h := schemas.TableHonoured{Table: table}
	for _, x := range hours {
		h.Total.Add(int64(x * 3_600_000))
		h.Detect.Add(int64(x * 3_600_000))
		h.Apply.Add(0)
	}
	return []any{
		schemas.EventTableExtracted, schemas.TableExtracted{Table: table, Units: 1, Rows: 100, Nulls: 5, Valid: 93, Malformed: map[schemas.Reason]int64{schemas.BadLength: 2}, Example: &schemas.BadCell{Unit: "a", Pseudonym: "id:c0ffee"}},
		schemas.EventTableApplied, schemas.TableApplied{Table: table, Receipts: []schemas.Receipt{{Table: table, Unit: "a", Rows: 100, Nulls: 5, OptedOut: opted, Flagged: opted, Confirmed: opted, NewlyFlagged: fresh}}},
		schemas.EventTableHonoured, h,
	}
}

func asked(opted int64) []any {
	return []any{schemas.EventChecked, schemas.Checked{Distinct: 90, Asked: 90, OptedOut: opted, Clear: 90 - opted, Canaries: 1, Journal: "j"}}
}

func done(status string) []any {
	return []any{schemas.EventRunFinished, schemas.RunEnded{Status: status}}
}

func good(t *testing.T, hours int, data ...[]any) madeRun {
	t.Helper()
	return runAt(t, hours, schemas.RunStarted{}, true, slices.Concat(asked(1), slices.Concat(data...), done(schemas.StatusReconciled))...)
}

func compile(t *testing.T, o ComplianceOptions, e schemas.ComplianceEvidence, runs ...madeRun) schemas.Compliance {
	t.Helper()
	c := NewCompiler(o)
	for _, r := range runs {
		if err := c.Add(r.id, r.events, r.ended, schemas.LedgerPosition{Seq: 7, Hash: "h"}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Finish(e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// over is what is broken of an objective of 24 hours at so many hours after day0.
func over(t *testing.T, hours int, o ComplianceOptions, runs ...madeRun) *schemas.ComplianceSLO {
	t.Helper()
	o.Now, o.SLO = day0.Add(time.Duration(hours)*time.Hour), 24*time.Hour
	return compile(t, o, schemas.ComplianceEvidence{}, runs...).SLO
}

func TestObjective(t *testing.T) {
	data := slices.Concat[[]any]
	open := found("crm", 3, 1)
	h := schemas.TableHonoured{Table: "crm"}
	h.Open.Add(3_600_000)
	open[5] = h
	backlog := found("crm", 3, 1)
	h = schemas.TableHonoured{Table: "crm"}
	h.Backlog.Add(90 * 3_600_000)
	backlog[5] = h
	again := func(hours int) []any {
		data := found("crm", 3, 3, 1)
		h := data[5].(schemas.TableHonoured)
		h.Before, h.Flagged = day0.Add(-time.Duration(hours)*time.Hour).Format(runIDLayout), day0
		data[5] = h
		return data
	}
	unseen := found("crm", 3, 1)
	unseen[5] = schemas.TableHonoured{Table: "crm", Unseen: true}
	failed := []any{schemas.EventUnitFailed, schemas.UnitFailed{Phase: "extract", UnitFailure: schemas.UnitFailure{Table: "crm", Unit: "b", Error: "broken"}}}
	stop := []any{schemas.EventLimitHit, schemas.LimitHit{Limit: "max_new_flags"}, schemas.EventRunInterrupted, schemas.RunEnded{Status: schemas.StatusStopped, Class: "limit"}}
	for name, c := range map[string]struct {
		at   int
		runs []madeRun
		want string // kinds of the breaches
		says string
	}{
		"met":                        {23, []madeRun{good(t, 0, found("crm", 3, 2, 1, 24))}, "", "is met: 2 ids were flagged, the longest wait 24h"},
		"late":                       {23, []madeRun{good(t, 0, found("crm", 3, 3, 1, 25, 30))}, "late", "2 ids of table crm waited longer, the worst 30h"},
		"late in one of two tables":  {23, []madeRun{good(t, 0, found("crm", 3, 3, 25), found("web", 1, 1, 90))}, "late late", "2 ids of 2 tables, worst web waited longer, the worst 3d 18h"},
		"known, and not flagged":     {23, []madeRun{good(t, 0, open)}, "open", "1 id of table crm known and not flagged, the worst 1h"},
		"open, and flagged later":    {23, []madeRun{good(t, 0, open), good(t, 1, found("crm", 3, 1, 2))}, "", "is met"},
		"backlog":                    {23, []madeRun{good(t, 0, backlog)}, "backlog", "1 id of table crm opted out before the table was first read, so it cannot be shown, the worst 3d 18h"},
		"ids of the run before gone": {23, []madeRun{good(t, 0, unseen)}, "unknown", "1 run could not tell which ids came into it"},
		"rows of flagged ids":        {23, []madeRun{good(t, 0, again(30))}, "unknown", "2 rows were newly flagged whose ids were flagged before"},
		"rows of them, in time":      {23, []madeRun{good(t, 0, again(24))}, "", "is met"},
		"checked too long ago":       {25, []madeRun{good(t, 0, found("crm", 3, 2, 1))}, "unknown", "is 25h old at the end of the report"},
		"not recorded":               {23, []madeRun{good(t, 0, found("crm", 3, 2)[:4])}, "unknown", "1 run did not record time to honour"},
		"nothing at all":             {23, nil, "unknown", "there is no run that counts"},
		"only a dry run": {23, []madeRun{runAt(t, 0, schemas.RunStarted{DryRun: true}, true, data(asked(1), found("crm", 3, 2, 1), done(schemas.StatusPreviewed))...)},
			"unknown unknown", "there is no run that counts"},
		"only an offline run": {23, []madeRun{runAt(t, 0, schemas.RunStarted{Offline: true}, true, data(found("crm", 3, 2, 1), done(schemas.StatusReapplied))...)},
			"unknown", "no run asked about all of it"},
		"a unit failed": {23, []madeRun{runAt(t, 0, schemas.RunStarted{}, true, data(asked(1), found("crm", 3, 2, 1), failed, done(schemas.StatusPartial))...)},
			"unknown unknown", "the last run left it partial"},
		"stopped after it learned": {23, []madeRun{good(t, 0, found("crm", 3, 1, 2)), runAt(t, 3, schemas.RunStarted{}, false, data(asked(5), stop)...)},
			"open", "5 ids of job j known and not flagged, the worst 20h"},
		"stopped before it asked": {23, []madeRun{good(t, 0, found("crm", 3, 1, 2)), runAt(t, 3, schemas.RunStarted{}, false, stop...)}, "", "is met"},
		"stopped, and a later run wrote": {23, []madeRun{runAt(t, 0, schemas.RunStarted{}, true, data(asked(5), []any{schemas.EventRunAbandoned, schemas.RunEnded{Status: schemas.StatusAbandoned}})...),
			good(t, 3, found("crm", 3, 1, 2))}, "", "is met"},
		"a law is broken": {23, []madeRun{runAt(t, 0, schemas.RunStarted{}, true, data(asked(1), found("crm", 3, 2, 1), done(schemas.StatusFailed))...)},
			"unknown unknown", "the last run left it failed"},
	} {
		s := over(t, c.at, ComplianceOptions{Since: day0}, c.runs...)
		var kinds []string
		for _, b := range s.Breaches {
			kinds = append(kinds, b.Kind)
		}
		// A last run that wrote nothing of a table also leaves it unchecked, or open.
		if got := strings.Join(kinds, " "); got != c.want && !(name == "a law is broken" && strings.HasSuffix(got, c.want)) {
			t.Errorf("%s: breaches %q, want %q: %s", name, got, c.want, s.Summary)
		}
		if !strings.Contains(s.Summary, c.says) || s.OK != (len(s.Breaches) == 0) || strings.Contains(s.Summary, "\n") {
			t.Errorf("%s: %v, %q, want %q", name, s.OK, s.Summary, c.says)
		}
	}
	// A table of the job file that no run treated is no reason to be content.
	if s := over(t, 23, ComplianceOptions{Since: day0, Expected: []TableOf{{"j", "crm"}, {"j", "new"}}}, good(t, 0, found("crm", 3, 1, 2))); s.OK || !strings.Contains(s.Summary, "table new: no run was to treat it") {
		t.Errorf("%+v", s)
	}
	// Nor is a part of the period of which retention has left nothing.
	r := compile(t, ComplianceOptions{Since: day0.Add(-time.Hour), Now: day0.Add(time.Hour), SLO: time.Hour * 24},
		schemas.ComplianceEvidence{RemovedUntil: day0.Add(-time.Minute), RemovedAt: day0, RemovedRuns: 3}, good(t, 0, found("crm", 3, 1, 2)))
	if r.SLO.OK || !strings.Contains(r.SLO.Summary, "retention removed all events until 2026-05-01 03:59:00 UTC") || r.Gaps[0].Kind != schemas.GapRetention || r.Gaps[0].Count != 3 {
		t.Errorf("%+v, %+v", r.SLO, r.Gaps)
	}
	// Unless the period begins later.
	r = compile(t, ComplianceOptions{Since: day0, Now: day0.Add(time.Hour), SLO: time.Hour * 24},
		schemas.ComplianceEvidence{RemovedUntil: day0.Add(-time.Minute), RemovedAt: day0, RemovedRuns: 3}, good(t, 0, found("crm", 3, 1, 2)))
	if !r.SLO.OK {
		t.Errorf("%+v", r.SLO)
	}
}

// Runs are shown as what they are, and only those that count do.
func TestRunsAreShownAsWhatTheyAre(t *testing.T) {
	data := slices.Concat[[]any]
	ended := func(typ schemas.EventType, status, why string) []any {
		return []any{typ, schemas.RunEnded{Status: status, Class: "failed", Message: why}}
	}
	r := compile(t, ComplianceOptions{Since: day0, Until: day0.Add(100 * time.Hour), Now: day0.Add(200 * time.Hour)}, schemas.ComplianceEvidence{},
		good(t, -1, found("old", 1, 1, 1)),
		good(t, 0, found("crm", 3, 3, 1)),
		runAt(t, 1, schemas.RunStarted{DryRun: true}, true, data(asked(9), found("crm", 50, 47), done(schemas.StatusPreviewed))...),
		runAt(t, 2, schemas.RunStarted{Offline: true}, true, data(found("crm", 3, 0), done(schemas.StatusReapplied))...),
		runAt(t, 3, schemas.RunStarted{}, true, ended(schemas.EventRunAbandoned, schemas.StatusAbandoned, "the job file has changed")...),
		good(t, 100, found("crm", 99, 96, 1)),
		runAt(t, 4, schemas.RunStarted{}, false),
	)
	var got []string
	for _, x := range r.Runs {
		got = append(got, x.Status)
	}
	if want := []string{"reconciled", "previewed", "reapplied", "abandoned", "interrupted"}; !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q", got, want)
	}
	if len(r.Tables) != 2 || r.Tables[0].Table != "crm" || r.Tables[1].Status != schemas.StatusNeverRun {
		t.Fatalf("%+v", r.Tables)
	}
	x := r.Tables[0]
	if x.New != 3 || x.OptedOut != 3 || x.Unsettled != 90 || x.Clear != 0 || x.Runs != 2 || x.Reconciled != 2 || !x.CheckedAt.Equal(day0) || x.AgeS != 100*3600 {
		t.Errorf("%+v", x)
	}
	var gaps []string
	for _, g := range r.Gaps {
		gaps = append(gaps, g.Kind+" "+g.Why)
	}
	for _, want := range []string{"never_run no run was", "run_failed abandoned: the job file has changed", "run_failed interrupted, or under way", "quarantined bad_length: rows", "fires_unknown the job has no log"} {
		if !slices.ContainsFunc(gaps, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%q is not among %q", want, gaps)
		}
	}
	// About the dry run alone, it is told what it found.
	dry := compile(t, ComplianceOptions{Run: r.Runs[1].Run, Now: day0}, schemas.ComplianceEvidence{},
		good(t, 0, found("crm", 3, 3, 1)),
		runAt(t, 1, schemas.RunStarted{DryRun: true}, true, data(asked(9), found("crm", 50, 47), done(schemas.StatusPreviewed))...))
	if x := dry.Tables[0]; len(dry.Runs) != 1 || x.Status != schemas.StatusPreviewed || x.OptedOut != 50 || x.New != 0 || x.Clear != 43 {
		t.Errorf("%+v", x)
	}
}

// What became of fires is told, and where that is not known, that too.
func TestMissedRunsAreTold(t *testing.T) {
	c := NewCompiler(ComplianceOptions{Since: day0, Now: day0.Add(96 * time.Hour), Expected: []TableOf{{"other", "x"}}})
	r := good(t, 0, found("crm", 3, 3, 1))
	if err := c.Add(r.id, r.events, true, schemas.LedgerPosition{}); err != nil {
		t.Fatal(err)
	}
	fire := func(hours int) time.Time { return day0.Add(time.Duration(hours) * time.Hour) }
	c.Schedule(schemas.ScheduleLog{Job: "j", Last: fire(60), Next: fire(72), Fires: []schemas.FireOutcome{
		{First: fire(-30), Count: 1, Status: "skipped", Reason: "missed"}, // before the period
		{First: fire(-3), Last: fire(2), Count: 5, Status: "skipped", Reason: "grace"},
		{First: fire(0), Count: 1, Status: "reconciled", Run: r.id},
		{First: fire(24), Count: 1, Status: "failed", Reason: "the key is locked"},
	}})
	got, err := c.Finish(schemas.ComplianceEvidence{})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Schedules[0]; s.Started != 2 || s.Skipped["grace"] != 5 || len(s.Skipped) != 1 || s.ByEnd["failed"] != 1 {
		t.Errorf("%+v", s)
	}
	want := map[string]string{
		schemas.GapFireSkipped: "5 missed, and older than the grace period when the daemon was back",
		schemas.GapFireFailed:  "1 the key is locked",
	}
	unknown := 0
	for _, g := range got.Gaps {
		if w, ok := want[g.Kind]; ok && fmt.Sprint(g.Count, " ", g.Why) != w {
			t.Errorf("%+v, want %q", g, w)
		}
		delete(want, g.Kind)
		if g.Kind == schemas.GapFiresUnknown {
			unknown++
		}
	}
	c = NewCompiler(ComplianceOptions{Since: day0, Now: day0.Add(71 * time.Hour)})
	c.Schedule(schemas.ScheduleLog{Job: "j", Last: fire(48), Next: fire(72)})
	if waiting, err := c.Finish(schemas.ComplianceEvidence{}); err != nil || len(waiting.Gaps) > 0 {
		t.Errorf("before the next fire is due: %+v, %v", waiting.Gaps, err)
	}
	if len(want) > 0 || unknown != 2 { // the log of j ends too early, other has none
		t.Errorf("missing %v, %d unknown: %+v", want, unknown, got.Gaps)
	}
}

// Whatever the runs: the tables add up to the total, the rows of a table add up,
// and a period is the merge of its parts.
func TestAPeriodIsTheMergeOfItsParts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		var runs []madeRun
		count := 1 + rnd.IntN(12)
		for n := range count {
			var data []any
			status := []string{schemas.StatusReconciled, schemas.StatusReconciled, schemas.StatusPartial, schemas.StatusStopped}[rnd.IntN(4)]
			data = append(data, asked(int64(rnd.IntN(9)))...)
			for _, table := range []string{"a", "b", "c"}[:1+rnd.IntN(3)] {
				var waits []float64
				for range rnd.IntN(6) {
					waits = append(waits, rnd.ExpFloat64()*30)
				}
				data = append(data, found(table, int64(rnd.IntN(93)), int64(rnd.IntN(40)), waits...)...)
				if rnd.IntN(4) == 0 {
					data = append(data, schemas.EventUnitFailed, schemas.UnitFailed{Phase: "apply", UnitFailure: schemas.UnitFailure{Table: table, Unit: "b"}})
				}
			}
			runs = append(runs, runAt(t, n, schemas.RunStarted{DryRun: rnd.IntN(5) == 0}, true, append(data, done(status)...)...))
		}
		whole := compile(t, ComplianceOptions{Since: day0, Now: day0.AddDate(0, 1, 0)}, schemas.ComplianceEvidence{}, runs...)
		var sum schemas.ComplianceFigures
		for _, x := range whole.Tables {
			sum.Add(x.ComplianceFigures)
			if x.Rows != x.Nulls+x.Bad()+x.OptedOut+x.Clear+x.Unsettled {
				t.Fatalf("rows do not add up: %+v", x)
			}
		}
		sum.P50S, sum.P95S = whole.Total.P50S, whole.Total.P95S
		if !reflect.DeepEqual(sum, whole.Total) {
			t.Fatalf("tables %+v\ntotal %+v", sum, whole.Total)
		}
		cut := day0.Add(time.Duration(rnd.IntN(count+1)) * time.Hour)
		first := compile(t, ComplianceOptions{Since: day0, Until: cut, Now: whole.MadeAt}, schemas.ComplianceEvidence{}, runs...)
		rest := compile(t, ComplianceOptions{Since: cut, Now: whole.MadeAt}, schemas.ComplianceEvidence{}, runs...)
		if len(first.Runs)+len(rest.Runs) != len(whole.Runs) {
			t.Fatalf("%d + %d runs, want %d", len(first.Runs), len(rest.Runs), len(whole.Runs))
		}
		for _, x := range whole.Tables {
			var parts schemas.ComplianceFigures
			for _, p := range append(slices.Clone(first.Tables), rest.Tables...) {
				if p.Table == x.Table {
					parts.Add(p.ComplianceFigures)
				}
			}
			if parts.New != x.New || parts.Failed != x.Failed || parts.NotTold != x.NotTold ||
				!reflect.DeepEqual(parts.Total, x.Total) || !reflect.DeepEqual(parts.Detect, x.Detect) || !reflect.DeepEqual(parts.Backlog, x.Backlog) {
				t.Fatalf("table %s\nparts %+v\nwhole %+v", x.Table, parts, x.ComplianceFigures)
			}
		}
	}
}

func TestOnlyTablesThatAreKnownCanBeChosen(t *testing.T) {
	run := good(t, 0, found("crm", 3, 3, 1), found("web", 1, 1, 1))
	r := compile(t, ComplianceOptions{Tables: []string{"web"}, Now: day0}, schemas.ComplianceEvidence{}, run, good(t, 1, found("crm", 3, 3, 1)))
	if len(r.Tables) != 1 || r.Tables[0].Table != "web" || len(r.Runs) != 1 || len(r.Runs[0].Tables) != 1 {
		t.Errorf("%+v", r)
	}
	c := NewCompiler(ComplianceOptions{Tables: []string{"nowhere"}})
	if err := c.Add(run.id, run.events, true, schemas.LedgerPosition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(schemas.ComplianceEvidence{}); schemas.ClassOf(err) != schemas.Usage || !strings.Contains(schemas.HintOf(err), "crm, web") {
		t.Errorf("%v, hint %q", err, schemas.HintOf(err))
	}
}

// No text of a run gets ids or characters of control into a report.
func TestTextIsMadePlain(t *testing.T) {
	id := "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	bad := "x\x1b[31m\u202e\u2028\xff " + id + "\nsecond line, someone@example.com"
	run := runAt(t, 0, schemas.RunStarted{}, true, slices.Concat(found(bad, 3, 3, 1), []any{
		schemas.EventUnitFailed, schemas.UnitFailed{Phase: "apply", UnitFailure: schemas.UnitFailure{Table: bad, Unit: bad, Error: bad, Hint: bad}},
		schemas.EventRunFinished, schemas.RunEnded{Status: schemas.StatusPartial, Class: "partial", Message: bad}})...)
	raw, err := json.Marshal(compile(t, ComplianceOptions{Now: day0, SLO: time.Hour}, schemas.ComplianceEvidence{}, run))
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{id, "c0ffee", "example.com", `\u001b`, "\u202e", `\u2028`, `\n`} {
		if strings.Contains(string(raw), leak) {
			at := strings.Index(string(raw), leak)
			t.Errorf("%q is in …%s…", leak, raw[max(0, at-80):min(len(raw), at+80)])
		}
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[int64]string{
		0: "0s", 59: "59s", 60: "1m", 61: "1m 1s", 3600: "1h", 3601: "1h 1m", 86400: "24h", 90000: "25h", 172_800: "2d", 172_801: "2d 1h", 31_536_000: "1y", 31_536_001: "1y 1d",
	} {
		if got := Span(seconds); got != want {
			t.Errorf("%d: got %s, want %s", seconds, got, want)
		}
	}
}
