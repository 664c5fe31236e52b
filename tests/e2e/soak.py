#!/usr/bin/env python3
"""A mixed load for TENON_SOAK_SECONDS (default 120): afterwards RSS, descriptors and free KV pages are where they started.

Twelve clients chat, complete, stream, score, ask for several choices, share prefixes, send long prompts, vanish, send nonsense and
overload the queue, all at random from fixed seeds; each kind must have happened. Descriptors and pages are compared with those before
the first request, RSS with that after the first tenth of the time, when buffers and the allocator have seen every kind. Any model
will do; a small one makes more requests, and so shows smaller leaks. Under a sanitizer (TENON_SANITIZED) RSS is only printed: its
quarantine and shadow grow, and leaks are its own business.
"""
import collections
import json
import os
import random
import socket
import threading
import time

from server import Server, model

SECONDS = float(os.environ.get("TENON_SOAK_SECONDS", "120"))
CLIENTS = 12
RSS_SLACK = 2 << 20
WORDS = "river stone cloud harvest engine seven lantern winter copper the of and under between".split()
SHARED = " ".join(WORDS[i * 5 % len(WORDS)] for i in range(60))  # begins some prompts: several pages of the prefix cache


def text(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, most)))


class Client(threading.Thread):
    """Calls at random until the end, or until one answer is wrong; `counts` says how often what happened."""

    def __init__(self, server, seed, end, long_words, failures):
        super().__init__()
        self.server, self.end, self.long_words, self.failures = server, end, long_words, failures
        self.rng = random.Random(seed)
        self.counts = collections.Counter()

    def run(self):
        kinds = [self.chat] * 3 + [self.complete] * 2 + [self.stream] * 2 + [self.share, self.vanish, self.vanish, self.wrong]
        while time.time() < self.end and not self.failures:
            kind = self.long if self.rng.random() < 0.02 else self.rng.choice(kinds)
            try:
                kind()
            except Exception as error:  # noqa: BLE001: reported by the main thread
                self.failures.append(f"{kind.__name__}: {error!r}")

    def each_kind(self):
        """Every kind at least once, however slow the server is."""
        while not all(self.counts[kind] for kind in KINDS):
            for call in (self.chat, self.complete, self.stream, self.share, self.vanish, self.wrong, self.long):
                call()

    def post(self, kind, path, body):
        """The answer, or None where the server was busy."""
        status, headers, answer = self.server.request("POST", path, {"model": "smollm2", **body}, timeout=600)
        if status == 429:
            assert int(headers["Retry-After"]) >= 1
            self.counts["429"] += 1
            time.sleep(0.1)
            return None
        assert status == 200, (status, answer)
        self.counts[kind] += 1
        return answer

    def chat(self):
        n = self.rng.choice([1, 1, 2, 3])
        answer = self.post("n > 1" if n > 1 else "chat", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": text(self.rng, 60)}], "n": n, "max_tokens": self.rng.randrange(1, 60),
            "temperature": self.rng.choice([0, 0.8]), "frequency_penalty": self.rng.choice([0, 0.5])})
        assert answer is None or len(answer["choices"]) == n

    def complete(self):
        score = self.rng.random() < 0.3
        self.post("score" if score else "completion", "/v1/completions", {
            "model": "alias", "prompt": text(self.rng, 200), "max_tokens": 0 if score else self.rng.randrange(1, 40), "echo": score,
            "logprobs": 2 if score else self.rng.choice([None, 2]), "stop": None if score else self.rng.choice([None, [" the", "."]])})

    def stream(self):
        answer = self.post("stream", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": text(self.rng, 60)}], "stream": True, "n": self.rng.choice([1, 2]),
            "max_tokens": self.rng.randrange(1, 60), "stream_options": {"include_usage": True}})
        assert answer is None or answer.endswith("data: [DONE]\n\n") and '"usage":' in answer, answer[-300:]

    def share(self):
        self.post("shared prefix", "/v1/completions", {"prompt": SHARED + " " + text(self.rng, 20), "max_tokens": 8})

    def long(self):
        self.post("long prompt", "/v1/completions", {"prompt": text(self.rng, 2) + " " + " ".join(
            self.rng.choices(WORDS, k=self.long_words)), "max_tokens": 4})

    def vanish(self):
        """While sending, while waiting, or in the middle of the stream."""
        body = json.dumps({"model": "smollm2", "prompt": text(self.rng, 80), "stream": True, "max_tokens": 400, "ignore_eos": True})
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=600) as s:
            s.sendall((head + body)[:self.rng.choice([60, len(head) + 20, None, None, None])].encode())
            if self.rng.random() < 0.5:
                s.settimeout(self.rng.random())
                try:
                    s.recv(self.rng.choice([1, 400, 4000]))
                except TimeoutError:
                    pass
        self.counts["vanished"] += 1

    def wrong(self):
        path, body, wanted = self.rng.choice([
            ("/v1/completions", "{", 400), ("/v1/completions", "[]", 400), ("/v1/completions", '{"prompt": 3}', 400),
            ("/v1/completions", '{"n": -1}', 400), ("/v1/completions", {"prompt": "x", "max_tokens": 10**9}, 400),
            ("/v1/completions", {"prompt": [2**40]}, 400), ("/v1/completions", {"prompt": "x", "temprature": 1}, 400),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "model": "nosuch"}, 404),
            ("/v1/nothing", "{}", 404)])
        status, _, answer = self.server.request("POST", path, body)
        assert status == wanted and answer["error"]["message"], (path, body, status, answer)
        self.counts["refused"] += 1


KINDS = ["chat", "n > 1", "completion", "score", "stream", "shared prefix", "long prompt", "vanished", "refused"]


def wait_for(what, condition, seconds=120):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def load(server, seconds, seed, long_words):
    """Counts of what happened, once nothing runs any more."""
    failures, end = [], time.time() + seconds
    clients = [Client(server, seed + i, end, long_words, failures) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures, failures[0]
    wait_for("nothing runs", lambda: not server.metric("tenon:num_requests_running") + server.metric("tenon:num_requests_waiting"))
    return sum((client.counts for client in clients), collections.Counter())


def words_of(server, tokens):
    """How many words make about so many tokens."""
    count = server.request("POST", "/tokenize", {"model": "smollm2", "prompt": SHARED})[2]["count"]
    return int(tokens * len(SHARED.split()) / count)


def closed(server, descriptors):
    """An HTTP thread may see that a peer has gone only at its next event: give each of them some."""
    for _ in range(16):
        server.request("GET", "/health")
    return server.descriptors() <= descriptors


def main():
    model()
    with Server("engine.max_num_seqs=8", "engine.max_waiting=6", "engine.kv_cache_memory_bytes=200MiB",
                "model.max_model_len=4k") as server:
        long_words = words_of(server, 1500)
        descriptors, pages = server.descriptors(), server.free_pages()
        first = Client(server, 0, 0, long_words, [])
        first.each_kind()
        counts = first.counts + load(server, SECONDS / 10, 1, long_words)
        memory = server.memory()
        counts += load(server, SECONDS * 9 / 10, 1000, long_words)
        wait_for("descriptors are closed", lambda: closed(server, descriptors))
        time.sleep(1)
        after = server.memory(), server.descriptors(), server.free_pages()
        tokens = server.metric("tenon:prompt_tokens_total") + server.metric("tenon:generation_tokens_total")
        print(", ".join(f"{counts[kind]} {kind}" for kind in KINDS + ["429"]))
        print(f"soak: {SECONDS:.0f} s, {sum(counts.values())} requests, {tokens:.0f} tokens, RSS {memory / 2**20:.1f} -> "
              f"{after[0] / 2**20:.1f} MiB, fds {descriptors} -> {after[1]}, free KV pages {pages} -> {after[2]}", flush=True)
        assert all(counts[kind] for kind in KINDS), counts
        assert server.metric("tenon:prefix_cache_hits_total") > 0
        assert after[2] == pages
        assert os.environ.get("TENON_SANITIZED") or after[0] <= memory + RSS_SLACK
        server.stop()


main()
