#!/usr/bin/env python3
"""Perplexity of checkpoint directories, by Tenon and by transformers, over the same windows, as a Markdown table.

    python quantized_perplexity.py TEXT NAME=DIRECTORY... [--tenon PROGRAM --plugins DIR] [--transformers] [--windows N]

Windows: 512 tokens, none shared, from an empty context; all tokens but a window's first are scored, as `tenon perplexity` and
perplexity.py do. --windows takes the first N of them for transformers, whose 4-bit kernels are slow on a CPU; the text given to
Tenon is then cut to the same tokens. AWQ directories need gptqmodel beside transformers.

Made with: transformers 5.24.0, gptqmodel 7.7.0.
"""
import argparse
import json
import math
import subprocess
import tempfile

WINDOW = 512


def by_tenon(args, directory, text):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        out = subprocess.run([args.tenon, "perplexity", directory, file.name, "--window", str(WINDOW),
                              "--set", "plugins.path=" + args.plugins], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["perplexity"]


def windows_of(tokenizer, text, count):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [ids[at:at + WINDOW] for at in range(0, len(ids) - WINDOW + 1, WINDOW)][:count]


def by_transformers(directory, windows):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto", device_map="cpu").eval()
    total = 0.0
    for window in windows:
        ids = torch.tensor([window])
        with torch.no_grad():
            rows = model(ids).logits[0, :-1].float()
        total -= torch.log_softmax(rows, -1).gather(1, ids[0, 1:, None]).double().sum().item()
    return math.exp(total / (len(windows) * (WINDOW - 1)))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("text")
    ap.add_argument("directories", nargs="+", metavar="NAME=DIRECTORY")
    ap.add_argument("--tenon", help="the program; without it, only transformers")
    ap.add_argument("--plugins", help="Tenon's plugin directory")
    ap.add_argument("--transformers", action="store_true")
    ap.add_argument("--windows", type=int, default=None)
    args = ap.parse_args()
    with open(args.text, encoding="utf-8") as file:
        text = file.read()
    pairs = [pair.split("=", 1) for pair in args.directories]
    windows = None
    if args.transformers or args.windows:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(pairs[0][1])
        windows = windows_of(tokenizer, text, args.windows)
        text = tokenizer.decode([i for window in windows for i in window]) if args.windows else text
    print("| checkpoint | Tenon | transformers |\n|---|---|---|")
    for name, directory in pairs:
        tenon = "%.3f" % by_tenon(args, directory, text) if args.tenon else ""
        peer = "%.3f" % by_transformers(directory, windows) if args.transformers else ""
        print(f"| {name} | {tenon} | {peer} |", flush=True)


if __name__ == "__main__":
    main()
