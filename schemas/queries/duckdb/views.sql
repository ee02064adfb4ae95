-- Views of the run tables, of all files in the current folder; begin here. Days and weeks are those of UTC.
SET TimeZone = 'UTC';
CREATE OR REPLACE VIEW optsweep_runs AS SELECT * FROM read_parquet('optsweep_runs/*.parquet', union_by_name = true);
CREATE OR REPLACE VIEW optsweep_tables AS SELECT * FROM read_parquet('optsweep_tables/*.parquet', union_by_name = true);
CREATE OR REPLACE VIEW optsweep_batches AS SELECT * FROM read_parquet('optsweep_batches/*.parquet', union_by_name = true);
CREATE OR REPLACE VIEW optsweep_quarantine AS SELECT * FROM read_parquet('optsweep_quarantine/*.parquet', union_by_name = true);
CREATE OR REPLACE VIEW optsweep_optouts AS SELECT * FROM read_parquet('optsweep_optouts/*.parquet', union_by_name = true);
