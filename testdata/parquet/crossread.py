"""Reads files that optsweep has flagged with pyarrow, DuckDB and Polars and
compares them with the originals: the same schema and values in every old
column, and the right times in the new one (the rule of generate.py).
Then the same for files that rows were taken out of (removed-NAME), what was
taken out (quarantine-NAME), and suppression lists (list-NAME), with the queries
of schemas/suppression.

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


QUERIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../schemas/suppression")


def query(name, data, listed, binary):
    with open(os.path.join(QUERIES, name)) as f:
        sql = f.read()
    if binary:  # as the query says
        sql = sql.replace('s.id = d."${ID_COLUMN}"', 's.id = decode(d."${ID_COLUMN}")')
    return sql.replace("${DATA}", data).replace("${LIST}", listed).replace("${ID_COLUMN}", "euid")


def connect():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    return lambda sql: con.execute(sql).fetchall()


def text_of(sql):
    return f"SELECT COLUMNS(*)::VARCHAR FROM ({sql})"


def removed_with_duckdb(before, after, quarantine):
    rows = connect()
    old = rows(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{before}')")
    times = [expected(c) for (c,) in rows(f"SELECT euid FROM read_parquet('{before}')")]
    check("kept rows", rows(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{after}')") == [r for r, t in zip(old, times) if t is None])
    types = lambda p: rows(f"SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet('{p}'))")
    check("types", types(after) == types(before))
    hits = [(r, t) for r, t in zip(old, times) if t is not None]
    check("quarantine", os.path.exists(quarantine) == bool(hits))
    if hits:
        own = ["optsweep_opted_out_since", "optsweep_run_id"]
        check("quarantined rows", rows(text_of(f"SELECT * EXCLUDE ({', '.join(own)}) FROM read_parquet('{quarantine}')")) == [r for r, _ in hits])
        check("quarantine times", [t for (t,) in rows(f"SELECT epoch_ms({own[0]}) FROM read_parquet('{quarantine}')")] == [t for _, t in hits])
        check("quarantine types", types(quarantine) == types(before) + [(own[0], "TIMESTAMP WITH TIME ZONE"), (own[1], "VARCHAR")])
    return len(hits)


def removed_with_pyarrow(before, after, quarantine):
    old, new = pq.read_table(before), pq.read_table(after)
    keep = [expected(c) is None for c in old["euid"].to_pylist()]
    check("schema", new.schema.equals(old.schema, check_metadata=True))
    try:
        check("kept rows", new.equals(old.filter(pa.array(keep, pa.bool_()))))
    except pa.ArrowNotImplementedError:  # of a string view
        check("kept rows", new.to_pylist() == [r for r, k in zip(old.to_pylist(), keep) if k])
    if os.path.exists(quarantine):
        check("quarantine", pq.read_table(quarantine).num_rows == len(keep) - sum(keep))


def removed_with_polars(before, after, quarantine):
    old, new = pl.read_parquet(before), pl.read_parquet(after)
    keep = [expected(c) is None for c in old["euid"].to_list()]
    check("kept rows", new.equals(old.filter(pl.Series(keep, dtype=pl.Boolean)), null_equal=True))
    if os.path.exists(quarantine):
        check("quarantine", pl.read_parquet(quarantine).height == len(keep) - sum(keep))


def list_with_duckdb(before, listed, _):
    rows = connect()
    old = rows(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{before}')")
    times = [expected(c) for (c,) in rows(f"SELECT euid FROM read_parquet('{before}')")]
    key = lambda row: tuple(v or "" for v in row)
    binary = rows(f"SELECT count(*) FROM (DESCRIBE FROM read_parquet('{before}')) WHERE column_name = 'euid' AND column_type = 'BLOB'") == [(1,)]
    active = rows(text_of(query("duckdb_active.sql", before, listed, binary)))
    check("active rows", sorted(active, key=key) == sorted((r for r, t in zip(old, times) if t is None), key=key))
    gone = query("duckdb_suppressed.sql", before, listed, binary)
    check("suppressed rows", sorted(rows(text_of(f"SELECT * EXCLUDE (opted_out_since) FROM ({gone})")), key=key) ==
          sorted((r for r, t in zip(old, times) if t is not None), key=key))
    found = rows(f"SELECT epoch_ms(opted_out_since) FROM ({gone})")
    check("times", sorted(t for (t,) in found) == sorted(t for t in times if t is not None))
    ids = [i for (i,) in rows(f"SELECT id FROM read_parquet('{listed}')")]
    check("sorted", ids == sorted(set(ids)))


def list_with_pyarrow(before, listed, _):
    t = pq.read_table(listed)
    check("types", [str(f.type) for f in t.schema] == ["string", "string"] + ["timestamp[ms, tz=UTC]"] * 3 + ["string"])


def list_with_polars(before, listed, _):
    old, ids = pl.read_parquet(before), pl.read_parquet(listed)
    want = sum(expected(c) is not None for c in old["euid"].to_list())
    check("flagged", old.select(pl.col("euid").cast(pl.String)).join(ids, left_on="euid", right_on="id", how="semi").height == want)


def other_modes(originals, made):
    """Checks what modes remove and suppression made; returns the failures."""
    failed, done = 0, {"removed-": 0, "list-": 0}
    for name in sorted(os.listdir(originals)):
        before = os.path.join(originals, name)
        for prefix, checks in (
            ("removed-", [removed_with_pyarrow, removed_with_duckdb, removed_with_polars]),
            ("list-", [list_with_pyarrow, list_with_duckdb, list_with_polars]),
        ):
            path = os.path.join(made, prefix + name)
            if not os.path.exists(path):
                continue
            done[prefix] += 1
            result = []
            for one in checks:
                kind = one.__name__.rpartition("_")[2]
                try:
                    {"pyarrow": pq.read_table, "polars": pl.read_parquet,
                     "duckdb": lambda p: duckdb.sql(f"SELECT COLUMNS(*)::VARCHAR FROM '{p}'").fetchall()}[kind](before)
                except BaseException as e:  # noqa: BLE001
                    result.append(f"{kind} cannot read the original ({type(e).__name__})")
                    continue
                try:
                    one(before, path, os.path.join(made, "quarantine-" + name))
                    result.append(f"{kind} ok")
                except BaseException as e:  # noqa: BLE001
                    failed += 1
                    result.append(f"{kind} FAILED: {type(e).__name__} {e}")
            print(f"{prefix}{name}: " + ", ".join(result))
    print(f"{done['removed-']} files with rows taken out, {done['list-']} suppression lists, {failed} failures")
    return failed + (min(done.values()) < 15)


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
    failed += other_modes(originals, flagged)
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
