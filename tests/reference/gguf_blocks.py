#!/usr/bin/env python3
"""Blocks of every GGUF tensor type with the float32 values they stand for.

For each type six blocks: three quantised from random normal data (by
llama.cpp's ggml_quantize_chunk) and three of random bytes whose scales were
replaced by finite random numbers.  The values are those of gguf-py's
dequantize; ggml's own dequantisation must agree or nothing is written.  F16
and BF16 have no blocks: 32 values stand for one here; their random blocks
contain subnormals and both infinities (no NaN).

"bytes" is the block in hex, "floats" its values as hex of little-endian
float32.

Made with: gguf 0.19.0, llama-cpp-python 0.3.36, numpy 2.4.6.
Usage: gguf_blocks.py --out golden/gguf_blocks.json
"""
import argparse
import ctypes
import json

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize
from llama_cpp import _ggml

from hf_model import versions

# Byte offsets of the float16 scales in each type's block.
SCALES = {
    T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
    T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
}
TYPES = [T.F16, T.BF16] + list(SCALES) + [T.MXFP4]


class TypeTraits(ctypes.Structure):
    """The beginning of struct ggml_type_traits."""
    _fields_ = [("name", ctypes.c_char_p), ("blck_size", ctypes.c_int64),
                ("blck_interleave", ctypes.c_int64),
                ("type_size", ctypes.c_size_t), ("is_quantized", ctypes.c_bool),
                ("to_float", ctypes.c_void_p)]


def ggml_functions():
    """Return (quantise, dequantise) working on numpy arrays."""
    lib = _ggml.libggml_base if hasattr(_ggml, "libggml_base") else _ggml.libggml
    lib.ggml_get_type_traits.restype = ctypes.POINTER(TypeTraits)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
        ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]

    def quantise(t, values):
        n, size = sizes(t)
        out = np.zeros(values.size // n * size, np.uint8)
        lib.ggml_quantize_chunk(int(t), values.ctypes.data, out.ctypes.data, 0,
                                1, values.size, None)
        return out

    def dequantise(t, data):
        n, size = sizes(t)
        out = np.zeros(data.size // size * n, np.float32)
        traits = lib.ggml_get_type_traits(int(t)).contents
        fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p,
                              ctypes.c_int64)(traits.to_float)
        fn(data.ctypes.data, out.ctypes.data, out.size)
        return out

    return quantise, dequantise


def sizes(t):
    """Values and bytes of a block (32 values for F16 and BF16)."""
    n, size = GGML_QUANT_SIZES[t]
    return (n, size) if n > 1 else (32, 32 * size)


def random_block(t, rng):
    """Random bytes that stand for numbers."""
    _, size = sizes(t)
    block = rng.integers(0, 256, size, dtype=np.uint8)
    if t in SCALES:
        for at in SCALES[t]:
            scale = np.float16(rng.uniform(-2, 2))
            block[at:at + 2] = np.frombuffer(scale.tobytes(), np.uint8)
        return block
    if t == T.MXFP4:
        block[0] = rng.integers(0, 255)  # 255 is NaN
        return block
    words = block.view(np.uint16)
    mant, exp = (0x3ff, 0x7c00) if t == T.F16 else (0x7f, 0x7f80)
    words[(words & exp) == exp] &= ~np.uint16(mant)  # no NaN
    words[:8] = [0x0000, 0x8000, exp, 0x8000 | exp, 1, 0x8001, mant, mant + 1]
    return block


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=7)
    args = ap.parse_args()
    rng = np.random.default_rng(args.seed)
    quantise, dequantise = ggml_functions()
    types = {}
    for t in TYPES:
        n, size = sizes(t)
        data = []
        for scale in (0.02, 1.0, 40.0):
            values = (rng.standard_normal(n) * scale).astype(np.float32)
            data.append(quantise(t, values))
        data += [random_block(t, rng) for _ in range(3)]
        blocks = []
        for b in data:
            want = np.asarray(dequantize(b, t), np.float32)
            if want.tobytes() != dequantise(t, b).tobytes():
                diff = np.abs(want - dequantise(t, b)).max()
                if not diff <= 1e-6 * np.abs(want).max():
                    raise SystemExit("%s: gguf-py and ggml differ" % t.name)
                print("%s: ggml differs by %g (rounding)" % (t.name, diff))
            blocks.append({"bytes": b.tobytes().hex(),
                           "floats": want.astype("<f4").tobytes().hex()})
        types[t.name] = {"id": int(t), "block_values": n, "block_bytes": size,
                         "blocks": blocks}
    with open(args.out, "w") as f:
        json.dump({"versions": versions("gguf", "llama-cpp-python", "numpy"),
                   "types": types}, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
