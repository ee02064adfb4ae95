"""Writes files whose ids are nested, in lists, in maps or in raw bytes, by
pyarrow, DuckDB and Polars, and what is in them: shapes.json gives for each file
and id column the ids of every row, as text, null where there is none.

    venv/bin/python shapes.py shapes
"""

import base64
import hashlib
import json
import os
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 60


def raw(i):
    return hashlib.sha256(str(i).encode()).digest()


def text(i):
    return base64.b64encode(raw(i)).decode()


def many(i):
    """The ids of row i: none, one or several, with NULLs among them."""
    if i % 7 == 0:
        return None
    if i % 7 == 1:
        return []
    return [None if (i + j) % 5 == 0 else text(10 * i + j) for j in range(i % 4 + 1)]


def cells(ids):
    """A row without elements counts as one without an id."""
    return ids if ids else [None]


def main(out):
    os.makedirs(out, exist_ok=True)
    path = lambda name: os.path.join(out, name + ".parquet")
    expected = {}
    r = range(ROWS)

    one = [text(i) if i % 6 else None for i in r]
    lists = [many(i) for i in r]
    table = pa.table({
        "row_id": pa.array(list(r), pa.int64()),
        "user": pa.array([None if i % 11 == 0 else {"n": i, "ids": None if i % 13 == 0 else {"euid": one[i]}} for i in r],
                         pa.struct([("n", pa.int32()), ("ids", pa.struct([("euid", pa.string())]))])),
        "ids": pa.array(lists, pa.list_(pa.string())),
        "devices": pa.array([None if ids is None else [{"kind": "phone", "euid": x} for x in ids] for ids in lists],
                            pa.list_(pa.struct([("kind", pa.string()), ("euid", pa.string())]))),
        "tags": pa.array([None if ids is None else [(str(j), x) for j, x in enumerate(ids)] for ids in lists],
                         pa.map_(pa.string(), pa.string())),
        "deep": pa.array([None if ids is None else [ids, [], None] for ids in lists], pa.list_(pa.list_(pa.string()))),
        "text": pa.array([f"text {i}" for i in r], pa.string()),
    })
    nested = {
        "user.ids.euid": [[None if i % 11 == 0 or i % 13 == 0 else one[i]] for i in r],
        "ids[]": [cells(ids) for ids in lists],
        "devices[].euid": [cells(ids) for ids in lists],
        "tags[].value": [cells(ids) for ids in lists],
        "deep[][]": [[None] if ids is None else cells(ids) + [None, None] for ids in lists],
    }
    for name, options in {
        "pyarrow-v1": dict(data_page_size=256, row_group_size=25, compression="snappy"),
        "pyarrow-v2": dict(data_page_version="2.0", data_page_size=256, compression="zstd", use_dictionary=False),
        "pyarrow-two-levels": dict(use_compliant_nested_type=False, write_page_index=True, compression="none"),
    }.items():
        pq.write_table(table, path(name), **options)
        expected[name] = nested
    for encoding in ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]:
        name = "pyarrow-" + encoding.lower().replace("_", "-")
        pq.write_table(table.select(["ids"]), path(name), use_dictionary=False, data_page_size=256, column_encoding={"ids.list.element": encoding})
        expected[name] = {"ids[]": nested["ids[]"]}

    con = duckdb.connect()
    con.register("t", table)
    con.execute(f"COPY t TO '{path('duckdb')}' (FORMAT parquet, COMPRESSION zstd)")
    expected["duckdb"] = nested
    pl.from_arrow(table.drop_columns(["tags"])).write_parquet(path("polars"), compression="zstd", data_page_size=256)
    expected["polars"] = {k: v for k, v in nested.items() if not k.startswith("tags")}

    short = [raw(i) if i % 6 else None for i in r]
    long = [bytes([i % 16]) + raw(i) if i % 6 else None for i in r]
    as_text = lambda values: [[None if v is None else base64.b64encode(v).decode()] for v in values]
    bytes_of_all = lambda: pa.table({
        "fixed32": pa.array(short, pa.binary(32)),
        "fixed33": pa.array(long, pa.binary(33)),
        "required": pa.array([raw(i) for i in r], pa.binary(32)),
        "fixed44": pa.array([None if v is None else base64.b64encode(v) for v in short], pa.binary(44)),
        "list": pa.array([None if i % 7 == 0 else [raw(i), None, raw(i + 1)] for i in r], pa.list_(pa.binary(32))),
        "bytes": pa.array([v if i % 2 else w for i, (v, w) in enumerate(zip(short, long))], pa.binary()),
    }, schema=pa.schema([
        pa.field("fixed32", pa.binary(32)), pa.field("fixed33", pa.binary(33)), pa.field("required", pa.binary(32), nullable=False),
        pa.field("fixed44", pa.binary(44)), pa.field("list", pa.list_(pa.binary(32))), pa.field("bytes", pa.binary())]))
    binary = {
        "fixed32": as_text(short), "fixed33": as_text(long), "required": as_text([raw(i) for i in r]), "fixed44": as_text(short),
        "list[]": [[None] if i % 7 == 0 else [text(i), None, text(i + 1)] for i in r],
        "bytes": as_text([v if i % 2 else w for i, (v, w) in enumerate(zip(short, long))]),
    }
    fixed = ["fixed32", "fixed33", "required", "fixed44", "list.list.element"]
    for name, options in {
        "binary-plain": dict(use_dictionary=False, compression="none"),
        "binary-dictionary": dict(use_dictionary=True, data_page_version="2.0", data_page_size=128),
        "binary-delta": dict(use_dictionary=False, data_page_size=128, column_encoding=dict.fromkeys(fixed + ["bytes"], "DELTA_BYTE_ARRAY")),
        "binary-split": dict(use_dictionary=False, data_page_size=128, column_encoding=dict.fromkeys(fixed, "BYTE_STREAM_SPLIT")),
    }.items():
        pq.write_table(bytes_of_all(), path(name), **options)
        expected[name] = binary
    with open(os.path.join(out, "shapes.json"), "w") as f:
        json.dump(expected, f, indent=None, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "shapes")
