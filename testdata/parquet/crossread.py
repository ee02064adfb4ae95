"""Reads files that optsweep has flagged with pyarrow, DuckDB and Polars and
compares them with the originals: the same schema and values in every old
column, and the right times in the new one (the rule of generate.py).

    python crossread.py fixtures flagged

It prints one line per file and exits non-zero if anything differs.
"""

import datetime
import os
import sys

os.environ["POLARS_IMPORT_INTERVAL_AS_STRUCT"] = "1"

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

COLUMN = "opted_out_since"
START_MS = 1_700_000_000_000


def expected(cell):
    if cell is None:
        return None
    text = cell if isinstance(cell, str) else cell.decode()
    if len(text) != 44 or text[0] not in "ABCD":
        return None
    return START_MS + ord(text[1])


def check(name, ok):
    if not ok:
        raise AssertionError(name)


def with_pyarrow(before, after):
    old, new = pq.read_table(before), pq.read_table(after)
    check("pyarrow schema", new.schema.remove(new.schema.get_field_index(COLUMN)).equals(old.schema, check_metadata=False))
    check("pyarrow type", new.schema.field(COLUMN).type == pa.timestamp("ms", "UTC"))
    check("pyarrow values", new.drop_columns([COLUMN]).equals(old))
    want = [expected(c) for c in old["euid"].to_pylist()]
    check("pyarrow flags", new[COLUMN].cast(pa.int64()).to_pylist() == want)
    # Through the statistics of row groups and pages: nothing must get lost.
    lower = START_MS + ord("a")
    found = pq.read_table(after, columns=[COLUMN], filters=[(COLUMN, ">=", pa.scalar(lower, pa.timestamp("ms", "UTC")))])
    check("pyarrow filter", found.num_rows == sum(w is not None and w >= lower for w in want))
    flagged = pq.ParquetFile(after)
    check("pyarrow row groups", flagged.num_row_groups == pq.ParquetFile(before).num_row_groups)
    for g in range(flagged.num_row_groups):
        m = flagged.metadata.row_group(g)
        last = m.column(m.num_columns - 1)
        check("pyarrow statistics", last.statistics is not None)
    return sum(w is not None for w in want)


def with_duckdb(before, after):
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    rows = lambda sql: con.execute(sql).fetchall()
    # As text: Python has no value for every type.
    old = rows(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{before}')")
    new = rows(f"SELECT COLUMNS(* EXCLUDE ({COLUMN}))::VARCHAR FROM read_parquet('{after}')")
    check("duckdb values", old == new)
    types = lambda p: rows(f"SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet('{p}'))")
    check("duckdb types", types(after) == types(before) + [(COLUMN, "TIMESTAMP WITH TIME ZONE")])
    cells = [c for (c,) in rows(f"SELECT euid FROM read_parquet('{before}')")]
    flags = [f for (f,) in rows(f"SELECT epoch_ms({COLUMN}) FROM read_parquet('{after}')")]
    check("duckdb flags", flags == [expected(c) for c in cells])
    lower = START_MS + ord("a")
    found = rows(f"SELECT count(*) FROM read_parquet('{after}') WHERE {COLUMN} >= make_timestamptz({lower * 1000})")[0][0]
    check("duckdb filter", found == sum(f is not None and f >= lower for f in flags))


def with_polars(before, after):
    old, new = pl.read_parquet(before), pl.read_parquet(after)
    check("polars type", new.schema[COLUMN] == pl.Datetime("ms", "UTC"))
    check("polars values", new.drop(COLUMN).equals(old, null_equal=True))
    want = [expected(c) for c in old["euid"].to_list()]
    check("polars flags", new[COLUMN].dt.epoch("ms").to_list() == want)
    lower = datetime.datetime.fromtimestamp((START_MS + ord("a")) / 1000, datetime.timezone.utc)
    found = pl.scan_parquet(after).filter(pl.col(COLUMN) >= lower).select(pl.len()).collect().item()
    check("polars filter", found == sum(w is not None and w >= START_MS + ord("a") for w in want))


def main(originals, flagged):
    failed = 0
    names = sorted(os.listdir(originals))
    for name in names:
        before, after = os.path.join(originals, name), os.path.join(flagged, name)
        result = []
        for reader in [with_pyarrow, with_duckdb, with_polars]:
            kind = reader.__name__.removeprefix("with_")
            try:
                # What a reader cannot read before, it need not read after.
                reader_can = {"pyarrow": pq.read_table, "polars": pl.read_parquet,
                              "duckdb": lambda p: duckdb.sql(f"SELECT COLUMNS(*)::VARCHAR FROM '{p}'").fetchall()}[kind]
                reader_can(before)
            except BaseException as e:  # noqa: BLE001  (a panic in Rust is no Exception)
                result.append(f"{kind} cannot read the original ({type(e).__name__})")
                continue
            try:
                n = reader(before, after)
                result.append(f"{kind} ok" + ("" if n is None else f" ({n} flags)"))
            except BaseException as e:  # noqa: BLE001
                failed += 1
                result.append(f"{kind} FAILED: {type(e).__name__} {e}")
        print(f"{name}: " + ", ".join(result))
    print(f"{len(names)} files, {failed} failures")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
