#!/usr/bin/env python3
"""Perplexity of 50 kB of the King James Bible: within 0.5 % of llama.cpp's on the same file and windows, and nearer to the
float32 reference than llama.cpp is."""
import json
import os

from tenon_process import GOLDEN, golden, model, tenon


def main():
    expected = golden("smollm2_perplexity.json")
    out = json.loads(tenon("perplexity", model(), os.path.join(GOLDEN, "bible_50k.txt"), "--window", str(expected["window"])))
    ours, peer, reference = out["perplexity"], expected["llama_cpp"]["perplexity"], expected["reference_f32"]["perplexity"]
    print(f"perplexity: Tenon {ours:.5f}, llama.cpp {peer:.5f}, float32 reference {reference:.5f}")
    assert out["tokens"] == expected["n_tokens"] and out["scored"] == expected["n_scored"], out
    assert abs(ours / peer - 1) <= 0.005 + abs(peer / reference - 1)
    assert abs(ours - reference) <= abs(peer - reference)


main()
