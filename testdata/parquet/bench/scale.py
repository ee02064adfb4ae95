"""Measures how the whole job grows: from one million to a hundred million
distinct ids with limits.memory: 1GiB, from a thousand to ten thousand small
files, and what memory the writing of flags takes in files of growing size. See
`make bench-scale`.

Every figure is one run, with fsync. OPTSWEEP_BENCH_IDS and _SIZES (both in
millions), _FILES and _DIR change the defaults; 100 million ids need some 25 GB
of disk.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import islice

from measure import JOB, Measured, build, setting, settle

FILE = 5_000_000  # ids in a large file
SMALL = 100  # rows of a small one


def generate(folder, files, rows):
    """Makes files of distinct ids, three in a hundred of them opted out."""
    code = f"""
import duckdb
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET preserve_insertion_order = false")
db.execute("SET enable_progress_bar = false")
def ids(first, last):
    return f"SELECT k AS row_id, to_base64(unhex('10' || sha256('scale ' || k::VARCHAR))) AS euid FROM range({{first}}, {{last}}) t(k)"
for n in range({files}):
    db.execute(f"COPY ({{ids(n * {rows}, (n + 1) * {rows})}}) TO '{folder}/data/{{n:06}}.parquet' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 500000)")
db.execute(f"COPY (SELECT euid AS id, 1600000000 + row_id % 100000000 AS since FROM ({{ids(0, {files * rows})}}) WHERE row_id % 100 < 3) TO '{folder}/opted.csv' (HEADER true)")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def prepare(optsweep, folder, files, rows):
    for name in ("data", "log"):
        os.makedirs(os.path.join(folder, name))
    generate(folder, files, rows)
    Measured([optsweep, "operator", "import", os.path.join(folder, "opted.csv"), "--optout-log", os.path.join(folder, "log"),
              "--format", "csv", "--id-column", "id", "--time-column", "since", "--time-unit", "s"], True)
    job = os.path.join(folder, "job.yaml")
    with open(job, "w") as f:
        f.write(JOB.format(dir=folder, log="log", path="data/*.parquet"))
    Measured([optsweep, "init", "-c", job], True)
    return job


def phases(optsweep, job):
    """Runs the job and gives what was measured and the seconds of its phases."""
    settle()
    m = Measured([optsweep, "run", "-c", job, "--progress", "none"], True)
    report = json.loads(Measured([optsweep, "report", "-c", job, "--format", "json"], True).out)
    return m, {p["name"]: p["seconds"] for p in report["phases"]}, report["ids"]["distinct"]


def ids(optsweep, folder):
    print(f"| {'distinct ids':>12} | run | {'wall, s':>7} | {'CPU, s':>7} | us/id wall | us/id CPU | extract, s | check, s | apply, s | peak, MB |")
    print("|-------------:|-----|--------:|--------:|-----------:|----------:|-----------:|---------:|---------:|---------:|")
    for millions in setting("IDS", "1 10 30 100").split():
        here = os.path.join(folder, millions)
        files = max(1, int(millions) * 1_000_000 // FILE)
        job = prepare(optsweep, here, files, int(millions) * 1_000_000 // files)
        for run in ("1st", "2nd"):
            m, p, n = phases(optsweep, job)
            print(f"| {n:12,} | {run} | {m.wall:7.1f} | {m.cpu:7.1f} | {m.wall / n * 1e6:10.2f} | {m.cpu / n * 1e6:9.2f} | "
                  f"{p['extract']:10.1f} | {p['check']:8.1f} | {p['apply']:8.1f} | {m.peak / 1e6:8.0f} |", flush=True)
        shutil.rmtree(here)


def files(optsweep, folder):
    print(f"\n| {'files':>6} | run | {'wall, s':>7} | {'CPU, s':>7} | ms/file wall | ms/file CPU | extract, s | apply, s | peak, MB |")
    print("|-------:|-----|--------:|--------:|-------------:|------------:|-----------:|---------:|---------:|")
    for count in setting("FILES", "1000 10000").split():
        here = os.path.join(folder, "files" + count)
        job = prepare(optsweep, here, int(count), SMALL)
        for run in ("1st", "2nd"):
            m, p, _ = phases(optsweep, job)
            n = int(count)
            print(f"| {n:6,} | {run} | {m.wall:7.1f} | {m.cpu:7.1f} | {m.wall / n * 1e3:12.2f} | {m.cpu / n * 1e3:11.2f} | "
                  f"{p['extract']:10.1f} | {p['apply']:8.1f} | {m.peak / 1e6:8.0f} |", flush=True)
        shutil.rmtree(here)


def sizes(parts, folder):
    """The same 30,000 opted-out ids in files of more and more rows."""
    print(f"\n| {'rows of the file':>16} | size, MB | apply, MB peak | s    | ids decoded again, MB peak | s    |")
    print("|-----------------:|---------:|---------------:|-----:|---------------------------:|-----:|")
    for millions in setting("SIZES", "1 4 16").split():
        here = os.path.join(folder, "size" + millions)
        os.makedirs(os.path.join(here, "data"))
        generate(here, 1, int(millions) * 1_000_000)
        listed, rows, file = os.path.join(here, "list"), os.path.join(here, "rows"), os.path.join(here, "data", "000000.parquet")
        with open(os.path.join(here, "opted.csv")) as f, open(os.path.join(here, "few.csv"), "w") as few:
            for line in islice(f, 1, 30_001):
                id, second = line.split(",")
                few.write(f"{id},{int(second) * 1000}\n")
        Measured([parts, "list", os.path.join(here, "few.csv"), listed], True)
        size, work = os.path.getsize(file), os.path.join(here, "work.parquet")
        Measured([parts, "extract", file, rows], True)
        measured = []
        for command in (["apply", work, listed, rows], ["decode", work, listed]):
            shutil.copyfile(file, work)
            settle()
            measured.append(Measured([parts, *command], True))
        apply, decode = measured
        print(f"| {int(millions) * 1_000_000:16,} | {size / 1e6:8.0f} | {apply.peak / 1e6:14.0f} | {apply.wall:4.2f} | "
              f"{decode.peak / 1e6:26.0f} | {decode.wall:4.2f} |", flush=True)
        shutil.rmtree(here)


def main():
    folder = tempfile.mkdtemp(prefix="optsweep-scale-", dir=setting("DIR", None))
    try:
        optsweep, parts = os.path.join(folder, "optsweep"), os.path.join(folder, "bench")
        build(optsweep, "./cmd/optsweep")
        build(parts, "./testdata/parquet/bench")
        print(f"{os.cpu_count()} processors; load before: {os.getloadavg()[0]:.1f}\n", flush=True)
        ids(optsweep, folder)
        files(optsweep, folder)
        sizes(parts, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
