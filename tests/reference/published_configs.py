#!/usr/bin/env python3
"""Checks tests/unit/published_configs.json against transformers: each config.json is built as a model without weights, whose
parameters are counted (of a larger model those of the text part), and whose head width and window are read.

Of each model the file has the config.json as published, with where a copy of it was found (owner/repository: path);
"source": null are those of which none was found, written from memory.

Made with: transformers 5.24.0, torch 2.15.0.
Usage: published_configs.py tests/unit/published_configs.json
"""
import json
import sys

import torch
import transformers


def build(config):
    """The model on the meta device: sizes without memory. Of a larger model the text part alone."""
    config = {k: v for k, v in config.items() if k not in ("quantization_config", "auto_map")}
    text = getattr(transformers, config["architectures"][0]).config_class.from_dict(config).get_text_config()
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(text)


def facts(model):
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    window = getattr(config, "sliding_window", None) or 0
    return {"parameters": sum(p.numel() for p in model.parameters()), "head_dim": head,
            "window": window if "sliding_attention" in kinds and window < config.max_position_embeddings else 0}


def main():
    with open(sys.argv[1]) as file:
        models = json.load(file)
    wrong = 0
    for model in models:
        found = facts(build(model["config"]))
        differs = {k: (model[k], v) for k, v in found.items() if model[k] != v}
        wrong += bool(differs)
        print(model["name"], differs or "ok", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
