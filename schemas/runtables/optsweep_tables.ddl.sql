CREATE TABLE IF NOT EXISTS optsweep_tables (
  job TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  table_name TEXT NOT NULL,
  status TEXT NOT NULL,
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
  malformed_reasons TEXT,
  failed_units TEXT,
  version_before TEXT,
  version_after TEXT,
  rows_operator_only BIGINT,
  rows_own_only BIGINT,
  rows_on_both BIGINT,
  rows_by_source TEXT
);
COMMENT ON TABLE optsweep_tables IS 'One row per run and table: what was read and written, and what could not be. A figure is null if the run did not get that far with the table. Rows are told apart by job, run_id, table_name. Schema: optsweep.runtables.v1, revision 2.';
COMMENT ON COLUMN optsweep_tables.job IS 'Name of the job.';
COMMENT ON COLUMN optsweep_tables.run_id IS 'The run, named after its start. Unique within a job.';
COMMENT ON COLUMN optsweep_tables.run_started_at IS 'When the run started.';
COMMENT ON COLUMN optsweep_tables.table_name IS 'Name of the table in the job file.';
COMMENT ON COLUMN optsweep_tables.status IS 'reconciled, previewed (dry run), reapplied (offline run), partial (some units failed) or failed (no unit was applied).';
COMMENT ON COLUMN optsweep_tables.units_planned IS 'Units (files, statements) in scope, those that could not be read included. A table that could not be listed counts as one.';
COMMENT ON COLUMN optsweep_tables.units_extracted IS 'Units whose ids were read.';
COMMENT ON COLUMN optsweep_tables.units_applied IS 'Units that carry all flags and were confirmed by reading them back.';
COMMENT ON COLUMN optsweep_tables.units_changed IS 'Units of which at least one byte was written.';
COMMENT ON COLUMN optsweep_tables.units_failed IS 'Units that could not be treated. They are as they were before.';
COMMENT ON COLUMN optsweep_tables.rows_read IS 'Rows that were read: null + valid + malformed.';
COMMENT ON COLUMN optsweep_tables.rows_null IS 'Rows without an id.';
COMMENT ON COLUMN optsweep_tables.rows_valid IS 'Rows with a well-formed id of the right scope.';
COMMENT ON COLUMN optsweep_tables.rows_malformed IS 'Rows whose cell is no valid id. They have no verdict and are in optsweep_quarantine.';
COMMENT ON COLUMN optsweep_tables.rows_repaired IS 'Of the valid rows: white space around the id was ignored.';
COMMENT ON COLUMN optsweep_tables.rows_opted_out IS 'Rows whose id is known as opted out.';
COMMENT ON COLUMN optsweep_tables.rows_flagged IS 'Rows with a flag afterwards: opted out + flag kept.';
COMMENT ON COLUMN optsweep_tables.rows_new IS 'Rows that had no flag before.';
COMMENT ON COLUMN optsweep_tables.rows_reapplied IS 'Of the new ones: known from earlier runs, flagged before anything was asked.';
COMMENT ON COLUMN optsweep_tables.rows_earlier IS 'Rows whose flag moved to an earlier time.';
COMMENT ON COLUMN optsweep_tables.rows_flag_kept IS 'Rows whose flag from before was kept although their id is not known as opted out here.';
COMMENT ON COLUMN optsweep_tables.rows_confirmed IS 'Flags that were counted by reading the written units back.';
COMMENT ON COLUMN optsweep_tables.bytes_before IS 'Bytes of the applied units before the run.';
COMMENT ON COLUMN optsweep_tables.bytes_after IS 'Bytes of the applied units after the run.';
COMMENT ON COLUMN optsweep_tables.malformed_reasons IS 'Malformed rows by reason, as text, for example: bad_length 12, not_base64 3.';
COMMENT ON COLUMN optsweep_tables.failed_units IS 'The first 20 failed units with phase and reason, as text.';
COMMENT ON COLUMN optsweep_tables.version_before IS 'Version of the table''s only unit before it was applied; of more units, sha256: and the digest of a line for each: unit, tab, version.';
COMMENT ON COLUMN optsweep_tables.version_after IS 'The same after it was applied.';
COMMENT ON COLUMN optsweep_tables.rows_operator_only IS 'Of the opted-out rows: their id is on the operator''s list only. Null without own suppression lists.';
COMMENT ON COLUMN optsweep_tables.rows_own_only IS 'Of the opted-out rows: their id is on own suppression lists only.';
COMMENT ON COLUMN optsweep_tables.rows_on_both IS 'Of the opted-out rows: their id is on the operator''s list and on own suppression lists.';
COMMENT ON COLUMN optsweep_tables.rows_by_source IS 'Opted-out rows on each own suppression list, whoever else lists them, as text, for example: form 12, crm 3.';
