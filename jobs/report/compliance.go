package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"optsweep/schemas"
)

// ComplianceOptions say what a compliance report is about.
type ComplianceOptions struct {
	Run          string    // about one run; empty: about those started in a period
	Since, Until time.Time // of the period; zero: no bound
	Now          time.Time
	End          time.Time // ages are told as of then; zero: of the end of the period, or Now
	Tables       []string  // only these; empty: all
	Expected     []TableOf // tables of job files, which should have been treated
	ToolVersion  string
	SLO          time.Duration // zero: none
}

// TableOf names a table of a job.
type TableOf struct{ Job, Table string }

// Compiler makes a compliance report of runs.
type Compiler struct {
	o      ComplianceOptions
	c      schemas.Compliance
	tables map[TableOf]*table
	lists  []schemas.ComplianceList
	listed time.Time // start of the run that lists are of
	named  map[string]bool
	last   map[string]schemas.ComplianceRun // that asked, by job
	newest map[string]schemas.ComplianceRun // by job
	fires  []schemas.ComplianceGap
	next   map[string]time.Time // fire that no log tells of, by job
}

// NewCompiler makes a Compiler.
func NewCompiler(o ComplianceOptions) *Compiler {
	c := &Compiler{o: o, tables: map[TableOf]*table{}, named: map[string]bool{}, last: map[string]schemas.ComplianceRun{}, newest: map[string]schemas.ComplianceRun{}, next: map[string]time.Time{}}
	c.c = schemas.Compliance{
		Schema: schemas.ComplianceSchema, MadeAt: o.Now.UTC(), ToolVersion: o.ToolVersion, Run: o.Run, Since: o.Since.UTC(), Until: o.Until.UTC(),
		OnlyTables: append([]string{}, o.Tables...), Settings: []schemas.ComplianceSetting{}, Tables: []schemas.ComplianceTable{},
		Runs: []schemas.ComplianceRun{}, Gaps: []schemas.ComplianceGap{}, Schedules: []schemas.ComplianceFires{},
		Limits: []schemas.ComplianceLimit{}, OwnLists: []schemas.ComplianceList{}, Notes: []string{},
	}
	switch {
	case !o.End.IsZero():
		c.c.End = o.End.UTC()
	case !o.Until.IsZero() && o.Until.Before(o.Now):
		c.c.End = o.Until.UTC()
	default:
		c.c.End = c.c.MadeAt
	}
	for i := range c.c.OnlyTables {
		c.c.OnlyTables[i] = plain(c.c.OnlyTables[i])
	}
	for _, t := range o.Expected {
		c.table(TableOf{plain(t.Job), t.Table})
	}
	return c
}

// table finds or makes a table; nil if it is not wanted.
func (c *Compiler) table(of TableOf) *table {
	c.named[of.Table] = true
	if len(c.o.Tables) > 0 && !slices.Contains(c.o.Tables, of.Table) {
		return nil
	}
	t := c.tables[of]
	if t == nil {
		t = &table{failed: map[unitKey]*schemas.ComplianceGap{}}
		t.Job, t.Table, t.Status = of.Job, of.Table, schemas.StatusNeverRun
		t.Malformed = map[schemas.Reason]int64{}
		c.tables[of] = t
	}
	return t
}

// Add adds a run, given all its events. Runs come in the order in which they
// ended. One that the report is not about only makes its tables known. last is
// the position of its last event.
func (c *Compiler) Add(run string, events []schemas.Event, ended bool, last schemas.LedgerPosition) error {
	rep, err := Of(run, events, ended)
	if err != nil {
		return err
	}
	rep.Job = plain(rep.Job)
	in := c.includes(rep)
	if !in && (c.o.Run != "" || !c.c.Until.IsZero() && !rep.StartedAt.Before(c.c.Until)) {
		return nil
	}
	for _, t := range rep.Tables {
		c.table(TableOf{rep.Job, t.Table})
	}
	if !in {
		return nil
	}
	r := runOf(rep)
	r.Ledger = last
	if e, err := endOf(events); err != nil {
		return err
	} else if e.Class != "" || e.Message != "" {
		r.Class, r.Message = e.Class, plain(e.Message)
	}
	for _, t := range rep.Tables {
		if x := c.table(TableOf{rep.Job, t.Table}); x != nil {
			x.add(r, rowOf(rep, t), rep.Failures, c.counts(r))
			r.Tables = append(r.Tables, rowOf(rep, t))
		}
	}
	if len(c.o.Tables) > 0 && len(r.Tables) == 0 && len(rep.Tables) > 0 {
		return nil // it was about other tables
	}
	c.c.Runs = append(c.c.Runs, r)
	if !c.counts(r) {
		return nil
	}
	if !r.StartedAt.Before(c.newest[r.Job].StartedAt) && !r.DryRun {
		c.newest[r.Job] = r
	}
	if was := c.last[r.Job]; r.Asked && !r.StartedAt.Before(was.StartedAt) {
		c.last[r.Job] = r
	}
	if err := c.limits(r, events); err != nil {
		return err
	}
	if s := rep.Sources; s != nil && !rep.StartedAt.Before(c.listed) {
		c.listed, c.lists = rep.StartedAt, listsOf(rep)
	}
	return nil
}

func (c *Compiler) includes(r schemas.Report) bool {
	if c.o.Run != "" {
		return r.Run == c.o.Run
	}
	return (c.c.Since.IsZero() || !r.StartedAt.Before(c.c.Since)) && (c.c.Until.IsZero() || r.StartedAt.Before(c.c.Until))
}

// counts tells whether the figures of a run count: a dry run counts only in a
// report about nothing else.
func (c *Compiler) counts(r schemas.ComplianceRun) bool { return !r.DryRun || c.o.Run != "" }

func endOf(events []schemas.Event) (end schemas.RunEnded, err error) {
	for _, e := range events {
		switch e.Type {
		case schemas.EventRunResumed:
			end = schemas.RunEnded{}
		case schemas.EventRunInterrupted, schemas.EventRunAbandoned, schemas.EventRunFinished:
			if end, err = decode[schemas.RunEnded](e); err != nil {
				return end, err
			}
		}
	}
	return end, nil
}

func runOf(r schemas.Report) schemas.ComplianceRun {
	r.Operator.Host, r.Operator.KeyName = plain(r.Operator.Host), plain(r.Operator.KeyName)
	x := schemas.ComplianceRun{
		Run: r.Run, Job: r.Job, Status: r.Status, DryRun: r.DryRun, Offline: r.Offline, StartedAt: r.StartedAt.UTC(), FinishedAt: r.FinishedAt.UTC(),
		Resumed: r.Resumed, Scope: r.Scope, Environment: r.Environment, Operator: r.Operator, ToolVersion: r.ToolVersion, ConfigDigest: r.ConfigDigest,
		IDs: r.IDs, Asked: r.IDs.Journal != "", LawsChecked: len(r.Laws), Tables: []schemas.ComplianceRow{},
	}
	for _, l := range r.Laws {
		if !l.OK {
			x.LawsBroken++
		}
	}
	return x
}

func (c *Compiler) limits(r schemas.ComplianceRun, events []schemas.Event) error {
	for _, e := range events {
		x := schemas.ComplianceLimit{Run: r.Run, Job: r.Job}
		switch e.Type {
		case schemas.EventLimitHit:
			v, err := decode[schemas.LimitHit](e)
			if err != nil {
				return err
			}
			x.LimitHit = v
		case schemas.EventLimitOverridden:
			v, err := decode[schemas.LimitOverridden](e)
			if err != nil {
				return err
			}
			x.LimitHit, x.Overridden, x.User, x.Host = v.LimitHit, true, plain(v.User), plain(v.Host)
		default:
			continue
		}
		x.Figure, x.Allows = plain(x.Figure), plain(x.Allows)
		c.c.Limits = append(c.c.Limits, x)
	}
	return nil
}

func listsOf(r schemas.Report) (lists []schemas.ComplianceList) {
	for _, l := range r.Sources.Lists {
		x := schemas.ComplianceList{OwnListStatus: l.Status(), IDs: r.Sources.IDs.BySource[l.Source]}
		x.Basis, x.User, x.Host = plain(x.Basis), plain(x.User), plain(x.Host)
		for _, t := range r.Tables {
			if t.RowsBySource != nil {
				x.Rows += t.RowsBySource.BySource[l.Source]
			}
		}
		lists = append(lists, x)
	}
	return lists
}

// Finish gives the report.
func (c *Compiler) Finish(e schemas.ComplianceEvidence) (schemas.Compliance, error) {
	for _, name := range c.o.Tables {
		if !c.named[name] {
			var known []string
			for n := range c.named {
				known = append(known, n)
			}
			slices.Sort(known)
			return c.c, schemas.Errorf(schemas.Usage, "--table: no run and no job file knows such a table").WithHint("known are: %s", strings.Join(known, ", "))
		}
	}
	r := &c.c
	r.Evidence = e
	slices.SortStableFunc(r.Runs, func(a, b schemas.ComplianceRun) int { return a.StartedAt.Compare(b.StartedAt) })
	r.Total.Malformed = map[schemas.Reason]int64{}
	for _, t := range c.sorted() {
		if !t.CheckedAt.IsZero() {
			t.AgeS = max(0, int64(r.End.Sub(t.CheckedAt).Seconds()))
		}
		t.P50S, t.P95S = t.Total.Quantile(0.5), t.Total.Quantile(0.95)
		x := t.ComplianceTable
		x.Table = plain(x.Table)
		r.Tables = append(r.Tables, x)
		r.Total.Add(t.ComplianceFigures)
	}
	r.Total.P50S, r.Total.P95S = r.Total.Total.Quantile(0.5), r.Total.Total.Quantile(0.95)
	r.OwnLists = append(r.OwnLists, c.lists...)
	c.settings()
	c.gaps()
	c.notes()
	if c.o.SLO > 0 {
		r.SLO = c.slo()
	}
	return *r, nil
}

func (c *Compiler) sorted() []*table {
	var all []*table
	for _, t := range c.tables {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *table) int { return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Table, b.Table)) })
	return all
}

func (c *Compiler) settings() {
	for _, r := range c.c.Runs {
		s := schemas.ComplianceSetting{Job: r.Job, Scope: r.Scope, Environment: r.Environment, Operator: r.Operator, ToolVersion: r.ToolVersion, ConfigDigest: r.ConfigDigest}
		i := slices.IndexFunc(c.c.Settings, func(x schemas.ComplianceSetting) bool {
			x.Runs, x.First, x.Last = 0, "", ""
			return x == s
		})
		if i < 0 {
			s.First = r.Run
			i = len(c.c.Settings)
			c.c.Settings = append(c.c.Settings, s)
		}
		c.c.Settings[i].Runs++
		c.c.Settings[i].Last = r.Run
	}
}
