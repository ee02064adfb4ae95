package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"optsweep/schemas"
)

// Column is one column of the CSV form.
type Column struct {
	Name, Doc string
	value     func(r schemas.ComplianceRun, t schemas.ComplianceRow, s *schemas.ComplianceSLO) string
}

// Columns are those of the CSV form, in order. They are only ever added, at the
// end. Times are RFC 3339 in UTC, spans of time are in seconds; a value that is
// not known is empty.
func Columns() []Column {
	type (
		run = schemas.ComplianceRun
		row = schemas.ComplianceRow
		slo = *schemas.ComplianceSLO
	)
	ofRun := func(f func(run) string) func(run, row, slo) string {
		return func(r run, _ row, _ slo) string { return f(r) }
	}
	ofRow := func(f func(row) int64) func(run, row, slo) string {
		return func(_ run, t row, _ slo) string {
			if t.Table == "" {
				return ""
			}
			return strconv.FormatInt(f(t), 10)
		}
	}
	waits := func(f func(schemas.TableHonoured) int64) func(run, row, slo) string {
		return func(_ run, t row, _ slo) string {
			if t.Honour == nil {
				return ""
			}
			return strconv.FormatInt(f(*t.Honour), 10)
		}
	}
	return []Column{
		{"job", "job", ofRun(func(r run) string { return r.Job })},
		{"run", "id of the run", ofRun(func(r run) string { return r.Run })},
		{"started_at", "start of the run", ofRun(func(r run) string { return r.StartedAt.Format(time.RFC3339) })},
		{"finished_at", "last event of the run", ofRun(func(r run) string { return r.FinishedAt.Format(time.RFC3339) })},
		{"run_status", "reconciled, reapplied (offline), previewed (dry run), partial, stopped, failed, interrupted or abandoned", ofRun(func(r run) string { return r.Status })},
		{"dry_run", "true: nothing was written", ofRun(func(r run) string { return strconv.FormatBool(r.DryRun) })},
		{"offline", "true: no operator was asked", ofRun(func(r run) string { return strconv.FormatBool(r.Offline) })},
		{"scope", "euid or uid2", ofRun(func(r run) string { return string(r.Scope) })},
		{"environment", "production or integration", ofRun(func(r run) string { return string(r.Environment) })},
		{"operator", "kind of the operator", ofRun(func(r run) string { return r.Operator.Kind })},
		{"operator_host", "host of the operator", ofRun(func(r run) string { return r.Operator.Host })},
		{"table", "name of the table in the job file; empty: the run ended before it came to a table", func(_ run, t row, _ slo) string { return t.Table }},
		{"table_status", "as run_status, of this table", func(_ run, t row, _ slo) string { return t.Status }},
		{"units", "files or statements that were read", ofRow(func(t row) int64 { return int64(t.Units) })},
		{"units_failed", "of the table, that could not be treated", ofRow(func(t row) int64 { return int64(t.UnitsFailed) })},
		{"units_changed", "that were written", ofRow(func(t row) int64 { return int64(t.UnitsChanged) })},
		{"rows", "= rows_null + rows_quarantined + rows_opted_out + rows_clear + rows_unsettled", ofRow(func(t row) int64 { return t.Rows })},
		{"rows_null", "without an id", ofRow(func(t row) int64 { return t.Nulls })},
		{"rows_quarantined", "what is in them is no id that can be asked about", ofRow(func(t row) int64 { return bad(t) })},
		{"quarantined_by_reason", "rows_quarantined by reason: reason=rows, separated by ';'", func(_ run, t row, _ slo) string { return reasons(t.Malformed) }},
		{"rows_opted_out", "whose id is opted out", ofRow(func(t row) int64 { return t.RowsOptedOut })},
		{"rows_clear", "whose id was asked about and was not on the operator's list", ofRow(func(t row) int64 { return t.Clear })},
		{"rows_unsettled", "with an id that was not asked about or got no verdict, or that cannot be told from those", ofRow(func(t row) int64 { return t.Unsettled })},
		{"rows_flagged", "with a flag after the run", ofRow(func(t row) int64 { return t.RowsFlagged })},
		{"rows_new", "newly flagged; of a dry run: that would be", ofRow(func(t row) int64 { return t.RowsNew })},
		{"rows_reapplied", "of rows_new: known from earlier runs, and the flag was missing", ofRow(func(t row) int64 { return t.RowsReapplied })},
		{"rows_earlier", "whose flag was moved to an earlier time", ofRow(func(t row) int64 { return t.RowsEarlier })},
		{"rows_flag_kept", "whose flag from before was kept without a known reason", ofRow(func(t row) int64 { return t.RowsKept })},
		{"ids_honoured", "distinct ids whose flags this run was the first to write; empty: not recorded", waits(func(h schemas.TableHonoured) int64 { return h.Total.IDs })},
		{"honour_p50_s", "their time to honour: half of them waited at most so long", waits(func(h schemas.TableHonoured) int64 { return h.Total.Quantile(0.5) })},
		{"honour_p95_s", "95% waited at most so long", waits(func(h schemas.TableHonoured) int64 { return h.Total.Quantile(0.95) })},
		{"honour_max_s", "the longest wait", waits(func(h schemas.TableHonoured) int64 { return h.Total.MaxS })},
		{"detect_max_s", "the longest wait for an answer of the operator", waits(func(h schemas.TableHonoured) int64 { return h.Detect.MaxS })},
		{"apply_max_s", "the longest wait from then on", waits(func(h schemas.TableHonoured) int64 { return h.Apply.MaxS })},
		{"ids_arrived", "of ids_honoured: came into the table after the opt-out", waits(func(h schemas.TableHonoured) int64 { return h.Arrived })},
		{"ids_backlog", "beside ids_honoured: opted out before the table was first read", waits(func(h schemas.TableHonoured) int64 { return h.Backlog.IDs })},
		{"ids_open", "known as opted out, and not flagged in all units", waits(func(h schemas.TableHonoured) int64 { return h.Open.IDs })},
		{"ids_over_slo", "of ids_honoured: waited longer than --slo", func(_ run, t row, s slo) string {
			if s == nil || t.Honour == nil {
				return ""
			}
			n, _ := t.Honour.Total.Over(s.LimitS)
			return strconv.FormatInt(n, 10)
		}},
		{"failure", "why the run did not end well", ofRun(func(r run) string { return r.Message })},
		{"config_digest", "SHA-256 of the job file", ofRun(func(r run) string { return r.ConfigDigest })},
		{"tool_version", "of optsweep", ofRun(func(r run) string { return r.ToolVersion })},
		{"ledger_seq", "number of the run's last event in the ledger", ofRun(func(r run) string { return strconv.FormatInt(r.Ledger.Seq, 10) })},
		{"ledger_hash", "hash of that event", ofRun(func(r run) string { return r.Ledger.Hash })},
	}
}

func bad(t schemas.ComplianceRow) (n int64) {
	for _, count := range t.Malformed {
		n += count
	}
	return n
}

func reasons(m map[schemas.Reason]int64) string {
	var parts []string
	for reason, n := range m {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", reason, n))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ";")
}

// CSV writes one row for each run and table, and one for a run that came to no
// table. What a spreadsheet would take for a formula begins with an apostrophe.
func CSV(w io.Writer, c schemas.Compliance) error {
	out, columns := csv.NewWriter(w), Columns()
	cells := make([]string, len(columns))
	for i, x := range columns {
		cells[i] = x.Name
	}
	if err := out.Write(cells); err != nil {
		return err
	}
	for _, r := range c.Runs {
		rows := r.Tables
		if len(rows) == 0 {
			rows = []schemas.ComplianceRow{{}}
		}
		for _, t := range rows {
			for i, x := range columns {
				cells[i] = cell(x.value(r, t, c.SLO))
			}
			if err := out.Write(cells); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// cell keeps a spreadsheet from running what is in it. Characters of control
// become spaces, or a sign after them could begin a formula again.
func cell(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	for _, sign := range []string{"=", "+", "-", "@", "＝", "＋", "－", "＠"} { // the latter, of full width, for Excel
		if strings.HasPrefix(strings.TrimLeft(text, " "), sign) {
			return "'" + text
		}
	}
	return text
}
