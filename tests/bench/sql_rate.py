#!/usr/bin/env python3
"""What asking row by row costs: rows per second of each client over `tenon serve`, against the engine's own batch rate.

    sql_rate.py --sqlite EXTENSION [--postgres MODULE --postgres-files FILE...] [--rows N] [--turns N]

The engine's rate is one request to /v1/completions that holds all the prompts, so that its queue is never empty and nothing is said per
row. SQLite's and PostgreSQL's llm_map, `tenon batch` and Python's rows ask the same prompts with the same parameters, of the same server,
over the same kind of connection; each turn begins with another one, so that what the machine does meanwhile meets all. Nothing is cached: prefix
caching is off, and clients start anew. A ratio is of the same turn's engine rate; figures are medians. The processor's time of a client
is told too: it does not depend on who else is at work, but on two cores it is taken from the engine.

Needs TENON, TENON_PLUGINS and TENON_TEST_MODEL, and a python3 whose sqlite3 loads extensions (Debian's /usr/bin/python3). `./dev bench sql` builds
all that and runs it."""
import argparse
import contextlib
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../e2e"), os.path.join(HERE, "../../sdk/python")]
from postgres_server import PostgresServer
from server import Server
from tenon.services import Service
from tenon.transport import Transport

TOKENS = 32
FIELDS = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
OPTIONS = json.dumps({**FIELDS, "raw": True})


class Ways:
    """Ways to ask for all the prompts; each gives the number of answers and the seconds that they took."""

    def __init__(self, server, rows, folder):
        self.server, self.folder = server, folder
        self.prompts = [f"{random.getrandbits(64):x}: write a short product description for item {i} of the catalogue." for i in range(rows)]
        self.source = os.path.join(folder, "rows.jsonl")
        with open(self.source, "w") as out:
            out.writelines(json.dumps({"key": i, "prompt": text}) + "\n" for i, text in enumerate(self.prompts))
        self.postgres = None

    def engine(self):
        begin = time.perf_counter()
        status, _, body = self.server.request("POST", "/v1/completions", {"model": "smollm2", "prompt": self.prompts, **FIELDS}, timeout=3600)
        assert status == 200, body
        return len(body["choices"]), time.perf_counter() - begin

    def sqlite(self):
        db = sqlite3.connect(":memory:")
        db.enable_load_extension(True)
        db.load_extension(self.extension)
        db.execute("SELECT llm_server(?)", (self.server.base,)).fetchall()
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, p TEXT)")
        db.executemany("INSERT INTO t(p) VALUES (?)", [(text,) for text in self.prompts])
        begin = time.perf_counter()
        answers = db.execute("SELECT key, value FROM llm_map('smollm2', 'SELECT id, p FROM t', ?) WHERE status = 'ok'", (OPTIONS,)).fetchall()
        return len(answers), time.perf_counter() - begin

    def postgresql(self):
        """Timed by the database, in one session: starting psql is not part of it."""
        rows = ", ".join(f"({i}, '{text}')" for i, text in enumerate(self.prompts))
        told = self.postgres.query(f"""CREATE TEMP TABLE t(id integer PRIMARY KEY, p text); INSERT INTO t VALUES {rows};
            SELECT extract(epoch FROM clock_timestamp());
            CREATE TEMP TABLE answer AS SELECT key, value FROM llm_map('smollm2', 'SELECT id, p FROM t', '{OPTIONS}') WHERE status = 'ok';
            SELECT extract(epoch FROM clock_timestamp()); SELECT count(*) FROM answer;""")
        begin, end, count = (float(row[0]) for row in told)
        return int(count), end - begin

    def batch(self):
        """With the start of its process, the log that it can go on from, and the output."""
        out = os.path.join(self.folder, "answers.jsonl")
        flags = [word for name, value in FIELDS.items() for word in ("--param", f"{name}={json.dumps(value)}")]
        begin = time.perf_counter()
        subprocess.run([os.environ["TENON"], "batch", "run", "smollm2", "--in", self.source, "--out", out, "--mode", "overwrite", "--raw",
                        "--server", self.server.base, *flags], check=True, capture_output=True)
        took = time.perf_counter() - begin
        with open(out) as answers:
            return sum(json.loads(line)["status"] == "ok" for line in answers), took

    def python(self):
        rows = [{"key": i, "prompt": text} for i, text in enumerate(self.prompts)]
        begin = time.perf_counter()
        results = Service(Transport(self.server.base), "smollm2").run(rows, params=FIELDS)
        return sum(result.ok for result in results), time.perf_counter() - begin


def processor_seconds():
    """Of this process and those that it has waited for; a database server is neither."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(ways, names, turns):
    """name -> [(rows/s, ratio to the turn's engine rate, milliseconds of processor time a row)]."""
    figures = {name: [] for name in names}
    ways.engine()  # warms up
    for turn in range(turns):
        rates, used = {}, {}
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            before = processor_seconds()
            count, seconds = getattr(ways, name)()
            assert count == len(ways.prompts), f"{name}: {count} answers"
            rates[name], used[name] = count / seconds, 1000 * (processor_seconds() - before) / count
        for name in names:
            figures[name].append((rates[name], rates[name] / rates["engine"], used[name]))
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sqlite", required=True)
    parser.add_argument("--postgres")
    parser.add_argument("--postgres-files", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    settings = [f"http_frontend.max_prompts={args.rows}", "engine.enable_prefix_caching=false"]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ways = Ways(stack.enter_context(Server(*settings)), args.rows, folder)
        ways.extension = os.path.abspath(args.sqlite)
        names = ["engine", "sqlite", "batch", "python"]
        if args.postgres:
            ways.postgres = stack.enter_context(PostgresServer(args.postgres, args.postgres_files, {"tenon.server": ways.server.base}))
            ways.postgres.query("CREATE EXTENSION tenon")
            names.insert(2, "postgresql")
        figures = measure(ways, names, args.turns)
    print(f"{args.rows} rows of {TOKENS} tokens, medians of {args.turns} turns\n")
    print("| asked by | rows/s | of the engine's rate | least to most | processor ms a row |\n|---|---|---|---|---|")
    for name, turns in figures.items():
        rate, ratio, used = (statistics.median(column) for column in zip(*turns))
        ratios = [turn[1] for turn in turns]
        print(f"| {name} | {rate:.1f} | {100 * ratio:.0f} % | {100 * min(ratios):.0f} to {100 * max(ratios):.0f} % | "
              f"{'in its server' if name == 'postgresql' else f'{used:.2f}'} |")


main()
