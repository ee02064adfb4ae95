-- What could not be checked in each run, by reason: rows in quarantine among all rows with an id, and ids that nobody was asked about among all distinct ids.
SELECT
  r.job, r.run_id, r.started_at, q.reason, q.ids, q.row_count,
  ROUND(100 * q.row_count / (r.rows_read - r.rows_null), 3) AS percent, 'rows with an id' AS percent_of
FROM (
  SELECT job, run_id, reason, COUNT(DISTINCT pseudonym) AS ids, SUM(row_count) AS row_count
  FROM optsweep_quarantine
  GROUP BY job, run_id, reason
) AS q
JOIN optsweep_runs AS r ON r.job = q.job AND r.run_id = q.run_id
WHERE r.rows_read > r.rows_null
UNION ALL
SELECT
  job, run_id, started_at, 'not_asked' AS reason, ids_not_asked AS ids, CAST(NULL AS BIGINT) AS row_count,
  ROUND(100 * ids_not_asked / ids_distinct, 3) AS percent, 'distinct ids' AS percent_of
FROM optsweep_runs
WHERE ids_not_asked > 0 AND ids_distinct > 0
ORDER BY started_at DESC, job, percent DESC, reason
