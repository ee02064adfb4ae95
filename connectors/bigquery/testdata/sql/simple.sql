-- stage, no flags yet
SELECT id, COUNT(*) AS n, COUNT(flag) AS flagged, MIN(flag) AS flag_min, MAX(flag) AS flag_max
FROM (
SELECT t.`euid` AS id, CAST(NULL AS TIMESTAMP) AS flag
FROM `p`.`d`.`crm` AS t
)
GROUP BY id;

-- stage, flag column
SELECT id, COUNT(*) AS n, COUNT(flag) AS flagged, MIN(flag) AS flag_min, MAX(flag) AS flag_max
FROM (
SELECT t.`euid` AS id, t.`opted_out_since` AS flag
FROM `p`.`d`.`crm` AS t
)
GROUP BY id;

-- stage, suppression table
SELECT g.id AS id, g.n AS n, IF(s.id IS NULL, 0, g.n) AS flagged, s.opted_out_since AS flag_min, s.opted_out_since AS flag_max
FROM (
SELECT id, COUNT(*) AS n
FROM (
SELECT t.`euid` AS id, CAST(NULL AS TIMESTAMP) AS flag
FROM `p`.`d`.`crm` AS t
)
GROUP BY id
) AS g
LEFT JOIN `p`.`own`.`optsweep_suppression` AS s
ON s.id = g.id AND s.scope = 'euid';

-- count staged ids
SELECT COUNT(*) AS cells, COALESCE(SUM(n), 0) AS total
FROM `p`.`staging`.`ids`;

-- stage, with what was written since
SELECT s.id AS id, s.n AS n, IF(h.optsweep_id IS NULL, s.flagged, s.n) AS flagged, IF(h.optsweep_id IS NULL, s.flag_min, LEAST(COALESCE(s.flag_min, h.optsweep_since), h.optsweep_since)) AS flag_min, IF(h.optsweep_id IS NULL, s.flag_max, h.optsweep_since) AS flag_max
FROM `p`.`staging`.`ids` AS s
LEFT JOIN `p`.`staging`.`hits` AS h
ON s.id = h.optsweep_id;

-- count cells
SELECT COUNT(*) AS total
FROM `p`.`d`.`crm` AS t;

-- suppress
MERGE INTO `p`.`own`.`optsweep_suppression` AS s
USING `p`.`staging`.`hits` AS h
ON s.id = h.optsweep_id AND s.scope = 'euid'
WHEN MATCHED AND s.opted_out_since > h.optsweep_since THEN
  UPDATE SET opted_out_since = h.optsweep_since, last_checked_at = TIMESTAMP_MILLIS(1772337600000), run_id = '20260301T040000.000Z'
WHEN NOT MATCHED THEN
  INSERT (id, scope, opted_out_since, first_flagged_at, last_checked_at, run_id)
  VALUES (h.optsweep_id, 'euid', h.optsweep_since, TIMESTAMP_MILLIS(1772337600000), TIMESTAMP_MILLIS(1772337600000), '20260301T040000.000Z');

-- take off the suppression table
DELETE FROM `p`.`own`.`optsweep_suppression` AS s
WHERE s.scope = 'euid' AND s.id IN (SELECT optsweep_id FROM `p`.`staging`.`hits`);

-- confirm suppression
SELECT COUNT(*) AS total, COUNTIF(s.opted_out_since <= h.optsweep_since) AS good, COUNTIF(s.id IS NULL) AS missing, COUNTIF(s.opted_out_since > h.optsweep_since) AS later
FROM `p`.`staging`.`hits` AS h
LEFT JOIN `p`.`own`.`optsweep_suppression` AS s
ON s.id = h.optsweep_id AND s.scope = 'euid';

-- flag
MERGE INTO `p`.`d`.`crm` AS t
USING `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id
WHEN MATCHED AND (t.`opted_out_since` IS NULL OR t.`opted_out_since` > h.optsweep_since) THEN
  UPDATE SET `opted_out_since` = h.optsweep_since;

-- take flags away
MERGE INTO `p`.`d`.`crm` AS t
USING `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id
WHEN MATCHED AND t.`opted_out_since` IS NOT NULL THEN
  UPDATE SET `opted_out_since` = NULL;

-- confirm flags
SELECT COUNT(*) AS total, COUNTIF(t.`opted_out_since` <= h.optsweep_since) AS good, COUNTIF(t.`opted_out_since` IS NULL) AS missing, COUNTIF(t.`opted_out_since` > h.optsweep_since) AS later
FROM `p`.`d`.`crm` AS t
JOIN `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id;

-- remove, with copies
BEGIN TRANSACTION;
INSERT INTO `p`.`own`.`removed` (`row`, `euid`, `größe`, optsweep_opted_out_since, optsweep_run_id)
SELECT t.`row`, t.`euid`, t.`größe`, h.optsweep_since, '20260301T040000.000Z'
FROM `p`.`d`.`crm` AS t
JOIN `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id;
DELETE FROM `p`.`d`.`crm` AS t
WHERE t.`euid` IN (SELECT optsweep_id FROM `p`.`staging`.`hits`);
COMMIT TRANSACTION;

-- remove, without copies
DELETE FROM `p`.`d`.`crm` AS t
WHERE t.`euid` IN (SELECT optsweep_id FROM `p`.`staging`.`hits`);

-- confirm removal
SELECT COUNT(*) AS total
FROM `p`.`d`.`crm` AS t
JOIN `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id;

-- confirm quarantine
SELECT COUNT(*) AS total
FROM `p`.`own`.`removed` AS t
JOIN `p`.`staging`.`hits` AS h
ON t.`euid` = h.optsweep_id
WHERE t.optsweep_run_id = '20260301T040000.000Z';

-- view of active rows
SELECT t.*
FROM `p`.`d`.`crm` AS t
WHERE NOT EXISTS (SELECT 1 FROM `p`.`own`.`optsweep_suppression` AS s WHERE s.id = t.`euid` AND s.scope = 'euid');

-- view of suppressed rows
SELECT t.*
FROM `p`.`d`.`crm` AS t
WHERE EXISTS (SELECT 1 FROM `p`.`own`.`optsweep_suppression` AS s WHERE s.id = t.`euid` AND s.scope = 'euid');

