package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"optsweep/schemas"
)

// RunTables gives what the events of one run, which may still be under way,
// are in the run tables: the row of optsweep_runs, and those of
// optsweep_tables in the order of the report. last is the position of its last
// event in the ledger.
func RunTables(run string, events []schemas.Event, ended bool, last schemas.LedgerPosition) (runRow []any, tableRows [][]any, err error) {
	b, err := of(run, events, ended)
	if err != nil {
		return nil, nil, err
	}
	f := facts{units: map[string]*tableFacts{}, last: last, ended: ended}
	for _, e := range events {
		if e.Run != run {
			continue
		}
		if err := f.add(e); err != nil {
			return nil, nil, fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
		}
	}
	runs, err := schemas.RunTableNamed(schemas.RunsTable)
	if err != nil {
		return nil, nil, err
	}
	tables, err := schemas.RunTableNamed(schemas.TablesTable)
	if err != nil {
		return nil, nil, err
	}
	sums, bySource := values{}, schemas.SourceCount{}
	for _, t := range b.report.Tables {
		v := b.tableFigures(t, &f)
		sums.addAll(v)
		if t.RowsBySource != nil {
			bySource.Add(*t.RowsBySource)
		}
		b.tableTexts(v, t, &f)
		row, err := tables.Row(v)
		if err != nil {
			return nil, nil, err
		}
		tableRows = append(tableRows, row)
	}
	sums.text("rows_by_source", sourcesText(bySource.BySource))
	b.runValues(sums, &f)
	runRow, err = runs.Row(sums)
	return runRow, tableRows, err
}

// facts are what a report leaves out.
type facts struct {
	started   schemas.RunStarted
	planned   *schemas.Planned
	units     map[string]*tableFacts // by table
	failure   schemas.RunEnded
	limits    []string
	appliedAt time.Time // of the last receipts
	ended     bool
	finished  bool // and not given up
	last      schemas.LedgerPosition
}

type tableFacts struct {
	extracted bool
	reapplied bool
	before    map[string]string // versions by unit; of receipts
	after     map[string]string
}

func (f *facts) table(name string) *tableFacts {
	t := f.units[name]
	if t == nil {
		t = &tableFacts{before: map[string]string{}, after: map[string]string{}}
		f.units[name] = t
	}
	return t
}

func (f *facts) add(e schemas.Event) (err error) {
	switch e.Type {
	case schemas.EventRunStarted:
		f.started, err = decode[schemas.RunStarted](e)
	case schemas.EventPlanned:
		var v schemas.Planned
		v, err = decode[schemas.Planned](e)
		f.planned = &v
	case schemas.EventTableExtracted:
		var v schemas.TableExtracted
		v, err = decode[schemas.TableExtracted](e)
		f.table(v.Table).extracted = true
	case schemas.EventTableReapplied, schemas.EventTableApplied:
		var v schemas.TableApplied
		v, err = decode[schemas.TableApplied](e)
		f.apply(v, e)
	case schemas.EventLimitHit:
		var v schemas.LimitHit
		v, err = decode[schemas.LimitHit](e)
		f.limits = append(f.limits, limitText(v))
	case schemas.EventRunResumed:
		f.failure = schemas.RunEnded{}
	case schemas.EventRunInterrupted, schemas.EventRunAbandoned, schemas.EventRunFinished:
		f.failure, err = decode[schemas.RunEnded](e)
		f.finished = e.Type == schemas.EventRunFinished
	}
	return err
}

func (f *facts) apply(v schemas.TableApplied, e schemas.Event) {
	t := f.table(v.Table)
	if e.Type == schemas.EventTableApplied {
		f.appliedAt = e.Time
	} else {
		t.reapplied = true
	}
	for _, r := range v.Receipts {
		if _, again := t.before[r.Unit]; !again {
			t.before[r.Unit] = r.VersionBefore
		}
		t.after[r.Unit] = r.VersionAfter
	}
}

// values are those of a row, by column. What is not there is NULL.
type values map[string]any

// addAll adds figures; those that are not known of any table stay unknown.
func (v values) addAll(figures values) {
	for name, x := range figures {
		sum, _ := v[name].(int64)
		v[name] = sum + x.(int64)
	}
}

func (v values) ints(known bool, figures map[string]int64) {
	if !known {
		return
	}
	for name, n := range figures {
		v[name] = n
	}
}

// text sets a column unless there is nothing to say.
func (v values) text(name, s string) {
	if s != "" {
		v[name] = s
	}
}

// tableFigures are the figures of a table that add up to those of the run.
func (b *builder) tableFigures(t schemas.TableReport, f *facts) values {
	tf, v := f.table(t.Table), values{}
	done, applied := b.applied[t.Table]
	v.ints(true, map[string]int64{
		"units_applied": done.units, "units_changed": int64(t.UnitsChanged), "units_failed": int64(t.UnitsFailed),
	})
	v.ints(tf.extracted || f.finished, map[string]int64{
		"units_planned":   int64(t.Units + b.failedIn("plan", t.Table) + b.failedIn("extract", t.Table)),
		"units_extracted": int64(t.Units),
	})
	v.ints(tf.extracted, map[string]int64{
		"rows_read": t.Rows, "rows_null": t.Nulls, "rows_valid": t.Valid, "rows_malformed": sum(t.Malformed), "rows_repaired": t.Repaired,
	})
	v.ints(applied || tf.reapplied, map[string]int64{
		"rows_new": t.RowsNew, "rows_reapplied": t.RowsReapplied, "rows_earlier": t.RowsEarlier,
	})
	v.ints(applied, map[string]int64{
		"rows_opted_out": t.RowsOptedOut, "rows_flagged": t.RowsFlagged, "rows_flag_kept": t.RowsKept, "rows_confirmed": done.confirmed,
		"bytes_before": t.BytesBefore, "bytes_after": t.BytesAfter,
	})
	if c := t.RowsBySource; c != nil {
		v.ints(true, map[string]int64{"rows_operator_only": c.Operator, "rows_own_only": c.Own, "rows_on_both": c.Both})
	}
	return v
}

// tableTexts are the other columns of a table.
func (b *builder) tableTexts(v values, t schemas.TableReport, f *facts) {
	r, tf := b.report, f.table(t.Table)
	v["job"], v["run_id"], v["run_started_at"] = r.Job, r.Run, r.StartedAt.UnixMilli()
	v["table_name"], v["status"] = t.Table, t.Status
	v.text("malformed_reasons", reasonsText(t.Malformed))
	v.text("failed_units", failuresText(r.Failures, t.Table))
	v.text("version_before", versionText(tf.before))
	v.text("version_after", versionText(tf.after))
	if t.RowsBySource != nil {
		v.text("rows_by_source", sourcesText(t.RowsBySource.BySource))
	}
}

// runValues adds to the sums over all tables what is known of the run only.
func (b *builder) runValues(v values, f *facts) {
	r, s := b.report, f.started
	v["job"], v["run_id"], v["status"] = r.Job, r.Run, r.Status
	v["started_at"], v["last_event_at"] = r.StartedAt.UnixMilli(), r.FinishedAt.UnixMilli()
	if f.ended {
		v["ended_at"] = r.FinishedAt.UnixMilli()
	}
	if !f.appliedAt.IsZero() && !r.DryRun {
		v["applied_at"] = f.appliedAt.UnixMilli()
	}
	v["elapsed_seconds"] = r.FinishedAt.Sub(r.StartedAt).Seconds()
	v["resumed"], v["dry_run"], v["offline"] = int64(r.Resumed), r.DryRun, r.Offline
	v["scope"], v["environment"] = string(r.Scope), string(r.Environment)
	v["tool_version"], v["config_digest"] = r.ToolVersion, r.ConfigDigest
	v.text("plan_file_digest", s.Plan)
	v["operator_kind"] = s.Operator.Kind
	v.text("operator_host", s.Operator.Host)
	v.text("operator_key_name", s.Operator.KeyName)
	v["tables"] = int64(len(r.Tables))
	if p := f.planned; p != nil {
		v["tables"] = max(int64(p.Tables), int64(len(r.Tables)))
		v["rows_planned"], v["bytes_planned"] = p.Rows, p.Bytes
		v.text("plan_digest", p.Digest)
	}
	for _, name := range []string{"units_applied", "units_changed", "units_failed"} {
		if _, ok := v[name]; !ok {
			v[name] = int64(0) // there are no tables yet
		}
	}
	b.runIDs(v)
	b.runOutcome(v, f)
	for _, p := range r.Phases {
		before, _ := v[p.Name+"_seconds"].(float64)
		v[p.Name+"_seconds"] = before + p.Seconds
	}
}

// runIDs are the counts of distinct ids, and what they rest on.
func (b *builder) runIDs(v values) {
	if x := b.extracted; x != nil {
		v["ids_distinct"] = x.Distinct
		v.text("ids_digest", x.Digest)
	}
	if c := b.report.IDs; b.checked {
		v.ints(true, map[string]int64{
			"ids_known_opted_out": c.Known, "ids_asked": c.Asked, "ids_opted_out": c.OptedOut, "ids_clear": c.Clear,
			"ids_unverifiable": sum(c.Unverifiable), "ids_not_asked": c.Unverifiable[schemas.NotAsked],
			"batches": c.Batches, "retries": c.Retries, "canaries": int64(c.Canaries),
		})
		v.text("unverifiable_reasons", reasonsText(c.Unverifiable))
		v.text("check_journal_hash", c.Journal)
		if c.OldestMS > 0 {
			v["oldest_answer_at"], v["newest_answer_at"] = c.OldestMS, c.NewestMS
		}
	}
	if s := b.report.Sources; s != nil && b.counted {
		v.ints(true, map[string]int64{"ids_operator_only": s.IDs.Operator, "ids_own_only": s.IDs.Own, "ids_on_both": s.IDs.Both})
		v.text("ids_by_source", sourcesText(s.IDs.BySource))
	}
	if s := b.report.Suppression; s != nil {
		v.ints(true, map[string]int64{"suppression_total": s.Total, "suppression_added": s.Added, "suppression_moved_earlier": s.Moved})
		v.text("suppression_digest", s.Digest)
	}
}

// runOutcome says what stood in the way, and what vouches for the row.
func (b *builder) runOutcome(v values, f *facts) {
	r := b.report
	v.text("limits_hit", strings.Join(f.limits, "; "))
	var limits, who []string
	for _, o := range r.Overrides {
		limits = append(limits, limitText(o.LimitHit))
		if by := o.User + "@" + o.Host; !slices.Contains(who, by) {
			who = append(who, by)
		}
	}
	v.text("limits_overridden", strings.Join(limits, "; "))
	v.text("overridden_by", strings.Join(who, "; "))
	broken := int64(0)
	for _, l := range r.Laws {
		if !l.OK {
			broken++
		}
	}
	v["laws_checked"], v["laws_broken"] = int64(len(r.Laws)), broken
	v.text("failure_class", f.failure.Class)
	v.text("failure_message", f.failure.Message)
	v["ledger_seq"], v["ledger_hash"] = f.last.Seq, f.last.Hash
}

func limitText(l schemas.LimitHit) string {
	return fmt.Sprintf("%s is %s, allowed is %s", l.Limit, l.Figure, l.Allows)
}

// reasonsText lists counts, the largest first.
func reasonsText(m map[schemas.Reason]int64) string {
	var parts []string
	for _, reason := range byCount(m) {
		if m[reason] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", reason, m[reason]))
		}
	}
	return strings.Join(parts, ", ")
}

// sourcesText lists what is on each own list, also where that is nothing.
func sourcesText(bySource map[string]int64) string {
	var parts []string
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		parts = append(parts, fmt.Sprintf("%s %d", source, bySource[source]))
	}
	return strings.Join(parts, ", ")
}

// maxFailures bounds the text about failed units.
const maxFailures = 20

func failuresText(failures []schemas.UnitFailed, table string) string {
	var parts []string
	more := 0
	for _, f := range failures {
		switch {
		case f.Table != table:
		case len(parts) < maxFailures:
			parts = append(parts, fmt.Sprintf("%s (%s): %s", f.Unit, f.Phase, f.Error))
		default:
			more++
		}
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// versionText stands for the versions of all units.
func versionText(versions map[string]string) string {
	h := sha256.New()
	for _, unit := range slices.Sorted(maps.Keys(versions)) {
		if len(versions) == 1 {
			return versions[unit]
		}
		fmt.Fprintf(h, "%s\t%s\n", unit, versions[unit])
	}
	if len(versions) == 0 {
		return ""
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
