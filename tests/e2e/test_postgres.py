#!/usr/bin/env python3
"""test_postgres.py MODULE CONTROL SQL: the PostgreSQL extension in a server of its own, over a scripted server and over
`tenon serve`. Skipped without arguments: the extension is not built where PostgreSQL's headers are not installed."""
import csv
import json
import os
import re
import subprocess
import sys
import threading
import time

import sql_cases
from fake_llm import Fake
from postgres_server import PostgresServer, folders
from server import Server
from sql_cases import fill, one, order, quoted, wait_for

if len(sys.argv) < 2:
    print("the extension is not built: skipped")
    sys.exit(77)
MODULE = os.path.abspath(sys.argv[1])


class Session:
    """psql, kept open: one backend for all of a test's statements."""

    def __init__(self, server, address=None, user="owner"):
        self.server, self.user = server, user
        self.settings, self.address = "", None
        self.process = subprocess.Popen(server.command(user=user), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.pid = int(self.run("SELECT pg_backend_pid()")[0][0][0])
        if address:
            self.point(address)

    def run(self, sql):
        """(rows, complaints) of one statement; the markers say where its output ends."""
        self.process.stdin.write("\\set ON_ERROR_STOP 0\n" + sql + "\n;\n\\echo <end>\n\\warn <end>\n")
        self.process.stdin.flush()
        lines, complaints = [], []
        reader = threading.Thread(target=self.read, args=(self.process.stderr, complaints))
        reader.start()
        self.read(self.process.stdout, lines)
        reader.join()
        rows = [tuple(None if v == "<null>" else v for v in row) for row in csv.reader(lines)]
        return rows, "".join(complaints)

    @staticmethod
    def read(stream, lines):
        while (line := stream.readline()) and line != "<end>\n":
            lines.append(line)

    def query(self, sql):
        rows, complaints = self.run(sql)
        assert "ERROR:" not in complaints and "FATAL:" not in complaints, complaints
        self.warnings = re.findall(r"WARNING:  (.*)", complaints)
        return rows

    def error(self, sql):
        rows, complaints = self.run(sql)
        assert "ERROR:" in complaints, f"no error, but {rows}"
        return complaints

    def point(self, address, key=""):
        self.query(f"SET tenon.server = {quoted(address)}; SET tenon.api_key = {quoted(key)}")
        self.address = address

    def point_error(self, address):
        return self.error(f"SET tenon.server = {quoted(address)}")

    def connect(self):
        return Session(self.server, self.address)

    @staticmethod
    def is_sanitized():
        return "TENON_PRELOAD" in os.environ

    def memory(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def end_soon(db, fake, sql, how, requests):
    """Runs sql until the fake holds its requests, the first since it forgot, and ends it with how(pid); what the session complained, and
    the seconds it took."""
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(db.run(sql)[1]))
    thread.start()
    wait_for("the requests are held", lambda: fake.requests == requests)
    other = Session(db.server)
    begin = time.time()
    other.query(how.format(db.pid))
    thread.join(20)
    assert outcome, "the statement has not ended"
    wait_for("the server sees every client hang up", lambda: fake.hang_ups == requests)
    other.close()
    return outcome[0], time.time() - begin


def test_cancel(db, fake):
    hang = quoted(order(hang=True))
    fill(db, [order(hang=True)] * 40)
    for sql, requests in ((f"SELECT llm_complete('m', {hang})", 1), ("SELECT * FROM llm_map('m', 'SELECT id, p FROM t')", 40)):
        fake.forget()
        complaint, seconds = end_soon(db, fake, sql, "SELECT pg_cancel_backend({})", requests)
        assert "canceling statement due to user request" in complaint and seconds < 2, (complaint, seconds)
    assert one(db, "SELECT llm_complete('m', 'still here')") == "re: still here"
    fake.forget()
    assert "statement timeout" in db.error(f"SET statement_timeout = 400; SELECT llm_complete('m', {hang})")
    db.query("SET statement_timeout = 0")
    wait_for("the server sees the client hang up", lambda: fake.hang_ups == 1)


def test_terminate(db, fake):
    victim = db.connect()
    complaint, _ = end_soon(victim, fake, "SELECT * FROM llm_map('m', 'SELECT id, p FROM t')", "SELECT pg_terminate_backend({})", 40)
    assert "terminating connection" in complaint, complaint


def test_one_warning_for_a_statement(db, fake):
    fill(db, ["a"] + [order(status=500, key=i) for i in range(5)])
    rows = db.query("SELECT llm_complete('m', p) FROM t ORDER BY id")
    assert rows == [("re: a",)] + [(None,)] * 5
    assert db.warnings == ["llm_complete: a row is NULL: said so (http_500)"], db.warnings


def test_only_a_superuser_points_elsewhere(db, fake):
    db.query("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader")
    db.query(f"ALTER DATABASE postgres SET tenon.server = {quoted(fake.address)}")
    db.query("ALTER DATABASE postgres SET tenon.api_key = 'hidden'")
    reader = Session(db.server, user="reader")
    assert one(reader, "SELECT llm_complete('m', 'a')") == "re: a"
    assert "permission denied" in reader.error("SET tenon.server = 'http://127.0.0.1:1'")
    early = Session(db.server, user="reader")  # before the module is loaded, when the name means nothing yet
    early.query("SET tenon.server = 'http://127.0.0.1:1'")
    assert "the model 'nope' does not exist" in early.error("SELECT llm_complete('nope', 'a')")
    early.close()
    assert "hidden" not in reader.error("SHOW tenon.api_key")
    assert "permission denied" in reader.error("SELECT * FROM llm_map('m', 'SELECT rolname, rolpassword FROM pg_authid')")
    reader.close()


def test_functions_say_what_they_are(db, fake):
    rows = db.query("SELECT proname, provolatile, proisstrict, proparallel, procost FROM pg_proc WHERE proname LIKE 'llm\\_%' AND procost = 1000000 ORDER BY 1")
    names = ["llm_chat", "llm_complete", "llm_embed", "llm_filter", "llm_json", "llm_map", "llm_tokens", "llm_try"]
    assert rows == [(name, "v", "t", "r", "1e+06") for name in names], rows
    rows = db.query("SELECT pg_typeof(llm_chat('m', '[{\"role\": \"user\", \"content\": \"a\"}]')), pg_typeof(llm_try('m', 'a')), "
                    "pg_typeof(llm_embed('m', 'a')), pg_typeof(llm_filter('m', 'a'))")
    assert rows == [("jsonb", "jsonb", "real[]", "boolean")], rows


def test_zero_bytes_are_a_rows_error(db, fake):
    answer = order(body="{\"choices\": [{\"message\": {\"content\": \"a\\u0000b\"}, \"finish_reason\": \"stop\"}]}")
    fill(db, ["a", answer])
    assert [r[2:4] for r in sql_cases.map_rows(db)] == [("ok", None), ("error", "bad_answer")]
    assert one(db, f"SELECT llm_complete('m', {quoted(answer)})") is None
    assert json.loads(one(db, f"SELECT llm_try('m', {quoted(answer)})"))["code"] == "bad_answer"
    beside = order(body="{\"choices\": [{\"message\": {\"content\": \"a\", \"reasoning_content\": \"\\u0000\"}, \"finish_reason\": \"stop\"}]}")
    assert one(db, f"SELECT llm_complete('m', {quoted(beside)})") == "a"
    messages = f"jsonb_build_array(jsonb_build_object('role', 'user', 'content', {quoted(beside)}))"
    assert one(db, f"SELECT llm_chat('m', {messages})") is None  # jsonb would raise


def test_params_may_be_jsonb(db, fake):
    fake.forget()
    db.query("SELECT * FROM llm_map('m', 'SELECT 1, ''a'', jsonb_build_object(''max_tokens'', 3)')")
    assert fake.bodies[-1][1]["max_tokens"] == 3


def test_a_querys_values_are_forgotten(db, fake):
    """Of a row that has been handed on nothing is kept: jsonb's output leaves a copy of the value behind. The last row tells the memory
    that the backend holds then, for 50 MB of keys."""
    db.query("CREATE TABLE document AS SELECT jsonb_build_object('text', repeat('x', 20000)) AS body")
    query = ("SELECT body, NULL FROM document, generate_series(1, 2500) UNION ALL "
             "SELECT to_jsonb(sum(total_bytes)), NULL FROM pg_backend_memory_contexts")
    rows = db.query(f"SELECT key FROM llm_map('m', {quoted(query)}, '{{\"window\": 1}}') WITH ORDINALITY AS m ORDER BY ordinality DESC LIMIT 1")
    assert int(rows[0][0]) < 20 << 20, f"{int(rows[0][0]) >> 20} MiB"


def test_functions_in_the_query_cannot_write(db, fake):
    fill(db, ["a"])
    assert db.error("SELECT * FROM llm_map('m', 'WITH d AS (DELETE FROM t RETURNING id, p) SELECT * FROM d')")
    assert db.error("SELECT * FROM llm_map('m', 'SELECT id, p FROM t FOR UPDATE')")
    assert db.query("SELECT id, p FROM t") == [("1", "a")]


def test_a_backend_keeps_its_descriptors(db, fake):
    def count():
        return len(os.listdir(f"/proc/{db.pid}/fd"))

    db.query("SELECT * FROM llm_map('m', 'SELECT 1, ''a''')")
    before = count()
    for _ in range(20):
        db.query("SELECT * FROM llm_map('m', 'SELECT 1, ''a''')")
        db.error("SELECT * FROM llm_map('nope', 'SELECT 1, ''a''')")
    assert count() <= before + 1


def test_a_unix_socket(db, fake):
    path = db.server.folder + "/model.sock"
    local = Fake(path)
    other = Session(db.server, "unix:" + path)
    assert one(other, "SELECT llm_complete('m', 'hi')") == "re: hi"
    assert one(other, "SELECT count(*) FROM llm_map('m', 'SELECT i, ''x'' FROM generate_series(1, 300) i')") == "300"
    other.close()
    local.close()


def test_only_utf8(db, fake):
    db.query("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    code, _, complaint = db.server.try_sql("CREATE EXTENSION tenon; SELECT llm_complete('m', 'a')", "old")
    assert code != 0 and "encoding is UTF8, not LATIN1" in complaint, complaint


def exported(path, *which):
    text = subprocess.run(["nm", "-D", *which, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines()}


def test_no_name_is_taken_from_the_server(_db, _fake):
    """PostgreSQL's program exports json_object, as jansson does; what the module takes from its libraries must not be found there."""
    binary = os.path.join(folders()[0], "postgres")
    loaded = subprocess.run(["ldd", MODULE], capture_output=True, text=True, check=True).stdout
    libraries = [path for path in re.findall(r"=> (/\S+)", loaded) if re.search(r"libjansson|libcurl", path)]
    assert len(libraries) >= 2, loaded
    taken = exported(MODULE, "--undefined-only") & set().union(*(exported(path, "--defined-only") for path in libraries))
    assert taken and not taken & exported(binary, "--defined-only"), taken & exported(binary, "--defined-only")


def test_cancel_frees_the_engine(db, server):
    fill(db, ["Count upwards."] * 8)
    long = quoted('{"max_tokens": 3900, "ignore_eos": true}')
    outcome = []
    thread = threading.Thread(
        target=lambda: outcome.append(db.run(f"SELECT * FROM llm_map('smollm2', 'SELECT id, p FROM t', {long})")[1]))
    thread.start()
    wait_for("rows run", lambda: server.metric("tenon:num_requests_running") > 1, 60)
    other = Session(db.server)
    other.query(f"SELECT pg_cancel_backend({db.pid})")
    thread.join(30)
    assert "canceling" in outcome[0]
    wait_for("the engine has let them go", lambda: server.metric("tenon:num_requests_running") == 0)
    other.close()


def submit(db, target, options="{}", query="SELECT id, p FROM t ORDER BY id"):
    return one(db, f"SELECT llm_submit('m', {quoted(query)}, {quoted(target)}, {quoted(options)})")


def state_of(db, job):
    return one(db, f"SELECT state FROM llm_jobs WHERE id = {job}")


def test_jobs(db, fake):
    db.query(f"ALTER DATABASE postgres SET tenon.server = {quoted(fake.address)}")
    fill(db, ["a", None, order(status=500), "d"])
    job = submit(db, "Answers")
    wait_for("the job is done", lambda: state_of(db, job) == "done")
    assert db.query("SELECT key, value, status, error_code FROM answers ORDER BY key") == [
        ("1", "re: a", "ok", None), ("2", None, "null", None), ("3", None, "error", "http_500"), ("4", "re: d", "ok", None)]
    assert db.query(f"SELECT message, rows_done, rows_failed, runner FROM llm_jobs WHERE id = {job}") == [(None, "4", "1", None)]
    fake.forget()
    db.query("INSERT INTO t VALUES (5, 'e'); DELETE FROM answers WHERE status = 'error'")
    assert submit(db, "answers") == job
    wait_for("the job is done", lambda: state_of(db, job) == "done")
    assert fake.requests == 2, "only what has no answer is asked"
    assert "belongs to job" in db.error("SELECT llm_submit('m', 'SELECT 1, ''x''', 'answers')")
    for query, complaint in (("SELECT 1, 'a' UNION ALL SELECT 1, 'b'", "duplicate key"), ("SELECT id FROM t", "columns"),
                             ("DELETE FROM t RETURNING id, p", "syntax"), ("SELECT 1, 'a') AS q; DELETE FROM t; --", "columns"),
                             ("SELECT NULL, 'a'", "not-null")):
        job = submit(db, "bad", query=query)
        wait_for("the job has failed", lambda j=job: state_of(db, j) == "failed")
        message = one(db, f"SELECT message FROM llm_jobs WHERE id = {job}")
        db.query(f"DELETE FROM llm_jobs WHERE id = {job}; DROP TABLE bad")
        print(f"   {query}: {message}")
    assert one(db, "SELECT count(*) FROM t") == "5"
    job = submit(db, '"od""d; --"', query="SELECT true, 'a' -- the end;")
    wait_for("the job is done", lambda: state_of(db, job) == "done")
    assert db.query('SELECT key, value FROM "od""d; --"') == [("t", "re: a")]


def test_a_job_asks_again_what_was_lost(db, fake):
    """While that brings answers: a row whose connection breaks whenever it is asked is an error at the end."""
    never, third = order(cut=True), order(cut=True, times=2)
    fill(db, ["a", never, third, order(cut=True, times=1), "b"])
    job = submit(db, "found")
    wait_for("the job is done", lambda: state_of(db, job) == "done")
    assert db.query("SELECT key, status, error_code FROM found ORDER BY key") == [
        ("1", "ok", None), ("2", "error", "connection_lost"), ("3", "ok", None), ("4", "ok", None), ("5", "ok", None)]
    assert db.query(f"SELECT rows_done, rows_failed FROM llm_jobs WHERE id = {job}") == [("5", "1")]
    assert fake.seen[never] == 5 and fake.seen["a"] == 1, fake.seen


def test_rows_lost_for_good_do_not_fail_a_job(db, fake):
    """The breaker is for a step's first rows: a round of nothing but bad rows says nothing of the job. What on_error hides is asked again,
    too, and within the step that lost it: later steps do not ask for it."""
    never = [order(cut=True, key=f"'{i}") for i in range(12)]
    fill(db, [f"r{i}" for i in range(50)] + [order(cut=True, times=1)] + never + [f"r{i}" for i in range(1000)])
    for target, options, code in ("told", "{}", "connection_lost"), ("hidden", '{"on_error": "null"}', None):
        fake.forget()
        job = submit(db, target, options, "SELECT 'it''s {\"' || id, p FROM t ORDER BY id")
        wait_for("the job is over", lambda j=job: state_of(db, j) in ("done", "failed"))
        assert db.query(f"SELECT state, message, rows_done, rows_failed FROM llm_jobs WHERE id = {job}") == [("done", None, "1063", "12")]
        assert db.query(f"SELECT status, error_code, count(*) FROM {target} GROUP BY 1, 2 ORDER BY 1") == [
            ("error", code, "12"), ("ok", None, "1051")]
        assert fake.seen[never[0]] == 4, fake.seen[never[0]]


def test_a_job_goes_on_after_its_worker_was_killed(db, fake):
    """Steps are transactions: what a killed worker had not committed is asked again, never answered twice."""
    fill(db, [order(wait=0.02, key=i) for i in range(1500)])
    other = db.connect()
    job = submit(other, "survivor")
    other.close()
    wait_for("the first step is committed", lambda: one(db, f"SELECT rows_done FROM llm_jobs WHERE id = {job}") == "1024", 60)
    wait_for("the second has begun", lambda: fake.requests > 1100)
    db.query(f"SELECT pg_terminate_backend(runner) FROM llm_jobs WHERE id = {job}")
    wait_for("its requests end", lambda: fake.in_flight == 0)
    assert state_of(db, job) == "running" and one(db, "SELECT count(*) FROM survivor") == "1024"
    db.query(f"CALL llm_run({job})")
    assert state_of(db, job) == "done"
    assert db.query("SELECT count(*), count(DISTINCT key) FROM survivor") == [("1500", "1500")]


def test_a_job_is_begun_by_a_commit_and_ended_by_a_word(db, fake):
    fill(db, ["a"])
    fake.forget()
    db.query("BEGIN")
    submit(db, "nothing")
    db.query("ROLLBACK")
    time.sleep(0.5)
    assert fake.requests == 0 and one(db, "SELECT to_regclass('nothing')") is None
    fill(db, [order(wait=0.05, key=i) for i in range(3000)])
    job = submit(db, "dropped")
    wait_for("the first step is committed", lambda: one(db, f"SELECT rows_done FROM llm_jobs WHERE id = {job}") == "1024", 60)
    begin = time.time()
    db.query(f"UPDATE llm_jobs SET state = 'cancelled' WHERE id = {job}")
    assert time.time() - begin < 1, "a step must not hold the job's row"
    db.query(f"SELECT pg_terminate_backend(runner) FROM llm_jobs WHERE id = {job}")
    wait_for("its requests end", lambda: fake.in_flight == 0)
    db.query(f"CALL llm_run({job})")
    assert state_of(db, job) == "cancelled"


def test_a_job_means_what_its_session_meant(db, fake):
    """Names are looked up along the path of the session that submitted; the worker's own is the default."""
    fill(db, ["everybody's"])
    db.query("CREATE SCHEMA shop; CREATE TABLE shop.t AS SELECT 1 AS id, 'of the shop' AS p; SET search_path = shop, public")
    job = submit(db, "sold")
    db.query("RESET search_path")
    wait_for("the job is over", lambda: state_of(db, job) in ("done", "failed"))
    assert one(db, f"SELECT message FROM llm_jobs WHERE id = {job}") is None
    assert db.query("SELECT key, value FROM shop.sold") == [("1", "re: of the shop")]
    assert one(db, "SHOW search_path") == '"$user", public'


def test_jobs_are_their_owners(db, fake):
    reader = Session(db.server, user="reader")
    assert reader.query("SELECT * FROM llm_jobs") == []
    db.query("GRANT CREATE ON SCHEMA public TO reader")
    job = submit(reader, "mine", query="SELECT 1, 'a'")
    wait_for("the job is done", lambda: state_of(reader, job) == "done")
    job = submit(reader, "theirs", query="SELECT rolname, rolpassword FROM pg_authid")
    wait_for("the job has failed", lambda: state_of(reader, job) == "failed")
    assert "permission denied" in one(reader, f"SELECT message FROM llm_jobs WHERE id = {job}")
    reader.query(f"UPDATE llm_jobs SET state = 'submitted' WHERE id = {job}")
    for call in (f"CALL llm_run({job})", f"SELECT llm_job_step({job})"):  # a superuser's rights are not for other people's queries
        assert f"job {job} belongs to reader" in db.error(call)
    assert one(db, "SELECT count(*) FROM theirs") == "0"
    reader.close()


FAKE_TESTS = [test_functions_say_what_they_are, test_cancel, test_terminate, test_one_warning_for_a_statement,
              test_only_a_superuser_points_elsewhere, test_zero_bytes_are_a_rows_error, test_params_may_be_jsonb,
              test_a_querys_values_are_forgotten, test_functions_in_the_query_cannot_write, test_a_backend_keeps_its_descriptors,
              test_a_unix_socket, test_only_utf8, test_no_name_is_taken_from_the_server, test_jobs,
              test_a_job_asks_again_what_was_lost, test_rows_lost_for_good_do_not_fail_a_job,
              test_a_job_goes_on_after_its_worker_was_killed, test_a_job_is_begun_by_a_commit_and_ended_by_a_word,
              test_a_job_means_what_its_session_meant, test_jobs_are_their_owners]


def run_cases(cases, db, server):
    for case in cases:
        begin = time.time()
        if isinstance(server, Fake):
            server.forget()
        case(db, server)
        print(f"{case.__name__}: {time.time() - begin:.1f} s", flush=True)


def main():
    with PostgresServer(MODULE, sys.argv[2:]) as postgres:
        fake = Fake()
        db = Session(postgres)
        db.query("CREATE EXTENSION tenon")
        db.point(fake.address)
        cases = [*sql_cases.FAKE_CASES, *FAKE_TESTS]
        if db.is_sanitized():  # which says nothing of memory, and the engine is sanitized elsewhere
            cases.remove(sql_cases.case_a_large_table_in_little_memory)
            run_cases(cases, db, fake)
        else:
            run_cases(cases, db, fake)
            with Server() as server:
                db.point(server.base)
                run_cases([*sql_cases.REAL_CASES, test_cancel_frees_the_engine], db, server)
        db.close()
        for fault in ("PANIC", "terminated by signal", "Sanitizer", "runtime error:"):
            assert fault not in postgres.read_log(), fault


main()
