#!/usr/bin/env python3
"""template_model.py TENON PLUGIN_DIR TEMPLATE.so GOLDEN: a real model on the template's device, by the installed program.

Teacher-forced along llama.cpp's greedy tokens (GOLDEN, smollm2_greedy.json):
  1. log-probs are those of the float32 reference within 1e-3 (the device sums in float32);
  2. the cpu backend's likeliest token is the template's too, wherever cpu's top-two gap exceeds twice the largest
     difference of the two backends' log-probs measured here.
Needs TENON_TEST_MODEL.
"""
import json
import os
import subprocess
import sys

PROMPTS = ["english_short", "arithmetic"]


def positions(tenon, plugin_dir, backend, ids):
    command = [tenon, "logits", os.environ["TENON_TEST_MODEL"], "--ids", "--top", "2", "--set",
               "plugins.path=" + plugin_dir, "--set", "backend.plugin=" + backend, "--set", "engine.max_num_seqs=4"]
    done = subprocess.run(command, input=json.dumps(ids), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return json.loads(done.stdout)["positions"]


def main():
    tenon, plugin_dir, template, golden = sys.argv[1:]
    with open(golden, encoding="utf-8") as file:
        prompts = {prompt["name"]: prompt for prompt in json.load(file)["prompts"]}
    for name in PROMPTS:
        prompt = prompts[name]
        start = len(prompt["prompt_ids"]) - 1
        ids = prompt["prompt_ids"] + prompt["greedy_ids"]
        ours = positions(tenon, plugin_dir, template, ids)[start:-1]
        off = max(abs(row["next_logprob"] - want) for row, want in zip(ours, prompt["reference_logprob"]))
        print(f"{name}: {len(ours)} steps, {off:.1e} from the float32 reference")
        assert off <= 1e-3, off
        theirs = positions(tenon, plugin_dir, "cpu", ids)[start:-1]
        bound = max(abs(a["next_logprob"] - b["next_logprob"]) for a, b in zip(ours, theirs))
        clear = [(a, b) for a, b in zip(ours, theirs) if b["top"][0][1] - b["top"][1][1] > 2 * bound]
        print(f"{name}: {bound:.1e} from cpu; {len(clear)} steps with a clear choice")
        assert bound < 0.5 and len(clear) > len(ours) / 2
        assert all(a["top"][0][0] == b["top"][0][0] for a, b in clear)


if __name__ == "__main__":
    main()
