#!/usr/bin/env python3
"""test_sqlite.py EXTENSION: the SQLite extension in python's sqlite3 and in the sqlite3 shell, over a scripted server and over
`tenon serve`. Skipped where no python3 here can load extensions."""
import gc
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("no python3 whose sqlite3 loads extensions: skipped")
    sys.exit(77)

import sql_cases
from fake_llm import Fake
from server import Server
from sql_cases import fill, one, order, quoted, wait_for

EXTENSION = os.path.abspath(sys.argv[1])
if "TENON_PRELOAD" in os.environ and "LD_PRELOAD" not in os.environ:  # a sanitizer's runtime comes before all else
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": os.environ["TENON_PRELOAD"]})


class Database:
    def __init__(self, path=":memory:", address=None):
        self.path, self.address = path, address
        self.handle = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.handle.enable_load_extension(True)
        self.handle.load_extension(EXTENSION)
        if address:
            self.point(address)

    def point(self, address, key=None):
        self.handle.execute("SELECT llm_server(?, ?)", (address, key)).fetchall()

    def point_error(self, address):
        return self.error(f"SELECT llm_server({quoted(address)})")

    def connect(self):
        return Database(self.path, self.address)

    def query(self, sql):
        return [tuple(None if v is None else str(v) for v in row) for row in self.handle.execute(sql).fetchall()]

    def error(self, sql):
        try:
            rows = self.query(sql)
        except (sqlite3.Error, sqlite3.Warning) as fault:
            return str(fault)
        raise AssertionError(f"no error, but {rows}")

    @staticmethod
    def is_sanitized():
        return "LD_PRELOAD" in os.environ

    def memory(self):
        gc.collect()
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def interrupt_soon(db, fake, sql, requests):
    """Interrupts sql once the fake holds its requests, the first since it forgot; the seconds it took after that."""
    outcome = []

    def run():
        try:
            db.query(sql)
        except sqlite3.OperationalError as fault:
            outcome.append(str(fault))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for("the requests are held", lambda: fake.requests == requests)
    begin = time.time()
    db.handle.interrupt()
    thread.join(20)
    assert outcome == ["interrupted"], outcome
    return time.time() - begin


def test_interrupt(db, fake):
    hang = quoted(order(hang=True))
    fill(db, [order(hang=True)] * 40)
    for sql, requests in ((f"SELECT llm_complete('m', {hang})", 1), ("SELECT * FROM llm_map('m', 'SELECT id, p FROM t')", 40)):
        fake.forget()
        assert interrupt_soon(db, fake, sql, requests) < 2
        wait_for("the server sees every client hang up", lambda n=requests: fake.hang_ups == n)
    assert one(db, "SELECT llm_complete('m', 'still here')") == "re: still here"


def test_interrupt_frees_the_engine(db, server):
    fill(db, ["Count upwards."] * 8)
    long = quoted('{"max_tokens": 3900, "ignore_eos": true}')
    thread = threading.Thread(target=lambda: db.error(f"SELECT * FROM llm_map('smollm2', 'SELECT id, p FROM t', {long})"))
    thread.start()
    wait_for("rows run", lambda: server.metric("tenon:num_requests_running") > 1, 60)
    db.handle.interrupt()
    thread.join(30)
    wait_for("the engine has let them go", lambda: server.metric("tenon:num_requests_running") == 0)


def test_limit_cancels_the_rest(db, fake):
    first = order(after=22) # who is answered once all have been asked
    fill(db, [first, "b"] + [order(hang=True)] * 20)
    fake.forget()
    rows = db.query("SELECT value FROM llm_map('m', 'SELECT id, p FROM t ORDER BY id') LIMIT 2")
    assert rows == [("re: " + first,), ("re: b",)]
    wait_for("the rest hangs up", lambda: fake.hang_ups == 20)


def test_rows_are_asked_while_the_query_runs(db, fake):
    """A query whose rows take their time, longer than an answer does: requests are sent before the window is full."""
    def late(number):
        if number == 60:
            wait_for("the first rows have been asked", lambda: fake.requests > 0)
        return f"row {number}"

    other = db.connect()
    other.handle.create_function("late", 1, late)
    fake.forget()
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64) SELECT i, late(i) FROM n"
    rows = other.query(f"SELECT key, value FROM llm_map('m', {quoted(numbers)})")
    assert rows == [(str(i), f"re: row {i}") for i in range(1, 65)]
    other.handle.close()


def test_keys_keep_their_type(db, fake):
    rows = db.handle.execute("SELECT key, typeof(key) FROM llm_map('m', 'SELECT 1, ''a'' UNION ALL SELECT 1.5, ''b'' "
                             "UNION ALL SELECT x''00ff'', ''c'' UNION ALL SELECT ''t'', ''d''')").fetchall()
    assert rows == [(1, "integer"), (1.5, "real"), (b"\x00\xff", "blob"), ("t", "text")]


def test_one_evaluation_per_answer(db, fake):
    """Three references to one column: one request where the answer cannot differ, and a new model is a new answer."""
    fill(db, ["same"])
    sql = "SELECT a, a FROM (SELECT llm_complete('m', p, '{}') AS a FROM t) WHERE a <> ''"
    fake.forget()
    db.query(sql.format('{"temperature": 0}'))
    assert fake.requests == 1
    db.query(sql.format('{"temperature": 0}'))
    assert fake.requests == 1
    fake.version += 1
    time.sleep(1.1)
    db.query(sql.format('{"temperature": 0}'))
    assert fake.requests == 2
    db.query(sql.format('{"temperature": 1}'))
    assert fake.requests > 3
    fake.forget()
    db.query(sql.format('{"temperature": 1, "seed": 7}'))
    assert fake.requests == 1


def test_schemas_cannot_call(db, fake):
    """A view or a trigger in a database from elsewhere must not reach the server."""
    db.query("CREATE TABLE s(a)")
    for number, body in enumerate(("SELECT llm_complete('m', 'a') AS x", "SELECT * FROM llm_map('m', 'SELECT 1, ''a''')")):
        try:
            db.query(f"CREATE VIEW v{number} AS {body}")
        except sqlite3.Error as fault:
            assert "unsafe use" in str(fault), fault
            continue
        assert "unsafe use" in db.error(f"SELECT * FROM v{number}")
    db.query("CREATE TRIGGER r AFTER INSERT ON s BEGIN SELECT llm_complete('m', 'a'); END")
    assert "unsafe use" in db.error("INSERT INTO s VALUES (1)")
    db.query("DROP TRIGGER r")


def test_last_error(db, fake):
    other = db.connect()
    assert one(other, "SELECT llm_last_error()") is None
    assert one(other, f"SELECT llm_complete('m', {quoted(order(status=500))})") is None
    assert json.loads(one(other, "SELECT llm_last_error()"))["code"] == "http_500"
    assert one(other, "SELECT llm_complete('m', x'00')") is None
    assert "BLOB" in json.loads(one(other, "SELECT llm_last_error()"))["error"]
    assert one(other, "SELECT llm_complete('m', CAST(x'ff' AS TEXT))") is None
    assert "UTF-8" in json.loads(one(other, "SELECT llm_last_error()"))["error"]


def test_connections_do_not_leak(db, fake):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        other = db.connect()
        other.query("SELECT * FROM llm_map('m', 'SELECT 1, ''a''')")
        one(other, "SELECT llm_complete('m', 'a')")
        other.handle.close()
    gc.collect()
    wait_for("descriptors are closed", lambda: len(os.listdir("/proc/self/fd")) <= before + 8)


def test_map_joins_and_writes(db, fake):
    fill(db, ["a", "b"])
    rows = db.query("SELECT t.p, m.value FROM t JOIN llm_map('m', 'SELECT id, p FROM t') AS m ON m.key = t.id ORDER BY t.id")
    assert rows == [("a", "re: a"), ("b", "re: b")]
    db.query("CREATE TABLE out AS SELECT key, value FROM llm_map('m', 'SELECT id, p FROM t')")
    assert db.query("SELECT * FROM out") == [("1", "re: a"), ("2", "re: b")]
    # More rows than the window holds: what is written lies ahead of the query, which must not meet it.
    fill(db, [f"row {i}" for i in range(300)])
    db.query("INSERT INTO t(p) SELECT value FROM llm_map('m', 'SELECT id, p FROM t') LIMIT 2000")
    assert db.query("SELECT count(*), sum(p LIKE 're: row %'), sum(p LIKE 're: re:%') FROM t") == [("600", "300", "0")]
    overflow = quoted("SELECT id, abs(-9223372036854775807 - 1) FROM t")
    assert "in the query: integer overflow" in db.error(f"INSERT INTO t(p) SELECT value FROM llm_map('m', {overflow})")
    fill(db, ["a", "b"])
    rows = db.query("SELECT t.id, m.value FROM t, llm_map('m', 'SELECT 1, ' || quote(t.p)) AS m ORDER BY t.id")
    assert rows == [("1", "re: a"), ("2", "re: b")]


def test_unix_socket_and_environment(folder):
    path = os.path.join(folder, "model.sock")
    fake = Fake(path)
    os.environ["TENON_SERVER"] = "unix:" + path
    db = Database()
    assert one(db, "SELECT llm_server()") == "unix:" + path
    assert one(db, "SELECT llm_complete('m', 'hi')") == "re: hi"
    assert len(db.query("SELECT * FROM llm_map('m', 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
                        "SELECT i, ''x'' FROM n')")) == 200
    os.environ["TENON_SERVER"] = "nonsense"
    try:
        Database()
    except sqlite3.OperationalError as fault:
        assert "'nonsense' is not unix:/path" in str(fault), fault
    else:
        raise AssertionError("loaded with a server that cannot be")
    del os.environ["TENON_SERVER"]
    fake.close()


def test_shell(fake):
    """The sqlite3 program; Ctrl-C in it frees the request."""
    shell = shutil.which("sqlite3")
    if not shell or "LD_PRELOAD" in os.environ:
        print("no sqlite3 program, or a sanitizer: test_shell is left out")
        return
    environment = {**os.environ, "TENON_SERVER": fake.address}
    done = subprocess.run([shell, ":memory:", "-cmd", f".load {EXTENSION}",
                           "SELECT value FROM llm_map('m', 'VALUES (1, ''a''), (2, ''b'')')"], env=environment, capture_output=True,
                          text=True, timeout=60)
    assert done.stdout == "re: a\nre: b\n", done
    fake.forget()
    held = subprocess.Popen([shell, ":memory:", "-cmd", f".load {EXTENSION}", f"SELECT llm_complete('m', {quoted(order(hang=True))})"],
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("the shell's request is held", lambda: fake.in_flight == 1)
    held.send_signal(signal.SIGINT)
    _, complaint = held.communicate(timeout=20)
    assert "interrupt" in complaint.lower(), complaint
    wait_for("the server sees the shell hang up", lambda: fake.hang_ups == 1)


def submit(db, target, options="{}", query="SELECT id, p FROM t ORDER BY id"):
    return one(db, f"SELECT llm_submit('m', {quoted(query)}, {quoted(target)}, {quoted(options)})")


def test_jobs(db, fake):
    fill(db, ["a", None, order(status=500), "d"])
    job = submit(db, "answers")
    assert one(db, f"SELECT llm_wait({job})") == "done"
    assert db.query("SELECT key, value, status, error_code FROM answers ORDER BY key") == [
        ("1", "re: a", "ok", None), ("2", None, "null", None), ("3", None, "error", "http_500"), ("4", "re: d", "ok", None)]
    columns = "state, message, rows_done, rows_failed, runner"
    assert db.query(f"SELECT {columns} FROM llm_jobs WHERE id = {job}") == [("done", None, "4", "1", None)]
    fake.forget()
    db.query("INSERT INTO t VALUES (5, 'e')")
    db.query("DELETE FROM answers WHERE status = 'error'")
    assert submit(db, "answers") == job and one(db, f"SELECT llm_wait({job})") == "done"
    assert fake.requests == 2, "only what has no answer is asked"
    assert "belongs to job" in db.error("SELECT llm_submit('m', 'SELECT 1, ''x''', 'answers')")
    for bad in ("DELETE FROM t RETURNING id, p", "SELECT 1", "SELECT id, p FROM nowhere"):
        assert db.error(f"SELECT llm_submit('m', {quoted(bad)}, 'bad')"), bad
    assert "no job 999" in db.error("SELECT llm_wait(999)")
    assert "'window' must be" in db.error("SELECT llm_submit('m', 'SELECT 1, ''x''', 'bad', '{\"window\": 0}')")
    assert "in a file" in Database(address=fake.address).error("SELECT llm_submit('m', 'SELECT 1, ''x''', 'x')")
    job = submit(db, "twice", query="SELECT 1, 'a' UNION ALL SELECT 1, 'b'")
    assert one(db, f"SELECT llm_wait({job})") == "failed"
    assert "keys must be unique and not NULL: '1' is not" in one(db, f"SELECT message FROM llm_jobs WHERE id = {job}")
    job = submit(db, 'od"d; --', query="SELECT 1, 'a' -- the end;")
    assert one(db, f"SELECT llm_wait({job})") == "done" and one(db, 'SELECT value FROM "od""d; --"') == "re: a"


def test_a_job_asks_again_what_was_lost(db, fake):
    """While that brings answers: a row whose connection breaks whenever it is asked is an error at the end."""
    never, third = order(cut=True), order(cut=True, times=2)
    fill(db, ["a", never, third, order(cut=True, times=1), "b"])
    job = submit(db, "found")
    assert one(db, f"SELECT llm_wait({job})") == "done"
    assert db.query("SELECT key, status, error_code FROM found ORDER BY key") == [
        ("1", "ok", None), ("2", "error", "connection_lost"), ("3", "ok", None), ("4", "ok", None), ("5", "ok", None)]
    assert db.query(f"SELECT rows_done, rows_failed FROM llm_jobs WHERE id = {job}") == [("5", "1")]
    assert fake.seen[never] == 5 and fake.seen["a"] == 1, fake.seen


def test_rows_lost_for_good_do_not_fail_a_job(db, fake):
    """The breaker is for a job's first rows: a round of nothing but bad rows says nothing of the job. What on_error hides is asked again, too."""
    fill(db, [f"r{i}" for i in range(50)] + [order(cut=True, times=1)] + [order(cut=True, key=i) for i in range(12)])
    for target, options, code in ("told", "{}", "connection_lost"), ("hidden", '{"on_error": "null"}', None):
        fake.forget()
        job = submit(db, target, options)
        assert one(db, f"SELECT llm_wait({job})") == "done", db.query(f"SELECT message FROM llm_jobs WHERE id = {job}")
        assert db.query(f"SELECT status, error_code, count(*) FROM {target} GROUP BY 1, 2 ORDER BY 1") == [
            ("error", code, "12"), ("ok", None, "51")]


def test_a_job_outlives_its_connection_and_locks_nobody_out(db, fake):
    fake.gate.clear()
    fill(db, [order(gate=True, key=i) for i in range(60)])
    other = db.connect()
    job = submit(other, "slow", '{"window": 4}')
    other.handle.close()
    db.query("CREATE TABLE diary(a)")
    for i in range(20):
        db.query(f"INSERT INTO diary VALUES ({i})")
    assert submit(db, "slow", '{"window": 4}') == job, "a job that runs is not begun twice"
    assert one(db, f"SELECT llm_wait({job}, 1)") == "running"
    fake.gate.set()
    assert one(db, f"SELECT llm_wait({job})") == "done"
    assert one(db, "SELECT count(DISTINCT key) FROM slow") == "60" and fake.requests == 60


def test_a_job_is_cancelled(db, fake):
    fill(db, [order(wait=0.1, key=i) for i in range(400)])
    job = submit(db, "dropped", '{"window": 4}')
    wait_for("some rows are answered", lambda: fake.requests > 8)
    db.query(f"UPDATE llm_jobs SET state = 'cancelled' WHERE id = {job}")

    def has_settled():
        asked = fake.requests
        time.sleep(1.5)
        return fake.requests == asked and fake.in_flight == 0

    wait_for("it asks no more", has_settled)
    assert fake.requests < 300
    assert one(db, f"SELECT state FROM llm_jobs WHERE id = {job}") == "cancelled"


def test_a_cancelled_job_begins_anew(db, fake):
    """The thread that has yet to learn of the cancel writes nothing down for the one that has the job now."""
    fake.gate.clear()
    fill(db, [order(gate=True, key=i) for i in range(130)])
    job = submit(db, "anew", '{"window": 4}')
    wait_for("its rows are asked", lambda: fake.in_flight == 4)
    db.query(f"UPDATE llm_jobs SET state = 'cancelled' WHERE id = {job}")
    assert submit(db, "anew", '{"window": 4}') == job
    wait_for("they are asked anew", lambda: fake.in_flight == 8)
    fake.gate.set()
    assert one(db, f"SELECT llm_wait({job})") == "done"
    assert db.query(f"SELECT rows_done, (SELECT count(*) FROM anew) FROM llm_jobs WHERE id = {job}") == [("130", "130")]


def test_a_job_without_a_server_goes_on_when_there_is_one(db, fake):
    fill(db, ["a", "b"])
    db.point("http://127.0.0.1:9")
    job = submit(db, "late", '{"max_retries": 0}')
    assert one(db, f"SELECT llm_wait({job})") == "failed"
    assert "no server answers" in one(db, f"SELECT message FROM llm_jobs WHERE id = {job}")
    db.point(fake.address)
    assert submit(db, "late", '{"max_retries": 0}') == job and one(db, f"SELECT llm_wait({job})") == "done"
    assert one(db, "SELECT count(*) FROM late WHERE status = 'ok'") == "2"


KILLED = """import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
db.enable_load_extension(True)
db.load_extension(sys.argv[2])
db.execute("SELECT llm_submit('m', 'SELECT id, p FROM t ORDER BY id', 'survivor', '{\\"window\\": 8}')").fetchall()
print("submitted", flush=True)
time.sleep(60)
"""


def test_a_killed_job_loses_and_repeats_no_key(db, fake):
    """SIGKILL at several moments; then it is run to its end. A key that was in flight is asked again, never answered twice."""
    rows = 300
    fill(db, [order(wait=0.02, key=i) for i in range(rows)])
    for more in (5, 90, 150):
        asked = fake.requests
        with subprocess.Popen([sys.executable, "-c", KILLED, db.path, EXTENSION], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "TENON_SERVER": fake.address}) as victim:
            assert victim.stdout.readline() == "submitted\n"
            wait_for("some rows are asked", lambda n=asked + more: fake.requests >= n)
            victim.kill()
    job = submit(db, "survivor", '{"window": 8}')
    assert one(db, f"SELECT llm_wait({job})") == "done"
    assert db.query("SELECT count(*), count(DISTINCT key), min(key), max(key) FROM survivor") == [(str(rows), str(rows), "1", str(rows))]
    assert rows < fake.requests <= rows + 3 * (64 + 4 * 8 + 8), fake.requests
    assert one(db, "PRAGMA integrity_check") == "ok"


BARE = """import ctypes, sys
library, extension = ctypes.CDLL(sys.argv[1]), sys.argv[2].encode()
library.sqlite3_drop_modules.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

def connect(path):
    db = ctypes.c_void_p()
    assert library.sqlite3_open(path.encode(), ctypes.byref(db)) == 0
    assert library.sqlite3_enable_load_extension(db, 1) == 0
    assert library.sqlite3_load_extension(db, extension, None, None) == 0
    return db

def sql(db, text):
    answers, complaint = [], ctypes.c_char_p()
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p)
    def take(_, count, values, names):
        answers.append(values[0].decode())
        return 0
    library.sqlite3_exec(db, text.encode(), take, None, ctypes.byref(complaint))
    return complaint.value.decode() if complaint.value else answers[0]

if sys.argv[4] == "single thread":
    library.sqlite3_config(1)
db = connect(sys.argv[3])
if sys.argv[4] == "dropped":
    library.sqlite3_drop_modules(db, None)
print(sql(db, sys.argv[5]))
assert library.sqlite3_close(db) == 0
"""


def run_bare(library, folder, how, sql, address):
    """SQLite without Python's module around it; freed memory is filled, so that a use of it shows."""
    done = subprocess.run([sys.executable, "-c", BARE, library, EXTENSION, os.path.join(folder, "bare.db"), how, sql],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "TENON_SERVER": address, "MALLOC_PERTURB_": "165"})
    assert done.returncode == 0, done
    return done.stdout.rstrip("\n")


def test_bare(folder, fake):
    """Applications that let the table go and keep the functions, or that run SQLite without its locks."""
    with open("/proc/self/maps") as maps:
        library = next((line.split()[-1] for line in maps if "libsqlite3" in line), None)
    if not library:
        print("SQLite is no library here: test_bare is left out")
        return
    for how, sql, answer in (("whole", "SELECT status FROM llm_map('m', 'SELECT 1, ''a''')", "ok"),
                             ("dropped", "SELECT status FROM llm_map('m', 'SELECT 1, ''a''')", "no such table: llm_map"),
                             ("dropped", "SELECT llm_server()", fake.address), ("dropped", "SELECT llm_complete('m', 'hi')", "re: hi"),
                             ("single thread", "SELECT llm_submit('m', 'SELECT 1, ''a''', 'x')",
                              "llm_submit: this SQLite runs without threads, which jobs need")):
        found = run_bare(library, folder, how, sql, fake.address)
        assert found == answer, (how, sql, found)


LOCAL = """import json, os, sqlite3, sys
def connect():
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    db.load_extension(sys.argv[1])
    return db
def one(db, sql, *values):
    return db.execute(sql, values).fetchone()[0]
def error(db, *values):
    try:
        one(db, "SELECT llm_load(?, ?)", *values)
    except sqlite3.OperationalError as fault:
        return str(fault)
    raise AssertionError(values)
first, second = connect(), connect()
path, settings = sys.argv[2], {"plugins.path": sys.argv[3], "model.served_model_name": "here"}
if len(sys.argv) > 4:
    print(error(first, path, json.dumps(settings)))
    sys.exit()
assert "nowhere.gguf" in error(first, "/nowhere.gguf", json.dumps(settings))
assert "sectoin" in error(first, path, json.dumps({**settings, "sectoin.key": 1}))
assert "must be a text" in error(first, path, json.dumps({"model.path": []}))
assert "must be a JSON object" in error(first, path, "[")
assert one(first, "SELECT llm_load(?, NULL)", path) is None
assert one(first, "SELECT llm_load(?, ?)", path, json.dumps(settings)) == "here"
address = one(first, "SELECT llm_server()")
assert "can hold one model" in error(second, "/another.gguf", "{}")
assert one(second, "SELECT llm_load(?)", path) == "here" and one(second, "SELECT llm_server()") == address
ask = "SELECT llm_complete('here', 'hello', '{\\"max_tokens\\": 6, \\"temperature\\": 0}')"
assert one(first, ask) == one(second, ask)
query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT i, ''row '' || i FROM n"
assert one(first, "SELECT count(*) FROM llm_map('here', '" + query + "', '{\\"max_tokens\\": 4}') WHERE status = 'ok'") == 200
assert oct(os.stat(address[5:].rsplit("/", 1)[0]).st_mode)[-3:] == "700"
print(address, one(first, ask), sep="\\t")
"""


def test_in_process(folder):
    """A model in the process: the same answer as a server's, shared by connections, gone with the process; libtenon only when asked."""
    command = [sys.executable, "-c", LOCAL, EXTENSION, os.environ["TENON_TEST_MODEL"], os.environ["TENON_PLUGINS"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    address, answer = done.stdout.rstrip("\n").split("\t", 1)
    assert not os.path.exists(os.path.dirname(address[5:]))
    with Server() as server:
        assert server.chat("hello", max_tokens=6)["choices"][0]["message"]["content"] == answer
    alone = os.path.join(folder, "tenon_sqlite.so")
    shutil.copy(EXTENSION + ("" if EXTENSION.endswith(".so") else ".so"), alone)
    command[3] = alone
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run([*command, "no library"], capture_output=True, text=True, timeout=60, env=environment)
    assert "libtenon is not here" in done.stdout or "lacks tn_runtime_serve" in done.stdout, done


def main():
    with tempfile.TemporaryDirectory() as folder:
        fake = Fake()
        db = Database(os.path.join(folder, "t.db"), fake.address)
        for case in [*sql_cases.FAKE_CASES, test_interrupt, test_limit_cancels_the_rest, test_rows_are_asked_while_the_query_runs,
                     test_keys_keep_their_type,
                     test_one_evaluation_per_answer, test_schemas_cannot_call, test_last_error, test_connections_do_not_leak,
                     test_map_joins_and_writes, test_jobs, test_a_job_asks_again_what_was_lost, test_rows_lost_for_good_do_not_fail_a_job,
                     test_a_job_outlives_its_connection_and_locks_nobody_out,
                     test_a_job_is_cancelled, test_a_cancelled_job_begins_anew,
                     test_a_job_without_a_server_goes_on_when_there_is_one,
                     test_a_killed_job_loses_and_repeats_no_key]:
            begin = time.time()
            fake.forget()
            case(db, fake)
            print(f"{case.__name__}: {time.time() - begin:.1f} s", flush=True)
        test_unix_socket_and_environment(folder)
        test_shell(fake)
        test_bare(folder, fake)
        test_in_process(folder)
        with Server() as server:
            db.point(server.base)
            for case in [*sql_cases.REAL_CASES, test_interrupt_frees_the_engine]:
                begin = time.time()
                case(db, server)
                print(f"{case.__name__}: {time.time() - begin:.1f} s", flush=True)


main()
