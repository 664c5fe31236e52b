#!/usr/bin/env python3
"""Genuine tokenizer.json files: compares Tenon's ids with those of Hugging Face's tokenizers, and cuts the files to headers.

  compare PROGRAM FILE...   Random strings, among them the file's own added tokens, through tokenizer_bpe_differential or
                            tokenizer_spm_differential. Such files are large and not ours to keep, so this is run by hand.
  cut NAME=FILE...          Prints headers for golden/tokenizer_headers.json, which tokenizer_variants.py sets on a small
                            vocabulary: everything but vocabulary and merges, and of the added tokens as many as differ
                            in their flags, four of each kind. Of a tokenizer_config.json: the added tokens.

Made with: tokenizers 0.23.3.
Usage: tokenizer_genuine.py compare [-n 10000] PROGRAM FILE...
       tokenizer_genuine.py cut NAME=FILE...
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

from random_text import marked_text, random_text
from tokenizer_reference import Reference

HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
EACH = 4


def samples(spec, seed, n):
    """JSON lines of n random strings with what tokenizers makes of them."""
    ref, rng = Reference(spec), random.Random(seed)
    added = [token["content"] for token in spec["added_tokens"]]
    lines = []
    for i in range(n):
        text = (marked_text if i % 2 else random_text)(rng)
        if added and rng.random() < 0.3:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(added) + text[at:]
        lines.append(json.dumps({"text": text, "ids": ref.encode(text, True), "ids_plain": ref.encode(text, False)}))
    return "\n".join(lines)


def compare(args):
    failed = 0
    for path in args.files:
        with open(path, encoding="utf-8") as f:
            spec = json.load(f)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("config.json", "model.safetensors"):
                shutil.copy("%s/golden/llama_tiny/%s" % (HERE, name), folder)
            shutil.copy(path, folder + "/tokenizer.json")
            done = subprocess.run([args.program, "--lossy", folder], input=samples(spec, path, args.n),
                                  capture_output=True, text=True)
        failed += done.returncode != 0
        print(path, (done.stdout + done.stderr).strip(), flush=True)
    sys.exit(failed > 0)


def some_of(tokens):
    """Four of every combination of flags."""
    kept, seen = [], {}
    for token in tokens:
        kind = tuple(token[flag] for flag in FLAGS)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= EACH:
            kept.append({"content": token["content"], **{flag: token[flag] for flag in FLAGS if token[flag]}})
    return kept


def cut(args):
    for pair in args.files:
        name, path = pair.split("=", 1)
        with open(path, encoding="utf-8") as f:
            spec = json.load(f)
        if "added_tokens_decoder" in spec:
            header = {"added_tokens": some_of(spec["added_tokens_decoder"].values())}
        else:
            header = {key: spec[key] for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
            header["model"] = {k: v for k, v in spec["model"].items() if k not in ("vocab", "merges")}
            header["added_tokens"] = some_of(spec["added_tokens"])
        print(json.dumps({name: {"source": None, **header}}, ensure_ascii=False))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = ap.add_subparsers(dest="job", required=True)
    p = sub.add_parser("compare")
    p.add_argument("program")
    p.add_argument("files", nargs="+")
    p.add_argument("-n", type=int, default=10000, help="strings per file")
    p = sub.add_parser("cut")
    p.add_argument("files", nargs="+", metavar="NAME=FILE")
    args = ap.parse_args()
    compare(args) if args.job == "compare" else cut(args)


if __name__ == "__main__":
    main()
