#!/usr/bin/env python3
"""Quantise a real model's directory with gptqmodel on CPU: genuine GPTQ and AWQ checkpoints.

    python make_smollm2_quantized.py SMOLLM2_DIRECTORY --out DIR --text FILE... [--only NAME]

SMOLLM2_DIRECTORY is hf_directory.py's, in float16. Under --out each case is a directory as gptqmodel saves it. The widths of
SmolLM2-135M are no multiples of 128, the usual group, so groups have 64 inputs. Calibration: the files one after another, cut
into pieces of 1,500 characters, of which the first --samples are taken; Debian's package fortunes has such files
(/usr/share/games/fortunes/people and others).
"""
import argparse
import os

import torch
from gptqmodel.quantization import FORMAT

from make_gptqmodel import quantise

PIECE = 1500
CASES = {
    "gptq4": dict(bits=4, group_size=64, sym=True, desc_act=False, act_group_aware=False, format=FORMAT.GPTQ),
    "gptq4-act-order": dict(bits=4, group_size=64, sym=False, desc_act=True, act_group_aware=False, format=FORMAT.GPTQ),
    "gptq8": dict(bits=8, group_size=64, sym=True, desc_act=False, act_group_aware=False, format=FORMAT.GPTQ),
    "awq4": dict(bits=4, group_size=64, sym=False, quant_method="awq", format="gemm"),
}


def pieces(paths, count):
    texts = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        texts += [text[at:at + PIECE] for at in range(0, len(text) - PIECE + 1, PIECE)]
    if len(texts) < count:
        raise SystemExit("the text has %d pieces of %d characters, fewer than %d" % (len(texts), PIECE, count))
    return texts[:count]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("source", help="directory of the model in float16")
    ap.add_argument("--out", required=True, help="folder for the checkpoints")
    ap.add_argument("--text", required=True, nargs="+", help="files of calibration text")
    ap.add_argument("--samples", type=int, default=16)
    ap.add_argument("--only", choices=sorted(CASES), action="append", help="this case; may be repeated")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    texts = pieces(args.text, args.samples)
    for name in args.only or CASES:
        quantise(args.source, os.path.join(args.out, name), torch.float16, texts, **CASES[name])


if __name__ == "__main__":
    main()
