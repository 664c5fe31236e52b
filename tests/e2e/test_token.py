#!/usr/bin/env python3
"""`tenon token`: tokens come and go, the file keeps hashes only, and a server that runs sees every change. Wrong usage is told in words."""
import hashlib
import json
import os
import stat
import tempfile

from registry_program import command, run


def token(path, *arguments, code=0):
    return run(command("token", *arguments, "--file", path), code)


def test_life(folder):
    path = os.path.join(folder, "tokens")
    assert "there is no token file" in token(path, "list", code=1)
    shown = token(path, "create", "ci", "--scope", "infer,batch").strip()
    made = json.loads(token(path, "create", "boss", "--scope", "admin", "--expires", "90d", "--json"))
    assert made["scopes"] == "admin" and made["token"] != shown and shown.startswith("tenon_") and len(shown) == 70
    with open(path) as file:
        kept = file.read()
    assert shown not in kept and shown[6:] not in kept and hashlib.sha256(shown.encode()).hexdigest() in kept
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    listed = json.loads(token(path, "list", "--json"))
    assert [(t["name"], t["scopes"]) for t in listed] == [("ci", "infer,batch"), ("boss", "admin")]
    assert listed[0]["expires"] is None and listed[1]["expires"] > listed[1]["created"]
    text = token(path, "list")
    assert "infer,batch" in text and "never" in text and "sha" not in text
    assert "already" in token(path, "create", "ci", "--scope", "infer", code=1)
    token(path, "revoke", "ci")
    assert "no token called ci" in token(path, "revoke", "ci", code=1)
    assert [t["name"] for t in json.loads(token(path, "list", "--json"))] == ["boss"]


def test_setting(folder):
    """The file of the settings, relative to them."""
    ini = os.path.join(folder, "tenon.ini")
    with open(ini, "w") as file:
        file.write("[auth]\ntoken_file = there\n")
    run(command("token", "create", "a", "--scope", "infer", "--config", ini))
    assert os.path.exists(os.path.join(folder, "there"))
    assert "--file" in run(command("token", "list"), 1)


def test_refusals(folder):
    path = os.path.join(folder, "refused")
    assert "--scope says" in token(path, "create", "a", code=2)
    assert "'root' is no scope" in token(path, "create", "a", "--scope", "root", code=1)
    assert "name is missing" in token(path, "create", "--scope", "infer", code=2)
    assert "there are create" in token(path, "make", "a", code=2)
    assert "go with create" in token(path, "list", "--scope", "infer", code=2)
    for when in ("tomorrow", "2026-02-30", "-3d", "10y"):
        assert "--expires" in token(path, "create", "a", "--scope", "infer", "--expires", when, code=1), when
    assert "has passed" in token(path, "create", "a", "--scope", "infer", "--expires", "2001-01-01", code=1)
    assert not os.path.exists(path), "nothing is made of a refused token"
    token(path, "create", "a", "--scope", "infer")
    os.chmod(path, 0o640)
    assert "chmod 600" in token(path, "list", code=1)
    assert "chmod 600" in token(path, "create", "b", "--scope", "infer", code=1)
    os.chmod(path, 0o600)
    with open(path, "a") as file:
        file.write("b infer\n")
    assert f"{path}:3: not NAME" in token(path, "list", code=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        test_life(scratch)
        test_setting(scratch)
        test_refusals(scratch)
