package schemas

import "slices"

func required(name string, typ ColumnType, doc string) RunColumn {
	return RunColumn{Name: name, Type: typ, Doc: doc}
}

func nullable(name string, typ ColumnType, doc string) RunColumn {
	return RunColumn{Name: name, Type: typ, Nullable: true, Doc: doc}
}

// ofRun are the columns by which the rows of a table belong to a run.
func ofRun(more ...RunColumn) []RunColumn {
	return append([]RunColumn{
		required("job", StringColumn, "Name of the job."),
		required("run_id", StringColumn, "The run, named after its start. Unique within a job."),
		required("run_started_at", TimestampColumn, "When the run started."),
	}, more...)
}

func runsTable() RunTable {
	return RunTable{
		Name: RunsTable, Schema: RunTablesSchema,
		Doc: "One row per run: who asked whom, what was found, how it ended. Counts of ids are distinct ids over all tables, counts of rows are sums over tables; " +
			"a figure is null if the run did not get that far.",
		Key: []string{"job", "run_id"}, Partition: "started_at", Cluster: []string{"job", "status"},
		Columns: slices.Concat(runColumns(), runRowColumns(), runResultColumns(), sourceRowColumns(), []RunColumn{
			nullable("ids_operator_only", Int64Column, "Distinct ids that are opted out and on the operator's list only. Null without own suppression lists."),
			nullable("ids_own_only", Int64Column, "Distinct ids that are on own suppression lists only."),
			nullable("ids_on_both", Int64Column, "Distinct ids that are on the operator's list and on own suppression lists."),
			nullable("ids_by_source", StringColumn, "Distinct ids on each own suppression list, whoever else lists them, as text, for example: form 12, crm 3."),
		}),
	}
}

func runColumns() []RunColumn {
	return []RunColumn{
		required("job", StringColumn, "Name of the job."),
		required("run_id", StringColumn, "The run, named after its start. Unique within a job."),
		required("status", StringColumn, "reconciled (all checked and written), previewed (dry run), reapplied (offline run), partial, stopped (by a limit), failed, interrupted or abandoned."),
		required("started_at", TimestampColumn, "When the run started."),
		nullable("ended_at", TimestampColumn, "When the run ended. Null while it is under way or interrupted."),
		required("last_event_at", TimestampColumn, "When the ledger got the last event of the run."),
		nullable("applied_at", TimestampColumn, "When all flags that this run wrote were in place, at the latest. Null if it did not get that far, or was a dry run."),
		required("elapsed_seconds", Float64Column, "Seconds from the start to the last event, pauses of an interrupted run included."),
		required("resumed", Int64Column, "How often the run was taken up again after an interruption."),
		required("dry_run", BoolColumn, "True: nothing was written; counts say what would have been."),
		required("offline", BoolColumn, "True: no operator was asked; only what earlier runs had found was applied."),
		required("scope", StringColumn, "euid or uid2."),
		required("environment", StringColumn, "production or integration."),
		required("tool_version", StringColumn, "Version of optsweep."),
		required("config_digest", StringColumn, "Digest of the job file. It differs if the job does."),
		nullable("plan_digest", StringColumn, "SHA-256 of the run's plan.json: the units that it treats, with their versions."),
		nullable("plan_file_digest", StringColumn, "SHA-256 of the plan file that the run was told to keep to. Null if there was none."),
		required("operator_kind", StringColumn, "public, private or embedded."),
		nullable("operator_host", StringColumn, "Host that was asked. Null if the operator is embedded."),
		nullable("operator_key_name", StringColumn, "The printable part of the API key, never the key."),
		required("tables", Int64Column, "Tables that the run knew of."),
	}
}

func runRowColumns() []RunColumn {
	return append([]RunColumn{
		nullable("rows_planned", Int64Column, "Rows of the planned units, by their metadata."),
		nullable("bytes_planned", Int64Column, "Bytes of the planned units."),
	}, rowColumns()...)
}

// rowColumns are figures of a table, and their sums of a run.
func rowColumns() []RunColumn {
	return []RunColumn{
		nullable("units_planned", Int64Column, "Units (files, statements) in scope, those that could not be read included. A table that could not be listed counts as one."),
		nullable("units_extracted", Int64Column, "Units whose ids were read."),
		required("units_applied", Int64Column, "Units that carry all flags and were confirmed by reading them back."),
		required("units_changed", Int64Column, "Units of which at least one byte was written."),
		required("units_failed", Int64Column, "Units that could not be treated. They are as they were before."),
		nullable("rows_read", Int64Column, "Rows that were read: null + valid + malformed."),
		nullable("rows_null", Int64Column, "Rows without an id."),
		nullable("rows_valid", Int64Column, "Rows with a well-formed id of the right scope."),
		nullable("rows_malformed", Int64Column, "Rows whose cell is no valid id. They have no verdict and are in "+QuarantineTable+"."),
		nullable("rows_repaired", Int64Column, "Of the valid rows: white space around the id was ignored."),
		nullable("rows_opted_out", Int64Column, "Rows whose id is known as opted out."),
		nullable("rows_flagged", Int64Column, "Rows with a flag afterwards: opted out + flag kept."),
		nullable("rows_new", Int64Column, "Rows that had no flag before."),
		nullable("rows_reapplied", Int64Column, "Of the new ones: known from earlier runs, flagged before anything was asked."),
		nullable("rows_earlier", Int64Column, "Rows whose flag moved to an earlier time."),
		nullable("rows_flag_kept", Int64Column, "Rows whose flag from before was kept although their id is not known as opted out here."),
		nullable("rows_confirmed", Int64Column, "Flags that were counted by reading the written units back."),
		nullable("bytes_before", Int64Column, "Bytes of the applied units before the run."),
		nullable("bytes_after", Int64Column, "Bytes of the applied units after the run."),
	}
}

func runResultColumns() []RunColumn {
	return []RunColumn{
		nullable("ids_distinct", Int64Column, "Distinct ids: known + asked + not asked."),
		nullable("ids_known_opted_out", Int64Column, "Ids that were on the suppression list before: flagged without being asked about again."),
		nullable("ids_asked", Int64Column, "Ids that the operator was asked about: opted out + clear + those that it gave no verdict on."),
		nullable("ids_opted_out", Int64Column, "Of the asked ids: opted out, so new on the suppression list. In "+OptOutsTable+"."),
		nullable("ids_clear", Int64Column, "Of the asked ids: not on the operator's list when it answered. It does not mean that the person has not opted out."),
		nullable("ids_unverifiable", Int64Column, "Ids without a verdict, for any reason, those that were not asked included."),
		nullable("ids_not_asked", Int64Column, "Of the unverifiable ids: nobody was asked about them."),
		nullable("unverifiable_reasons", StringColumn, "Unverifiable ids by reason, as text, for example: not_asked 12, operator_rejected 3."),
		nullable("batches", Int64Column, "Batches that were answered. In "+BatchesTable+"."),
		nullable("retries", Int64Column, "Requests to the operator that were sent again, since the run was last taken up."),
		nullable("canaries", Int64Column, "Ids with a known answer that were asked first and answered right. 0: none are configured."),
		nullable("oldest_answer_at", TimestampColumn, "When the operator gave the oldest answer of the run."),
		nullable("newest_answer_at", TimestampColumn, "When the operator gave the newest answer of the run."),
		nullable("suppression_total", Int64Column, "Ids on the suppression list after the run."),
		nullable("suppression_added", Int64Column, "Of them: added by the run."),
		nullable("suppression_moved_earlier", Int64Column, "Of them: moved to an earlier time by the run."),
		nullable("suppression_digest", StringColumn, "SHA-256 of the suppression list after the run."),
		nullable("ids_digest", StringColumn, "SHA-256 over the distinct ids, as the ledger knows it."),
		nullable("check_journal_hash", StringColumn, "Hash of the last line of the run's journal of answers, which stands for all of its batches."),
		nullable("limits_hit", StringColumn, "Safety limits that stopped the run at some time, as text."),
		nullable("limits_overridden", StringColumn, "Safety limits that the run was let past, as text."),
		nullable("overridden_by", StringColumn, "Who let the run past them: user@host of the operating system."),
		required("laws_checked", Int64Column, "Equations between the figures of the run that were checked."),
		required("laws_broken", Int64Column, "Of them: those that do not hold. Above 0 the run is failed."),
		nullable("extract_seconds", Float64Column, "Seconds of work to read the ids."),
		nullable("check_seconds", Float64Column, "Seconds of work to ask about them."),
		nullable("apply_seconds", Float64Column, "Seconds of work to write the flags."),
		nullable("failure_class", StringColumn, "Class of the failure that ended or interrupted the run: failed, partial, refused, integrity, limit, cancelled. Null if there was none."),
		nullable("failure_message", StringColumn, "Why the run ended without success, was interrupted or given up."),
		required("ledger_seq", Int64Column, "Number of the run's last event in the ledger."),
		required("ledger_hash", StringColumn, "Hash of that event, which stands for the ledger up to it: SHA-256 in hexadecimal."),
	}
}

// sourceRowColumns count opted-out rows by who lists their ids.
func sourceRowColumns() []RunColumn {
	return []RunColumn{
		nullable("rows_operator_only", Int64Column, "Of the opted-out rows: their id is on the operator's list only. Null without own suppression lists."),
		nullable("rows_own_only", Int64Column, "Of the opted-out rows: their id is on own suppression lists only."),
		nullable("rows_on_both", Int64Column, "Of the opted-out rows: their id is on the operator's list and on own suppression lists."),
		nullable("rows_by_source", StringColumn, "Opted-out rows on each own suppression list, whoever else lists them, as text, for example: form 12, crm 3."),
	}
}

func tablesTable() RunTable {
	return RunTable{
		Name: TablesTable, Schema: RunTablesSchema,
		Doc: "One row per run and table: what was read and written, and what could not be. A figure is null if the run did not get that far with the table.",
		Key: []string{"job", "run_id", "table_name"}, Partition: "run_started_at", Cluster: []string{"job", "table_name"},
		Columns: slices.Concat(ofRun(
			required("table_name", StringColumn, "Name of the table in the job file."),
			required("status", StringColumn, "reconciled, previewed (dry run), reapplied (offline run), partial (some units failed) or failed (no unit was applied)."),
		), rowColumns(), []RunColumn{
			nullable("malformed_reasons", StringColumn, "Malformed rows by reason, as text, for example: bad_length 12, not_base64 3."),
			nullable("failed_units", StringColumn, "The first 20 failed units with phase and reason, as text."),
			nullable("version_before", StringColumn, "Version of the table's only unit before it was applied; of more units, sha256: and the digest of a line for each: unit, tab, version."),
			nullable("version_after", StringColumn, "The same after it was applied."),
		}, sourceRowColumns()),
	}
}

func batchesTable() RunTable {
	return RunTable{
		Name: BatchesTable, Schema: RunTablesSchema,
		Doc: "One row per batch of ids that an operator answered. Each line of a run's journal of answers carries the hash of the line before; the hash of the last is check_journal_hash in " + RunsTable + ".",
		Key: []string{"job", "run_id", "batch"}, Partition: "run_started_at", Cluster: []string{"job", "run_id", "batch"},
		Columns: ofRun(
			required("batch", Int64Column, "Number of the batch in its run, from 0, as in evidence packs."),
			required("answered_at", TimestampColumn, "When the operator answered, by its clock."),
			required("ids", Int64Column, "Ids in the batch: opted out + clear + rejected."),
			required("ids_opted_out", Int64Column, "Of them: opted out."),
			required("ids_clear", Int64Column, "Of them: not on the operator's list."),
			required("ids_rejected", Int64Column, "Of them: without a verdict."),
			required("digest", StringColumn, "SHA-256 of the ids: 33 bytes each, in the order in which they were asked."),
			required("journal_line", Int64Column, "Number of the batch's line in the journal, from 1: the order of the answers."),
			required("line_hash", StringColumn, "Hash of that line: SHA-256 in hexadecimal."),
			nullable("previous_line_hash", StringColumn, "Hash of the line before, which that line carries. Null for the first."),
		),
	}
}

func quarantineTable() RunTable {
	return RunTable{
		Name: QuarantineTable, Schema: RunTablesSchema,
		Doc: "One row per table row whose id has no verdict. What is here was not checked, and so is not clear. Ids that nobody was asked about are counted in " + RunsTable + " only.",
		Key: []string{"job", "run_id", "table_name", "unit", "row_index", "reason", "pseudonym"}, Partition: "run_started_at", Cluster: []string{"job", "table_name", "reason"},
		Columns: ofRun(
			nullable("table_name", StringColumn, "Name of the table in the job file. Null for an id whose rows could not be read again."),
			nullable("unit", StringColumn, "Unit of the table. Null for an id whose rows could not be read again."),
			nullable("row_index", Int64Column, "Number of the row in its unit, from 0. Null if rows have no numbers or could not be read again."),
			nullable("row_count", Int64Column, "Rows that this row stands for. Null if they could not be read again."),
			required("reason", StringColumn, "Why there is no verdict, for example bad_length, wrong_scope or operator_rejected."),
			nullable("pseudonym", StringColumn, "Keyed pseudonym: of an id (id:...) or of a cell that is none (cell:...). Two rows with the same one hold the same."),
		),
	}
}

func optOutsTable() RunTable {
	return RunTable{
		Name: OptOutsTable, Schema: RunTablesSchema,
		Doc: "One row per id that a run learned to be opted out. Ids known from earlier runs are not asked about again, so each is here once, but for dry runs and after an unflag.",
		Key: []string{"job", "run_id", "batch", "pseudonym"}, Partition: "run_started_at", Cluster: []string{"job", "pseudonym"},
		Columns: ofRun(
			required("pseudonym", StringColumn, "Keyed pseudonym of the id: id: and 48 bits in hexadecimal, so among millions two ids may share one."),
			required("opted_out_since", TimestampColumn, "Since when the id is opted out, as the operator says."),
			required("learned_at", TimestampColumn, "When the operator said so, by its clock. When the flags were in place is applied_at in "+RunsTable+"."),
			required("batch", Int64Column, "Number of the batch in its run, from 0."),
		),
	}
}
