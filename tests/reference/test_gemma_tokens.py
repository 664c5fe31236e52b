#!/usr/bin/env python3
"""100,000 random strings on Gemma's vocabulary: Tenon's ids are llama.cpp's (golden/gemma3_tokens.json, a hash per 1,000 strings).
argv: the tokenizer_spm_differential program. Needs TENON_TEST_GEMMA. Where a hash differs, `llama_tokens.py MODEL -n N |
tokenizer_spm_differential --lossy MODEL` shows the string."""
import json
import os
import random
import subprocess
import sys
import tempfile

from id_digests import PER, Digests
from random_text import marked_text
from tenon_process import golden


def main():
    path, expected = os.environ.get("TENON_TEST_GEMMA"), golden("gemma3_tokens.json")
    if not path:
        print("TENON_TEST_GEMMA is not set: skipped")
        sys.exit(77)
    rng, digests = random.Random(expected["seed"]), Digests()
    texts = [marked_text(rng) for _ in range(expected["n"])]
    with tempfile.TemporaryFile("w+") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        lines.seek(0)
        with subprocess.Popen([sys.argv[1], "--print", path], stdin=lines, stdout=subprocess.PIPE, text=True) as program:
            for text, line in zip(texts, program.stdout, strict=True):
                digests.add(text, *json.loads(line))
    assert program.returncode == 0
    wrong = [i for i, (ours, theirs) in enumerate(zip(digests.done, expected["digests"], strict=True)) if ours != theirs]
    print(f"{expected['n']} strings, {len(wrong)} of {len(digests.done)} blocks of {PER} differ")
    assert not wrong and len(digests.done) == expected["n"] // PER, wrong[:10]


main()
