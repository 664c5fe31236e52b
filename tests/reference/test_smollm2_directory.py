#!/usr/bin/env python3
"""The real model as a Hugging Face directory (hf_directory.py, float32: not a value changes) is the model of the GGUF.

Tokens and prompts must be equal to those on the GGUF; log-probs along 5 of the golden prompts, and the perplexity, must be those of
the float32 reference (golden/smollm2_greedy.json, golden/smollm2_perplexity.json). Measured: 0.0031 at the largest, 0.002 %; keys
and values are stored as float16. Skipped where the packages gguf and numpy are missing."""
import json
import os
import sys
import tempfile

from tenon_process import GOLDEN, golden, model, tenon

try:
    from hf_directory import write_directory
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)

BOUND, PERPLEXITY_BOUND = 0.005, 1e-4


def check_same_text(path, folder):
    with open(os.path.join(GOLDEN, "bible_50k.txt")) as file:
        text = file.read(4000) + " <|im_start|>1234 héllo\n\n\t日本<|im_end|>"
    for arguments, stdin in ((["tokenize"], text), (["detokenize"], "[2, 1200, 48000, 17, 1, 301]"),
                             (["chat-template"], json.dumps({"messages": [{"role": "user", "content": text}]}))):
        theirs, ours = (tenon(arguments[0], where, *arguments[1:], stdin=stdin) for where in (path, folder))
        assert ours == theirs and len(ours) > 10, f"{arguments[0]}: {ours[:200]} on the directory, {theirs[:200]} on the GGUF"


def check_logprobs(folder):
    worst, steps = 0, 0
    for prompt in golden("smollm2_greedy.json")["prompts"][::4]:
        ids = prompt["prompt_ids"] + prompt["greedy_ids"]
        rows = json.loads(tenon("logits", folder, "--ids", "--top", "1", stdin=json.dumps(ids)))["positions"]
        for row, expected in zip(rows[len(prompt["prompt_ids"]) - 1:], prompt["reference_logprob"]):
            worst, steps = max(worst, abs(row["next_logprob"] - expected)), steps + 1
    print(f"{steps} steps, largest log-prob error {worst:.4f}")
    assert steps == 320 and worst <= BOUND


def check_perplexity(folder):
    expected = golden("smollm2_perplexity.json")
    out = json.loads(tenon("perplexity", folder, os.path.join(GOLDEN, "bible_50k.txt"), "--window", str(expected["window"])))
    reference = expected["reference_f32"]["perplexity"]
    print(f"perplexity: Tenon {out['perplexity']:.5f}, float32 reference {reference:.5f}")
    assert out["tokens"] == expected["n_tokens"] and out["scored"] == expected["n_scored"], out
    assert abs(out["perplexity"] / reference - 1) <= PERPLEXITY_BOUND


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_directory(model(), "float32", folder)
        check_same_text(model(), folder)
        check_logprobs(folder)
        check_perplexity(folder)


main()
