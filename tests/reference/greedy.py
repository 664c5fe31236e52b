#!/usr/bin/env python3
"""Greedy continuations by llama.cpp, checked against a float32 reference.

For each of 20 prompts the file has: the text and its token ids by llama.cpp
(no BOS added; parse_special as stated for each), then 64 greedy token ids (the
end-of-text tokens do not stop it) and, for each step, llama.cpp's log-prob of
the chosen token, the gap between its two highest logits, the reference's
log-prob of the same token after the same tokens, and the reference's five
likeliest tokens with their log-probs.  "reference_argmax_differs" lists the
steps where the reference would have chosen another token.

The prompt is decoded as one batch, then one token a step; all settings of
llama.cpp not named in "settings" are its defaults.

Made with: llama-cpp-python 0.3.36, torch 2.15.0, transformers 5.23.0,
gguf 0.19.0, jinja2 3.1.6 (recorded in the file).
Usage: greedy.py MODEL.gguf --out golden/smollm2_greedy.json
"""
import argparse
import json

import jinja2
import numpy as np
from hf_model import load, logits, versions
from llama_peer import Peer, log_softmax

STEPS = 64
PROMPTS = [
    ("english_short", "The capital of France is"),
    ("story", "Once upon a time, in a small village by the sea, there lived an "
              "old clockmaker who"),
    ("facts", "The three states of matter are solid, liquid and gas. Water "
              "freezes at zero degrees Celsius and boils at"),
    ("dialogue", '"Where have you been?" asked Anna.\n"At the station," said '
                 'Tom. "The train was late again."\n"'),
    ("code_python", "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci "
                    "number.\"\"\"\n    if n < 2:\n        return n\n    "),
    ("code_c", "#include <stdio.h>\n\nint main(int argc, char **argv)\n{\n\tfor "
               "(int i = 0; i < argc; i++) {\n\t\tprintf("),
    ("html", "<!DOCTYPE html>\n<html>\n<head>\n  <title>My page</title>\n"
             "</head>\n<body>\n  <h1>"),
    ("json", '{"name": "Alice", "age": 31, "languages": ["en", "de"], '
             '"address": {"city": "'),
    ("sql", "SELECT customers.name, SUM(orders.total) FROM customers JOIN orders "
            "ON"),
    ("german", "Die Hauptstadt von Deutschland ist Berlin. Die Stadt liegt an "
               "der Spree und hat"),
    ("german_umlauts", "Übermäßig große Bären fraßen süße Äpfel, während"),
    ("french", "Il était une fois une petite fille qui s'appelait"),
    ("numbers", "1, 2, 3, 5, 8, 13, 21, 34, 55,"),
    ("arithmetic", "12 + 30 = 42\n7 + 8 = 15\n100 - 1 = 99\n3 * 4 ="),
    ("emoji", "I love pizza \U0001f355\U0001f355 and my family \U0001f468\u200d"
              "\U0001f469\u200d\U0001f467! \u2764\ufe0f"),
    ("cjk", "東京は日本の首都です。"),
    ("whitespace", "  \n\n\t- item one\n\t- item two\n\n\n   - item"),
    ("list", "Ten tips for a healthy life:\n\n1. Drink enough water.\n2. Sleep "
             "eight hours a night.\n3."),
    ("long_english",
     "The history of the lighthouse is a history of fire, glass and patience. "
     "In antiquity, sailors were guided by bonfires that were lit on hilltops, "
     "and later on high stone towers, so that they could be seen from far out "
     "at sea. The most famous of them stood on the island of Pharos, near "
     "Alexandria; it was counted among the wonders of the ancient world. "
     "For many centuries little changed: wood gave way to coal, coal to oil, "
     "but the light remained weak and the keepers had to climb the stairs "
     "several times a night. Only in the nineteenth century, when Augustin "
     "Fresnel had invented the lens that bears his name, could a single lamp "
     "be seen for more than twenty miles. The lens was made of many rings of "
     "glass, each of which bent the light a little, and together they gathered "
     "it into one strong beam. The keepers were proud of these machines. They "
     "polished the glass each morning, trimmed the wicks, wound the clockwork "
     "and wrote down the weather, and"),
]
CHAT = [{"role": "user", "content": "What is the tallest mountain on Earth, and "
                                    "how high is it? Answer in one sentence."}]


def top_gap(row):
    """Difference of the two highest logits."""
    a, b = np.partition(row, -2)[-2:]
    return float(b - a)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("--out", required=True)
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    model, meta = load(args.model)
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    chat = env.from_string(meta["tokenizer.chat_template"]).render(
        messages=CHAT, add_generation_prompt=True)
    peer = Peer(args.model, 512, 512, args.threads)
    out, errors, n_differ = [], [], 0
    for name, text in PROMPTS + [("chat", chat)]:
        special = name == "chat"
        prompt = peer.tokenize(text, special)
        peer.clear()
        peer.decode([(t, i, 0, i == len(prompt) - 1)
                     for i, t in enumerate(prompt)])
        row, ids, lps, gaps = peer.logits(len(prompt) - 1), [], [], []
        for step in range(STEPS):
            tok = int(row.argmax())
            ids.append(tok)
            lps.append(float(log_softmax(row)[tok]))
            gaps.append(top_gap(row))
            if step + 1 < STEPS:
                peer.decode([(tok, len(prompt) + step, 0, True)])
                row = peer.logits(0)
        ref = log_softmax(logits(model, prompt + ids[:-1]).numpy()[len(prompt) - 1:])
        ref_lp = [float(ref[i, t]) for i, t in enumerate(ids)]
        top5 = np.argsort(-ref, axis=1, kind="stable")[:, :5]
        differ = [i for i, t in enumerate(ids) if top5[i, 0] != t]
        errors += [abs(a - b) for a, b in zip(lps, ref_lp)]
        n_differ += len(differ)
        entry = {"name": name, "prompt": text, "parse_special": special,
                 "prompt_ids": prompt, "greedy_ids": ids,
                 "llama_cpp_logprob": [round(x, 5) for x in lps],
                 "llama_cpp_top2_gap": [round(x, 5) for x in gaps],
                 "reference_logprob": [round(x, 5) for x in ref_lp],
                 "reference_top5": [
                     [[int(t), round(float(ref[i, t]), 5)] for t in top5[i]]
                     for i in range(STEPS)],
                 "reference_argmax_differs": differ}
        if special:
            entry["messages"] = CHAT
        out.append(entry)
        print("%-16s %3d tokens, mean error %.4f, argmax differs at %d steps" %
              (name, len(prompt), sum(errors[-STEPS:]) / STEPS, len(differ)))
    peer.close()
    head = {
        "what": "greedy continuations by llama.cpp; see greedy.py",
        "versions": versions("llama-cpp-python", "torch", "transformers", "gguf",
                             "jinja2"),
        "settings": {"add_bos": False, "n_ctx": 512, "kv_cache": "f16",
                     "flash_attention": "auto", "threads": args.threads},
        "logprob_error": {
            "steps": len(errors), "max": round(max(errors), 5),
            "mean": round(sum(errors) / len(errors), 5),
            "argmax_differs": n_differ},
    }
    with open(args.out, "w") as f:  # one prompt a line
        f.write(json.dumps(head)[:-1] + ', "prompts": [\n')
        f.write(",\n".join(json.dumps(e, ensure_ascii=False,
                                      separators=(",", ":")) for e in out))
        f.write("\n]}\n")
    print(head["logprob_error"])


if __name__ == "__main__":
    main()
