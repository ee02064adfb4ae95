"""Writes Parquet files with Spark, and compares flagged files with their originals
with Spark, whose reader uses page indexes, bloom filters and its own copy of the
schema.

    python spark.py write FOLDER IDS.json SEED
    python spark.py read ORIGINALS FLAGGED TRUTH.json

read prints a JSON line for every file.
"""

import datetime
import decimal
import glob
import json
import os
import random
import re
import shutil
import sys
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

COLUMN = "opted_out_since"


def session():
    s = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
         .config("spark.driver.host", "127.0.0.1").config("spark.sql.session.timeZone", "UTC").config("spark.driver.memory", "2g")
         .config("spark.sql.legacy.parquet.nanosAsLong", "true").config("spark.sql.shuffle.partitions", "1").getOrCreate())
    s.sparkContext.setLogLevel("OFF")
    return s


def write(folder, ids_path, seed):
    with open(ids_path) as f:
        people = json.load(f)
    rng = random.Random(f"{seed} spark")
    spark = session()
    schema = T.StructType([
        T.StructField("row_id", T.LongType(), False), T.StructField("euid", T.StringType()), T.StructField("text", T.StringType()),
        T.StructField("price", T.DecimalType(12, 2)), T.StructField("day", T.DateType()), T.StructField("seen", T.TimestampType()),
        T.StructField("local", T.TimestampNTZType()), T.StructField("list", T.ArrayType(T.IntegerType())),
        T.StructField("struct", T.StructType([T.StructField("a", T.LongType()), T.StructField("b", T.ArrayType(T.StringType()))])),
        T.StructField("map", T.MapType(T.StringType(), T.DoubleType())), T.StructField("tiny", T.ByteType()), T.StructField("raw", T.BinaryType()),
    ])
    start = datetime.datetime(2024, 1, 1)

    def row(i):
        cell = rng.choice(people["ids"]) if rng.random() < 0.85 else rng.choice([None, *people["bad"]])
        return (i, cell, f"text {i % 9}", None if i % 4 == 0 else decimal.Decimal(rng.randrange(1000)) / 4, start.date(), start + datetime.timedelta(minutes=i),
                start, list(range(i % 3)), (i, ["x"] * (i % 2)) if i % 5 else None, {"k": i / 3}, i % 100, b"x" * (i % 5))

    for n, (codec, version, timestamps, rows) in enumerate([
            ("snappy", "v1", "INT96", 800), ("gzip", "v1", "TIMESTAMP_MICROS", 300), ("zstd", "v2", "TIMESTAMP_MILLIS", 900),
            ("lz4_raw", "v2", "TIMESTAMP_MICROS", 100), ("uncompressed", "v1", "TIMESTAMP_MICROS", 0), ("snappy", "v2", "INT96", 2500)]):
        spark.conf.set("spark.sql.parquet.outputTimestampType", timestamps)
        data = [row(i) for i in range(rows)]
        out = tempfile.mkdtemp()
        (spark.createDataFrame(data, schema).coalesce(1).write.mode("overwrite").option("compression", codec).option("parquet.writer.version", version)
         .option("parquet.page.size", 2000).option("parquet.block.size", 20000).option("parquet.page.row.count.limit", 50 * (n + 1))
         .option("parquet.bloom.filter.max.bytes", 4096).option("parquet.bloom.filter.enabled#euid", str(n % 2 == 0).lower()).option("parquet.enable.dictionary", str(n % 3 > 0).lower()).parquet(out))
        shutil.move(glob.glob(out + "/*.parquet")[0], os.path.join(folder, f"spark-{n}.parquet"))
        shutil.rmtree(out)
    spark.stop()


class Unreadable(Exception):
    pass


def compare(spark, before, after, want):
    try:
        old = spark.read.parquet(before)
        old_rows = [repr(r) for r in old.collect()]
    except Exception as e:
        raise Unreadable(re.sub("[0-9]+", "N", str(e).splitlines()[0])[:70]) from None
    new = spark.read.parquet(after)
    checks = []

    def check(name, ok):
        if not ok:
            raise AssertionError(name)
        checks.append(name)

    check("the column is the last one", new.columns[-1] == COLUMN and new.columns[:-1] == old.columns)
    check("type", dict(new.dtypes)[COLUMN] == "timestamp")
    check("schema", new.drop(COLUMN).schema == old.schema)
    check("values", [repr(r) for r in new.drop(COLUMN).collect()] == old_rows)
    millis = F.unix_millis(F.col(COLUMN)).alias("ms")
    check("flags", [r.ms for r in new.select(millis).collect()] == want)
    some = sorted(w for w in want if w is not None)
    moment = some[len(some) // 2] if some else 1_700_000_000_000
    when = F.timestamp_millis(F.lit(moment))
    count = lambda where: new.where(where).count()
    check("filter by the flag", count(F.col(COLUMN) >= when) == sum(w >= moment for w in some))
    check("filter by one flag", count(F.col(COLUMN) == when) == some.count(moment))
    check("filter by no flag", count(F.col(COLUMN).isNull()) == want.count(None))

    def works(where):
        """Files of xitongsys have page indexes with wrong sizes: Spark fails over a filter of theirs in the original."""
        try:
            return old.where(where).count() >= 0
        except Exception:
            return False

    low, high = len(want) // 3, len(want) // 2
    if dict(old.dtypes).get("row_id") == "bigint" and works(F.col("row_id").between(low, high)):
        ids = [r.row_id for r in old.select("row_id").collect()]
        got = sorted((r.row_id, r.ms) for r in new.where(F.col("row_id").between(low, high)).select("row_id", F.coalesce(millis, F.lit(-1)).alias("ms")).collect())
        check("filter by an old column", got == sorted((i, -1 if w is None else w) for i, w in zip(ids, want) if low <= i <= high))
    if dict(old.dtypes).get("euid") == "string":
        cells = [r.euid for r in old.select("euid").collect()]
        wanted = next((c for c, w in zip(cells, want) if w is not None), None)
        if wanted and works(F.col("euid") == wanted):
            got = {r.ms for r in new.where(F.col("euid") == wanted).select(millis).collect()}
            check("filter by an id", got == {want[cells.index(wanted)]} and count(F.col("euid") == wanted) == cells.count(wanted))
    return len(checks)


def read(originals, flagged, truth_path):
    with open(truth_path) as f:
        expected = json.load(f)["expected"]
    spark = session()
    # Of other writers' files every third: a file takes Spark seconds.
    for turn, name in enumerate(sorted(os.listdir(originals))):
        if not name.startswith("spark") and turn % 3:
            continue
        line = {"reader": "spark", "file": name}
        try:
            line["checks"] = compare(spark, os.path.join(originals, name), os.path.join(flagged, name), expected[name])
        except Unreadable as e:
            line["left_out"] = str(e)
        except Exception as e:
            line["failed"] = f"{type(e).__name__} {str(e)[:300]}"
        print(json.dumps(line), flush=True)
    spark.stop()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
