#!/usr/bin/env python3
"""Benchmark llama.cpp on a GGUF, to compare the runtime with.

Measured (tokens per second; each the median of --repeat runs):
  prefill_512            512 tokens into an empty context, one batch
  prefill_512_at_2048    the same after 2048 tokens
  decode_128             128 tokens, one a step, after a prompt of 8 tokens
  decode_64_at_2048      64 tokens after 2048 tokens
  streams_N (1, 8, 32)   N sequences decode 64 tokens each after 8 tokens each,
                         one llama_decode a step with one token a sequence
Prompts are random token ids.  Decoding is greedy: each step reads the logits
of every sequence by numpy's argmax and feeds the result back.  Everything is
measured with flash attention off and on, the streams also with a unified and
a split KV cache; "best" has the higher median of each and "all" has them all.
llama_synchronize is called before the clock is read.

Made with: llama-cpp-python 0.3.36, numpy 2.4.6.
Usage: peer_llama.py MODEL.gguf [--threads 2] [--repeat 3] [--only decode_128]
Prints one JSON object.
"""
import argparse
import json
import os
import random
import statistics
import sys
import time
from importlib.metadata import version

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "reference"))
from llama_peer import L, Peer  # noqa: E402

DEPTH, PROMPT = 2048, 8


def load_average():
    """The machine's load average over the last minute."""
    return os.getloadavg()[0]


class Bench:
    """One context in which the measurements are made."""

    def __init__(self, args, n_seq, flash, unified):
        n_ctx = (n_seq * 128 if n_seq > 1 else DEPTH + 512 + 64)
        self.peer = Peer(args.model, n_ctx, 512, args.threads, n_seq, flash,
                         unified)
        self.rng = random.Random(args.seed)
        self.n_seq = n_seq

    def random_ids(self, n):
        return [self.rng.randrange(self.peer.n_vocab) for _ in range(n)]

    def clock(self):
        L.llama_synchronize(self.peer.ctx)
        return time.perf_counter()

    def fill(self, start, n):
        """Decode n random tokens from position `start` of sequence 0 on."""
        ids = self.random_ids(n)
        for i in range(0, n, 512):
            part = ids[i:i + 512]
            self.peer.decode([(t, start + i + k, 0, i + k == n - 1)
                              for k, t in enumerate(part)])

    def rewind(self, pos):
        L.llama_memory_seq_rm(L.llama_get_memory(self.peer.ctx), 0, pos, -1)

    def prefill(self, depth):
        """Seconds for 512 tokens at `depth`, which is already filled."""
        self.rewind(depth)
        t = self.clock()
        self.fill(depth, 512)
        int(self.peer.logits(511).argmax())
        return self.clock() - t

    def steps(self, toks, pos, n):
        """Seconds for n greedy steps of all sequences."""
        t = self.clock()
        for i in range(n):
            self.peer.decode([(tok, pos + i, s, True)
                              for s, tok in enumerate(toks)])
            toks = [int(self.peer.logits(s).argmax()) for s in range(len(toks))]
        return self.clock() - t

    def decode(self, depth, n):
        """Seconds for n single-stream greedy steps at `depth`."""
        self.rewind(depth)
        return self.steps(self.random_ids(1), depth, n)

    def streams(self, n):
        """Seconds for n steps of all sequences after a short prompt each."""
        self.peer.clear()
        self.peer.decode([(t, i, s, False) for s in range(self.n_seq)
                          for i, t in enumerate(self.random_ids(PROMPT))])
        return self.steps(self.random_ids(self.n_seq), PROMPT, n)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", action="append", metavar="NAME",
                    help="measure only this (may be given more than once)")
    args = ap.parse_args()
    results = {}

    def wanted(name):
        return not args.only or name in args.only

    def measure(name, how, tokens, run):
        if not wanted(name):
            return
        rates = [tokens / run() for _ in range(args.repeat)]
        results.setdefault(name, {})[how] = round(statistics.median(rates), 2)

    load_before = load_average()
    for flash in (False, True):
        how = "flash_on" if flash else "flash_off"
        if any(map(wanted, ("prefill_512", "prefill_512_at_2048", "decode_128",
                            "decode_64_at_2048", "streams_1"))):
            b = Bench(args, 1, flash, None)
            b.prefill(0)  # warm up: page the weights in
            measure("prefill_512", how, 512, lambda: b.prefill(0))
            b.rewind(0)
            b.fill(0, PROMPT)
            b.decode(PROMPT, 4)
            measure("decode_128", how, 128, lambda: b.decode(PROMPT, 128))
            measure("streams_1", how, 64, lambda: b.streams(64))
            if wanted("prefill_512_at_2048") or wanted("decode_64_at_2048"):
                b.rewind(0)
                b.fill(0, DEPTH)
                measure("prefill_512_at_2048", how, 512,
                        lambda: b.prefill(DEPTH))
                measure("decode_64_at_2048", how, 64,
                        lambda: b.decode(DEPTH, 64))
            b.peer.close()
        for n in (8, 32):
            if not wanted("streams_%d" % n):
                continue
            for unified in (True, False):
                b = Bench(args, n, flash, unified)
                b.streams(4)
                measure("streams_%d" % n,
                        how + (",kv_unified" if unified else ",kv_split"),
                        64 * n, lambda: b.streams(64))
                b.peer.close()
    best = {name: max(r.values()) for name, r in results.items()}
    info = L.llama_print_system_info().decode().strip()
    print(json.dumps({
        "model": os.path.basename(args.model), "threads": args.threads,
        "repeat": args.repeat, "unit": "tokens/s",
        "llama_cpp_python": version("llama-cpp-python"), "system": info,
        "load_before": round(load_before, 2),
        "load_after": round(load_average(), 2),
        "best": best, "all": results}, indent=1))


if __name__ == "__main__":
    main()
