"""How the Python tests find and run the tenon program: TENON (program) and TENON_PLUGINS (directory) from meson,
TENON_TEST_MODEL (a SmolLM2 GGUF) from the caller. Exit code 77 tells meson that a test was skipped."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")


def model():
    path = os.environ.get("TENON_TEST_MODEL")
    if not path:
        print("TENON_TEST_MODEL is not set: skipped")
        sys.exit(77)
    return path


def tenon(*arguments, stdin="", code=0):
    """Runs `tenon ARGUMENTS`, asserts its exit code and returns its standard output."""
    command = [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout if code == 0 else done.stderr


def golden(name):
    with open(os.path.join(GOLDEN, name)) as file:
        return json.load(file)
