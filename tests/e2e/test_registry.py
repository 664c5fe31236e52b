#!/usr/bin/env python3
"""`tenon registry`: versions logged from files, directories and Hugging Face's cache, found again under every kind of name, checked,
renamed, removed, and carried to a registry that has never seen them. What is hostile or damaged is refused in words."""
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import tempfile
import threading

from hf_cache import COMMIT, git_blob, make_cache, read_directory
from registry_program import DIRECTORY, TINY, Registry, command, run
from server import free_port

COMMANDS = ["log", "list", "show", "verify", "alias", "default", "copy", "rm", "gc", "export", "import", "pull"]


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_help():
    listing = run(command("registry", "--help"))
    for name in COMMANDS:
        assert f"\n  {name} " in listing, name
        assert run(command("registry", name, "--help")).startswith(f"usage: tenon registry {name}")
    assert "did you mean 'registry verify'" in run(command("registry", "verfy"), 2)
    assert "arguments are missing" in run(command("registry", "log", "x"), 2)
    assert "--metric takes KEY=NUMBER" in run(command("registry", "log", "x", "y", "--metric", "a=b"), 2)
    assert "--tag takes KEY=VALUE" in run(command("registry", "log", "x", "y", "--tag", "ab"), 2)
    assert run(command("registry"), 2).startswith("usage: tenon registry COMMAND")


def test_root(folder):
    """registry.path, then TENON_HOME, then HOME."""
    for variables, root in [({"TENON_HOME": folder + "/a"}, "a/registry"),
                            ({"HOME": folder + "/b", "TENON_HOME": ""}, "b/.local/share/tenon/registry")]:
        run(command("registry", "log", "m", TINY), env=dict(os.environ, **variables))
        assert os.path.exists(os.path.join(folder, root, "registry.db")), root
    error = run(command("registry", "list"), 1, env=dict(os.environ, TENON_HOME="relative"))
    assert "absolute path" in error, error
    assert "`tenon registry log NAME PATH` makes one" in Registry(folder + "/none")("list", code=1)
    assert not os.path.exists(folder + "/none")


def test_gguf(folder):
    r = Registry(folder + "/store")
    added = r.json("log", "tiny", TINY, "--alias", "prod", "--comment", "a first one", "--task", "text-generation",
                   "--tag", "team=a", "--tag", "use=b=c", "--metric", "acc=0.5")
    assert (added["name"], added["version"], added["bytes"]) == ("tiny", "v1", os.path.getsize(TINY)), added
    shown = r.json("show", "tiny")
    manifest = shown["manifest"]
    assert shown["digest"] == added["digest"] and shown["aliases"] == ["prod"] and shown["comment"] == "a first one"
    assert shown["tags"] == {"team": "a", "use": "b=c"} and shown["metrics"] == {"acc": 0.5}
    assert manifest["files"] == [{"name": "tiny_mixed.gguf", "bytes": os.path.getsize(TINY), "sha256": sha256(TINY)}]
    assert manifest["entry"] == "tiny_mixed.gguf" and manifest["model"]["container"] == "gguf"
    assert manifest["model"]["tensors"] == 21 and manifest["source"]["kind"] == "gguf"
    assert sum(manifest["model"]["dtypes"].values()) == manifest["model"]["tensor_bytes"]
    with open(os.path.join(r.root, "blobs/sha256", shown["digest"]), "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == shown["digest"], "a manifest is named by its hash"
    assert sha256(shown["path"]) == sha256(TINY) and os.stat(shown["path"]).st_nlink == 2
    for blob in r.blobs():
        assert os.stat(os.path.join(r.root, "blobs/sha256", blob)).st_mode & 0o222 == 0, "stored files are read-only"
    assert "a first one" in r("list") and "team=a" in r("show", "tiny:prod")
    for reference in ("tiny", "tiny@v1", "tiny:prod", "tiny@sha256:" + added["digest"]):
        assert r.json("show", reference)["version"] == "v1", reference
    assert "did you mean 'tiny'" in r("show", "tinny", code=1)
    assert "versions of tiny: v1" in r("show", "tiny@v2", code=1) and "aliases of tiny: prod" in r("show", "tiny:dev", code=1)
    for bad in ("ti/ny", "", "tiny@", "tiny@sha256:12", "tiny:..", "-x"):
        assert "names no model" in r("show", bad, code=1), bad


def test_equal_files_are_kept_once(folder):
    r = Registry(folder + "/store")
    blobs = len(r.blobs())
    assert r.json("log", "tiny", TINY)["version"] == "v2"
    assert len(r.blobs()) <= blobs + 1, "a manifest at most was added"
    paths = [r.json("show", "tiny@" + v)["path"] for v in ("v1", "v2")]
    assert os.stat(paths[0]).st_ino == os.stat(paths[1]).st_ino
    assert "choose another --version" in r("log", "tiny", TINY, "--version", "v1", code=1)
    assert r.json("log", "tiny", TINY, "--version", "2024.1-rc")["version"] == "2024.1-rc"
    assert r.json("log", "tiny", TINY)["version"] == "v3"


def test_every_command_takes_a_name(folder):
    r = Registry(folder + "/store")
    prompt = ["--max-tokens", "4", "--raw"]
    assert r.model("run", "registry:tiny:prod", "Hello", *prompt) == r.model("run", TINY, "Hello", *prompt)
    assert r.model("tokenize", "registry:tiny@v1", stdin="Hello") == r.model("tokenize", TINY, stdin="Hello")
    assert len(json.loads(r.model("inspect", "registry:tiny", "--json"))["tensors"]) == 21
    assert json.loads(r.model("plan", "registry:tiny", "--json"))["peak"] > 0
    assert "positions" in json.loads(r.model("logits", "registry:tiny", stdin="Hello"))
    assert "there is no model 'none'" in r.model("run", "registry:none", "Hello", code=1)
    with open(folder + "/serve.ini", "w") as ini:
        ini.write(f"[registry]\npath = store\n[model]\npath = registry:tiny@v9\n[frontend]\nplugins = http_frontend\n")
    assert "'tiny@v9' is not in the registry" in run(command("serve", folder + "/serve.ini", plugins=True), 1)


def test_served_under_its_name(folder):
    words = command("serve", "--set", "model.path=registry:tiny:prod", "--set", "http_frontend.listen=127.0.0.1:" + str(free_port()),
                    "--set", "engine.kv_cache_memory_bytes=8MiB", root=folder + "/store", plugins=True)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        line = next((line for line in server.stderr if " is ready" in line or "tenon: " in line), "")
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert ": tiny is ready" in line, line


def test_directory(folder):
    """A directory of shards is logged as it is and opened as a directory; hidden files stay behind; a choice chooses."""
    r = Registry(folder + "/store")
    source = folder + "/model"
    shutil.copytree(DIRECTORY, source)
    os.makedirs(source + "/extra/deep")
    for name in (".gitattributes", "extra/deep/notes.txt", "pytorch_model.BIN"):
        with open(os.path.join(source, name), "w") as out:
            out.write(name)
    with open(source + "/README.md", "w") as out:
        out.write("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    words = r("log", "dir", source, code=1)
    assert "'pytorch_model.BIN' is a pickle file" in words and "--exclude" in words, words
    r("log", "dir", source, "--exclude", "*.BIN", "--exclude", "*/notes.txt")
    shown = r.json("show", "dir")
    assert read_directory(shown["path"]) == {k: v for k, v in read_directory_flat(source).items() if "pytorch" not in k}
    assert shown["manifest"]["entry"] == "" and shown["manifest"]["model"]["license"] == "mit"
    r("log", "dir", source, "--exclude", "*.BIN")
    assert "extra/deep/notes.txt" in [f["name"] for f in r.json("show", "dir")["manifest"]["files"]]
    assert len(json.loads(r.model("inspect", "registry:dir", "--json"))["tensors"]) > 10
    r.model("quantize", "registry:dir", folder + "/int8", "--method", "int8")
    assert os.path.exists(folder + "/int8/model.safetensors")
    assert "there is no model here" in r("log", "dir", source, "--include", "*.md", code=1)
    os.makedirs(folder + "/two")
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(TINY, os.path.join(folder, "two", name))
    assert "choose one with --include" in r("log", "two", folder + "/two", code=1)
    r("log", "two", folder + "/two", "--include", "b.*")
    assert r.json("show", "two")["path"].endswith("/b.gguf")


def read_directory_flat(path):
    return {name: open(os.path.join(path, name), "rb").read() for name in sorted(os.listdir(path))
            if os.path.isfile(os.path.join(path, name)) and not name.startswith(".")}


def test_links(folder):
    r = Registry(folder + "/store")
    outside, source = folder + "/secret", folder + "/links"
    with open(outside, "w") as out:
        out.write("secret")
    shutil.copytree(DIRECTORY, source)
    os.symlink("config.json", source + "/inside.json")
    r("log", "links", source)
    assert {"inside.json", "config.json"} <= {f["name"] for f in r.json("show", "links")["manifest"]["files"]}
    for target in (outside, "../secret", "../links/../secret", "/etc/hostname"):
        os.symlink(target, source + "/out.json")
        assert "leads out of" in r("log", "links", source, code=1), target
        os.unlink(source + "/out.json")
    os.symlink("nowhere", source + "/dangling")
    assert "No such file" in r("log", "links", source, code=1)
    os.unlink(source + "/dangling")
    os.mkfifo(source + "/pipe")
    assert "no regular file" in r("log", "links", source, code=1)
    os.unlink(source + "/pipe")
    with open(source + "/a\nb", "w"):
        pass
    assert "control characters" in r("log", "links", source, code=1)
    assert r.versions().count("links@v1") == 1 and not os.listdir(r.root + "/staging")


def test_broken_models(folder):
    r = Registry(folder + "/store")
    before = r.files()
    with open(TINY, "rb") as file:
        start = file.read(os.path.getsize(TINY) // 2)
    with open(folder + "/short.gguf", "wb") as out:
        out.write(start)
    words = r("log", "short", folder + "/short.gguf", code=1)
    assert "short.gguf" in words and "cut short" in words, words
    assert "No such file" in r("log", "short", folder + "/none.gguf", code=1)
    assert "neither a GGUF file nor a directory" in r("log", "short", __file__, code=1)
    assert "the model name" in r("log", "a b", TINY, code=1) and "the alias" in r("log", "a", TINY, "--alias", "../x", code=1)
    assert "the tag" in r("log", "a", TINY, "--tag", "a b=c", code=1)
    assert r.files() == before


def test_hf_cache(folder):
    r = Registry(folder + "/store")
    files = read_directory(DIRECTORY)
    files["docs/card.md"] = b"about"
    entry = make_cache(folder, files)
    r("log", "cached", entry)
    shown = r.json("show", "cached")
    source = shown["manifest"]["source"]
    assert (source["kind"], source["repository"], source["revision"]) == ("hf_cache", "acme/tiny", COMMIT), source
    assert {f["name"]: f["sha256"] for f in shown["manifest"]["files"]} == \
        {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert not any(os.path.islink(os.path.join(shown["path"], name)) for name in os.listdir(shown["path"]))
    r("log", "cached", entry + "/snapshots/" + COMMIT)
    r("log", "cached", entry, "--revision", COMMIT)
    assert {r.json("show", f"cached@v{i}")["manifest"]["source"]["revision"] for i in (1, 2, 3)} == {COMMIT}
    assert "no revision 'dev'" in r("log", "cached", entry, "--revision", "dev", code=1)
    assert "a name in refs or a commit" in r("log", "cached", entry, "--revision", "../x", code=1)
    assert "no Hugging Face cache entry" in r("log", "cached", DIRECTORY, "--revision", "main", code=1)
    os.unlink(entry + "/refs/main")
    r("log", "cached", entry)  # there is one snapshot only
    make_cache(folder, {"config.json": b"{}"}, commit="f" * 40, ref="other")
    assert "no revision 'main'" in r("log", "cached", entry, code=1)
    blob = os.path.join(entry, "blobs", git_blob(b"about"))
    with open(blob, "wb") as out:
        out.write(b"abbot")
    assert "the cache is damaged" in r("log", "cached", entry, "--revision", COMMIT, code=1)
    with open(blob, "wb") as out:
        out.write(b"about")
    large = next(name for name in os.listdir(entry + "/blobs") if len(name) == 64)
    with open(os.path.join(entry, "blobs", large), "r+b") as out:
        out.seek(-1, os.SEEK_END)
        last = out.read(1)
        out.seek(-1, os.SEEK_END)
        out.write(bytes([last[0] ^ 1]))
    assert "the cache is damaged" in r("log", "cached", entry, "--revision", COMMIT, code=1)
    os.symlink("../../../secret", os.path.join(entry, "snapshots", COMMIT, "out.json"))
    assert "leads out of" in r("log", "cached", entry, "--revision", COMMIT, code=1)


def test_names_change(folder):
    r = Registry(folder + "/names")
    for version in ("a", "b", "c"):
        r("log", "m", TINY, "--version", version)
    assert r.json("show", "m")["version"] == "c", "the last one, until one is chosen"
    r("default", "m@a")
    assert r.json("show", "m")["version"] == "a" and r.json("list", "m")["models"][0]["default"] == "a"
    r("alias", "set", "m@a", "prod")
    r("alias", "set", "m@b", "prod")
    assert r.json("show", "m:prod")["version"] == "b" and r.json("show", "m@a")["aliases"] == []
    r("alias", "unset", "m", "prod")
    assert "has no alias" in r("alias", "unset", "m", "prod", code=1) and "takes set or unset" in r("alias", "put", "m", "x", code=1)
    r("alias", "set", "m@b", "next")
    r("copy", "m:next", "n", "--version", "one", "--comment", "from m", "--metric", "x=1e3")
    copy = r.json("show", "n")
    assert copy["digest"] == r.json("show", "m@b")["digest"] and copy["metrics"] == {"x": 1000.0} and copy["comment"] == "from m"
    assert r("copy", "m", "n", "--metric", "x=y", code=2).count("tenon") == 1 and "KEY=VALUE" in r("copy", "m", "n", "--tag", "x", code=2)
    r("rm", "m@a")
    assert r.json("show", "m")["version"] == "c", "without its default the last one again"
    r("rm", "m:next")
    assert "is not in the registry" in r("show", "m:next", code=1)
    assert r.versions() == ["m@c", "n@one"]
    r("gc")
    assert r.json("verify", "n")["damaged"] == 0 and r.model("inspect", "registry:n")
    r("rm", "m")
    assert r.versions() == ["n@one"] and "there is no model 'm'" in r("rm", "m", code=1)
    r("rm", "n")
    garbage = r.json("gc", "--dry-run")
    assert garbage["blobs"] >= 2 and not garbage["removed"] and len(r.blobs()) == garbage["blobs"]
    assert "would remove" in r("gc", "--dry-run")
    r("gc")
    assert r.files() == [] and r.json("list") == {"models": []} and r("list") == ""


def test_a_service_keeps_its_version(folder):
    """The row that a service writes, here by hand: its digest stays, whatever is removed."""
    r = Registry(folder + "/leased")
    r("log", "m", TINY)
    digest = r.json("show", "m")["digest"]
    index = sqlite3.connect(r.root + "/registry.db")
    index.execute("INSERT INTO lease VALUES (?, 'service chat', '2026-01-01T00:00:00Z')", (digest,))
    index.commit()
    assert "in use by service chat" in r("rm", "m", code=1) and "in use" in r("rm", "m@v1", code=1)
    r("copy", "m", "n")
    r("rm", "m")  # the copy keeps it
    assert "in use by service chat" in r("rm", "n", code=1)
    r("gc")
    assert r.json("verify")["damaged"] == 0
    index.execute("DELETE FROM lease")
    index.commit()
    index.close()
    r("rm", "n")
    r("gc")
    assert r.files() == []


def flip(path, at=-1):
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(at, os.SEEK_END)
        file.write(bytes([byte ^ 0x10]))


def test_verify(folder):
    r = Registry(folder + "/damaged")
    r("log", "good", DIRECTORY)
    r("log", "bad", TINY)
    assert r("verify", "--deep").count("  good\n") == 2
    path = r.json("show", "bad")["path"]
    flip(path)
    report = r.json("verify", code=4)
    assert report["damaged"] == 1 and [bool(v["damage"]) for v in report["versions"]] == [True, False]
    assert "contents have changed" in report["versions"][0]["damage"][0]
    assert "bad@v1  damaged" in r("verify", "bad", code=4) and "good@v1  good" in r("verify", "good")
    assert "its contents have changed" in r("export", "bad", folder + "/bad.tar", code=1)
    assert not os.path.exists(folder + "/bad.tar") and not os.path.exists(folder + "/bad.tar.partial")
    flip(path)
    assert r.json("verify")["damaged"] == 0
    os.truncate(path, 100)
    assert "it has 100 bytes" in r("verify", "bad", code=4)
    os.unlink(path)
    assert "No such file" in r("verify", "bad", code=4)
    assert "the store is damaged" in r.model("inspect", "registry:bad", code=1)
    manifest = os.path.join(r.root, "blobs/sha256", r.json("list", "good")["models"][0]["versions"][0]["digest"])
    flip(manifest, -3)
    assert r.json("verify", "good", code=4)["damaged"] == 1
    assert "damaged" in r.model("inspect", "registry:good", code=1) or "manifest" in r.model("inspect", "registry:good", code=1)


def test_damage_does_not_spread(folder):
    """A version that is made while the store holds damaged contents of the same name is whole, and heals what it shares."""
    r = Registry(folder + "/spread")
    for again in (lambda name: r("log", name, DIRECTORY), lambda name: r("import", folder + "/spread.tar", "--name", name)):
        r("log", "old", DIRECTORY)
        shown = r.json("show", "old")
        if not os.path.exists(folder + "/spread.tar"):
            r("export", "old", folder + "/spread.tar")
        for file in shown["manifest"]["files"]:
            flip(os.path.join(shown["path"], file["name"]))
        assert r.json("verify", code=4)["damaged"] >= 1
        again("new")
        assert r.json("verify", "new", "--deep")["damaged"] == 0
        r("rm", "old")
        r("gc")
        assert r.json("verify")["damaged"] == 0
        r("rm", "new")
        r("gc")


def test_texts_that_are_not_utf8(folder):
    """Bytes of another encoding: refused where they would be kept, and no reason to call what is damaged good."""
    latin = b"caf\xe9".decode(errors="surrogateescape")
    r = Registry(folder + "/texts")
    for flags in (["--comment", latin], ["--task", latin], ["--tag", "a=" + latin]):
        assert "is not UTF-8" in r("log", "m", TINY, *flags, code=1)
    assert not os.path.exists(r.root + "/registry.db") or r.versions() == []
    r, environment = Registry(f"{folder}/{latin}/registry"), dict(os.environ, TENON_HOME=f"{folder}/{latin}")
    run(command("registry", "log", "m", TINY), env=environment)
    assert json.loads(run(command("registry", "verify", "--json"), env=environment))["damaged"] == 0
    for name in r.blobs():
        flip(os.path.join(r.root, "blobs/sha256", name))
    report = json.loads(run(command("registry", "verify", "--json"), 4, env=environment))
    assert report["damaged"] == 1 and "/caf?/registry" in report["versions"][0]["damage"][0], report


def test_directory_that_looks_like_a_cache(folder):
    r = Registry(folder + "/looks")
    source = folder + "/models--tiny"
    shutil.copytree(DIRECTORY, source)
    assert "is no Hugging Face cache entry" in r("log", "m", source, "--revision", "main", code=1)
    r("log", "m", source)
    assert read_directory(r.json("show", "m")["path"]) == read_directory(source)
    os.mkdir(source + "/snapshots")
    assert "the cache has no revision 'main'" in r("log", "m", source, code=1)


def test_numbers_are_given_once(folder):
    r = Registry(folder + "/numbers")
    for version in ("v1", "keep", "v007", "v999999999999999999999"):
        r("log", "m", TINY, "--version", version)
    r("rm", "m@v1")
    assert r.json("log", "m", TINY)["version"] == "v2"
    r("log", "m", TINY, "--version", "v7")
    r("rm", "m@v7")
    assert r.json("log", "m", TINY)["version"] == "v8"


def test_errors_do_not_reach_the_terminal(folder):
    r = Registry(folder + "/terminal")
    bundle, bad = folder + "/terminal.tar", folder + "/terminal-bad.tar"
    r("log", "m", TINY)
    r("export", "m", bundle)
    parts = members(bundle)
    for key, value in (("model", "\u001b]0;owned\u0007\u001b[2J"), ("format", "\u009b2J\u007f")):
        write_tar(bad, [("bundle.json", json.dumps(dict(json.loads(parts[0][1]), **{key: value})).encode())] + parts[1:])
        words = r("import", bad, code=1)
        assert "?" in words and not any(c in words for c in "\u001b\u0007\u009b\u007f"), words
    write_tar(bad, [("bundle\u001b[2J.json", b"{}")] + parts[1:])
    assert "\u001b" not in r("import", bad, code=1)


def test_export_while_names_change(folder):
    """The bundle's name and contents are those of one version, though an alias moves all the time."""
    r = Registry(folder + "/moving")
    digests = {version: r.json("log", "m", source, "--version", version)["digest"] for version, source in (("a", TINY), ("b", DIRECTORY))}
    r("alias", "set", "m@a", "prod")
    ended = threading.Event()

    def move():
        index = sqlite3.connect(r.root + "/registry.db", timeout=60)
        index.execute("PRAGMA synchronous = OFF")
        while not ended.is_set():
            for version in "ba":
                index.execute("UPDATE alias SET version = ?", version)
                index.commit()
        index.close()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for i in range(40):
            r("export", "m:prod", f"{folder}/moving{i}.tar")
            head = json.loads(members(f"{folder}/moving{i}.tar")[0][1])
            assert head["manifest"] == "sha256:" + digests[head["version"]], i
    finally:
        ended.set()
        mover.join()


def test_two_write_one_file(folder):
    r = Registry(folder + "/two")
    r("log", "m", TINY)
    with open(folder + "/two.tar.partial", "wb") as other:
        other.write(b"of another process")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process is writing it" in r("export", "m", folder + "/two.tar", code=1)
        assert os.path.getsize(folder + "/two.tar.partial") == 18
    r("export", "m", folder + "/two.tar")  # what is left of a process that is gone is nobody's
    assert not os.path.exists(folder + "/two.tar.partial") and len(members(folder + "/two.tar")) == 3


def test_index_of_another(folder):
    r = Registry(folder + "/other")
    r("log", "m", TINY)
    index = sqlite3.connect(r.root + "/registry.db")
    index.execute("PRAGMA user_version = 99")
    index.close()
    words = r("list", code=1)
    assert "newer Tenon" in words and "99" in words, words
    assert "newer Tenon" in r("log", "m", TINY, code=1)
    stranger = Registry(folder + "/stranger")
    os.makedirs(stranger.root)
    index = sqlite3.connect(stranger.root + "/registry.db")
    index.execute("CREATE TABLE t (x)")
    index.close()
    assert "is not the index of a registry" in stranger("list", code=1)
    with open(stranger.root + "/registry.db", "wb") as out:
        out.write(b"no database" * 1000)
    words = stranger("list", code=1)
    assert "file is not a database" in words and "put back a copy of it, or set registry.path to a new folder" in words, words


def test_lost_and_damaged_indexes(folder):
    """What the index has lost is not garbage; and what it says to do then works."""
    r = Registry(folder + "/lost")
    r("log", "m", DIRECTORY)
    path, before = r.root + "/registry.db", r.files()
    with open(path, "rb") as file:
        whole = file.read()
    index = sqlite3.connect(path)
    index.execute("PRAGMA writable_schema = ON")  # the index of versions by digest is that of files from now on
    index.execute("UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'file_digest') WHERE name = 'version_digest'")
    index.commit()
    index.close()
    for flags in ([], ["--dry-run"]):
        words = r("gc", *flags, code=1)
        assert "the index is damaged; put back a copy of it" in words and r.files() == before, words
    with open(path, "wb") as out:
        out.write(whole[:5000] + b"\xff" * (len(whole) - 5000))
    words = r("list", code=1)
    assert "malformed: the index is damaged; put back a copy of it" in words, words
    r("gc", code=1)
    os.truncate(path, 0)
    for arguments in (["gc"], ["list"], ["show", "m"]):
        assert "there is no registry here" in r(*arguments, code=1)
    assert r.files() == before and os.path.getsize(path) == 0
    with open(path, "wb") as out:
        out.write(whole)
    assert r.json("verify")["damaged"] == 0 and r.json("gc")["blobs"] == 0
    for view in os.listdir(r.root + "/views"):
        Registry(folder + "/found")("log", "m", os.path.join(r.root, "views", view))
    assert Registry(folder + "/found").json("verify", "--deep")["damaged"] == 0


# ---- bundles ----

def members(path):
    with tarfile.open(path) as tar:
        return [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]


def write_tar(path, parts, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in parts:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data) if kind == tarfile.REGTYPE else 0, kind
            entry.linkname = "" if kind == tarfile.REGTYPE else "/etc/passwd"
            tar.addfile(entry, io.BytesIO(data))


def test_bundle(folder):
    here, there = Registry(folder + "/here"), Registry(folder + "/there")
    source = folder + "/twins"
    shutil.copytree(DIRECTORY, source)
    shutil.copy(source + "/config.json", source + "/copy.json")
    here("log", "m", source, "--comment", "hello", "--tag", "a=b", "--metric", "loss=1.25", "--alias", "prod")
    bundle = folder + "/m.tar"
    here("export", "m:prod", bundle)
    assert "is there already" in here("export", "m", bundle, code=1)
    names = [name for name, _ in members(bundle)]
    assert names[0] == "bundle.json" and len(names) == 2 + len(os.listdir(DIRECTORY)), "each content once"
    added = there.json("import", bundle, "--alias", "new")
    a, b = here.json("show", "m"), there.json("show", "m:new")
    assert added["digest"] == a["digest"] == b["digest"] and b["tags"] == {"a": "b"} and b["metrics"] == {"loss": 1.25}
    assert b["comment"] == "hello" and read_directory(a["path"]) == read_directory(b["path"]) == read_directory(source)
    assert there.json("verify", "--deep")["damaged"] == 0
    before = there.files()
    assert there.json("import", bundle) == added and there.files() == before, "nothing is left to do"
    assert there.json("import", bundle, "--alias", "prod") == added and there.json("show", "m:prod")["aliases"] == ["new", "prod"]
    for flags in (["--comment", "x"], ["--task", "x"], ["--tag", "c=d"], ["--metric", "c=1"]):
        assert "what was noted of it does not change" in there("import", bundle, *flags, code=1)
    assert there.json("show", "m")["comment"] == "hello" and there.files() == before
    there("import", bundle, "--name", "n", "--version", "x")
    assert there.versions() == ["m@v1", "n@x"]
    here("log", "m", TINY, "--version", "other")
    there("log", "p", TINY, "--version", "v1")
    assert "with other contents; choose another --version" in there("import", bundle, "--name", "p", code=1)


def reseal(parts, change):
    """The bundle's parts with another manifest, and a head that names it: all hashes agree, only the manifest is bad."""
    manifest, head = json.loads(parts[1][1]), json.loads(parts[0][1])
    change(manifest)
    text = json.dumps(manifest).encode()
    digest = hashlib.sha256(text).hexdigest()
    head["manifest"] = "sha256:" + digest
    return [("bundle.json", json.dumps(head).encode()), ("blobs/sha256/" + digest, text), *parts[2:]]


def test_hostile_bundles(folder):
    r = Registry(folder + "/victim")
    bundle, bad = folder + "/m.tar", folder + "/bad.tar"
    r("log", "x", TINY)
    before = r.files()
    parts = members(bundle)

    def refused(words, *more):
        error = r("import", bad, *more, code=1)
        assert words in error, (words, error)
        assert r.files() == before and r.versions() == ["x@v1"] and not os.listdir(r.root + "/staging")

    def changed(change, words):
        write_tar(bad, reseal(parts, change))
        refused(words)

    whole = open(bundle, "rb").read()
    for size in (0, 100, 512, 1000, 2000, len(whole) // 2, len(whole) - 2048):
        with open(bad, "wb") as out:
            out.write(whole[:size])
        refused("cut short")
    for at in range(600, len(whole) - 1024, len(whole) // 40):
        with open(bad, "wb") as out:
            out.write(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1:])
        r("import", bad, code=1)
        assert r.files() == before
    for name, words in (("../escape", "lead out of"), ("/etc/escape", "it is absolute"), ("a/../../escape", "lead out of"),
                        ("a//b", "an empty part"), (".", "lead out of"), ("a/./b", "lead out of"), ("", "or empty"),
                        ("x" * 2000, "longer than 1024 bytes"), ("x" * 300, "longer than 255 bytes"), ("a\\b", "a backslash"),
                        ("\u0001", "control characters")):
        changed(lambda m: m["files"][0].update(name=name), words)
    changed(lambda m: m["files"][0].update(name="../escape"), "lead out of")
    changed(lambda m: m["files"][0].update(name="weights.pkl"), "pickle file")
    changed(lambda m: m["files"][0].update(bytes=-1), "not a number of bytes")
    changed(lambda m: m["files"][0].update(bytes=1 << 62), "the manifest says")
    changed(lambda m: [f.update(bytes=(1 << 62) + 1) for f in m["files"]], "do not add up")
    changed(lambda m: m["files"][0].update(sha256="zz"), "sha256 is not")
    changed(lambda m: m["files"].append(dict(m["files"][0])), "listed twice")
    changed(lambda m: m["files"].append(dict(m["files"][0], name=m["files"][0]["name"] + "/x")), "a file and a folder")
    changed(lambda m: m["files"].append(dict(m["files"][0], name="twin.json", bytes=m["files"][0]["bytes"] + 1)), "not the same size")
    changed(lambda m: m.update(files=[]), "files is not a list")
    changed(lambda m: m.update(files=m["files"] * 5000), "files is not a list")
    changed(lambda m: m.update(entry="../x"), "is none of the files")
    changed(lambda m: m.update(format="tenon.model/2"), "not tenon.model/1")
    changed(lambda m: m.pop("created"), "missing")
    changed(lambda m: m["files"].pop(), "more than its manifest lists")
    changed(lambda m: m["files"].reverse(), "belongs")
    changed(lambda m: m["files"][0].update(bytes=m["files"][0]["bytes"] + 1), "the manifest says")
    write_tar(bad, parts[:2] + [(name, b"x" * len(data)) for name, data in parts[2:]])
    refused("does not have the contents")
    write_tar(bad, [("bundle.json", b"{")] + parts[1:])
    refused("bad JSON")
    write_tar(bad, [("bundle.json", b" " * (2 << 20))] + parts[1:])
    refused("the limit is")
    for key, value, words in (("model", "a/b", "the model name 'a/b'"), ("version", "../x", "the version '../x'"),
                              ("format", "x", "format is 'x'"), ("model", 3, "model is "), ("tags", [1], "tags is not an object"),
                              ("tags", {"a b": "c"}, "the tag 'a b'"), ("metrics", {"a": "b"}, "'a' is not a number"),
                              ("manifest", "sha256:1", "64 hexadecimal digits")):
        write_tar(bad, [("bundle.json", json.dumps(dict(json.loads(parts[0][1]), **{key: value})).encode())] + parts[1:])
        refused(words)
    write_tar(bad, [parts[0], ("blobs/sha256/" + "0" * 64, parts[1][1])] + parts[2:])
    refused("belongs")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        write_tar(bad, parts, kind)
        refused("plain files")
    with open(bad, "wb") as out:
        out.write(b"GGUF" * 1000)
    refused("it is no tar file")
    write_tar(bad, reseal(parts, lambda m: m.update(entry="config.json")))
    refused("config.json")
    assert "No such file" in r("import", folder + "/none.tar", code=1)
    os.mkfifo(folder + "/pipe.tar")
    assert "is no regular file" in r("import", folder + "/pipe.tar", code=1)
    assert not os.path.exists(folder + "/escape") and not os.path.exists("/etc/escape")


def main():
    with tempfile.TemporaryDirectory() as folder:
        test_help()
        test_root(folder)
        test_gguf(folder)
        test_equal_files_are_kept_once(folder)
        test_every_command_takes_a_name(folder)
        test_served_under_its_name(folder)
        test_directory(folder)
        test_links(folder)
        test_broken_models(folder)
        test_hf_cache(folder)
        test_names_change(folder)
        test_a_service_keeps_its_version(folder)
        test_verify(folder)
        test_damage_does_not_spread(folder)
        test_texts_that_are_not_utf8(folder)
        test_directory_that_looks_like_a_cache(folder)
        test_numbers_are_given_once(folder)
        test_errors_do_not_reach_the_terminal(folder)
        test_export_while_names_change(folder)
        test_two_write_one_file(folder)
        test_index_of_another(folder)
        test_lost_and_damaged_indexes(folder)
        test_bundle(folder)
        test_hostile_bundles(folder)


if __name__ == "__main__":
    main()
