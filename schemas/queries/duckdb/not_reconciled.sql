-- Tables that a run did not reconcile, and why. Runs that did not come to a table have one line without a table.
SELECT
  r.job, r.run_id, r.started_at, t.table_name, r.status AS run_status, t.status AS table_status, t.units_failed, t.units_planned,
  COALESCE(
    t.failed_units, r.failure_message, r.limits_hit,
    CASE WHEN r.offline THEN 'offline run: no operator was asked' ELSE 'the run is under way, or its process was killed' END
  ) AS why
FROM optsweep_runs AS r
LEFT JOIN optsweep_tables AS t ON t.job = r.job AND t.run_id = r.run_id
WHERE NOT r.dry_run AND (r.status <> 'reconciled' OR t.status <> 'reconciled') AND COALESCE(t.status, '') <> 'reconciled'
ORDER BY r.started_at DESC, r.job, t.table_name
