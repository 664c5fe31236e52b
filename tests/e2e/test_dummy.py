#!/usr/bin/env python3
"""model.load_format=dummy: a directory with nothing but a config.json is planned, loaded and served; with a tokenizer beside it, it
answers text."""
import json
import os
import shutil
import subprocess
import tempfile

from in_family_directory import tokenizer
from server import Server

LLAMA_8B = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "torch_dtype": "bfloat16"}
LLAMA_8B_WEIGHTS = 8030261248
TINY = {**LLAMA_8B, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 256}


def tenon(*arguments, code=0):
    command = [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def write(folder, config):
    with open(os.path.join(folder, "config.json"), "w") as out:
        json.dump(config, out)


def test_plan(folder):
    """The bytes of Llama 3 8B are known; the CPU backend stores matrices as they come, padded by little."""
    write(folder, LLAMA_8B)
    dummy = ["--set", "model.load_format=dummy"]
    command = [os.environ["TENON"], "plan", folder, "--json", *dummy, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    plan = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
    assert 1 <= plan["bytes"]["weights"] / (2 * LLAMA_8B_WEIGHTS) < 1.01, plan
    assert "model.safetensors" in tenon("plan", folder, code=1)
    awq = json.loads(tenon("plan", folder, "--json", *dummy, "--set", "model.quantization=awq"))
    head = 2 * LLAMA_8B["vocab_size"] * LLAMA_8B["hidden_size"]  # the embedding and the output matrix stay bfloat16
    share = (awq["bytes"]["weights"] - 2 * head) / (LLAMA_8B_WEIGHTS - head)
    assert 0.5 < share < 0.56, awq  # bytes an element: four bits, and a scale and a zero point for each 128
    assert "it is one of awq, int4, int8, fp8" in tenon("plan", folder, *dummy, "--set", "model.quantization=gguf", code=1)
    os.unlink(os.path.join(folder, "config.json"))
    assert "config.json is missing" in tenon("plan", folder, *dummy, code=1)


def test_without_tokenizer(folder):
    write(folder, TINY)
    error = tenon("run", folder, "Hello", "--set", "model.load_format=dummy", code=1)
    assert "no tokenizer" in error and "tokenizer.json" in error, error
    with Server("model.load_format=dummy", model_path=folder) as server:
        status, _, body = server.request("POST", "/v1/completions", {
            "model": "smollm2", "prompt": [3, 14, 15], "max_tokens": 5, "temperature": 0})
        assert status == 200 and body["usage"]["completion_tokens"] == 5, body
        assert body["choices"][0]["text"] == "", body
        status, _, body = server.request("POST", "/v1/completions", {"model": "smollm2", "prompt": "Hello", "max_tokens": 5})
        assert status == 400 and "token ids" in body["error"]["message"], body
        status, _, body = server.request("POST", "/v1/chat/completions", {
            "model": "smollm2", "messages": [{"role": "user", "content": "Hello"}]})
        assert status == 400 and "chat template" in body["error"]["message"], body
        server.stop()
    with Server("model.load_format=dummy", "model.quantization=awq", model_path=folder) as server:
        status, _, body = server.request("POST", "/v1/completions", {
            "model": "smollm2", "prompt": [3, 14, 15], "max_tokens": 5, "temperature": 0})
        assert status == 200 and body["usage"]["completion_tokens"] == 5, body
        server.stop()


def test_with_tokenizer(folder):
    write(folder, TINY)
    with open(os.path.join(folder, "tokenizer.json"), "w") as out:
        json.dump(tokenizer(), out)
    arguments = ["run", folder, "ABC", "--raw", "--max-tokens", "8", "--set", "model.load_format=dummy"]
    first = tenon(*arguments)
    assert len(first.strip()) > 0 and first == tenon(*arguments), first


for test in (test_plan, test_without_tokenizer, test_with_tokenizer):
    folder = tempfile.mkdtemp(prefix="tenon-dummy-")
    try:
        test(folder)
    finally:
        shutil.rmtree(folder)
