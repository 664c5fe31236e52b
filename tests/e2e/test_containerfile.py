#!/usr/bin/env python3
"""The Containerfile without a container: what it copies is all that the build reads, and its packages are those that what is built needs.

    test_containerfile.py MESON BUILD-FOLDER PROGRAM-OR-LIBRARY...

Base images cannot be fetched in a test, so its steps are read. Packages are looked up by apt-cache and dpkg: exit code 77 (skipped) where the system is
no Debian 12.
"""
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BASE = "docker.io/library/debian:12-slim"
# Loaded when it is needed (runtime/hub), and what checks a hub's certificate.
LOADED_LATE = {"libcurl4", "ca-certificates"}


def text_of(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def instructions():
    """(word, rest) in order, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text_of("Containerfile"))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line and not line.startswith("#")]


def stages(steps):
    """[(image, name, steps)]"""
    found = []
    for word, rest in steps:
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append((image, name, []))
        elif found:
            found[-1][2].append((word, rest))
    return found


def packages(run):
    """What `apt-get install` names in a RUN."""
    words = re.search(r"apt-get install (.*?) &&", run).group(1).split()
    return {word for word in words if not word.startswith("--")}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def is_ignored(path):
    """By .containerignore, whose last matching line counts; a folder's line is about all in it."""
    ignored = False
    for line in text_of(".containerignore").splitlines():
        pattern = line.lstrip("!")
        if line and not line.startswith("#") and any(
                fnmatch.fnmatch(part, pattern.removeprefix("**/")) if pattern.startswith("**/") else fnmatch.fnmatch(part, pattern)
                for part in (path, path.split("/")[0], os.path.basename(path))):
            ignored = not line.startswith("!")
    return ignored


def test_stages(found):
    names = [name for _, name, _ in found]
    assert names == ["cuda-disabled", "cuda-enabled", "cuda", "build", ""], names
    assert [image for image, name, _ in found if name in ("cuda-disabled", "build", "")] == [BASE] * 3
    assert "Debian 12 packages" in text_of("dev"), "the base image is what ./dev names packages of"
    for at, (_, _, steps) in enumerate(found):
        for word, rest in steps:
            source = re.match(r"--from=(\S+)", rest) if word == "COPY" else None
            assert not source or source.group(1) in names[:at], rest


def copied(build):
    """(source, target) of what comes from this folder."""
    for word, rest in build:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                yield source, os.path.join(target, source) if target.endswith("/") else target


def test_sources(build, meson, folder):
    """What is copied is all that the build reads, but for the tests."""
    places = list(copied(build))
    for source, target in places:
        assert os.path.exists(os.path.join(ROOT, source)) and not is_ignored(source), source
        assert target == "/source/" + source, "the folders keep their places"
    run = next(rest for word, rest in build if word == "RUN")
    assert "DESTDIR=/tenon ./dev install -Dcuda=${CUDA}" in run and dict(build)["WORKDIR"] == "/source"
    read = set(json.loads(output(meson, "introspect", "--buildsystem-files", folder)))
    for target in json.loads(output(meson, "introspect", "--targets", folder)):
        for part in target["target_sources"]:
            read |= set(part.get("sources", []))
    ours = {os.path.relpath(path, ROOT) for path in read if path.startswith(ROOT + "/") and not path.startswith(folder + "/")}
    needed = {path for path in ours if not path.startswith("tests/")}
    assert len(needed) > 300, "the build was not read"
    lacking = {path for path in needed if not any(path == source or path.startswith(source + "/") for source, _ in places)}
    assert not lacking, sorted(lacking)
    assert not any(map(is_ignored, needed)) and is_ignored("models") and is_ignored("build") and is_ignored("tests")


def test_last_stage(last, installed):
    said = dict(reversed(last))
    pod = text_of("tests/e2e/golden_kubernetes/chat.yaml")
    assert json.loads(said["ENTRYPOINT"])[0] in installed, "the program is where it is installed"
    assert re.search(r"version: '([^']+)'", text_of("meson.build")).group(1) in said["LABEL"]
    command = json.loads(said["CMD"])
    assert "args:\n        - {}\n        - {}\n".format(*command) in pod, "the pod starts what the image starts"
    assert f"containerPort: {said['EXPOSE']}\n" in pod
    user = said["USER"].split(":")[0]
    assert f"runAsUser: {user}\n" in pod and user.isdigit() and user != "0", "Kubernetes can only see of a number that it is not root"
    assert any(word == "RUN" and f"--uid {user} " in rest for word, rest in last)


def needed_packages(files):
    """Debian's packages of the libraries that ELF files name, but for those of ours and of every Debian."""
    sonames = set()
    for path in files:
        sonames |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "--dynamic", path)))
    places = dict(re.findall(r"^\t(\S+) \(libc6,(?!x32)[^)]*\) => (\S+)$", output("/sbin/ldconfig", "-p"), re.M))  # of 64 bits
    own = {os.path.basename(path) for path in files} | {"libtenon.so.0"}
    names = {}
    for soname in sorted(sonames - own):
        assert soname in places, f"{soname} is not installed here"
        path = os.path.realpath(places[soname])
        said = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True).stdout or output("dpkg", "-S", path.removeprefix("/usr"))
        names[soname] = said.split(":")[0]
    return {name for soname, name in names.items() if name not in ("libc6", "libgcc-s1")}, names  # the one depends on the other


def test_packages(last, files):
    named = packages(next(rest for word, rest in last if word == "RUN"))
    needed, names = needed_packages(files)
    assert needed <= named, f"the image lacks {sorted(needed - named)}: {names}"
    assert named <= needed | LOADED_LATE, f"nothing needs {sorted(named - needed - LOADED_LATE)}"
    built_with = re.search(r"BUILD_PACKAGES=\((.*?)\)", text_of("dev"), re.S).group(1).split()
    known = output("apt-cache", "show", *sorted(named | set(built_with)))
    for package in named | set(built_with):
        assert f"Package: {package}\n" in known, package


def main():
    release = text_of("/etc/os-release") if os.path.exists("/etc/os-release") else ""
    if not re.search(r'VERSION_ID="12"', release) or "ID=debian" not in release or not all(map(shutil.which, ("dpkg", "apt-cache", "readelf"))):
        print("this is no Debian 12: skipped")
        sys.exit(77)
    meson, folder, *files = sys.argv[1:]
    found = stages(instructions())
    test_stages(found)
    test_packages(found[-1][2], files)
    test_sources(found[3][2], meson, folder)
    installed = json.loads(output(meson, "introspect", "--installed", folder))
    test_last_stage(found[-1][2], set(installed.values()))


if __name__ == "__main__":
    main()
