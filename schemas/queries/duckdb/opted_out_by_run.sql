-- Ids, by pseudonym, that each run of the last 30 days newly found opted out, and since when their rows carry the flag.
SELECT o.job, o.run_id, o.pseudonym, o.opted_out_since, o.learned_at, r.applied_at, o.batch
FROM optsweep_optouts AS o
JOIN optsweep_runs AS r ON r.job = o.job AND r.run_id = o.run_id
WHERE NOT r.dry_run AND o.run_started_at >= now() - INTERVAL 30 DAY
ORDER BY o.run_id DESC, o.job, o.opted_out_since, o.pseudonym
