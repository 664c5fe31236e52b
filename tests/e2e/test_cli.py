#!/usr/bin/env python3
"""The commands as a person types them: help everywhere, good answers, and errors that name what is wrong and the fix. What needs
the real model's knowledge is left out with a tiny one."""
import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import tempfile

from server import model

COMMANDS = ["serve", "daemon", "keep", "run", "plan", "pool", "plugins", "doctor", "inspect", "tokenize", "detokenize", "chat-template", "logits",
            "perplexity", "quantize", "group", "token", "up"]


def is_real(path):
    return os.path.getsize(path) > 50e6


def tenon(*arguments, stdin="", code=0, plugins=True):
    command = [os.environ["TENON"], *arguments]
    if plugins:
        command += ["--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    return done.stdout if code == 0 else done.stderr


def test_help():
    listing = tenon("--help", plugins=False)
    for command in COMMANDS:
        assert f"\n  {command} " in listing, command
        text = tenon(command, "--help", plugins=False)
        assert text.startswith(f"usage: tenon {command}") and ("--set" in text) == (command != "keep")
    assert tenon("-h", plugins=False) == listing and tenon("plan", "-h", plugins=False) == tenon("plan", "--help", plugins=False)
    assert tenon("registry", "-h", plugins=False) == tenon("registry", "--help", plugins=False)
    assert "ABI" in tenon("--version", plugins=False)


def test_wrong_usage():
    assert "did you mean 'serve'" in tenon("sevre", code=2, plugins=False)
    assert "did you mean --max-tokens" in tenon("run", "m", "p", "--max-token", "3", code=2)
    assert "arguments are missing" in tenon("plan", code=2)
    assert "--seed 'x' is not a number" in tenon("run", "m", "p", "--seed", "x", code=2)
    assert "--temperature takes" in tenon("run", "m", "p", "--temperature", "-1", code=2)
    assert "--seed takes 0 or more" in tenon("run", "m", "p", "--seed", "-2", code=2)
    assert "--system needs the chat template" in tenon("run", "m", "p", "--raw", "--system", "x", code=2)
    for command in "serve", "daemon", "group":
        assert "that of --config and a.ini" in tenon(command, "a.ini", "--config", "b.ini", code=2)


def test_settings_errors(folder="/tmp"):
    path = os.path.join(folder, f"tenon-test-{os.getpid()}.ini")
    for text, line, words in [
            ("[model]\npath = x.gguf\nmax_modle_len = 3\n", 3, ["max_modle_len", "max_model_len"]),
            ("[engin]\nseed = 1\n", 1, ["engin", "engine"]),
            ("[engine]\nmax_num_seqs = many\n", 2, ["max_num_seqs", "many"]),
            ("[cpu]\ntreads = 2\n", 2, ["treads", "threads"]),
            ("[engine]\n[backend]\nplugin = cpuu\n", 3, ['"cpuu"', 'did you mean "cpu"']),
            ("[quant]\nplugins = quant_none, quant_ggfu\n", 2, ['"quant_ggfu"', 'did you mean "quant_gguf"'])]:
        with open(path, "w") as file:
            file.write(text)
        for command in ["serve", path], ["plan", "x.gguf", "--config", path]:
            error = tenon(*command, code=1)
            assert f"{path}:{line}" in error and all(word in error for word in words), (command, error)
    with open(path, "w") as file:  # what is of plugins that doctor does not load
        file.write("[http_frontend]\nlisten = 127.0.0.1:0\n[socket_frontend]\npath = x\n[cuda_tp]\nany = 1\n[of_another_vendor]\nkey = 1\n")
    assert "all load" in tenon("doctor", "--config", path)
    os.unlink(path)
    assert "nosuch" in tenon("serve", "--set", "backend.plugin=nosuch", code=1)
    assert "model.path" in tenon("serve", code=1)
    assert "--status /nowhere/status: No such file" in tenon("serve", "--status", "/nowhere/status", code=1)


def test_example_ini():
    """share/tenon.ini shows every setting of the core and of the plugins it speaks of, each with its default."""
    listed = {}
    for line in tenon("plugins", "--options").splitlines():
        found = re.match(r"    ([a-z_]+)\.([a-z_]+) +(\S+) +default +(\S+) ", line)
        if found:
            listed[found[1], found[2]] = found[4]
    shown, section, example = {}, None, False
    for line in open(os.path.join(os.path.dirname(__file__), "../../share/tenon.ini")):
        head, key = re.match(r"(;?)\[([\w ]+)\]", line), re.match(r"; (\w+) =(.*)" if example else r";?(\w+) =(.*)", line)
        if head:
            section, example = head[2], head[1] == ";"
        elif key and " " not in section:
            shown[section, key[1]] = key[2].replace(" ", "").strip()
    assert len(listed) > 40 and set(shown) == set(listed), set(shown) ^ set(listed)
    paths = {("model", "path"), ("plugins", "path"), ("socket_frontend", "path")}
    for name in set(shown) - paths:
        assert (shown[name] or "(unset)") == listed[name], (name, shown[name], listed[name])


def test_files(path):
    assert "No such file" in tenon("inspect", path + ".missing", code=1)
    with open(path, "rb") as file:
        start = file.read(os.path.getsize(path) // 2)
    short = f"/tmp/tenon-test-{os.getpid()}.gguf"
    with open(short, "wb") as file:
        file.write(start)
    error = tenon("run", short, "hello", code=1)
    assert short in error and "cut short" in error and "missing" in error, error
    os.unlink(short)
    for command in (["plan", path], ["run", path, "hello"]):
        error = tenon(*command, "--set", "model.max_model_len=9000000", code=1)
        assert "max_model_len=9000000 is more than" in error, error
    text = tenon("inspect", path)
    assert "blk.0.attn_q.weight" in text and "general.architecture" in text
    assert len(json.loads(tenon("inspect", path, "--json"))["tensors"]) == (272 if is_real(path) else 21)


def test_tokens(path):
    ids = json.loads(tenon("tokenize", path, stdin="Hello wörld 😀"))
    assert tenon("detokenize", path, stdin=json.dumps(ids)) == "Hello wörld 😀"
    special = json.loads(tenon("tokenize", path, "--parse-special", stdin="<|im_end|>"))
    assert special == [2] if is_real(path) else len(special) == 1
    assert len(json.loads(tenon("tokenize", path, stdin="<|im_end|>"))) > 1
    most = ["--set", "engine.max_num_seqs=1"] * 63  # and plugins.path
    assert json.loads(tenon("tokenize", path, *most, stdin="Hello wörld 😀")) == ids
    assert json.loads(tenon("plan", path, "--tp", "1", *most[2:], "--concurrency", "1", "--json"))["max_num_seqs"] == 1
    assert "too many settings" in tenon("tokenize", path, *most, "--set", "engine.max_num_seqs=1", code=2)
    done = subprocess.run([os.environ["TENON"], "logits", path, "--ids", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]], input="[]",
                          capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout and "0 tokens: give 1" in done.stderr, done
    text = tenon("chat-template", path, stdin=json.dumps({"messages": [{"role": "user", "content": "hi"}],
                                                          "add_generation_prompt": True}))
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"), text


def test_doctor():
    """Says of the CPU what the kernel says, and reports memory, devices, the disk and the port."""
    text = tenon("doctor", "--set", "registry.path=/tmp/not/yet/here")
    assert "cores" in text and "device" in text and "iB free" in text and "port 8000" in text, text
    assert re.search(r"^disk .* of .* free for models, in /tmp/not/yet/here$", text, re.M), text
    assert f": all load, in {os.environ['TENON_PLUGINS']}\n" in text, text
    assert re.search(r"^disk .* free for models, in /not-yet-here$", tenon("doctor", "--set", "registry.path=/not-yet-here"), re.M)
    assert "/dev/null/x: Not a directory" in tenon("doctor", "--set", "registry.path=/dev/null/x")
    with open("/proc/cpuinfo") as info:
        flags = next((line.split() for line in info if line.startswith("flags")), [])
    for name, flag in [("AVX2+FMA", "avx2"), ("AVX-512", "avx512bw"), ("VNNI", "avx512_vnni"), ("AMX", "amx_int8")]:
        assert not flags or f"{name} {'yes' if flag in flags else 'no'}" in text, (flag, text)


def test_progress(path):
    """A bar that is wiped away on a terminal; in a file no line that a terminal would have to interpret."""
    command = [os.environ["TENON"], "run", path, "Hi", "--max-tokens", "1", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    terminal, end = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(terminal, 65536):
                shown += piece
    os.close(terminal)
    assert process.returncode == 0
    assert b"\rloading [" in shown and b"100 % of" in shown and b"\r\033[K" in shown, shown
    plain = subprocess.run(command, capture_output=True, check=True).stderr
    assert b"\r" not in plain and b"\033" not in plain, plain


def test_machine(path):
    assert "tn.backend/1" in tenon("plugins") and "cpu.threads" in tenon("plugins", "--options")
    assert "from the core, for plugins: tn.rendezvous/1" in tenon("plugins")
    plan = json.loads(tenon("plan", path, "--json", "--max-model-len", "2K"))
    assert plan["max_model_len"] == 2048 and plan["peak"] > plan["resident"] > plan["bytes"]["weights"] > (50e6 if is_real(path) else 1e6)
    assert "does not fit" in tenon("plan", path, "--util", "0.001", code=2)


def test_broken_template(folder):
    """A model's own template that cannot be used is an error of `run`, not a prompt without it."""
    model_folder = os.path.join(folder, "model")
    shutil.copytree(os.path.join(os.path.dirname(__file__), "../reference/golden/llama_tiny"), model_folder)
    with open(os.path.join(model_folder, "chat_template.jinja"), "w") as file:
        file.write("{% if %}")
    dummy = ["--max-tokens", "1", "--set", "model.load_format=dummy"]
    error = tenon("run", model_folder, "Hi", *dummy, code=1)
    assert "--raw continues the prompt without it" in error, error
    assert "has no tokenizer" in tenon("run", model_folder, "Hi", "--raw", *dummy, code=1), "which comes after the template"
    os.unlink(os.path.join(model_folder, "chat_template.jinja"))
    assert "--system needs a chat template" in tenon("run", model_folder, "Hi", "--system", "x", *dummy, code=1)


def test_run(path):
    sampled = [tenon("run", path, "Say something.", "--temperature", "0.9", "--seed", seed, "--max-tokens", "12")
               for seed in ("1", "1", "2")]
    assert sampled[0] == sampled[1] != sampled[2]
    command = [os.environ["TENON"], "run", path, "Say something.", "--max-tokens", "3", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    both = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
    assert both.endswith("\ntenon: stopped at the token limit (--max-tokens)\n"), both
    if not is_real(path):
        return
    answer = tenon("run", path, "What is the capital of France?", "--max-tokens", "24")
    assert "Paris" in answer, answer
    logits = json.loads(tenon("logits", path, "--top", "3", stdin="The capital of France is"))["positions"]
    assert len(logits) == 5 and logits[-1]["top"][0][0] == 7042


def main():
    path = model()
    test_help()
    test_wrong_usage()
    test_settings_errors()
    test_example_ini()
    test_files(path)
    test_tokens(path)
    test_doctor()
    test_progress(path)
    test_machine(path)
    with tempfile.TemporaryDirectory() as folder:
        test_broken_template(folder)
    test_run(path)


main()
