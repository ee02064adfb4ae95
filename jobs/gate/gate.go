// Package gate tells whether tables may leave the house: whether they hold rows
// of people who have opted out and that have no flag, and whether anybody has
// looked lately. It only reads, and does not need the workspace's lease.
package gate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/jobs/idset"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// Source reads one table.
type Source interface {
	Plan(ctx context.Context) ([]schemas.Unit, []schemas.UnitFailure, error)
	Scan(ctx context.Context, u schemas.Unit, yield func(schemas.Cells) error) error
	// Preview works out the receipt of flagging a unit.
	Preview(ctx context.Context, u schemas.Unit, since func(cell []byte) (int64, bool)) (schemas.Receipt, error)
}

// Finder is a Source that also names the rows whose flag is missing.
type Finder interface {
	// Find is Preview; missing is called concurrently.
	Find(ctx context.Context, u schemas.Unit, since func(cell []byte) (int64, bool), missing func(row int64, cell []byte)) (schemas.Receipt, error)
}

// Table is what must be clean.
type Table struct {
	Name   string
	Source Source
	Given  bool // files that the ledger does not know as a table
}

// Question is what must hold.
type Question struct {
	Job          string
	ConfigDigest string
	Rules        schemas.Rules
	Tables       []Table
	All          []string // names of all tables of the job
	MaxAge       time.Duration
	Workers      int
	Memory       int64  // bytes for ids
	Temp         string // folder that exists, for ids that do not fit into memory; private
	Now          func() time.Time

	// Ask asks the operator about ids, sorted and each once, and says which are
	// opted out. nil: nobody is asked.
	Ask func(ctx context.Context, ids string) ([]schemas.OptOut, schemas.GateAsked, error)
}

// Unit is a unit as it was checked.
type Unit struct {
	schemas.Unit
	Source Source
}

// Verdict is the result of a check, and what it rests on.
type Verdict struct {
	schemas.GateResult
	OptedOut *idset.OptedOut // all ids that are known, those just found included
	Units    []Unit
}

// Check answers a question. A unit that cannot be read keeps the gate shut; the
// error is for what must not be passed over, such as a ledger that was changed.
func Check(ctx context.Context, l sweep.Layout, q Question) (Verdict, error) {
	now := q.Now().UTC().Truncate(time.Millisecond)
	v := Verdict{GateResult: schemas.GateResult{
		Schema: schemas.GateSchema, Job: q.Job, MadeAt: now, MaxAgeS: int64(q.MaxAge / time.Second), Tables: make([]schemas.GateTable, len(q.Tables)),
	}}
	names, err := l.Pseudonyms()
	if err != nil {
		return v, err
	}
	known, err := l.Know(ctx, q.Job, q.ConfigDigest, q.Rules)
	if err != nil {
		return v, err
	}
	v.OptedOut = known.OptedOut
	v.Known = int64(known.OptedOut.Len())
	g := gate{q: q, known: known, names: names, verdict: &v, broken: map[int]bool{}}
	for i, t := range q.Tables {
		if err := g.plan(ctx, i, t); err != nil {
			return v, err
		}
		g.age(i, t, now)
	}
	if err := g.unseen(ctx); err != nil {
		return v, err
	}
	if err := g.units(ctx); err != nil {
		return v, err
	}
	v.Settle(false)
	return v, nil
}

// Settle says whether the gate is met. clean tells that the rows in breach stay
// behind.
func (v *Verdict) Settle(clean bool) {
	v.OK = v.Asked == nil || v.Asked.Unverifiable == 0
	for i := range v.Tables {
		t := &v.Tables[i]
		t.OK = (clean || t.Breaches == 0) && len(t.Failures) == 0 && (v.Asked != nil || !t.Stale && t.UncheckedUnits == 0 && t.UncheckedIDs == 0)
		v.OK = v.OK && t.OK
	}
}

// ButForBreaches tells whether nothing but breaches keeps the gate shut.
func (v *Verdict) ButForBreaches() bool {
	trial := Verdict{GateResult: v.GateResult}
	trial.Tables = append([]schemas.GateTable{}, v.Tables...)
	trial.Settle(true)
	return trial.OK
}

// gate is one check under way.
type gate struct {
	q       Question
	known   sweep.Knowledge
	names   schemas.Pseudonyms
	verdict *Verdict
	tables  []int        // of each unit
	broken  map[int]bool // units that could not be read
	mu      sync.Mutex   // of verdict and broken, while units are read
}

// plan lists the units of table number i.
func (g *gate) plan(ctx context.Context, i int, t Table) error {
	r := &g.verdict.Tables[i]
	*r = schemas.GateTable{Table: t.Name, Given: t.Given, Failures: []schemas.UnitFailure{}}
	units, failures, err := t.Source.Plan(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		failures = append(failures, schemas.UnitFailure{Unit: "(all)", Error: err.Error(), Hint: schemas.HintOf(err)})
	}
	for _, f := range failures {
		f.Table = t.Name
		r.Failures = append(r.Failures, f)
	}
	for _, u := range units {
		u.Table = t.Name
		r.Units++
		if !t.Given && !g.known.Checked(u) {
			r.UncheckedUnits++
		}
		g.verdict.Units = append(g.verdict.Units, Unit{u, t.Source})
		g.tables = append(g.tables, i)
	}
	return nil
}

// age tells when table number i was last checked: given files are as old as the
// table of the job that was checked first.
func (g *gate) age(i int, t Table, now time.Time) {
	names := []string{t.Name}
	if t.Given {
		names = g.q.All
	}
	r := &g.verdict.Tables[i]
	for n, name := range names {
		at := g.known.CheckedAt(name)
		if n == 0 || at.Before(r.CheckedAt) {
			r.CheckedAt = at
		}
	}
	if r.Stale = true; !r.CheckedAt.IsZero() {
		age := now.Sub(r.CheckedAt)
		r.AgeS, r.Stale = int64(age/time.Second), age > g.q.MaxAge
	}
}

// units looks for opted-out rows without a flag.
func (g *gate) units(ctx context.Context) error {
	var whole []int // units, by number: what breaks meanwhile is written under the lock
	for n := range g.verdict.Units {
		if !g.broken[n] {
			whole = append(whole, n)
		}
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(max(1, g.q.Workers))
	for _, n := range whole {
		u := g.verdict.Units[n]
		tasks.Go(func() error {
			receipt, example, err := g.unit(ctx, u)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			t := &g.verdict.Tables[g.tables[n]]
			if err != nil {
				g.fail(n, err)
				return nil
			}
			t.Rows += receipt.Rows
			t.OptedOut += receipt.OptedOut
			t.Flagged += receipt.Flagged - receipt.NewlyFlagged
			t.Breaches += receipt.NewlyFlagged + receipt.MovedEarlier
			t.Later += receipt.MovedEarlier
			if example != nil && (t.Example == nil || example.Unit < t.Example.Unit) {
				t.Example = example
			}
			return nil
		})
	}
	return tasks.Wait()
}

// fail records that unit number n could not be read.
func (g *gate) fail(n int, err error) {
	u, t := g.verdict.Units[n], &g.verdict.Tables[g.tables[n]]
	g.broken[n] = true
	t.Failures = append(t.Failures, schemas.UnitFailure{Table: u.Table, Unit: u.Name, Error: err.Error(), Hint: schemas.HintOf(err)})
}

func (g *gate) unit(ctx context.Context, u Unit) (schemas.Receipt, *schemas.BadCell, error) {
	finder, ok := u.Source.(Finder)
	if !ok {
		receipt, err := u.Source.Preview(ctx, u.Unit, g.known.OptedOut.Since)
		return receipt, nil, err
	}
	var mu sync.Mutex
	var example *schemas.BadCell
	receipt, err := finder.Find(ctx, u.Unit, g.known.OptedOut.Since, func(row int64, cell []byte) {
		mu.Lock()
		defer mu.Unlock()
		if example != nil && example.Row < row {
			return
		}
		if id, _, reason := g.q.Rules.Parse(cell); reason == schemas.Valid {
			example = &schemas.BadCell{Unit: u.Name, Row: row, Pseudonym: g.names.ID(id)}
		}
	})
	return receipt, example, err
}

// Err is nil if the gate is met; otherwise it has class Gate.
func (v Verdict) Err() error {
	if v.OK {
		return nil
	}
	var why []string
	breaches := false
	for _, t := range v.Tables {
		switch n := len(t.Failures); {
		case t.OK:
			continue
		case n > 0:
			why = append(why, fmt.Sprintf("%s: %d of its files could not be read", t.Table, n))
		}
		if t.Breaches > 0 {
			breaches = true
			why = append(why, fmt.Sprintf("%s holds %d rows of opted-out ids without a flag", t.Table, t.Breaches))
		}
		if v.Asked != nil {
			continue
		}
		switch {
		case t.Stale && t.CheckedAt.IsZero():
			why = append(why, t.Table+" was never checked")
		case t.Stale:
			why = append(why, fmt.Sprintf("%s was last checked %s ago", t.Table, time.Duration(t.AgeS)*time.Second))
		}
		if t.UncheckedUnits > 0 {
			why = append(why, fmt.Sprintf("%s has %d new or changed files", t.Table, t.UncheckedUnits))
		}
		if t.UncheckedIDs > 0 {
			why = append(why, fmt.Sprintf("%s holds %d ids that the last run did not see", t.Table, t.UncheckedIDs))
		}
	}
	if v.Asked != nil && v.Asked.Unverifiable > 0 {
		why = append(why, fmt.Sprintf("the operator gave no verdict on %d ids", v.Asked.Unverifiable))
	}
	hint := "check it with: optsweep run; or only ask about what is not known: optsweep gate --ask"
	if breaches {
		hint = "flag the rows of a table with: optsweep run; leave those of a file out of a copy with: optsweep gate FILE --clean OUT"
	}
	return schemas.Errorf(schemas.Gate, "the gate is not met: %s", strings.Join(why, "; ")).WithHint("%s", hint)
}
