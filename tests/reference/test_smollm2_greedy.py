#!/usr/bin/env python3
"""20 prompts x 64 tokens, teacher-forced along llama.cpp's greedy output on the same GGUF (golden/smollm2_greedy.json).

The bound is measured: the largest |log-prob difference| to the float32 reference that either side shows here. Where llama.cpp's
top two logits are farther apart than twice that, Tenon's argmax must be llama.cpp's token. And Tenon's own error against
the reference must be no larger than llama.cpp's, in the mean and at its largest.
"""
import json

from tenon_process import golden, model, tenon


def positions(path, ids):
    out = tenon("logits", path, "--ids", "--top", "2", stdin=json.dumps(ids))
    return json.loads(out)["positions"]


def main():
    path, steps = model(), []
    for prompt in golden("smollm2_greedy.json")["prompts"]:
        ids = prompt["prompt_ids"] + prompt["greedy_ids"]
        rows = positions(path, ids)
        first = len(prompt["prompt_ids"]) - 1
        for i, token in enumerate(prompt["greedy_ids"]):
            row = rows[first + i]
            steps.append({"prompt": prompt["name"], "step": i, "token": token, "argmax": row["top"][0][0],
                          "gap": prompt["llama_cpp_top2_gap"][i],
                          "ours": abs(row["next_logprob"] - prompt["reference_logprob"][i]),
                          "theirs": abs(prompt["llama_cpp_logprob"][i] - prompt["reference_logprob"][i])})
    assert len(steps) == 1280
    mean = {who: sum(s[who] for s in steps) / len(steps) for who in ("ours", "theirs")}
    largest = {who: max(s[who] for s in steps) for who in ("ours", "theirs")}
    bound = largest["ours"] + largest["theirs"]
    clear = [s for s in steps if s["gap"] > 2 * bound]
    print(f"log-prob error against float32: Tenon mean {mean['ours']:.5f} max {largest['ours']:.4f}; "
          f"llama.cpp mean {mean['theirs']:.5f} max {largest['theirs']:.4f}; {len(clear)} of {len(steps)} steps are clear")
    wrong = [s for s in clear if s["argmax"] != s["token"]]
    assert not wrong, wrong[:5]
    assert len(clear) > 700, len(clear)
    assert mean["ours"] <= mean["theirs"] and largest["ours"] <= largest["theirs"]


main()
