-- Tables that no run has reconciled in the last 24 hours, counted from the start of the run, and when one last did. A table that was taken out of the job file stays here: see last_seen_at.
SELECT
  t.job, t.table_name,
  MAX(CASE WHEN t.status = 'reconciled' THEN t.run_started_at END) AS last_reconciled_at,
  MAX(t.run_started_at) AS last_seen_at
FROM optsweep_tables AS t
GROUP BY t.job, t.table_name
HAVING COALESCE(MAX(CASE WHEN t.status = 'reconciled' THEN t.run_started_at END) < now() - INTERVAL 24 HOUR, TRUE)
ORDER BY t.job, t.table_name
