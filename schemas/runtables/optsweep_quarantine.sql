CREATE TABLE IF NOT EXISTS `${dataset}.optsweep_quarantine` (
  job STRING NOT NULL OPTIONS (description = "Name of the job."),
  run_id STRING NOT NULL OPTIONS (description = "The run, named after its start. Unique within a job."),
  run_started_at TIMESTAMP NOT NULL OPTIONS (description = "When the run started."),
  table_name STRING OPTIONS (description = "Name of the table in the job file. Null for an id whose rows could not be read again."),
  unit STRING OPTIONS (description = "Unit of the table. Null for an id whose rows could not be read again."),
  row_index INT64 OPTIONS (description = "Number of the row in its unit, from 0. Null if rows have no numbers or could not be read again."),
  row_count INT64 OPTIONS (description = "Rows that this row stands for. Null if they could not be read again."),
  reason STRING NOT NULL OPTIONS (description = "Why there is no verdict, for example bad_length, wrong_scope or operator_rejected."),
  pseudonym STRING OPTIONS (description = "Keyed pseudonym: of an id (id:...) or of a cell that is none (cell:...). Two rows with the same one hold the same.")
)
PARTITION BY DATE(run_started_at)
CLUSTER BY job, table_name, reason
OPTIONS (description = "One row per table row whose id has no verdict. What is here was not checked, and so is not clear. Ids that nobody was asked about are counted in optsweep_runs only. Rows are told apart by job, run_id, table_name, unit, row_index, reason, pseudonym. Schema: optsweep.runtables.v1, revision 2.");
