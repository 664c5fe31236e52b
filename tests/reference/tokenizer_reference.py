#!/usr/bin/env python3
"""Reference tokenizer for GGUF files with a byte-level BPE ("gpt2") vocabulary.

Two jobs:
  convert   build a Hugging Face tokenizer.json from the GGUF's tokens, merges,
            token types and pre-tokenizer name (tokenizer.ggml.pre)
  samples   print N seeded random strings with their token ids, one JSON object
            a line: {"text": ..., "ids": [...], "ids_plain": [...]}.  In "ids"
            the text of special (control) tokens is taken as those tokens; in
            "ids_plain" it is ordinary text.  Neither has a BOS token added.
            Characters with a UTF-8 byte that the vocabulary has no token for
            are left out of the strings: tokenizers drops such bytes before
            merging, llama.cpp after it, so that there is no one right answer.

The pre-tokenizers (names as in tokenizer.ggml.pre) are those which llama.cpp
defines for the same names.  No Unicode normalisation takes place.

Made with: tokenizers 0.23.3, gguf 0.19.0.
Usage: tokenizer_reference.py convert MODEL.gguf --out tokenizer.json
       tokenizer_reference.py samples MODEL.gguf -n 1000 [--seed 1]
"""
import argparse
import gzip
import json
import random
import sys

from gguf import GGUFReader
from tokenizers import Tokenizer

from random_text import random_text

CONTROL, USER_DEFINED = 3, 4

GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)|\s+")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Each pre-tokenizer is a list of regexes, applied one after another to the
# pieces so far: every match is a piece and so is the text between matches.
PRE = {
    "gpt-2": [GPT2],
    "default": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [CL100K % "{1,3}"],
    "qwen2": [CL100K % ""],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
}
IGNORE_MERGES = {"llama-bpe"}


def read_meta(path):
    """Return the tokenizer metadata of a GGUF as a dict."""
    return {k: f.contents() for k, f in GGUFReader(path).fields.items()
            if k.startswith("tokenizer.")}


def tokenizer_json(meta, pre=None):
    """Return tokenizer.json as a dict; `pre` overrides tokenizer.ggml.pre."""
    if meta["tokenizer.ggml.model"] != "gpt2":
        raise SystemExit("not a byte-level BPE vocabulary")
    pre = pre or meta.get("tokenizer.ggml.pre", "default")
    if pre not in PRE:
        raise SystemExit("unknown pre-tokenizer " + pre)
    tokens = meta["tokenizer.ggml.tokens"]
    types = meta.get("tokenizer.ggml.token_type", [1] * len(tokens))
    steps = [{"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated",
              "invert": False} for r in PRE[pre]]
    steps.append({"type": "ByteLevel", "add_prefix_space": False,
                  "trim_offsets": True, "use_regex": False})
    added = [{"id": i, "content": tokens[i], "single_word": False,
              "lstrip": False, "rstrip": False, "normalized": False,
              "special": t == CONTROL}
             for i, t in enumerate(types) if t in (CONTROL, USER_DEFINED)]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True,
                    "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": pre in IGNORE_MERGES,
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": [m.split(" ", 1)
                             for m in meta["tokenizer.ggml.merges"]]},
    }


def byte_chars():
    """Return the 256 characters that stand for bytes in such a vocabulary."""
    shown = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    table = {b: chr(b) for b in shown}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(shown))
    return [table[b] for b in range(256)]


class Reference:
    """Encodes texts with and without recognising special tokens."""

    def __init__(self, spec):
        text = json.dumps(spec, ensure_ascii=False)
        self.special = Tokenizer.from_str(text)
        self.plain = Tokenizer.from_str(text)
        self.plain.encode_special_tokens = True

    def encode(self, text, parse_special):
        tok = self.special if parse_special else self.plain
        return tok.encode(text, add_special_tokens=False).ids


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = ap.add_subparsers(dest="job", required=True)
    for job in ("convert", "samples"):
        p = sub.add_parser(job)
        p.add_argument("model", help="GGUF file")
        p.add_argument("--pre", choices=sorted(PRE),
                       help="use this pre-tokenizer, not the file's")
        if job == "convert":
            p.add_argument("--out", required=True,
                           help="tokenizer.json, compressed if named .gz")
        else:
            p.add_argument("-n", type=int, default=1000)
            p.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    spec = tokenizer_json(read_meta(args.model), args.pre)
    if args.job == "convert":
        data = json.dumps(spec, ensure_ascii=False,
                          separators=(",", ":")).encode()
        if args.out.endswith(".gz"):
            data = gzip.compress(data, 9, mtime=0)
        with open(args.out, "wb") as f:
            f.write(data)
        return
    ref, rng = Reference(spec), random.Random(args.seed)
    missing = {b for b, c in enumerate(byte_chars())
               if c not in spec["model"]["vocab"]}
    for _ in range(args.n):
        text = "".join(c for c in random_text(rng)
                       if not missing.intersection(c.encode()))
        sys.stdout.write(json.dumps({
            "text": text, "ids": ref.encode(text, True),
            "ids_plain": ref.encode(text, False)},
            separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
