"""DuckDB's side of bench.py, in a process of its own. It prints the seconds of
the query alone, without the start of Python, and a figure to compare.

    python duck.py join FILE IDS.parquet OUT CODEC GROUP_ROWS
    python duck.py count FILE
    python duck.py keep FILE OUT
"""
import sys
import time

import duckdb

QUERIES = {
    # Rows stay in order: that is DuckDB's default, and what the append gives.
    "join": """COPY (SELECT t.*, make_timestamp(o.since * 1000) AS opted_out_since FROM '{0}' t LEFT JOIN '{1}' o ON t.euid = o.id)
               TO '{2}' (FORMAT parquet, COMPRESSION {3}, ROW_GROUP_SIZE {4})""",
    "count": "SELECT count(*) FROM (SELECT DISTINCT euid FROM '{0}' WHERE euid IS NOT NULL)",
    "keep": "COPY (SELECT DISTINCT euid FROM '{0}' WHERE euid IS NOT NULL) TO '{1}' (FORMAT parquet, COMPRESSION uncompressed)",
}

db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET enable_progress_bar = false")
start = time.perf_counter()
rows = db.execute(QUERIES[sys.argv[1]].format(*sys.argv[2:])).fetchall()
print(time.perf_counter() - start, rows[0][0])
