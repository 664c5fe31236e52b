#!/usr/bin/env python3
"""`tenon plan` against the memory of `tenon serve` for every family, tiny: within 5 % of what is planned, at rest; and never beyond the
plan and what it allows for requests, after requests.

    test_memory_families.py GOLDEN

A process takes some memory of its own, whatever the model (libraries' data, threads, HTTP): it is measured once, on a model whose plan is
next to nothing, and taken off every measurement, so what a family, a context or a setting adds without a plan shows. Each part
of the plan is then made the greater one in turn: activations and bookkeeping by many rows and sequences, KV pages by windows of a context
and float32, weights by the same architecture made wider, with made-up weights. Not run under sanitizers, which keep freed memory."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

from in_family_directory import tokenizer
from server import Server

ROWS = ["engine.max_num_seqs=256", "engine.max_num_batched_tokens=4096", "model.max_model_len=64", "engine.kv_cache_dtype=bfloat16",
        "engine.kv_cache_memory_bytes=2MiB"]
KV = ["engine.max_num_seqs=8", "model.max_model_len=200", "engine.kv_cache_dtype=float32", "engine.kv_cache_memory_bytes=16MiB"]
WIDE = ["model.load_format=dummy", "engine.max_num_seqs=2", "engine.max_num_batched_tokens=32", "model.max_model_len=64"]
LEAST = ["engine.max_num_seqs=1", "engine.max_num_batched_tokens=1", "model.max_model_len=16"]
PROCESS_MAX = 6 << 20


def plan(path, settings):
    command = [os.environ["TENON"], "plan", path, "--json", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    for setting in settings:
        command += ["--set", setting]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(path, settings):
    """(the plan, bytes of the process at rest, bytes after requests)."""
    with Server(*settings, model_path=path) as server:
        rest = server.memory()
        for length in (1, 7):
            status, _, body = server.request("POST", "/v1/completions", {
                "model": "smollm2", "prompt": [[1 + (i + j) % 90 for j in range(length)] for i in range(16)], "max_tokens": 8})
            assert status == 200, body
        return plan(path, settings), rest, server.memory()


def widen(config):
    """More of everything that a weight's size depends on but heads; a text model inside another keeps its own."""
    for name in ("intermediate_size", "moe_intermediate_size", "vocab_size"):
        if name in config:
            config[name] *= 64
    if "text_config" in config:
        widen(config["text_config"])


def directory(scratch, source, wide):
    """A family's directory, with a tokenizer; `wide`: nothing but its configuration, widened."""
    folder = tempfile.mkdtemp(dir=scratch)
    with open(os.path.join(source, "config.json")) as file:
        config = json.load(file)
    if wide:
        widen(config)
    else:
        for file in glob.glob(os.path.join(source, "*.safetensors*")):
            shutil.copy(file, folder)
    for name, value in (("config.json", config), ("tokenizer.json", tokenizer())):
        with open(os.path.join(folder, name), "w") as out:
            json.dump(value, out)
    return folder


def models(golden, scratch):
    """(name, path, settings)."""
    for path in sorted(glob.glob(golden + "/families/*") + glob.glob(golden + "/llama_tiny*/")):
        name = os.path.basename(path.rstrip("/"))
        yield name, directory(scratch, path, wide=False), ROWS
        yield name, directory(scratch, path, wide=False), KV
        with open(os.path.join(path, "config.json")) as file:
            if "quantization_config" not in json.load(file):
                yield name + ", wide", directory(scratch, path, wide=True), WIDE
    for path in sorted(glob.glob(golden + "/families_gguf/*.gguf")) + [golden + "/tiny_mixed.gguf"]:
        yield os.path.basename(path), path, ROWS


def main():
    golden, failures, count = sys.argv[1], [], 0
    os.environ.pop("MALLOC_PERTURB_", None)  # meson's: it writes to memory that nothing else does
    with tempfile.TemporaryDirectory() as scratch:
        planned, rest, _ = measure(directory(scratch, golden + "/families/phi3", wide=False), LEAST)
        process = rest - planned["resident"]
        print(f"the process itself: {process >> 10} KiB beside a plan of {planned['resident'] >> 10} KiB")
        assert 0 < process < PROCESS_MAX
        for name, path, settings in models(golden, scratch):
            planned, rest, after = measure(path, settings)
            ratio = (rest - process) / planned["resident"]
            line = (f"{name} {' '.join(settings)}: planned {planned['resident'] >> 10} KiB ({planned['bytes']}), "
                    f"measured {rest - process >> 10} KiB, ratio {ratio:.3f}, after requests {after - process >> 10} KiB")
            print(line, flush=True)
            if not 0.95 <= ratio <= 1.05 or after - process > 1.05 * planned["peak"] + planned["bytes"]["requests"]:
                failures.append(line)
            count += 1
    assert count > 70 and not failures, "\n".join([f"{len(failures)} of {count} are off:", *failures])


main()
