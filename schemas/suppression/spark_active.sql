-- The rows of the table none of whose people has opted out; rows without an id are among them.
-- For an id column of bytes without a string type: CAST(d.`${ID_COLUMN}` AS STRING)
SELECT d.*
FROM parquet.`${DATA}` AS d
LEFT ANTI JOIN parquet.`${LIST}` AS s
ON s.id = d.`${ID_COLUMN}`
