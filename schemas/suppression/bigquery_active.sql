-- The rows of the table none of whose people has opted out; rows without an id are among them.
-- Data and list are tables: external ones over the files, or loaded from them.
SELECT d.*
FROM `${DATA}` AS d
WHERE NOT EXISTS (SELECT 1 FROM `${LIST}` AS s WHERE s.id = d.`${ID_COLUMN}`)
