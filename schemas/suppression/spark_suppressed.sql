-- The rows of the table whose people have opted out, and since when.
-- For an id column of bytes without a string type: CAST(d.`${ID_COLUMN}` AS STRING)
SELECT d.*, s.opted_out_since
FROM parquet.`${DATA}` AS d
JOIN parquet.`${LIST}` AS s
ON s.id = d.`${ID_COLUMN}`
