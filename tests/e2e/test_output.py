#!/usr/bin/env python3
"""Standard output that cannot be written: full, limited, closed, or with a reader that has gone. Every command that prints says so
in one sentence and fails; none dies of a signal, none loses an answer in silence."""
import os
import resource
import subprocess
import tempfile

from server import model

TEXT = "the river and the stone " * 24


def commands():
    """name: (arguments, standard input) of every command that prints."""
    path = model()
    return {
        "help": (["--help"], ""),
        "version": (["--version"], ""),
        "run --help": (["run", "--help"], ""),
        "plan": (["plan", path], ""),
        "plan --json": (["plan", path, "--json"], ""),
        "run": (["run", path, "Hello", "--max-tokens", "400", "--verbose"], ""),
        "inspect": (["inspect", path], ""),
        "inspect --json": (["inspect", path, "--json"], ""),
        "tokenize": (["tokenize", path], TEXT),
        "detokenize": (["detokenize", path], "[10, 20, 30]"),
        "chat-template": (["chat-template", path], '{"messages": [{"role": "user", "content": "hi"}]}'),
        "logits": (["logits", path, "--top", "20"], TEXT),
        "perplexity": (["perplexity", path, "--window", "16"], TEXT),
        "doctor": (["doctor"], ""),
        "plugins": (["plugins", "--options"], ""),
    }


def start(arguments, stdin, stdout, **how):
    command = [os.environ["TENON"], *arguments]
    if not arguments[0].startswith("--") and arguments[-1] != "--help":
        command += ["--set", "plugins.path=" + os.environ["TENON_PLUGINS"], "--set", "engine.kv_cache_memory_bytes=8MiB"]
    return subprocess.run(command, input=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300, **how)


def check_message(name, done, reason):
    """Failed, and nothing on standard error but the one sentence."""
    said = done.stderr.splitlines()
    assert done.returncode == 1, f"{name}: {done.returncode}\n{done.stderr}"
    assert said == [f"tenon: standard output: {reason}; the answer is not complete"], f"{name}: {said}"


def test_all_is_well(name, arguments, stdin):
    """The control: each of them does print and succeed."""
    done = start(arguments, stdin, subprocess.PIPE)
    assert done.returncode == 0 and done.stdout, f"{name}: {done.returncode}\n{done.stderr}"


def test_full(name, arguments, stdin):
    with open("/dev/full", "w") as full:
        check_message(name, start(arguments, stdin, full), "No space left on device")


def test_closed(name, arguments, stdin):
    check_message(name, start(arguments, stdin, None, preexec_fn=lambda: os.close(1)), "Bad file descriptor")


def test_reader_gone(name, arguments, stdin):
    """`| head` got what it wanted: it fails quietly, as one exit code among others."""
    reader, writer = os.pipe()
    os.close(reader)
    done = start(arguments, stdin, writer)
    os.close(writer)
    assert done.returncode == 1 and done.stderr == "", f"{name}: {done.returncode}\n{done.stderr}"


def long_answer(where, **how):
    """Prints more than one buffer: the beginning fits, the rest does not. The message and the bytes that fitted."""
    path = os.path.join(where, "answer")
    with open(path, "w") as file:
        done = start(["logits", model(), "--top", "300"], TEXT, file, **how)
    return done, os.path.getsize(path)


def test_size_limit():
    with tempfile.TemporaryDirectory() as folder:
        done, size = long_answer(folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    check_message("size limit", done, "File too large")
    assert size == 20000, size


def test_full_filesystem():
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
        if mounted.returncode:
            print("no right to mount a small file system: /dev/full and a size limit stand for it")
            return
        try:
            done, size = long_answer(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
    check_message("full file system", done, "No space left on device")
    assert size > 16384, size


def main():
    for name, (arguments, stdin) in commands().items():
        for test in (test_all_is_well, test_full, test_closed, test_reader_gone):
            test(name, arguments, stdin)
    test_size_limit()
    test_full_filesystem()


main()
