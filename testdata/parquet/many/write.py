"""Writes Parquet files of random shapes with pyarrow, DuckDB, Polars and pandas.

Every file has an id column "euid" and a column "row_id" that counts the rows; all
else is drawn. The same seed gives the same shapes.
"""

import datetime
import decimal
import json
import math
import os
import random
import uuid

os.environ["POLARS_IMPORT_INTERVAL_AS_STRUCT"] = "1"

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)


# Types with a function that draws a value.

def text(rng):
    return "".join(rng.choices("abcdefgh \u00e4\u4e2d\U0001f600", k=rng.choice([0, 1, 5, 20])))


def whole(bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return lambda rng: rng.choice([low, high, 0, rng.randint(low, high), rng.randint(0, 9)])


def real(rng):
    return rng.choice([0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, rng.uniform(-1000, 1000)])


def exact(precision, scale):
    return lambda rng: decimal.Decimal(rng.randint(-10**precision + 1, 10**precision - 1)).scaleb(-scale, decimal.Context(prec=80))


def count(rng):
    return rng.randint(-10**9, 10**9)


def scalars():
    yield from [(pa.bool_(), lambda r: r.random() < 0.5), (pa.null(), lambda r: None)]
    for bits, signed, unsigned in [(8, pa.int8(), pa.uint8()), (16, pa.int16(), pa.uint16()),
                                   (32, pa.int32(), pa.uint32()), (64, pa.int64(), pa.uint64())]:
        yield signed, whole(bits, True)
        yield unsigned, whole(bits, False)
    yield from [(pa.float32(), real), (pa.float64(), real), (pa.float16(), lambda r: r.randint(0, 256) / 4)]
    for precision, scale in [(5, 2), (9, 0), (12, 2), (18, 6), (38, 10)]:
        yield pa.decimal128(precision, scale), exact(precision, scale)
    yield pa.decimal256(60, 20), exact(60, 20)
    yield pa.date32(), lambda r: datetime.date(1900 + r.randrange(200), 1 + r.randrange(12), 1 + r.randrange(28))
    yield pa.date64(), lambda r: datetime.date(2000 + r.randrange(50), 2, 3)
    yield pa.time32("s"), lambda r: datetime.time(r.randrange(24), r.randrange(60), r.randrange(60))
    yield pa.time32("ms"), lambda r: datetime.time(r.randrange(24), 1, 2, 1000 * r.randrange(1000))
    yield pa.time64("us"), lambda r: datetime.time(r.randrange(24), 1, 2, r.randrange(1000000))
    yield pa.time64("ns"), lambda r: datetime.time(r.randrange(24), 1, 2, r.randrange(1000000))
    for unit in ["s", "ms", "us", "ns"]:
        yield pa.duration(unit), count
        for zone in [None, "UTC", "Europe/Berlin", "America/New_York"]:
            yield pa.timestamp(unit, zone), count
    yield from [(pa.string(), text), (pa.large_string(), text), (pa.string_view(), text)]
    raw = lambda r: r.randbytes(r.choice([0, 1, 7, 40]))
    yield from [(pa.binary(), raw), (pa.large_binary(), raw), (pa.binary_view(), raw)]
    yield pa.binary(16), lambda r: r.randbytes(16)
    yield pa.binary(3), lambda r: r.randbytes(3)
    yield pa.uuid(), lambda r: r.randbytes(16)
    yield pa.json_(), lambda r: json.dumps({"a": r.randrange(9), "b": [1, None]})
    yield pa.dictionary(pa.int32(), pa.string()), lambda r: r.choice(["red", "green", "blue", ""])
    yield pa.dictionary(pa.int8(), pa.large_string()), lambda r: r.choice(["x", "y"])


SCALARS = list(scalars())


def maybe(rng, draw, share):
    return lambda: None if rng.random() < share else draw(rng)


def draw_type(rng, depth):
    """A type and a function that draws values of it."""
    kind = rng.randrange(10) if depth > 0 else 0
    if kind < 4:
        return rng.choice(SCALARS)
    if kind < 6:
        names = rng.sample(["a", "b", "C c", "d.e", "\u00fc"], rng.randint(1, 3))
        parts = [(n, *draw_type(rng, depth - 1)) for n in names]
        share = rng.choice([0, 0.3])
        return (pa.struct([pa.field(n, t) for n, t, _ in parts]),
                lambda r: {n: None if r.random() < share or t == pa.null() else d(r) for n, t, d in parts})
    inner, draw = draw_type(rng, depth - 1)
    if kind == 6:
        return pa.map_(pa.string(), inner), lambda r: [(f"k{i}", draw(r)) for i in range(r.randrange(4))]
    if kind == 7 and not pa.types.is_nested(inner):
        return pa.list_(inner, 2), lambda r: [draw(r), draw(r)]
    made = pa.large_list(inner) if kind == 8 else pa.list_(inner)
    return made, lambda r: [draw(r) for _ in range(r.choice([0, 1, 3]))]


def array(rng, typ, draw, rows):
    share = rng.choice([0, 0, 0.2, 0.9, 1])
    cell = maybe(rng, draw, share)
    values = [cell() for _ in range(rows)]
    if pa.types.is_dictionary(typ):
        return pa.array(values, typ.value_type).dictionary_encode().cast(typ)
    if pa.types.is_float16(typ):
        return pa.array(values, pa.float32()).cast(typ)
    if isinstance(typ, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(typ, pa.array(values, typ.storage_type))
    if pa.types.is_date64(typ):
        return pa.array(values, pa.date32()).cast(typ)
    return pa.array(values, typ)


ID_TYPES = [pa.string()] * 4 + [pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]


def id_array(rng, ids, rows, typ, null=0.1):
    pool = random.Random(rng.random())
    few = pool.sample(ids.all, rng.choice([3, 40, 400]))
    cells = []
    for _ in range(rows):
        cell = ids.cell(rng, null)
        cells.append(rng.choice(few) if cell in ids.first and rng.random() < 0.5 else cell)
    if pa.types.is_binary(typ):
        return pa.array([c if c is None else c.encode() for c in cells], typ)
    if pa.types.is_dictionary(typ):
        return pa.array(cells, pa.string()).dictionary_encode().cast(typ)
    return pa.array(cells, typ)


def draw_table(rng, ids, rows, width, depth=3):
    columns = [("row_id", pa.array(range(rows), pa.int64()), False)]
    for i in range(width):
        while True:
            typ, draw = draw_type(rng, depth)
            try:
                columns.append((rng.choice(["c", "C ", "\u00e9.", "x/"]) + str(i), array(rng, typ, draw, rows), True))
                break
            except pa.ArrowException:
                pass  # pyarrow cannot make such an array from Python values
    nullable = rng.random() < 0.8
    ids_column = ("euid", id_array(rng, ids, rows, rng.choice(ID_TYPES), 0.1 if nullable else 0), nullable)
    columns.insert(rng.randint(0, len(columns)), ids_column)
    schema = pa.schema([pa.field(n, a.type, nullable=k) for n, a, k in columns])
    if rng.random() < 0.3:
        schema = schema.with_metadata({"owner": "somebody", "empty": "", "\u00fc": "x" * rng.choice([1, 5000])})
    return pa.table([a for _, a, _ in columns], schema=schema)


ENCODINGS = {
    "integer": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
    "real": ["PLAIN", "BYTE_STREAM_SPLIT"],
    "text": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
    "fixed": ["PLAIN", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT"],
    "bool": ["PLAIN", "RLE"],
}


def family(typ):
    t = pa.types
    if t.is_string(typ) or t.is_large_string(typ) or t.is_binary(typ) or t.is_large_binary(typ):
        return "text"
    if typ in (pa.int32(), pa.int64(), pa.uint32(), pa.uint64()) or t.is_timestamp(typ) or t.is_date32(typ):
        return "integer"
    if typ in (pa.float32(), pa.float64()):
        return "real"
    if t.is_fixed_size_binary(typ) and not t.is_decimal(typ):
        return "fixed"
    if t.is_boolean(typ):
        return "bool"
    return None


def draw_options(rng, table):
    o = {
        "compression": rng.choice(CODECS),
        "version": rng.choice(["1.0", "2.4", "2.6", "2.6"]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "data_page_size": rng.choice([64, 1024, 1 << 20]),
        "write_batch_size": rng.choice([8, 1024]),
        "use_dictionary": rng.choice([True, False]),
        "dictionary_pagesize_limit": rng.choice([64, 1 << 20]),
        "write_statistics": rng.random() < 0.8,
        "write_page_index": rng.random() < 0.5,
        "write_page_checksum": rng.random() < 0.4,
        "store_schema": rng.random() < 0.7,
        "store_decimal_as_integer": rng.random() < 0.5,
        "use_compliant_nested_type": rng.random() < 0.8,
    }
    if rng.random() < 0.15:
        o["use_deprecated_int96_timestamps"] = True
    if rng.random() < 0.2:
        o["max_rows_per_page"] = rng.choice([1, 10, 100])
    if rng.random() < 0.3:
        o["sorting_columns"] = [pq.SortingColumn(table.schema.get_field_index("row_id"))]
    if rng.random() < 0.3:
        o["bloom_filter_options"] = {"row_id": {"ndv": 500, "fpp": 0.01}}
        if pa.types.is_string(table.schema.field("euid").type):
            o["bloom_filter_options"]["euid"] = True
    if rng.random() < 0.4:
        o["use_dictionary"] = False
        o["column_encoding"] = {f.name: rng.choice(ENCODINGS[family(f.type)]) for f in table.schema
                                if family(f.type) and "." not in f.name}
    return o


def with_pyarrow(rng, ids, path):
    rows = rng.choice([0, 1, 7, 120, 360, 1000])
    table = draw_table(rng, ids, rows, rng.randint(0, 9))
    options = draw_options(rng, table)
    size = rng.choice([max(rows, 1), 100, 37])
    try:
        with pq.ParquetWriter(path, table.schema, **options) as w:
            if rng.random() < 0.2:
                w.write_table(table.slice(0, 0))
            w.write_table(table, row_group_size=size)
            if rng.random() < 0.2:
                w.write_table(table.slice(0, 0))
    except (pa.ArrowException, OSError):
        os.remove(path)  # such a type, encoding or version pyarrow does not write
        return False
    return True


DUCK = {
    "BOOLEAN": "i % 3 = 0", "TINYINT": "(i % 100)::TINYINT", "USMALLINT": "(i % 1000)::USMALLINT", "BIGINT": "i * 7 - 1000",
    "UBIGINT": "(i * 7)::UBIGINT", "HUGEINT": "i::HUGEINT * 10000000000", "FLOAT": "(i / 7)::FLOAT", "DOUBLE": "i / 3.0",
    "DEC": "(i / 100)::DECIMAL(9, 2)", "DEC38": "(i / 100)::DECIMAL(38, 4)", "UUID": "md5(i::VARCHAR)::UUID",
    "TEXT": "'text ' || (i % 50)", "CONSTANT": "'always the same'", "BLOB": "('x' || i)::BLOB", "DATE": "DATE '2024-01-01' + (i % 100)::INTEGER",
    "TIME": "TIME '01:02:03' + to_minutes(i % 600)", "TS": "TIMESTAMP '2024-01-01' + to_minutes(i)", "TSTZ": "TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_minutes(i)",
    "TS_S": "(TIMESTAMP '2024-01-01' + to_minutes(i))::TIMESTAMP_S", "TS_MS": "(TIMESTAMP '2024-01-01' + to_minutes(i))::TIMESTAMP_MS",
    "TS_NS": "(TIMESTAMP '2024-01-01' + to_minutes(i))::TIMESTAMP_NS", "INTERVAL": "to_days((i % 30)::INTEGER)",
    "ENUM": "(['a', 'b'])[1 + i % 2]::ENUM('a', 'b')", "JSON": "('{\"a\": ' || i || '}')::JSON", "LIST": "range(i % 4)",
    "STRUCT": "{'x': i, 'y': {'z': i::VARCHAR}}", "MAP": "map(['k'], [i])", "DEEP": "[{'a': [i, NULL], 'b': NULL}, {'a': [], 'b': 'x'}]",
    "ARRAY": "[i, i + 1]::BIGINT[2]", "BIT": "(i % 8)::INTEGER::BIT", "VARIANT": "{'a': i, 'b': [i]}::VARIANT", "TIMETZ": "'01:02:03+02'::TIMETZ",
}


def with_duckdb(rng, ids, path):
    rows = rng.choice([0, 1, 100, 3000, 5000])
    con = duckdb.connect()
    con.register("ids", pa.table({"i": pa.array(range(rows), pa.int64()), "euid": id_array(rng, ids, rows, pa.string())}))
    names = rng.sample(sorted(DUCK), rng.randint(0, 8))
    columns = [f'{DUCK[n] if rng.random() < 0.7 else f"CASE WHEN i % 3 > 0 THEN {DUCK[n]} END"} AS "{n.lower()}"' for n in names]
    columns.insert(0, "i AS row_id")
    columns.insert(rng.randint(0, len(columns)), rng.choice(["euid", "euid", "euid::BLOB AS euid", "euid AS euid"]))
    options = ["FORMAT parquet", f"COMPRESSION {rng.choice(['uncompressed', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4_raw'])}",
               f"PARQUET_VERSION {rng.choice(['V1', 'V2'])}", f"ROW_GROUP_SIZE {rng.choice([2048, 122880])}"]
    if rng.random() < 0.3:
        options.append("KV_METADATA {owner: 'somebody', note: 'kept'}")
    if rng.random() < 0.3:
        options.append(f"DICTIONARY_SIZE_LIMIT {rng.choice([1, 100, 100000])}")
    if rng.random() < 0.3:
        options.append("WRITE_BLOOM_FILTER false")
    try:
        con.execute(f"COPY (SELECT {', '.join(columns)} FROM ids ORDER BY i) TO '{path}' ({', '.join(options)})")
    except duckdb.Error:
        if os.path.exists(path):
            os.remove(path)
        return False
    return True


def with_polars(rng, ids, path):
    rows = rng.choice([0, 1, 120, 1000, 4000])
    r = range(rows)
    columns = {
        "cat": pl.Series([["a", "b", "c"][i % 3] for i in r], dtype=pl.Categorical), "enum": pl.Series(["x"] * rows, dtype=pl.Enum(["x", "y"])),
        "list": pl.Series([[j for j in range(i % 3)] for i in r], dtype=pl.List(pl.Int16)), "arr": pl.Series([[i, None] for i in r], dtype=pl.Array(pl.Int64, 2)),
        "struct": pl.Series([{"a": i, "b": [str(i)]} if i % 5 else None for i in r], dtype=pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)})),
        "dec": pl.Series([decimal.Decimal(i) / 8 for i in r], dtype=pl.Decimal(20, 3)), "span": pl.Series([datetime.timedelta(seconds=i) for i in r], dtype=pl.Duration("us")),
        "time": pl.Series([datetime.time(i % 24) for i in r], dtype=pl.Time), "date": pl.Series([datetime.date(2024, 1, 1 + i % 28) for i in r], dtype=pl.Date),
        "seen": pl.Series([EPOCH.replace(tzinfo=UTC) + datetime.timedelta(hours=i) for i in r], dtype=pl.Datetime("ns", "UTC")),
        "half": pl.Series([i / 8 for i in r], dtype=pl.Float32), "ratio": pl.Series([real(rng) for _ in r], dtype=pl.Float64), "bin": pl.Series([b"x" * (i % 4) for i in r], dtype=pl.Binary),
        "none": pl.Series([None] * rows, dtype=pl.Null), "bool": pl.Series([i % 7 == 0 for i in r], dtype=pl.Boolean), "u8": pl.Series([i % 256 for i in r], dtype=pl.UInt8),
        "text": pl.Series([text(rng) for _ in r], dtype=pl.String), "i128": pl.Series([i << 70 for i in r], dtype=pl.Int128),
    }
    names = rng.sample(sorted(columns), rng.randint(0, 8))
    frame = [columns[n].alias(n) for n in names]
    frame.insert(0, pl.Series("row_id", list(r), dtype=pl.Int64))
    cells = id_array(rng, ids, rows, rng.choice([pa.string(), pa.binary()]))
    frame.insert(rng.randint(0, len(frame)), pl.from_arrow(cells).alias("euid"))
    try:
        pl.DataFrame(frame).write_parquet(path, compression=rng.choice(["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"]),
                                          statistics=rng.choice([True, False, "full"]), row_group_size=rng.choice([50, 1000, None]),
                                          data_page_size=rng.choice([64, 4096, None]), metadata=rng.choice([None, {"owner": "somebody"}]))
    except BaseException as e:  # noqa: BLE001  (a panic in Rust is no Exception)
        if isinstance(e, KeyboardInterrupt):
            raise
        if os.path.exists(path):
            os.remove(path)
        return False
    return True


def specials(rng, ids, path):
    """Shapes that chance would not give."""
    plain = lambda rows, width=3: draw_table(rng, ids, rows, width, 1)
    cells = lambda rows: pa.table({"row_id": pa.array(range(rows), pa.int64()), "euid": id_array(rng, ids, rows, pa.string())})
    pq.write_table(cells(150_000), path("one-row-group"), row_group_size=150_000, compression="zstd")
    pq.write_table(cells(900), path("many-row-groups"), row_group_size=3, write_page_index=True)
    pq.write_table(cells(2000), path("a-row-per-page"), max_rows_per_page=1, write_page_index=True, data_page_version="2.0")
    # Not drawn for others: pyarrow 26 aborts if it then has to refuse a value.
    pq.write_table(cells(3000), path("content-defined-chunks"), use_content_defined_chunking={"min_chunk_size": 500, "max_chunk_size": 4000, "norm_level": 0}, write_page_index=True)
    pq.write_table(plain(300, 120), path("wide"), write_page_index=True)
    pq.write_table(plain(0), path("no-rows"), write_page_index=True)
    with pq.ParquetWriter(path("no-row-groups"), cells(1).schema):
        pass
    with pq.ParquetWriter(path("empty-row-groups"), cells(1).schema, write_page_index=True, data_page_version="2.0") as w:
        for rows in [0, 50, 0, 0, 7, 0]:
            w.write_table(cells(50).slice(0, rows))
    nothing = pa.table({"row_id": pa.array(range(500), pa.int64()), "euid": pa.nulls(500, pa.string()), "x": pa.nulls(500, pa.int32()), "l": pa.nulls(500, pa.list_(pa.int8()))})
    pq.write_table(nothing, path("all-null"), row_group_size=200, write_page_index=True)
    pq.write_table(pa.table({"euid": cells(50)["euid"]}), path("ids-alone"))
    odd = cells(100)
    pq.write_table(odd.append_column("euid ", odd["row_id"]).append_column("euid.", odd["row_id"]).append_column("", odd["row_id"]), path("odd-names"))
    frame = cells(200).append_column("x", pa.array([i / 3 for i in range(200)])).to_pandas()
    frame.to_parquet(path("pandas-index"))
    frame.set_index("row_id", drop=False).rename_axis("key").to_parquet(path("pandas-named-index"), compression="gzip")
    frame.astype({"euid": "category"}).to_parquet(path("pandas-category"))
    con = duckdb.connect()
    con.register("t", cells(130_000))
    con.execute(f"COPY t TO '{path('duckdb-threads')}' (FORMAT parquet, ROW_GROUP_SIZE 10240, COMPRESSION zstd)")
    return 15


def write(folder, ids, seed, files):
    """Returns how many files each writer wrote and how often it could not."""
    counts = {}
    for writer, share in [(with_pyarrow, 0.6), (with_duckdb, 0.25), (with_polars, 0.15)]:
        name = writer.__name__.removeprefix("with_")
        written = refused = 0
        while written < files * share:
            rng = random.Random(f"{seed} {name} {written} {refused}")
            ok = writer(rng, ids, os.path.join(folder, f"{name}-{written:04}.parquet"))
            written, refused = written + ok, refused + (not ok)
            if refused > 20 + 3 * files:
                raise SystemExit(f"{name} refuses nearly all shapes of seed {seed}")
        counts[name] = (written, refused)
    counts["special"] = (specials(random.Random(f"{seed} special"), ids, lambda n: os.path.join(folder, f"special-{n}.parquet")), 0)
    return counts
