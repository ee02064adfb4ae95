// Package runfiles keeps the run tables as Parquet files in a folder: one file
// for each table and run, DIR/TABLE/JOB_RUN.parquet, also where a run has no
// rows. A file is written once, whole or not at all, and never again unless the
// ledger went on with its run since. That of optsweep_runs comes last, so a run
// that is there is whole.
//
// The files hold what the rows hold: pseudonyms, and no ids. They and folders
// that it makes are open to their owner and group only.
package runfiles
