#!/usr/bin/env python3
"""Writes sampler_vectors.json: the sampler specification of tenon/sampling.h, evaluated in plain Python.

An independent reading of the text: every step is the slow, literal version (full sorts, float64 exp rounded to
float32). Cases in which rounding could tip the answer either way are left out. Standard library only:

    python3 make_sampler_vectors.py > sampler_vectors.json
"""
import json
import math
import random
import struct


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def philox(key, counter):
    """Philox4x32-10, Salmon et al. 2011, figure 4."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


# Known answers published with Random123.
assert philox((0, 0), (0, 0, 0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
assert philox((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
assert philox((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)) == (
    0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def uniform(seed, choice, position):
    r = philox((seed & 0xFFFFFFFF, seed >> 32), (position, choice, 0, 0))
    return ((r[0] >> 6) * 2**27 + (r[1] >> 5)) / 2**53


def log_softmax(logits):
    m = max(logits)
    total = sum(math.exp(x - m) for x in logits)
    return [x - m - math.log(total) for x in logits]


def sample(case):
    """The chosen id, or None when rounding could decide."""
    l = list(case["logits"])
    for token, value in case["bias"]:
        l[token] = f32(l[token] + value)
    if case["allowed"] is not None:
        l = [x if i in case["allowed"] else -math.inf for i, x in enumerate(l)]
    for token, count in case["seen"]:
        if case["repetition"] != 1:
            l[token] = f32(l[token] / case["repetition"] if l[token] > 0 else l[token] * case["repetition"])
        l[token] = f32(l[token] - f32(case["frequency"] * count))
        if count > 0:
            l[token] = f32(l[token] - case["presence"])
    if max(l) == -math.inf:
        return -1
    if case["temperature"] == 0:
        return l.index(max(l))
    l = [f32(x / case["temperature"]) for x in l]
    m = max(l)
    order = sorted(range(len(l)), key=lambda i: (-l[i], i))
    w = [math.exp(x - m) if x > -math.inf else 0.0 for x in l]
    kept = [i for i in order if w[i] >= case["min_p"] or case["min_p"] == 0]
    if case["min_p"] > 0 and any(abs(x - case["min_p"]) < 1e-5 * case["min_p"] for x in w):
        return None
    if case["top_k"]:
        kept = kept[:case["top_k"]]
    if case["top_p"] < 1:
        total, run = sum(w[i] for i in kept), 0.0
        for n, i in enumerate(kept):
            run += w[i]
            if abs(run - case["top_p"] * total) < 1e-5 * total:
                return None
            if run >= case["top_p"] * total:
                kept = kept[:n + 1]
                break
    kept = sorted(i for i in kept if w[i] > 0)
    total, run = sum(w[i] for i in kept), 0.0
    u = uniform(int(case["seed"]), case["choice"], case["position"])
    for i in kept:
        run += w[i]
        if abs(run - u * total) < 1e-5 * total:
            return None
        if run > u * total:
            return i
    return kept[-1]


def random_case(rng):
    vocab = rng.choice([1, 2, 7, 33, 150])
    spread = rng.choice([0.5, 3.0, 20.0])
    logits = [f32(round(rng.gauss(0, spread), 4)) for _ in range(vocab)]
    if rng.random() < 0.3:  # ties
        logits = [f32(round(x)) for x in logits]
    tokens = list(range(vocab))
    pick = lambda n: rng.sample(tokens, min(vocab, n))
    some = lambda value, neutral: value if rng.random() < 0.5 else neutral
    return {
        "logits": logits,
        "temperature": f32(rng.choice([0, 0.3, 0.7, 1.0, 1.5])),
        "top_p": f32(some(rng.choice([0.1, 0.5, 0.9, 0.99]), 1)),
        "min_p": f32(some(rng.choice([0.02, 0.1, 0.4]), 0)),
        "top_k": some(rng.choice([1, 2, 5, 40]), 0),
        "repetition": f32(some(1.3, 1)), "presence": f32(some(0.6, 0)), "frequency": f32(some(0.4, 0)),
        "seed": str(rng.getrandbits(64)), "choice": rng.randrange(4), "position": rng.randrange(5000),
        "bias": [[t, f32(rng.uniform(-5, 5))] for t in pick(some(3, 0))],
        "seen": [[t, rng.randrange(4)] for t in pick(some(6, 0))],
        "allowed": some(sorted(pick(rng.choice([1, 3, 20]))), None),
    }


def main():
    rng, cases = random.Random(20261123), []
    while len(cases) < 300:
        case = random_case(rng)
        chosen = sample(case)
        if chosen is not None:
            case["id"] = chosen
            case["logprobs"] = [round(x, 5) for x in log_softmax(case["logits"])]
            cases.append(case)
    kats = [{"seed": str(s), "choice": c, "position": p, "u": uniform(s, c, p)} for s, c, p in
            [(0, 0, 0), (1, 0, 0), (2**64 - 1, 3, 2**32 - 1), (42, 1, 77), (0x299F31D0A4093822, 5, 6)]]
    print("{\"uniform\": " + json.dumps(kats) + ",\n\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}")


main()
