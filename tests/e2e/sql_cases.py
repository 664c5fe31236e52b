"""What holds in every database: cases over a scripted server (fake_llm.py) and over `tenon serve`. A database is anything with
query(sql) -> rows of str or None, error(sql) -> message, point(address) and connect() -> another of its kind."""
import json
import socket
import threading
import time


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def order(**what):
    return json.dumps(what)


def one(db, sql):
    rows = db.query(sql)
    assert len(rows) == 1 and len(rows[0]) == 1, rows
    return rows[0][0]


def fill(db, prompts, table="t"):
    """A table of (id, p); ids count from 1."""
    db.query(f"DROP TABLE IF EXISTS {table}")
    db.query(f"CREATE TABLE {table}(id integer PRIMARY KEY, p text)")
    for begin in range(0, len(prompts), 500):
        rows = (f"({begin + i + 1}, {'NULL' if p is None else quoted(p)})" for i, p in enumerate(prompts[begin:begin + 500]))
        db.query(f"INSERT INTO {table} VALUES " + ",".join(rows))


def map_rows(db, options="{}", query="SELECT id, p FROM t ORDER BY id", columns="key, value, status, error_code, attempts"):
    return db.query(f"SELECT {columns} FROM llm_map('m', {quoted(query)}, {quoted(options)})")


def case_scalars(db, fake):
    assert one(db, "SELECT llm_complete('m', 'hi')") == "re: hi"
    assert one(db, "SELECT llm_complete('m', 'it''s \"quoted\" \\ {')") == "re: it's \"quoted\" \\ {"
    assert one(db, "SELECT llm_complete('m', 'hi', '{\"raw\": true}')") == "re: hi"
    assert fake.bodies[-1] == ("/v1/completions", {"model": "m", "prompt": "hi"})
    one(db, "SELECT llm_complete('m', 'hi', '{\"system\": \"be brief\", \"max_tokens\": 5, \"window\": 3}')")
    assert fake.bodies[-1] == ("/v1/chat/completions", {"model": "m", "max_tokens": 5, "messages": [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]})
    chat = json.loads(one(db, "SELECT llm_chat('m', '[{\"role\": \"user\", \"content\": \"yo\"}]')"))
    assert chat["choices"][0]["message"]["content"] == "re: yo" and chat["usage"]["prompt_tokens"] == 3
    assert one(db, "SELECT llm_tokens('m', 'four')") == "4"
    assert one(db, "SELECT llm_complete('m', 'ünï 🦀')") == "re: ünï 🦀"


def case_null_in_null_out(db, fake):
    before = fake.requests
    for call in ("llm_complete(NULL, 'a')", "llm_complete('m', NULL)", "llm_complete('m', 'a', NULL)", "llm_try('m', NULL)",
                 "llm_chat('m', NULL)", "llm_tokens('m', NULL)", "llm_filter('m', NULL)", "llm_embed(NULL, 'a')"):
        assert one(db, f"SELECT {call}") is None, call
    assert db.query("SELECT * FROM llm_map('m', NULL, '{}')") == []
    assert fake.requests == before


def case_filter_can_only_say_yes_or_no(db, fake):
    """The fake vocabulary is bytes: 'y' and 'n' tell the two apart; it picks the last id that is allowed."""
    assert one(db, "SELECT llm_filter('m', 'is it?')") in ("1", "t")
    path, body = fake.bodies[-1]
    assert body["max_tokens"] == 1 and body["temperature"] == 0 and body["return_token_ids"]
    assert sorted(body["allowed_token_ids"]) == sorted(b"nNyY")


def case_filter_learns_within_its_own_limits(db, fake):
    """Its first requests ask for tokens: not with what an earlier statement wanted."""
    patient, hasty = db.connect(), db.connect()
    for other in patient, hasty:
        one(other, "SELECT llm_complete('m', 'a', '{\"max_retries\": 0}')")
    fake.busy = 1
    assert one(patient, "SELECT llm_filter('m', 'is it?')") in ("1", "t") and fake.busy == 0
    fake.busy = 1
    assert "busy" in hasty.error("SELECT llm_filter('m', 'is it?', '{\"max_retries\": 0}')") and fake.busy == 0


def case_json_is_checked(db, fake):
    call = "SELECT llm_json('m', {}, '{{\"type\": \"object\"}}')"
    good = order(body=json.dumps({"choices": [{"message": {"content": "{\"a\": 1}"}, "finish_reason": "stop"}]}))
    assert json.loads(one(db, call.format(quoted(good)))) == {"a": 1}
    assert fake.bodies[-1][1]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert one(db, call.format(quoted("hi"))) is None  # "re: hi" is no JSON
    refusal = order(status=400, error={"message": "'response_format' is not supported", "param": "response_format"})
    assert "'response_format' is not supported" in db.error(call.format(quoted(refusal)))


def case_embeddings(db, fake):
    assert one(db, "SELECT llm_embed('m', 'four')").replace("{", "[").replace("}", "]") in ("[0.5,-1,4]",)


def case_scalar_faults(db, fake):
    big = order(status=400, error={"message": "too long", "param": "prompt", "code": "context_length_exceeded"})
    assert one(db, f"SELECT llm_complete('m', {quoted(big)})") is None
    answer = json.loads(one(db, f"SELECT llm_try('m', {quoted(big)})"))
    assert answer == {"value": None, "error": "too long", "code": "context_length_exceeded", "finish_reason": None, "usage": None}
    assert "too long" in db.error(f"SELECT llm_complete('m', {quoted(big)}, '{{\"on_error\": \"fail\"}}')")
    answer = json.loads(one(db, "SELECT llm_try('m', 'hi')"))
    assert answer == {"value": "re: hi", "error": None, "code": None, "finish_reason": "stop",
                      "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    long = order(status=500, error={"message": "ü" * 400})  # cut where there is room for no more, in the middle of a letter
    assert json.loads(one(db, f"SELECT llm_try('m', {quoted(long)})"))["error"] == "ü" * 299 + "?"
    for code in (500, 413, 422):
        assert json.loads(one(db, f"SELECT llm_try('m', {quoted(order(status=code))})"))["code"] == f"http_{code}"
    assert one(db, "SELECT llm_chat('m', '{\"no\": \"list\"}')") is None


def case_what_no_row_survives_raises(db, fake):
    assert "the model 'nope' does not exist" in db.error("SELECT llm_complete('nope', 'a')")
    assert "the model 'nope' does not exist" in db.error("SELECT llm_try('nope', 'a')")
    assert "unknown field 'bad'" in db.error("SELECT llm_complete('m', 'a', '{\"bad\": 1}')")
    assert "unknown field 'bad'" in db.error("SELECT * FROM llm_map('m', 'SELECT 1, ''a''', '{\"bad\": 1}')")
    for options, complaint in (('{"window": 0}', "'window' must be an integer from 1 to 1024"),
                               ('{"window": 1.5}', "'window' must be an integer"),
                               ('{"max_retries": 5}', "'max_retries' must be an integer from 0 to 4"),
                               ('{"n": 2}', "'n' is set by the function itself"), ('[1]', "must be a JSON object"),
                               ('{"on_error": "shrug"}', "'on_error' must be"), ('{"ordered": 1}', "'ordered' must be true"),
                               ('{"breaker": 1}', "'breaker' must be true"),
                               ('{"raw": true, "system": "x"}', "'system' needs the chat template")):
        for call in ("SELECT llm_complete('m', 'a', {})", "SELECT * FROM llm_map('m', 'SELECT 1, ''a''', {})"):
            message = db.error(call.format(quoted(options)))
            assert complaint in message, (options, message)
    for status, call in ((401, "SELECT llm_complete('m', {})"), (403, "SELECT llm_try('m', {})")):
        assert "said so" in db.error(call.format(quoted(order(status=status))))


def case_retries(db, fake):
    """429, 503 and no connection are tried again; 400, 413, 422 and 500 are not; a broken answer is not."""
    fill(db, [order(status=429, times=2), order(status=503, times=1), order(status=500, times=1), order(status=413, times=1),
              order(status=422, times=1), order(cut=True), order(body="{not json"), order(body="[]"), "plain"])
    rows = map_rows(db)
    assert [(r[2], r[3], r[4]) for r in rows] == [
        ("ok", None, "3"), ("ok", None, "2"), ("error", "http_500", "1"), ("error", "http_413", "1"), ("error", "http_422", "1"),
        ("error", "connection_lost", "1"), ("error", "bad_answer", "1"), ("error", "bad_answer", "1"), ("ok", None, "1")], rows
    fill(db, [order(status=429)])
    assert map_rows(db, '{"max_retries": 1}') == [("1", None, "error", "http_429", "2")]
    assert map_rows(db, '{"max_retries": 0}') == [("1", None, "error", "http_429", "1")]
    fake.forget()
    failed = order(status=503, error={"message": "the service has failed", "code": "engine_unavailable"})
    assert "the service has failed" in db.error(f"SELECT llm_try('m', {quoted(failed)}, '{{\"max_retries\": 2}}')")
    assert fake.requests == 3


def case_retry_after_is_honoured(db, fake):
    begin = time.time()
    fill(db, [order(status=429, times=1, retry_after=2)])
    assert map_rows(db)[0][2:] == ("ok", None, "2")
    assert time.time() - begin >= 2
    begin = time.time()
    fill(db, [order(status=429, retry_after=30, key=1)])  # longer than the row may take: no point in waiting
    assert map_rows(db, '{"timeout_ms": 3000}')[0][2:] == ("error", "http_429", "1")
    assert time.time() - begin < 2.5


def case_deadline(db, fake):
    begin = time.time()
    fill(db, ["a", order(hang=True), "b"])
    assert [r[2:4] for r in map_rows(db, '{"timeout_ms": 700}')] == [("ok", None), ("error", "timeout"), ("ok", None)]
    assert time.time() - begin < 5
    assert json.loads(one(db, f"SELECT llm_try('m', {quoted(order(hang=True))}, '{{\"timeout_ms\": 300}}')"))["code"] == "timeout"
    wait_for("hang-ups are seen", lambda: fake.hang_ups >= 2)


def wait_for(what, condition, seconds=20):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def case_window_is_in_flight(db, fake):
    """The first 32 rows are answered once all of them are there."""
    fill(db, [order(after=32, key=i) for i in range(96)])
    wait_for("the fake is idle", lambda: fake.in_flight == 0)
    fake.forget()
    rows = map_rows(db, '{"window": 32}')
    assert len(rows) == 96 and fake.requests == 96
    assert fake.in_flight_max == 32, fake.in_flight_max
    fill(db, ["a", "b", "c"])
    wait_for("the fake is idle", lambda: fake.in_flight == 0)
    fake.forget()
    map_rows(db, '{"window": 1}')
    assert fake.in_flight_max == 1


def case_order(db, fake):
    """The first row is answered last: `ordered` holds the others back, at most four windows of them; without it they overtake."""
    others = [f"row {i}" for i in range(2, 41)]
    fill(db, [order(after=16), *others])
    fake.forget()
    assert [r[0] for r in map_rows(db, '{"window": 4}')] == [str(i) for i in range(1, 41)]
    fill(db, [order(after=40), *others])
    fake.forget()
    rows = map_rows(db, '{"window": 4, "ordered": false}')
    keys = [int(r[0]) for r in rows]
    assert keys.index(1) >= 36 and sorted(keys) == list(range(1, 41)), keys  # the 40th was asked when 36 others had been handed on
    assert all(r[1] == f"re: row {r[0]}" for r in rows if r[0] != "1")


def case_rows(db, fake):
    fill(db, ["one", None, "three", ""])
    assert map_rows(db) == [("1", "re: one", "ok", None, "1"), ("2", None, "null", None, "0"), ("3", "re: three", "ok", None, "1"),
                            ("4", "re: ", "ok", None, "1")]
    assert map_rows(db, query="SELECT id, p FROM t WHERE id > 99") == []
    assert db.query("SELECT count(*) FROM llm_map('m', 'SELECT NULL, ''x''') WHERE key IS NULL") == [("1",)]
    assert map_rows(db, query="SELECT 'k', 5") == [("k", "re: 5", "ok", None, "1")]
    columns = "finish_reason, prompt_tokens, completion_tokens"
    assert map_rows(db, query="SELECT 1, 'x'", columns=columns) == [("stop", "3", "2")]


def case_params_of_a_row(db, fake):
    fake.forget()
    rows = map_rows(db, '{"max_tokens": 9, "temperature": 1}',
                    "SELECT 1, 'a', '{\"max_tokens\": 2}' UNION ALL SELECT 2, 'b', NULL UNION ALL "
                    "SELECT 3, 'c', '{\"bad\": 1}' UNION ALL SELECT 4, 'd', '[]' UNION ALL SELECT 5, 'e', '{\"model\": \"z\"}'")
    assert [r[2:4] for r in sorted(rows)] == [("ok", None), ("ok", None), ("error", "http_400"), ("error", "bad_row"),
                                             ("error", "bad_row")], rows
    asked = {body["messages"][0]["content"]: body["max_tokens"] for _, body in fake.bodies}
    assert asked == {"a": 2, "b": 9, "c": 9}


def case_functions_within_functions(db, fake):
    """A query that asks, too: each call has connections of its own."""
    inner = "SELECT value FROM llm_map('{}', 'SELECT 1, ''a''')"
    for query in ("SELECT 1, llm_complete('m', 'a')", f"SELECT 1, value FROM ({inner.format('m')}) AS q"):
        assert map_rows(db, query=query) == [("1", "re: re: a", "ok", None, "1")]
    assert one(db, f"SELECT llm_complete('m', ({inner.format('m')}))") == "re: re: a"
    assert "the model 'nope' does not exist" in db.error(f"SELECT llm_complete('m', ({inner.format('nope')}))")
    assert one(db, "SELECT llm_complete('m', 'a')") == "re: a"


def case_on_error(db, fake):
    fill(db, ["a", order(status=500), "c"])
    columns = "key, value, status, error_code, error"
    assert map_rows(db, columns=columns)[1] == ("2", None, "error", "http_500", "said so")
    assert map_rows(db, '{"on_error": "null"}', columns=columns)[1] == ("2", None, "error", None, None)
    assert "said so (http_500)" in db.error("SELECT * FROM llm_map('m', 'SELECT id, p FROM t', '{\"on_error\": \"fail\"}')")


def case_breaker(db, fake):
    """Ten of the first fifty may fail; the eleventh ends it. After fifty rows nothing does."""
    fill(db, [order(status=500, key=i) if i % 5 == 0 else f"r{i}" for i in range(50)])
    assert sum(r[2] == "error" for r in map_rows(db)) == 10
    fill(db, [order(status=500, key=i) if i < 11 else f"r{i}" for i in range(300)])
    fake.forget()
    assert "11 of the first 11 rows failed" in db.error("SELECT * FROM llm_map('m', 'SELECT id, p FROM t ORDER BY id', '{\"window\": 4}')")
    assert fake.requests < 40
    assert sum(r[2] == "error" for r in map_rows(db, '{"breaker": false}')) == 11
    fill(db, [f"r{i}" if i < 50 else order(status=500, key=i) for i in range(100)])
    assert sum(r[2] == "error" for r in map_rows(db)) == 50


def case_a_prompt_is_never_sql_or_json(db, fake):
    nasty = ["'; DROP TABLE t; --", "\", \"model\": \"other", "\\", "%s %n", "line\nbreak\ttab", "{{", "\u2028", "' || llm_try('m','x') || '"]
    fill(db, nasty)
    assert [r[1] for r in map_rows(db)] == ["re: " + text for text in nasty]
    assert all(body["model"] == "m" for _, body in fake.bodies)
    assert one(db, "SELECT count(*) FROM t") == str(len(nasty))


def case_the_query_only_reads(db, fake):
    fill(db, ["a"])
    for query in ("DELETE FROM t RETURNING id, p", "WITH d AS (SELECT 1) DELETE FROM t RETURNING id, p",
                  "INSERT INTO t VALUES (9, 'x') RETURNING id, p",
                  "UPDATE t SET p = 'x' RETURNING id, p", "SELECT id, p FROM t; DELETE FROM t", "DROP TABLE t", "SELECT 1",
                  "SELECT 1, 2, 3, 4", "", "SELECT id, p FROM no_such_table", "BEGIN"):
        assert db.error(f"SELECT * FROM llm_map('m', {quoted(query)})"), query
    assert db.query("SELECT id, p FROM t") == [("1", "a")]


def speak_plainly(listener):
    connection, _ = listener.accept()
    with connection:
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def case_no_server(db, fake):
    other = db.connect()
    other.point("http://127.0.0.1:9")
    begin = time.time()
    message = other.error("SELECT llm_complete('m', 'a', '{\"max_retries\": 1}')")
    assert "no server answers at http://127.0.0.1:9" in message, message
    assert "no server answers" in other.error("SELECT * FROM llm_map('m', 'SELECT 1, ''a''', '{\"max_retries\": 0}')")
    other.point("unix:/nonexistent/tenon.sock")
    assert "no server answers at unix:/nonexistent/tenon.sock" in other.error("SELECT llm_tokens('m', 'a')")
    assert time.time() - begin < 15
    with socket.create_server(("127.0.0.1", 0)) as speaker:  # of something else than TLS
        threading.Thread(target=speak_plainly, args=(speaker,)).start()
        other.point(f"https://127.0.0.1:{speaker.getsockname()[1]}")
        assert "no server answers at https://127.0.0.1" in other.error("SELECT llm_complete('m', 'a', '{\"max_retries\": 0}')")
    for address in ("ftp://x", "unix:relative", "127.0.0.1:80", "http://", "http://a/?b"):
        assert other.point_error(address), address



def case_a_large_table_in_little_memory(db, fake):
    """100,000 rows that are not asked, for they are NULL, and 1,500 with answers of 20 kB: what has been handed on is forgotten."""
    fill(db, ["x"])
    long = order(body=json.dumps({"choices": [{"message": {"content": "y" * 20000}, "finish_reason": "stop"}]}))
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    count = f"SELECT count(*), sum(length(value)) FROM llm_map('m', {{}})"
    small = db.memory()
    rows = db.query(count.format(quoted(numbers.format(100000) + " SELECT i, NULL FROM n")))
    assert rows[0][0] == "100000"
    rows = db.query(count.format(quoted(numbers.format(1500) + f" SELECT i, {quoted(long)} FROM n")))
    assert rows == [("1500", str(1500 * 20000))], rows
    grown = db.memory() - small
    assert grown < 20 << 20 or db.is_sanitized(), f"{grown >> 20} MiB more than before, for 30 MB of answers"


def case_api_key(db, fake):
    other = db.connect()
    other.point(fake.address, "secret-1")
    fake.forget()
    one(other, "SELECT llm_complete('m', 'a')")
    other.query("SELECT * FROM llm_map('m', 'SELECT 1, ''a''')")
    assert set(fake.keys) == {"Bearer secret-1"}


FAKE_CASES = [value for name, value in list(globals().items()) if name.startswith("case_")]


def real_table(db, server, rows=1000):
    """One oversize row in a thousand: 999 answers and one error; rows share the batch; keys and order are kept."""
    prompts = [f"Row {i}: say something." for i in range(1, rows + 1)]
    prompts[rows // 2] = "far too long " * 20000
    fill(db, prompts)
    peak = [0]
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], server.metric("tenon:num_requests_running"))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = db.query("SELECT key, value, status, error_code, completion_tokens FROM llm_map('smollm2', "
                           "'SELECT id, p FROM t ORDER BY id', '{\"max_tokens\": 4, \"temperature\": 0, \"ignore_eos\": true}')")
    finally:
        stop.set()
        watcher.join()
    assert [r[0] for r in answers] == [str(i) for i in range(1, rows + 1)]
    bad = [r for r in answers if r[2] != "ok"]
    assert bad == [(str(rows // 2 + 1), None, "error", "context_length_exceeded", None)], bad
    assert all(r[1] is not None and r[4] == "4" for r in answers if r[2] == "ok")
    assert peak[0] > 1, "rows were asked one by one"


def real_scalars(db, server):
    greedy = quoted('{"max_tokens": 6, "temperature": 0}')
    first = one(db, f"SELECT llm_complete('smollm2', 'hello', {greedy})")
    chat = server.chat("hello", max_tokens=6)
    assert first == chat["choices"][0]["message"]["content"]
    rows = db.query(f"SELECT value FROM llm_map('alias', 'SELECT 1, ''hello''', {greedy})")
    assert rows == [(first,)]
    assert one(db, "SELECT llm_filter('smollm2', 'Is water wet?')") in ("0", "1", "t", "f")
    count = server.request("POST", "/tokenize", {"model": "smollm2", "prompt": "hello world"})[2]["count"]
    assert one(db, "SELECT llm_tokens('smollm2', 'hello world')") == str(count)
    schema = quoted('{"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 3, "maximum": 5}}, '
                    '"required": ["ok", "n"]}')
    value = json.loads(one(db, f"SELECT llm_json('smollm2', 'a', {schema}, {quoted(json.dumps({'temperature': 1, 'seed': 5}))})"))
    assert set(value) == {"ok", "n"} and value["ok"] in (True, False) and value["n"] in (3, 4, 5), value
    assert one(db, f"SELECT llm_json('smollm2', 'a', {schema}, {quoted(json.dumps({'max_tokens': 2}))})") is None
    fail = quoted(json.dumps({"max_tokens": 2, "on_error": "fail"}))
    assert "was cut before it was complete" in db.error(f"SELECT llm_json('smollm2', 'a', {schema}, {fail})")
    assert "#/not: this keyword is not supported" in db.error("SELECT llm_json('smollm2', 'a', '{\"not\": {}}')")
    assert "this server makes no embeddings" in db.error("SELECT llm_embed('smollm2', 'a')")
    assert "does not exist" in db.error("SELECT llm_complete('other', 'a')")


REAL_CASES = [real_scalars, real_table]
