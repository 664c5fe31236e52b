#!/usr/bin/env python3
"""`tenon registry` killed at any moment, run by several processes at once, and out of disk: nothing that was there is lost, no half
version appears, and what is left over is garbage that `gc` finds."""
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from registry_program import DIRECTORY, TINY, Killer, Registry, command

KILLS = int(os.environ.get("TENON_TEST_KILLS", "100"))


def make_source(folder, padding=6 << 20):
    source = os.path.join(folder, "source")
    shutil.copytree(DIRECTORY, source)
    with open(source + "/padding.dat", "wb") as out:
        out.write(random.Random(1).randbytes(padding))
    return source


def start(registry, *arguments):
    return subprocess.Popen(command("registry", *arguments, root=registry.root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def kill_at_random(registry, arguments, times, draw, after):
    """Runs the command `times` times, killed each time at another moment of its life, every second time near its end, where it
    enters the store; how many were killed before their end."""
    begin = time.monotonic()
    process = start(registry, *arguments(0))
    assert process.wait() == 0, process.stderr.read()
    process.communicate()
    killer = Killer(time.monotonic() - begin)
    after(0, True)
    for i in range(1, times + 1):
        process = start(registry, *arguments(i))
        killer.kill(process, draw.uniform(0.6, 1) if i % 2 else draw.uniform(0, 1))
        after(i, process.returncode == 0)
    killer.check()
    return killer.killed, killer.took


def check_whole(registry):
    """Every version that the index names is as it was stored, and opens."""
    report = registry.json("verify", "--deep")
    assert report["damaged"] == 0, report
    return [f"{v['model']}@{v['version']}" for v in report["versions"]]


def only_needed(registry):
    """After gc: contents of versions and nothing else."""
    registry("gc")
    needed = set()
    for version in registry.versions():
        shown = registry.json("show", version)
        needed.add(shown["digest"])
        needed.update(f["sha256"] for f in shown["manifest"]["files"])
    assert set(registry.blobs()) == needed, (len(registry.blobs()), len(needed))
    assert not os.listdir(registry.root + "/staging")


def test_log_killed(folder, source, draw):
    """One half of the runs adds contents that are new, the other half contents that are there."""
    r = Registry(folder + "/log")
    r("log", "kept", TINY)
    finished = []

    def arguments(i):
        with open(source + "/number.dat", "w") as out:
            out.write(str(i // 2))
        return "log", "m", source, "--version", f"n{i}"

    def after(i, done):
        versions = r.versions()
        assert "kept@v1" in versions
        if done or f"m@n{i}" in versions:  # killed after the commit
            finished.append(f"m@n{i}")
        assert sorted(versions) == sorted(["kept@v1", *finished]), (versions, finished)
        if i % 10 == 0:
            assert sorted(check_whole(r)) == sorted(versions)
        if i % 25 == 7:
            only_needed(r)

    killed, took = kill_at_random(r, arguments, KILLS, draw, after)
    print(f"log: {killed} of {KILLS} runs of {took:.3f} s were killed, {len(finished)} versions are there")
    check_whole(r)
    only_needed(r)
    for version in finished:
        r("rm", version)
    r("rm", "kept")
    r("gc")
    assert r.files() == []


def test_import_export_gc_killed(folder, source, draw, times=KILLS // 4):
    r = Registry(folder + "/others")
    r("log", "m", source)
    digest, bundle = r.json("show", "m")["digest"], folder + "/m.tar"

    def export_after(i, done):
        assert os.path.exists(f"{bundle}{i}") == done or os.path.exists(f"{bundle}{i}")
        if os.path.exists(f"{bundle}{i}"):
            Registry(folder + "/probe")("import", f"{bundle}{i}")
            os.unlink(f"{bundle}{i}")

    kill_at_random(r, lambda i: ("export", "m", f"{bundle}{i}"), times, draw, export_after)
    r("export", "m", bundle)

    def import_after(i, done):
        assert not done or f"m@i{i}" in r.versions()
        assert r.json("show", "m@v1")["digest"] == digest

    other = Registry(folder + "/to")
    other("log", "m", TINY)
    r = other
    digest = r.json("show", "m@v1")["digest"]
    kill_at_random(r, lambda i: ("import", bundle, "--version", f"i{i}"), times, draw, import_after)
    check_whole(r)
    only_needed(r)

    def gc_after(i, done):
        del done
        check_whole(r)
        r("log", "m", source, "--version", f"g{i}")
        r("rm", f"m@g{i}")

    kill_at_random(r, lambda i: ("gc",), times, draw, gc_after)
    check_whole(r)
    only_needed(r)


def test_many_at_once(folder, source, count=8):
    """All log the same contents into a registry that none has made yet, while others collect garbage without a pause."""
    r = Registry(folder + "/many")
    loggers = [start(r, "log", "m", source) for _ in range(count)]
    while any(p.poll() is None for p in loggers):
        p = start(r, "gc")
        _, words = p.communicate()
        assert p.returncode == 0 or "there is no registry here" in words, words
    for p in loggers:
        _, words = p.communicate()
        assert p.returncode == 0, words
    assert sorted(check_whole(r)) == sorted(f"m@v{i}" for i in range(1, count + 1))
    only_needed(r)
    removers = [start(r, "rm", f"m@v{i}") for i in range(1, count)] + [start(r, "log", "m", source), start(r, "gc")]
    for p in removers:
        _, words = p.communicate()
        assert p.returncode == 0, words
    assert sorted(check_whole(r)) == [f"m@v{count}", f"m@v{count + 1}"]
    only_needed(r)


def limit_files(size):
    """In the child. The thread sanitizer writes a file of its own before main, and would die of the signal that main ignores."""
    if os.environ.get("TENON_SANITIZED"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room(folder, source):
    """A file size limit stands for a full disk, at every size up to the largest file; then a real one where it can be had."""
    r = Registry(folder + "/small")
    r("log", "kept", TINY)
    before = r.files()
    for limit in [0, 1000, 5000, 100000, 2 << 20, 5 << 20]:
        error = r("log", "m", source, code=1, preexec_fn=lambda n=limit: limit_files(n))
        assert "File too large" in error or "disk" in error, error
        assert r.versions() == ["kept@v1"] and r.files() == before, r.files()
    r("log", "m", source)
    check_whole(r)
    full = folder + "/full"
    os.mkdir(full)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", full], capture_output=True)
    if mounted.returncode:
        print("no right to mount a small file system: a size limit stands for it")
        return
    try:
        s = Registry(full + "/store")
        s("log", "kept", TINY)
        before = s.files()
        assert "No space left on device" in s("log", "m", source, code=1)
        assert s.versions() == ["kept@v1"] and s.files() == before
        r("export", "m", folder + "/large.tar")
        assert "No space left on device" in s("import", folder + "/large.tar", code=1)
        assert "No space left on device" in r("export", "m", full + "/m.tar", code=1)
        assert s.versions() == ["kept@v1"] and s.files() == before and os.listdir(full) == ["store"]
        check_whole(s)
    finally:
        subprocess.run(["umount", full], check=True)


def main():
    draw = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        source = make_source(folder)
        test_log_killed(folder, source, draw)
        test_import_export_gc_killed(folder, source, draw)
        test_many_at_once(folder, source)
        test_no_room(folder, source)


if __name__ == "__main__":
    main()
