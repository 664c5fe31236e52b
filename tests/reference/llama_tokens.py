#!/usr/bin/env python3
"""Prints seeded random strings with the ids that llama.cpp gives them, for tokenizer_spm_differential or the other one.

Lines are those of tokenizer_reference.py samples; special tokens are recognised in "ids" and are text in "ids_plain".

Made with: llama-cpp-python 0.3.36.
Usage: llama_tokens.py MODEL.gguf [-n 1000] [--seed 1] [--digests golden/gemma3_tokens.json]
"""
import argparse
import json
import random
from importlib.metadata import version

from llama_cpp import Llama

from id_digests import Digests
from random_text import marked_text


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("-n", type=int, default=1000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--digests", metavar="FILE", help="write no lines but a hash for each PER of them")
    args = ap.parse_args()
    model, rng = Llama(args.model, vocab_only=True, verbose=False), random.Random(args.seed)
    digests = Digests()
    for _ in range(args.n):
        text = marked_text(rng)
        ids, plain = (model.tokenize(text.encode(), add_bos=False, special=special) for special in (True, False))
        if args.digests:
            digests.add(text, ids, plain)
        else:
            print(json.dumps({"text": text, "ids": ids, "ids_plain": plain}))
    if args.digests:
        with open(args.digests, "w") as out:
            json.dump({"versions": {"llama-cpp-python": version("llama-cpp-python")}, "n": args.n, "seed": args.seed,
                       "digests": digests.done}, out, indent=0)
            out.write("\n")


if __name__ == "__main__":
    main()
