"""Compares a flagged file with its original, with readers that share no code
with optsweep: pyarrow, DuckDB and Polars.

Each function gets the paths of both files and of the log, a function from a cell
to the flag it must have. It raises Differs if anything is not as it must be, and
Unreadable if it cannot read the original. It returns how many checks it did.
"""

import datetime
import io
import os
import re

os.environ["POLARS_IMPORT_INTERVAL_AS_STRUCT"] = "1"
os.environ["RUST_BACKTRACE"] = "0"

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMN = "opted_out_since"
FLAG = pa.timestamp("ms", "UTC")


class Differs(Exception):
    pass


class Unreadable(Exception):
    pass


class Checks:
    def __init__(self):
        self.done = 0

    def __call__(self, name, ok):
        if not ok:
            raise Differs(name)
        self.done += 1


digits = re.compile(r"[0-9]+")


def original(read, *args):
    try:
        return read(*args)
    except BaseException as e:  # noqa: BLE001  (a panic in Rust is no Exception)
        if isinstance(e, (KeyboardInterrupt, MemoryError)):
            raise
        raise Unreadable(f"{type(e).__name__}: {digits.sub('N', str(e).splitlines()[0])[:70]}") from None


def middle(flags):
    """A flag to filter by."""
    some = sorted(f for f in flags if f is not None)
    return some[len(some) // 2] if some else 1_700_000_000_000


# Bytes and metadata, as pyarrow parses the footers.

def with_bytes(before, after, expected):
    check = Checks()
    with open(before, "rb") as f:
        old = f.read()
    with open(after, "rb") as f:
        new = f.read()
    check("the old file is the beginning of the new one", new.startswith(old))
    a, b = original(pq.read_metadata, before), pq.read_metadata(after)
    check("rows and row groups", (a.num_rows, a.num_row_groups, a.num_columns + 1) == (b.num_rows, b.num_row_groups, b.num_columns))
    check("creator and version", (a.created_by, a.format_version) == (b.created_by, b.format_version))
    keys = lambda m: {k: v for k, v in (m.metadata or {}).items() if k not in
                      (b"ARROW:schema", b"org.apache.spark.sql.parquet.row.metadata", b"parquet.avro.schema")}
    check("application metadata", keys(a) == keys(b))
    check("schema", [str(a.schema.column(i)) for i in range(a.num_columns)] == [str(b.schema.column(i)) for i in range(a.num_columns)])
    for g in range(a.num_row_groups):
        one, two = a.row_group(g), b.row_group(g)
        check("rows of a row group", one.num_rows == two.num_rows)
        check("order of a row group", [repr(s) for s in one.sorting_columns or []] == [repr(s) for s in two.sorting_columns or []])
        for c in range(a.num_columns):
            x, y = one.column(c), two.column(c)
            check("chunk metadata", chunk_facts(x) == chunk_facts(y))
            start = x.dictionary_page_offset if x.has_dictionary_page and x.dictionary_page_offset else x.data_page_offset
            check("chunk bytes", old[start:start + x.total_compressed_size] == new[start:start + x.total_compressed_size])
            check("page indexes", (x.has_offset_index, x.has_column_index) == (y.has_offset_index, y.has_column_index))
    return check.done


def chunk_facts(c):
    s = c.statistics if c.is_stats_set else None
    return (c.file_offset, c.path_in_schema, c.physical_type, c.num_values, c.compression, c.encodings, c.data_page_offset,
            c.dictionary_page_offset, c.total_compressed_size, c.total_uncompressed_size, repr(s.to_dict()) if s else None)


# pyarrow

def same_arrow(a, b):
    if a.equals(b):
        return True
    # NaN differs from NaN.
    def encoded(column):
        out = io.BytesIO()
        table = pa.table({"x": column}).combine_chunks()
        with pa.ipc.new_stream(out, table.schema) as w:
            w.write_table(table)
        return out.getvalue()
    return encoded(a) == encoded(b)


def with_pyarrow(before, after, expected):
    check = Checks()
    old = original(pq.read_table, before)
    new = pq.read_table(after)
    at = new.schema.get_field_index(COLUMN)
    check("the column is the last one", at == new.num_columns - 1)
    # Metadata of the file is compared in with_bytes, that of fields here.
    check("schema", new.schema.remove(at).remove_metadata().equals(old.schema.remove_metadata(), check_metadata=True))
    check("type", new.schema.field(COLUMN).type == FLAG and new.schema.field(COLUMN).nullable)
    for i, name in enumerate(old.column_names):
        check(f"column {i} ({old.schema.field(i).type})", new.column_names[i] == name and same_arrow(new.column(i), old.column(i)))
    want = [expected(c) for c in old["euid"].to_pylist()]
    check("flags", new[COLUMN].cast(pa.int64()).to_pylist() == want)
    # pyarrow 26 cannot filter a file that has views.
    if not any("view" in str(t) for t in old.schema.types):
        filter_pyarrow(check, after, old, want)
    m = pq.read_metadata(after)
    row = 0
    for g in range(m.num_row_groups):
        part = want[row:row + m.row_group(g).num_rows]
        row += len(part)
        s = m.row_group(g).column(m.num_columns - 1).statistics
        some = [w for w in part if w is not None]
        check("null count", not part or s.null_count == len(part) - len(some))
        # xitongsys gives no order of columns; without it pyarrow believes no bounds.
        believed = s is not None and s.has_min_max
        check("statistics", not some or believed and (s.min_raw, s.max_raw) == (min(some), max(some)) or os.path.basename(before).startswith("xitongsys-"))
    return check.done


def filter_pyarrow(check, after, old, want):
    moment = middle(want)
    read = lambda f: pq.read_table(after, columns=[COLUMN], filters=f)
    column = pc.field(COLUMN)
    check("filter by the flag", read(column >= pa.scalar(moment, FLAG)).num_rows == sum(w is not None and w >= moment for w in want))
    check("filter by one flag", read(column == pa.scalar(moment, FLAG)).num_rows == want.count(moment))
    check("filter by no flag", read(column.is_null()).num_rows == want.count(None))
    if "row_id" in old.column_names:
        low, high = len(want) // 3, 2 * len(want) // 3 + 1
        got = read((pc.field("row_id") >= low) & (pc.field("row_id") < high))
        rows = old["row_id"].to_pylist()
        check("filter by an old column", got[COLUMN].cast(pa.int64()).to_pylist() == [w for r, w in zip(rows, want) if low <= r < high])


# DuckDB

def with_duckdb(before, after, expected):
    check = Checks()
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    rows = lambda sql: con.execute(sql).fetchall()
    # As text: Python has no value for every type.
    types = original(rows, f"SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet('{before}'))")
    original(rows, f"SELECT count(o::VARCHAR) FROM (FROM read_parquet('{before}')) o")
    cells = [c for (c,) in original(rows, f"SELECT euid FROM read_parquet('{before}')")]
    check("types", rows(f"SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet('{after}'))") == types + [(COLUMN, "TIMESTAMP WITH TIME ZONE")])
    n, differ = rows(f"""SELECT count(*), count(*) FILTER (o::VARCHAR IS DISTINCT FROM n::VARCHAR) FROM (SELECT o FROM read_parquet('{before}') o)
        POSITIONAL JOIN (SELECT n FROM (SELECT * EXCLUDE ({COLUMN}) FROM read_parquet('{after}')) n)""")[0]
    check("values", n == len(cells) and differ == 0)
    want = [expected(c) for c in cells]
    check("flags", [f for (f,) in rows(f"SELECT epoch_ms({COLUMN}) FROM read_parquet('{after}')")] == want)
    moment = middle(want)
    counted = lambda where: rows(f"SELECT count(*) FROM read_parquet('{after}') WHERE {where}")[0][0]
    check("filter by the flag", counted(f"{COLUMN} >= make_timestamptz({moment * 1000})") == sum(w is not None and w >= moment for w in want))
    check("filter by one flag", counted(f"{COLUMN} = make_timestamptz({moment * 1000})") == want.count(moment))
    check("filter by no flag", counted(f"{COLUMN} IS NULL") == want.count(None))
    wanted = next((c for c, w in zip(cells, want) if w is not None), None)
    if isinstance(wanted, str):  # through the bloom filter and the statistics of the ids
        got = rows(f"SELECT count(*), count(DISTINCT {COLUMN}), any_value(epoch_ms({COLUMN})) FROM read_parquet('{after}') WHERE euid = '{wanted}'")
        check("filter by an id", got == [(cells.count(wanted), 1, expected(wanted))])
    if ("row_id", "BIGINT") in types:
        got = rows(f"SELECT epoch_ms({COLUMN}) FROM read_parquet('{after}') WHERE row_id = {len(want) // 2} ORDER BY 1")
        ids = [r for (r,) in rows(f"SELECT row_id FROM read_parquet('{before}')")]
        check("filter by an old column", sorted(got, key=str) == sorted([(w,) for r, w in zip(ids, want) if r == len(want) // 2], key=str))
    return check.done


# Polars

def with_polars(before, after, expected):
    check = Checks()
    old = original(pl.read_parquet, before)
    original(lambda: old.equals(pl.read_parquet(before)))  # it cannot compare values of every type
    new = pl.read_parquet(after)
    check("type", new.schema[COLUMN] == pl.Datetime("ms", "UTC") and new.columns[-1] == COLUMN)
    check("schema", new.drop(COLUMN).schema == old.schema)
    check("values", new.drop(COLUMN).equals(old, null_equal=True))
    want = [expected(c) for c in old["euid"].to_list()]
    check("flags", new[COLUMN].dt.epoch("ms").to_list() == want)
    moment = middle(want)
    when = pl.lit(datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=moment), pl.Datetime("ms", "UTC"))
    lazy = lambda where: pl.scan_parquet(after).filter(where).select(COLUMN).collect()[COLUMN].dt.epoch("ms").to_list()
    check("filter by the flag", lazy(pl.col(COLUMN) >= when) == [w for w in want if w is not None and w >= moment])
    check("filter by one flag", lazy(pl.col(COLUMN) == when) == [w for w in want if w == moment])
    check("filter by no flag", lazy(pl.col(COLUMN).is_null()) == [None] * want.count(None))
    if "row_id" in old.columns:
        n = len(want)
        ids = old["row_id"].to_list()
        check("filter by an old column", lazy(pl.col("row_id").is_between(n // 3, n // 2)) == [w for r, w in zip(ids, want) if n // 3 <= r <= n // 2])
    return check.done


READERS = {"bytes": with_bytes, "pyarrow": with_pyarrow, "duckdb": with_duckdb, "polars": with_polars}
