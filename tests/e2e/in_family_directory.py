#!/usr/bin/env python3
"""Run a program over a tiny checkpoint that has been given a tokenizer.

  in_family_directory.py FAMILIES NAME PROGRAM [ARGUMENT...]

An argument {} stands for the directory.
"""
import json
import os
import subprocess
import sys
import tempfile

VOCAB = 96


def byte_characters():
    """The 256 characters that byte-level BPE writes bytes as, by byte."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def tokenizer():
    """As many single bytes as the models have rows; requests here are token ids, never text."""
    characters = byte_characters()
    vocab = {characters[b]: i for i, b in enumerate(sorted(characters)[:VOCAB])}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": vocab, "merges": []}}


def main():
    families, name, *command = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for file in ("config.json", "model.safetensors"):
            os.symlink(os.path.join(families, name, file), os.path.join(folder, file))
        with open(os.path.join(folder, "tokenizer.json"), "w") as out:
            json.dump(tokenizer(), out)
        return subprocess.run([folder if part == "{}" else part for part in command]).returncode


if __name__ == "__main__":
    sys.exit(main())
