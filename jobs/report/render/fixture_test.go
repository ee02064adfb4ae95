package render

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"optsweep/jobs/report"
	"optsweep/schemas"
)

// made is when all reports of the tests are made.
var made = time.Date(2026, 6, 1, 9, 30, 0, 0, time.UTC)

// book makes the events of runs.
type book struct {
	t      *testing.T
	seq    int64
	at     time.Time
	run    string
	events []schemas.Event
}

func (b *book) add(typ schemas.EventType, data any) {
	b.t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		b.t.Fatal(err)
	}
	b.seq++
	b.at = b.at.Add(20 * time.Second)
	b.events = append(b.events, schemas.Event{Seq: b.seq, Time: b.at, Run: b.run, Type: typ, Data: raw})
}

func (b *book) start(at time.Time, job string, change func(*schemas.RunStarted)) {
	b.t.Helper()
	b.at, b.run, b.events = at, at.Format("20060102T150405.000Z"), nil
	v := schemas.RunStarted{
		Job: job, ConfigDigest: "4b0f6f4d8f3f40ac7a6b1c0f5d1ad2a0c9c1f7e2b3a495867a1b2c3d4e5f6071", ToolVersion: "v1.4.0", Scope: schemas.EUID, Environment: schemas.Production,
		Operator: schemas.Operator{Kind: "public", Host: "prod.euid.eu", KeyName: "EUID-C-P-42"},
	}
	if change != nil {
		change(&v)
	}
	b.add(schemas.EventRunStarted, v)
}

// check adds what a run finds of one table of so many rows, n of them newly
// opted out.
func (b *book) check(table string, rows, opted, n int64, waits func(*schemas.TableHonoured)) {
	b.t.Helper()
	bad := map[schemas.Reason]int64{schemas.BadLength: rows / 9000, schemas.LooksLikeEmail: rows / 40000}
	left := rows - rows/50 - rows/9000 - rows/40000
	b.add(schemas.EventTableExtracted, schemas.TableExtracted{Table: table, Units: 8, Rows: rows, Nulls: rows / 50, Valid: left, Malformed: bad})
	b.add(schemas.EventTableApplied, schemas.TableApplied{Table: table, Receipts: []schemas.Receipt{{
		Table: table, Unit: "part-0.parquet", Changed: n > 0, Rows: rows, Nulls: rows / 50, OptedOut: opted, Flagged: opted, NewlyFlagged: n, Confirmed: opted}}})
	if waits != nil {
		h := schemas.TableHonoured{Table: table, Flagged: b.at}
		waits(&h)
		b.add(schemas.EventTableHonoured, h)
	}
}

func (b *book) asked(distinct, known, opted int64) {
	b.add(schemas.EventExtracted, schemas.Extracted{Distinct: distinct, Digest: "d"})
	b.add(schemas.EventChecked, schemas.Checked{Distinct: distinct, Known: known, Asked: distinct - known, OptedOut: opted, Clear: distinct - known - opted,
		Batches: distinct / 5000, Canaries: 2, OldestMS: b.at.UnixMilli(), NewestMS: b.at.UnixMilli(), Journal: "j"})
}

func (b *book) end(typ schemas.EventType, status, message string) {
	v := schemas.RunEnded{Status: status, Message: message}
	if message != "" {
		v.Class = "failed"
	}
	b.add(typ, v)
}

// to hands the run to a report.
func (b *book) to(c *report.Compiler, ended bool) {
	b.t.Helper()
	if err := c.Add(b.run, b.events, ended, schemas.LedgerPosition{Seq: b.seq, Hash: fmt.Sprintf("%064x", b.seq)}); err != nil {
		b.t.Fatal(err)
	}
}

// waits adds so many ids that waited for hours, in turn.
func waits(hours float64, n int) func(*schemas.TableHonoured) {
	return func(h *schemas.TableHonoured) {
		for i := range n {
			ms := int64(hours*3_600_000) * int64(i+1) / int64(n)
			h.Total.Add(ms)
			h.Detect.Add(ms - ms/5)
			h.Apply.Add(ms / 5)
		}
		h.Arrived = int64(n / 4)
	}
}

// compiled is a month of everything that can be in a report.
func compiled(t *testing.T, o report.ComplianceOptions) schemas.Compliance {
	t.Helper()
	o.Now, o.ToolVersion = made, "v1.4.0"
	if o.Run == "" && o.Since.IsZero() {
		o.Since = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	}
	o.Expected = append(o.Expected, report.TableOf{Job: "crm-audiences", Table: "loyalty"})
	c := report.NewCompiler(o)
	b := &book{t: t, seq: 400}
	list := schemas.OwnList{Source: "site-form", Basis: "opt-out form of the site", Total: 812, Digest: "x", User: "ann", Host: "etl-1", At: made.AddDate(0, -1, -3).UnixMilli()}
	for day := range 31 {
		at := time.Date(2026, 5, 1+day, 4, 0, 12, 0, time.UTC)
		n := int64(40 + (day*37)%90)
		known := int64(51000 + 60*day)
		switch day {
		case 5: // given up
			b.start(at, "crm-audiences", nil)
			b.end(schemas.EventRunInterrupted, schemas.StatusInterrupted, "the operator did not answer")
			b.end(schemas.EventRunAbandoned, schemas.StatusAbandoned, "the job file has changed")
			b.to(c, true)
			continue
		case 12: // stopped, and let past the limit an hour later
			b.start(at, "crm-audiences", nil)
			hit := schemas.LimitHit{Limit: "max_new_flags", Figure: "7.2%", Allows: "5%"}
			b.add(schemas.EventLimitHit, hit)
			b.end(schemas.EventRunInterrupted, schemas.StatusStopped, "stopped by a safety limit")
			b.at = b.at.Add(time.Hour)
			b.add(schemas.EventRunResumed, struct{}{})
			b.add(schemas.EventLimitOverridden, schemas.LimitOverridden{LimitHit: hit, User: "ann", Host: "etl-1"})
			n = 900
		case 14:
			b.start(at.Add(-time.Hour), "crm-audiences", func(v *schemas.RunStarted) { v.DryRun = true })
			b.asked(2_400_000, known, n)
			b.check("crm", 1_204_331, 30_000, 20, nil)
			b.end(schemas.EventRunFinished, schemas.StatusPreviewed, "")
			b.to(c, true)
			b.start(at, "crm-audiences", nil)
		case 20:
			b.start(at, "crm-audiences", func(v *schemas.RunStarted) { v.Offline = true })
			b.check("crm", 1_204_331, 30_100, 0, waits(0, 0))
			b.end(schemas.EventRunFinished, schemas.StatusReapplied, "")
			b.to(c, true)
			continue
		default:
			b.start(at, "crm-audiences", nil)
		}
		b.add(schemas.EventOwnLists, schemas.OwnLists{Lists: []schemas.OwnList{list}})
		b.asked(2_400_000, known, n)
		b.check("crm", 1_204_331+int64(day)*1700, 31_000+n, n, waits(8+float64(day%9)*2, int(n)))
		if day == 0 {
			b.check("segments", 2_881_004, 60_112, 60_112, func(h *schemas.TableHonoured) {
				for i := range 50_000 {
					h.Backlog.Add(int64(i) * 1_900_000)
				}
			})
		} else {
			b.check("segments", 2_881_004, 60_112+n, n/2, waits(20+float64(day%4), int(n/2)))
		}
		status := schemas.StatusReconciled
		if day%13 == 9 {
			b.add(schemas.EventUnitFailed, schemas.UnitFailed{Phase: "apply", UnitFailure: schemas.UnitFailure{Table: "segments", Unit: "day=12/part-3.parquet", Error: "it is encrypted"}})
			status = schemas.StatusPartial
		}
		b.end(schemas.EventRunFinished, status, "")
		b.to(c, true)
	}
	b.start(made.Add(-time.Hour), "crm-audiences", nil)
	b.to(c, false)
	if o.Run == "" {
		fire := func(day int) time.Time { return time.Date(2026, 5, day, 4, 0, 0, 0, time.UTC) }
		c.Schedule(schemas.ScheduleLog{Job: "crm-audiences", Last: made.Add(-time.Hour), Next: made.Add(24 * time.Hour), Fires: []schemas.FireOutcome{
			{First: fire(1), Count: 1, Status: "reconciled", Run: "r"}, {First: fire(2), Count: 1, Status: "partial", Run: "r"},
			{First: fire(16), Last: fire(18), Count: 3, Status: "skipped", Reason: "grace"}, {First: fire(19), Count: 1, Status: "failed", Reason: "the key is locked"},
			{First: fire(21), Count: 1, Status: "skipped", Reason: "overlap"},
		}})
	}
	r, err := c.Finish(schemas.ComplianceEvidence{
		Begin: schemas.LedgerPosition{Seq: 380, Hash: fmt.Sprintf("%064x", 380)}, Head: schemas.LedgerPosition{Seq: b.seq, Hash: fmt.Sprintf("%064x", b.seq)},
		RemovedUntil: time.Date(2026, 5, 1, 2, 0, 0, 0, time.UTC), RemovedAt: time.Date(2026, 5, 20, 2, 0, 0, 0, time.UTC), RemovedRuns: 12,
		Signer: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
