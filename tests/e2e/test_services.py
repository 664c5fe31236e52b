#!/usr/bin/env python3
"""Services: created, asked, suspended, updated, killed and deleted, through service_driver, with engines that are real processes.

    test_services.py DRIVER [PART]

Parts: life, refusals, failures, crash, cycles, daemon (which is `tenon daemon` itself); all of them without one."""
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

from server import free_port

TINY = os.environ["TENON_TEST_MODEL"]
SLOW = 4 if os.environ.get("TENON_SANITIZED") else 1
MIB = 1 << 20
OK, ARGUMENT, MEMORY, NOT_FOUND, AGAIN, IO = 0, -1, -3, -4, -5, -10
EEXIST = 17
# What is freed counts as free at once, so that bytes in use can be compared.
EXACT_HEAP = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0", "MALLOC_ARENA_MAX": "1"}


class Driver:
    """A daemon without a door, on a store of its own that outlives it."""

    def __init__(self, store, **server):
        self.store, self.program = store, os.environ["TENON"]
        self.ini = os.path.join(store, "..", "daemon.ini")
        keys = {"store": store, "restart_delay": "0.1", "hang_timeout": str(8 * SLOW), "start_timeout": str(60 * SLOW), "wake_timeout": str(60 * SLOW), **server}
        with open(self.ini, "w") as ini:
            ini.write("[plugins]\npath = " + os.environ["TENON_PLUGINS"] + "\n[server]\n")
            ini.writelines(f"{key} = {value}\n" for key, value in keys.items())
            ini.write(f"[registry]\npath = {store}/../registry\n")
            ini.write("[engine]\nmax_num_seqs = 4\ndrain_timeout = 5\n[model]\nmax_model_len = 256\n[cpu]\nthreads = 1\n")
            for pool, memory in ("a", "256MiB"), ("small", "40MiB"), ("tiny", "1MiB"):
                ini.write(f"[pool {pool}]\ndevice = ram\nmemory = {memory}\nhost_memory = true\nbackend = cpu\n"
                          f"max_services = 3\n")
            ini.write(f"[service fromfile]\nmodel = {TINY}\npool = a\nmin = 1\nmax_num_seqs = 2\n")
        self.start()

    def start(self):
        self.errors = open(os.path.join(self.store, "..", "errors"), "a")
        self.process = subprocess.Popen([sys.argv[1], self.ini, self.program], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True, env={**os.environ, **EXACT_HEAP})
        hello = json.loads(self.process.stdout.readline())
        assert hello["status"] == OK, hello

    def send(self, what, **fields):
        self.process.stdin.write(json.dumps({"do": what, **fields}) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, "the driver ended: " + open(self.errors.name).read()[-3000:]
        return json.loads(line)

    def say(self, what, **fields):
        self.send(what, **fields)
        return self.answer()

    def do(self, what, expect=OK, **fields):
        answer = self.say(what, **fields)
        assert answer["status"] == expect, f"{what} {fields}: {answer}"
        return answer["result"] if expect == OK else answer

    def create(self, name, expect=OK, model=TINY, pool="a", **spec):
        flags = {key: spec.pop(key) for key in ("replace", "dry_run") if key in spec}
        return self.do("create", expect, spec={"name": name, "model": model, "pool": pool, **spec}, **flags)

    def wait(self, name, state, ms=60000, expect=OK):
        return self.do("wait", expect, name=name, state=state, ms=ms * SLOW)

    def show(self, name):
        return self.do("show", name=name)

    def delete(self, name):
        self.do("delete", name=name, drain=5)
        self.do("wait", name=name, state="DELETING", ms=60000)

    def told(self):
        """What it said to its operator."""
        with open(self.errors.name) as file:
            return file.read().splitlines()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, open(self.errors.name).read()[-3000:]
        self.errors.close()


def engines(store):
    """Processes that belong to the store: {pid: command line}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline") as file:
                command = file.read().replace("\0", " ")
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
            if store + "/instances" in command and state != "Z":
                found[int(pid)] = command
    return found


def serving(store):
    return [pid for pid, command in engines(store).items() if " serve " in command]


def wait_for(what, condition, seconds=30):
    end = time.time() + seconds * SLOW
    while not condition():
        assert time.time() < end, f"not within {seconds * SLOW} s: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def driver(**server):
    folder = tempfile.mkdtemp(prefix="tenon-")
    store = os.path.join(folder, "s")
    os.mkdir(store)
    d = Driver(store, **server)
    try:
        yield d
        for service in d.do("list"):
            d.do("delete", name=service["name"], drain=0)
        for service in d.do("list"):
            d.do("wait", name=service["name"], state="DELETING")
        d.close()
        assert not engines(store), engines(store)
    except BaseException:
        print(open(os.path.join(folder, "errors")).read()[-4000:])
        raise
    finally:
        if d.process.poll() is None:
            d.kill()
        for pid in engines(store):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


# ---- life ----

def test_ready_asked_and_deleted():
    with driver() as d:
        plan = d.create("chat", min=1)
        assert plan["fits"] and plan["needed"] > 0
        service = d.wait("chat", "READY")
        assert service["state"] == "READY" and service["restart_count"] == 0 and service["exit_code"] is None
        (instance,) = service["instances"]
        assert instance["pid"] in serving(d.store) and instance["memory_bytes"] > MIB
        assert os.path.exists(instance["socket"]) and service["needed_bytes"] == instance["reserved_bytes"]
        assert d.do("ask", name="chat", tokens=12) == 12
        (pool,) = [pool for pool in d.do("pools") if pool["name"] == "a"]
        assert pool["services"] == 1 and pool["devices"][0]["reserved_bytes"] == service["needed_bytes"]
        lines = d.do("logs", name="chat")
        assert any("is ready after" in line["text"] for line in lines) and lines[0]["time"] / 1000 > time.time() - 300
        assert any("is ready after" in line for line in d.show("chat")["last_log"])
        d.delete("chat")
        assert d.do("list") == [] and not engines(d.store)
        left = [name for _, folders, files in os.walk(d.store) for name in files]
        assert left == ["lock"], left
        assert d.say("ask", name="chat")["status"] == NOT_FOUND


def test_suspended_frees_memory_and_the_first_request_resumes():
    with driver() as d:
        d.create("chat")
        d.wait("chat", "READY")
        assert serving(d.store)
        d.do("suspend", name="chat", drain=5)
        d.do("suspend", name="chat", drain=5)
        service = d.wait("chat", "SUSPENDED")
        assert service["instances"] == [] and not engines(d.store)
        assert d.do("pools")[0]["devices"][0]["reserved_bytes"] == 0
        assert d.do("ask", name="chat", tokens=5) == 5
        assert d.wait("chat", "READY")["instances"]
        d.do("suspend", name="chat", drain=5)
        d.wait("chat", "SUSPENDED")
        d.do("resume", name="chat")
        d.wait("chat", "READY")
        assert [line for line in d.told() if line.startswith("service chat: ")] == [
            "service chat: LOADING: it was created", "service chat: READY", "service chat: SUSPENDING: it was asked to",
            "service chat: SUSPENDED", "service chat: RESUMING: a request asks for it", "service chat: READY",
            "service chat: SUSPENDING: it was asked to", "service chat: SUSPENDED", "service chat: RESUMING: it was asked to",
            "service chat: READY"], d.told()


def test_racing_resumes():
    """Eight at once, beside a request: nobody is told anything else than yes, and there is one engine."""
    with driver() as d:
        d.create("chat")
        d.wait("chat", "READY")
        d.do("suspend", name="chat", drain=5)
        d.wait("chat", "SUSPENDED")
        d.do("load", name="chat", threads=1, tokens=1)
        answers = d.do("race", specs=[{"name": "chat", "resume": True}] * 8)
        assert [answer["status"] for answer in answers] == [0] * 8, answers
        d.wait("chat", "READY")
        assert d.do("unload")["bad"] == 0 and len(serving(d.store)) == 1


def test_requests_that_wait():
    """A thousand at once for a service that rests, as many as may wait; some whose client leaves; and some that are asked while it is
    suspended again and again, scaled to none, deleted. Each gets its answer, or is told why not."""
    with driver(queue_max="1000") as d:
        d.create("chat", max=2)
        d.wait("chat", "READY")
        d.do("suspend", name="chat", drain=5)
        d.wait("chat", "SUSPENDED")
        assert d.do("flood", name="chat", count=1000, leave=True)["taken"] == 1000
        wait_for("who leaves waits no longer", lambda: d.show("chat")["waiting"] == 0)
        flood = d.do("flood", name="chat", count=1001)
        assert flood["good"] == flood["taken"] >= 1000, flood
        d.do("load", name="chat", threads=4, tokens=4)
        for _ in range(4):
            d.do("suspend", name="chat", drain=5)
            wait_for("a request resumes it", lambda: d.show("chat")["state"] == "READY")
        d.do("scale", name="chat", min=1, max=1)
        d.do("scale", name="chat", min=0, max=1)
        load = d.do("unload")
        assert load["bad"] == 0 and load["good"] > 4, load
        d.do("suspend", name="chat", drain=5)
        d.wait("chat", "SUSPENDED")
        d.do("load", name="chat", threads=2, tokens=4)
        wait_for("it resumes", lambda: d.show("chat")["state"] in ("RESUMING", "READY"))
        d.delete("chat")
        load = d.do("unload")
        assert load["bad"] > 0 and ("was removed" in load["message"] or "does not exist" in load["message"]), load


def test_updated_while_suspended():
    """The first request after it is one of the new generation, whatever has changed."""
    with driver() as d:
        d.create("chat")
        d.wait("chat", "READY")
        for length in 128, 64, 192:
            d.do("suspend", name="chat", drain=5)
            d.wait("chat", "SUSPENDED")
            d.do("update", spec={"name": "chat", "settings": [f"max_model_len={length}"]})
            assert d.do("ask", name="chat", tokens=300) == length - 4, "as many as go with a prompt of four"


def test_idle_service_suspends_itself():
    with driver() as d:
        d.create("chat", autosuspend=2)
        d.wait("chat", "SUSPENDED")
        assert "service chat: READY" in d.told() and not engines(d.store)
        assert d.do("ask", name="chat") == 8


def test_request_at_the_moment_of_autosuspend():
    """Asked as soon as the timer has struck, while the engine drains and ends: each request gets its answer."""
    with driver() as d:
        d.create("chat", autosuspend=1)
        for _ in range(3):
            wait_for("it suspends itself", lambda: d.show("chat")["state"] in ("SUSPENDING", "SUSPENDED"))
            assert d.do("ask", name="chat") == 8
        assert "nobody has asked for it" in "".join(d.told())


def test_update_drops_nothing():
    with driver() as d:
        d.create("chat", min=1)
        before = d.wait("chat", "READY")["instances"][0]["id"]
        d.do("load", name="chat", threads=3, tokens=20)
        wait_for("some are served", lambda: d.show("chat")["requests"] > 8)
        d.do("update", spec={"name": "chat", "settings": ["enable_prefix_caching=false"]})
        service = d.wait("chat", "READY")
        assert service["generation"] == 2 and service["instances"][0]["id"] != before
        d.do("update", spec={"name": "chat", "settings": ["max_model_len=128"]})
        service = d.wait("chat", "READY")
        assert service["generation"] == 3 and service["settings"] == ["model.max_model_len=128"]
        wait_for("the new one serves, too", lambda: d.show("chat")["requests"] > 8)
        load = d.do("unload")
        assert load["bad"] == 0 and load["good"] > 5, load
        wait_for("the old engines are gone", lambda: len(serving(d.store)) == 1)


def test_scaled_by_hand():
    with driver() as d:
        d.create("chat", min=1, max=3)
        d.wait("chat", "READY")
        for least in 2, 3:
            service = d.do("scale", name="chat", min=least, ms=60000 * SLOW)
            assert [i["state"] for i in service["instances"]] == ["READY"] * least, "it was waited for all"
        d.do("load", name="chat", threads=4, tokens=40)
        d.do("scale", name="chat", min=1, max=1)
        wait_for("one is left", lambda: len(d.show("chat")["instances"]) == 1)
        load = d.do("unload")
        assert load["bad"] == 0, load


def test_log_is_followed():
    """Through engines that come and end: each of their lines once, and no file stays open that has come to its end."""
    with driver() as d:
        d.create("chat")
        d.wait("chat", "READY")
        d.do("suspend", name="chat", drain=5)
        d.wait("chat", "SUSPENDED")
        before = d.do("descriptors")

        def ready():
            return [line["time"] for line in d.do("followed") if "is ready after" in line["text"]]

        d.do("follow", name="chat")
        wait_for("what was kept of the first has been read", lambda: len(ready()) == 1)
        for engines_seen in 2, 3:
            d.do("resume", name="chat")
            wait_for("the engine's log is read while it grows", lambda: len(ready()) >= engines_seen)
            d.do("suspend", name="chat", drain=5)
            d.wait("chat", "SUSPENDED")
            wait_for("the files of engines that have ended are closed", lambda: d.do("descriptors") <= before)
        assert len(ready()) == len(set(ready())) == 3, ready()
        d.do("unfollow")


def test_racing_updates_lose_nothing():
    """A service is scaled while the plan of its update is made: the update knows it, or is refused; neither is undone in silence."""
    with driver() as d:
        d.create("chat")
        for most in 2, 3, 4:
            updated, scaled = d.do("race", specs=[{"name": "chat", "update": True, "settings": [f"max_model_len={64 * most}"]},
                                                  {"name": "chat", "scale": True, "min": 0, "max": most}])
            service = d.show("chat")
            assert scaled["status"] == OK and service["max"] == most, (updated, scaled, service)
            assert updated["status"] in (OK, AGAIN), updated
            assert (service["settings"] == [f"model.max_model_len={64 * most}"]) == (updated["status"] == OK), (updated, service)


def test_service_of_a_section():
    with driver() as d:
        d.do("section", name="fromfile")
        service = d.wait("fromfile", "READY")
        assert service["settings"] == ["engine.max_num_seqs=2"] and service["min"] == 1
        d.do("section", name="fromfile")
        assert d.show("fromfile")["generation"] == 1


def registry_of(d):
    root = os.path.abspath(os.path.join(d.store, "..", "registry"))

    def registry(*arguments):
        return subprocess.run([os.environ["TENON"], "registry", *arguments, "--set", "registry.path=" + root], capture_output=True,
                              text=True)

    return registry


def test_model_of_the_registry():
    """Pinned to what the name meant, and kept for as long as it may run."""
    with driver() as d:
        registry = registry_of(d)
        other = os.path.abspath(os.path.join(d.store, "..", "other.gguf"))
        with open(TINY, "rb") as source, open(other, "wb") as copy:
            copy.write(source.read() + bytes(64))
        for path in TINY, other:
            done = registry("log", "tiny", path)
            assert done.returncode == 0, done.stderr
        answer = d.create("chat", model="tiny@v3", expect=NOT_FOUND)
        assert "v3" in answer["message"], answer
        d.create("chat", model="tiny@v1", min=1)
        first = d.wait("chat", "READY")
        assert first["model"] == "tiny@v1" and len(first["digest"]) == 64 and first["digest"] in first["path"]
        refused = registry("rm", "tiny@v1")
        assert refused.returncode == 1 and "service chat" in refused.stderr, refused.stderr
        d.do("update", spec={"name": "chat", "model": "registry:tiny"})
        second = d.wait("chat", "READY")
        assert second["digest"] != first["digest"] and d.do("ask", name="chat") == 8
        wait_for("the first version is free", lambda: registry("rm", "tiny@v1").returncode == 0)
        assert registry("rm", "tiny").returncode == 1
        d.kill()
        d.start()
        assert registry("rm", "tiny").returncode == 1
        d.delete("chat")
        assert registry("rm", "tiny").returncode == 0


def test_leases_of_services_that_are_gone_end():
    """Whose files somebody removed while no daemon looked; another store's services keep theirs."""
    with driver() as d:
        registry = registry_of(d)
        done = registry("log", "tiny", TINY)
        assert done.returncode == 0, done.stderr
        d.create("chat", model="tiny")
        elsewhere = "service chat of /elsewhere" + d.store
        with contextlib.closing(sqlite3.connect(d.store + "/../registry/registry.db")) as index, index:
            index.execute("INSERT INTO lease SELECT digest, ?, created FROM lease", (elsewhere,))
        d.kill()
        os.unlink(os.path.join(d.store, "services", "chat.json"))
        d.start()
        with contextlib.closing(sqlite3.connect(d.store + "/../registry/registry.db")) as index, index:
            assert index.execute("SELECT holder FROM lease").fetchall() == [(elsewhere,)]


# ---- refusals ----

def test_refusals_name_the_field():
    with driver() as d:
        for field, expect, spec in (("name", ARGUMENT, {"name": "Chat"}), ("name", ARGUMENT, {"name": "../x"}),
                                    ("pool", NOT_FOUND, {"pool": "b"}), ("max_instances", ARGUMENT, {"max": 0}),
                                    ("min_instances", ARGUMENT, {"min": 2}), ("model", ARGUMENT, {"model": "a/b.gguf"}),
                                    ("model", NOT_FOUND, {"model": "/nowhere.gguf"}),
                                    ("max_model_len", ARGUMENT, {"settings": ["max_model_lem=1"]}),
                                    ("max_model_len", ARGUMENT, {"settings": ["max_model_len=many"]}),
                                    ("model.path", ARGUMENT, {"settings": ["model.path=/etc/passwd"]}),
                                    ("frontend.plugins", ARGUMENT, {"settings": ["frontend.plugins=x"]}),
                                    ("tokenizer.plugins names a file", ARGUMENT, {"settings": ["tokenizer.plugins=tokenizer_bpe,/tmp/evil.so"]}),
                                    ("quant.plugins names a file", ARGUMENT, {"settings": ["quant.plugins=/tmp/evil.so"]}),
                                    ("cuda_tp.nccl_library names a file", ARGUMENT, {"settings": ["cuda_tp.nccl_library=/tmp/evil.so"]}),
                                    ("is not key=value", ARGUMENT, {"settings": ["cpu.threads:1\n[backend]\nplugin=evil"]})):
            answer = d.create(**{"name": "chat", "expect": expect, **spec})
            assert field in answer["message"], answer
        assert d.do("list") == [] and not engines(d.store)
        answer = d.say("show", name="chat")
        assert answer["status"] == NOT_FOUND and "none" in answer["message"]


def test_name_is_taken():
    with driver() as d:
        d.create("chat")
        answer = d.create("chat", expect=ARGUMENT)
        assert answer["code"] == EEXIST, answer
        d.create("chat", replace=True, min=1)
        assert d.show("chat")["min"] == 1


def test_one_of_two_gets_the_memory():
    """Each takes more than half of the pool: the second asks while the first loads, when it is ready, suspended, and back."""
    with driver() as d:
        plan = d.create("first", pool="small", dry_run=True)
        assert d.do("list") == [] and plan["needed"] > 20 * MIB, plan["needed"]
        d.create("first", pool="small")
        answer = d.create("second", pool="small", expect=MEMORY)
        assert answer["result"]["needed_bytes"] > answer["result"]["had_bytes"], answer
        assert answer["result"]["reserved"][0]["service"] == "first" and "first" in answer["message"], answer
        d.wait("first", "READY")
        d.create("second", pool="small", expect=MEMORY)
        d.do("suspend", name="first", drain=0)
        d.wait("first", "SUSPENDED")
        d.create("second", pool="small")
        d.wait("second", "READY")
        answer = d.do("resume", MEMORY, name="first")
        assert "second" in answer["message"], answer
        assert d.show("first")["had_bytes"] < d.show("first")["needed_bytes"]
        d.delete("second")
        assert d.do("ask", name="first") == 8


def test_racing_for_the_memory():
    with driver() as d:
        for _ in range(10):
            answers = d.do("race", specs=[{"name": name, "model": TINY, "pool": "small"} for name in ("x", "y", "z")])
            assert sorted(answer["status"] for answer in answers) == [MEMORY, MEMORY, OK], answers
            refused = [answer for answer in answers if answer["status"] == MEMORY]
            assert all(answer["plan"]["needed_bytes"] > answer["plan"]["had_bytes"] for answer in refused), refused
            (service,) = d.do("list")
            d.delete(service["name"])
        answers = d.do("race", specs=[{"name": "same", "model": TINY, "pool": "a"} for _ in range(3)])
        assert sorted(answer["status"] for answer in answers) == [ARGUMENT, ARGUMENT, OK], answers
        assert len(d.do("list")) == 1


def test_does_not_fit_at_all():
    with driver() as d:
        answer = d.create("chat", pool="tiny", expect=MEMORY)
        assert answer["result"]["needed_bytes"] > answer["result"]["had_bytes"] and not answer["result"]["fits"], answer
        assert "does not fit pool tiny" in answer["message"], answer


def test_pool_has_a_number_of_services():
    with driver() as d:
        for name in "abc":
            d.create(name)
        answer = d.create("d", expect=MEMORY)
        assert "max_services" in answer["message"], answer


# ---- failures ----

def test_killed_engine_is_started_again():
    with driver() as d:
        d.create("chat", min=1)
        service = d.wait("chat", "READY")
        os.kill(service["instances"][0]["pid"], signal.SIGKILL)
        wait_for("it is noticed", lambda: d.show("chat")["restart_count"] == 1)
        service = d.wait("chat", "READY")
        assert service["exit_code"] == -9 and d.do("ask", name="chat") == 8
        os.kill(service["instances"][0]["keeper_pid"], signal.SIGKILL)
        wait_for("it is noticed", lambda: d.show("chat")["restart_count"] == 2)
        d.wait("chat", "READY")
        wait_for("the orphan of the keeper is gone", lambda: len(serving(d.store)) == 1)
        assert d.do("ask", name="chat") == 8


def test_engine_that_somebody_else_ends_loses_no_request():
    with driver() as d:
        d.create("chat", min=1)
        pid = d.wait("chat", "READY")["instances"][0]["pid"]
        d.do("load", name="chat", threads=3, tokens=8)
        wait_for("some are served", lambda: d.show("chat")["requests"] > 20)
        os.kill(pid, signal.SIGTERM)
        wait_for("it is noticed", lambda: d.show("chat")["restart_count"] == 1)
        d.wait("chat", "READY")
        load = d.do("unload")
        assert load["bad"] == 0, load


def test_hung_engine_is_killed():
    with driver(hang_timeout=str(2 * SLOW)) as d:
        d.create("chat", min=1)
        service = d.wait("chat", "READY")
        os.kill(service["instances"][0]["pid"], signal.SIGSTOP)
        wait_for("it is noticed", lambda: d.show("chat")["restart_count"] == 1)
        d.wait("chat", "READY")
        assert d.do("ask", name="chat") == 8


def test_five_failures_are_enough():
    """The model's file is gone by the time the engine starts again; and one that is killed each time it loads."""
    with driver() as d:
        copy = os.path.join(d.store, "..", "model.gguf")
        shutil.copy(TINY, copy)
        d.create("chat", model=os.path.abspath(copy), min=1)
        pid = d.wait("chat", "READY")["instances"][0]["pid"]
        os.unlink(copy)
        os.kill(pid, signal.SIGKILL)
        service = d.wait("chat", "FAILED")
        assert service["state"] == "FAILED" and "model.gguf" in service["message"] and service["last_log"], service
        assert service["restart_count"] == 2, service
        answer = d.say("ask", name="chat")
        assert answer["status"] not in (OK, AGAIN) and "model.gguf" in answer["message"], answer
        shutil.copy(TINY, copy)
        d.do("resume", name="chat")
        d.wait("chat", "READY")
        killed = kill_until(d, "chat", lambda service: service["state"] == "FAILED")
        service = d.show("chat")
        assert killed == 5 and service["exit_code"] == -9 and "signal 9" in service["message"], (killed, service)
        assert d.do("pools")[0]["devices"][0]["reserved_bytes"] == 0


def kill_until(d, name, done):
    """Kills engines as they come; returns how many."""
    killed = set()
    end = time.time() + 60 * SLOW
    while not done(d.show(name)):
        assert time.time() < end, d.show(name)
        for pid in serving(d.store):
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return len(killed)


def test_disk_that_takes_nothing():
    """No file can be made where wishes are kept: what is asked for is refused, and what was stays."""
    with driver() as d:
        d.create("chat", min=1)
        d.wait("chat", "READY")
        folder = os.path.join(d.store, "services")
        os.rename(folder, folder + ".away")
        with open(folder, "w"):
            pass
        assert "Not a directory" in d.create("other", expect=IO)["message"]
        for what, fields in (("suspend", {"name": "chat"}), ("delete", {"name": "chat"}), ("scale", {"name": "chat", "min": 0}),
                             ("update", {"spec": {"name": "chat", "settings": ["max_model_len=128"]}})):
            assert "Not a directory" in d.do(what, IO, **fields)["message"], what
        service = d.show("chat")
        assert (service["state"], service["min"], service["generation"]) == ("READY", 1, 1) and len(d.do("list")) == 1, service
        assert [claim["service"] for claim in d.do("pools")[0]["reserved"]] == ["chat"], d.do("pools")
        assert d.do("ask", name="chat") == 8
        os.unlink(folder)
        os.rename(folder + ".away", folder)
        d.create("other")
        d.do("suspend", name="chat", drain=0)
        d.wait("chat", "SUSPENDED")


def test_failed_update_leaves_what_was():
    with driver() as d:
        d.create("chat", min=1)
        d.wait("chat", "READY")
        refused = d.do("update", ARGUMENT, spec={"name": "chat", "settings": ["chat_template=/nowhere"]})
        assert "nowhere" in refused["message"] and d.show("chat")["generation"] == 1
        for number in range(10):
            before = d.show("chat")
            copy = os.path.abspath(os.path.join(d.store, "..", f"model{number}.gguf"))
            shutil.copy(TINY, copy)
            d.do("update", spec={"name": "chat", "model": copy})
            os.unlink(copy)
            service = d.wait("chat", "READY")
            if service["state"] == "DEGRADED":
                break
            shutil.copy(TINY, copy)  # the engine had opened the file before it was gone
        pid = before["instances"][0]["pid"]
        assert service["state"] == "DEGRADED" and copy in service["message"], service
        wait_for("only the old one is left", lambda: serving(d.store) == [pid])
        assert d.do("ask", name="chat") == 8
        assert (service["model"], service["generation"]) == (before["model"], before["generation"]), service
        d.kill()
        d.start()
        assert d.wait("chat", "DEGRADED")["instances"][0]["pid"] == pid and d.do("ask", name="chat") == 8
        d.do("update", spec={"name": "chat", "settings": ["max_model_len=192"]})
        assert d.wait("chat", "READY")["state"] == "READY" and d.do("ask", name="chat") == 8


def break_starts(d, setting, words="no library"):
    """From now on no engine starts whose settings have this line; its keeper says why."""
    script = os.path.abspath(os.path.join(d.store, "..", "program"))
    with open(script, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nfor folder; do :; done\n"
                   f"if [ $1 = keep ] && grep -q '^{setting}$' $folder/engine.ini; then echo tenon: {words} >&2; exit 1; fi\n"
                   f"exec {d.program} \"$@\"\n")
    os.chmod(script, 0o755)
    d.close()
    d.program = script
    d.start()


def test_scaled_during_an_update_that_fails():
    """What was asked for meanwhile stands; a new daemon knows it, too."""
    with driver() as d:
        break_starts(d, "max_model_len = 128", "no library " + "\u00e9" * 400)  # cut, but not within a character
        d.create("chat", min=1)
        pid = d.wait("chat", "READY")["instances"][0]["pid"]
        d.do("update", spec={"name": "chat", "settings": ["max_model_len=128"]})
        d.do("scale", name="chat", max=3)
        service = d.wait("chat", "READY")
        assert (service["state"], service["generation"]) == ("DEGRADED", 1), service
        assert "its keeper ended: no library \u00e9\u00e9" in service["message"] and service["message"].endswith("\u00e9"), service
        for _ in range(2):
            service = d.show("chat")
            assert (service["max"], service["instances"][0]["pid"]) == (3, pid), service
            d.kill()
            d.start()
        assert d.do("ask", name="chat") == 8


def test_failed_update_whose_service_has_died():
    """What was before is not there any more when the update is given up: it is started again."""
    with driver() as d:
        break_starts(d, "max_model_len = 128")
        d.create("chat", min=1)
        pid = d.wait("chat", "READY")["instances"][0]["pid"]
        d.do("update", spec={"name": "chat", "settings": ["max_model_len=128"]})
        os.kill(pid, signal.SIGKILL)
        service = d.wait("chat", "READY")
        assert service["generation"] == 1 and service["state"] != "FAILED", service
        wait_for("it serves again", lambda: d.show("chat")["state"] == "DEGRADED")
        service = d.show("chat")
        assert "the update of chat has failed" in service["message"] and service["settings"] == [], service
        assert d.do("ask", name="chat", tokens=200) == 200, "with the limits that were before"


def test_update_that_half_came_up_is_taken_back():
    """Two instances; one of the new generation comes up and takes the route over, then all that are new are killed."""
    with driver() as d:
        d.create("chat", min=2, max=2)
        wait_for("both are ready", lambda: [i["state"] for i in d.show("chat")["instances"]] == ["READY"] * 2)
        first = {instance["pid"] for instance in d.show("chat")["instances"]}
        d.do("update", spec={"name": "chat", "settings": ["max_model_len=128"]})
        wait_for("one is of the new generation", lambda: any(i["generation"] == 2 and i["state"] == "READY" for i in d.show("chat")["instances"]))
        end = time.time() + 60 * SLOW
        while d.show("chat")["generation"] == 2 and d.show("chat")["state"] != "FAILED" and time.time() < end:
            for pid in set(serving(d.store)) - first:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        service = d.show("chat")
        if service["state"] == "FAILED":  # both had been replaced before they were killed
            d.do("resume", name="chat")
        wait_for("two are ready again", lambda: [i["state"] for i in d.show("chat")["instances"]] == ["READY"] * 2)
        assert d.do("ask", name="chat") == 8


# ---- crashes ----

def test_one_daemon_a_store():
    with driver() as d:
        done = subprocess.run([sys.argv[1], d.ini, os.environ["TENON"]], input="", capture_output=True, text=True)
        assert done.returncode == 1 and "another daemon" in done.stdout, done


def test_engines_outlive_the_daemon():
    with driver() as d:
        d.create("chat", min=1)
        before = d.wait("chat", "READY")["instances"][0]
        d.create("idle")
        d.wait("idle", "READY")
        d.do("suspend", name="idle", drain=0)
        d.wait("idle", "SUSPENDED")
        for end in d.close, d.kill:
            end()
            assert before["pid"] in serving(d.store)
            d.start()
            assert d.do("ask", name="chat") == 8, "at once: it waits until the engine is attached"
            after = d.wait("chat", "READY")["instances"][0]
            assert (after["id"], after["pid"]) == (before["id"], before["pid"]), (before, after)
            assert d.do("ask", name="chat") == 8
            assert d.wait("idle", "SUSPENDED")["state"] == "SUSPENDED"
        assert d.do("ask", name="idle") == 8, "the first request resumes it, though this daemon has never met its engine"
        d.do("suspend", name="idle", drain=0)
        d.wait("idle", "SUSPENDED")
        d.do("update", spec={"name": "idle", "settings": ["max_model_len=128"]})
        d.kill()
        d.start()
        assert d.do("ask", name="idle", tokens=100) == 100 and d.wait("idle", "READY")["generation"] == 2


def test_engine_that_does_not_answer_holds_nobody_up():
    """It is stopped when the next daemon finds it: the others are served, and it is when it goes on."""
    with driver() as d:
        d.create("chat", min=1)
        pid = d.wait("chat", "READY")["instances"][0]["pid"]
        d.kill()
        os.kill(pid, signal.SIGSTOP)
        d.start()
        longest = 0
        for number in range(2):
            begin = time.time()
            assert d.show("chat")["state"] != "READY" and len(d.do("list")) == number + 1
            longest = max(longest, time.time() - begin)
            d.create(f"other{number}", dry_run=True)
            d.create(f"other{number}")
            d.wait(f"other{number}", "READY")
        assert longest < 4 * SLOW, f"{longest:.1f} s: as long as the engine is waited for"
        d.do("load", name="chat", threads=2, tokens=4)
        wait_for("the requests wait", lambda: d.show("chat")["waiting"] == 2)
        os.kill(pid, signal.SIGCONT)
        assert d.wait("chat", "READY")["instances"][0]["pid"] == pid
        load = d.do("unload")
        assert load["bad"] == 0 and load["good"] >= 2, load


def test_orphans_are_ended():
    """Their service is gone while no daemon looked; and a folder in which nothing runs."""
    with driver() as d:
        d.create("chat", min=1)
        d.wait("chat", "READY")
        d.kill()
        os.unlink(os.path.join(d.store, "services", "chat.json"))
        os.makedirs(os.path.join(d.store, "instances", "gone-abcdef"))
        with open(os.path.join(d.store, "services", "half.json.partial"), "w") as file:
            file.write("{")
        d.start()
        wait_for("the orphan is gone", lambda: not engines(d.store))
        assert os.listdir(os.path.join(d.store, "instances")) == [] and d.do("list") == []
        assert os.listdir(os.path.join(d.store, "services")) == []


def test_killed_at_any_moment():
    """The daemon dies while it is told to do this and that. What it said is done is done after it, nothing is there twice, and what
    was ready and not touched answers."""
    chance = random.Random(int(os.environ.get("TENON_TEST_SEED", "1")))
    with driver() as d:
        d.create("steady", min=1)
        pid = d.wait("steady", "READY")["instances"][0]["pid"]
        there = False
        for _ in range(int(os.environ.get("TENON_TEST_KILLS", "60"))):
            verb = chance.choice(["create", "delete", "suspend", "resume", "update", "scale"])
            if verb == "create":
                d.send("create", spec={"name": "moving", "model": TINY, "pool": "a", "max": 2}, replace=True)
            elif verb == "update":
                d.send("update", spec={"name": "moving", "settings": [f"max_num_seqs={chance.randint(1, 4)}"]})
            elif verb == "scale":
                d.send("scale", name="moving", min=chance.randint(0, 2), max=2)
            else:
                d.send(verb, name="moving", drain=0)
            said = None
            if chance.random() < 0.6:
                said = d.answer()["status"]
            time.sleep(chance.random() ** 2 * 0.4)
            d.kill()
            d.start()
            names = [service["name"] for service in d.do("list")]
            assert names in (["steady"], ["moving", "steady"]), names
            if verb == "create" and said == OK:
                assert "moving" in names, "a service that was created is lost"
            if verb != "delete" and there and said is not None:
                assert "moving" in names or there == "going", "a service is lost"
            if verb == "delete" and said == OK and "moving" in names:
                seen = d.say("show", name="moving")  # it may be gone by now
                assert seen["status"] == NOT_FOUND or seen["result"]["state"] in ("DELETING", "PENDING"), seen
            there = False if "moving" not in names else "going" if verb == "delete" or there == "going" else True
            if there == "going":
                assert d.say("delete", name="moving", drain=0)["status"] in (OK, NOT_FOUND)
                d.do("wait", name="moving", state="DELETING", ms=60000 * SLOW)
                there = False
            assert d.show("steady")["instances"][0]["pid"] == pid
        d.wait("steady", "READY")
        assert d.do("ask", name="steady") == 8
        for service in d.do("list"):
            if service["name"] == "moving":
                d.delete("moving")
        wait_for("one engine is left", lambda: serving(d.store) == [pid])
        assert len(os.listdir(os.path.join(d.store, "instances"))) == 1


# ---- cycles ----

def test_cycles_leave_nothing():
    with driver() as d:
        d.create("chat")
        d.delete("chat")
        before = d.do("descriptors")
        cycles = int(os.environ.get("TENON_TEST_CYCLES", "200"))
        for round in range(cycles):
            if round == cycles // 2:
                wait_for("nothing is under way any more", lambda: d.do("descriptors") == before)
                heap = d.do("heap")
            d.create("chat", min=round % 2)
            if round % 4 == 0:
                d.wait("chat", "READY")
            d.delete("chat")
        wait_for("nothing is under way any more", lambda: d.do("descriptors") == before)
        # A thread more than ever before at once leaves some 300 bytes in the C library's stack cache; what each fourth cycle loses, 32 or more each.
        lost = 32 * (cycles // 2 // 4)
        wait_for(f"less than {lost} bytes more than {cycles - cycles // 2} cycles before", lambda: d.do("heap") - heap < (lost or 1))
        assert not engines(d.store)
        left = [name for _, folders, files in os.walk(d.store) for name in files]
        assert left == ["lock"], left
        children = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(d.process.pid)], capture_output=True, text=True)
        assert children.stdout.split() == [], children.stdout


# ---- the daemon ----

def complete(port, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout * SLOW)
    connection.request("POST", "/v1/completions", json.dumps({"model": "fromfile", "prompt": "Hi", "max_tokens": 4}),
                       {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, reply.getheader("Retry-After"), text


class Daemon:
    """`tenon daemon` over the store of a driver that is closed."""

    def __init__(self, d, *flags):
        self.port, self.store = free_port(), d.store
        self.log = open(os.path.join(d.store, "..", "daemon.log"), "a")
        self.process = subprocess.Popen([os.environ["TENON"], "daemon", d.ini, "--listen", f"127.0.0.1:{self.port}", "--store", d.store,
                                         *flags], stderr=self.log)

    def answers(self):
        with contextlib.suppress(OSError):
            return complete(self.port)[0] == 200
        return False

    def first_answer(self):
        """As soon as there is a door."""
        end = time.time() + 60 * SLOW
        while time.time() < end:
            with contextlib.suppress(OSError):
                return complete(self.port)
            time.sleep(0.01)
        raise AssertionError("no door")

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(60 * SLOW)
        self.log.close()
        return code


def test_daemon_leaves_engines_running():
    with driver() as d:
        d.close()
        daemon = Daemon(d)
        wait_for("the service of the file answers", daemon.answers)
        pids = serving(d.store)
        assert len(pids) == 1
        for number, code in (signal.SIGTERM, 0), (signal.SIGKILL, -9):
            assert daemon.end(number) == code
            assert serving(d.store) == pids
            daemon = Daemon(d)
            assert daemon.first_answer()[0] == 200, "the engine is known, though it is not attached yet"
            assert serving(d.store) == pids
        assert daemon.end(signal.SIGTERM) == 0
        os.kill(pids[0], signal.SIGSTOP)
        daemon = Daemon(d, "--set", "server.wake_timeout=0.1")
        status, retry_after, text = daemon.first_answer()
        assert status == 503 and int(retry_after) > 0 and "no instance of fromfile became ready within 0.1 s" in text, (status, text)
        wait_for("it says why", lambda: "within 0.1 s: fromfile is" in daemon.first_answer()[2])
        os.kill(pids[0], signal.SIGCONT)
        wait_for("it goes on", daemon.answers)
        assert daemon.end(signal.SIGTERM) == 0
        daemon = Daemon(d, "--stop-engines")
        assert daemon.first_answer()[0] == 200
        assert daemon.end(signal.SIGTERM) == 0
        assert not engines(d.store)
        d.start()
        d.wait("fromfile", "READY")


def test_settings_that_cannot_be():
    """One sentence each."""
    with tempfile.TemporaryDirectory(prefix="tenon-") as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        port, plugins, ini = taken.getsockname()[1], os.environ["TENON_PLUGINS"], os.path.join(folder, "x.ini")
        os.makedirs(folder + "/newer/services")
        with open(folder + "/newer/services/a.json", "w") as file:
            file.write('{"format": 2}')
        store, free = f"[server]\nstore = {folder}/s\n", f"[http_frontend]\nlisten = 127.0.0.1:{free_port()}\n"
        for settings, sentence in (
                (f"{store}[frontend]\nplugins = http_frontent\n",
                 f'{ini}:6: [frontend] plugins: there is no plugin "http_frontent"; did you mean "http_frontend"? If not: {plugins}/http_frontent.so '
                 "does not exist; install it there, give an absolute path, or set [plugins] path"),
                ("[service a]\nmodel = /x\n[service a]\nmodel = /y\n",
                 f"{ini}:6: [service a] model is already set in line 4; keep one of them"),
                (f"{store}[http_frontend]\nlisten = 127.0.0.1:{port}\n",
                 f"http_frontend: cannot listen on 127.0.0.1:{port}: Address already in use: another program listens there; stop it or choose "
                 "another port"),
                (f"[server]\nstore = {ini}/s\n",
                 f"server.store: {ini}: Not a directory; set it to a folder that this user may make and write"),
                (f"[server]\nstore = {folder}/newer\n",
                 f"{folder}/newer/services/a.json: a newer Tenon has written it (format 2, this one reads 1); run that one on this store, or give "
                 "this one a server.store of its own"),
                (f"{store}{free}[service a]\nmodel = {TINY}\npool = nope\n[pool here]\nhost_memory = true\n",
                 '[service a] there is no pool "nope"; there are GPU_NV_S, GPU_NV_M, GPU_NV_L, here; a section [pool NAME] makes one')):
            with open(ini, "w") as file:
                file.write(f"[plugins]\npath = {plugins}\n" + settings)
            daemon = subprocess.Popen([os.environ["TENON"], "daemon", ini], stderr=subprocess.PIPE, text=True)
            said = []
            for line in daemon.stderr:
                said.append(line)
                if "[service a]" in line:
                    daemon.terminate()  # the others are served
            assert f"tenon: {sentence}\n" in said, (sentence, said)
            assert daemon.wait() == (0 if "pool" in sentence else 1) and (len(said) == 1 or "pool" in sentence), said


PARTS = {
    "life": [test_ready_asked_and_deleted, test_suspended_frees_memory_and_the_first_request_resumes,
             test_racing_resumes, test_requests_that_wait, test_updated_while_suspended, test_idle_service_suspends_itself,
             test_request_at_the_moment_of_autosuspend, test_update_drops_nothing, test_scaled_by_hand, test_log_is_followed,
             test_racing_updates_lose_nothing, test_service_of_a_section, test_model_of_the_registry],
    "refusals": [test_refusals_name_the_field, test_name_is_taken, test_one_of_two_gets_the_memory, test_racing_for_the_memory,
                 test_does_not_fit_at_all,
                 test_pool_has_a_number_of_services],
    "failures": [test_killed_engine_is_started_again, test_engine_that_somebody_else_ends_loses_no_request, test_hung_engine_is_killed, test_five_failures_are_enough, test_disk_that_takes_nothing,
                 test_failed_update_leaves_what_was, test_failed_update_whose_service_has_died, test_scaled_during_an_update_that_fails,
                 test_update_that_half_came_up_is_taken_back],
    "crash": [test_one_daemon_a_store, test_engines_outlive_the_daemon, test_engine_that_does_not_answer_holds_nobody_up,
              test_orphans_are_ended, test_leases_of_services_that_are_gone_end, test_killed_at_any_moment],
    "cycles": [test_cycles_leave_nothing],
    "daemon": [test_settings_that_cannot_be, test_daemon_leaves_engines_running],
}

if __name__ == "__main__":
    for part in sys.argv[2:] or PARTS:
        tests = PARTS.get(part) or [globals()[part]]
        for test in tests:
            begin = time.time()
            test()
            print(f"{test.__name__}: {time.time() - begin:.1f} s", flush=True)
