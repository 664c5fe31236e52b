#!/usr/bin/env python3
"""Whole quantized checkpoints of the real model (make_smollm2_quantized.py) against the library that wrote them: every dequantised
weight to the last bit, the likeliest tokens where the lead is clear, log-probs and perplexity against float32 on the same weights.

argv: the test_gptq_values and test_awq_values programs. Needs TENON_TEST_QUANTIZED, a folder of directories that each have a
checkpoint and its reference.json (model_reference.py); `./dev bench` makes one."""
import json
import os
import subprocess
import sys

from tenon_process import GOLDEN, tenon

# Log-probs: keys and values are float16, and activations are rounded for the tile unit; measured on a float32 copy of the weights and
# on 4-bit ones alike.
MEAN_BOUND, PERPLEXITY_BOUND, GAP, WINDOWS = 0.005, 1e-3, 0.1, 2


def read_json(*path):
    with open(os.path.join(*path)) as file:
        return json.load(file)


def check_tokens(directory, windows):
    errors, clear, wrong = [], 0, 0
    for window in windows[:WINDOWS]:
        rows = json.loads(tenon("logits", directory, "--ids", "--top", "1", stdin=json.dumps(window["ids"])))["positions"]
        for row, logprob, best, gap in zip(rows, window["logprob"], window["argmax"], window["gap"]):
            errors.append(abs(row["next_logprob"] - logprob))
            clear += gap > GAP
            wrong += gap > GAP and row["top"][0][0] != best
    mean = sum(errors) / len(errors)
    print(f"  {wrong} of {clear} clear tokens differ ({len(errors)} positions); log-prob error mean {mean:.5f} max {max(errors):.4f}")
    assert wrong == 0 and clear > len(errors) * 0.9 and mean <= MEAN_BOUND


def check_directory(programs, directory):
    expected, method = read_json(directory, "reference.json"), read_json(directory, "config.json")["quantization_config"]["quant_method"]
    print(directory, flush=True)
    subprocess.run([programs[method], directory], check=True, stdout=subprocess.DEVNULL)
    print(f"  {len(expected['weights'])} weights are those of gptqmodel")
    assert len(expected["weights"]) == 210
    check_tokens(directory, expected["windows"])
    out = json.loads(tenon("perplexity", directory, os.path.join(GOLDEN, "bible_50k.txt"), "--window", str(expected["window"])))
    print(f"  perplexity: Tenon {out['perplexity']:.5f}, float32 reference {expected['perplexity']:.5f}", flush=True)
    assert out["tokens"] == expected["tokens"] and abs(out["perplexity"] / expected["perplexity"] - 1) <= PERPLEXITY_BOUND


def main():
    folder = os.environ.get("TENON_TEST_QUANTIZED")
    if not folder:
        print("TENON_TEST_QUANTIZED is not set: skipped")
        sys.exit(77)
    programs = dict(zip(("gptq", "awq"), sys.argv[1:]))
    found = sorted(entry.path for entry in os.scandir(folder)
                   if os.path.exists(os.path.join(entry.path, "reference.json")) and read_json(entry.path, "reference.json")["weights"])
    assert found, f"{folder}: no directory with a quantized checkpoint and its reference.json"
    for directory in found:
        check_directory(programs, directory)


main()
