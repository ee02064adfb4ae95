"""Reads the run tables that TestRunTablesOfRealRuns has left in a folder.

Every value must be the one that the file was made of, for pyarrow, DuckDB and
Polars; the published DDL must take the rows; and each example query for DuckDB
must give what follows from the reports of the runs.

    python crossread.py FOLDER SCHEMAS

It prints one line per table and query and exits non-zero if anything differs.
"""

import datetime
import glob
import json
import os
import shutil
import sys
import tempfile

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
TYPES = {  # by the text of Parquet's schema
    "binary": (pa.string(), "VARCHAR", pl.String),
    "int64": (pa.int64(), "BIGINT", pl.Int64),
    "double": (pa.float64(), "DOUBLE", pl.Float64),
    "boolean": (pa.bool_(), "BOOLEAN", pl.Boolean),
    "timestamp": (pa.timestamp("ms", "UTC"), "TIMESTAMP WITH TIME ZONE", pl.Datetime("ms", "UTC")),
}
failed = 0


def same(what, got, want):
    global failed
    if got != want:
        failed += 1
        print(f"{what} FAILED\n  got  {str(got)[:1000]}\n  want {str(want)[:1000]}")
    return got == want


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def columns_of(schemas, table):
    """Name, type and nullability of each column, from the published schema."""
    out = []
    for line in open(os.path.join(schemas, table + ".parquet.txt")).read().splitlines()[1:-1]:
        repetition, kind, rest = line.strip().rstrip(";").split(" ", 2)
        name = rest.split(" ")[0]
        out.append((name, "timestamp" if "TIMESTAMP(MILLIS,true)" in rest else kind, repetition == "optional"))
    return out


def read_table(folder, schemas, table, con):
    files = sorted(glob.glob(os.path.join(folder, "tables", table, "*.parquet")))
    columns = columns_of(schemas, table)
    rows = load(os.path.join(folder, "rows", table + ".json"))
    want = [tuple(r[name] for name, _, _ in columns) for r in rows]
    times = [name for name, kind, _ in columns if kind == "timestamp"]

    arrow = pa.concat_tables([pq.read_table(f) for f in files])
    same(f"{table}: pyarrow's types", [(f.name, f.type, f.nullable) for f in arrow.schema], [(n, TYPES[k][0], o) for n, k, o in columns])
    for name in times:
        at = arrow.schema.get_field_index(name)
        arrow = arrow.set_column(at, name, arrow[name].cast(pa.int64()))
    same(f"{table}: pyarrow's values", list(zip(*[c.to_pylist() for c in arrow.columns])), want)
    for f in files:
        meta = pq.read_metadata(f).metadata
        run = os.path.basename(f).removeprefix("demo_").removesuffix(".parquet")
        got = {k.decode(): v.decode() for k, v in meta.items() if k.startswith(b"optsweep.") and k != b"optsweep.ledger_seq"}
        same(f"{f}: metadata", got, {"optsweep.schema": "optsweep.runtables.v1", "optsweep.schema_revision": "2", "optsweep.table": table, "optsweep.job": "demo", "optsweep.run": run})

    described = con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {table})").fetchall()
    same(f"{table}: DuckDB's types", described, [(n, TYPES[k][1]) for n, k, _ in columns])
    cells = ", ".join(f"epoch_ms({n})" if k == "timestamp" else n for n, k, _ in columns)
    same(f"{table}: DuckDB's values", con.execute(f"SELECT {cells} FROM {table}").fetchall(), want)

    frame = pl.concat([pl.read_parquet(f) for f in files])
    same(f"{table}: Polars' types", dict(frame.schema), {n: TYPES[k][2] for n, k, _ in columns})
    frame = frame.with_columns([pl.col(n).dt.epoch("ms") for n in times])
    same(f"{table}: Polars' values", frame.rows(), want)

    made = duckdb.connect()
    views(made, os.path.join(folder, "tables"), folder, "seen_")
    made.execute(open(os.path.join(schemas, table + ".ddl.sql")).read())
    made.execute(f"INSERT INTO {table} BY NAME SELECT * FROM seen_{table}")
    same(f"{table}: the DDL's types", made.execute(f"SELECT column_name, column_type, \"null\" FROM (DESCRIBE {table})").fetchall(),
         [(n, TYPES[k][1], "YES" if o else "NO") for n, k, o in columns])
    same(f"{table}: the DDL's rows", made.execute(f"SELECT count(*) FROM {table}").fetchone()[0], len(want))
    print(f"{table}: {len(files)} files, {len(want)} rows, {len(columns)} columns")
    return rows


def views(con, tables, folder, prefix=""):
    con.execute(f"SET file_search_path = '{tables}'")
    con.execute(open(os.path.join(folder, "queries", "views.sql")).read().replace("VIEW optsweep_", f"VIEW {prefix}optsweep_"))


def asker(con, folder):
    """Answers to a query as a list of dicts; times are ms, the rest as it is."""
    def ask(name, now=None):
        sql = open(os.path.join(folder, "queries", name + ".sql")).read()
        if now:
            sql = sql.replace("now()", f"make_timestamptz({now * 1000})")
        relation = con.sql(sql)
        kinds = [str(t) for t in relation.types]
        names = relation.columns
        cells = ", ".join(f"epoch_ms({n})" if k.startswith("TIMESTAMP") else f'"{n}"' for n, k in zip(names, kinds))
        return [dict(zip(names, row)) for row in con.execute(f"SELECT {cells} FROM ({sql}\n)").fetchall()]
    return ask


def ms(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def ranked(values, share):
    """The smallest value that at least that share of all is not above."""
    values = sorted(values)
    return next(v for i, v in enumerate(values, 1) if i >= share * len(values))


class Hours(float):
    """Equal to what is the same when rounded to two digits, either way."""
    def __eq__(self, other):
        return abs(float(self) - float(other)) <= 0.0101

    def __ne__(self, other):
        return not self == other


def lags(rows, group, start, end):
    out = {}
    runs = {r["run_id"]: r for r in rows["optsweep_runs"]}
    for o in rows["optsweep_optouts"]:
        r = runs[o["run_id"]]
        if r["applied_at"] is not None:
            out.setdefault(group(r), []).append(((end(o, r)) - o[start]) / 3_600_000)
    return out


def by_source(counts):
    return ", ".join(f"{k} {v}" for k, v in sorted(counts.items()))


def check_queries(folder, rows, reports, con):
    ask = asker(con, folder)
    asked = {"views"}

    def query(name, got, want):
        asked.add(name.split(" ")[0])
        if same(name, got, want):
            print(f"{name}: {len(got)} rows as the reports say")

    def pick(answer, *names):
        return [tuple(r[n] for n in names) for r in answer]

    newest = list(reversed(reports))
    day = 86_400_000
    last = ms(reports[-1]["started_at"])

    query("runs_last_30_days",
          pick(ask("runs_last_30_days"), "run_id", "started_at", "status", "dry_run", "offline", "rows_read", "ids_distinct", "ids_asked", "ids_known_opted_out", "ids_newly_opted_out", "ids_clear", "ids_unverifiable", "units_failed", "laws_broken"),
          [(r["run"], ms(r["started_at"]), r["status"], r["dry_run"], r["offline"], sum(t["rows"] for t in r["tables"]), r["ids"]["distinct"], r["ids"]["asked"], r["ids"]["known_opted_out"],
            r["ids"]["opted_out"], r["ids"]["clear"], sum(r["ids"]["unverifiable"].values()), sum(t["units_failed"] for t in r["tables"]), sum(not l["ok"] for l in r["laws"])) for r in newest])
    query("runs_last_30_days later", ask("runs_last_30_days", last + 31 * day), [])

    batches = {r["run"]: r["ids"]["batches"] for r in reports}
    proof = ask("batch_proof")
    query("batch_proof", {r: sum(p["run_id"] == r for p in proof) for r in batches}, batches)
    query("batch_proof chain", {p["chain_holds"] for p in proof}, {True})

    answers = ask("asked")
    query("asked", {(r["run_id"], r["operator_kind"], r["operator_host"], r["operator_key_name"], r["scope"], r["environment"]) for r in answers},
          {(r["run"], r["operator"]["kind"], r["operator"].get("host"), r["operator"].get("key_name"), r["scope"], r["environment"]) for r in reports if r["ids"]["batches"]})
    for r in reports:
        of = [a for a in answers if a["run_id"] == r["run"]]
        query("asked in " + r["run"], (sum(a["ids"] for a in of), sum(a["ids_opted_out"] for a in of), min((a["answered_at"] for a in of), default=None), max((a["answered_at"] for a in of), default=None)),
              (r["ids"]["asked"], r["ids"]["opted_out"], r["ids"].get("oldest_answer_ms"), r["ids"].get("newest_answer_ms")))
    query("asked digests", sorted(a["digest"] for a in answers), sorted(b["digest"] for b in rows["optsweep_batches"]))

    query("figures_add_up", ask("figures_add_up"), [])
    query("limits_overridden", ask("limits_overridden"), [])

    missed = [r for r in newest if not r["dry_run"] and r["status"] != "reconciled"]
    query("not_reconciled", pick(ask("not_reconciled"), "run_id", "table_name", "run_status", "table_status", "units_failed"),
          [(r["run"], t["table"], r["status"], t["status"], t["units_failed"]) for r in missed for t in r["tables"]])
    query("not_reconciled why", [r["why"] for r in ask("not_reconciled")],
          [f"{r['failures'][0]['unit']} ({r['failures'][0]['phase']}): {r['failures'][0]['error']}" if r["failures"] else "offline run: no operator was asked" for r in missed])

    good = max(ms(r["started_at"]) for r in reports for t in r["tables"] if t["status"] == "reconciled")
    query("not_reconciled_24h", ask("not_reconciled_24h"), [])
    query("not_reconciled_24h a day later", ask("not_reconciled_24h", good + day + 1),
          [{"job": "demo", "table_name": "crm", "last_reconciled_at": good, "last_seen_at": last}])
    query("not_reconciled_24h just before", ask("not_reconciled_24h", good + day), [])

    # Between the runs there is no day without one. Five days on there are four.
    whole = max(ms(r["started_at"]) for r in reports if r["status"] == "reconciled")
    query("gaps", ask("gaps"), [])
    query("gaps five days later", pick(ask("gaps", whole + 5 * day), "job", "last_success_at", "next_success_or_now", "days_without"), [("demo", whole, whole + 5 * day, 4)])

    wet = {r["run"] for r in reports if not r["dry_run"]}
    query("opted_out_by_run", {r: sum(o["run_id"] == r for o in ask("opted_out_by_run")) for r in wet}, {r["run"]: r["ids"]["opted_out"] for r in reports if not r["dry_run"]})

    query("opted_out_by_source",
          pick(ask("opted_out_by_source"), "run_id", "ids_operator_only", "ids_own_only", "ids_on_both", "ids_by_source", "rows_operator_only", "rows_own_only", "rows_on_both", "rows_by_source"),
          [(r["run"], r["sources"]["ids"]["operator_only"], r["sources"]["ids"]["own_only"], r["sources"]["ids"]["both"], by_source(r["sources"]["ids"]["by_source"]),
            *(t["rows_by_source"][k] for t in r["tables"] for k in ["operator_only", "own_only", "both"]), by_source(r["tables"][0]["rows_by_source"]["by_source"]))
           for r in newest if "sources" in r])

    learned = lags(rows, lambda r: r["run_id"], "opted_out_since", lambda o, r: o["learned_at"])
    applied = lags(rows, lambda r: r["run_id"], "opted_out_since", lambda o, r: r["applied_at"])
    got = ask("time_to_honour")
    query("time_to_honour", {r["run_id"]: tuple(Hours(r[f"{what}_{of}_hours"]) for what in ["learned", "applied"] for of in ["p50", "p95", "max"]) for r in got},
          {run: tuple(Hours(f(v[run])) for v in [learned, applied] for f in [lambda x: ranked(x, 0.5), lambda x: ranked(x, 0.95), max]) for run in applied})
    query("time_to_honour ids", {r["run_id"]: r["ids"] for r in got}, {r["run"]: r["ids"]["opted_out"] for r in reports if r["run"] in applied})

    def monday(r):
        d = datetime.datetime.fromtimestamp(r["applied_at"] / 1000, UTC).date()
        return d - datetime.timedelta(days=d.weekday())
    weekly = lags(rows, monday, "opted_out_since", lambda o, r: r["applied_at"])
    query("time_to_honour_by_week", [(r["week"], r["ids"], Hours(r["p50_hours"]), Hours(r["p95_hours"]), Hours(r["max_hours"])) for r in ask("time_to_honour_by_week")],
          [(w, len(v), Hours(ranked(v, 0.5)), Hours(ranked(v, 0.95)), Hours(max(v))) for w, v in sorted(weekly.items(), reverse=True)])

    bad = {}
    for r in reports:
        for t in r["tables"]:
            for reason, n in t["malformed"].items():
                if n:
                    bad[r["run"], reason] = bad.get((r["run"], reason), 0) + n
        if r["ids"]["unverifiable"].get("not_asked"):
            bad[r["run"], "not_asked"] = r["ids"]["unverifiable"]["not_asked"]
    query("unverifiable_by_reason", {(r["run_id"], r["reason"]): r["row_count"] if r["reason"] != "not_asked" else r["ids"] for r in ask("unverifiable_by_reason")}, bad)

    same("queries that were asked", asked, {q.removesuffix(".sql") for q in os.listdir(os.path.join(folder, "queries"))})


def check_tampering(folder, run):
    """What was changed, or is missing, in the files must show in the queries."""
    with tempfile.TemporaryDirectory() as work:
        tables = os.path.join(work, "tables")
        shutil.copytree(os.path.join(folder, "tables"), tables)
        con = duckdb.connect()
        views(con, tables, folder)
        ask = asker(con, folder)
        file = os.path.join(tables, "optsweep_tables", f"demo_{run}.parquet")
        table = pq.read_table(file)
        at = table.schema.get_field_index("rows_flagged")
        pq.write_table(table.set_column(at, "rows_flagged", pa.array([n + 1 for n in table["rows_flagged"].to_pylist()], pa.int64())), file)
        same("figures_add_up after a change", [(r["run_id"], r["tables_table"]) for r in ask("figures_add_up")], [(run, False)])
        file = os.path.join(tables, "optsweep_batches", f"demo_{run}.parquet")
        table = pq.read_table(file)
        at = table.schema.get_field_index("line_hash")
        pq.write_table(table.set_column(at, "line_hash", pa.array(["0" * 64] * len(table))), file)
        same("batch_proof after a change", {r["chain_holds"] for r in ask("batch_proof") if r["run_id"] == run}, {False})
        # Files of revision 1 lack the columns of revision 2.
        for file in glob.glob(os.path.join(tables, "optsweep_runs", f"demo_{run}.parquet")):
            table = pq.read_table(file)
            pq.write_table(table.select([c for c in table.column_names if not c.endswith(("_only", "_on_both", "_by_source"))]), file)
        got = con.execute(f"SELECT ids_own_only, ids_by_source, rows_on_both, count(*) OVER () FROM optsweep_runs WHERE run_id = '{run}'").fetchall()
        same("a file of revision 1", got, [(None, None, None, 1)])


def main(folder, schemas):
    con = duckdb.connect()
    views(con, os.path.join(folder, "tables"), folder)
    names = sorted(os.listdir(os.path.join(folder, "tables")))
    rows = {table: read_table(folder, schemas, table, con) for table in names}
    reports = [load(f) for f in sorted(glob.glob(os.path.join(folder, "reports", "*.json")))]
    check_queries(folder, rows, reports, con)
    check_tampering(folder, next(r["run"] for r in reports if r["ids"]["batches"]))
    print(f"{len(names)} tables, {len(reports)} runs, {failed} failures")
    return 1 if failed or len(names) != 5 or len(reports) < 6 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
