#!/usr/bin/env python3
"""Perplexity of 50 kB of the King James Bible, over the same windows as llama.cpp and a float32 reference.

llama.cpp rounds activations to 8 bits on this Q4_1 file, which alone moves its own perplexity by 0.53 %; run on a float32 copy of
the very same weights it agrees with the reference to 0.002 %. So Tenon must be within 0.5 % of llama.cpp on those weights, and nearer to
the float32 reference than llama.cpp is on this file."""
import json
import os

from tenon_process import GOLDEN, golden, model, tenon


def main():
    expected = golden("smollm2_perplexity.json")
    out = json.loads(tenon("perplexity", model(), os.path.join(GOLDEN, "bible_50k.txt"), "--window", str(expected["window"])))
    ours, peer, reference = out["perplexity"], expected["llama_cpp"]["perplexity"], expected["reference_f32"]["perplexity"]
    exact = expected["llama_cpp_other_files"]["f32_copy"]
    print(f"perplexity: Tenon {ours:.5f}, llama.cpp {peer:.5f} (on float32 weights {exact:.5f}), float32 reference {reference:.5f}")
    assert out["tokens"] == expected["n_tokens"] and out["scored"] == expected["n_scored"], out
    assert abs(ours / exact - 1) <= 0.005
    assert abs(ours - reference) <= abs(peer - reference)


main()
