#!/usr/bin/env python3
"""test_engine_killed.py EXTENSION: an engine of the daemon is killed while `tenon batch`, SQLite's llm_map and Python's rows run through
the daemon: each key has one answer in the end, the one of an undisturbed run. Skipped where no python3 here can load extensions."""
import json
import os
import signal
import sqlite3
import sys
import tempfile
import threading

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("no python3 whose sqlite3 loads extensions: skipped")
    sys.exit(77)

from daemon import Daemon
from registry_program import command, run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sdk/python"))
from tenon import Registry

EXTENSION = os.path.abspath(sys.argv[1])
ROWS, TOKENS = 120, 250
FIELDS = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
PROMPTS = {f"k{i}": f"row {i} of a table" for i in range(ROWS)}


def by_batch(daemon, service, folder):
    source, out = folder + "/in.jsonl", folder + "/out.jsonl"
    with open(source, "w") as file:
        file.writelines(json.dumps({"key": key, "prompt": prompt}) + "\n" for key, prompt in PROMPTS.items())
    flags = [word for name, value in FIELDS.items() for word in ("--param", f"{name}={json.dumps(value)}")]
    run(command("batch", "run", service, "--in", source, "--out", out, "--mode", "overwrite", "--raw", "--server", "unix:" + daemon.socket, *flags))
    with open(out) as file:
        return [(row["key"], row["value"], row["error"]) for row in map(json.loads, file)]


def by_sql(daemon, service, _):
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    db.load_extension(EXTENSION)
    db.execute("SELECT llm_server(?)", ("unix:" + daemon.socket,)).fetchall()
    db.execute("CREATE TABLE t(key TEXT, prompt TEXT)")
    db.executemany("INSERT INTO t VALUES (?, ?)", PROMPTS.items())
    return db.execute("SELECT key, value, error FROM llm_map(?, 'SELECT key, prompt FROM t', ?)",
                      (service, json.dumps({**FIELDS, "raw": True}),)).fetchall()


def by_python(daemon, service, _):
    rows = [{"key": key, "prompt": prompt} for key, prompt in PROMPTS.items()]
    return [(r.key, r.value, r.error) for r in Registry("unix:" + daemon.socket).get_service(service).run(rows, params=FIELDS)]


def engine(daemon, service):
    """(pid, running requests); pid 0: there is none that answers."""
    told = daemon.admin("GET", "/services/" + service)[1]
    ready = [i for i in told["instances"] if i["state"] == "READY"]
    return (ready[0]["pid"], told["running"]) if ready else (0, 0)


def kill_busy_engine(daemon, service, done):
    """Kills the engine once it has something to do; whether it did."""
    while not done.is_set():
        pid, running = engine(daemon, service)
        if pid and running:
            os.kill(pid, signal.SIGKILL)
            return True
        done.wait(0.01)
    return False


def disturbed(daemon, service, ask, folder):
    answers, done = [], threading.Event()

    def client():
        try:
            answers.extend(ask(daemon, service, folder))
        finally:
            done.set()
    thread = threading.Thread(target=client)
    thread.start()
    killed = kill_busy_engine(daemon, service, done)
    thread.join()
    return answers, killed


def main():
    with tempfile.TemporaryDirectory() as folder, Daemon(folder) as daemon:
        expected = None
        for ask in (by_sql, by_batch, by_python):  # a service each, since engines that die often wait longer for the next
            service = ask.__name__
            daemon.tenon("service", "create", service, "--model", "tiny", "--pool", "here", "--min", "1", "--set", "max_num_seqs=8")
            if not expected:
                expected = {key: value for key, value, _ in ask(daemon, service, folder)}
                assert expected.keys() == PROMPTS.keys() and all(expected.values())
            answers, killed = disturbed(daemon, service, ask, folder)
            failed = [answer for answer in answers if answer[2]]
            print(f"{service}: {len(answers)} answers, {len(failed)} errors", flush=True)
            assert killed, "nothing was disturbed"
            assert sorted(key for key, _, _ in answers) == sorted(PROMPTS), "a key is lost or there twice"
            assert {key: value for key, value, _ in answers} == expected, failed[:3]
            daemon.tenon("service", "delete", service)
        daemon.stop()


main()
