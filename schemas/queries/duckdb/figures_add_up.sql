-- Runs whose figures do not add up, in themselves or with the other tables: there should be none. What retention or a loader left out shows here, too.
WITH by_table AS (
  SELECT job, run_id, SUM(rows_read) AS rows_read, SUM(rows_flagged) AS rows_flagged, SUM(rows_new) AS rows_new, SUM(units_failed) AS units_failed
  FROM optsweep_tables
  GROUP BY job, run_id
),
by_batch AS (
  SELECT job, run_id, SUM(ids) AS ids, SUM(ids_opted_out) AS ids_opted_out, SUM(ids_clear) AS ids_clear
  FROM optsweep_batches
  GROUP BY job, run_id
),
by_id AS (
  SELECT job, run_id, COUNT(*) AS ids
  FROM optsweep_optouts
  GROUP BY job, run_id
),
checks AS (
  SELECT
    r.job, r.run_id, r.started_at,
    r.laws_broken = 0 AS laws,
    COALESCE(r.rows_read = r.rows_null + r.rows_valid + r.rows_malformed, TRUE) AS rows_read,
    COALESCE(r.rows_flagged = r.rows_opted_out + r.rows_flag_kept AND r.rows_flagged = r.rows_confirmed, TRUE) AS rows_flagged,
    COALESCE(r.ids_distinct = r.ids_known_opted_out + r.ids_asked + r.ids_not_asked, TRUE) AS ids_distinct,
    COALESCE(r.ids_asked = r.ids_opted_out + r.ids_clear + r.ids_unverifiable - r.ids_not_asked, TRUE) AS ids_asked,
    COALESCE(r.rows_read, 0) = COALESCE(t.rows_read, 0) AND COALESCE(r.rows_flagged, 0) = COALESCE(t.rows_flagged, 0)
      AND COALESCE(r.rows_new, 0) = COALESCE(t.rows_new, 0) AND r.units_failed = COALESCE(t.units_failed, 0) AS tables_table,
    r.ids_asked IS NULL OR r.ids_asked = COALESCE(b.ids, 0) AND r.ids_opted_out = COALESCE(b.ids_opted_out, 0) AND r.ids_clear = COALESCE(b.ids_clear, 0) AS batches_table,
    r.ids_opted_out IS NULL OR r.ids_opted_out = COALESCE(i.ids, 0) AS optouts_table
  FROM optsweep_runs AS r
  LEFT JOIN by_table AS t ON t.job = r.job AND t.run_id = r.run_id
  LEFT JOIN by_batch AS b ON b.job = r.job AND b.run_id = r.run_id
  LEFT JOIN by_id AS i ON i.job = r.job AND i.run_id = r.run_id
)
SELECT job, run_id, started_at, laws, rows_read, rows_flagged, ids_distinct, ids_asked, tables_table, batches_table, optouts_table
FROM checks
WHERE NOT (laws AND rows_read AND rows_flagged AND ids_distinct AND ids_asked AND tables_table AND batches_table AND optouts_table)
ORDER BY started_at DESC, job
