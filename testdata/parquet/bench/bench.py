"""Measures the column append, the extraction and the whole job against DuckDB,
a full rewrite by arrow v17 and a plain copy, and prints one table. See
`make bench-parquet`.

Everything runs as a process of its own, in alternation, over files that are in
the page cache; figures are medians. Of DuckDB there are two: of its process as
a whole, as of all others, and of the query alone, without the start of Python.
All write where nothing was before, or, as in column mode the file is replaced,
keep the old file under a second name: else they would wait for the system to
free its space, which takes some as long as a copy. One row shows that.
OPTSWEEP_BENCH_ROUNDS, _WIDE, _NARROW (rows) and _DIR change the defaults;
_SHAPES picks among wide.zstd, wide.snappy, narrow.zstd and narrow.snappy.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from copy import copy

from data import GROUPS
from measure import JOB, Measured, Series, build, setting, settle

HERE = os.path.dirname(os.path.abspath(__file__))

# What must come to the same figures.
SAME = {"apply": "rows and flags", "freed": "rows and flags", "decode": "rows and flags", "arrow": "rows and flags", "extract": "distinct ids", "count": "distinct ids"}


class Bench:
    def __init__(self, folder, rounds):
        self.dir, self.rounds = folder, rounds
        self.optsweep, self.parts = os.path.join(folder, "optsweep"), os.path.join(folder, "bench")
        build(self.optsweep, "./cmd/optsweep")
        build(self.parts, "./testdata/parquet/bench")

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, wide, narrow):
        subprocess.run([sys.executable, os.path.join(HERE, "data.py"), self.dir, wide, narrow], check=True)
        for shape in GROUPS:
            os.makedirs(self.path(f"{shape}-log"))
            Measured([self.parts, "list", self.path(f"{shape}.opted.csv"), self.path(f"{shape}.opted.list")], True)
            Measured([self.optsweep, "operator", "import", self.path(f"{shape}.opted-log.csv"), "--optout-log", self.path(f"{shape}-log"),
                      "--format", "csv", "--id-column", "id", "--time-column", "since", "--time-unit", "s"], True)

    def measure(self, file):
        """All measurements of one file: a Series for each name and durability."""
        shape, codec, _ = file.split(".")
        original, work, out, ids = self.path(file), self.path("work.parquet"), self.path("out.parquet"), self.path(f"{shape}.opted")
        duck = [sys.executable, os.path.join(HERE, "duck.py")]
        job = self.path("job.yaml")
        with open(job, "w") as f:
            f.write(JOB.format(dir=self.dir, log=f"{shape}-log", path="work.parquet"))
        run = [self.optsweep, "run", "-c", job, "--progress", "none"]
        commands = {
            "copy": ["cp", original, out],
            "apply": [self.parts, "apply", work, ids + ".list", self.path("rows")],
            "freed": [self.parts, "apply", work, ids + ".list", self.path("rows")],
            "decode": [self.parts, "decode", work, ids + ".list"],
            "job": run,
            "again": run,
            "duckdb": duck + ["join", original, ids + ".parquet", out, codec, str(GROUPS[shape])],
            "arrow": [self.parts, "rewrite", original, out, ids + ".list", codec],
            "extract": [self.parts, "extract", original, self.path("ids")],
            "count": duck + ["count", original],
            "keep": duck + ["keep", original, self.path("distinct.parquet")],
        }
        shutil.rmtree(self.path("rows"), ignore_errors=True)
        Measured([self.parts, "extract", original, self.path("rows")], True)  # what apply finds in a run
        results, figures = {}, {}
        for n in range(self.rounds + 1):  # of which the first warms up
            for durable in (True, False):
                for name, command in commands.items():
                    if name == "arrow" and not 0 < n <= 3:
                        continue  # takes as long as all others together
                    m = self.once(name, command, durable, original, work, out)
                    figures.setdefault(SAME.get(name), set()).add(m.out)
                    if n > 0:
                        results.setdefault((name, durable), Series()).add(m)
                        if name in DUCKDB:
                            results.setdefault((name + " alone", durable), Series()).add(m.alone)
        for name, different in figures.items():
            if name and len(different) > 1:
                raise RuntimeError(f"{file}: {name} differ: {different}")
        return results

    def once(self, name, command, durable, original, work, out):
        kept = self.path("kept.parquet")
        for path in (out, kept, self.path("distinct.parquet")):
            if os.path.exists(path):
                os.remove(path)
        if name in ("apply", "freed", "decode", "job"):
            shutil.copyfile(original, work)
            if name != "freed":
                os.link(work, kept)
        if name == "job":
            shutil.rmtree(self.path("ws"), ignore_errors=True)
            Measured([self.optsweep, "init", "-c", self.path("job.yaml")], True)
        if name == "extract":
            shutil.rmtree(self.path("ids"), ignore_errors=True)
        for path in (original, work):  # into the page cache
            if os.path.exists(path):
                with open(path, "rb") as f:
                    while f.read(1 << 24):
                        pass
        settle()
        m = Measured(command, durable)
        synced = 0
        if durable and name in ("copy", "duckdb", "arrow", "keep"):  # which do not sync by themselves
            synced = Measured(["sync", self.path("distinct.parquet") if name == "keep" else out], True).wall
        m.wall += synced
        if name in DUCKDB:
            seconds, m.out = m.out.split()
            m.alone = copy(m)
            m.alone.wall = float(seconds) + synced
        return m


DUCKDB = ("duckdb", "count", "keep")
NAMES = {
    "copy": "plain copy", "apply": "apply, verdicts known", "freed": "  and the old file freed", "decode": "apply, ids decoded again", "job": "whole job: optsweep run", "again": "the same run again",
    "duckdb": "DuckDB: join and rewrite", "duckdb alone": "  the query alone", "arrow": "arrow v17: decode and encode", "extract": "extract: distinct ids on disk",
    "count": "DuckDB: DISTINCT, counted", "count alone": "  the query alone",
    "keep": "DuckDB: DISTINCT, on disk", "keep alone": "  the query alone",
}


def table(file, size, results):
    print(f"\n{file}, {size / 1e6:.0f} MB\n")
    print(f"| {'':32} | synced, s | not synced, s | CPU, s | peak, MB |")
    print(f"|{'-' * 34}|----------:|--------------:|-------:|---------:|")
    for name, text in NAMES.items():
        a, b = results[name, True], results[name, False]
        print(f"| {text:32} | {a.median('wall'):9.2f} | {b.median('wall'):13.2f} | {b.median('cpu'):6.2f} | {b.median('peak') / 1e6:8.0f} |")
    print()

    def ratio(text, over, under, goal):
        values = [results[over, d].median("wall") / results[under, d].median("wall") for d in (True, False)]
        if over in DUCKDB:
            alone = [results[over + " alone", d].median("wall") / results[under, d].median("wall") for d in (True, False)]
            more = f" (query alone: {alone[0]:.1f} and {alone[1]:.1f})"
        else:
            more = ""
        cpu = results[over, False].median("cpu") / results[under, False].median("cpu")
        print(f"  {text:34} {values[0]:5.1f} synced, {values[1]:5.1f} not{more}; {cpu:.1f} in CPU; goal: {goal}")

    wide = file.startswith("wide")
    ratio("DuckDB / apply", "duckdb", "apply", ">= 15" if wide else ">= 4")
    ratio("arrow / apply", "arrow", "apply", ">= 40" if wide else "-")
    ratio("apply / copy", "apply", "copy", "<= 2.5" if wide else "-")
    ratio("DuckDB / whole job", "duckdb", "job", ">= 8" if wide else "-")
    ratio("whole job / the same again", "job", "again", "-")
    ratio("DuckDB DISTINCT counted / extract", "count", "extract", ">= 1.5")
    ratio("DuckDB DISTINCT on disk / extract", "keep", "extract", ">= 1.5")
    memory = results["duckdb", False].median("peak") / results["apply", False].median("peak")
    print(f"  {'memory: DuckDB / apply':34} {memory:5.1f}; goal: >= 4")


def main():
    folder = tempfile.mkdtemp(prefix="optsweep-bench-", dir=setting("DIR", None))
    try:
        bench = Bench(folder, int(setting("ROUNDS", "5")))
        bench.make(setting("WIDE", "2000000"), setting("NARROW", "5000000"))
        shapes = setting("SHAPES", "wide.zstd wide.snappy narrow.zstd narrow.snappy").split()
        print(f"{os.cpu_count()} processors; load before: {os.getloadavg()[0]:.1f}; {bench.rounds} rounds")
        for shape in shapes:
            file = shape + ".parquet"
            table(file, os.path.getsize(bench.path(file)), bench.measure(file))
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
