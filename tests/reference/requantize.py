#!/usr/bin/env python3
"""Make copies of a GGUF model in other tensor types by llama.cpp's quantiser.

The source's tensors (which may be quantised) are dequantised to float32 and
quantised anew.  Rows that a K-quant cannot hold (a length that is no multiple
of 256) get the type that llama.cpp falls back to.

Made with: llama-cpp-python 0.3.36.
Usage: requantize.py MODEL.gguf --out-prefix PREFIX- f16 bf16 q8_0 q4_0 q4_k_m
"""
import argparse
import ctypes

import llama_cpp as L


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("types", nargs="+", help="f32, f16, q8_0, q4_k_m, ...")
    ap.add_argument("--out-prefix", required=True)
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    L.llama_backend_init()
    for name in args.types:
        p = L.llama_model_quantize_default_params()
        p.nthread = args.threads
        p.allow_requantize = True
        p.ftype = (L.LLAMA_FTYPE_ALL_F32 if name == "f32" else
                   getattr(L, "LLAMA_FTYPE_MOSTLY_" + name.upper()))
        out = args.out_prefix + name + ".gguf"
        if L.llama_model_quantize(args.model.encode(), out.encode(),
                                  ctypes.byref(p)):
            raise SystemExit("could not make " + out)


if __name__ == "__main__":
    main()
