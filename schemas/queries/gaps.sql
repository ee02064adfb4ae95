-- Days (UTC) without a run that reconciled everything: from one such run to the next, or to now.
WITH successes AS (
  SELECT
    job, started_at,
    COALESCE(LEAD(started_at) OVER (PARTITION BY job ORDER BY started_at), CURRENT_TIMESTAMP()) AS next_at
  FROM `${dataset}.optsweep_runs`
  WHERE status = 'reconciled'
)
SELECT
  job, started_at AS last_success_at, next_at AS next_success_or_now,
  DATE_DIFF(DATE(next_at), DATE(started_at), DAY) - 1 AS days_without
FROM successes
WHERE DATE_DIFF(DATE(next_at), DATE(started_at), DAY) > 1
ORDER BY job, last_success_at
