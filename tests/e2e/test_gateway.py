#!/usr/bin/env python3
"""http_frontend over the gateway (gateway_door) and real engine processes behind sockets: the same bytes as from an engine's own
server, an engine that is killed under load, and nothing left behind by instances that come and go. Any model will do.

Usage: test_gateway.py GATEWAY_DOOR
"""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from server import Server, free_port, model


class Door:
    def __init__(self, program):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([program, os.environ["TENON_PLUGINS"], model(), f"127.0.0.1:{self.port}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ok\n"

    def tell(self, line, expected="ok"):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert expected is None or answer == expected, f"{line}: {answer}"
        return answer

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.stdin.write("quit\n")
            self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        assert code == 0, code


def engine(folder, name):
    path = os.path.join(folder, name + ".sock")
    return path, Server("frontend.plugins=http_frontend,socket_frontend", f"socket_frontend.path={path}",
                        "engine.enable_prefix_caching=false", "cpu.threads=1")


def ask(port, path, body, timeout=60):
    """(status, Retry-After, body without what differs from answer to answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body),
                       {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    text = re.sub(r'"id":"(chatcmpl|cmpl)-[0-9a-f]+"', '"id":""', text)
    return reply.status, reply.getheader("Content-Type"), re.sub(r'"created":\d+', '"created":0', text)


CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HI = [{"role": "user", "content": "Name three colours, please."}]
SAME = [
    (CHAT, {"messages": HI, "max_tokens": 20, "seed": 3}),
    (CHAT, {"messages": HI, "max_tokens": 20, "seed": 3, "stream": True, "stream_options": {"include_usage": True}}),
    (CHAT, {"messages": HI, "max_tokens": 12, "seed": 3, "n": 3, "logprobs": True, "top_logprobs": 4, "temperature": 1.3}),
    (TEXT, {"model": "alias", "prompt": "Once", "max_tokens": 30, "seed": 1, "stop": ["e", "qq"], "temperature": 0.7}),
    (TEXT, {"prompt": ["one", "two"], "max_tokens": 0, "echo": True, "logprobs": 2, "seed": 4}),
    (TEXT, {"prompt": [5, 6, 7], "max_tokens": 9, "seed": 2, "logit_bias": {"9": 5}, "allowed_token_ids": [9, 10, 11],
            "return_token_ids": True, "stream": True}),
    (TEXT, {"prompt": "a", "max_tokens": 5, "min_tokens": 4, "temperature": 0, "prompt_logprobs": 1, "seed": 4}),
    (CHAT, {"messages": HI, "max_tokens": 60, "seed": 3, "n": 2, "response_format": {"type": "json_schema", "json_schema": {
        "name": "a", "strict": True, "schema": {"type": "object", "properties": {"a": {"enum": [1, "two"]}}, "required": ["a"]}}}}),
    (TEXT, {"prompt": "a", "max_tokens": 60, "structured_outputs": {"regex": "(?=a)"}}),
    (TEXT, {"prompt": "a", "max_tokens": 10 ** 6}),
    (TEXT, {"prompt": "a", "temperature": -1}),
    (TEXT, {"model": "gpt", "prompt": "a"}),
    (TEXT, {"prompt": "a", "nonsense": 1}),
    ("/tokenize", {"prompt": "Hello there", "return_token_strs": True}),
    ("/detokenize", {"tokens": [40, 41, 42]}),
    ("/v1/models", None), ("/v1/models/alias", None), ("/v1/models/gpt", None), ("/health", None),
]


def same_bytes(door, server):
    for path, body in SAME:
        direct, through = ask(server.port, path, body), ask(door.port, path, body)
        assert direct == through, f"{path} {body}:\n{direct}\n{through}"
    metrics = [re.sub(r" [-+.e\dInfNa]+$", "", line) for line in ask(server.port, "/metrics", None)[2].splitlines()]
    assert metrics == [re.sub(r" [-+.e\dInfNa]+$", "", line) for line in ask(door.port, "/metrics", None)[2].splitlines()]
    here = os.path.dirname(os.path.abspath(__file__))
    code = subprocess.run([sys.executable, os.path.join(here, "openai_client.py"), "--shapes-only", door.base]).returncode
    assert code in (0, 77), code


def killed_under_load(door, first, second):
    """Each request ends: with its whole answer, or, if it had begun to be told, with an error that names the instance."""
    def one(i):
        status, _, text = ask(door.port, TEXT, {"prompt": f"number {i}", "max_tokens": 60, "ignore_eos": True, "seed": i})
        return status, json.loads(text)

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(one, i) for i in range(96)]
        time.sleep(0.3)
        first.process.send_signal(signal.SIGKILL)
        answers = [answer.result(120) for answer in answers]
    lost = [body for status, body in answers if status != 200]
    assert all(status in (200, 503) for status, _ in answers), answers
    assert all("the instance a of smollm2 was lost in the middle of the answer" in body["error"]["message"] for body in lost), lost
    whole = [body for status, body in answers if status == 200]
    assert all(body["usage"]["completion_tokens"] == 60 for body in whole)
    assert len(whole) >= 96 - 24, len(whole)
    print(f"killed under load: {len(whole)} answers, {len(lost)} cut off")
    assert second.request("GET", "/ready")[0] == 200
    door.tell("detach a")


def nothing_is_left(door, path):
    ask(door.port, TEXT, {"prompt": "a", "max_tokens": 2})
    before = door.descriptors()
    for i in range(200):
        door.tell("detach b")
        door.tell(f"attach b {path}")
        if i % 25 == 0:
            assert ask(door.port, TEXT, {"prompt": "a", "max_tokens": 2})[0] == 200
    end = time.time() + 20
    while door.descriptors() > before:  # those of finished HTTP connections close in their own time
        assert time.time() < end, (before, door.descriptors())
        time.sleep(0.05)


def waits_for_an_instance(door, path):
    door.tell("detach b")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, door.port, TEXT, {"prompt": "a", "max_tokens": 2, "stream": i % 2 == 1}) for i in range(4)]
        end = time.time() + 20
        while door.tell("activity", None).split()[2] != "4":
            assert time.time() < end
        door.tell(f"attach b {path}")
        assert [answer.result(60)[0] for answer in answers] == [200] * 4


model()
with tempfile.TemporaryDirectory() as folder:
    (path_a, first), (path_b, second) = engine(folder, "a"), engine(folder, "b")
    with first, second, Door(sys.argv[1]) as door:
        status, _, text = ask(door.port, TEXT, {"model": "smollm2", "prompt": "a"})
        assert status == 503 and "smollm2" in text, text
        door.tell(f"attach a {path_a}")
        same_bytes(door, first)
        door.tell(f"attach b {path_b}")
        killed_under_load(door, first, second)
        nothing_is_left(door, path_b)
        waits_for_an_instance(door, path_b)
        second.stop()
        assert not os.path.exists(path_b)
print("ok")
