-- Days (UTC) without a run that reconciled everything: from one such run to the next, or to now.
WITH successes AS (
  SELECT
    job, started_at,
    COALESCE(LEAD(started_at) OVER (PARTITION BY job ORDER BY started_at), now()) AS next_at
  FROM optsweep_runs
  WHERE status = 'reconciled'
)
SELECT
  job, started_at AS last_success_at, next_at AS next_success_or_now,
  date_diff('day', CAST(started_at AS DATE), CAST(next_at AS DATE)) - 1 AS days_without
FROM successes
WHERE date_diff('day', CAST(started_at AS DATE), CAST(next_at AS DATE)) > 1
ORDER BY job, last_success_at
