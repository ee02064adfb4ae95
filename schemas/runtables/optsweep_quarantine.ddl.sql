CREATE TABLE IF NOT EXISTS optsweep_quarantine (
  job TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  table_name TEXT,
  unit TEXT,
  row_index BIGINT,
  row_count BIGINT,
  reason TEXT NOT NULL,
  pseudonym TEXT
);
COMMENT ON TABLE optsweep_quarantine IS 'One row per table row whose id has no verdict. What is here was not checked, and so is not clear. Ids that nobody was asked about are counted in optsweep_runs only. Rows are told apart by job, run_id, table_name, unit, row_index, reason, pseudonym. Schema: optsweep.runtables.v1, revision 2.';
COMMENT ON COLUMN optsweep_quarantine.job IS 'Name of the job.';
COMMENT ON COLUMN optsweep_quarantine.run_id IS 'The run, named after its start. Unique within a job.';
COMMENT ON COLUMN optsweep_quarantine.run_started_at IS 'When the run started.';
COMMENT ON COLUMN optsweep_quarantine.table_name IS 'Name of the table in the job file. Null for an id whose rows could not be read again.';
COMMENT ON COLUMN optsweep_quarantine.unit IS 'Unit of the table. Null for an id whose rows could not be read again.';
COMMENT ON COLUMN optsweep_quarantine.row_index IS 'Number of the row in its unit, from 0. Null if rows have no numbers or could not be read again.';
COMMENT ON COLUMN optsweep_quarantine.row_count IS 'Rows that this row stands for. Null if they could not be read again.';
COMMENT ON COLUMN optsweep_quarantine.reason IS 'Why there is no verdict, for example bad_length, wrong_scope or operator_rejected.';
COMMENT ON COLUMN optsweep_quarantine.pseudonym IS 'Keyed pseudonym: of an id (id:...) or of a cell that is none (cell:...). Two rows with the same one hold the same.';
