"""Makes the files of bench.py: python data.py DIR WIDE NARROW, both in rows.

Ids are 33 bytes, of which 32 are a SHA-256 of a number, so that they are the
same every time and do not compress below that. A twentieth of the cells is
NULL; 22 % of the others repeat an id; 3 % of the ids are opted out.
"""
import os
import sys

GROUPS = {"wide": 250_000, "narrow": 500_000}  # rows


def ident(number):
    return f"to_base64(unhex('10' || sha256('optsweep ' || ({number})::VARCHAR)))"


def columns(shape):
    few = ["'seg-' || (hash(i, 1) % 400)::VARCHAR AS segment", "TIMESTAMP '2024-01-01' + INTERVAL (hash(i, 2) % 60000000) SECOND AS seen"]
    if shape == "narrow":
        return few
    for n in range(8):
        few += [
            f"(hash(i, {10 + n}) % 100000)::INTEGER AS count_{n}",
            f"(hash(i, {20 + n}) % 1000000) / 1000.0::DOUBLE AS score_{n}",
        ]
    few += [f"'v' || (hash(i, {30 + n}) % {10 ** (n + 1)})::VARCHAR AS label_{n}" for n in range(5)]
    few += [f"hash(i, {40 + n}) % 7 = 0 AS is_{n}" for n in range(3)]
    few += [
        "md5(i::VARCHAR) AS session", "'https://example.com/p/' || (hash(i, 50) % 50000)::VARCHAR AS url",
        "DATE '2020-01-01' + (hash(i, 51) % 2000)::INTEGER AS born",
        "[hash(i, 52) % 100, hash(i, 53) % 100] AS pair", "{'a': hash(i, 54) % 10, 'b': 'x' || (hash(i, 55) % 10)::VARCHAR} AS extra",
    ]
    return few


def make(db, path, shape, rows, codec):
    ids = max(1, rows * 19 // 10)
    db.execute(f"""
        COPY (SELECT i AS row_id, CASE WHEN hash(i, 98) % 20 <> 0 THEN {ident(f"hash(i, 99) % {ids}")} END AS euid, {", ".join(columns(shape))}
              FROM range({rows}) t(i))
        TO '{path}' (FORMAT parquet, COMPRESSION {codec}, ROW_GROUP_SIZE {GROUPS[shape]})""")


def opt_outs(db, path, rows):
    """As CSV for us and for the opt-out log, and as Parquet for DuckDB."""
    ids = max(1, rows * 19 // 10)
    query = f"SELECT {ident('k')} AS id, ((1577836800 + hash(k, 97) % 150000000) * 1000)::BIGINT AS since FROM range({ids}) t(k) WHERE k % 100 < 3"
    db.execute(f"COPY ({query}) TO '{path}.csv' (HEADER false)")
    db.execute(f"COPY ({query}) TO '{path}.parquet' (FORMAT parquet)")
    db.execute(f"COPY (SELECT id, since // 1000 AS since FROM ({query})) TO '{path}-log.csv' (HEADER true)")


def main(folder, wide, narrow):
    import duckdb  # here, so that those who import this file stay small

    db = duckdb.connect()
    db.execute("SET threads = 2")
    db.execute("SET enable_progress_bar = false")
    for shape, rows in (("wide", int(wide)), ("narrow", int(narrow))):
        opt_outs(db, os.path.join(folder, f"{shape}.opted"), rows)
        for codec in ("zstd", "snappy"):
            make(db, os.path.join(folder, f"{shape}.{codec}.parquet"), shape, rows, codec)


if __name__ == "__main__":
    main(*sys.argv[1:])
