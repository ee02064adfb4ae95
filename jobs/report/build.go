// Package report turns the events of a run into its report. It is pure: it
// reads nothing but the events and writes nothing but what it returns.
package report

import (
	"encoding/json"
	"fmt"

	"optsweep/schemas"
)

// Build folds the ledger's events of one run into its report. Events of other
// runs are passed over.
func Build(run string, events []schemas.Event) (schemas.Report, error) {
	b, err := fold(run, events)
	if err != nil {
		return schemas.Report{}, err
	}
	return b.report, nil
}

func fold(run string, events []schemas.Event) (*builder, error) {
	b := &builder{
		report: schemas.Report{Schema: schemas.ReportSchema, Run: run, Tables: []schemas.TableReport{}, Failures: []schemas.UnitFailed{}, Overrides: []schemas.LimitOverridden{}},
		tables: map[string]int{}, reapplied: map[unitKey]schemas.Receipt{},
		optedOut: map[unitKey]int64{}, sources: map[unitKey]schemas.SourceCount{},
	}
	for _, e := range events {
		if e.Run != run {
			continue
		}
		if err := b.add(e); err != nil {
			return nil, fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
		}
	}
	if b.report.StartedAt.IsZero() {
		return nil, fmt.Errorf("the ledger knows no run %s", run)
	}
	b.finish()
	return b, nil
}

// Marshal gives the bytes of report.json.
func Marshal(r schemas.Report) ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

type builder struct {
	report    schemas.Report
	tables    map[string]int // position in report.Tables
	extracted *schemas.Extracted
	checked   bool
	applied   map[string]applied
	reapplied map[unitKey]schemas.Receipt // of units that changed before anything was asked

	optedOut map[unitKey]int64               // rows, as the receipts count them
	sources  map[unitKey]schemas.SourceCount // rows of units that hold an id of an own list
	counted  bool                            // distinct ids by source
}

type unitKey struct{ table, unit string }

// applied sums up the receipts of one table.
type applied struct {
	units, rows, nulls, confirmed int64
}

func decode[T any](e schemas.Event) (T, error) {
	var v T
	err := json.Unmarshal(e.Data, &v)
	return v, err
}

func (b *builder) add(e schemas.Event) (err error) {
	b.report.FinishedAt = e.Time
	switch e.Type {
	case schemas.EventRunStarted:
		var v schemas.RunStarted
		v, err = decode[schemas.RunStarted](e)
		r := &b.report
		r.StartedAt, r.Job, r.ConfigDigest, r.ToolVersion = e.Time, v.Job, v.ConfigDigest, v.ToolVersion
		r.Scope, r.Environment, r.Operator, r.DryRun, r.Offline = v.Scope, v.Environment, v.Operator, v.DryRun, v.Offline
	case schemas.EventRunResumed:
		b.report.Resumed++
		b.report.Status, b.report.Limit = "", nil
	case schemas.EventTableExtracted:
		var v schemas.TableExtracted
		v, err = decode[schemas.TableExtracted](e)
		b.table(v.Table).TableExtracted = v
	case schemas.EventExtracted:
		var v schemas.Extracted
		v, err = decode[schemas.Extracted](e)
		b.extracted = &v
		b.phase("extract", v.Seconds)
	case schemas.EventChecked:
		b.report.IDs, err = decode[schemas.Checked](e)
		b.checked = true
		b.phase("check", b.report.IDs.Seconds)
	case schemas.EventSuppressionUpdated:
		var v schemas.SuppressionUpdated
		v, err = decode[schemas.SuppressionUpdated](e)
		b.report.Suppression = &v
	case schemas.EventTableReapplied:
		var v schemas.TableApplied
		v, err = decode[schemas.TableApplied](e)
		b.reapply(v)
	case schemas.EventTableApplied:
		var v schemas.TableApplied
		v, err = decode[schemas.TableApplied](e)
		b.apply(v)
	case schemas.EventOwnLists, schemas.EventSourcesCounted, schemas.EventTableSources:
		err = b.addSources(e)
	case schemas.EventTableHonoured:
		var v schemas.TableHonoured
		v, err = decode[schemas.TableHonoured](e)
		b.table(v.Table).Honour = &v
	case schemas.EventUnitFailed:
		var v schemas.UnitFailed
		v, err = decode[schemas.UnitFailed](e)
		b.report.Failures = append(b.report.Failures, v)
		b.table(v.Table).UnitsFailed++
	case schemas.EventLimitHit:
		var v schemas.LimitHit
		v, err = decode[schemas.LimitHit](e)
		b.report.Limit = &v
	case schemas.EventLimitOverridden:
		var v schemas.LimitOverridden
		v, err = decode[schemas.LimitOverridden](e)
		b.report.Overrides = append(b.report.Overrides, v)
	case schemas.EventRunFinished, schemas.EventRunAbandoned, schemas.EventRunInterrupted:
		var v schemas.RunEnded
		v, err = decode[schemas.RunEnded](e)
		b.report.Status = v.Status
		if v.Apply > 0 {
			b.phase("apply", v.Apply)
		}
	}
	return err
}

func (b *builder) phase(name string, seconds float64) {
	b.report.Phases = append(b.report.Phases, schemas.Phase{Name: name, Seconds: seconds})
}

func (b *builder) table(name string) *schemas.TableReport {
	i, ok := b.tables[name]
	if !ok {
		i = len(b.report.Tables)
		b.tables[name] = i
		b.report.Tables = append(b.report.Tables, schemas.TableReport{TableExtracted: schemas.TableExtracted{Table: name}})
	}
	return &b.report.Tables[i]
}

func (b *builder) apply(v schemas.TableApplied) {
	if b.applied == nil {
		b.applied = map[string]applied{}
	}
	t, sum := b.table(v.Table), b.applied[v.Table]
	for _, r := range v.Receipts {
		sum.units++
		sum.rows += r.Rows
		sum.nulls += r.Nulls
		sum.confirmed += r.Confirmed
		before, again := b.reapplied[unitKey{r.Table, r.Unit}]
		if again {
			r.BytesBefore = before.BytesBefore
		} else if r.Changed {
			t.UnitsChanged++
		}
		if r.Carried {
			t.UnitsCarried++
		}
		t.RowsOptedOut += r.OptedOut
		b.optedOut[unitKey{r.Table, r.Unit}] = r.OptedOut
		t.RowsFlagged += r.Flagged
		t.RowsNew += r.NewlyFlagged
		t.RowsEarlier += r.MovedEarlier
		t.RowsKept += r.Kept
		t.RowsRemoved += r.Removed
		t.BytesBefore += r.BytesBefore
		t.BytesAfter += r.BytesAfter
	}
	b.applied[v.Table] = sum
}

// reapply takes receipts of flags that were written before anything was asked;
// those of apply follow for the same units.
func (b *builder) reapply(v schemas.TableApplied) {
	t := b.table(v.Table)
	for _, r := range v.Receipts {
		if !r.Changed {
			continue
		}
		b.reapplied[unitKey{r.Table, r.Unit}] = r
		t.UnitsChanged++
		t.RowsNew += r.NewlyFlagged
		t.RowsReapplied += r.NewlyFlagged
		t.RowsRemoved += r.Removed
		t.RowsEarlier += r.MovedEarlier
	}
}

func (b *builder) finish() {
	b.rowsBySource()
	b.laws()
	r := &b.report
	for i := range r.Tables {
		r.Tables[i].Status = b.tableStatus(r.Tables[i])
	}
	if r.Status == "" {
		r.Status = b.status()
	}
	r.Notes = append(r.Notes,
		"clear means: this exact id was not on the operator's list when it was asked; it does not mean that the person has not opted out")
	if r.Offline {
		r.Notes = append(r.Notes, "offline run: no operator was asked; ids that are not on the suppression list are unverifiable (not_asked), not clear")
	}
	if r.Sources != nil {
		r.Notes = append(r.Notes, "ids on lists of your own are flagged, too; unless the operator lists them itself they are asked about in every run, and no limit counts them")
	}
	if r.DryRun {
		r.Notes = append(r.Notes, "dry run: no table and no suppression list was written")
	}
}

func (b *builder) tableStatus(t schemas.TableReport) string {
	done := int(b.applied[t.Table].units)
	switch {
	case done == 0:
		return schemas.StatusFailed
	case t.UnitsFailed > 0:
		return schemas.StatusPartial
	default:
		return b.success()
	}
}

// success is what a run, or a table, amounts to if all went well.
func (b *builder) success() string {
	switch {
	case b.report.DryRun:
		return schemas.StatusPreviewed
	case b.report.Offline:
		return schemas.StatusReapplied
	default:
		return schemas.StatusReconciled
	}
}

// status is what the run amounts to if it ends now.
func (b *builder) status() string {
	if b.report.Limit != nil {
		return schemas.StatusStopped
	}
	best, worst := false, false
	for _, t := range b.report.Tables {
		switch t.Status {
		case b.success():
			best = true
		case schemas.StatusPartial:
			best, worst = true, true
		default:
			worst = true
		}
	}
	for _, l := range b.report.Laws {
		if !l.OK {
			return schemas.StatusFailed
		}
	}
	switch {
	case !best:
		return schemas.StatusFailed
	case worst:
		return schemas.StatusPartial
	default:
		return b.success()
	}
}
