#!/usr/bin/env python3
"""Quantise a real model's directory with gptqmodel on CPU: genuine GPTQ and AWQ checkpoints.

    python make_smollm2_quantized.py SMOLLM2_DIRECTORY --out DIR --text TEXT [--only NAME]

SMOLLM2_DIRECTORY is hf_directory.py's, in float16. Under --out each case is a directory as gptqmodel saves it. The widths of
SmolLM2-135M are no multiples of 128, the usual group, so groups have 64 inputs. Calibration: --samples sequences of
--sequence-length tokens, the very ones that `tenon quantize --calibration TEXT` takes with the same options: the whole text is
cut into equal shares, and each gives its first tokens. All of one length, none padded, so that gptqmodel's AWQ weighs them all
(of batches of unequal lengths it keeps the last).
"""
import argparse
import os

import torch
from gptqmodel.quantization import FORMAT
from tokenizers import Tokenizer

from make_gptqmodel import quantise

CASES = {
    "gptq4": dict(bits=4, group_size=64, sym=True, desc_act=False, act_group_aware=False, format=FORMAT.GPTQ),
    "gptq4-act-order": dict(bits=4, group_size=64, sym=False, desc_act=True, act_group_aware=False, format=FORMAT.GPTQ),
    "gptq8": dict(bits=8, group_size=64, sym=True, desc_act=False, act_group_aware=False, format=FORMAT.GPTQ),
    "awq4": dict(bits=4, group_size=64, sym=False, quant_method="awq", format="gemm"),
}


def sequences(source, path, count, length):
    """Samples as gptqmodel takes them: token ids, none of them masked."""
    with open(path, encoding="utf-8", newline="") as file:
        ids = Tokenizer.from_file(os.path.join(source, "tokenizer.json")).encode(file.read(), add_special_tokens=False).ids
    if len(ids) < count * length:
        raise SystemExit("%s has %d tokens, %d samples of %d need %d" % (path, len(ids), count, length, count * length))
    starts = [len(ids) // count * i for i in range(count)]
    return [{"input_ids": ids[at:at + length], "attention_mask": [1] * length} for at in starts]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("source", help="directory of the model in float16")
    ap.add_argument("--out", required=True, help="folder for the checkpoints")
    ap.add_argument("--text", required=True, help="calibration text")
    ap.add_argument("--samples", type=int, default=16)
    ap.add_argument("--sequence-length", type=int, default=256)
    ap.add_argument("--only", choices=sorted(CASES), action="append", help="this case; may be repeated")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    samples = sequences(args.source, args.text, args.samples, args.sequence_length)
    for name in args.only or CASES:
        quantise(args.source, os.path.join(args.out, name), torch.float16, samples, **CASES[name])


if __name__ == "__main__":
    main()
