#!/usr/bin/env python3
"""Tenon beside llama.cpp on the same GGUF file, in one run: ratios, and shares of this machine's limits.

Both sides run alternately (--rounds times), never at the same time; the median of the rounds counts, for llama.cpp that of the
build (--peer, one folder each) that is best at the figure. Bytes per token are those of the file's weights, read once per step (the
token embedding only as output matrix), plus, at depth, the KV cache; the matrix peak is the fastest unit's that was measured, one
multiply-add per weight outside the embedding and token. `./dev bench` builds the peers.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = ["prefill_512", "decode_128", "prefill_512_at_2048", "decode_64_at_2048", "streams_1", "streams_8", "streams_32"]


def run(command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **environment))
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def matrix_peak(limits):
    return max(limits[unit + "_multiply_adds_per_s"] for unit in ("f32", "i16", "tile"))


def limit(name, plan, limits):
    """Tokens per second that the machine's own ceilings allow for a figure."""
    by_operations = matrix_peak(limits) / plan["multiply_adds_per_token"]
    if name.startswith("prefill"):
        return by_operations
    streams = int(name.split("_")[1]) if name.startswith("streams") else 1
    kv = plan["kv_token_bytes"] * (2048 if name.endswith("2048") else 40) * streams
    return min(limits["read_bytes_per_s"] / (plan["bytes"]["weights"] + kv) * streams, by_operations)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenon", required=True, help="the tenon program")
    parser.add_argument("--engine", required=True, help="the bench_engine program")
    parser.add_argument("--plugins", required=True, help="plugin directory")
    parser.add_argument("--model", required=True, action="append", help="GGUF file; may be repeated")
    parser.add_argument("--peer", required=True, action="append", help="folder with a build of llama-cpp-python; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=FIGURES, help="measure only this figure")
    parser.add_argument("--json", help="write everything measured to this file")
    args = parser.parse_args()
    only, everything = (["--only", args.only] if args.only else []), {}
    for model in args.model:
        plan = run([args.tenon, "plan", model, "--json", "--set", f"plugins.path={args.plugins}"])
        ours, theirs = [], {peer: [] for peer in args.peer}
        for _ in range(args.rounds):
            ours.append(run([args.engine, model, "1", *only, f"plugins.path={args.plugins}", f"cpu.threads={args.threads}"]))
            for peer in args.peer:
                theirs[peer].append(run([sys.executable, os.path.join(HERE, "peer_llama.py"), model, "--threads", str(args.threads),
                                         "--repeat", "1", *only], PYTHONPATH=peer))
        limits = {key: statistics.median(o["limits"][key] for o in ours) for key in ours[0]["limits"]}
        print(f"\n{os.path.basename(model)}, {args.threads} threads, median of {args.rounds} rounds; this machine reads "
              f"{limits['read_bytes_per_s'] / 1e9:.1f} GB/s; multiply-adds/s: {limits['f32_multiply_adds_per_s'] / 1e9:.0f} G float32, "
              f"{limits['i16_multiply_adds_per_s'] / 1e9:.0f} G int16, {limits['tile_multiply_adds_per_s'] / 1e9:.0f} G in tiles")
        print(f"{'':22}{'Tenon':>10}{'llama.cpp':>11}{'ratio':>8}{'limit':>10}{'Tenon':>8}{'llama.cpp':>11}")
        for name in [args.only] if args.only else FIGURES:
            mine = statistics.median(o[name] for o in ours)
            peer = max(statistics.median(t["best"][name] for t in runs) for runs in theirs.values())
            most = limit(name, plan, limits)
            print(f"{name:22}{mine:10.1f}{peer:11.1f}{mine / peer:8.2f}{most:10.0f}{mine / most:8.1%}{peer / most:11.1%}", flush=True)
        everything[os.path.basename(model)] = {"tenon": ours, "llama.cpp": theirs, "plan": plan}
    if args.json:
        with open(args.json, "w") as out:
            json.dump(everything, out, indent=1)


main()
