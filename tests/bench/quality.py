#!/usr/bin/env python3
"""What quantization costs: one real model in many encodings, Tenon beside the implementation that each file is from.

For each MODEL (GGUF file or directory) a row: bytes of weights in memory as `tenon plan` gives them, perplexity of TEXT by Tenon and by
the reference (llama.cpp for a GGUF; for a directory transformers, in float32 on the dequantised weights), and the mean error of
log-probs against float32 on the same weights (model_reference.py, kept beside the model) over the first windows, of Tenon and of
llama.cpp. What it is at goes to standard error, and nothing has a time limit. Runs under a Python with requirements-quality.txt and llama-cpp-python; `./dev bench` makes the models.
"""
import argparse
import json
import math
import os
import subprocess
import sys

REFERENCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference")
sys.path.insert(0, REFERENCE)
ERROR_WINDOWS = 4


def run(command, stdin=""):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"quality: {' '.join(command)} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return done.stdout


def say(text):
    print("   " + text, file=sys.stderr, flush=True)


def make_reference(model, text, path):
    """By model_reference.py, whose words are kept in a log; how far it is goes to the screen."""
    command = [sys.executable, os.path.join(REFERENCE, "model_reference.py"), model, text, "--out", path]
    # gptqmodel compiles its dequantisation; a run killed while it does leaves half a file, on which every later one fails.
    environment = dict(os.environ, TORCHDYNAMO_DISABLE="1")
    with open(path + ".log", "w") as log, \
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            log.write(line)
            if line.startswith("window "):
                say(f"{model}: reference, {line.strip()}")
    if process.returncode:
        sys.exit(f"quality: no reference for {model} ({process.returncode}); see {path}.log")


def reference(model, text):
    """What model_reference.py wrote; made on first use."""
    path = os.path.join(model, "reference.json") if os.path.isdir(model) else model + ".reference.json"
    if os.path.exists(path):
        say(f"kept: {path}")
    else:
        make_reference(model, text, path)
    with open(path) as file:
        return json.load(file)


def mean_error(ours, windows):
    """ours: a list of log-probs for each of some windows."""
    pairs = [pair for mine, window in zip(ours, windows) for pair in zip(mine, window["logprob"], strict=True)]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


class Tenon:
    def __init__(self, program, plugins):
        self.program, self.settings = program, ["--set", "plugins.path=" + plugins]

    def json(self, *arguments, stdin=""):
        return json.loads(run([self.program, *arguments, *self.settings], stdin))

    def logprobs(self, model, ids):
        rows = self.json("logits", model, "--ids", "--top", "1", stdin=json.dumps(ids))["positions"]
        return [row["next_logprob"] for row in rows[:-1]]


def llama_logprobs(model, windows, threads):
    from llama_peer import Peer, log_softmax
    size = len(windows[0]["ids"])
    peer, scores = Peer(model, size, size, threads), []
    for window in windows:
        ids = window["ids"]
        peer.clear()
        peer.decode([(token, i, 0, True) for i, token in enumerate(ids)])
        scores.append([float(log_softmax(peer.logits(i))[ids[i + 1]]) for i in range(size - 1)])
    peer.close()
    return scores


def perplexity(scores):
    flat = [x for window in scores for x in window]
    return math.exp(-sum(flat) / len(flat))


def measure(tenon, name, model, text, threads):
    expected = reference(model, text)
    windows, size = expected["windows"], str(expected["window"])
    say(f"{model}: perplexity by Tenon")
    ours = tenon.json("perplexity", model, text, "--window", size)
    if (ours["tokens"], ours["scored"]) != (expected["tokens"], sum(len(w["logprob"]) for w in windows)):
        sys.exit(f"quality: {model}: Tenon sees {ours['tokens']} tokens, the reference {expected['tokens']}")
    row = {"name": name, "bytes": tenon.json("plan", model, "--json")["bytes"]["weights"], "tenon": ours["perplexity"],
           "float32": expected["perplexity"],
           "tenon_error": mean_error([tenon.logprobs(model, w["ids"]) for w in windows[:ERROR_WINDOWS]], windows)}
    if os.path.isdir(model):
        return {**row, "by": "transformers", "reference": expected["perplexity"], "reference_error": None}
    say(f"{model}: log-probs by llama.cpp")
    theirs = llama_logprobs(model, windows, threads)
    return {**row, "by": "llama.cpp", "reference": perplexity(theirs),
            "reference_error": mean_error(theirs[:ERROR_WINDOWS], windows)}


def print_table(rows):
    """In Markdown, as RESULTS.md keeps it."""
    print("\n| | weights, MB | perplexity | reference | by | log-prob error | reference's |\n|---|---|---|---|---|---|---|")
    for row in rows:
        theirs = "" if row["reference_error"] is None else f"{row['reference_error']:.4f}"
        print(f"| {row['name']} | {row['bytes'] / 1e6:.1f} | {row['tenon']:.4f} | {row['reference']:.4f} | {row['by']} | "
              f"{row['tenon_error']:.4f} | {theirs} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", required=True, help="the tenon program")
    parser.add_argument("--plugins", required=True, help="plugin directory")
    parser.add_argument("--text", required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("model", nargs="+", metavar="NAME=MODEL")
    args = parser.parse_args()
    tenon, rows = Tenon(args.tenon, args.plugins), []
    for name, _, model in (item.partition("=") for item in args.model):
        rows.append(measure(tenon, name, model, args.text, args.threads))
        say(f"{name}: perplexity {rows[-1]['tenon']:.4f}")
    print_table(rows)
    if args.json:
        with open(args.json, "w") as out:
            json.dump(rows, out, indent=1)


main()
