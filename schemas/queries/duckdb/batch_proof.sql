-- Does a batch of ids belong to a run? The chain holds if all lines of the run's journal of answers are here, each carries the hash of the line before, and the ledger knows the hash of the last.
-- It does not hold yet while a check is not finished. For one batch put before ORDER BY: WHERE b.digest = '...'
-- A figure or digest that was changed in the warehouse itself does not break the chain: compare it with batches.ndjson of an evidence pack, which is signed.
WITH linked AS (
  SELECT
    job, run_id, journal_line, line_hash,
    CASE
      WHEN journal_line = 1 THEN previous_line_hash IS NULL
      ELSE COALESCE(previous_line_hash = LAG(line_hash) OVER (PARTITION BY job, run_id ORDER BY journal_line), FALSE)
    END AS follows
  FROM optsweep_batches
),
journals AS (
  SELECT job, run_id, COUNT(*) AS line_count, MAX(journal_line) AS last_line, SUM(CASE WHEN follows THEN 0 ELSE 1 END) AS broken
  FROM linked
  GROUP BY job, run_id
),
ends AS (
  SELECT j.job, j.run_id, j.line_count, j.last_line, j.broken, l.line_hash AS last_hash
  FROM journals AS j
  JOIN linked AS l ON l.job = j.job AND l.run_id = j.run_id AND l.journal_line = j.last_line
)
SELECT
  b.digest, b.job, b.run_id, b.batch, b.answered_at, b.ids, b.ids_opted_out, b.ids_clear, b.ids_rejected,
  COALESCE(e.broken = 0 AND e.line_count = e.last_line AND e.line_count = r.batches AND e.last_hash = r.check_journal_hash, FALSE) AS chain_holds,
  r.ledger_seq, r.ledger_hash
FROM optsweep_batches AS b
JOIN ends AS e ON e.job = b.job AND e.run_id = b.run_id
JOIN optsweep_runs AS r ON r.job = b.job AND r.run_id = b.run_id
ORDER BY b.run_id DESC, b.job, b.batch
