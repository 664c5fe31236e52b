#!/usr/bin/env python3
"""`tenon batch` over a scripted server and over `tenon serve`: every kind of input and output, every flag, rows that fail, kills of either
side at any moment: each key has exactly one answer in the end, equal to that of an undisturbed run."""
import csv
import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from fake_llm import Fake
from server import Server

KILLS = int(os.environ.get("TENON_TEST_KILLS", "30"))
COLUMNS = ["key", "value", "status", "error_code", "error", "finish_reason", "prompt_tokens", "completion_tokens", "latency_ms", "attempts"]


def start(*arguments, **options):
    return subprocess.Popen([os.environ["TENON"], "batch", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def batch(*arguments, code=0, **options):
    """Standard output, or standard error where another exit code than 0 is expected."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, (arguments, process.returncode, out, err)
    return out if code == 0 else err


def order(**fields):
    return json.dumps(fields)


def write(path, lines):
    with open(path, "w") as out:
        for line in lines:
            out.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
    return path


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def answers(path):
    """What has to be equal in two runs."""
    rows = read(path)
    assert all(list(row) == COLUMNS for row in rows)
    return [[row[name] for name in COLUMNS[:8]] for row in rows]


def only(folder, *names):
    assert sorted(os.listdir(folder)) == sorted(names), os.listdir(folder)


class Folder:
    """A folder of its own for a case."""

    def __init__(self, root, name):
        self.path = os.path.join(root, name)
        os.mkdir(self.path)

    def __call__(self, name):
        return os.path.join(self.path, name)


def run(fake, source, out, *flags, code=0):
    return batch("run", "m", "--in", source, "--out", out, "--server", fake.address, *flags, code=code)


# ---- what comes in, what goes out ----

def test_jsonl(at, fake):
    source = write(at("in.jsonl"), [{"key": "a", "prompt": "one", "temperature": 0.5}, {"key": 7, "messages": [{"role": "user", "content": "two"}]},
                                    "", {"prompt": "three"}, {"key": "n", "prompt": None}, {"key": "é\n", "prompt": 'ü"'}])
    out = at("out.jsonl")
    assert "5 rows: 4 answered, 1 without a prompt, 0 failed" in run(fake, source, out, "--param", "temperature=0", "--param", "user=me", "--max-tokens", "5")
    assert [row[:3] for row in answers(out)] == [["a", "re: one", "ok"], ["7", "re: two", "ok"], ["4", "re: three", "ok"], ["n", None, "null"],
                                                  ["é\n", 're: ü"', "ok"]]
    bodies = {body["messages"][0]["content"]: body for _, body in fake.bodies}
    assert bodies["one"] == {"model": "m", "messages": [{"role": "user", "content": "one"}], "temperature": 0.5, "max_tokens": 5, "user": "me"}
    assert bodies["two"]["temperature"] == 0 and "key" not in bodies["two"]
    success = json.load(open(out + ".success"))
    assert {name: success[name] for name in ("rows", "ok", "null", "error")} == {"rows": 5, "ok": 4, "null": 1, "error": 0}
    only(at.path, "in.jsonl", "out.jsonl", "out.jsonl.job", "out.jsonl.success")


def test_csv(at, fake):
    with open(at("in.csv"), "w", newline="") as text:
        text.write("\ufeffid,note,question,params\r\nx,,plain,\r\n" + '"y,1",n,"two\r\nlines and ""quotes""","{""seed"": 3}"\r\n\r\nz,,,\r\n')
    run(fake, at("in.csv"), at("out.csv"), "--key", "id", "--prompt", "question", "--system", "Be brief.")
    with open(at("out.csv"), newline="") as text:
        rows = list(csv.reader(text))
    assert rows[0] == COLUMNS
    assert [row[:3] for row in rows[1:]] == [["x", "re: plain", "ok"], ["y,1", 're: two\r\nlines and "quotes"', "ok"], ["z", "re: ", "ok"]]
    bodies = {body["messages"][1]["content"]: body for _, body in fake.bodies}
    assert bodies['two\r\nlines and "quotes"']["seed"] == 3 and bodies["plain"]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_sqlite(at, fake):
    db = sqlite3.connect(at("t.db"))
    db.execute("CREATE TABLE t (id INTEGER, p TEXT)")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"row {i}" if i % 10 else None) for i in range(100)])
    db.commit()
    source, out = f"sqlite:{at('t.db')}?SELECT id, p FROM t ORDER BY id DESC", f"sqlite:{at('t.db')}?the \"answers\""
    run(fake, source, out, "--key", "id", "--prompt", "p", "--raw", "--window", "3")
    rows = db.execute('SELECT * FROM "the ""answers"""').fetchall()
    assert [row[0] for row in rows] == [str(i) for i in reversed(range(100))]
    assert all(row[1:3] == (f"re: row {row[0]}", "ok") if int(row[0]) % 10 else row[1:3] == (None, "null") for row in rows)
    assert fake.in_flight_max <= 3 and fake.bodies[0][0] == "/v1/completions"
    assert "is there already" in run(fake, source, f"sqlite:{at('t.db')}?t", "--key", "id", "--prompt", "p", code=1)
    assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)
    for bad, words in {"INSERT INTO t VALUES (1, 2)": "must read rows", "SELECT 1 AS prompt; SELECT 2": "one statement",
                       "SELECT p FROM t": "no column 'prompt'", "SELEKT": "syntax error"}.items():
        assert words in run(fake, f"sqlite:{at('t.db')}?{bad}", at("x.jsonl"), code=1)
    assert "row 1: the key is not valid UTF-8" in run(fake, f"sqlite:{at('t.db')}?SELECT CAST(x'ff' AS TEXT) AS key, 'p' AS prompt", at("x.jsonl"), code=1)
    run(fake, f"sqlite:{at('t.db')}?SELECT 'p' AS prompt", at("y.jsonl"))
    assert answers(at("y.jsonl"))[0][0] == "1"


def test_openai(at, fake):
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]}}
    bad = {**line, "custom_id": "b", "body": {"messages": [{"role": "user", "content": order(status=400, error={"message": "no", "code": "c"})}]}}
    late = {**line, "custom_id": "c", "body": {"messages": [{"role": "user", "content": order(hang=True)}]}}
    run(fake, write(at("in.jsonl"), [line, bad]), at("out.jsonl"), code=3)
    run(fake, write(at("late.jsonl"), [late]), at("none.jsonl"), "--timeout", "1", code=3)
    (first, second), (third,) = read(at("out.jsonl")), read(at("none.jsonl"))
    assert first["custom_id"] == "a" and first["response"]["body"]["choices"][0]["message"]["content"] == "re: hi" and first["error"] is None
    assert first["response"]["status_code"] == 200
    assert second["custom_id"] == "b" and second["response"]["status_code"] == 400 and second["error"] is None
    assert second["response"]["body"] == {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "c"}}
    assert third["custom_id"] == "c" and third["response"] is None and third["error"]["code"] == "timeout"


def test_export(at, fake):
    """Answers and errors so far; of a batch that was given up, the rows that were never asked, too."""
    rows = [{"custom_id": str(i), "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": order(status=400) if i == 1 else f"p{i}"}}
            for i in range(6)]
    source, out, files = write(at("in.jsonl"), rows), at("out.jsonl"), ["--answers", at("good.jsonl"), "--errors", at("bad.jsonl")]
    run(fake, source, out, code=3)
    assert json.loads(batch("export", out, *files, "--expired", source)) == {"ok": 5, "error": 1, "unasked": 0}
    with open(out + ".job") as log:
        logged = log.readlines()
    for count, ended, code in ((4, "expired", "batch_expired"), (2, "cancelled", "batch_cancelled"), (0, "expired", "batch_expired")):
        with open(out + ".job", "w") as log:
            log.writelines(logged[:1 + count])
        if count == 0:
            os.remove(out + ".job")
        told, failed = json.loads(batch("export", out, *files, "--" + ended, source)), int(count > 1)
        assert told == {"ok": count - failed, "error": failed, "unasked": 6 - count}, told
        assert [row["custom_id"] for row in read(at("good.jsonl"))] == [str(i) for i in range(count) if i != 1]
        never = read(at("bad.jsonl"))[failed:]
        assert [(row["custom_id"], row["response"], row["error"]["code"]) for row in never] == [(str(i), None, code) for i in range(count, 6)]
    assert "there is no such batch" in batch("export", out, *files, code=1)
    assert "exclude each other" in batch("export", out, *files, "--expired", source, "--cancelled", source, code=2)


# ---- a disk that is full ----

LIMITED = """import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_full_disk(at, fake):
    """A file may not grow beyond so many bytes, as on a disk that is full: whatever write meets that, it is told, and the run goes on from there
    once there is room, with each key once."""
    def run_limited(out, most):
        whole = [os.environ["TENON"], "batch", *arguments, "--out", out]
        process = subprocess.run([sys.executable, "-c", LIMITED, str(most), *whole], capture_output=True, text=True, timeout=120)
        words = process.stderr
        assert process.returncode == 1 and os.strerror(errno.EFBIG) in words, (most, process.returncode, words)
        assert not os.path.exists(out) and not os.path.exists(out + ".success")

    source = write(at("in.jsonl"), [{"key": str(i), "prompt": f"p{i}" + "x" * 200} for i in range(40)])
    arguments = ["run", "m", "--in", source, "--server", fake.address, "--mode", "resume"]
    run(fake, source, at("whole.jsonl"))
    for most in (0, 10, 200, 1000, os.path.getsize(at("whole.jsonl.job")) // 2):  # of the log
        run_limited(at("out.jsonl"), most)
    batch(*arguments, "--out", at("out.jsonl"))
    assert answers(at("out.jsonl")) == answers(at("whole.jsonl"))
    asked = fake.requests
    for most in (0, 1000):  # of the output
        os.remove(at("out.jsonl"))
        os.remove(at("out.jsonl.success"))
        run_limited(at("out.jsonl"), most)
        batch(*arguments, "--out", at("out.jsonl"))
        assert answers(at("out.jsonl")) == answers(at("whole.jsonl")) and fake.requests == asked
    only(at.path, "in.jsonl", *[name + end for name in ("out.jsonl", "whole.jsonl") for end in ("", ".job", ".success")])


def test_refused_inputs(at, fake):
    good = {"key": "a", "prompt": "x"}
    cases = {
        "line 2: not a JSON object": [good, "{"], "the key 'a' of line 3 is that of line 1 too": [good, {"prompt": "x"}, good],
        "either 'prompt' or 'messages'": [{"key": "a"}], "the model 'other'": [{**good, "model": "other"}], "'stream'": [{**good, "stream": True}],
        "'n' must be 1": [{**good, "n": 2}], "a key must be": [{"key": "", "prompt": "x"}], "'url' must be": [{"custom_id": "a", "method": "POST", "url": "/x"}],
    }
    for i, (words, lines) in enumerate(cases.items()):
        text = run(fake, write(at(f"{i}.jsonl"), lines), at(f"{i}.out.jsonl"), code=1)
        assert words in text and f"{i}.jsonl" in text, text
        assert not os.path.exists(at(f"{i}.out.jsonl.job"))
    for text, words in {"prompt\n\"x": "line 2: a quote that begins", "prompt\na,b\n": "2 fields under 1 names", "": "must name the columns",
                        "prompt,key\nx,a\ny,a\n": "the key 'a' of line 3 is that of line 2", "promt\n": "no column 'prompt'"}.items():
        write(at("in.csv"), [])
        with open(at("in.csv"), "w") as out:
            out.write(text)
        assert words in run(fake, at("in.csv"), at("out.csv"), code=1)
    assert "column 'id', which --key names" in run(fake, write(at("k.csv"), ["prompt"]), at("out.csv"), "--key", "id", code=1)
    assert "an input is" in run(fake, at("in.txt"), at("out.csv"), code=1)
    assert "an output is" in run(fake, at("in.csv"), at("out.txt"), code=1)
    assert fake.requests == 0


def test_usage(at, fake):
    source = write(at("in.jsonl"), [{"prompt": "x"}])
    for flags, words in {("--mode", "again"): "--mode takes", ("--param", "x"): "KEY=VALUE", ("--param", "model=x"): "set by the rows", ("--raw", "--system", "s"): "--raw",
                         ("--window", "0"): "--window takes 1 to 1024", ("--retries", "9"): "--retries takes", ("--timeout", "0"): "--timeout takes",
                         ("--token", "a", "--token-file", "b"): "exclude"}.items():
        assert words in run(fake, source, at("out.jsonl"), *flags, code=2)
    assert "the system text is not valid UTF-8" in run(fake, source, at("out.jsonl"), "--system", "\udcff", code=1)
    assert "--in is missing" in batch("run", "m", "--out", "x.csv", code=2)
    assert "there is no such batch" in batch("status", at("none.jsonl"), code=1)
    assert "there is no such batch" in batch("retry-failed", at("none.jsonl"), code=1)
    for name in ("run", "status", "list", "cancel", "errors", "retry-failed"):
        assert "usage: tenon batch " + name in batch(name, "--help")
        assert name in batch("--help")
    only(at.path, "in.jsonl")


def test_tokens(at, fake):
    source = write(at("in.jsonl"), [{"prompt": "x"}])
    write(at("token"), ["from-file"])
    for i, (flags, key) in enumerate({("--token", "here"): "here", ("--token-file", at("token")): "from-file"}.items()):
        run(fake, source, at(f"{i}.csv"), *flags)
        assert fake.keys[-1] == "Bearer " + key
    batch("run", "m", "--in", source, "--out", at("e.csv"), "--server", fake.address, env={**os.environ, "TENON_API_KEY": "variable"})
    assert fake.keys[-1] == "Bearer variable"
    local = Fake(socket_path=at("s"))
    run(local, source, at("u.csv"))
    local.close()


# ---- rows that fail ----

def test_retries_and_errors(at, fake):
    rows = [{"key": "fine", "prompt": "x"}, {"key": "429", "prompt": order(status=429, times=2, retry_after=0)},
            {"key": "503", "prompt": order(status=503, times=1, retry_after=0)}, {"key": "cut", "prompt": order(cut=True)},
            {"key": "500", "prompt": order(status=500, times=1)}, {"key": "body", "prompt": order(body="{")}, {"key": "zero", "prompt": "a\0b"}]
    source, out = write(at("in.jsonl"), rows), at("out.jsonl")
    assert "some rows failed" in run(fake, source, out, "--retries", "3", code=3)
    got = {row["key"]: row for row in read(out)}
    assert list(got) == [row["key"] for row in rows]
    assert {key: row["error_code"] for key, row in got.items()} == {
        "fine": None, "429": None, "503": None, "cut": "connection_lost", "500": "http_500", "body": "bad_answer", "zero": None}
    assert got["429"]["attempts"] == 3 and got["503"]["attempts"] == 2 and got["cut"]["attempts"] == 4
    told = batch("run", "m", "--in", write(at("two.jsonl"), [{"prompt": "x"}, {"prompt": "y"}]), "--out", at("two.csv"), "--json", "--server", fake.address)
    assert [json.loads(line) for line in told.splitlines()][-1] == {"rows": 2, "ok": 2, "null": 0, "error": 0}, told
    errors = [json.loads(line) for line in batch("errors", out).splitlines()]
    assert [row["key"] for row in errors] == ["cut", "500", "body"] and all(row["error"] for row in errors)
    assert "7 of 7 rows: 4 answered, 0 without a prompt, 3 failed" in batch("status", out)
    run(fake, write(at("slow.jsonl"), [{"key": "slow", "prompt": order(hang=True)}]), at("late.jsonl"), "--timeout", "1", code=3)
    assert read(at("late.jsonl"))[0]["error_code"] == "timeout"
    assert got["zero"]["value"] == "re: a\0b"
    run(fake, write(at("zero.jsonl"), rows[-1:]), at("zero.csv"), code=3)
    assert "zero byte" in batch("errors", at("zero.csv"))
    asked = fake.requests
    batch("retry-failed", out, "--server", fake.address, "--retries", "0", "--window", "2", code=3)
    assert fake.requests == asked + 3
    got = {row["key"]: row for row in read(out)}
    assert list(got) == [row["key"] for row in rows] and got["500"]["status"] == "ok"
    assert json.load(open(out + ".success"))["error"] == 2
    write(source, rows[:-1])
    assert "the input has changed" in batch("retry-failed", out, "--server", fake.address, code=1)


def test_long_words(at, fake):
    """What a server says is cut where a record has no room for it, and no row stops for that."""
    rows = [{"key": str(i), "prompt": order(status=400, error={"message": "x" * i + "é" * 600})} for i in range(2)]
    run(fake, write(at("in.jsonl"), rows), at("out.jsonl"), code=3)
    assert [row["status"] for row in read(at("out.jsonl"))] == ["error"] * 2


def test_what_no_row_gets_by(at, fake):
    """The job stops, and goes on when the cause is gone."""
    source, out = write(at("in.jsonl"), [{"key": str(i), "prompt": f"p{i}"} for i in range(200)]), at("out.jsonl")
    assert "no server answers" in batch("run", "m", "--in", source, "--out", out, "--server", "unix:" + at("nobody"), "--retries", "0", code=1)
    assert "stopped  0 of 200 rows" in batch("status", out)
    assert "does not exist" in batch("run", "other", "--in", source, "--out", out, "--server", fake.address, "--mode", "overwrite", code=1)
    assert "another 'service'" in run(fake, source, out, "--mode", "resume", code=1)
    assert "rows are left" in batch("retry-failed", out, "--server", fake.address, code=1)
    assert "unknown field 'bad'" in run(fake, source, out, "--mode", "overwrite", "--param", "bad=1", code=1)
    assert "another 'params'" in run(fake, source, out, "--mode", "resume", code=1)
    run(fake, source, out, "--mode", "overwrite")
    assert [row[:2] for row in answers(out)] == [[str(i), f"re: p{i}"] for i in range(200)]


def test_modes(at, fake):
    source, out = write(at("in.jsonl"), [{"key": "a", "prompt": "x"}]), at("out.jsonl")
    write(out, ["mine"])
    for mode in ("error", "resume"):
        assert "is there already" in run(fake, source, out, "--mode", mode, code=1)
    assert open(out).read() == "mine\n"
    run(fake, source, out, "--mode", "overwrite")
    assert "use --mode resume" in run(fake, source, out, code=1)
    before, asked = open(out).read(), fake.requests
    run(fake, source, out, "--mode", "resume")
    assert open(out).read() == before and fake.requests == asked
    write(source, [{"key": "a", "prompt": "y"}])
    assert "the input has changed" in run(fake, source, out, "--mode", "resume", code=1)
    run(fake, source, out, "--mode", "overwrite")
    assert answers(out)[0][1] == "re: y"
    os.symlink(source, at("link.jsonl"))
    for same in (source, at("link.jsonl")):
        assert "is the input" in run(fake, source, same, "--mode", "overwrite", code=1)
    assert read(source) == [{"key": "a", "prompt": "y"}]
    with open(out + ".job", "a") as log:
        log.write('{"row": 9, "status": "ok"}\n')
    assert "line 3: no record" in run(fake, source, out, "--mode", "resume", code=1)
    assert "line 3" in batch("status", out, code=1)
    run(fake, source, out, "--mode", "overwrite")


def wait_until(what, true, seconds=120):
    end = time.time() + seconds
    while not true():
        assert time.time() < end, what
        time.sleep(0.002)


def count_lines(path):
    """Of a log that may not be there yet."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as log:
        return log.read().count(b"\n")


def test_cancel_status_list(at, fake):
    rows = [{"key": str(i), "prompt": order(gate=True, key=i) if i >= 8 else f"p{i}"} for i in range(40)]
    source, out = write(at("in.jsonl"), rows), at("out.jsonl")
    fake.gate.clear()
    process = start("run", "m", "--in", source, "--out", out, "--server", fake.address, "--window", "4")
    wait_until("rows wait at the gate, and those before have been logged", lambda: fake.in_flight == 4 and count_lines(out + ".job") == 9)
    state = json.loads(batch("status", out, "--json"))
    assert state["state"] == "running" and state["rows"] == 40 and state["done"] == 8 and state["service"] == "m", state
    assert f"process {process.pid} is running this batch" in run(fake, source, out, "--mode", "resume", code=1)
    assert "running" in batch("list", at.path)
    assert f"process {process.pid} has been told" in batch("cancel", out)
    fake.gate.set()
    _, words = process.communicate(timeout=60)
    assert process.returncode == 1 and "`--mode resume` goes on" in words, words
    state = json.loads(batch("list", at.path, "--json"))
    assert state["state"] == "stopped" and 8 < state["done"] < 40 and state["job"] == out, state
    assert "no process is running" in batch("cancel", out, code=1)
    asked = fake.requests
    run(fake, source, out, "--mode", "resume")
    assert fake.requests == asked + 40 - state["done"]
    assert [row[0] for row in answers(out)] == [str(i) for i in range(40)]
    assert "done" in batch("status", out)
    write(at("bad.jsonl.job"), ["x"])
    assert "line 1" in batch("list", at.path, code=1)


def test_ctrl_c(at, fake):
    """The first is told what is waited for, the second waits for nothing."""
    source = write(at("in.jsonl"), [{"key": str(i), "prompt": order(gate=True, key=i)} for i in range(40)])
    fake.gate.clear()
    once, twice = (start("run", "m", "--in", source, "--out", at(name), "--server", fake.address, "--window", "2") for name in ("once.jsonl", "twice.jsonl"))
    wait_until("rows wait at the gate", lambda: fake.in_flight == 4)
    once.send_signal(signal.SIGINT)
    twice.send_signal(signal.SIGINT)
    wait_until("the first is taken", lambda: not takes(twice.pid, signal.SIGINT))
    twice.send_signal(signal.SIGINT)
    assert twice.wait(60) == -signal.SIGINT
    fake.gate.set()
    for process in (once, twice):
        assert "Ctrl-C again ends at once" in process.communicate(timeout=60)[1]
    assert once.returncode == 1 and 0 < json.loads(batch("status", at("once.jsonl"), "--json"))["done"] < 40


def test_a_row_that_is_lost_at_the_end(at, fake):
    """Told to stop, the run does not ask it again: it and those behind it are the next run's, and none is an error."""
    rows = [{"key": str(i), "prompt": order(gate=True, key=f"lost{i}", **({"cut": True, "times": 1} if i == 1 else {}))} for i in range(8)]
    source, out = write(at("in.jsonl"), rows), at("out.jsonl")
    fake.gate.clear()
    process = start("run", "m", "--in", source, "--out", out, "--server", fake.address, "--window", "4")
    wait_until("rows wait at the gate", lambda: fake.in_flight == 4)
    process.send_signal(signal.SIGTERM)
    wait_until("it has heard", lambda: not takes(process.pid, signal.SIGTERM))
    fake.gate.set()
    _, words = process.communicate(timeout=60)
    assert process.returncode == 1 and "stopped: 1 of 8 rows have an answer" in words, words
    run(fake, source, out, "--mode", "resume")
    assert [(row[0], row[2]) for row in answers(out)] == [(str(i), "ok") for i in range(8)]


def takes(pid, number):
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{pid}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


# ---- kills ----

def test_client_killed(at, server, draw):
    """SIGKILL at any moment, again and again, over `tenon serve`; each output kind in turn."""
    rows = [{"key": f"k{i}", "prompt": f"Tell me of number {i}.", "seed": i} for i in range(300)]
    source, flags = write(at("in.jsonl"), rows), ["--server", server.base, "--param", "temperature=0", "--max-tokens", "6"]
    batch("run", "smollm2", "--in", source, "--out", at("whole.jsonl"), *flags)
    expected = answers(at("whole.jsonl"))
    assert [row[0] for row in expected] == [row["key"] for row in rows] and all(row[2] == "ok" for row in expected)
    killed = kills = jobs = 0
    while kills < KILLS:
        jobs += 1
        out = at(f"out{jobs}.jsonl")
        while kills < KILLS:
            logged = draw.choice((0, draw.randrange(302), 301))  # at the start, among rows, behind the last one
            process = start("run", "smollm2", "--in", source, "--out", out, "--mode", "resume", *flags)
            wait_until("the log grows", lambda: count_lines(out + ".job") >= logged or process.poll() is not None)
            time.sleep(draw.uniform(0, 0.003 if logged == 301 else 0.03))
            process.kill()
            process.communicate()
            kills += 1
            killed += process.returncode == -signal.SIGKILL
            if process.returncode == 0:
                break
        batch("run", "smollm2", "--in", source, "--out", out, "--mode", "resume", *flags)
        assert answers(out) == expected
        assert len(read(out + ".job")) == 301
    print(f"client: {killed} of {kills} runs were killed over {jobs} jobs")
    assert killed > kills // 2


def test_server_killed(at):
    """The server dies in the middle of a batch and comes back on the same port."""
    rows = [{"key": f"k{i}", "prompt": f"Tell me of number {i}."} for i in range(400)]
    source, flags = write(at("in.jsonl"), rows), ["--param", "temperature=0", "--max-tokens", "6", "--window", "16"]
    with Server() as server:
        batch("run", "smollm2", "--in", source, "--out", at("whole.jsonl"), "--server", server.base, *flags)
        address = server.base
        for _ in range(30):  # until it is stopped in the middle
            process = start("run", "smollm2", "--in", source, "--out", at("out.jsonl"), "--server", address, "--retries", "1", "--mode", "overwrite", *flags)
            wait_until("rows are answered", lambda: count_lines(at("out.jsonl.job")) > 40)
            process.send_signal(signal.SIGSTOP)
            if count_lines(at("out.jsonl.job")) < 300:
                break
            process.kill()
            process.communicate()
            os.remove(at("out.jsonl.job"))
        server.process.kill()
        server.process.wait()
        process.send_signal(signal.SIGCONT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1 and "no server answers" in words, words
    done = json.loads(batch("status", at("out.jsonl"), "--json"))
    assert 40 <= done["done"] < 400 and done["error"] == 0, done
    with Server() as server:
        batch("run", "smollm2", "--in", source, "--out", at("out.jsonl"), "--server", server.base, "--mode", "resume", *flags)
    assert answers(at("out.jsonl")) == answers(at("whole.jsonl"))


def test_oversize_row(at, server):
    """999 answers and one error; asked again, it stays one."""
    rows = [{"key": str(i), "prompt": "word " * 30000 if i == 637 else f"Count to {i}."} for i in range(1000)]
    source, out = write(at("in.jsonl"), rows), at("out.jsonl")
    flags = ["--server", server.base]
    batch("run", "smollm2", "--in", source, "--out", out, "--max-tokens", "2", "--param", "temperature=0", *flags, code=3)
    got = read(out)
    assert [row["key"] for row in got] == [str(i) for i in range(1000)]
    assert [row["key"] for row in got if row["status"] == "error"] == ["637"]
    assert sum(row["status"] == "ok" for row in got) == 999
    assert "context_length_exceeded" in batch("errors", out)
    batch("retry-failed", out, *flags, code=3)
    assert [row["key"] for row in read(out) if row["status"] == "error"] == ["637"]


def test_table_of_a_real_server(at, server):
    db = sqlite3.connect(at("t.db"))
    db.execute("CREATE TABLE t (key INTEGER, prompt TEXT)")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"Say {i}.") for i in range(50)])
    db.commit()
    source, flags = f"sqlite:{at('t.db')}?SELECT * FROM t", ["--server", server.base, "--max-tokens", "3", "--param", "temperature=0"]
    batch("run", "smollm2", "--in", source, "--out", at("out.jsonl"), *flags)
    expected = [(row[0], None if "\0" in row[1] else row[1], "error" if "\0" in row[1] else "ok") for row in answers(at("out.jsonl"))]
    failed = any(row[2] == "error" for row in expected)  # a text of SQL ends at a zero byte
    batch("run", "smollm2", "--in", source, "--out", f"sqlite:{at('t.db')}?a", *flags, code=3 if failed else 0)
    assert db.execute("SELECT key, value, status FROM a ORDER BY rowid").fetchall() == expected
    assert db.execute("SELECT count(*) FROM a JOIN t ON a.key = t.key").fetchone() == (50,)


def main():
    draw = random.Random(11)
    with tempfile.TemporaryDirectory() as folder:
        fake = Fake()
        for case in [test_jsonl, test_csv, test_sqlite, test_openai, test_export, test_full_disk, test_refused_inputs, test_usage, test_tokens, test_retries_and_errors, test_long_words,
                     test_what_no_row_gets_by, test_modes, test_cancel_status_list, test_ctrl_c, test_a_row_that_is_lost_at_the_end]:
            begin = time.time()
            fake.forget()
            case(Folder(folder, case.__name__), fake)
            print(f"{case.__name__}: {time.time() - begin:.1f} s", flush=True)
        with Server() as server:
            test_client_killed(Folder(folder, "client"), server, draw)
            test_oversize_row(Folder(folder, "oversize"), server)
            test_table_of_a_real_server(Folder(folder, "table"), server)
        test_server_killed(Folder(folder, "server"))
        print("a real server: done")


main()
