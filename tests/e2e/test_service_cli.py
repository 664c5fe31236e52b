#!/usr/bin/env python3
"""`tenon service`, over a daemon that says what the test wants: what is asked of it, what people and programs are told, exit codes,
and what is said where no daemon answers. test_admin.py has a real one."""
import json
import os
import subprocess
import tempfile

from fake_daemon import FakeDaemon
from registry_program import command, run

COMMANDS = ["create", "list", "status", "logs", "suspend", "resume", "scale", "update", "delete"]


def service(state="READY", **fields):
    return {"name": "chat", "state": state, "message": "", "progress": None, "restart_count": 0, "exit_code": None, "model": "m",
            "digest": None, "pool": "a", "gpus": 1, "min": 0, "max": 1, "autosuspend": 1800, "settings": ["model.max_model_len=8192"],
            "needed_bytes": 1 << 30, "had_bytes": None, "running": 2, "waiting": 0, "last_log": [],
            "instances": [{"id": "chat-1", "state": state, "pid": 7, "restart_count": 0, "memory_bytes": 5 << 20, "message": ""}],
            **fields}


def error(message, param=None, **fields):
    return {"error": {"message": message, "type": "invalid_request_error", "param": param}, **fields}


def tenon(daemon, *arguments, code=0, **how):
    return run(command("service", *arguments, "--server", daemon.address), code, **how)


def states(*names):
    """A script: 201 for what is made, then one state after the other, and the last for ever."""
    left = list(names)

    def script(method, path, body):
        if method != "GET":
            return 201, service("PENDING")
        state = left.pop(0) if len(left) > 1 else left[0]
        share = 0.5 if state == "LOADING" else None
        return 200, service(state, progress=share, message="no memory" if state == "FAILED" else "",
                            last_log=["last words"] if state == "FAILED" else [])
    return script


def test_help():
    listing = run(command("service", "--help"))
    for name in COMMANDS:
        assert f"\n  {name} " in listing, name
        assert run(command("service", name, "--help")).startswith(f"usage: tenon service {name}")
    assert "did you mean 'service suspend'" in run(command("service", "suspned"), 2)
    assert run(command("service"), 2).startswith("usage: tenon service COMMAND")
    assert "--model and --pool are needed" in run(command("service", "create", "x"), 2)
    assert "--set takes KEY=VALUE" in run(command("service", "create", "x", "--model", "m", "--pool", "a", "--set", "b"), 2)
    assert "--min, --max or both" in run(command("service", "scale", "x"), 2)
    assert "--since takes" in run(command("service", "logs", "x", "--since", "now"), 2)
    assert "  -f " in run(command("service", "logs", "--help"))


def test_nobody_answers(folder):
    missing = os.path.join(folder, "none.sock")
    text = run(command("service", "list", "--server", "unix:" + missing), 1)
    assert f"unix:{missing} (No such file or directory); `tenon daemon" in text and "--server" in text, text
    text = run(command("service", "list", "--server", "http://127.0.0.1:1"), 1)
    assert "127.0.0.1:1" in text and "`tenon daemon" in text, text
    assert "unix:/path" in run(command("service", "list", "--server", "ftp://x"), 1)


def test_which_daemon(folder):
    """The flag, the settings, the variable, a socket where one is looked for, and the port: in this order."""
    runtime, empty = os.path.join(folder, "runtime"), os.path.join(folder, "empty")
    os.mkdir(runtime)
    os.mkdir(empty)
    environment = {k: v for k, v in os.environ.items() if k not in ("TENON_SERVER", "TENON_TOKEN")}
    sockets = {"found": os.path.join(runtime, "tenond.sock"), **{n: os.path.join(folder, n) for n in ("variable", "settings", "flag")}}
    daemons = {name: FakeDaemon(lambda *_: (200, {"services": []}), path) for name, path in sockets.items()}
    words, asked = command("service", "list", "--json"), []
    with daemons["found"], daemons["variable"], daemons["settings"], daemons["flag"]:
        environment["XDG_RUNTIME_DIR"] = runtime
        for more in ([], {"TENON_SERVER": daemons["variable"].address}, ["--set", "http_frontend.listen=127.0.0.1:1,unix:" + sockets["settings"]],
                     ["--server", daemons["flag"].address]):
            if isinstance(more, dict):
                environment.update(more)
            else:
                words += more
            run(words, env=environment)
            asked.append([name for name, daemon in daemons.items() if daemon.calls])
            for daemon in daemons.values():
                daemon.calls.clear()
    assert asked == [["found"], ["variable"], ["settings"], ["flag"]], asked
    environment.update(XDG_RUNTIME_DIR=empty, TENON_SERVER="unix:" + empty + "/none")
    assert empty + "/none" in run(command("service", "list"), 1, env=environment)
    assert "at most" in run(command("service", "list", "--server", "http://" + "h" * 300), 1, env=environment)
    del environment["TENON_SERVER"]
    done = subprocess.run(command("service", "list"), capture_output=True, text=True, env=environment)
    if done.returncode:  # else a daemon of this machine has answered
        assert all(word in done.stderr for word in ("TENON_SERVER", empty + "/tenond.sock", "--server", "`tenon daemon")), done.stderr


def test_create_waits_and_tells(folder):
    with FakeDaemon(states("PLANNING", "LOADING", "READY"), os.path.join(folder, "d.sock")) as daemon:
        words = command("service", "create", "chat", "--model", "m:prod", "--pool", "a", "--gpus", "2", "--set", "max_model_len=8192",
                        "--set", "engine.max_num_seqs=4", "--min", "1", "--max", "3", "--autosuspend", "60", "--server", daemon.address)
        assert run(words) == "chat is READY on pool a, 1 of 1 instances ready\n"
        assert daemon.calls[0] == ("POST", "/services", {
            "name": "chat", "model": "m:prod", "pool": "a", "gpus": 2, "min": 1, "max": 3, "autosuspend": 60,
            "settings": {"max_model_len": "8192", "engine.max_num_seqs": "4"}})
        assert daemon.calls[1][:2] == ("GET", "/services/chat?wait=1&state=READY") and len(daemon.calls) == 4
    with FakeDaemon(states("LOADING", "FAILED")) as daemon:
        text = tenon(daemon, "create", "chat", "--model", "m", "--pool", "a", code=1)
        assert "chat: LOADING  50 %" in text and "chat has failed: no memory\n  last words" in text, text
        assert "Authorization" not in daemon.headers[0]
    with FakeDaemon(states("READY")) as daemon:
        made = json.loads(tenon(daemon, "create", "chat", "--model", "m", "--pool", "a", "--no-wait", "--replace", "--json"))
        assert made["state"] == "PENDING" and len(daemon.calls) == 1 and daemon.calls[0][2]["replace"] is True


def test_misfits_have_codes_of_plan(folder):
    fixes = [{"flags": "--max-model-len 4096", "effect": "of \x1b[2J 8192"}]
    for plan, code, words in [({"fits": False, "fixes": fixes}, 2, "--max-model-len 4096  of ?[2J 8192"), ({"fixes": []}, 3, "needs")]:
        with FakeDaemon(lambda *_: (422, error("chat needs 2 GiB and there are 1", plan=plan))) as daemon:
            for arguments in (["create", "chat", "--model", "m", "--pool", "a"], ["update", "chat", "--gpus", "2"]):
                text = tenon(daemon, *arguments, code=code)
                assert "tenon: chat needs 2 GiB" in text and words in text, text
    with FakeDaemon(lambda *_: (200, {"fits": True, "strategy": "one device", "needed_bytes": 1 << 30})) as daemon:
        text = tenon(daemon, "create", "chat", "--model", "m", "--pool", "a", "--dry-run")
        assert text.startswith("it fits: one device") and "1.00 GiB" in text and daemon.calls[0][2]["dry_run"] is True
        assert json.loads(tenon(daemon, "create", "chat", "--model", "m", "--pool", "a", "--dry-run", "--json"))["fits"] is True
    with FakeDaemon(lambda *_: (409, error("name: there is one", "name"))) as daemon:
        assert tenon(daemon, "create", "chat", "--model", "m", "--pool", "a", code=1) == "tenon: name: there is one\n"


def test_list_and_status(folder):
    with FakeDaemon(lambda *_: (200, {"services": [service(), service("FAILED", name="b", message="out\nof it")]})) as daemon:
        lines = tenon(daemon, "list").splitlines()
        assert lines[0].split()[:3] == ["name", "state", "model"] and lines[1].split()[:5] == ["chat", "READY", "m", "a", "1/0-1"]
        assert lines[2].endswith("out?of it") and len(lines) == 3
        assert len(json.loads(tenon(daemon, "list", "--json"))["services"]) == 2
    with FakeDaemon(states("LOADING")) as daemon:
        text = tenon(daemon, "status", "chat")
        assert text.startswith("chat: LOADING\n") and "model.max_model_len=8192" in text and "5.00 MiB" in text, text
        assert daemon.calls == [("GET", "/services/chat", None)]
        assert json.loads(tenon(daemon, "status", "chat", "--json"))["progress"] == 0.5
        assert "not READY but LOADING" in tenon(daemon, "status", "chat", "--wait", "READY", "--timeout", "0.1", code=1)
    with FakeDaemon(states("LOADING", "READY")) as daemon:
        assert tenon(daemon, "status", "chat", "--wait", "READY").startswith("chat: READY")
    with FakeDaemon(lambda *_: (404, error("there is no service chat"))) as daemon:
        assert tenon(daemon, "status", "a/b?", code=1) == "tenon: there is no service chat\n"
        assert daemon.calls == [("GET", "/services/a%2Fb%3F", None)]


def tenon_after(arguments, *answers, code=0):
    """What is said when the daemon answers one (code, state) after the other: 202 where the state has not come that it waited for."""
    left = [(201, "READY")] * (arguments[0] != "status") + list(answers)

    def script(*_):
        number, state = left.pop(0)
        return number, service(state, message="the update has failed" if state == "DEGRADED" else "", last_log=["last words"])

    with FakeDaemon(script) as daemon:
        said = tenon(daemon, *arguments, code=code)
    assert not left, left
    return said


def test_changes(folder):
    for arguments, call, seen, printed in [
            (["suspend", "chat", "--drain", "5"], ("POST", "/services/chat:suspend?drain=5"), ["SUSPENDING", "SUSPENDED"], "SUSPENDED"),
            (["resume", "chat"], ("POST", "/services/chat:resume"), ["RESUMING", "READY"], "READY"),
            (["update", "chat", "--model", "n"], ("PATCH", "/services/chat"), ["LOADING", "READY"], "READY"),
            (["scale", "chat", "--max", "2"], ("POST", "/services/chat:scale"), ["READY"], "READY")]:
        with FakeDaemon(states(*seen)) as daemon:
            assert f"chat is {printed}" in tenon(daemon, *arguments)
            assert daemon.calls[0][:2] == call and len(daemon.calls) == 1 + len(seen), daemon.calls
    assert daemon.calls[0][2] == {"max": 2}
    assert "chat is SUSPENDED" in tenon_after(["update", "chat", "--gpus", "2"], (202, "SUSPENDED"))
    said = tenon_after(["update", "chat", "--gpus", "2"], (202, "READY"), (202, "DEGRADED"), (200, "READY"))
    assert "chat is READY" in said
    for arguments in (["update", "chat", "--model", "n"], ["status", "chat", "--wait", "READY"]):
        said = tenon_after(arguments, (202, "READY"), (200, "DEGRADED"), code=1)
        assert "chat has failed: the update has failed\n  last words" in said, said
    assert "chat is SUSPENDED" in tenon_after(["suspend", "chat"], (200, "DEGRADED"), (200, "SUSPENDING"), (200, "SUSPENDED"))
    gone = [(200, service("DELETING")), (202, service("DELETING")), (204, None)]
    with FakeDaemon(lambda *_: gone.pop(0)) as daemon:
        assert tenon(daemon, "delete", "chat") == "chat is gone\n"
        assert [c[:2] for c in daemon.calls] == [("DELETE", "/services/chat")] + [("GET", "/services/chat?wait=1&state=DELETING")] * 2
    with FakeDaemon(lambda *_: (204, None)) as daemon:
        assert json.loads(tenon(daemon, "delete", "chat", "--json")) == {"name": "chat", "state": "DELETED"}
    with FakeDaemon(lambda *_: (200, service("DELETING"))) as daemon:
        assert json.loads(tenon(daemon, "delete", "chat", "--no-wait", "--json"))["state"] == "DELETING" and len(daemon.calls) == 1


def test_logs(folder):
    with FakeDaemon(lambda *_: (200, b"one\n\x1b[31mtwo\xc2\x9b\n")) as daemon:
        assert tenon(daemon, "logs", "chat", "--instance", "chat-1", "--since", "1m", "-f") == "one\n?[31mtwo??\n"
        path = daemon.calls[0][1]
        assert path.startswith("/services/chat/logs?follow=1&since=") and path.endswith("&instance=chat-1"), path
        tenon(daemon, "logs", "chat")
        assert daemon.calls[1][1] == "/services/chat/logs?follow=0&since=0.000"
    with FakeDaemon(lambda *_: (404, error("there is no service chat"))) as daemon:
        assert tenon(daemon, "logs", "chat", code=1) == "tenon: there is no service chat\n"


def test_tokens_and_settings(folder):
    """The token of a flag or of the environment; the address of the settings; proxies are not asked."""
    ini = os.path.join(folder, "t.ini")
    with FakeDaemon(lambda *_: (200, {"services": []}), os.path.join(folder, "s.sock")) as daemon:
        with open(ini, "w") as file:
            file.write(f"[http_frontend]\nlisten = 127.0.0.1:1, {daemon.address}\n")
        environment = dict(os.environ, TENON_TOKEN="tenon_x", http_proxy="http://127.0.0.1:1")
        run(command("service", "list", "--config", ini), env=environment)
        run(command("service", "list", "--config", ini, "--token", "tenon_y"), env=environment)
        assert [h.get("Authorization") for h in daemon.headers] == ["Bearer tenon_x", "Bearer tenon_y"]
    with FakeDaemon(lambda *_: (200, {"services": []})) as daemon:
        with open(ini, "w") as file:
            file.write(f"[http_frontend]\nlisten = {daemon.address[7:]}\n")
        run(command("service", "list", "--config", ini), env=environment)
    with FakeDaemon(lambda *_: (401, error("who are you?"))) as daemon:
        text = tenon(daemon, "list", code=1)
        assert "who are you?" in text and "TENON_TOKEN" in text, text


def test_pools(folder):
    pool = {"name": "a", "max_services": 4, "services": 1, "reserved": [{"service": "chat", "instance": "chat-1", "bytes": 1 << 30}],
            "devices": [{"ordinal": 0, "total_bytes": None, "reserved_bytes": 1 << 30, "free_bytes": None}]}
    with FakeDaemon(lambda *_: (200, {"pools": [pool]})) as daemon:
        text = run(command("pool", "list", "--server", daemon.address))
        assert text.startswith("a: 1 of 4 services\n") and "1.00 GiB  chat" in text and daemon.calls == [("GET", "/pools", None)], text
        assert json.loads(run(command("pool", "list", "--json", "--server", daemon.address)))["pools"] == [pool]


def test_up(folder):
    """What is missing is made, what differs is changed in that alone, and the rest is left: a second time changes nothing."""
    ini = os.path.join(folder, "up.ini")
    with open(ini, "w") as file:
        file.write("[service chat]\nmodel = m\npool = a\ngpus = 2\nmax_model_len = 8192\n[service new]\nmodel = n@v1\npool = b\nmin = 1\n")
    there = {"chat": service()}

    def script(method, path, body):
        name = path.partition("?")[0].rpartition("/")[2]
        if method == "GET":
            return (200, there[name]) if name in there else (404, error("none"))
        name = body.get("name", name)
        there[name] = {**service(), **there.get(name, {}), **body}
        there[name]["gpus"] = there[name]["gpus"] or 4  # as many as it takes
        there[name]["settings"] = [f"model.{k}={v}" for k, v in body["settings"].items()] if "settings" in body else there[name]["settings"]
        return 201, there[name]

    with FakeDaemon(script) as daemon:
        words = command("up", ini, "--server", daemon.address)
        assert run(words) == "chat: updated (gpus 1 -> 2)\nnew: created\n"
        changes = [c for c in daemon.calls if c[0] != "GET"]
        assert changes == [("PATCH", "/services/chat", {"gpus": 2}), ("POST", "/services", {
            "name": "new", "model": "n@v1", "pool": "b", "gpus": 0, "min": 1, "max": 1, "autosuspend": 1800, "settings": {}})], changes
        assert run(words) == "chat: unchanged\nnew: unchanged\n"
        assert [c for c in daemon.calls if c[0] != "GET"] == changes
        with open(ini, "a") as file:
            file.write("seed = 7\n")
        told = json.loads(run(words + ["--json", "--no-wait"]))
        assert [t["change"] for t in told] == ["unchanged", "updated"] and '{"seed":"7"}' in told[1]["differences"]
    with FakeDaemon(lambda method, *_: (404, error("none")) if method == "GET" else (422, error("too large", plan={}))) as daemon:
        words = command("up", ini, "--server", daemon.address)
        text = run(words, 3)
        assert text.count("too large") == 2, text
    for text, words in [("[service x]\nmodel = m\n", "[service x] lacks pool"), ("[server]\n", f"{ini}: there is no section [service NAME]"),
                        ("[service x]\nmodle = m\n", f"{ini}:2")]:
        with open(ini, "w") as file:
            file.write(text)
        assert words in run(command("up", ini, "--server", daemon.address), 1), words
    assert "No such file" in run(command("up", ini + ".none"), 1)
    assert "unknown flag --config" in run(command("up", ini, "--config", ini), 2)


if __name__ == "__main__":
    test_help()
    for name, test in list(globals().items()):
        if name.startswith("test_") and name != "test_help":
            with tempfile.TemporaryDirectory() as scratch:
                test(scratch)
