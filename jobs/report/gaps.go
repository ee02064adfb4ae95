package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"optsweep/schemas"
)

// plain makes a text safe to show anywhere: nothing in it looks like an id, and
// no character changes how the others are shown.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
	return string(schemas.Hide([]byte(text)))
}

// Schedule adds what a job's log of fires holds.
func (c *Compiler) Schedule(log schemas.ScheduleLog) {
	log.Job = plain(log.Job)
	f := schemas.ComplianceFires{Job: log.Job, Known: log.Last.UTC(), ByEnd: map[string]int{}, Skipped: map[string]int{}}
	for _, x := range log.Fires {
		last := x.First
		if x.Last.After(last) {
			last = x.Last
		}
		if !c.c.Since.IsZero() && last.Before(c.c.Since) || !c.c.Until.IsZero() && !x.First.Before(c.c.Until) {
			continue
		}
		g := schemas.ComplianceGap{Job: log.Job, Run: x.Run, At: x.First.UTC(), Count: int64(max(1, x.Count))}
		if last.After(x.First) {
			g.Until = last.UTC()
		}
		switch {
		case x.Status == fireSkipped:
			f.Skipped[x.Reason] += x.Count
			g.Kind, g.Why = schemas.GapFireSkipped, whySkipped(x.Reason)
			c.fires = append(c.fires, g)
		case x.Run == "":
			f.Started++
			f.ByEnd[x.Status]++
			g.Kind, g.Why = schemas.GapFireFailed, cmp.Or(plain(x.Reason), x.Status)
			c.fires = append(c.fires, g)
		default:
			f.Started++
			f.ByEnd[x.Status]++
		}
	}
	c.c.Schedules = append(c.c.Schedules, f)
	c.next[log.Job] = log.Next
}

// fireSkipped is the status of a fire that did not run.
const fireSkipped = "skipped"

// whySkipped says in words why a fire did not run.
func whySkipped(reason string) string {
	switch reason {
	case "missed":
		return "nobody was there to start it, and catch_up is skip"
	case "catch_up_once":
		return "a later run did its work (catch_up: once)"
	case "grace":
		return "missed, and older than the grace period when the daemon was back"
	case "overlap":
		return "the run before was still under way"
	case "too_many":
		return "more were missed than are caught up with"
	case "rescheduled":
		return "missed before the schedule was changed"
	default:
		return plain(reason)
	}
}

// gaps lists what was not checked or not written.
func (c *Compiler) gaps() {
	add := func(g schemas.ComplianceGap) { c.c.Gaps = append(c.c.Gaps, g) }
	e := c.c.Evidence
	if !e.RemovedUntil.IsZero() && c.o.Run == "" && (c.c.Since.IsZero() || c.c.Since.Before(e.RemovedUntil)) {
		add(schemas.ComplianceGap{
			Kind: schemas.GapRetention, At: e.RemovedAt.UTC(), Until: e.RemovedUntil.UTC(), Count: int64(e.RemovedRuns),
			Why: fmt.Sprintf("retention removed all events until %s: nothing is told of earlier runs", stamp(e.RemovedUntil)),
		})
	}
	if c.o.Run == "" {
		c.unknownFires(add)
	}
	for _, t := range c.sorted() {
		if t.Runs == 0 {
			add(schemas.ComplianceGap{Kind: schemas.GapNeverRun, Job: t.Job, Table: plain(t.Table), Count: 1, Why: "no run was to treat this table"})
		}
	}
	for _, r := range c.c.Runs {
		switch r.Status {
		case schemas.StatusFailed, schemas.StatusStopped, schemas.StatusInterrupted, schemas.StatusAbandoned:
			why := r.Status
			switch {
			case r.Message != "":
				why += ": " + r.Message
			case r.Status == schemas.StatusInterrupted:
				why += ", or under way"
			}
			if r.DryRun {
				why = "dry run, " + why
			}
			add(schemas.ComplianceGap{Kind: schemas.GapRunFailed, Job: r.Job, Run: r.Run, At: r.StartedAt, Count: 1, Why: why})
		}
	}
	for _, g := range c.fires {
		add(g)
	}
	for _, t := range c.sorted() {
		c.tableGaps(t, add)
	}
	for _, job := range slices.Sorted(maps.Keys(c.last)) {
		r := c.last[job]
		for _, reason := range byCount(r.IDs.Unverifiable) {
			if n := r.IDs.Unverifiable[reason]; n > 0 {
				add(schemas.ComplianceGap{Kind: schemas.GapUnverifiable, Job: job, Run: r.Run, At: r.StartedAt, Count: n,
					Why: fmt.Sprintf("%s: distinct ids that the last run that asked got no verdict on", reason)})
			}
		}
	}
}

// tableGaps are those of one table.
func (c *Compiler) tableGaps(t *table, add func(schemas.ComplianceGap)) {
	failed := slices.SortedFunc(maps.Values(t.failed), func(a, b *schemas.ComplianceGap) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Why, b.Why))
	})
	for _, g := range failed {
		add(*g)
	}
	for _, reason := range byCount(t.Malformed) {
		if n := t.Malformed[reason]; n > 0 {
			add(schemas.ComplianceGap{Kind: schemas.GapQuarantined, Job: t.Job, Table: plain(t.Table), Count: n, At: t.read,
				Why: fmt.Sprintf("%s: rows that the last run quarantined, since what is in them is no id that can be asked about", reason)})
		}
	}
	if t.NotTold > 0 {
		add(schemas.ComplianceGap{Kind: schemas.GapNotRecorded, Job: t.Job, Table: plain(t.Table), Count: int64(t.NotTold),
			Why: "time to honour was not recorded: these runs were made by a version of optsweep before there was that figure"})
	}
	if t.Unseen > 0 {
		add(schemas.ComplianceGap{Kind: schemas.GapNotRecorded, Job: t.Job, Table: plain(t.Table), Count: int64(t.Unseen),
			Why: "the ids that the run before saw were removed by retention: these runs could not tell which ids came into the table since"})
	}
}

// unknownFires says where no log tells of missed runs.
func (c *Compiler) unknownFires(add func(schemas.ComplianceGap)) {
	jobs := map[string]bool{}
	for _, t := range c.sorted() {
		jobs[t.Job] = true
	}
	for _, f := range c.c.Schedules {
		if delete(jobs, f.Job); c.next[f.Job].Before(c.c.End.Add(-unheard)) && !c.next[f.Job].IsZero() {
			add(schemas.ComplianceGap{Kind: schemas.GapFiresUnknown, Job: f.Job, At: f.Known, Until: c.c.End, Count: 1,
				Why: "the log of fires ends there: what was due since and did not start is in no log"})
		}
	}
	for _, job := range slices.Sorted(maps.Keys(jobs)) {
		add(schemas.ComplianceGap{Kind: schemas.GapFiresUnknown, Job: job, Count: 1,
			Why: "the job has no log of fires: if something else starts its runs, only that knows which were missed"})
	}
}

// unheard is how long after a fire is due the log may be silent about it.
const unheard = time.Hour

func (c *Compiler) notes() {
	note := func(text string, args ...any) { c.c.Notes = append(c.c.Notes, fmt.Sprintf(text, args...)) }
	note("clear means: this exact id was not on the operator's list when it was asked; it does not mean that the person has not opted out")
	note("time to honour counts distinct ids of a table whose flags a run was the first to write, from the opt-out until the last flag of the table was written; an id that came into the table later counts from the start of the last run that did not see it. It is never told shorter than it was: a figure is rounded up to the next bound of the histogram")
	if c.c.Total.Backlog.IDs > 0 {
		note("backlog are ids that had opted out before their table was first read, or before the last run whose ids retention has removed: nobody knows since when the table holds them, so they are told apart, with the time since their opt-out")
	}
	dry, offline := 0, 0
	for _, r := range c.c.Runs {
		if r.DryRun {
			dry++
		}
		if r.Offline {
			offline++
		}
	}
	if f := c.c.Total; f.Beside > 0 {
		longest := "those of a first run waited as long as the backlog"
		if f.BesideMaxS > 0 {
			longest = "such a row waited at most " + Span(f.BesideMaxS) + " between two runs"
		}
		note("%s newly flagged beside one for each of those ids: their ids are in several rows, or were flagged before, in other rows, another table, or before the table was restored; %s", plural(f.Beside, "row was", "rows were"), longest)
	}
	if dry > 0 && c.o.Run == "" {
		note("%s listed, but nothing was written and none of the figures counts: dry runs", plural(int64(dry), "run is", "runs are"))
	}
	if dry > 0 && c.o.Run != "" {
		note("dry run: no table and no suppression list was written")
	}
	if offline > 0 {
		note("%s offline: no operator was asked, so that nothing counts as checked", plural(int64(offline), "run was", "runs were"))
	}
	if len(c.c.OwnLists) > 0 {
		note("ids on lists of your own are flagged, too, and count as opted out")
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Span is a time in seconds in words, never told shorter than it is.
func Span(seconds int64) string {
	const m, h, d = 60, 3600, 86400
	switch {
	case seconds < m:
		return fmt.Sprintf("%ds", seconds)
	case seconds < h:
		return two(seconds, m, "m", "s")
	case seconds < 2*d:
		return two((seconds+m-1)/m, 60, "h", "m")
	case seconds < 365*d:
		return two((seconds+h-1)/h, 24, "d", "h")
	default:
		return two((seconds+d-1)/d, 365, "y", "d")
	}
}

func two(n, per int64, large, small string) string {
	if n%per == 0 {
		return fmt.Sprintf("%d%s", n/per, large)
	}
	return fmt.Sprintf("%d%s %d%s", n/per, large, n%per, small)
}
