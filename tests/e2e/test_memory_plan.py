#!/usr/bin/env python3
"""What `tenon plan` prints is what the process takes: peak RssAnon + RssShmem within 5 % of the planned peak, for a loaded server under a
mixed load and at each of two sizes of KV cache. A model larger than memory is refused in under a second."""
import json
import os
import subprocess
import threading
import time

from server import Server, model


def planned(*settings):
    command = [os.environ["TENON"], "plan", model(), "--json", "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
    for setting in settings:
        command += ["--set", setting]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def watch(server, peak, done):
    while not done.is_set():
        peak[0] = max(peak[0], server.memory())
        time.sleep(0.005)


def measure(*settings):
    plan = planned(*settings)
    peak, done = [0], threading.Event()
    with Server(*settings) as server:
        watcher = threading.Thread(target=watch, args=(server, peak, done))
        watcher.start()
        workers = [threading.Thread(target=server.chat, args=("Tell me about the river " + "and the sea " * 20 * i,),
                                    kwargs={"max_tokens": 40, "n": 1 + i % 2}) for i in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        done.set()
        watcher.join()
        server.stop()
    ratio = peak[0] / plan["peak"]
    print(f"{settings}: planned peak {plan['peak'] / 2**20:.1f} MiB, measured {peak[0] / 2**20:.1f} MiB, ratio {ratio:.3f}")
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


measure("engine.kv_cache_memory_bytes=300MiB")
measure("engine.max_num_seqs=8", "model.max_model_len=2k")
refuse()
