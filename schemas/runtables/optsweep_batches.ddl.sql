CREATE TABLE IF NOT EXISTS optsweep_batches (
  job TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  batch BIGINT NOT NULL,
  answered_at TIMESTAMP WITH TIME ZONE NOT NULL,
  ids BIGINT NOT NULL,
  ids_opted_out BIGINT NOT NULL,
  ids_clear BIGINT NOT NULL,
  ids_rejected BIGINT NOT NULL,
  digest TEXT NOT NULL,
  journal_line BIGINT NOT NULL,
  line_hash TEXT NOT NULL,
  previous_line_hash TEXT
);
COMMENT ON TABLE optsweep_batches IS 'One row per batch of ids that an operator answered. Each line of a run''s journal of answers carries the hash of the line before; the hash of the last is check_journal_hash in optsweep_runs. Rows are told apart by job, run_id, batch. Schema: optsweep.runtables.v1, revision 2.';
COMMENT ON COLUMN optsweep_batches.job IS 'Name of the job.';
COMMENT ON COLUMN optsweep_batches.run_id IS 'The run, named after its start. Unique within a job.';
COMMENT ON COLUMN optsweep_batches.run_started_at IS 'When the run started.';
COMMENT ON COLUMN optsweep_batches.batch IS 'Number of the batch in its run, from 0, as in evidence packs.';
COMMENT ON COLUMN optsweep_batches.answered_at IS 'When the operator answered, by its clock.';
COMMENT ON COLUMN optsweep_batches.ids IS 'Ids in the batch: opted out + clear + rejected.';
COMMENT ON COLUMN optsweep_batches.ids_opted_out IS 'Of them: opted out.';
COMMENT ON COLUMN optsweep_batches.ids_clear IS 'Of them: not on the operator''s list.';
COMMENT ON COLUMN optsweep_batches.ids_rejected IS 'Of them: without a verdict.';
COMMENT ON COLUMN optsweep_batches.digest IS 'SHA-256 of the ids: 33 bytes each, in the order in which they were asked.';
COMMENT ON COLUMN optsweep_batches.journal_line IS 'Number of the batch''s line in the journal, from 1: the order of the answers.';
COMMENT ON COLUMN optsweep_batches.line_hash IS 'Hash of that line: SHA-256 in hexadecimal.';
COMMENT ON COLUMN optsweep_batches.previous_line_hash IS 'Hash of the line before, which that line carries. Null for the first.';
