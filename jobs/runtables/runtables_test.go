package runtables_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"optsweep/jobs/internal/sweeptest"
	"optsweep/jobs/ledger"
	"optsweep/jobs/report"
	"optsweep/jobs/runtables"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// bench is a workspace in which the operator rejects two ids.
func bench(t testing.TB) *sweeptest.Bench {
	t.Helper()
	b, err := sweeptest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b.Rejected[sweeptest.ID(1)] = schemas.OperatorRejected
	b.Rejected[sweeptest.ID(25)] = schemas.TooOld
	return b
}

func mustRun(t testing.TB, b *sweeptest.Bench) schemas.Report {
	t.Helper()
	rep, err := b.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// runs are all runs of a workspace.
func runs(t testing.TB, b *sweeptest.Bench) (all []ledger.Run, end ledger.End) {
	t.Helper()
	end, err := ledger.Runs(sweep.Layout(b.Dir).Ledger(), func(r ledger.Run) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, end
}

func read(b *sweeptest.Bench, run ledger.Run, name string) (rows []map[string]any, notes []string, err error) {
	table, err := schemas.RunTableNamed(name)
	if err != nil {
		return nil, nil, err
	}
	notes, err = runtables.Rows(context.Background(), sweep.Layout(b.Dir), run, table, func(row []any) error {
		named := map[string]any{}
		for i, c := range table.Columns {
			named[c.Name] = row[i]
		}
		rows = append(rows, named)
		return table.Check(row)
	})
	return rows, notes, err
}

// mustRead reads what must still be there.
func mustRead(t testing.TB, b *sweeptest.Bench, run ledger.Run, name string) []map[string]any {
	t.Helper()
	rows, notes, err := read(b, run, name)
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	return rows
}

// want compares the columns named in it.
func want(t testing.TB, what string, row, columns map[string]any) {
	t.Helper()
	for name, value := range columns {
		if got, ok := row[name]; !ok || got != value {
			t.Errorf("%s: %s is %v, want %v", what, name, got, value)
		}
	}
}

func sum(rows []map[string]any, column string) (n int64) {
	for _, r := range rows {
		x, _ := r[column].(int64)
		n += x
	}
	return n
}

func TestRowsSayWhatTheReportSays(t *testing.T) {
	b := bench(t)
	rep := mustRun(t, b)
	all, end := runs(t, b)
	run := all[0]

	rows := mustRead(t, b, run, schemas.RunsTable)
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0]
	want(t, "run", r, map[string]any{
		"job": "test", "run_id": rep.Run, "status": "reconciled", "started_at": rep.StartedAt.UnixMilli(), "ended_at": rep.FinishedAt.UnixMilli(),
		"last_event_at": rep.FinishedAt.UnixMilli(), "dry_run": false, "offline": false, "scope": "euid", "environment": "production",
		"tool_version": sweeptest.ToolVersion, "config_digest": "c1", "plan_file_digest": nil, "operator_host": nil, "tables": int64(1), "resumed": int64(0),
		"ids_distinct": rep.IDs.Distinct, "ids_asked": rep.IDs.Asked, "ids_known_opted_out": int64(0), "ids_opted_out": int64(9), "ids_clear": rep.IDs.Clear,
		"ids_unverifiable": int64(2), "ids_not_asked": int64(0), "unverifiable_reasons": "operator_rejected 1, too_old 1",
		"batches": int64(6), "retries": int64(0), "canaries": int64(0), "oldest_answer_at": rep.IDs.OldestMS, "newest_answer_at": rep.IDs.NewestMS,
		"suppression_total": rep.Suppression.Total, "suppression_added": int64(9), "suppression_digest": rep.Suppression.Digest,
		"check_journal_hash": rep.IDs.Journal, "limits_hit": nil, "limits_overridden": nil, "overridden_by": nil, "laws_checked": int64(len(rep.Laws)), "laws_broken": int64(0),
		"failure_class": nil, "failure_message": nil, "ledger_seq": end.Seq, "ledger_hash": end.Hash, "rows_planned": int64(84), "bytes_planned": int64(2000),
	})
	if at, ok := r["applied_at"].(int64); !ok || at < rep.StartedAt.UnixMilli() || at > rep.FinishedAt.UnixMilli() {
		t.Errorf("applied at %v", r["applied_at"])
	}
	for _, name := range []string{"plan_digest", "ids_digest", "elapsed_seconds", "extract_seconds", "check_seconds", "apply_seconds"} {
		if r[name] == nil {
			t.Errorf("%s is NULL", name)
		}
	}

	tables := mustRead(t, b, run, schemas.TablesTable)
	if len(tables) != 1 {
		t.Fatalf("%d tables", len(tables))
	}
	x := rep.Tables[0]
	want(t, "table", tables[0], map[string]any{
		"job": "test", "run_id": rep.Run, "run_started_at": rep.StartedAt.UnixMilli(), "table_name": "crm", "status": "reconciled",
		"units_planned": int64(2), "units_extracted": int64(2), "units_applied": int64(2), "units_changed": int64(x.UnitsChanged), "units_failed": int64(0),
		"rows_read": x.Rows, "rows_null": x.Nulls, "rows_valid": x.Valid, "rows_malformed": int64(2), "rows_opted_out": x.RowsOptedOut, "rows_flagged": x.RowsFlagged,
		"rows_new": x.RowsNew, "rows_earlier": x.RowsEarlier, "rows_flag_kept": x.RowsKept, "rows_confirmed": x.RowsFlagged,
		"bytes_before": x.BytesBefore, "bytes_after": x.BytesAfter, "malformed_reasons": "looks_like_email 1, not_base64 1", "failed_units": nil,
	})
	if before, after := tables[0]["version_before"].(string), tables[0]["version_after"].(string); !strings.HasPrefix(before, "sha256:") || before == after {
		t.Errorf("versions %s, %s", before, after)
	}
	for name := range tables[0] {
		if _, both := r[name]; both && strings.Contains(name, "s_") && name != "run_id" {
			if sum(tables, name) != sum(rows, name) {
				t.Errorf("%s of all tables: %d, of the run: %v", name, sum(tables, name), r[name])
			}
		}
	}
}

func TestBatchesAndOptOuts(t *testing.T) {
	b := bench(t)
	rep := mustRun(t, b)
	all, _ := runs(t, b)
	batches := mustRead(t, b, all[0], schemas.BatchesTable)
	if int64(len(batches)) != rep.IDs.Batches || sum(batches, "ids") != rep.IDs.Asked || sum(batches, "ids_opted_out") != rep.IDs.OptedOut ||
		sum(batches, "ids_clear") != rep.IDs.Clear || sum(batches, "ids_rejected") != 2 {
		t.Errorf("%d batches: %v", len(batches), batches)
	}
	var before any
	numbers := map[any]bool{} // those that wait for their turn together are answered in any order
	for n, row := range batches {
		numbers[row["batch"]] = true
		want(t, "batch", row, map[string]any{"journal_line": int64(n + 1), "previous_line_hash": before, "answered_at": rep.IDs.NewestMS, "run_id": rep.Run})
		if len(row["digest"].(string)) != 64 {
			t.Errorf("digest %v", row["digest"])
		}
		before = row["line_hash"]
	}
	for n := range rep.IDs.Batches {
		if !numbers[n] {
			t.Errorf("there is no batch %d", n)
		}
	}
	if before != rep.IDs.Journal {
		t.Error("the last line is not the one that the ledger knows")
	}

	p, err := sweep.Layout(b.Dir).Pseudonyms()
	if err != nil {
		t.Fatal(err)
	}
	since := map[any]int64{}
	for id, ms := range b.OptedOut {
		since[p.ID(id)] = ms
	}
	optOuts := mustRead(t, b, all[0], schemas.OptOutsTable)
	if int64(len(optOuts)) != rep.IDs.OptedOut {
		t.Errorf("%d opt-outs", len(optOuts))
	}
	for _, row := range optOuts {
		want(t, "opt-out", row, map[string]any{"opted_out_since": since[row["pseudonym"]], "learned_at": rep.IDs.NewestMS, "run_started_at": rep.StartedAt.UnixMilli()})
		delete(since, row["pseudonym"])
		if n := row["batch"].(int64); n < 0 || n >= rep.IDs.Batches {
			t.Errorf("batch %d", n)
		}
	}
	if len(since) > 0 {
		t.Errorf("not listed: %v", since)
	}

	// The next run asks about none of them again.
	b.OptedOut[sweeptest.ID(2)] = 1_650_000_000_000
	mustRun(t, b)
	all, _ = runs(t, b)
	if optOuts := mustRead(t, b, all[1], schemas.OptOutsTable); len(optOuts) != 1 || optOuts[0]["pseudonym"] != p.ID(sweeptest.ID(2)) {
		t.Errorf("%v", optOuts)
	}
	want(t, "second run", mustRead(t, b, all[1], schemas.RunsTable)[0], map[string]any{"ids_known_opted_out": int64(9), "suppression_added": int64(1), "suppression_total": int64(10)})
}

func TestQuarantine(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	all, _ := runs(t, b)
	p, err := sweep.Layout(b.Dir).Pseudonyms()
	if err != nil {
		t.Fatal(err)
	}
	rows := mustRead(t, b, all[0], schemas.QuarantineTable)
	line := func(unit string, row int64, reason schemas.Reason, pseudonym string) map[string]any {
		return map[string]any{"table_name": "crm", "unit": unit, "row_index": row, "row_count": int64(1), "reason": string(reason), "pseudonym": pseudonym}
	}
	expected := []map[string]any{
		line("a", 41, schemas.LooksLikeEmail, p.Cell([]byte("nobody@example.com"))),
		line("b", 41, schemas.NotBase64, p.Cell([]byte("x"))),
		line("a", 1, schemas.OperatorRejected, p.ID(sweeptest.ID(1))),
		line("a", 25, schemas.TooOld, p.ID(sweeptest.ID(25))),
		line("b", 5, schemas.TooOld, p.ID(sweeptest.ID(25))),
	}
	if len(rows) != len(expected) {
		t.Fatalf("%d rows: %v", len(rows), rows)
	}
	for i := range rows {
		want(t, fmt.Sprint("row ", i), rows[i], expected[i])
	}
}

// An id whose rows could not be read again has no place, and a name that is no
// UTF-8 is spelt as in the ledger.
func TestQuarantineWithoutAPlace(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	all, _ := runs(t, b)
	path := sweep.Layout(b.Dir).Run(all[0].ID, sweep.RejectedFile())
	if err := os.WriteFile(path, []byte("table,unit,row,reason,cell\n,,,too_old,id:1\ncrm,\xff\xfe.parquet,7,operator_rejected,id:2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := mustRead(t, b, all[0], schemas.QuarantineTable)
	want(t, "nowhere", rows[2], map[string]any{"table_name": nil, "unit": nil, "row_index": nil, "row_count": nil, "reason": "too_old", "pseudonym": "id:1"})
	name, _ := json.Marshal("\xff\xfe.parquet")
	var spelt string
	if err := json.Unmarshal(name, &spelt); err != nil {
		t.Fatal(err)
	}
	want(t, "odd name", rows[3], map[string]any{"unit": spelt, "row_index": int64(7)})
}

// render prints all rows of all runs.
func render(t testing.TB, b *sweeptest.Bench) []byte {
	t.Helper()
	var out bytes.Buffer
	all, _ := runs(t, b)
	for _, run := range all {
		for _, table := range schemas.RunTables() {
			notes, err := runtables.Rows(context.Background(), sweep.Layout(b.Dir), run, table, func(row []any) error {
				_, err := fmt.Fprintf(&out, "%s %q\n", table.Name, row)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, notes)
		}
	}
	return out.Bytes()
}

func TestRowsAreTheSameEveryTimeAndHoldNoID(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	b.DryRun = true
	mustRun(t, b)
	got := render(t, b)
	if again := render(t, b); !bytes.Equal(got, again) {
		t.Error("the rows differ")
	}
	if lines := bytes.Count(got, []byte{'\n'}); lines < 30 {
		t.Fatalf("%d lines", lines)
	}
	secrets := [][]byte{[]byte("nobody@example.com")}
	for n := range 60 {
		id := sweeptest.ID(n)
		secrets = append(secrets, id.AppendText(nil), id.Raw(), []byte(hex.EncodeToString(id.Raw())))
	}
	key, err := os.ReadFile(sweep.Layout(b.Dir).PseudonymKey())
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, key)
	for _, s := range secrets {
		if bytes.Contains(got, s) {
			t.Fatal("an id or a key is in the rows")
		}
	}
}

func TestDryRunHasWrittenNothing(t *testing.T) {
	b := bench(t)
	b.DryRun = true
	mustRun(t, b)
	all, _ := runs(t, b)
	want(t, "run", mustRead(t, b, all[0], schemas.RunsTable)[0], map[string]any{"status": "previewed", "dry_run": true, "applied_at": nil})
}

// Of a run that was interrupted, what it did not come to is NULL, not 0.
func TestInterruptedRun(t *testing.T) {
	b := bench(t)
	b.Fail = func(batch int) error {
		if batch >= 4 { // another may be waiting for its turn
			return schemas.Errorf(schemas.Refused, "the key is not valid")
		}
		return nil
	}
	if _, err := b.Run(context.Background()); schemas.ClassOf(err) != schemas.Refused {
		t.Fatal(err)
	}
	all, _ := runs(t, b)
	want(t, "run", mustRead(t, b, all[0], schemas.RunsTable)[0], map[string]any{
		"status": "interrupted", "ended_at": nil, "applied_at": nil, "ids_distinct": int64(60), "ids_asked": nil, "ids_clear": nil, "rows_read": int64(84), "rows_flagged": nil,
		"failure_class": "refused", "failure_message": "the key is not valid", "check_journal_hash": nil, "suppression_total": nil, "units_planned": int64(2), "units_applied": int64(0),
	})
	if rows := mustRead(t, b, all[0], schemas.BatchesTable); len(rows) != 3 {
		t.Errorf("%d batches were answered", len(rows))
	}
	if rows := mustRead(t, b, all[0], schemas.QuarantineTable); len(rows) != 2 {
		t.Errorf("%d rows in quarantine", len(rows))
	}
	b.Fail = nil
	mustRun(t, b)
	all, _ = runs(t, b)
	want(t, "run", mustRead(t, b, all[0], schemas.RunsTable)[0], map[string]any{"status": "reconciled", "resumed": int64(1), "failure_class": nil, "failure_message": nil, "batches": int64(6)})
	if rows := mustRead(t, b, all[0], schemas.QuarantineTable); len(rows) != 5 {
		t.Errorf("%d rows in quarantine", len(rows))
	}
}

func TestRowsStop(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	all, _ := runs(t, b)
	full := errors.New("the disk is full")
	for _, table := range schemas.RunTables() {
		n := 0
		_, err := runtables.Rows(context.Background(), sweep.Layout(b.Dir), all[0], table, func([]any) error {
			n++
			return full
		})
		if !errors.Is(err, full) || n != 1 {
			t.Errorf("%s: %d rows, %v", table.Name, n, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := runtables.Rows(ctx, sweep.Layout(b.Dir), all[0], table, func([]any) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", table.Name, err)
		}
	}
	if _, err := runtables.Rows(context.Background(), sweep.Layout(b.Dir), all[0], schemas.RunTable{Name: "x"}, nil); schemas.ClassOf(err) != schemas.Usage {
		t.Error(err)
	}
}

// The position of a run is the head of the ledger that was kept beside it.
func TestPositionIsTheRecordedHead(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	mustRun(t, b)
	all, end := runs(t, b)
	for _, run := range all {
		head, err := ledger.ReadHead(sweep.Layout(b.Dir).Run(run.ID, ledger.HeadFile))
		if err != nil {
			t.Fatal(err)
		}
		if at, err := run.Position(); err != nil || at != head {
			t.Errorf("%v, want %v (%v)", at, head, err)
		}
	}
	if at, _ := all[1].Position(); at != end.Head {
		t.Errorf("%v, want %v", at, end.Head)
	}
}

// What the row says about a run's report is what report.Of says.
func TestEveryRunHasARow(t *testing.T) {
	b := bench(t)
	mustRun(t, b)
	b.DryRun = true
	mustRun(t, b)
	b.Fail = func(int) error { return errors.New("down") }
	if _, err := b.Run(context.Background()); err == nil {
		t.Fatal("no error")
	}
	b.DryRun, b.Fail = false, nil
	mustRun(t, b) // gives up the interrupted dry run
	all, _ := runs(t, b)
	statuses := []string{}
	for _, run := range all {
		rep, err := report.Of(run.ID, run.Events, run.Ended)
		if err != nil {
			t.Fatal(err)
		}
		row := mustRead(t, b, run, schemas.RunsTable)[0]
		want(t, run.ID, row, map[string]any{"run_id": rep.Run, "status": rep.Status, "laws_checked": int64(len(rep.Laws))})
		statuses = append(statuses, rep.Status)
	}
	if !slices.Equal(statuses, []string{"reconciled", "previewed", "abandoned", "reconciled"}) {
		t.Error(statuses)
	}
}
