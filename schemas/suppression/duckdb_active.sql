-- The rows of the table none of whose people has opted out; rows without an id are among them.
-- For an id column of bytes without a string type: decode(d."${ID_COLUMN}")
SELECT d.*
FROM read_parquet('${DATA}') AS d
ANTI JOIN read_parquet('${LIST}') AS s
ON s.id = d."${ID_COLUMN}"
