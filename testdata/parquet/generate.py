"""Writes the fixtures of connectors/parquet: small files by pyarrow, DuckDB and
Polars that cover what real files hold.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python generate.py fixtures

The id column is "euid": base64 of a SHA-256 of the row number, with duplicates,
NULLs and malformed cells. The tests and crossread.py share one rule for who is
opted out: a cell of 44 characters that starts with A, B, C or D, since
1700000000000 ms plus the character code of its second character.
"""

import base64
import datetime
import decimal
import hashlib
import os
import sys
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 360


def euid(i):
    if i % 17 == 3:
        return None
    if i % 41 == 5:
        return ["", "not an id", "person@example.com", "short=="][i // 41 % 4]
    return base64.b64encode(hashlib.sha256(str(i % 240).encode()).digest()).decode()


def table(rows=ROWS):
    r = range(rows)
    utc = datetime.timezone.utc
    day = datetime.datetime(2024, 1, 1, tzinfo=utc)
    columns = {
        "row_id": pa.array(list(r), pa.int64()),
        "euid": pa.array([euid(i) for i in r], pa.string()),
        "flag": pa.array([i % 3 == 0 if i % 5 else None for i in r], pa.bool_()),
        "tiny": pa.array([i % 100 for i in r], pa.int8()),
        "big": pa.array([i * 7 for i in r], pa.uint64()),
        "ratio": pa.array([i / 7 for i in r], pa.float64()),
        "half": pa.array([i % 64 / 4 for i in r], pa.float32()).cast(pa.float16()),
        "price": pa.array([decimal.Decimal(i) / 100 for i in r], pa.decimal128(12, 2)),
        "day": pa.array([datetime.date(2024, 1, 1 + i % 28) for i in r], pa.date32()),
        "clock": pa.array([datetime.time(i % 24, i % 60) for i in r], pa.time64("us")),
        "seen": pa.array([day + datetime.timedelta(minutes=i) for i in r], pa.timestamp("us", "Europe/Berlin")),
        "local": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in r], pa.timestamp("ns")),
        "kind": pa.array([["a", "b", "c"][i % 3] for i in r], pa.string()).dictionary_encode(),
        "text": pa.array([f"text {i % 50}" if i % 9 else None for i in r], pa.large_string()),
        "raw": pa.array([bytes([i % 256]) * (i % 5) for i in r], pa.binary()),
        "fixed": pa.array([uuid.UUID(int=i).bytes for i in r], pa.binary(16)),
        "list": pa.array([[j for j in range(i % 4)] if i % 7 else None for i in r], pa.list_(pa.int32())),
        "struct": pa.array([{"x": i, "y": {"z": str(i % 10)}} if i % 6 else None for i in r],
                           pa.struct([("x", pa.int32()), ("y", pa.struct([("z", pa.string())]))])),
        "map": pa.array([[("k", i)] if i % 4 else [] for i in r], pa.map_(pa.string(), pa.int64())),
    }
    return pa.table(columns)


def main(out):
    os.makedirs(out, exist_ok=True)
    path = lambda name: os.path.join(out, name + ".parquet")
    t = table()
    plain = t.select(["row_id", "euid", "text"])
    group = 150

    pq.write_table(t, path("pyarrow-snappy-index"), compression="snappy", row_group_size=group,
                   write_page_index=True, data_page_size=2048, store_schema=True)
    pq.write_table(t, path("pyarrow-zstd-v2"), compression="zstd", row_group_size=group,
                   data_page_version="2.0", use_dictionary=False)
    pq.write_table(t, path("pyarrow-no-schema"), compression="none", store_schema=False, write_statistics=False)
    for codec in ["gzip", "brotli", "lz4"]:
        pq.write_table(plain, path("pyarrow-" + codec), compression=codec, row_group_size=group)
    for encoding in ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]:
        pq.write_table(plain, path("pyarrow-" + encoding.lower().replace("_", "-")), use_dictionary=False,
                       column_encoding={"euid": encoding}, data_page_size=4096)
    pq.write_table(plain, path("pyarrow-dictionary-checksum"), use_dictionary=True, write_page_checksum=True,
                   data_page_size=1024, compression="zstd")
    pq.write_table(plain, path("pyarrow-bloom"), row_group_size=group, bloom_filter_options={"euid": True})
    pq.write_table(t.slice(0, 0), path("pyarrow-no-rows"))
    w = pq.ParquetWriter(path("pyarrow-empty-group"), plain.schema, write_page_index=True)
    for part in [plain.slice(0, 100), plain.slice(0, 0), plain.slice(100, 50)]:
        w.write_table(part)
    w.close()
    required = pa.schema([pa.field("euid", pa.string(), nullable=False)])
    ids = [euid(i) or "" for i in range(ROWS)]
    pq.write_table(pa.table({"euid": ids}, schema=required), path("pyarrow-required"))
    pq.write_table(pa.table({"euid": pa.array([None] * 50, pa.string())}), path("pyarrow-all-null"))
    pq.write_table(pa.table({"euid": pa.array([euid(i) for i in range(ROWS)], pa.binary())}), path("pyarrow-binary"))
    view = pa.table({"euid": pa.array([euid(i) for i in range(ROWS)], pa.string()).cast(pa.string_view())})
    pq.write_table(view, path("pyarrow-string-view"))
    # The shapes of metadata that Spark and parquet-avro leave.
    spark = ('{"type":"struct","fields":[{"name":"row_id","type":"long","nullable":true,"metadata":{}},'
             '{"name":"euid","type":"string","nullable":true,"metadata":{}},'
             '{"name":"text","type":"string","nullable":true,"metadata":{}}]}')
    avro = ('{"type":"record","name":"spark_schema","fields":[{"name":"row_id","type":["null","long"]},'
            '{"name":"euid","type":["null","string"]},{"name":"text","type":["null","string"]}]}')
    with pq.ParquetWriter(path("pyarrow-spark-avro"), plain.schema, store_schema=False) as w:
        w.write_table(plain)
        w.add_key_value_metadata({"org.apache.spark.sql.parquet.row.metadata": spark,
                                  "parquet.avro.schema": avro, "other": "kept"})

    con = duckdb.connect()
    con.register("t", t.drop_columns(["half"]))
    con.register("plain", plain)
    con.execute(f"COPY t TO '{path('duckdb-v1')}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 2048)")
    con.execute(f"COPY t TO '{path('duckdb-v2')}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION snappy)")
    con.execute(f"COPY (SELECT row_id, euid, md5(row_id::VARCHAR)::UUID AS id, INTERVAL 1 DAY AS span FROM plain)"
                f" TO '{path('duckdb-types')}' (FORMAT parquet, COMPRESSION lz4_raw)")
    con.execute(f"COPY (SELECT * FROM plain LIMIT 0) TO '{path('duckdb-no-rows')}' (FORMAT parquet)")

    frame = pl.from_arrow(t.drop_columns(["map", "half", "fixed"]))
    frame.write_parquet(path("polars-zstd"), compression="zstd", row_group_size=group, statistics="full")
    pl.from_arrow(plain).write_parquet(path("polars-lz4"), compression="lz4", data_page_size=2048)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixtures")
