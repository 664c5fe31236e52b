#!/usr/bin/env python3
"""Perplexity of a text by llama.cpp and by the float32 reference.

Definition (also stated in the file): the text is tokenised without a BOS
token and without special tokens; the tokens are cut into consecutive windows
of 512 that do not overlap, a shorter rest is dropped; each window starts from
an empty context and its tokens at positions 1..511 are scored given all tokens
before them in the window; perplexity is exp of the mean negative log-prob.

Made with: llama-cpp-python 0.3.36, torch 2.15.0, transformers 5.23.0,
gguf 0.19.0 (recorded in the file).
Usage: perplexity.py MODEL.gguf TEXT --out golden/smollm2_perplexity.json
"""
import argparse
import hashlib
import json
import math

from hf_model import load, logits, versions
from llama_peer import Peer, log_softmax

WINDOW = 512


def window_nll(rows, ids):
    """Sum of negative log-probs of ids[1:]; row i predicts ids[i + 1]."""
    lp = log_softmax(rows)
    return -sum(lp[i, ids[i + 1]] for i in range(len(ids) - 1))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("text")
    ap.add_argument("--out", required=True)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--peer-only", action="append", default=[], metavar="NAME=GGUF",
                    help="also measure this other file by llama.cpp alone")
    args = ap.parse_args()
    with open(args.text, "rb") as f:
        raw = f.read()

    def peer_run(path):
        peer = Peer(path, WINDOW, WINDOW, args.threads)
        ids = peer.tokenize(raw.decode())
        wins = [ids[i:i + WINDOW] for i in range(0, len(ids), WINDOW)
                if i + WINDOW <= len(ids)]
        out = []
        for w in wins:
            peer.clear()
            peer.decode([(t, i, 0, True) for i, t in enumerate(w)])
            out.append(sum(window_nll_row(peer.logits(i), w[i + 1])
                           for i in range(WINDOW - 1)))
        peer.close()
        return ids, wins, out

    def window_nll_row(row, tok):
        return -float(log_softmax(row)[tok])

    def ppl(nlls):
        return math.exp(sum(nlls) / (len(nlls) * (WINDOW - 1)))

    ids, wins, peer_nll = peer_run(args.model)
    model, _ = load(args.model)
    ref_nll = [float(window_nll(logits(model, w).numpy(), w)) for w in wins]
    others = {}
    for item in args.peer_only:
        name, path = item.split("=", 1)
        others[name] = round(ppl(peer_run(path)[2]), 5)
    out = {
        "definition": " ".join(__doc__.split("\n\n")[1].split()),
        "versions": versions("llama-cpp-python", "torch", "transformers", "gguf"),
        "text_sha256": hashlib.sha256(raw).hexdigest(), "text_bytes": len(raw),
        "window": WINDOW, "n_tokens": len(ids), "n_windows": len(wins),
        "n_scored": len(wins) * (WINDOW - 1),
        "first_window_ids": wins[0],
        "llama_cpp": {"perplexity": round(ppl(peer_nll), 5),
                      "window_nll": [round(x, 4) for x in peer_nll]},
        "reference_f32": {"perplexity": round(ppl(ref_nll), 5),
                          "window_nll": [round(x, 4) for x in ref_nll]},
        "llama_cpp_other_files": others,
    }
    with open(args.out, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")
    print("perplexity: llama.cpp %.5f, reference %.5f" %
          (ppl(peer_nll), ppl(ref_nll)))


if __name__ == "__main__":
    main()
