-- Time to honour in hours, per run: from the opt-out until the run learned of it, and until all its flags were in place.
-- An upper bound: of an id that came into the data after the opt-out, the time before it came counts too.
WITH lags AS (
  SELECT
    o.job, o.run_id, r.started_at,
    (epoch_ms(o.learned_at) - epoch_ms(o.opted_out_since)) / 3600000 AS learned,
    (epoch_ms(r.applied_at) - epoch_ms(o.opted_out_since)) / 3600000 AS applied
  FROM optsweep_optouts AS o
  JOIN optsweep_runs AS r ON r.job = o.job AND r.run_id = o.run_id
  WHERE r.applied_at IS NOT NULL
),
ranked AS (
  SELECT
    job, run_id, started_at, learned, applied,
    COUNT(*) OVER (PARTITION BY job, run_id) AS ids,
    ROW_NUMBER() OVER (PARTITION BY job, run_id ORDER BY learned) AS learned_rank,
    ROW_NUMBER() OVER (PARTITION BY job, run_id ORDER BY applied) AS applied_rank
  FROM lags
)
SELECT
  job, run_id, MIN(started_at) AS started_at, MAX(ids) AS ids,
  ROUND(MIN(CASE WHEN learned_rank >= 0.5 * ids THEN learned END), 2) AS learned_p50_hours,
  ROUND(MIN(CASE WHEN learned_rank >= 0.95 * ids THEN learned END), 2) AS learned_p95_hours,
  ROUND(MAX(learned), 2) AS learned_max_hours,
  ROUND(MIN(CASE WHEN applied_rank >= 0.5 * ids THEN applied END), 2) AS applied_p50_hours,
  ROUND(MIN(CASE WHEN applied_rank >= 0.95 * ids THEN applied END), 2) AS applied_p95_hours,
  ROUND(MAX(applied), 2) AS applied_max_hours
FROM ranked
GROUP BY job, run_id
ORDER BY started_at DESC, job
