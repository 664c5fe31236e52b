"""`tenon registry` in a folder of its own, for tests. TENON and TENON_PLUGINS come from meson."""
import json
import os
import signal
import subprocess
import time

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../reference/golden")
TINY = os.path.join(GOLDEN, "tiny_mixed.gguf")
DIRECTORY = os.path.join(GOLDEN, "llama_tiny_sharded")


def command(*arguments, root=None, plugins=False):
    words = [os.environ["TENON"], *arguments]
    if root:
        words += ["--set", "registry.path=" + root]
    if plugins:
        words += ["--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    return words


def run(words, code=0, stdin="", **how):
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=300, **how)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done.stdout if code in (0, 4) else done.stderr


class Killer:
    """Kills commands at chosen moments of their life, of which it learns how long that is: a machine is not always as busy as it was
    when the first of them was timed."""

    def __init__(self, took):
        self.took, self.runs, self.killed = took, 0, 0

    def kill(self, process, share):
        """share: of its life. It is waited for."""
        begin = time.monotonic()
        try:
            process.wait(self.took * share)
            self.took = (self.took + time.monotonic() - begin) / 2
        except subprocess.TimeoutExpired:
            process.kill()
            self.took *= 1.02  # until some get to their end again
        process.communicate()
        self.runs += 1
        self.killed += process.returncode == -signal.SIGKILL

    def check(self):
        assert self.killed > self.runs // 5, f"{self.killed} of {self.runs} runs were killed: the rest shows nothing"


class Registry:
    def __init__(self, root):
        self.root = root

    def __call__(self, *arguments, code=0, **how):
        return run(command("registry", *arguments, root=self.root), code, **how)

    def json(self, *arguments, code=0):
        return json.loads(self(*arguments, "--json", code=code))

    def model(self, *arguments, code=0, stdin=""):
        """A command that takes a MODEL of this registry."""
        return run(command(*arguments, root=self.root, plugins=True), code, stdin)

    def versions(self):
        """["NAME@VERSION", ...]"""
        return [f"{m['name']}@{v['version']}" for m in self.json("list")["models"] for v in m["versions"]]

    def files(self):
        """Every regular file in the store but the index, relative to it."""
        found = []
        for folder, _, names in os.walk(self.root):
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names if not name.startswith("registry.db")]
        return sorted(found)

    def blobs(self):
        return sorted(os.listdir(os.path.join(self.root, "blobs/sha256")))
