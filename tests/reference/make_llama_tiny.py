#!/usr/bin/env python3
"""Make tiny random Llama checkpoints and their logits by transformers.

Writes under --out (golden/):
  llama_tiny/          float32 weights, one model.safetensors
  llama_tiny_bf16/     the same weights rounded to bfloat16
  llama_tiny_sharded/  the bfloat16 weights in 3 shards with an index
  llama_tiny_tied/     another model (2 layers, tied embeddings) in float16
  llama_tiny_logits.json  the prompts and the expected logits

All parameters are random, the norms' weights too (around 1, deviation 0.2).
All logits are computed in float32 from the weights as stored (so those of
llama_tiny_bf16 and llama_tiny_sharded are the same); they are rounded to 7
significant digits.  Row i of "logits" belongs to position first_position + i.

Made with: torch 2.15.0, transformers 5.23.0, safetensors 0.8 or near
(the exact versions are recorded in the JSON file).
Usage: make_llama_tiny.py --out golden
"""
import argparse
import json
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from hf_model import logits, versions


def make_model(seed, layers, tied):
    """Return a random float32 model; the same seed gives the same weights."""
    config = LlamaConfig(
        hidden_size=64, intermediate_size=160, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        vocab_size=320, rms_norm_eps=1e-5, rope_theta=10000.0,
        max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=tied, attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=gen)
            if "norm" in name:
                p.copy_(1.0 + 0.2 * noise)
            elif "embed" in name:
                p.copy_(0.5 * noise)
            else:
                p.copy_(noise * (1.5 / p.shape[1] ** 0.5))
    return model


def plain_config(model, dtype):
    """config.json as published Llama checkpoints have it (flat rope_theta)."""
    c = model.config
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_hidden_layers,
        "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim,
        "vocab_size": c.vocab_size, "hidden_act": "silu",
        "max_position_embeddings": c.max_position_embeddings,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
        "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": c.tie_word_embeddings, "torch_dtype": dtype,
    }


def save(model, folder, dtype, shards=1):
    """Save the model's weights as `dtype`, in one file or several shards."""
    os.makedirs(folder, exist_ok=True)
    names = {torch.float32: "float32", torch.bfloat16: "bfloat16",
             torch.float16: "float16"}
    state = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()
             if not (model.config.tie_word_embeddings and k == "lm_head.weight")}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(plain_config(model, names[dtype]), f, indent=2)
        f.write("\n")
    if shards == 1:
        save_file(state, os.path.join(folder, "model.safetensors"),
                  metadata={"format": "pt"})
        return
    keys, weight_map, total = list(state), {}, 0
    for s in range(shards):
        part = keys[s * len(keys) // shards:(s + 1) * len(keys) // shards]
        fname = "model-%05d-of-%05d.safetensors" % (s + 1, shards)
        save_file({k: state[k] for k in part}, os.path.join(folder, fname),
                  metadata={"format": "pt"})
        for k in part:
            weight_map[k] = fname
            total += state[k].numel() * state[k].element_size()
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f, indent=2)
        f.write("\n")


def stored_logits(folder, ids):
    """Logits of the checkpoint as a reader of its files gets them."""
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    for name, want in load_file(os.path.join(folder, "model.safetensors")).items():
        if not torch.equal(dict(model.named_parameters())[name], want.float()):
            raise SystemExit("wrongly loaded: " + name)
    return logits(model, ids)


def rounded(rows):
    """Nested lists of numbers with 7 significant digits."""
    return [[float("%.7g" % x) for x in row] for row in rows.tolist()]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder to write into")
    ap.add_argument("--seed", type=int, default=20240607)
    args = ap.parse_args()
    path = lambda name: os.path.join(args.out, name)
    model = make_model(args.seed, 3, False)
    tied = make_model(args.seed + 1, 2, True)
    save(model, path("llama_tiny"), torch.float32)
    save(model, path("llama_tiny_bf16"), torch.bfloat16)
    save(model, path("llama_tiny_sharded"), torch.bfloat16, shards=3)
    save(tied, path("llama_tiny_tied"), torch.float16)
    gen = torch.Generator().manual_seed(args.seed + 2)
    ids = torch.randint(0, 320, (40,), generator=gen).tolist()
    out = {
        "versions": versions("torch", "transformers", "safetensors"),
        "prompt_ids": ids,
        "models": {
            "llama_tiny": {"first_position": 0, "logits": rounded(
                stored_logits(path("llama_tiny"), ids))},
            "llama_tiny_bf16": {"first_position": 0, "logits": rounded(
                stored_logits(path("llama_tiny_bf16"), ids))},
            "llama_tiny_tied": {"first_position": 36, "logits": rounded(
                stored_logits(path("llama_tiny_tied"), ids)[36:])},
        },
        "same_logits": {"llama_tiny_sharded": "llama_tiny_bf16"},
    }
    sharded = LlamaForCausalLM.from_pretrained(
        path("llama_tiny_sharded"), dtype=torch.float32,
        attn_implementation="eager").eval()
    if rounded(logits(sharded, ids)) != out["models"]["llama_tiny_bf16"]["logits"]:
        raise SystemExit("the sharded copy differs")
    with open(path("llama_tiny_logits.json"), "w") as f:
        json.dump(out, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
