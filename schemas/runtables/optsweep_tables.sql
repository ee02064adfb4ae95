CREATE TABLE IF NOT EXISTS `${dataset}.optsweep_tables` (
  job STRING NOT NULL OPTIONS (description = "Name of the job."),
  run_id STRING NOT NULL OPTIONS (description = "The run, named after its start. Unique within a job."),
  run_started_at TIMESTAMP NOT NULL OPTIONS (description = "When the run started."),
  table_name STRING NOT NULL OPTIONS (description = "Name of the table in the job file."),
  status STRING NOT NULL OPTIONS (description = "reconciled, previewed (dry run), reapplied (offline run), partial (some units failed) or failed (no unit was applied)."),
  units_planned INT64 OPTIONS (description = "Units (files, statements) in scope, those that could not be read included. A table that could not be listed counts as one."),
  units_extracted INT64 OPTIONS (description = "Units whose ids were read."),
  units_applied INT64 NOT NULL OPTIONS (description = "Units that carry all flags and were confirmed by reading them back."),
  units_changed INT64 NOT NULL OPTIONS (description = "Units of which at least one byte was written."),
  units_failed INT64 NOT NULL OPTIONS (description = "Units that could not be treated. They are as they were before."),
  rows_read INT64 OPTIONS (description = "Rows that were read: null + valid + malformed."),
  rows_null INT64 OPTIONS (description = "Rows without an id."),
  rows_valid INT64 OPTIONS (description = "Rows with a well-formed id of the right scope."),
  rows_malformed INT64 OPTIONS (description = "Rows whose cell is no valid id. They have no verdict and are in optsweep_quarantine."),
  rows_repaired INT64 OPTIONS (description = "Of the valid rows: white space around the id was ignored."),
  rows_opted_out INT64 OPTIONS (description = "Rows whose id is known as opted out."),
  rows_flagged INT64 OPTIONS (description = "Rows with a flag afterwards: opted out + flag kept."),
  rows_new INT64 OPTIONS (description = "Rows that had no flag before."),
  rows_reapplied INT64 OPTIONS (description = "Of the new ones: known from earlier runs, flagged before anything was asked."),
  rows_earlier INT64 OPTIONS (description = "Rows whose flag moved to an earlier time."),
  rows_flag_kept INT64 OPTIONS (description = "Rows whose flag from before was kept although their id is not known as opted out here."),
  rows_confirmed INT64 OPTIONS (description = "Flags that were counted by reading the written units back."),
  bytes_before INT64 OPTIONS (description = "Bytes of the applied units before the run."),
  bytes_after INT64 OPTIONS (description = "Bytes of the applied units after the run."),
  malformed_reasons STRING OPTIONS (description = "Malformed rows by reason, as text, for example: bad_length 12, not_base64 3."),
  failed_units STRING OPTIONS (description = "The first 20 failed units with phase and reason, as text."),
  version_before STRING OPTIONS (description = "Version of the table's only unit before it was applied; of more units, sha256: and the digest of a line for each: unit, tab, version."),
  version_after STRING OPTIONS (description = "The same after it was applied.")
)
PARTITION BY DATE(run_started_at)
CLUSTER BY job, table_name
OPTIONS (description = "One row per run and table: what was read and written, and what could not be. A figure is null if the run did not get that far with the table. Rows are told apart by job, run_id, table_name. Schema: optsweep.runtables.v1.");
