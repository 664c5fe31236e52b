#!/usr/bin/env python3
"""Prints seeded random strings with the ids that llama.cpp gives them, for tokenizer_spm_differential or the other one.

Lines are those of tokenizer_reference.py samples; special tokens are recognised in "ids" and are text in "ids_plain".

Made with: llama-cpp-python 0.3.36.
Usage: llama_tokens.py MODEL.gguf [-n 1000] [--seed 1]
"""
import argparse
import json
import random

from llama_cpp import Llama

from random_text import random_text

EXTRA = ["<start_of_turn>", "<end_of_turn>", "<|user|>\n ", "<|end|> x", "  ", "   ", "\n\n", "\t\t", "\u2581",
         "\u2581\u2581", "<0x0A>", "<table>", "</s>", "\u3000", "\ufb01"]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("-n", type=int, default=1000)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    model, rng = Llama(args.model, vocab_only=True, verbose=False), random.Random(args.seed)
    for _ in range(args.n):
        text = random_text(rng)
        if rng.random() < 0.4:
            text += rng.choice(EXTRA) * rng.randint(1, 3) + text[:20]
        text = text.replace("\0", "")  # ends a text there
        print(json.dumps({"text": text, "ids": model.tokenize(text.encode(), add_bos=False, special=True),
                          "ids_plain": model.tokenize(text.encode(), add_bos=False, special=False)}))


if __name__ == "__main__":
    main()
