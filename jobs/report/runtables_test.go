package report

import (
	"fmt"
	"strings"
	"testing"

	"optsweep/schemas"
)

// rowsOf gives the rows of a run by column.
func rowsOf(t *testing.T, events []schemas.Event, ended bool) (run map[string]any, tables []map[string]any) {
	t.Helper()
	row, rows, err := RunTables("r", events, ended, schemas.LedgerPosition{Seq: int64(len(events)), Hash: "h"})
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string, row []any) map[string]any {
		table, err := schemas.RunTableNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]any{}
		for i, c := range table.Columns {
			m[c.Name] = row[i]
		}
		return m
	}
	for _, row := range rows {
		tables = append(tables, named(schemas.TablesTable, row))
	}
	return named(schemas.RunsTable, row), tables
}

func wantColumns(t *testing.T, what string, row, columns map[string]any) {
	t.Helper()
	for name, want := range columns {
		if got, ok := row[name]; !ok || got != want {
			t.Errorf("%s: %s is %v, want %v", what, name, got, want)
		}
	}
}

func TestRowsOfAPartialRun(t *testing.T) {
	failed := func(phase, table, unit string) schemas.UnitFailed {
		return schemas.UnitFailed{Phase: phase, UnitFailure: schemas.UnitFailure{Table: table, Unit: unit, Error: "it is encrypted"}}
	}
	data := []any{
		schemas.EventPlanned, schemas.Planned{Tables: 3, Units: 6, Rows: 60, Bytes: 600, Digest: "p"},
		schemas.EventUnitFailed, failed("plan", "gone", "(all)"),
		schemas.EventUnitFailed, failed("extract", "crm", "c"),
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "crm", Units: 3, Rows: 30, Nulls: 1, Valid: 26, Repaired: 2,
			Malformed: map[schemas.Reason]int64{schemas.BadLength: 1, schemas.WrongScope: 2, schemas.Empty: 0}},
		schemas.EventTableExtracted, schemas.TableExtracted{Table: "web", Units: 1, Rows: 7, Valid: 7},
		schemas.EventExtracted, schemas.Extracted{Distinct: 30, Digest: "d"},
		schemas.EventTableReapplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{
			{Table: "crm", Unit: "a", VersionBefore: "1", VersionAfter: "2", Changed: true, NewlyFlagged: 2, BytesBefore: 100, BytesAfter: 110}}},
		schemas.EventChecked, schemas.Checked{Distinct: 30, Known: 5, Asked: 25, OptedOut: 4, Clear: 20, Unverifiable: map[schemas.Reason]int64{schemas.OperatorRejected: 1},
			Batches: 2, Retries: 3, Canaries: 2, OldestMS: 11, NewestMS: 12, Journal: "j"},
		schemas.EventSuppressionUpdated, schemas.SuppressionUpdated{Total: 9, Added: 4, Moved: 1, Digest: "l"},
		schemas.EventUnitFailed, failed("apply", "crm", "d"),
		schemas.EventTableApplied, schemas.TableApplied{Table: "crm", Receipts: []schemas.Receipt{
			{Table: "crm", Unit: "a", VersionBefore: "2", VersionAfter: "3", Changed: true, Rows: 10, OptedOut: 3, Kept: 1, Flagged: 4, Confirmed: 4, NewlyFlagged: 1, MovedEarlier: 1, BytesBefore: 110, BytesAfter: 120},
			{Table: "crm", Unit: "b", VersionBefore: "7", VersionAfter: "7", Rows: 10, BytesBefore: 50, BytesAfter: 50}}},
		schemas.EventTableApplied, schemas.TableApplied{Table: "web", Receipts: []schemas.Receipt{
			{Table: "web", Unit: "w", VersionBefore: "x", VersionAfter: "y", Changed: true, Rows: 7, OptedOut: 1, Flagged: 1, Confirmed: 1, NewlyFlagged: 1, BytesBefore: 5, BytesAfter: 6}}},
		schemas.EventRunFinished, schemas.RunEnded{Status: schemas.StatusPartial, Class: "partial", Message: "3 of the units could not be reconciled", Apply: 2.5},
	}
	run, tables := rowsOf(t, ledgerOf(t, schemas.RunStarted{Job: "j", Plan: "f", Operator: schemas.Operator{Kind: "public", Host: "op.example", KeyName: "UID2-C-L-1"}}, data...), true)
	if len(tables) != 3 {
		t.Fatalf("%d tables", len(tables))
	}
	wantColumns(t, "gone", tables[0], map[string]any{
		"table_name": "gone", "status": "failed", "units_planned": int64(1), "units_extracted": int64(0), "units_applied": int64(0), "units_failed": int64(1),
		"rows_read": nil, "rows_new": nil, "rows_flagged": nil, "failed_units": "(all) (plan): it is encrypted", "version_before": nil, "malformed_reasons": nil,
	})
	wantColumns(t, "crm", tables[1], map[string]any{
		"status": "partial", "units_planned": int64(4), "units_extracted": int64(3), "units_applied": int64(2), "units_changed": int64(1), "units_failed": int64(2),
		"rows_read": int64(30), "rows_malformed": int64(3), "rows_repaired": int64(2), "rows_new": int64(3), "rows_reapplied": int64(2), "rows_earlier": int64(1),
		"rows_flag_kept": int64(1), "rows_confirmed": int64(4), "bytes_before": int64(150), "bytes_after": int64(170),
		"malformed_reasons": "wrong_scope 2, bad_length 1", "failed_units": "c (extract): it is encrypted; d (apply): it is encrypted",
	})
	wantColumns(t, "web", tables[2], map[string]any{"status": "reconciled", "version_before": "x", "version_after": "y", "failed_units": nil})
	if before := tables[1]["version_before"]; before != versionText(map[string]string{"b": "7", "a": "1"}) || before == tables[1]["version_after"] {
		t.Errorf("versions %v, %v", before, tables[1]["version_after"])
	}
	wantColumns(t, "run", run, map[string]any{
		"status": "partial", "tables": int64(3), "units_planned": int64(6), "units_applied": int64(3), "units_failed": int64(3), "rows_read": int64(37), "rows_new": int64(4),
		"rows_flagged": int64(5), "rows_planned": int64(60), "bytes_planned": int64(600), "plan_digest": "p", "plan_file_digest": "f",
		"operator_kind": "public", "operator_host": "op.example", "operator_key_name": "UID2-C-L-1",
		"ids_unverifiable": int64(1), "ids_not_asked": int64(0), "retries": int64(3), "canaries": int64(2), "oldest_answer_at": int64(11), "newest_answer_at": int64(12),
		"suppression_moved_earlier": int64(1), "apply_seconds": 2.5, "failure_class": "partial", "failure_message": "3 of the units could not be reconciled",
		"ledger_seq": int64(14), "ledger_hash": "h", "applied_at": int64(1_700_000_000_000),
	})
}

// Limits are told even if the run went on past them.
func TestRowsTellLimitsAndWhoOverrodeThem(t *testing.T) {
	hit := schemas.LimitHit{Limit: "max_new_flags", Figure: "7%", Allows: "5%"}
	stopped := []any{schemas.EventLimitHit, hit, schemas.EventRunInterrupted, schemas.RunEnded{Status: schemas.StatusStopped, Class: "limit", Message: "stopped"}}
	run, tables := rowsOf(t, ledgerOf(t, schemas.RunStarted{}, stopped...), false)
	wantColumns(t, "stopped", run, map[string]any{
		"status": "stopped", "ended_at": nil, "limits_hit": "max_new_flags is 7%, allowed is 5%", "failure_class": "limit",
		"ids_distinct": nil, "rows_read": nil, "units_planned": nil, "units_applied": int64(0), "units_failed": int64(0), "tables": int64(0),
	})
	if len(tables) > 0 {
		t.Errorf("tables %v", tables)
	}
	run, _ = rowsOf(t, ledgerOf(t, schemas.RunStarted{}, append(stopped, schemas.EventRunResumed, struct{}{})...), false)
	wantColumns(t, "under way again", run, map[string]any{"status": "interrupted", "failure_class": nil, "failure_message": nil, "ended_at": nil})
	other := schemas.LimitHit{Limit: "max_row_drop", Figure: "60%", Allows: "50%"}
	run, _ = rowsOf(t, ledgerOf(t, schemas.RunStarted{}, append(stopped, schemas.EventRunResumed, struct{}{},
		schemas.EventLimitOverridden, schemas.LimitOverridden{LimitHit: hit, User: "alice", Host: "alpha"},
		schemas.EventLimitOverridden, schemas.LimitOverridden{LimitHit: other, User: "alice", Host: "alpha"},
		schemas.EventRunFinished, schemas.RunEnded{Status: schemas.StatusReconciled})...), true)
	wantColumns(t, "overridden", run, map[string]any{
		"status": "reconciled", "resumed": int64(1), "limits_hit": "max_new_flags is 7%, allowed is 5%", "overridden_by": "alice@alpha", "failure_class": nil,
		"limits_overridden": "max_new_flags is 7%, allowed is 5%; max_row_drop is 60%, allowed is 50%", "ended_at": int64(1_700_000_000_000),
	})
}

// Nobody was asked: those ids are not clear, and there is no answer's time.
func TestRowsOfAnOfflineRun(t *testing.T) {
	run, _ := rowsOf(t, ledgerOf(t, schemas.RunStarted{Offline: true},
		schemas.EventExtracted, schemas.Extracted{Distinct: 10},
		schemas.EventChecked, schemas.Checked{Distinct: 10, Known: 3, Unverifiable: map[schemas.Reason]int64{schemas.NotAsked: 7}}), false)
	wantColumns(t, "run", run, map[string]any{
		"status": "interrupted", "offline": true, "ids_clear": int64(0), "ids_unverifiable": int64(7), "ids_not_asked": int64(7),
		"unverifiable_reasons": "not_asked 7", "oldest_answer_at": nil, "newest_answer_at": nil, "check_journal_hash": nil,
	})
}

func TestRowsTellWhoListsWhatIsOptedOut(t *testing.T) {
	run, tables := rowsOf(t, sourced(t, nil), false)
	rows := map[string]any{"rows_operator_only": int64(6), "rows_own_only": int64(5), "rows_on_both": int64(1), "rows_by_source": "form 6"}
	wantColumns(t, "crm", tables[0], rows)
	wantColumns(t, "run", run, rows)
	wantColumns(t, "run", run, map[string]any{"ids_operator_only": int64(3), "ids_own_only": int64(2), "ids_on_both": int64(1), "ids_by_source": "form 3"})

	events := sourced(t, nil)
	run, tables = rowsOf(t, events[:5], false) // up to the ids
	wantColumns(t, "not counted yet", run, map[string]any{"ids_operator_only": nil, "ids_by_source": nil, "rows_own_only": nil, "rows_by_source": nil})
	wantColumns(t, "not applied yet", tables[0], map[string]any{"rows_operator_only": nil, "rows_by_source": nil})

	run, _ = rowsOf(t, ledgerOf(t, schemas.RunStarted{}), false)
	wantColumns(t, "no own lists", run, map[string]any{"ids_operator_only": nil, "ids_own_only": nil, "ids_on_both": nil, "ids_by_source": nil, "rows_on_both": nil})
	if got := sourcesText(map[string]int64{"b": 0, "a": 12}); got != "a 12, b 0" {
		t.Error(got)
	}
}

func TestTextOfFailuresIsBounded(t *testing.T) {
	var all []schemas.UnitFailed
	for n := range 100 {
		all = append(all, schemas.UnitFailed{Phase: "apply", UnitFailure: schemas.UnitFailure{Table: "crm", Unit: fmt.Sprint(n), Error: "e"}})
	}
	got := failuresText(append(all, schemas.UnitFailed{UnitFailure: schemas.UnitFailure{Table: "web"}}), "crm")
	if !strings.HasPrefix(got, "0 (apply): e; ") || !strings.HasSuffix(got, "19 (apply): e; and 80 more") {
		t.Error(got)
	}
}
