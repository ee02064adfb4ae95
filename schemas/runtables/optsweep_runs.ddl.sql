CREATE TABLE IF NOT EXISTS optsweep_runs (
  job TEXT NOT NULL,
  run_id TEXT NOT NULL,
  status TEXT NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  last_event_at TIMESTAMP WITH TIME ZONE NOT NULL,
  applied_at TIMESTAMP WITH TIME ZONE,
  elapsed_seconds DOUBLE PRECISION NOT NULL,
  resumed BIGINT NOT NULL,
  dry_run BOOLEAN NOT NULL,
  offline BOOLEAN NOT NULL,
  scope TEXT NOT NULL,
  environment TEXT NOT NULL,
  tool_version TEXT NOT NULL,
  config_digest TEXT NOT NULL,
  plan_digest TEXT,
  plan_file_digest TEXT,
  operator_kind TEXT NOT NULL,
  operator_host TEXT,
  operator_key_name TEXT,
  tables BIGINT NOT NULL,
  rows_planned BIGINT,
  bytes_planned BIGINT,
  units_planned BIGINT,
  units_extracted BIGINT,
  units_applied BIGINT NOT NULL,
  units_changed BIGINT NOT NULL,
  units_failed BIGINT NOT NULL,
  rows_read BIGINT,
  rows_null BIGINT,
  rows_valid BIGINT,
  rows_malformed BIGINT,
  rows_repaired BIGINT,
  rows_opted_out BIGINT,
  rows_flagged BIGINT,
  rows_new BIGINT,
  rows_reapplied BIGINT,
  rows_earlier BIGINT,
  rows_flag_kept BIGINT,
  rows_confirmed BIGINT,
  bytes_before BIGINT,
  bytes_after BIGINT,
  ids_distinct BIGINT,
  ids_known_opted_out BIGINT,
  ids_asked BIGINT,
  ids_opted_out BIGINT,
  ids_clear BIGINT,
  ids_unverifiable BIGINT,
  ids_not_asked BIGINT,
  unverifiable_reasons TEXT,
  batches BIGINT,
  retries BIGINT,
  canaries BIGINT,
  oldest_answer_at TIMESTAMP WITH TIME ZONE,
  newest_answer_at TIMESTAMP WITH TIME ZONE,
  suppression_total BIGINT,
  suppression_added BIGINT,
  suppression_moved_earlier BIGINT,
  suppression_digest TEXT,
  ids_digest TEXT,
  check_journal_hash TEXT,
  limits_hit TEXT,
  limits_overridden TEXT,
  overridden_by TEXT,
  laws_checked BIGINT NOT NULL,
  laws_broken BIGINT NOT NULL,
  extract_seconds DOUBLE PRECISION,
  check_seconds DOUBLE PRECISION,
  apply_seconds DOUBLE PRECISION,
  failure_class TEXT,
  failure_message TEXT,
  ledger_seq BIGINT NOT NULL,
  ledger_hash TEXT NOT NULL,
  rows_operator_only BIGINT,
  rows_own_only BIGINT,
  rows_on_both BIGINT,
  rows_by_source TEXT,
  ids_operator_only BIGINT,
  ids_own_only BIGINT,
  ids_on_both BIGINT,
  ids_by_source TEXT
);
COMMENT ON TABLE optsweep_runs IS 'One row per run: who asked whom, what was found, how it ended. Counts of ids are distinct ids over all tables, counts of rows are sums over tables; a figure is null if the run did not get that far. Rows are told apart by job, run_id. Schema: optsweep.runtables.v1, revision 2.';
COMMENT ON COLUMN optsweep_runs.job IS 'Name of the job.';
COMMENT ON COLUMN optsweep_runs.run_id IS 'The run, named after its start. Unique within a job.';
COMMENT ON COLUMN optsweep_runs.status IS 'reconciled (all checked and written), previewed (dry run), reapplied (offline run), partial, stopped (by a limit), failed, interrupted or abandoned.';
COMMENT ON COLUMN optsweep_runs.started_at IS 'When the run started.';
COMMENT ON COLUMN optsweep_runs.ended_at IS 'When the run ended. Null while it is under way or interrupted.';
COMMENT ON COLUMN optsweep_runs.last_event_at IS 'When the ledger got the last event of the run.';
COMMENT ON COLUMN optsweep_runs.applied_at IS 'When all flags that this run wrote were in place, at the latest. Null if it did not get that far, or was a dry run.';
COMMENT ON COLUMN optsweep_runs.elapsed_seconds IS 'Seconds from the start to the last event, pauses of an interrupted run included.';
COMMENT ON COLUMN optsweep_runs.resumed IS 'How often the run was taken up again after an interruption.';
COMMENT ON COLUMN optsweep_runs.dry_run IS 'True: nothing was written; counts say what would have been.';
COMMENT ON COLUMN optsweep_runs.offline IS 'True: no operator was asked; only what earlier runs had found was applied.';
COMMENT ON COLUMN optsweep_runs.scope IS 'euid or uid2.';
COMMENT ON COLUMN optsweep_runs.environment IS 'production or integration.';
COMMENT ON COLUMN optsweep_runs.tool_version IS 'Version of optsweep.';
COMMENT ON COLUMN optsweep_runs.config_digest IS 'Digest of the job file. It differs if the job does.';
COMMENT ON COLUMN optsweep_runs.plan_digest IS 'SHA-256 of the run''s plan.json: the units that it treats, with their versions.';
COMMENT ON COLUMN optsweep_runs.plan_file_digest IS 'SHA-256 of the plan file that the run was told to keep to. Null if there was none.';
COMMENT ON COLUMN optsweep_runs.operator_kind IS 'public, private or embedded.';
COMMENT ON COLUMN optsweep_runs.operator_host IS 'Host that was asked. Null if the operator is embedded.';
COMMENT ON COLUMN optsweep_runs.operator_key_name IS 'The printable part of the API key, never the key.';
COMMENT ON COLUMN optsweep_runs.tables IS 'Tables that the run knew of.';
COMMENT ON COLUMN optsweep_runs.rows_planned IS 'Rows of the planned units, by their metadata.';
COMMENT ON COLUMN optsweep_runs.bytes_planned IS 'Bytes of the planned units.';
COMMENT ON COLUMN optsweep_runs.units_planned IS 'Units (files, statements) in scope, those that could not be read included. A table that could not be listed counts as one.';
COMMENT ON COLUMN optsweep_runs.units_extracted IS 'Units whose ids were read.';
COMMENT ON COLUMN optsweep_runs.units_applied IS 'Units that carry all flags and were confirmed by reading them back.';
COMMENT ON COLUMN optsweep_runs.units_changed IS 'Units of which at least one byte was written.';
COMMENT ON COLUMN optsweep_runs.units_failed IS 'Units that could not be treated. They are as they were before.';
COMMENT ON COLUMN optsweep_runs.rows_read IS 'Rows that were read: null + valid + malformed.';
COMMENT ON COLUMN optsweep_runs.rows_null IS 'Rows without an id.';
COMMENT ON COLUMN optsweep_runs.rows_valid IS 'Rows with a well-formed id of the right scope.';
COMMENT ON COLUMN optsweep_runs.rows_malformed IS 'Rows whose cell is no valid id. They have no verdict and are in optsweep_quarantine.';
COMMENT ON COLUMN optsweep_runs.rows_repaired IS 'Of the valid rows: white space around the id was ignored.';
COMMENT ON COLUMN optsweep_runs.rows_opted_out IS 'Rows whose id is known as opted out.';
COMMENT ON COLUMN optsweep_runs.rows_flagged IS 'Rows with a flag afterwards: opted out + flag kept.';
COMMENT ON COLUMN optsweep_runs.rows_new IS 'Rows that had no flag before.';
COMMENT ON COLUMN optsweep_runs.rows_reapplied IS 'Of the new ones: known from earlier runs, flagged before anything was asked.';
COMMENT ON COLUMN optsweep_runs.rows_earlier IS 'Rows whose flag moved to an earlier time.';
COMMENT ON COLUMN optsweep_runs.rows_flag_kept IS 'Rows whose flag from before was kept although their id is not known as opted out here.';
COMMENT ON COLUMN optsweep_runs.rows_confirmed IS 'Flags that were counted by reading the written units back.';
COMMENT ON COLUMN optsweep_runs.bytes_before IS 'Bytes of the applied units before the run.';
COMMENT ON COLUMN optsweep_runs.bytes_after IS 'Bytes of the applied units after the run.';
COMMENT ON COLUMN optsweep_runs.ids_distinct IS 'Distinct ids: known + asked + not asked.';
COMMENT ON COLUMN optsweep_runs.ids_known_opted_out IS 'Ids that were on the suppression list before: flagged without being asked about again.';
COMMENT ON COLUMN optsweep_runs.ids_asked IS 'Ids that the operator was asked about: opted out + clear + those that it gave no verdict on.';
COMMENT ON COLUMN optsweep_runs.ids_opted_out IS 'Of the asked ids: opted out, so new on the suppression list. In optsweep_optouts.';
COMMENT ON COLUMN optsweep_runs.ids_clear IS 'Of the asked ids: not on the operator''s list when it answered. It does not mean that the person has not opted out.';
COMMENT ON COLUMN optsweep_runs.ids_unverifiable IS 'Ids without a verdict, for any reason, those that were not asked included.';
COMMENT ON COLUMN optsweep_runs.ids_not_asked IS 'Of the unverifiable ids: nobody was asked about them.';
COMMENT ON COLUMN optsweep_runs.unverifiable_reasons IS 'Unverifiable ids by reason, as text, for example: not_asked 12, operator_rejected 3.';
COMMENT ON COLUMN optsweep_runs.batches IS 'Batches that were answered. In optsweep_batches.';
COMMENT ON COLUMN optsweep_runs.retries IS 'Requests to the operator that were sent again, since the run was last taken up.';
COMMENT ON COLUMN optsweep_runs.canaries IS 'Ids with a known answer that were asked first and answered right. 0: none are configured.';
COMMENT ON COLUMN optsweep_runs.oldest_answer_at IS 'When the operator gave the oldest answer of the run.';
COMMENT ON COLUMN optsweep_runs.newest_answer_at IS 'When the operator gave the newest answer of the run.';
COMMENT ON COLUMN optsweep_runs.suppression_total IS 'Ids on the suppression list after the run.';
COMMENT ON COLUMN optsweep_runs.suppression_added IS 'Of them: added by the run.';
COMMENT ON COLUMN optsweep_runs.suppression_moved_earlier IS 'Of them: moved to an earlier time by the run.';
COMMENT ON COLUMN optsweep_runs.suppression_digest IS 'SHA-256 of the suppression list after the run.';
COMMENT ON COLUMN optsweep_runs.ids_digest IS 'SHA-256 over the distinct ids, as the ledger knows it.';
COMMENT ON COLUMN optsweep_runs.check_journal_hash IS 'Hash of the last line of the run''s journal of answers, which stands for all of its batches.';
COMMENT ON COLUMN optsweep_runs.limits_hit IS 'Safety limits that stopped the run at some time, as text.';
COMMENT ON COLUMN optsweep_runs.limits_overridden IS 'Safety limits that the run was let past, as text.';
COMMENT ON COLUMN optsweep_runs.overridden_by IS 'Who let the run past them: user@host of the operating system.';
COMMENT ON COLUMN optsweep_runs.laws_checked IS 'Equations between the figures of the run that were checked.';
COMMENT ON COLUMN optsweep_runs.laws_broken IS 'Of them: those that do not hold. Above 0 the run is failed.';
COMMENT ON COLUMN optsweep_runs.extract_seconds IS 'Seconds of work to read the ids.';
COMMENT ON COLUMN optsweep_runs.check_seconds IS 'Seconds of work to ask about them.';
COMMENT ON COLUMN optsweep_runs.apply_seconds IS 'Seconds of work to write the flags.';
COMMENT ON COLUMN optsweep_runs.failure_class IS 'Class of the failure that ended or interrupted the run: failed, partial, refused, integrity, limit, cancelled. Null if there was none.';
COMMENT ON COLUMN optsweep_runs.failure_message IS 'Why the run ended without success, was interrupted or given up.';
COMMENT ON COLUMN optsweep_runs.ledger_seq IS 'Number of the run''s last event in the ledger.';
COMMENT ON COLUMN optsweep_runs.ledger_hash IS 'Hash of that event, which stands for the ledger up to it: SHA-256 in hexadecimal.';
COMMENT ON COLUMN optsweep_runs.rows_operator_only IS 'Of the opted-out rows: their id is on the operator''s list only. Null without own suppression lists.';
COMMENT ON COLUMN optsweep_runs.rows_own_only IS 'Of the opted-out rows: their id is on own suppression lists only.';
COMMENT ON COLUMN optsweep_runs.rows_on_both IS 'Of the opted-out rows: their id is on the operator''s list and on own suppression lists.';
COMMENT ON COLUMN optsweep_runs.rows_by_source IS 'Opted-out rows on each own suppression list, whoever else lists them, as text, for example: form 12, crm 3.';
COMMENT ON COLUMN optsweep_runs.ids_operator_only IS 'Distinct ids that are opted out and on the operator''s list only. Null without own suppression lists.';
COMMENT ON COLUMN optsweep_runs.ids_own_only IS 'Distinct ids that are on own suppression lists only.';
COMMENT ON COLUMN optsweep_runs.ids_on_both IS 'Distinct ids that are on the operator''s list and on own suppression lists.';
COMMENT ON COLUMN optsweep_runs.ids_by_source IS 'Distinct ids on each own suppression list, whoever else lists them, as text, for example: form 12, crm 3.';
