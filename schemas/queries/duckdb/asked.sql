-- Who was asked, when, and about which ids: each batch with the operator that answered it, its digest, and the line of the journal of answers.
SELECT
  b.job, b.run_id, b.batch, b.answered_at, r.operator_kind, r.operator_host, r.operator_key_name, r.environment, r.scope,
  b.ids, b.ids_opted_out, b.ids_clear, b.ids_rejected, b.digest, b.journal_line, b.line_hash
FROM optsweep_batches AS b
JOIN optsweep_runs AS r ON r.job = b.job AND r.run_id = b.run_id
ORDER BY b.answered_at DESC, b.job, b.run_id, b.batch
