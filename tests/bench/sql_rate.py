#!/usr/bin/env python3
"""sql_rate.py EXTENSION [ROWS]: rows per second of SQLite's llm_map against the engine's own batch rate, in turns, as a ratio.

The engine's rate is one request to /v1/completions that holds all the prompts, so that its queue is never empty and nothing is said
per row. Prompts differ in their first word from run to run: nothing is cached. Needs TENON, TENON_PLUGINS and TENON_TEST_MODEL, and a
python3 whose sqlite3 loads extensions (Debian's /usr/bin/python3)."""
import json
import os
import random
import sqlite3
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from server import Server

ROWS, TOKENS, TURNS = int(sys.argv[2]) if len(sys.argv) > 2 else 256, 32, 3
FIELDS = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}


def prompts():
    return [f"{random.getrandbits(64):x}: write a short product description for item {i} of the catalogue." for i in range(ROWS)]


def batch_rate(server):
    texts = prompts()
    begin = time.perf_counter()
    status, _, body = server.request("POST", "/v1/completions", {"model": "smollm2", "prompt": texts, **FIELDS}, timeout=3600)
    assert status == 200 and len(body["choices"]) == ROWS, body
    return ROWS / (time.perf_counter() - begin)


def map_rate(db):
    db.execute("DROP TABLE IF EXISTS t")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, p TEXT)")
    db.executemany("INSERT INTO t(p) VALUES (?)", [(text,) for text in prompts()])
    begin = time.perf_counter()
    rows = db.execute("SELECT key, value FROM llm_map('smollm2', 'SELECT id, p FROM t', ?) WHERE status = 'ok'",
                      (json.dumps({**FIELDS, "raw": True}),)).fetchall()
    assert len(rows) == ROWS
    return ROWS / (time.perf_counter() - begin)


with Server(f"http_frontend.max_prompts={ROWS}") as server:
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    db.load_extension(os.path.abspath(sys.argv[1]))
    db.execute("SELECT llm_server(?)", (server.base,)).fetchall()
    batch_rate(server)  # warms up
    figures = [(batch_rate(server), map_rate(db)) for _ in range(TURNS)]
    batch, mapped = (statistics.median(column) for column in zip(*figures))
    print(json.dumps({"rows": ROWS, "tokens_per_row": TOKENS, "batch_rows_per_s": round(batch, 2), "map_rows_per_s": round(mapped, 2),
                      "ratio": round(statistics.median(b / a for a, b in figures), 3), "turns": figures}))
