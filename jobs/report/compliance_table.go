package report

import (
	"math"
	"time"

	"optsweep/schemas"
)

// table is a table while runs are added. Runs come in the order of their end.
type table struct {
	schemas.ComplianceTable
	started time.Time // of the run that Status is of
	read    time.Time // of the run that the figures are of
	left    string    // status in which that run left the table; empty: none wrote to it
	asked   time.Time // of the run that CheckedAt is of
	failed  map[unitKey]*schemas.ComplianceGap
	rows    []row
}

type row struct {
	run schemas.ComplianceRun
	schemas.ComplianceRow
}

// rowOf settles what can be said of the rows with a valid id: Valid = opted out +
// Clear + Unsettled.
func rowOf(r schemas.Report, t schemas.TableReport) schemas.ComplianceRow {
	t.Example = nil // it shows a pseudonym
	if t.Table = plain(t.Table); t.Honour != nil {
		h := *t.Honour
		h.Table = t.Table
		t.Honour = &h
	}
	x := schemas.ComplianceRow{TableReport: t}
	rest := max(0, t.Valid-t.RowsOptedOut)
	asked := r.IDs.Journal != "" && sum(r.IDs.Unverifiable) == 0
	if asked && t.UnitsFailed == 0 && (t.Status == schemas.StatusReconciled || t.Status == schemas.StatusPreviewed) {
		x.Clear = rest
	} else {
		x.Unsettled = rest
	}
	return x
}

// whole tells whether the run treated all of the table.
func (x row) whole() bool {
	return finished(x.run.Status) && (x.Status == schemas.StatusReconciled || x.Status == schemas.StatusReapplied)
}

// treated tells whether the run wrote what it could, and that was something.
func (x row) treated() bool {
	return x.whole() || finished(x.run.Status) && x.Status == schemas.StatusPartial
}

func (t *table) add(r schemas.ComplianceRun, of schemas.ComplianceRow, failures []schemas.UnitFailed, counts bool) {
	if !counts {
		return
	}
	x := row{r, of}
	t.rows = append(t.rows, x)
	t.Runs++
	if !r.StartedAt.Before(t.started) {
		t.started, t.Status, t.LastRun = r.StartedAt, x.Status, r.Run
		if !x.treated() && !r.DryRun {
			t.Status = r.Status
		}
	}
	if x.whole() {
		t.Reconciled++
		if r.Asked && !r.StartedAt.Before(t.asked) {
			t.asked, t.CheckedAt = r.StartedAt, r.StartedAt
			if ms := r.IDs.OldestMS; ms > 0 && ms < r.StartedAt.UnixMilli() {
				t.CheckedAt = time.UnixMilli(ms).UTC()
			}
		}
	}
	t.state(x)
	t.changes(x)
	for _, f := range failures {
		if f.Table != t.Table {
			continue
		}
		key := unitKey{f.Unit, f.Phase}
		g := t.failed[key]
		if g == nil {
			g = &schemas.ComplianceGap{Kind: schemas.GapUnitFailed, Job: t.Job, Table: plain(t.Table), Unit: plain(f.Unit)}
			t.failed[key] = g
		}
		g.Count++
		g.Run, g.At, g.Why = r.Run, r.StartedAt, f.Phase+": "+plain(f.Error)
	}
}

// state takes the figures that are as the last run found them.
func (t *table) state(x row) {
	if !x.treated() && len(t.rows) > 1 || x.run.StartedAt.Before(t.read) {
		return
	}
	t.read, t.left = x.run.StartedAt, ""
	if x.treated() {
		t.left = x.Status
	}
	f := &t.ComplianceFigures
	f.Units, f.Rows, f.Nulls, f.Valid, f.OptedOut, f.Clear, f.Unsettled = x.Units, x.Rows, x.Nulls, x.Valid, x.RowsOptedOut, x.Clear, x.Unsettled
	f.Flagged, f.FlagKept, f.Malformed, f.Open = x.RowsFlagged, x.RowsKept, map[schemas.Reason]int64{}, schemas.Waits{}
	for reason, n := range x.Malformed {
		f.Malformed[reason] = n
	}
	if x.Honour != nil {
		f.Open.Merge(x.Honour.Open)
	}
}

// changes adds what the run did.
func (t *table) changes(x row) {
	f := &t.ComplianceFigures
	f.Failed += x.UnitsFailed
	if x.run.DryRun {
		return
	}
	f.New += x.RowsNew
	f.Reapplied += x.RowsReapplied
	f.Earlier += x.RowsEarlier
	f.Changed += x.UnitsChanged
	switch h := x.Honour; {
	case h != nil:
		f.Total.Merge(h.Total)
		f.Detect.Merge(h.Detect)
		f.Apply.Merge(h.Apply)
		f.Backlog.Merge(h.Backlog)
		f.Arrived += h.Arrived
		if more := x.RowsNew - h.Total.IDs - h.Backlog.IDs; more > 0 {
			f.Beside += more
			f.BesideMaxS = max(f.BesideMaxS, sinceRun(h.Before, h.Flagged))
		}
		if h.Unseen {
			f.Unseen++
		}
	case x.treated():
		f.NotTold++
	}
}

// runIDLayout is how the id of a run tells its start.
const runIDLayout = "20060102T150405.000Z"

// sinceRun is the time in seconds from the start of a run until then; 0 if there
// is no such run.
func sinceRun(run string, until time.Time) int64 {
	started, err := time.Parse(runIDLayout, run)
	if err != nil {
		return 0
	}
	return int64(math.Ceil(max(0, until.Sub(started)).Seconds()))
}
