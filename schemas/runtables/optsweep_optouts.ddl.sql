CREATE TABLE IF NOT EXISTS optsweep_optouts (
  job TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  pseudonym TEXT NOT NULL,
  opted_out_since TIMESTAMP WITH TIME ZONE NOT NULL,
  learned_at TIMESTAMP WITH TIME ZONE NOT NULL,
  batch BIGINT NOT NULL
);
COMMENT ON TABLE optsweep_optouts IS 'One row per id that a run learned to be opted out. Ids known from earlier runs are not asked about again, so each is here once, but for dry runs and after an unflag. Rows are told apart by job, run_id, batch, pseudonym. Schema: optsweep.runtables.v1, revision 2.';
COMMENT ON COLUMN optsweep_optouts.job IS 'Name of the job.';
COMMENT ON COLUMN optsweep_optouts.run_id IS 'The run, named after its start. Unique within a job.';
COMMENT ON COLUMN optsweep_optouts.run_started_at IS 'When the run started.';
COMMENT ON COLUMN optsweep_optouts.pseudonym IS 'Keyed pseudonym of the id: id: and 48 bits in hexadecimal, so among millions two ids may share one.';
COMMENT ON COLUMN optsweep_optouts.opted_out_since IS 'Since when the id is opted out, as the operator says.';
COMMENT ON COLUMN optsweep_optouts.learned_at IS 'When the operator said so, by its clock. When the flags were in place is applied_at in optsweep_runs.';
COMMENT ON COLUMN optsweep_optouts.batch IS 'Number of the batch in its run, from 0.';
