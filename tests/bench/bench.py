#!/usr/bin/env python3
"""Tenon beside llama.cpp on the same GGUF file, in one run: ratios, and shares of this machine's limits.

Both sides run alternately (--rounds times), never at the same time; the median of the rounds counts. Bytes per token are
those of the file's weights, read once per step (the token embedding only as output matrix), plus, at depth, the KV
cache; operations are two per weight outside the embedding and token. Needs numpy and llama-cpp-python; `./dev bench` installs them.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = ["prefill_512", "decode_128", "prefill_512_at_2048", "decode_64_at_2048", "streams_1", "streams_8", "streams_32"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: {command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def best(peer, name):
    value = peer["best"].get(name) if "best" in peer else peer.get(name)
    return value["tokens_per_s"] if isinstance(value, dict) else value


def limit(name, plan, limits):
    """Tokens per second that the machine's own ceilings allow for a figure."""
    weights = plan["bytes"]["weights"]
    streams = int(name.split("_")[1]) if name.startswith("streams") else 1
    if name.startswith("prefill"):
        return limits["i16_multiply_adds_per_s"] / plan["multiply_adds_per_token"]
    kv = plan["kv_token_bytes"] * (2048 if name.endswith("2048") else 40) * streams
    by_bytes = limits["read_bytes_per_s"] / (weights + kv) * streams
    by_operations = limits["i16_multiply_adds_per_s"] / plan["multiply_adds_per_token"]
    return min(by_bytes, by_operations)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", required=True, help="the tenon program")
    parser.add_argument("--engine", required=True, help="the bench_engine program")
    parser.add_argument("--plugins", required=True, help="plugin directory")
    parser.add_argument("--model", required=True, action="append", help="GGUF file; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="write everything measured to this file")
    args = parser.parse_args()
    everything = {}
    for model in args.model:
        plan = run([args.tenon, "plan", model, "--json", "--set", f"plugins.path={args.plugins}"])
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run([args.engine, model, "1", f"plugins.path={args.plugins}", f"cpu.threads={args.threads}"]))
            theirs.append(run([sys.executable, os.path.join(HERE, "peer_llama.py"), model, "--threads", str(args.threads),
                               "--repeat", "1"]))
        limits = max((o["limits"] for o in ours), key=lambda l: l["read_bytes_per_s"])
        print(f"\n{os.path.basename(model)}, {args.threads} threads, median of {args.rounds} rounds; this machine reads "
              f"{limits['read_bytes_per_s'] / 1e9:.1f} GB/s, does {limits['f32_multiply_adds_per_s'] / 1e9:.0f} G float32 and "
              f"{limits['i16_multiply_adds_per_s'] / 1e9:.0f} G int16 multiply-adds/s")
        print(f"{'':22}{'Tenon':>10}{'llama.cpp':>11}{'ratio':>8}{'share of limit':>16}")
        for name in FIGURES:
            mine = statistics.median(o[name] for o in ours)
            peer = statistics.median(best(t, name) for t in theirs)
            share = mine / limit(name, plan, limits)
            print(f"{name:22}{mine:10.1f}{peer:11.1f}{mine / peer:8.2f}{share:15.0%}")
        everything[os.path.basename(model)] = {"tenon": ours, "llama.cpp": theirs, "plan": plan}
    if args.json:
        with open(args.json, "w") as out:
            json.dump(everything, out, indent=1)


main()
