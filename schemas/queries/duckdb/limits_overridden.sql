-- Runs that a safety limit stopped or that were let past one, and by whom.
SELECT job, run_id, started_at, status, limits_hit, limits_overridden, overridden_by
FROM optsweep_runs
WHERE limits_hit IS NOT NULL OR limits_overridden IS NOT NULL
ORDER BY started_at DESC, job
