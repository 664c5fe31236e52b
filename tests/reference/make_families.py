#!/usr/bin/env python3
"""Make a tiny random checkpoint of every model family and its logits by transformers.

Writes under --out (golden/):
  families/NAME/   config.json and bfloat16 weights as save_pretrained makes
                   them; most configs rewritten to the spelling of published
                   models (rope_theta and rope_scaling side by side)
  families.json    the prompt, and for each case its files, what it changes in
                   config.json, and the logits at some positions; for each
                   family also those of the same model run in bfloat16, as
                   the bits of each value in hexadecimal, and how far they are
                   from the others at each position, as a share of the largest
  families_mxfp4.json  the same for gpt_oss_mxfp4: gpt_oss with experts of random
                   MXFP4 blocks and scales, named as in the published files

Every parameter is random: gains, biases, sinks and routers too. The prompt is
longer than the windows and than the original contexts of scaled rotations.
All logits are those of the saved directory as from_pretrained reads it;
"logits" are computed in float32 from the bfloat16 weights. Where bfloat16 is
further than 2e-2 from float32, the file says so: there nobody can be asked to
be near to it, only to be nearer to float32 than it is.

Made with: torch 2.15.0, transformers 5.24.0, accelerate 1.14 or near (the exact
versions are recorded in the JSON files).
Usage: make_families.py --out golden [--only NAME]
"""
import argparse
import json
import os
import shutil
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hf_model import versions

VOCAB, WIDTH, PROMPT = 96, 32, 300
POSITIONS = [0, 6, 41, 100, 255, 256, 271, 299]

COMMON = dict(
    vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=64,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=512,
    bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)

LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0,
    "original_max_position_embeddings": 64,
    "long_factor": [1.0, 1.3, 1.9, 2.7, 4.2, 6.1, 7.7, 8.0],
    "short_factor": [1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5]}

# name: (class of the config, what differs from COMMON, keep the config as saved)
FAMILIES = {
    "llama": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True), False),
    "mistral": ("MistralConfig", dict(head_dim=8, sliding_window=24), False),
    "mixtral": ("MixtralConfig", dict(
        head_dim=8, intermediate_size=32, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=None), False),
    "gemma": ("GemmaConfig", dict(head_dim=8, tie_word_embeddings=True,
                                  hidden_act="gelu_pytorch_tanh"), False),
    "gemma2": ("Gemma2Config", dict(
        num_hidden_layers=3, tie_word_embeddings=True, sliding_window=24,
        query_pre_attn_scalar=20, attn_logit_softcapping=3.0,
        final_logit_softcapping=6.0), False),
    "gemma3": ("Gemma3TextConfig", dict(
        num_hidden_layers=3, tie_word_embeddings=True, sliding_window=24,
        query_pre_attn_scalar=20, layer_types=[
            "sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0,
                               "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default",
                                  "rope_theta": 10000.0}}), True),
    "qwen2": ("Qwen2Config", dict(head_dim=8), False),
    "qwen3": ("Qwen3Config", dict(), True),
    "qwen3_moe": ("Qwen3MoeConfig", dict(
        head_dim=8, intermediate_size=32, moe_intermediate_size=32,
        num_experts=5, num_experts_per_tok=3, norm_topk_prob=True,
        decoder_sparse_step=1, mlp_only_layers=[]), False),
    "phi3": ("Phi3Config", dict(
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        sliding_window=40, original_max_position_embeddings=64,
        rope_parameters=LONGROPE), False),
    "smollm3": ("SmolLM3Config", dict(
        head_dim=8, num_hidden_layers=3, no_rope_layers=[1, 0, 1],
        tie_word_embeddings=True), False),
    "olmo2": ("Olmo2Config", dict(head_dim=8), False),
    "granite": ("GraniteConfig", dict(
        head_dim=8, embedding_multiplier=3.0, residual_multiplier=0.4,
        attention_multiplier=0.2, logits_scaling=2.5), False),
    "gpt_oss": ("GptOssConfig", dict(
        head_dim=16, intermediate_size=32, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=24, swiglu_limit=1.25,
        attention_bias=True,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0,
            "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 64}), True),
    "qwen3_moe_dense": ("Qwen3MoeConfig", dict(
        head_dim=8, num_hidden_layers=4, intermediate_size=48,
        moe_intermediate_size=32, num_experts=3, num_experts_per_tok=2,
        norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[3]), True),
    "olmo3": ("Olmo3Config", dict(
        head_dim=8, num_hidden_layers=4, intermediate_size=32,
        sliding_window=24, rope_scaling={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0,
            "original_max_position_embeddings": 64}), True),
}

# Text parts of larger models. name: (prefix of the classes, text, vision, rest
# of the config, names as transformers has written them since 4.52)
VISION = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
              num_attention_heads=1, image_size=16, patch_size=8)
COMPOSITES = {
    "gemma3_vision": ("Gemma3", dict(
        head_dim=8, intermediate_size=32, sliding_window=24,
        query_pre_attn_scalar=20,
        layer_types=["sliding_attention", "full_attention"]),
        VISION, dict(mm_tokens_per_image=4, tie_word_embeddings=True), False),
    "mistral3_vision": ("Mistral3", dict(
        model_type="mistral", head_dim=8, intermediate_size=32,
        sliding_window=None),
        dict(VISION, model_type="pixtral", head_dim=8),
        dict(image_token_index=95, tie_word_embeddings=False), True),
}

# case: (family, what it changes in config.json)
VARIANTS = {
    "llama_linear": ("llama", {
        "max_position_embeddings": 64,
        "rope_scaling": {"type": "linear", "factor": 8.0}}),
    "llama_dynamic": ("llama", {
        "max_position_embeddings": 64,
        "rope_scaling": {"type": "dynamic", "factor": 8.0}}),
    "llama_llama3": ("llama", {
        "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}}),
    "llama_yarn": ("llama", {
        "max_position_embeddings": 64,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
                         "beta_fast": 4.0, "beta_slow": 1.0,
                         "original_max_position_embeddings": 64}}),
    "phi3_partial": ("phi3", {
        "partial_rotary_factor": 0.75,
        "rope_scaling": {"type": "longrope",
                         "long_factor": [1.0, 1.3, 1.9, 2.7, 4.2, 6.1],
                         "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4]}}),
    "qwen2_window": ("qwen2", {
        "use_sliding_window": True, "sliding_window": 24,
        "max_window_layers": 1}),
    "olmo3_published": ("olmo3", {
        "layer_types": None, "rope_parameters": None, "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
                         "attention_factor": 1.2079441541679836,
                         "beta_fast": 32, "beta_slow": 1,
                         "original_max_position_embeddings": 64}}),
    "qwen3_moe_unnormalized": ("qwen3_moe", {"norm_topk_prob": False}),
}


def randomise(model, seed):
    """Give every parameter random values of a size that keeps it felt."""
    gen = torch.Generator().manual_seed(seed)
    less_one = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=gen)
            if "norm" in name:
                p.copy_((0.0 if less_one else 1.0) + 0.3 * noise)
            elif "bias" in name:
                p.copy_(0.3 * noise)
            elif "sinks" in name:
                p.copy_(1.0 + noise)
            elif "embed" in name:
                p.copy_(0.5 * noise)
            else:
                fan_in = p.shape[1] if p.dim() == 2 else WIDTH
                p.copy_(noise * (1.4 / fan_in ** 0.5))


def published(config):
    """The same config in the spelling of transformers 4."""
    config = dict(config)
    rope = config.pop("rope_parameters", None) or {}
    config.pop("layer_types", None)
    config["rope_theta"] = rope.pop("rope_theta", 10000.0)
    partial = rope.pop("partial_rotary_factor", None)
    if partial is not None:
        config["partial_rotary_factor"] = partial
    original = rope.pop("original_max_position_embeddings", None)
    if rope.get("rope_type", "default") == "default":
        config["rope_scaling"] = None
        return config
    if original and "original_max_position_embeddings" not in config:
        rope["original_max_position_embeddings"] = original
    rope["type"] = rope.pop("rope_type")
    config["rope_scaling"] = rope
    return config


def save_weights(model, folder, seed):
    randomise(model.float(), seed)
    model.to(torch.bfloat16).save_pretrained(folder)
    for extra in os.listdir(folder):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(folder, extra))


def renamed(name):
    """Published name to the one that transformers writes."""
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.")
    if name.startswith("language_model."):
        return name.removeprefix("language_model.")
    return "model." + name


def save_composite(name, folder, seed):
    prefix, text, vision, rest, rename = COMPOSITES[name]
    text = {**COMMON, "tie_word_embeddings": rest["tie_word_embeddings"], **text}
    config = getattr(transformers, prefix + "Config")(
        text_config=text, vision_config=vision, **rest)
    model = getattr(transformers, prefix + "ForConditionalGeneration")(config)
    save_weights(model, folder, seed)
    if rename:
        path = os.path.join(folder, "model.safetensors")
        save_file({renamed(n): t for n, t in load_file(path).items()}, path,
                  metadata={"format": "pt"})


def save(name, folder, seed):
    class_name, differs, as_saved = FAMILIES[name]
    settings = dict(COMMON, **differs)
    config = getattr(transformers, class_name)(**settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    save_weights(model, folder, seed)
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        saved = json.load(f)
    if not as_saved:
        saved = published(saved)
    with open(path, "w") as f:
        json.dump(saved, f, indent=1)
        f.write("\n")


def save_mxfp4(dense, folder, seed):
    """The checkpoint `dense` of gpt-oss with packed experts. Every code occurs,
    scales are those that give weights of the usual size."""
    gen = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in load_file(os.path.join(dense, "model.safetensors")).items():
        if ".experts." not in name or name.endswith("_bias"):
            state[name] = tensor
            continue
        experts, columns, rows = tensor.shape
        groups = (experts, rows, columns // 32)
        state[name + "_blocks"] = torch.randint(
            0, 256, groups + (16,), generator=gen, dtype=torch.uint8)
        state[name + "_scales"] = torch.randint(
            122, 125, groups, generator=gen, dtype=torch.uint8)
    os.makedirs(folder, exist_ok=True)
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(dense, "config.json")) as f:
        config = json.load(f)
    config["quantization_config"] = {
        "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router",
            "model.embed_tokens", "lm_head"],
        "quant_method": "mxfp4"}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")


def stored_logits(folder, edit, ids, dtype=torch.float32):
    """Logits of a saved checkpoint whose config.json is changed by `edit`."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(os.path.join(folder, "model.safetensors"), copy)
        with open(os.path.join(folder, "config.json")) as f:
            config = dict(json.load(f), **edit)
        with open(os.path.join(copy, "config.json"), "w") as f:
            json.dump(config, f)
        model, info = getattr(transformers, config["architectures"][0]).from_pretrained(
            copy, dtype=dtype, attn_implementation="eager",
            output_loading_info=True)
        if info["missing_keys"] or info["unexpected_keys"]:
            raise SystemExit("%s: %s" % (folder, info))
        with torch.no_grad():
            return model.eval()(torch.tensor([ids])).logits[0]


def rounded(rows):
    return [[float("%.6g" % x) for x in row] for row in rows.tolist()]


def bits(rows):
    """A string of four hexadecimal digits a value for each row of bfloat16."""
    return ["".join("%04x" % (x & 0xffff) for x in row)
            for row in rows.view(torch.int16).tolist()]


def make_case(name, files, edit, folder, ids):
    logits = stored_logits(folder, edit, ids)[POSITIONS]
    case = {"name": name, "files": files, "edit": edit,
            "logits": rounded(logits)}
    line = "%-24s largest logit %6.2f" % (name, logits.abs().max())
    if not edit:
        brain = stored_logits(folder, edit, ids, torch.bfloat16)[POSITIONS]
        error = (brain.float() - logits).abs().amax(1) / logits.abs().max()
        case["bfloat16_logits"] = bits(brain)
        case["bfloat16_error"] = [float("%.2g" % e) for e in error.tolist()]
        line += ", in bfloat16 off by up to %.2g of it" % error.max()
    print(line)
    return case


def write(folder, name, ids, cases):
    out = {"versions": versions("torch", "transformers", "safetensors", "accelerate"),
           "prompt_ids": ids, "positions": POSITIONS,
           "cases": cases}
    with open(os.path.join(folder, name), "w") as f:
        json.dump(out, f, separators=(",", ":"))
        f.write("\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder to write into")
    ap.add_argument("--seed", type=int, default=20261127)
    ap.add_argument("--only", help="one family, printed and not kept")
    args = ap.parse_args()
    root = os.path.join(args.out, "families")
    gen = torch.Generator().manual_seed(args.seed)
    ids = torch.randint(3, VOCAB, (PROMPT,), generator=gen).tolist()
    cases = []
    seeds = {name: args.seed + 1 + i for i, name in enumerate(FAMILIES)}
    seeds.update((name, args.seed + 101 + i) for i, name in enumerate(COMPOSITES))
    for name, seed in seeds.items():
        if args.only not in (None, name):
            continue
        folder = os.path.join(root, name)
        (save if name in FAMILIES else save_composite)(name, folder, seed)
        cases.append(make_case(name, name, {}, folder, ids))
        for variant, (files, edit) in VARIANTS.items():
            if files == name:
                cases.append(make_case(variant, files, edit, folder, ids))
    if args.only:
        return
    packed = os.path.join(root, "gpt_oss_mxfp4")
    save_mxfp4(os.path.join(root, "gpt_oss"), packed, args.seed)
    write(args.out, "families.json", ids, cases)
    write(args.out, "families_mxfp4.json", ids,
          [make_case("gpt_oss_mxfp4", "gpt_oss_mxfp4", {}, packed, ids)])


if __name__ == "__main__":
    main()
