-- Time to honour in hours, per job and week (from Monday, UTC) in which the flags were in place: from the opt-out until then, as median, 95th percentile and maximum.
-- An upper bound: of an id that came into the data after the opt-out, the time before it came counts too.
WITH lags AS (
  SELECT
    o.job, DATE_TRUNC(DATE(r.applied_at), ISOWEEK) AS week,
    TIMESTAMP_DIFF(r.applied_at, o.opted_out_since, SECOND) / 3600 AS applied
  FROM `${dataset}.optsweep_optouts` AS o
  JOIN `${dataset}.optsweep_runs` AS r ON r.job = o.job AND r.run_id = o.run_id
  WHERE r.applied_at IS NOT NULL
),
ranked AS (
  SELECT
    job, week, applied,
    COUNT(*) OVER (PARTITION BY job, week) AS ids,
    ROW_NUMBER() OVER (PARTITION BY job, week ORDER BY applied) AS applied_rank
  FROM lags
)
SELECT
  job, week, MAX(ids) AS ids,
  ROUND(MIN(CASE WHEN applied_rank >= 0.5 * ids THEN applied END), 2) AS p50_hours,
  ROUND(MIN(CASE WHEN applied_rank >= 0.95 * ids THEN applied END), 2) AS p95_hours,
  ROUND(MAX(applied), 2) AS max_hours
FROM ranked
GROUP BY job, week
ORDER BY week DESC, job
