CREATE TABLE IF NOT EXISTS `${dataset}.optsweep_batches` (
  job STRING NOT NULL OPTIONS (description = "Name of the job."),
  run_id STRING NOT NULL OPTIONS (description = "The run, named after its start. Unique within a job."),
  run_started_at TIMESTAMP NOT NULL OPTIONS (description = "When the run started."),
  batch INT64 NOT NULL OPTIONS (description = "Number of the batch in its run, from 0, as in evidence packs."),
  answered_at TIMESTAMP NOT NULL OPTIONS (description = "When the operator answered, by its clock."),
  ids INT64 NOT NULL OPTIONS (description = "Ids in the batch: opted out + clear + rejected."),
  ids_opted_out INT64 NOT NULL OPTIONS (description = "Of them: opted out."),
  ids_clear INT64 NOT NULL OPTIONS (description = "Of them: not on the operator's list."),
  ids_rejected INT64 NOT NULL OPTIONS (description = "Of them: without a verdict."),
  digest STRING NOT NULL OPTIONS (description = "SHA-256 of the ids: 33 bytes each, in the order in which they were asked."),
  journal_line INT64 NOT NULL OPTIONS (description = "Number of the batch's line in the journal, from 1: the order of the answers."),
  line_hash STRING NOT NULL OPTIONS (description = "Hash of that line: SHA-256 in hexadecimal."),
  previous_line_hash STRING OPTIONS (description = "Hash of the line before, which that line carries. Null for the first.")
)
PARTITION BY DATE(run_started_at)
CLUSTER BY job, run_id, batch
OPTIONS (description = "One row per batch of ids that an operator answered. Each line of a run's journal of answers carries the hash of the line before; the hash of the last is check_journal_hash in optsweep_runs. Rows are told apart by job, run_id, batch. Schema: optsweep.runtables.v1, revision 2.");
