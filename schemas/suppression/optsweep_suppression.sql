-- The columns of a suppression list (optsweep.suppression.v1), a Parquet file sorted by id.
CREATE TABLE optsweep_suppression (
  id STRING NOT NULL OPTIONS (description = "The id as it stands in the table."),
  scope STRING NOT NULL OPTIONS (description = "euid or uid2."),
  opted_out_since TIMESTAMP NOT NULL OPTIONS (description = "Since when the person has opted out."),
  first_flagged_at TIMESTAMP NOT NULL OPTIONS (description = "Start of the run that put the id here."),
  last_checked_at TIMESTAMP NOT NULL OPTIONS (description = "Start of the run that last changed this row; a listed id is not asked about again."),
  run_id STRING NOT NULL OPTIONS (description = "That run.")
);
