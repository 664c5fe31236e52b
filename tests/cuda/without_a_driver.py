#!/usr/bin/env python3
"""without_a_driver.py kernels|planner: on a machine without an NVIDIA driver, and where the plugin was built without nvcc (planner), it loads and plans
for cards that are not here, and whoever wants to run on it gets one sentence that says what is missing.

Where there is a GPU and the plugin has kernels for it, the test is skipped (77).
"""
import json
import os
import subprocess
import sys
import tempfile

REFUSAL = {"kernels": "there is no NVIDIA driver (libcuda.so.1) here; to plan without one: tenon plan MODEL --pool NAME (tenon pool list)",
           "planner": "this cuda_tp was built without nvcc and only plans: tenon plan MODEL --pool NAME (tenon pool list); to run on GPUs, build Tenon "
                      "where CUDA 12.0 or newer is (-Dcuda=enabled)"}
LLAMA_8B = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "torch_dtype": "bfloat16"}
PARAMETERS = 8030261248
EIGHT = ["--load-format", "dummy", "--pool", "eight", "--set", "pool eight.device=H100", "--set", "pool eight.count=8"]


def tenon(*arguments):
    """Exit status, standard output, standard error."""
    command = [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"], "--set", "backend.plugin=cuda_tp"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_commands_say_what_is_missing(folder, refusal):
    code, out, _ = tenon("doctor")
    assert code == 1 and [line for line in out.splitlines() if line.startswith("device")] == [f"device           none: {refusal}"], out
    code, out, _ = tenon("plugins")
    assert code == 0 and "cuda_tp 0.1.0" in out, out
    dummy = ["--set", "model.load_format=dummy"]
    for command in (["serve", "--set", "model.path=" + folder], ["plan", folder]):
        code, out, err = tenon(*command, *dummy)
        assert code == 1 and not out and err.count("\n") == 1 and f"backend cuda_tp finds no device: {refusal}" in err, (command, out, err)


def test_plans_for_cards_that_are_not_here(folder):
    shares = []
    for ranks in (1, 2, 4, 8):
        code, out, err = tenon("plan", folder, "--json", "--tp", str(ranks), *EIGHT)
        assert code == 0, err
        plan = json.loads(out)
        assert plan["tensor_parallel_size"] == ranks, plan
        shares.append(plan["bytes"]["weights"] * ranks / (2 * PARAMETERS))
    assert all(1 <= share < 1.01 for share in shares), shares
    code, out, err = tenon("plan", folder, "--tp", "3", *EIGHT)
    assert code == 2 and "degrees that do: 1, 2, 4, 8" in err, err


def main():
    if sys.argv[1] == "kernels" and os.path.exists("/dev/nvidiactl"):
        print("skipped: there is a GPU")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w") as out:
            json.dump(LLAMA_8B, out)
        test_commands_say_what_is_missing(folder, REFUSAL[sys.argv[1]])
        test_plans_for_cards_that_are_not_here(folder)


main()
