#!/usr/bin/env python3
"""A daemon's admin API and its commands, over real engines on the tiny model: from a file to an endpoint and back; what is refused,
and with which code and field; answers that are given again; and every route with every scope, as the README's table says."""
import contextlib
import http.client
import json
import os
import re
import tempfile
import threading
import time

from daemon import Daemon, UnixConnection
from registry_program import DIRECTORY, TINY, command, run

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runtime/auth/README.md")
SCOPES = ["infer", "batch", "admin"]
CHAT = {"name": "chat", "model": "tiny", "pool": "here", "settings": {"max_model_len": 128, "max_num_seqs": 2}}


def refused(reply, code, param=None):
    """The message of a refusal."""
    status, body = reply
    assert status == code and body["error"]["param"] == param and body["error"]["type"], reply
    return body["error"]["message"]


def complete(daemon, model="chat"):
    return daemon.request("POST", "/v1/completions", {"model": model, "prompt": [1, 2, 3], "max_tokens": 4}, tcp=True)


def check_models(daemon):
    status, body = daemon.admin("GET", "/models")
    assert status == 200 and [m["name"] for m in body["models"]] == ["tiny"], body
    status, added = daemon.admin("POST", "/models", {"name": "sharded", "path": os.path.realpath(DIRECTORY), "alias": "prod", "comment": "of a test",
                                                     "tags": {"team": "a"}, "metrics": {"acc": 0.5}})
    assert status == 201 and added["version"] == "v1" and added["aliases"] == ["prod"] and added["tags"] == {"team": "a"}, added
    assert refused(daemon.admin("POST", "/models", {"name": "sharded", "path": "/proc"}), 422, "path")
    again = {"name": "sharded", "version": "v1", "path": os.path.realpath(DIRECTORY)}
    assert "already" in refused(daemon.admin("POST", "/models", again), 409, "version")
    assert "allow_pull" in refused(daemon.admin("POST", "/models", {"name": "x", "pull": "org/x"}), 403, "pull")
    assert daemon.admin("POST", "/models/sharded/versions/v1/verify", {"deep": True})[1]["damaged"] == 0
    assert daemon.admin("PUT", "/models/sharded/aliases/old", {"version": "v1"})[1]["aliases"] == ["old", "prod"]
    assert daemon.admin("DELETE", "/models/sharded/aliases/old") == (204, "")
    assert daemon.admin("PUT", "/models/sharded/default", {"version": "v1"})[0] == 200
    assert daemon.admin("GET", "/models/sharded")[1]["default"] == "v1"
    status, begun = daemon.admin("POST", "/models?wait=0", {"name": "sharded", "path": os.path.realpath(DIRECTORY), "version": "later"})
    assert status == 202 and begun["state"] in ("running", "done"), begun
    ended = daemon.admin("GET", f"/operations/{begun['id']}?wait=60")[1]
    assert (ended["state"], ended["progress"], ended["code"], ended["result"]["version"]) == ("done", 1, 201, "later"), ended
    assert daemon.admin("DELETE", "/models/sharded/versions/later") == (204, "")
    assert daemon.admin("DELETE", "/models/sharded/versions/v1") == (204, "")
    refused(daemon.admin("GET", "/models/sharded"), 404)


def check_plan(daemon):
    status, plan = daemon.admin("POST", "/plan", {"model": "tiny", "pool": "here", "max_model_len": 256})
    assert status == 200 and plan["fits"] is True and plan["max_model_len"] == 256, plan
    told = json.loads(daemon.tenon("plan", "registry:tiny", "--pool", "here", "--max-model-len", "256", "--json"))
    assert set(plan) == set(told) and plan["bytes"]["weights"] == told["bytes"]["weights"]
    assert all(plan[key] == told[key] for key in ("architecture", "pool", "strategy", "kv_token_bytes", "kv_sequence_bytes", "warnings"))
    assert daemon.admin("POST", "/plan", {"model": os.path.realpath(TINY), "pool": "here"})[1]["fits"]
    assert "no pool" in refused(daemon.admin("POST", "/plan", {"model": "tiny", "pool": "nowhere"}), 422)


def check_life(daemon):
    status, made = daemon.admin("POST", "/services?wait=60", CHAT)
    assert status == 201 and made["state"] == "READY" and made["settings"] == ["model.max_model_len=128", "engine.max_num_seqs=2"], made
    assert complete(daemon)[0] == 200
    assert "already" in refused(daemon.admin("POST", "/services", CHAT), 409, "name")
    assert refused(daemon.admin("DELETE", "/models/tiny/versions/v1"), 409)
    refused(daemon.admin("POST", "/services", {**CHAT, "name": "Chat"}), 400, "name")
    refused(daemon.admin("POST", "/services", {**CHAT, "name": "b", "settings": {"max_modle_len": 1}}), 400, "settings")
    refused(daemon.admin("POST", "/services", {**CHAT, "name": "b", "pool": "heer"}), 400, "pool")
    refused(daemon.admin("POST", "/services", {**CHAT, "name": "b", "model": "tinny"}), 400, "model")
    refused(daemon.admin("POST", "/services", {**CHAT, "name": "b", "min": 3, "max": 2}), 400, "min")
    refused(daemon.admin("PATCH", "/services/chat", {"model": "tinny"}), 400, "model")
    refused(daemon.admin("PATCH", "/services/none", {"max": 2}), 404)
    refused(daemon.admin("GET", "/services/none"), 404)
    status, pools = daemon.admin("GET", "/pools")
    here = next(p for p in pools["pools"] if p["name"] == "here")
    assert here["services"] == 1 and here["reserved"][0]["service"] == "chat" and here["reserved"][0]["bytes"] > 0, here
    misfit = {**CHAT, "name": "big", "settings": {"kv_cache_memory_bytes": "4096GiB"}}
    status, body = daemon.admin("POST", "/services", misfit)
    assert status == 422 and body["plan"] and body["error"]["message"], body
    for changes in ({"name": "b"}, {"replace": True}, {"replace": True, "min": 1}):
        status, plan = daemon.admin("POST", "/services", {**CHAT, **changes, "dry_run": True})
        assert status == 200 and plan["fits"] is True, (changes, plan)
    assert [s["name"] for s in daemon.admin("GET", "/services")[1]["services"]] == ["chat"], "nothing was made of these"
    status, changed = daemon.admin("PATCH", "/services/chat?wait=60", {"settings": {"max_model_len": 64}})
    assert status == 200 and changed["settings"] == ["model.max_model_len=64"] and changed["state"] == "READY", changed
    ready = [i["generation"] for i in changed["instances"] if i["state"] == "READY"]
    assert changed["generation"] in ready, "it has waited for the new ones"
    assert daemon.admin("POST", "/services/chat:scale?wait=60", {"max": 2})[1]["max"] == 2
    assert daemon.admin("POST", "/services/chat:suspend?wait=60")[1]["state"] == "SUSPENDED"
    assert complete(daemon)[0] == 200, "a request resumes it"
    assert daemon.admin("GET", "/services/chat?wait=60&state=READY")[1]["state"] == "READY"
    status, log = daemon.admin("GET", "/services/chat/logs")
    assert status == 200 and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z chat-\w+ ", log), log[:200]
    assert "is ready after" in log and daemon.admin("GET", f"/services/chat/logs?since={time.time() + 100:.0f}") == (200, "")
    assert daemon.admin("DELETE", "/services/chat?wait=60&drain=5") == (204, "")
    refused(daemon.admin("GET", "/services/chat"), 404)


def check_key(daemon):
    """One service of many requests with one key, and the same answer to all."""
    replies, key = [], {"Idempotency-Key": "one"}
    threads = [threading.Thread(target=lambda: replies.append(daemon.admin("POST", "/services?wait=60", CHAT, headers=key))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(reply == replies[0] for reply in replies) and replies[0][0] == 201, replies
    assert refused(daemon.admin("POST", "/services?wait=60", {**CHAT, "name": "b"}, headers=key), 422, "Idempotency-Key")
    assert daemon.admin("DELETE", "/services/chat?wait=60")[0] == 204
    assert daemon.admin("POST", "/services?wait=60", CHAT, headers=key) == replies[0], "kept, whatever has become of it"
    refused(daemon.admin("GET", "/services/chat"), 404)


def check_followers(daemon):
    """A log that is followed comes as it is written; who leaves is noticed."""
    assert daemon.admin("POST", "/services?wait=60", CHAT)[0] == 201
    connections = [UnixConnection(daemon.socket, 60) for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/admin/v1/services/chat/logs?follow=1")
        reply = connection.getresponse()
        assert reply.status == 200 and reply.readline()
    following = daemon.threads()
    for connection in connections:
        connection.close()
    end = time.time() + 60
    while daemon.threads() > following - 3 and time.time() < end:
        time.sleep(0.1)
    assert daemon.threads() <= following - 3, (daemon.threads(), following)
    assert daemon.admin("DELETE", "/services/chat?wait=60")[0] == 204


def check_commands(daemon):
    text = daemon.tenon("service", "create", "chat", "--model", "tiny", "--pool", "here", "--set", "max_model_len=128")
    assert text == "chat is READY on pool here, 1 of 1 instances ready\n", text
    assert daemon.tenon("service", "list").splitlines()[1].split()[:2] == ["chat", "READY"]
    shown = json.loads(daemon.tenon("service", "status", "chat", "--json", "--wait", "READY", "--timeout", "30"))
    assert len(shown["instances"]) == 1 and shown["digest"]
    assert "socket_frontend" in daemon.tenon("service", "logs", "chat", "--instance", shown["instances"][0]["id"], "--since", "1h")
    assert daemon.tenon("service", "logs", "chat", "--instance", "none", code=1)
    assert "SUSPENDED" in daemon.tenon("service", "suspend", "chat", "--drain", "1")
    assert "READY" in daemon.tenon("service", "resume", "chat")
    assert "READY" in daemon.tenon("service", "update", "chat", "--set", "max_model_len=64")
    assert json.loads(daemon.tenon("service", "scale", "chat", "--max", "2", "--json"))["max"] == 2
    text = daemon.tenon("service", "create", "big", "--model", "tiny", "--pool", "here", "--set", "kv_cache_memory_bytes=4096GiB", code=3)
    assert "big does not fit pool here" in text and "the budget is" in text, text
    text = daemon.tenon("service", "create", "big", "--model", "tiny", "--pool", "here", "--gpus", "5", code=2)
    assert "runs as one rank" in text and "\n  --tp 1 " in text, text
    assert daemon.tenon("service", "create", "big", "--model", "tiny", "--pool", "here", "--dry-run").startswith("it fits: one device\n")
    assert "reserved" in run(command("pool", "list", "--server", "unix:" + daemon.socket))
    assert daemon.tenon("service", "delete", "chat") == "chat is gone\n"
    assert "there is no service" in daemon.tenon("service", "delete", "chat", code=1)


def check_up(daemon):
    with open(daemon.ini, "a") as file:
        file.write("[service one]\nmodel = tiny\npool = here\nmax_model_len = 128\n[service two]\nmodel = tiny@v1\npool = here\nmin = 1\n")
    assert run(command("up", daemon.ini)) == "one: created\ntwo: created\n"
    assert run(command("up", daemon.ini)) == "one: unchanged\ntwo: unchanged\n"
    with open(daemon.ini) as file:
        text = file.read()
    with open(daemon.ini, "w") as file:
        file.write(text.replace("max_model_len = 128", "max_model_len = 64"))
    told = run(command("up", daemon.ini))
    assert told.startswith("one: updated (settings") and told.endswith("two: unchanged\n"), told
    assert complete(daemon, "one")[0] == 200 and complete(daemon, "two")[0] == 200
    for name in ("one", "two"):
        assert daemon.admin("DELETE", f"/services/{name}?wait=60")[0] == 204


def read_table():
    """[(method, path, scopes)] of the README, each with paths that stand for its row."""
    rows = []
    with open(TABLE) as file:
        for line in file:
            found = re.fullmatch(r"\| (\w+) \| (.+) \| ([a-z ]+) \|\n", line)
            if not found or found[1] == "method":
                continue
            scopes = [] if found[3] == "none" else found[3].split()
            assert all(scope in SCOPES for scope in scopes), line
            path, below, _ = found[2].partition(", and below")
            paths = ["/nothing/here"] if path == "anything else" else [path] + ([path + "/x"] if below else [])
            for method in ["GET", "POST", "DELETE"] if found[1] == "any" else [found[1]]:
                rows += [(method, p, scopes) for p in paths]
    assert len(rows) > 20
    return rows


def check_scopes(folder):
    """401 without a token or with a wrong one, 403 with one for something else, and otherwise whatever the route says."""
    tokens = {scope: run(command("token", "create", scope, "--scope", scope, "--file", folder + "/tokens")).strip() for scope in SCOPES}
    stranger = tokens["admin"][:-1] + ("0" if tokens["admin"][-1] != "0" else "1")
    with Daemon(folder, f"[auth]\ntoken_file = {folder}/tokens\n") as daemon:
        for method, path, scopes in read_table():
            for who, token in {**tokens, "nobody": None, "stranger": stranger}.items():
                headers = {"Authorization": "Bearer " + token} if token else {}
                status = daemon.request(method, path, headers=headers, tcp=True)[0]
                if not scopes or who in scopes:
                    assert status not in (401, 403), (method, path, who, status)
                else:
                    assert status == (403 if who in SCOPES else 401), (method, path, who, status)
            assert daemon.request(method, path)[0] not in (401, 403), "over the unix socket the server's own user needs none"
        server = f"http://127.0.0.1:{daemon.port}"
        assert "TENON_TOKEN" in run(command("service", "list", "--server", server), 1)
        run(command("service", "list", "--server", server, "--token", tokens["admin"]))
        run(command("service", "list", "--server", server), env=dict(os.environ, TENON_TOKEN=tokens["admin"]))
        other = run(command("token", "create", "other", "--scope", "admin", "--file", folder + "/tokens")).strip()
        for token, name, code in (tokens["admin"], "A", 400), (tokens["admin"], "B", 422), (other, "B", 400):
            status = daemon.admin("POST", "/services", {**CHAT, "name": name}, tcp=True,
                                  headers={"Authorization": "Bearer " + token, "Idempotency-Key": "one"})[0]
            assert status == code, f"a key of each token's own: {name}: {status}"
        run(command("token", "revoke", "admin", "--file", folder + "/tokens"))
        assert "TENON_TOKEN" in run(command("service", "list", "--server", server, "--token", tokens["admin"]), 1), "at once"
        daemon.stop()


def check_serve(folder):
    """A token file that is not there, or open to others, keeps `tenon serve` from starting."""
    path = folder + "/serve-tokens"
    run(command("token", "create", "ci", "--scope", "infer", "--file", path))
    os.chmod(path, 0o644)
    for file, words in [(path, "chmod 600"), (path + ".none", "tenon token create")]:
        assert words in run(command("serve", "--set", "model.path=" + TINY, "--set", "auth.token_file=" + file, plugins=True), 1)


def check_end(daemon):
    """The daemon's end does not wait for those who wait."""
    assert daemon.admin("POST", "/services", CHAT)[0] == 201

    def wait_for(path):
        with contextlib.suppress(OSError, http.client.HTTPException):
            daemon.admin("GET", path)

    waits = [threading.Thread(target=wait_for, args=[path])
             for path in ("/services/chat?wait=600&state=SUSPENDED", "/services/chat/logs?follow=1")]
    for wait in waits:
        wait.start()
    time.sleep(1)
    begin = time.time()
    daemon.stop()
    for wait in waits:
        wait.join(10)
        assert not wait.is_alive()
    assert time.time() - begin < 30


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, Daemon(scratch) as served:
        check_models(served)
        check_plan(served)
        check_life(served)
        check_key(served)
        check_followers(served)
        check_commands(served)
        check_up(served)
        check_end(served)
    with tempfile.TemporaryDirectory() as scratch:
        check_scopes(scratch)
        check_serve(scratch)
