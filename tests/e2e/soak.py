#!/usr/bin/env python3
"""A mixed load for TENON_SOAK_SECONDS (default 120): afterwards RSS, descriptors and free KV pages are where they started.

Clients chat, stream, complete, score, cancel by vanishing, send nonsense and overload the queue, all at random from a fixed
seed. The baseline is taken after a first tenth of the time, when caches and pools have warmed up.
"""
import json
import os
import random
import socket
import threading
import time

from server import Server, model

SECONDS = float(os.environ.get("TENON_SOAK_SECONDS", "120"))
WORDS = "river stone cloud harvest engine seven lantern winter copper the of and under between".split()


def text(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, most)))


def vanish(server, rng):
    body = json.dumps({"model": "smollm2", "prompt": text(rng, 80), "stream": True, "max_tokens": 400, "ignore_eos": True})
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        s.recv(rng.choice([1, 400, 4000]))


def one_call(server, rng):
    kind = rng.randrange(10)
    if kind < 4:
        status, _, body = server.request("POST", "/v1/chat/completions", {
            "model": "smollm2", "messages": [{"role": "user", "content": text(rng, 60)}], "n": rng.choice([1, 1, 2]),
            "max_tokens": rng.randrange(1, 60), "temperature": rng.choice([0, 0.8]), "stream": rng.random() < 0.5})
        assert status in (200, 429), (status, body)
    elif kind < 6:
        status, _, body = server.request("POST", "/v1/completions", {
            "model": "alias", "prompt": text(rng, 200), "max_tokens": rng.randrange(1, 40), "logprobs": rng.choice([None, 2]),
            "echo": rng.random() < 0.3, "stop": rng.choice([None, [" the", "."]])})
        assert status in (200, 429), (status, body)
    elif kind < 8:
        vanish(server, rng)
    else:
        status, _, _ = server.request("POST", "/v1/completions", rng.choice(["{", "[]", "{\"prompt\": 3}", "{\"n\": -1}"]))
        assert status == 400, status


def client(server, seed, end, failures):
    rng = random.Random(seed)
    while time.time() < end and not failures:
        try:
            one_call(server, rng)
        except Exception as error:  # noqa: BLE001: reported by the main thread
            failures.append(repr(error))


def settle(server):
    """(RSS, descriptors, KV use) once nothing runs."""
    while server.metric("tenon:num_requests_running") or server.metric("tenon:num_requests_waiting"):
        time.sleep(0.1)
    time.sleep(1)
    return server.memory(), server.descriptors(), server.metric("tenon:kv_cache_usage_perc")


def load(server, seconds, seed):
    failures, end = [], time.time() + seconds
    clients = [threading.Thread(target=client, args=(server, seed + i, end, failures)) for i in range(12)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not failures, failures[0]
    return settle(server)


def main():
    model()
    # Caching off: cached pages count as used, and how many there are depends on the last requests.
    with Server("engine.max_num_seqs=8", "engine.kv_cache_memory_bytes=200MiB", "engine.max_waiting=6",
                "engine.enable_prefix_caching=" + os.environ.get("TENON_SOAK_CACHE", "false")) as server:
        before = load(server, SECONDS / 10, 1)
        after = load(server, SECONDS * 9 / 10, 1000)
        done = server.metric("tenon:request_success_total")
        print(f"{SECONDS:.0f} s, {done:.0f} requests; RSS {before[0] / 2**20:.1f} -> {after[0] / 2**20:.1f} MiB, descriptors "
              f"{before[1]} -> {after[1]}, KV use {before[2]:.4f} -> {after[2]:.4f}")
        assert after[0] <= before[0] * 1.01 + (2 << 20)
        assert after[1] <= before[1]
        assert after[2] == before[2] == 0
        server.stop()


main()
