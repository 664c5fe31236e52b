#!/usr/bin/env python3
"""What `tenon plan` prints is what the process takes: peak RssAnon + RssShmem within 5 % of the planned peak, for a loaded server under a
mixed load, at several contexts, numbers of sequences, sizes of KV cache and types of it. Of the real models:

    test_memory_plan.py gguf        SmolLM2, and a model larger than memory is refused in under a second
    test_memory_plan.py directory   SmolLM2 as a Hugging Face directory (needs the packages of hf_directory.py), and quantized by Tenon
    test_memory_plan.py gemma       Gemma 3, whose windows keep a part of the context (TENON_TEST_GEMMA)
    test_memory_plan.py quantized   GPTQ and AWQ checkpoints (TENON_TEST_QUANTIZED)

test_memory_families.py does the same for every family, tiny."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from server import Server, model

FEW = ["engine.max_num_seqs=8", "model.max_model_len=2k"]


def planned(path, settings):
    command = [os.environ["TENON"], "plan", path, "--json", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    for setting in settings:
        command += ["--set", setting]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def watch(server, peak, done):
    while not done.is_set():
        peak[0] = max(peak[0], server.memory())
        time.sleep(0.005)


def ask(server, i):
    status, _, body = server.request("POST", "/v1/completions", {
        "model": "smollm2", "prompt": "Tell me about the river " + "and the sea " * 10 * i, "max_tokens": 12, "n": 1 + i % 2})
    assert status == 200, body


def measure(path, *settings):
    plan = planned(path, settings)
    peak, done = [0], threading.Event()
    with Server(*settings, model_path=path) as server:
        watcher = threading.Thread(target=watch, args=(server, peak, done))
        watcher.start()
        workers = [threading.Thread(target=ask, args=(server, i)) for i in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        done.set()
        watcher.join()
        server.stop()
    ratio = peak[0] / plan["peak"]
    print(f"{os.path.basename(path)} {settings}: planned peak {plan['peak'] / 2**20:.1f} MiB, measured {peak[0] / 2**20:.1f} MiB, "
          f"ratio {ratio:.3f}", flush=True)
    assert 0.95 <= ratio <= 1.05, ratio


def refuse():
    begin = time.time()
    done = subprocess.run([os.environ["TENON"], "serve", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"], "--set",
                           "model.path=" + model(), "--set", "engine.gpu_memory_utilization=0.002"],
                          capture_output=True, text=True)
    seconds = time.time() - begin
    print(f"refused after {seconds:.2f} s: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 1 and "does not fit" in done.stderr and "set " in done.stderr
    assert seconds < 1


def of_gguf():
    measure(model(), "engine.kv_cache_memory_bytes=300MiB")
    measure(model(), *FEW)
    measure(model(), "engine.kv_cache_dtype=float32", "engine.max_num_seqs=64", "engine.max_num_batched_tokens=2048",
            "model.max_model_len=1k")
    refuse()


def of_directory():
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../reference"))
    try:
        from hf_directory import write_directory
    except ImportError as missing:
        skip(str(missing))
    with tempfile.TemporaryDirectory() as folder:
        dense, packed = os.path.join(folder, "float32"), os.path.join(folder, "int8")
        write_directory(model(), "float32", dense)
        subprocess.run([os.environ["TENON"], "quantize", dense, packed, "--method", "int8", "--set",
                        "plugins.path=" + os.environ["TENON_PLUGINS"]], check=True, capture_output=True)
        measure(dense, *FEW)
        measure(packed, *FEW, "engine.kv_cache_dtype=bfloat16")


def of_gemma():
    path = os.environ.get("TENON_TEST_GEMMA") or skip("TENON_TEST_GEMMA is not set")
    measure(path, *FEW)
    measure(path, "engine.max_num_seqs=4", "model.max_model_len=16k", "engine.max_num_batched_tokens=128")


def of_quantized():
    folder = os.environ.get("TENON_TEST_QUANTIZED") or skip("TENON_TEST_QUANTIZED is not set")
    directories = sorted(os.path.dirname(path) for path in glob.glob(folder + "/*/quantize_config.json"))
    for path in directories:
        measure(path, *FEW)
    assert directories, "no checkpoint is there"


def skip(why):
    print(why + ": skipped")
    sys.exit(77)


{"gguf": of_gguf, "directory": of_directory, "gemma": of_gemma, "quantized": of_quantized}[sys.argv[1]]()
