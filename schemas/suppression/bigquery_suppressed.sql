-- The rows of the table whose people have opted out, and since when.
-- Data and list are tables: external ones over the files, or loaded from them.
SELECT d.*, s.opted_out_since
FROM `${DATA}` AS d
JOIN `${LIST}` AS s
ON s.id = d.`${ID_COLUMN}`
