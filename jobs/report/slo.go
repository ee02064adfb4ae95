package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"optsweep/schemas"
)

// slo judges time to honour. What cannot be shown is not met.
func (c *Compiler) slo() *schemas.ComplianceSLO {
	limit := int64(c.o.SLO.Seconds())
	s := &schemas.ComplianceSLO{LimitS: limit, Breaches: []schemas.ComplianceBreach{}}
	add := func(b schemas.ComplianceBreach) { s.Breaches = append(s.Breaches, b) }
	if len(c.tables) == 0 || c.runs() == 0 {
		add(schemas.ComplianceBreach{Kind: schemas.BreachUnknown, Exact: true, Why: "there is no run that counts"})
	}
	for _, g := range c.c.Gaps {
		if g.Kind == schemas.GapRetention {
			add(schemas.ComplianceBreach{Kind: schemas.BreachUnknown, Exact: true, Why: g.Why})
		}
	}
	for _, job := range slices.Sorted(maps.Keys(c.newest)) {
		r := c.newest[job]
		if n := r.IDs.OptedOut; n > 0 && !finished(r.Status) {
			add(schemas.ComplianceBreach{Kind: schemas.BreachOpen, Job: job, IDs: n, Exact: true, WorstS: max(0, int64(c.c.End.Sub(r.StartedAt).Seconds())),
				Why: fmt.Sprintf("known since run %s, which is %s before all flags were written", r.Run, r.Status)})
		}
	}
	for _, t := range c.sorted() {
		c.judge(t, limit, add)
	}
	s.OK = len(s.Breaches) == 0
	s.Summary = summary(*s, c.c)
	return s
}

// finished tells whether a run wrote all flags that it could.
func finished(status string) bool {
	return status == schemas.StatusReconciled || status == schemas.StatusReapplied || status == schemas.StatusPartial
}

func (c *Compiler) runs() (n int) {
	for _, r := range c.c.Runs {
		if !r.DryRun {
			n++
		}
	}
	return n
}

// judge judges one table.
func (c *Compiler) judge(t *table, limit int64, add func(schemas.ComplianceBreach)) {
	breach := func(kind string, w schemas.Waits, ids int64, exact bool, why string, args ...any) {
		add(schemas.ComplianceBreach{Kind: kind, Job: t.Job, Table: plain(t.Table), IDs: ids, Exact: exact, WorstS: w.MaxS, Why: fmt.Sprintf(why, args...)})
	}
	if n, exact := t.Total.Over(limit); n > 0 {
		breach(schemas.BreachLate, t.Total, n, exact, "waited longer than %s", Span(limit))
	}
	if t.Open.IDs > 0 {
		breach(schemas.BreachOpen, t.Open, t.Open.IDs, true, "known as opted out and not flagged in all units")
	}
	if n, exact := t.Backlog.Over(limit); n > 0 {
		breach(schemas.BreachBacklog, t.Backlog, n, exact, "had opted out earlier than that when the table was first read; nobody knows since when it held them")
	}
	unknown := func(why string, args ...any) {
		breach(schemas.BreachUnknown, schemas.Waits{}, 0, true, why, args...)
	}
	switch {
	case t.Runs == 0:
		unknown("no run was to treat it")
		return
	case t.left != schemas.StatusReconciled && t.left != schemas.StatusReapplied:
		unknown("the last run left it %s", t.Status)
	}
	if t.BesideMaxS > limit {
		breach(schemas.BreachUnknown, schemas.Waits{MaxS: t.BesideMaxS}, 0, true,
			"%s newly flagged whose ids were flagged before, in other rows or another table, or are in several rows: one may have waited as long as the runs are apart", plural(t.Beside, "row was", "rows were"))
	}
	if t.NotTold > 0 {
		unknown("%s did not record time to honour", plural(int64(t.NotTold), "run", "runs"))
	}
	if t.Unseen > 0 {
		unknown("%s could not tell which ids came into it since the run before", plural(int64(t.Unseen), "run", "runs"))
	}
	switch {
	case t.CheckedAt.IsZero():
		unknown("no run asked about all of it")
	case t.AgeS > limit:
		unknown("what it was checked against is %s old at the end of the report: who opted out since is not known", Span(t.AgeS))
	}
}

// summary says in one line how many, where, and how bad.
func summary(s schemas.ComplianceSLO, c schemas.Compliance) string {
	if s.OK {
		return fmt.Sprintf("time to honour %s is met: %s, the longest wait %s", Span(s.LimitS), plural(c.Total.Total.IDs, "id was flagged", "ids were flagged"), Span(c.Total.Total.MaxS))
	}
	counted := map[string]*schemas.ComplianceBreach{}
	tables := map[string][]string{}
	var unknown []string
	for _, b := range s.Breaches {
		if b.IDs == 0 {
			text := b.Why
			if b.Table != "" {
				text = "table " + b.Table + ": " + b.Why
			}
			unknown = append(unknown, text)
			continue
		}
		sum := counted[b.Kind]
		if sum == nil {
			sum = &schemas.ComplianceBreach{Kind: b.Kind, Exact: true}
			counted[b.Kind] = sum
		}
		sum.IDs += b.IDs
		sum.Exact = sum.Exact && b.Exact
		if b.WorstS > sum.WorstS {
			sum.WorstS, sum.Table, sum.Job = b.WorstS, b.Table, b.Job
		}
		tables[b.Kind] = append(tables[b.Kind], b.Table)
	}
	var parts []string
	for _, kind := range []struct{ name, what string }{
		{schemas.BreachLate, "waited longer"},
		{schemas.BreachOpen, "known and not flagged"},
		{schemas.BreachBacklog, "opted out before the table was first read, so it cannot be shown"},
	} {
		b := counted[kind.name]
		if b == nil {
			continue
		}
		part := plural(b.IDs, "id", "ids")
		if !b.Exact {
			part = "up to " + part
		}
		where := "table " + b.Table
		if b.Table == "" {
			where = "job " + b.Job
		}
		if n := len(tables[kind.name]); n > 1 {
			where = fmt.Sprintf("%d tables, worst %s", n, b.Table)
		}
		parts = append(parts, fmt.Sprintf("%s of %s %s, the worst %s", part, where, kind.what, Span(b.WorstS)))
	}
	if len(unknown) > 0 {
		part := "it cannot be shown: " + unknown[0]
		if n := len(unknown) - 1; n > 0 {
			part += fmt.Sprintf(" (and %d more)", n)
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("time to honour %s is not met: %s", Span(s.LimitS), strings.Join(parts, "; "))
}
