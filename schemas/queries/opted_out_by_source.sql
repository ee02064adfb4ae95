-- Distinct ids and rows that are opted out, by who lists them: the operator only, own suppression lists only, or both. Runs without own lists are not here.
SELECT
  r.job, r.run_id, r.started_at, r.status,
  r.ids_operator_only, r.ids_own_only, r.ids_on_both, r.ids_by_source,
  r.rows_operator_only, r.rows_own_only, r.rows_on_both, r.rows_by_source
FROM `${dataset}.optsweep_runs` AS r
WHERE r.ids_own_only IS NOT NULL
ORDER BY r.started_at DESC, r.job
