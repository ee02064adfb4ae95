-- The rows of the table whose people have opted out, and since when.
-- For an id column of bytes without a string type: decode(d."${ID_COLUMN}")
SELECT d.*, s.opted_out_since
FROM read_parquet('${DATA}') AS d
JOIN read_parquet('${LIST}') AS s
ON s.id = d."${ID_COLUMN}"
