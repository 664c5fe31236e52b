#!/usr/bin/env python3
"""The commands as a person types them: help everywhere, good answers, and errors that name what is wrong and the fix."""
import json
import os
import subprocess

from server import model

COMMANDS = ["serve", "run", "plan", "plugins", "doctor", "inspect", "tokenize", "detokenize", "chat-template", "logits",
            "perplexity"]


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
        assert text.startswith(f"usage: tenon {command}") and "--set" in text
    assert "ABI" in tenon("--version", plugins=False)


def test_wrong_usage():
    assert "did you mean 'serve'" in tenon("sevre", code=2, plugins=False)
    assert "did you mean --max-tokens" in tenon("run", "m", "p", "--max-token", "3", code=2)
    assert "arguments are missing" in tenon("plan", code=2)
    assert "not a number" in tenon("run", "m", "p", "--seed", "x", code=2)
    assert "--temperature takes" in tenon("run", "m", "p", "--temperature", "-1", code=2)


def test_settings_errors(folder="/tmp"):
    path = os.path.join(folder, f"tenon-test-{os.getpid()}.ini")
    for text, line, words in [
            ("[model]\npath = x.gguf\nmax_modle_len = 3\n", 3, ["max_modle_len", "max_model_len"]),
            ("[engin]\nseed = 1\n", 1, ["engin", "engine"]),
            ("[engine]\nmax_num_seqs = many\n", 2, ["max_num_seqs", "many"]),
            ("[cpu]\ntreads = 2\n", 2, ["treads", "threads"])]:
        with open(path, "w") as file:
            file.write(text)
        error = tenon("serve", path, code=1)
        assert f"{path}:{line}" in error and all(word in error for word in words), error
    os.unlink(path)
    assert "nosuch" in tenon("serve", "--set", "backend.plugin=nosuch", code=1)
    assert "model.path" in tenon("serve", code=1)


def test_files(path):
    assert "No such file" in tenon("inspect", path + ".missing", code=1)
    with open(path, "rb") as file:
        start = file.read(3_000_000)
    short = f"/tmp/tenon-test-{os.getpid()}.gguf"
    with open(short, "wb") as file:
        file.write(start)
    error = tenon("run", short, "hello", code=1)
    assert short in error and "cut short" in error and "missing" in error, error
    os.unlink(short)
    text = tenon("inspect", path)
    assert "blk.0.attn_q.weight" in text and "general.architecture" in text
    assert len(json.loads(tenon("inspect", path, "--json"))["tensors"]) == 272


def test_tokens(path):
    ids = json.loads(tenon("tokenize", path, stdin="Hello wörld 😀"))
    assert tenon("detokenize", path, stdin=json.dumps(ids)) == "Hello wörld 😀"
    assert json.loads(tenon("tokenize", path, "--parse-special", stdin="<|im_end|>")) == [2]
    assert len(json.loads(tenon("tokenize", path, stdin="<|im_end|>"))) > 1
    text = tenon("chat-template", path, stdin=json.dumps({"messages": [{"role": "user", "content": "hi"}],
                                                          "add_generation_prompt": True}))
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"), text


def test_machine(path):
    assert "tn.backend/0" in tenon("plugins") and "cpu.threads" in tenon("plugins", "--options")
    text = tenon("doctor")
    assert "cores" in text and "device" in text and "port 8000" in text
    plan = json.loads(tenon("plan", path, "--json", "--max-model-len", "2K"))
    assert plan["max_model_len"] == 2048 and plan["peak"] > plan["resident"] > plan["bytes"]["weights"] > 50e6
    assert "does not fit" in tenon("plan", path, "--util", "0.001", code=3)


def test_run(path):
    answer = tenon("run", path, "What is the capital of France?", "--max-tokens", "24")
    assert "Paris" in answer, answer
    sampled = [tenon("run", path, "Say something.", "--temperature", "0.9", "--seed", seed, "--max-tokens", "12")
               for seed in ("1", "1", "2")]
    assert sampled[0] == sampled[1] != sampled[2]
    logits = json.loads(tenon("logits", path, "--top", "3", stdin="The capital of France is"))["positions"]
    assert len(logits) == 5 and logits[-1]["top"][0][0] == 7042


def main():
    path = model()
    test_help()
    test_wrong_usage()
    test_settings_errors()
    test_files(path)
    test_tokens(path)
    test_machine(path)
    test_run(path)


main()
