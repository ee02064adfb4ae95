-- Runs of the last 30 days: how each ended, what it asked and what it found.
SELECT
  job, run_id, started_at, ended_at, status, dry_run, offline, rows_read, ids_distinct, ids_asked,
  ids_known_opted_out, ids_opted_out AS ids_newly_opted_out, ids_clear, ids_unverifiable,
  units_failed, laws_broken, failure_message
FROM optsweep_runs
WHERE started_at >= now() - INTERVAL 30 DAY
ORDER BY started_at DESC, job
