#!/usr/bin/env python3
"""generation_config.json of a served directory: requests that leave fields out get what it says, requests that do not get their own,
serve tells it, and model.generation_config=none turns it off. argv: directory of golden families."""
import json
import os
import shutil
import sys
import tempfile

from in_family_directory import tokenizer
from server import Server

WISHES = {"bos_token_id": 1, "do_sample": True, "eos_token_id": [94, 95], "temperature": 0.0, "top_k": 20, "max_new_tokens": 5}
TOLD = "requests that do not say get temperature 0, top_k 20, max_tokens 5"


def make(folder):
    for file in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(sys.argv[1], "llama", file), folder)
    for name, content in (("tokenizer.json", tokenizer()), ("generation_config.json", WISHES),
                          ("tokenizer_config.json", {"model_max_length": int(1e30)})):
        with open(os.path.join(folder, name), "w") as out:
            json.dump(content, out)
    with open(os.path.join(folder, "chat_template.jinja"), "w") as out:
        out.write("{% for m in messages %}{{ m.content }}{% endfor %}")


def ask(server, **fields):
    body = {"messages": [{"role": "user", "content": "ABC"}], "ignore_eos": True, "return_token_ids": True, **fields}
    status, _, answer = server.request("POST", "/v1/chat/completions", body)
    assert status == 200, answer
    return answer["choices"][0]["token_ids"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        make(folder)
        with Server(model_path=folder) as server:
            first = ask(server)
            assert len(first) == 5, first
            assert all(ask(server, seed=seed) == first for seed in range(4)), "not greedy by default"
            own = [ask(server, temperature=5, top_k=0, max_tokens=9, seed=seed) for seed in range(4)]
            assert all(len(ids) == 9 for ids in own) and len(set(map(tuple, own))) > 1, own
            assert TOLD in server.read_log(), server.read_log()
        with Server("model.generation_config=none", model_path=folder) as server:
            free = [ask(server, max_tokens=9, seed=seed) for seed in range(4)]
            assert len(set(map(tuple, free))) > 1, free
            assert "generation_config" not in server.read_log(), server.read_log()


if __name__ == "__main__":
    main()
