package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"optsweep/schemas"
)

// HonouredAt is how long people waited whose ids a run was the first to find
// opted out: from their opt-out, in Unix ms, until flagged. A quantile q is the
// shortest wait that a share q of them did not exceed. A clock that is behind
// gives 0.
func HonouredAt(flagged time.Time, sinceMS []int64) schemas.Honour {
	waits := make([]float64, len(sinceMS))
	for i, since := range sinceMS {
		waits[i] = max(0, float64(flagged.UnixMilli()-since)/1000)
	}
	slices.Sort(waits)
	h := schemas.Honour{IDs: int64(len(waits))}
	if len(waits) > 0 {
		at := func(q float64) float64 { return waits[int(math.Ceil(q*float64(len(waits))))-1] }
		h.P50, h.P95, h.Max = at(0.5), at(0.95), waits[len(waits)-1]
	}
	return h
}

// AddPast adds one more run of a job to what is known of them. Dry runs do not
// count, and neither does a run that is under way.
func AddPast(p *schemas.RunPast, r schemas.Report) {
	if r.DryRun {
		return
	}
	if p.Hit == nil {
		p.Hit = map[string]bool{}
	}
	for _, t := range r.Tables {
		if t.RowsOptedOut+t.RowsReapplied > 0 {
			p.Hit[t.Table] = true
		}
	}
	switch r.Status {
	case schemas.StatusReconciled:
		p.LastSuccess = later(p.LastSuccess, r.FinishedAt)
	case schemas.StatusPartial, schemas.StatusFailed, schemas.StatusStopped, schemas.StatusAbandoned:
		p.LastFailure = later(p.LastFailure, r.FinishedAt)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// limitQuarantined is the limit that has a notice of its own.
const limitQuarantined = "max_quarantined"

// Notices are what somebody wants to know of an attempt at a run that has
// ended. canary tells that a canary stopped it. One that was cancelled is no
// news, nor is one that another run kept from starting: that one will tell.
func Notices(e schemas.RunEnd, canary bool) (list []schemas.Notice) {
	r := e.Report
	add := func(event, message string) *schemas.Notice {
		list = append(list, schemas.Notice{
			Schema: schemas.NoticeSchema, Event: event, Job: e.Job, Run: r.Run, At: e.EndedAt.UTC(), Status: r.Status, Message: message,
		})
		return &list[len(list)-1]
	}
	if e.Class != "" && e.Class != schemas.Cancelled.String() && e.Class != schemas.Locked.String() {
		add(schemas.NoticeFailed, fmt.Sprintf("job %s: %s: %s", e.Job, outcome(r), e.Failure))
	}
	switch {
	case canary:
		add(schemas.NoticeCanary, fmt.Sprintf("job %s: %s", e.Job, e.Failure))
	case r.Limit != nil && e.Class == schemas.Limit.String():
		event := schemas.NoticeLimit
		if r.Limit.Limit == limitQuarantined {
			event = schemas.NoticeQuarantine
		}
		n := add(event, fmt.Sprintf("job %s was stopped by a safety limit: %s is %s, allowed is %s", e.Job, r.Limit.Limit, r.Limit.Figure, r.Limit.Allows))
		n.Limit = r.Limit.Limit
	}
	if r.DryRun || !e.Past.Known {
		return list
	}
	for _, t := range r.Tables {
		if hits := max(t.RowsOptedOut, t.RowsReapplied); hits > 0 && !e.Past.Hit[t.Table] {
			n := add(schemas.NoticeFirstHit, fmt.Sprintf("job %s, table %s: %s rows of opted-out people, in a table that had none in any run before", e.Job, t.Table, Count(hits)))
			n.Table, n.Rows, n.Status = t.Table, hits, t.Status
		}
	}
	return list
}

// MissedNotice says that a run was due and did not start.
func MissedNotice(job string, due, at time.Time, why string) schemas.Notice {
	return schemas.Notice{
		Schema: schemas.NoticeSchema, Event: schemas.NoticeMissed, Job: job, At: at.UTC(),
		Message: fmt.Sprintf("job %s: the run that was due at %s did not start: %s", job, due.UTC().Format(time.RFC3339), why),
	}
}

// GateNotice says that a table did not pass the gate, because of that many
// rows.
func GateNotice(job, table string, rows int64, at time.Time, why string) schemas.Notice {
	return schemas.Notice{
		Schema: schemas.NoticeSchema, Event: schemas.NoticeGate, Job: job, Table: table, Rows: rows, At: at.UTC(),
		Message: fmt.Sprintf("job %s, table %s does not pass the gate: %s", job, table, why),
	}
}

func outcome(r schemas.Report) string {
	if r.Run == "" {
		return "the run could not begin"
	}
	return fmt.Sprintf("run %s is %s", r.Run, r.Status)
}
