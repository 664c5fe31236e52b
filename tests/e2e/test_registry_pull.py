#!/usr/bin/env python3
"""`tenon registry pull` from a hub in this process: what arrives, what is asked for again and from which byte, to whom the token goes;
cut, slow, lying and hostile hubs; and that no other command has anything in it that connects."""
import fcntl
import hashlib
import json
import os
import pty
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

from fake_hub import Hub
from hf_cache import COMMIT, git_blob, read_directory
from registry_program import DIRECTORY, Killer, Registry, command, run

MODEL = read_directory(DIRECTORY)
LARGE_FILE = "model-00001-of-00003.safetensors"


class Pull:
    """A registry, and a hub that it pulls from."""

    def __init__(self, root, hub, token=None):
        self.r, self.hub = Registry(root), hub
        self.environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_TOKEN"}
        if token:
            self.environment["HF_TOKEN"] = token

    def __call__(self, *more, code=0, repository="acme/tiny", **how):
        return self.r("pull", repository, "--endpoint", self.hub.url, *more, code=code, env=self.environment, **how)

    def start(self, *more):
        words = command("registry", "pull", "acme/tiny", "--endpoint", self.hub.url, *more, root=self.r.root)
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)

    def downloads(self):
        return os.listdir(os.path.join(self.r.root, "downloads"))

    def whole(self, name="tiny", files=None):
        """What was pulled is what the hub has."""
        shown = self.r.json("show", name)
        found = {f["name"]: f["sha256"] for f in shown["manifest"]["files"]}
        expected = self.hub.files if files is None else files
        assert found == {n: hashlib.sha256(d).hexdigest() for n, d in expected.items() if not n.startswith(".")}, sorted(found)
        assert self.r.json("verify", "--deep")["damaged"] == 0 and not self.downloads()
        return shown


def test_good(folder):
    files = dict(MODEL, **{".gitattributes": b"*", "docs/a b%.md": b"# hello", "empty.txt": b"", "pytorch_model.bin": b"x" * 9000})
    with Hub(files, token="hf_secret") as hub:
        pull = Pull(folder + "/good", hub, token="hf_secret")
        words = pull(code=1)
        assert "pickle file" in words and "--exclude" in words and not hub.asked("cdn"), words
        added = json.loads(pull("--exclude", "*.bin", "--alias", "new", "--tag", "a=b", "--json"))
        assert (added["name"], added["version"]) == ("tiny", "v1"), added
        del hub.files["pytorch_model.bin"]
        shown = pull.whole("tiny:new")
        source = shown["manifest"]["source"]
        assert (source["kind"], source["repository"], source["revision"], source["asked"]) == ("hub", "acme/tiny", COMMIT, "main")
        assert shown["tags"] == {"a": "b"}
        assert {r.token for r in hub.asked("hub")} == {"Bearer hf_secret"} and {r.token for r in hub.asked("cdn")} == {None}
        assert not hub.asked("hub", ".gitattributes") and not hub.asked("hub", "pytorch") and not any(r.range for r in hub.requests)
        before = len(hub.asked("cdn"))
        pull("--name", "again", "--revision", "refs/pr/1")
        assert len(hub.asked("cdn")) == before, "what the store has is not downloaded"
        pull.whole("again")
        assert "401" in Pull(folder + "/good", hub)(code=1) and "HF_TOKEN" in Pull(folder + "/good", hub)(code=1)
        assert "with this token" in Pull(folder + "/good", hub, token="wrong")(code=1)
        with open(folder + "/token", "w") as out:
            out.write("hf_secret\n")
        Pull(folder + "/good", hub)("--token-file", folder + "/token", "--version", "from-file")
        assert "holds spaces" in Pull(folder + "/good", hub, token="a b")(code=1)
        assert "404" in pull("--revision", "none", code=1)
        assert "no repository" in pull(code=1, repository="tiny") and "the repository" in pull(code=1, repository="a/b/c")
        assert "--parallel takes" in pull("--parallel", "0", code=2) and "--retries takes" in pull("--retries", "-1", code=2)


def test_several_at_once(folder):
    """Three files meet at a gate that opens only for all of them together."""
    with Hub(MODEL) as hub:
        hub.gate = threading.Barrier(3)
        pull = Pull(folder + "/parallel", hub)
        pull("--parallel", "3")
        assert not hub.gate.broken
        pull.whole()


def test_cut_connections(folder):
    size = len(MODEL[LARGE_FILE])
    with Hub(MODEL) as hub:
        hub.ways = {LARGE_FILE: [("cut", 1000), ("cut", 500), ("status", 503), ("cut", 0), ("good",)],
                    "config.json": [("status", 429, {"Retry-After": "1"}), ("cut", 10)],
                    "model-00002-of-00003.safetensors": [("cut", 7000), ("whole",)]}
        hub.api_ways = [("status", 500), ("status", 502)]
        pull = Pull(folder + "/cut", hub)
        pull()
        pull.whole()
        assert [r.range for r in hub.asked("cdn", LARGE_FILE)] == [None, "bytes=1000-", "bytes=1500-", "bytes=1500-", "bytes=1500-"]
        assert [r.range for r in hub.asked("hub", "/config.json")] == [None, None, "bytes=10-"]
        assert [r.range for r in hub.asked("cdn", "00002")] == [None, "bytes=7000-"]
        assert size > 1500


def test_compressed(folder):
    """Nobody is asked for it, and who compresses all the same is told so, not taken for a hub that is short of bytes."""
    with Hub(MODEL) as hub:
        for i, name in enumerate((LARGE_FILE, "config.json")):
            pull = Pull(f"{folder}/compressed{i}", hub)
            hub.ways = {name: [("gzip",)]}
            words = pull(code=1)
            assert name in words and "sends it compressed, which was not asked for" in words, words
            pull()
            pull.whole()
        assert {r.encoding for r in hub.requests} == {"identity"}


def test_heads_without_blanks(folder):
    with Hub(MODEL) as hub:
        hub.ways = {LARGE_FILE: [("cut", 1000), ("terse", 500), ("good",)]}
        pull = Pull(folder + "/terse", hub)
        pull()
        pull.whole()
        assert [r.range for r in hub.asked("cdn", LARGE_FILE)] == [None, "bytes=1000-", "bytes=1500-"]


def test_given_up_and_resumed(folder):
    with Hub(MODEL) as hub:
        hub.ways = {LARGE_FILE: [("cut", 5000)]}
        pull = Pull(folder + "/later", hub)
        words = pull("--retries", "0", "--parallel", "1", code=1)
        assert "given up" in words and LARGE_FILE in words and len(pull.downloads()) == 1, words
        assert "there is no registry" not in pull.r("list") and pull.r.versions() == []
        folder_of_it = os.open(os.path.join(pull.r.root, "downloads", pull.downloads()[0]), os.O_RDONLY)
        fcntl.flock(folder_of_it, fcntl.LOCK_EX)  # as `gc` does for a moment when it looks whose the folder is

        def answer(a):
            threading.Timer(0.1, os.close, [folder_of_it]).start()  # the pull opens the folder when it has this
            return a

        hub.answer = answer
        pull()
        hub.answer = lambda a: a
        assert [r.range for r in hub.asked("cdn", LARGE_FILE)] == [None, "bytes=5000-"]
        pull.whole()
        hub.ways = {LARGE_FILE: [("cut", 5000)]}
        other = Pull(folder + "/collected", hub)
        other("--retries", "0", code=1)
        assert other.r.json("gc")["folders"] == 1 and not other.downloads()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def received(pull, name):
    paths = [os.path.join(pull.r.root, "downloads", key, "files", name) for key in os.listdir(pull.r.root + "/downloads")]
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))


def test_killed(folder):
    """Killed while bytes come in, and beside another pull of the same; then it goes on where it was."""
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/killed", hub)
        hub.ways = {LARGE_FILE: [("hang", 40000)]}
        process = pull.start()
        wait_for(lambda: os.path.isdir(pull.r.root + "/downloads") and received(pull, LARGE_FILE) == 40000)
        assert "another process is working on it" in pull(code=1)
        pull.r("gc")
        assert received(pull, LARGE_FILE) == 40000, "gc leaves alone what somebody works on"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert pull.r.versions() == []
        pull()
        pull.whole()
        assert [r.range for r in hub.asked("cdn", LARGE_FILE)] == [None, "bytes=40000-"]


def test_killed_at_random(folder, draw, times=25):
    files = dict(MODEL, **{f"padding-{i}.dat": draw.randbytes(200000) for i in range(20)})
    with Hub(files) as hub:
        pull = Pull(folder + "/random", hub)
        begin = time.monotonic()
        pull("--name", "first")
        killer = Killer(time.monotonic() - begin)
        pull.r("rm", "first")
        pull.r("gc")
        for i in range(times):
            killer.kill(pull.start("--version", f"n{i}"), draw.uniform(0, 1))
            if pull.r.versions():
                assert pull.r.json("verify")["damaged"] == 0
                pull.r("rm", "tiny")
                pull.r("gc")
        pull()
        pull.whole()
        print(f"pull: {killer.killed} of {times} runs of {killer.took:.3f} s were killed")
        killer.check()


def test_wrong_contents(folder):
    with Hub(MODEL) as hub:
        for i, name in enumerate((LARGE_FILE, "config.json")):
            pull = Pull(f"{folder}/wrong{i}", hub)
            data = bytearray(MODEL[name])
            data[len(data) // 2] ^= 1
            hub.ways = {name: [("bytes", bytes(data))]}
            words = pull(code=1)
            assert "does not have the hash that the hub promised" in words and name in words, words
            assert pull.r.versions() == []
            pull()
            pull.whole()
        pull = Pull(folder + "/length", hub)
        hub.ways = {LARGE_FILE: [("long", 10)]}
        assert "more than" in pull("--retries", "0", code=1)
        assert received(pull, LARGE_FILE) > 10000
        hub.ways = {LARGE_FILE: [("bytes", b"short")]}
        assert "fewer bytes than were received" in pull("--retries", "0", code=1)
        hub.ways = {LARGE_FILE: [("bytes", b"short")]}
        assert "less than it promised" in pull("--retries", "0", code=1)
        words = pull(code=1)  # "short" is how the file begins now
        assert "does not have the hash" in words, words
        pull()
        pull.whole()
        hub.ways = {LARGE_FILE: [("cut", 100), ("shift", 1)]}
        assert "bytes from" in Pull(folder + "/shifted", hub)(code=1)
        hub.files["extra.json"] = b"{}"
        hub.ways = {"extra.json": [("status", 404)]}
        assert "(404)" in pull("--version", "w", code=1)
        hub.ways = {"extra.json": [("status", 418)]}
        assert "418" in pull("--version", "w", code=1)


def test_no_end_of_tries(folder):
    """Bytes that were there before are no progress, however often they come."""
    with Hub(MODEL) as hub:
        for i, way in enumerate([("bytes", b"short"), ("again", 3000)]):
            hub.ways = {LARGE_FILE: [way] * 100}
            hub.requests.clear()
            words = Pull(f"{folder}/endless{i}", hub)("--retries", "2", code=1)
            assert "given up after 3 tries" in words and len(hub.asked("cdn", LARGE_FILE)) == 3, (words, len(hub.requests))
        hub.api_ways = [("cut", 40)] * 100
        assert "given up after 3 tries" in Pull(folder + "/endless", hub)("--retries", "2", code=1) and len(hub.api_ways) == 97


def test_more_files_than_may_be_open(folder):
    with Hub(dict(MODEL, **{f"parts/{i}.json": b"{}" * i for i in range(1, 150)})) as hub:
        pull = Pull(folder + "/files", hub)
        pull("--parallel", "8", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
        pull.whole()


def flip(path):
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 0x10]))


def test_damaged_store(folder):
    """What the store has is hashed before it is taken, and what came anew takes the place of what is damaged."""
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/damaged", hub)
        pull()
        blob = os.path.join(pull.r.root, "blobs/sha256", hashlib.sha256(MODEL[LARGE_FILE]).hexdigest())
        flip(blob)
        assert pull.r.json("verify", code=4)["damaged"] == 1
        before = len(hub.asked("cdn", LARGE_FILE))
        pull("--name", "again")
        assert len(hub.asked("cdn", LARGE_FILE)) == before + 1 and pull.r.json("verify", "again")["damaged"] == 0
        pull.r("rm", "tiny")
        pull.r("gc")
        pull.whole("again")


def test_hub_that_changes_its_mind(folder):
    """Of one commit it first promises what the store has, and then something shorter under the same name."""
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/changed", hub)
        pull("--name", "victim")
        hub.ways = {"config.json": [("bytes", b"x" * len(MODEL["config.json"]))]}
        assert "does not have the hash" in pull(code=1) and len(pull.downloads()) == 1
        hub.files[LARGE_FILE] = MODEL[LARGE_FILE][:len(MODEL[LARGE_FILE]) // 2]
        pull(code=1)  # cut in the middle, it is no model
        hub.files[LARGE_FILE] = MODEL[LARGE_FILE] + b"longer"
        pull(code=1)
        assert pull.r.json("verify")["damaged"] == 0
        hub.files = dict(MODEL)
        pull()
        pull.whole()


def test_redirects(folder):
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/redirects", hub)
        for target in ("http://example.com/x", "http://127.0.0.1.example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x",
                       "http://127.0.0.1@example.com/x", "http://user:pass@127.0.0.1/x", "//example.com/x", "gopher://127.0.0.1/"):
            hub.ways = {"config.json": [("to", target)]}
            words = pull("--retries", "0", code=1)
            assert "which is not https" in words or "which is no address" in words or "or nowhere" in words, (target, words)
        hub.ways = {"config.json": [("to", hub.url + "/acme/tiny/resolve/" + COMMIT + "/config.json")] * 20}
        assert "without an end" in pull(code=1)
        hub.ways = {"config.json": [("to", "config.json"), ("to", f"/acme/tiny/resolve/{COMMIT}/config.json")]}
        pull()
        pull.whole()


def test_endpoints(folder):
    r = Registry(folder + "/endpoints")
    for endpoint in ("http://example.com", "http://127.0.0.1.example.com", "http://127.0.0.1@example.com", "ftp://127.0.0.1", "x",
                     "http://10.0.0.1", "file:///tmp", "https://user@example.com", "https://example.com/?a"):
        words = r("pull", "acme/tiny", "--endpoint", endpoint, code=1)
        assert "no endpoint" in words or "this machine alone" in words, (endpoint, words)


def test_hostile_answers(folder):
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/hostile", hub)

        def refused(change, words, *more):
            def answer(a):
                changed = change(a)
                return changed if isinstance(changed, bytes) else a
            hub.answer = answer
            said = pull(*more, code=1)
            assert words in said, (words, said)

        first = lambda a: a["siblings"][0]
        for name in ("../escape", "/etc/escape", "a/../../escape", "a//b", "a/.", "a\\b", "x" * 2000, "a\u0001"):
            refused(lambda a: first(a).update(rfilename=name), "file name")
        refused(lambda a: first(a).update(rfilename="evil.pkl"), "pickle file")
        refused(lambda a: first(a).pop("rfilename"), "without a name")
        refused(lambda a: first(a).pop("size"), "how large")
        refused(lambda a: first(a).update(size=-5), "how large")
        refused(lambda a: first(a).update(size="9"), "how large")
        refused(lambda a: first(a).update(size=(1 << 63) - 1) or a["siblings"][1].update(size=(1 << 63) - 1), "do not add up")
        refused(lambda a: a["siblings"][1].update(lfs={"sha256": "../../x"}), "what hash")
        refused(lambda a: [s.pop("lfs", 0) or s.pop("blobId") for s in a["siblings"]], "what hash")
        refused(lambda a: a["siblings"].append(dict(first(a))), "twice")
        refused(lambda a: a.update(siblings=[]), "no files")
        refused(lambda a: a.update(siblings="x"), "no files")
        refused(lambda a: a.update(sha="main"), "which commit")
        refused(lambda a: a.update(sha="../" * 13 + "x"), "which commit")
        refused(lambda a: b"", "bad JSON")
        refused(lambda a: b"[" * 100000, "bad JSON")
        refused(lambda a: b'{"sha": 1, "sha": 2}', "bad JSON")
        refused(lambda a: b" " * (33 << 20), "larger than")
        refused(lambda a: None, "files are chosen", "--include", "nothing")
        refused(lambda a: None, "there is no model here", "--include", "*.json", "--exclude", "*.index.json")
        assert not hub.asked("cdn") and pull.r.files() == [], pull.r.files()
        hub.answer = lambda a: a
        hub.files = dict(MODEL, **{LARGE_FILE: b"not a model" * 1000})
        assert "safetensors" in pull(code=1) and pull.r.versions() == []


def test_no_proxy_for_this_machine(folder):
    with Hub(MODEL, token="t") as hub:
        pull = Pull(folder + "/proxied", hub, token="t")
        pull.environment.update(http_proxy="http://127.0.0.1:9", all_proxy="http://127.0.0.1:9")
        pull("--retries", "0")
        pull.whole()


def test_progress(folder):
    with Hub(MODEL) as hub:
        pull = Pull(folder + "/progress", hub)
        terminal, end = pty.openpty()
        words = command("registry", "pull", "acme/tiny", "--endpoint", hub.url, root=pull.r.root)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=end, env=pull.environment) as process:
            os.close(end)
            shown = b""
            try:
                while piece := os.read(terminal, 65536):
                    shown += piece
            except OSError:
                pass
        os.close(terminal)
        assert process.returncode == 0 and b"\rpulling [" in shown and b"\rchecking [" in shown and b"100 % of" in shown, shown


def undefined(path):
    """Names that each object of a library or program takes from elsewhere."""
    text = subprocess.run(["nm", "-A", "--undefined-only", *path], capture_output=True, text=True, check=True).stdout
    for line in filter(str.strip, text.splitlines()):
        yield line.split(":")[-2].rpartition("/")[2], line.split()[-1].split("@")[0]


def test_nothing_else_connects(objects):
    """libcurl is loaded by `pull`, `batch` and clients of a daemon alone. Of the program's own code only a group's store connects, to its rank 0."""
    if os.environ.get("TENON_SANITIZED"):
        return  # the sanitizer's runtime wraps connect
    program = {name for _, name in undefined(["-D", os.environ["TENON"]])}
    assert "sqlite3_open_v2" in program and not program & {"sendto", "curl_easy_perform", "curl_multi_perform"}, program
    connecting = {file for file, name in undefined(objects) if name == "connect"}
    assert connecting == {"group_store_connection.c.o"}, connecting


def main():
    draw = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        test_good(folder)
        test_several_at_once(folder)
        test_cut_connections(folder)
        test_compressed(folder)
        test_heads_without_blanks(folder)
        test_given_up_and_resumed(folder)
        test_killed(folder)
        test_killed_at_random(folder, draw)
        test_wrong_contents(folder)
        test_no_end_of_tries(folder)
        test_more_files_than_may_be_open(folder)
        test_damaged_store(folder)
        test_hub_that_changes_its_mind(folder)
        test_redirects(folder)
        test_endpoints(folder)
        test_hostile_answers(folder)
        test_no_proxy_for_this_machine(folder)
        test_progress(folder)
        test_nothing_else_connects(sys.argv[1:])


if __name__ == "__main__":
    main()
