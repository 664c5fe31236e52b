#!/usr/bin/env python3
"""Builds every configuration and runs every suite; prints what each took, its slowest tests, and ends with one line of totals.

    N passed, N failed, N skipped

Without arguments all configurations; name some (gcc, clang, asan, tsan, fuzz) to run those, or gpu for what needs a GPU alone (it is
part of gcc, which skips it where there is none; where there is one, a skip is a failure). One that does not build counts as
one failure. While the tests of one run, which wait a good deal, the next is built with what they leave of the processors. Standard
library only; called by `./dev test`, `./dev asan` and `./dev tsan`.
"""
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name, compiler, meson options, suites; "!" before a suite: its tests are left out. ThreadSanitizer has nothing to look for in
# suite serial, whose threads, where there are any, others have too. The real model (suite model) is for optimised code; under the
# sanitizers the e2e suite takes whole programs through a tiny one.
# A sanitizer's report needs lines, not variables, and what it adds to the code weighs more than the optimiser: so half the compile time.
LINES = ["-Doptimization=1", "-Dc_args=-g1", "-Dcpp_args=-g1"]
CORRECTNESS = ["unit", "abi", "faults", "reference"]
CONFIGURATIONS = [
    ("gcc", "gcc", ["--buildtype=release"], [*CORRECTNESS, "e2e", "model", "gpu"]),
    ("clang", "clang", ["--buildtype=debugoptimized"], ["unit", "abi", "faults"]),
    ("asan", "gcc", [*LINES, "-Db_sanitize=address,undefined", "-Db_lundef=false"], [*CORRECTNESS, "e2e"]),
    ("tsan", "gcc", [*LINES, "-Db_sanitize=thread", "-Db_lundef=false"], [*CORRECTNESS, "e2e", "!serial"]),
    ("fuzz", "clang", [*LINES, "-Dfuzzers=true", "-Dfuzz_seconds=20", "-Db_sanitize=address,undefined", "-Db_lundef=false"], ["fuzz"]),
]
TARGETS = {"fuzz": ["fuzzers"]} # where not everything is needed
SLOWEST = 10
GOOD, SKIPPED = {"OK", "EXPECTEDFAIL"}, {"SKIP"}
# Of the suite gpu, what needs a second device.
SECOND_DEVICE = "cuda_families_on_a_device_each_gpu"


# Not among those that run when none is named: its tests are among gcc's, in the same folder.
GPU = ("gpu", "gcc", ["--buildtype=release"], ["gpu"])


def build(name, compiler, options):
    """(folder or None, seconds). At the lowest priority: tests may be running."""
    begin = time.time()
    folder = os.path.join(ROOT, "build-test-" + ("gcc" if name == "gpu" else name))
    environment = dict(os.environ, CC=compiler, CXX={"gcc": "g++", "clang": "clang++"}[compiler])
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        done = subprocess.run(["meson", "setup", folder, ROOT, *options], env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:])
            return None, time.time() - begin
    done = subprocess.run(["nice", "-n", "19", "ninja", "-C", folder, "--quiet", *TARGETS.get(name, [])], env=environment)
    return folder if done.returncode == 0 else None, time.time() - begin


def results(folder):
    """(suite, name, result, seconds) of the last `meson test` in a build folder."""
    with open(os.path.join(folder, "meson-logs", "testlog.json")) as log:
        for line in log:
            entry = json.loads(line)
            suite, _, name = entry["name"].rpartition(" / ")
            yield suite.split(":")[-1].split("+")[0], name, entry["result"], entry["duration"]


def gpu_count(folder):
    """Devices that the programs of the suite gpu find."""
    program = os.path.join(folder, "tests", "cuda", "gpu_devices")
    if not os.path.exists(os.path.join(folder, "plugins", "cuda_tp.so")) or not os.path.exists(program):
        return 0
    done = subprocess.run([program], capture_output=True, text=True, env=dict(os.environ, TENON_PLUGINS=os.path.join(folder, "plugins")))
    return sum(line.startswith("device ") for line in done.stdout.splitlines())


def skips_are_failures(suite, test, devices):
    """A test for a GPU that skips itself beside one proves nothing and looks green."""
    return suite == "gpu" and devices > 0 and (test != SECOND_DEVICE or devices > 1)


def print_log(folder, test):
    """The end of what a failed test said, which a test that ran out of time has not printed with the others."""
    with open(os.path.join(folder, "meson-logs", "testlog.json")) as log:
        for entry in map(json.loads, log):
            if entry["name"].rpartition(" / ")[2] == test:
                print(f"-- {test}: {entry['result']} after {entry['duration']:.0f} s")
                print("\n".join((entry.get("stdout") or "").splitlines()[-40:] + (entry.get("stderr") or "").splitlines()[-40:]))


def run(name, suites, built):
    """(passed, failed, skipped) of one configuration, when it is built."""
    folder, build_seconds = built.result()
    begin = time.time()
    if not folder:
        print(f"{name}: does not build", flush=True)
        return 0, 1, 0
    print(f"\n== {name}: built in {build_seconds:.0f} s", flush=True)
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs"]
    for suite in suites:
        command += ["--no-suite", suite[1:]] if suite.startswith("!") else ["--suite", suite]
    log = os.path.join(folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    environment = dict(os.environ)
    command += ["--timeout-multiplier", "2" if name in ("gcc", "gpu") else "4"]
    if name not in ("gcc", "gpu"):
        for model in [key for key in environment if key.startswith("TENON_TEST_")]:
            del environment[model]
    with open(os.path.join(folder, "test.log"), "w") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    if not os.path.exists(log):
        print(f"{name}: its tests did not run")
        print(open(os.path.join(folder, "test.log")).read()[-3000:])
        return 0, 1, 0
    counts, times, slowest, failures = [0, 0, 0], {}, [], []
    devices = gpu_count(folder)
    for suite, test, result, seconds in results(folder):
        index = 0 if result in GOOD else 2 if result in SKIPPED and not skips_are_failures(suite, test, devices) else 1
        counts[index] += 1
        times[suite] = times.get(suite, 0) + seconds
        slowest.append((seconds, f"{suite}/{test}"))
        if index == 1:
            failures.append((test, result))
        if index == 2:
            print(f"   skipped: {suite}/{test}")
    for suite, seconds in sorted(times.items()):
        print(f"   {name}/{suite}: {seconds:.0f} s")
    print("   slowest: " + ", ".join(f"{test} {seconds:.0f} s" for seconds, test in sorted(slowest, reverse=True)[:SLOWEST]))
    for test, _ in failures:
        print_log(folder, test)
    if failures:
        print(f"   FAILED in {name}: " + "; ".join(f"{test}: {result}" for test, result in failures))
    print(f"   {name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped; tested in {time.time() - begin:.0f} s", flush=True)
    return counts


def main():
    begin, total = time.time(), [0, 0, 0]
    chosen = sys.argv[1:] or [configuration[0] for configuration in CONFIGURATIONS]
    there = {configuration[0]: configuration for configuration in [*CONFIGURATIONS, GPU]}
    for name in chosen:
        if name not in there:
            sys.exit(f"there is no configuration {name!r}; there are {', '.join(there)}")
    configurations = [configuration for name, configuration in there.items() if name in chosen]
    with ThreadPoolExecutor(max_workers=1) as builder:
        builds = [builder.submit(build, *configuration[:3]) for configuration in configurations]
        for (name, _, _, suites), built in zip(configurations, builds):
            total = [a + b for a, b in zip(total, run(name, suites, built))]
    print(f"\nall of it in {(time.time() - begin) / 60:.1f} minutes")
    print(f"\n{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    sys.exit(1 if total[1] or not any(total) else 0)


main()
