#!/usr/bin/env python3
"""transformers_generate.py [--device cuda] [--shape llama-3-8b|small]: the baseline of bench_device's requests: output tokens per second of
transformers' `generate` on the same prompts' lengths, bfloat16, scaled-dot-product attention, random weights, batches of 32 sorted by
length and padded on the left. For a machine that has torch and transformers; prints one line.
"""
import argparse
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

# name: layers, width, heads, key/value heads, feed-forward width, vocabulary; requests, shortest and longest prompt, answer.
# The same numbers as in bench_device.c.
SHAPES = {
    "llama-3-8b": ((32, 4096, 32, 8, 14336, 128256), (256, 128, 1024, 256)),
    "small": ((2, 256, 4, 2, 512, 1024), (8, 16, 64, 16)),
}
BATCH = 32


def prompt_lengths(requests, shortest, longest):
    return [shortest + i * 37 % requests * (longest - shortest) // (requests - 1) for i in range(requests)]


def make_model(shape, context, device):
    layers, width, heads, kv_heads, ff_width, vocab = shape
    config = LlamaConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads,
                         intermediate_size=ff_width, vocab_size=vocab, max_position_embeddings=context, rope_theta=500000.0,
                         attn_implementation="sdpa")
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
    return model.eval()


def run(model, lengths, answer, vocab, device):
    longest = max(lengths)
    ids = torch.randint(0, vocab, (len(lengths), longest), device=device)
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths], device=device)
    with torch.inference_mode():
        model.generate(input_ids=ids, attention_mask=mask, do_sample=False, min_new_tokens=answer, max_new_tokens=answer, pad_token_id=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="llama-3-8b")
    args = parser.parse_args()
    shape, (requests, shortest, longest, answer) = SHAPES[args.shape]
    lengths = sorted(prompt_lengths(requests, shortest, longest))
    model = make_model(shape, longest + answer, args.device)
    run(model, lengths[:2], 4, shape[-1], args.device)  # warm
    begin = time.monotonic()
    for first in range(0, requests, BATCH):
        run(model, lengths[first:first + BATCH], answer, shape[-1], args.device)
    if args.device == "cuda":
        torch.cuda.synchronize()
    seconds = time.monotonic() - begin
    name = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    print(f"{name}: transformers generate, {args.shape}: {requests * answer / seconds:.1f} output tok/s ({seconds:.1f} s)")


main()
