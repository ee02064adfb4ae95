CREATE TABLE IF NOT EXISTS `${dataset}.optsweep_optouts` (
  job STRING NOT NULL OPTIONS (description = "Name of the job."),
  run_id STRING NOT NULL OPTIONS (description = "The run, named after its start. Unique within a job."),
  run_started_at TIMESTAMP NOT NULL OPTIONS (description = "When the run started."),
  pseudonym STRING NOT NULL OPTIONS (description = "Keyed pseudonym of the id: id: and 48 bits in hexadecimal, so among millions two ids may share one."),
  opted_out_since TIMESTAMP NOT NULL OPTIONS (description = "Since when the id is opted out, as the operator says."),
  learned_at TIMESTAMP NOT NULL OPTIONS (description = "When the operator said so, by its clock. When the flags were in place is applied_at in optsweep_runs."),
  batch INT64 NOT NULL OPTIONS (description = "Number of the batch in its run, from 0.")
)
PARTITION BY DATE(run_started_at)
CLUSTER BY job, pseudonym
OPTIONS (description = "One row per id that a run learned to be opted out. Ids known from earlier runs are not asked about again, so each is here once, but for dry runs and after an unflag. Rows are told apart by job, run_id, batch, pseudonym. Schema: optsweep.runtables.v1, revision 2.");
