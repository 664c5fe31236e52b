#!/usr/bin/env python3
"""Quantise tiny models of make_families.py as real checkpoints are, and keep them with the logits of their values.

  families_gptq.json        mixtral and qwen3_moe by gptqmodel on CPU, 4 bits in act-order: every expert has columns in
                            an order of its own. gptqmodel now names Mixtral's experts as Qwen's; they are given back
                            the names that the published checkpoints have.
  families_compressed.json  phi3, whose qkv_proj and gate_up_proj the graph takes apart, and mixtral, whose experts it
                            stacks, with one scale a tensor: FP8 with static inputs and int8 (W8A8), packed by
                            compressed-tensors.

Under families/ NAME has config.json of the dense model with the quantization_config of its writer, and the tensors
that the writer saved. Logits are transformers' in float32 over the values that its packages read, with scales widened
to float32 first.

Made with: torch, transformers, safetensors, gptqmodel, compressed-tensors (versions are in the JSON files).
Usage: make_quantized_families.py --out golden --work DIR
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import make_compressed
import make_gptqmodel
from gptqmodel.quantization import FORMAT
from make_families import POSITIONS, VOCAB, rounded, stored_logits
from hf_model import versions
from quant_golden import checkpoint

EXPERT_NAMES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}


def published_mixtral(name):
    """mlp.experts.0.gate_proj.scales as block_sparse_moe.experts.0.w1.scales."""
    for ours, theirs in EXPERT_NAMES.items():
        if ".experts." in name:
            name = name.replace("." + ours + ".", "." + theirs + ".")
    return name.replace(".mlp.", ".block_sparse_moe.")


def write_json(path, value, **style):
    with open(path, "w") as file:
        json.dump(value, file, **style)
        file.write("\n")


class Cases:
    """The models of one golden file. dense: the folder with those of make_families.py."""

    def __init__(self, out, work, *packages):
        self.out, self.work, self.cases, self.packages = out, work, [], packages
        with open(os.path.join(out, "families.json")) as file:
            self.ids = json.load(file)["prompt_ids"]

    def dense(self, name):
        return os.path.join(self.out, "families", name)

    def add(self, name, base, quantization, tensors, values):
        """tensors: as saved; values: {name: float32} of every weight that they make up."""
        folder, reference = os.path.join(self.out, "families", name), os.path.join(self.work, name + "_values")
        for path in (folder, reference):
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
        with open(os.path.join(self.dense(base), "config.json")) as file:
            config = json.load(file)
        save_file(values, os.path.join(reference, "model.safetensors"), metadata={"format": "pt"})
        write_json(os.path.join(reference, "config.json"), config)
        config["quantization_config"] = {k: v for k, v in quantization.items() if k != "meta"}
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        write_json(os.path.join(folder, "config.json"), config, indent=1)
        logits = stored_logits(reference, {}, self.ids)[POSITIONS]
        error = (logits - stored_logits(self.dense(base), {}, self.ids)[POSITIONS]).abs().max() / logits.abs().max()
        print("%-24s largest logit %6.2f, %.2g from unquantized" % (name, logits.abs().max(), error))
        self.cases.append({"name": name, "files": name, "edit": {}, "logits": rounded(logits)})

    def write(self, name):
        write_json(os.path.join(self.out, name),
                   {"versions": versions("torch", "transformers", "safetensors", *self.packages),
                    "prompt_ids": self.ids, "positions": POSITIONS, "cases": self.cases}, separators=(",", ":"))


# ---- GPTQ ----

def save_tokenizer(folder):
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", bos_token="w1", eos_token="w2",
                            pad_token="w0").save_pretrained(folder)


def check_orders(name, tensors):
    """Experts of a layer must differ in their order, or the case shows nothing."""
    orders = {tuple(t.tolist()) for key, t in tensors.items() if ".layers.0." in key and key.endswith(".g_idx")
              and ".experts." in key and (".w1." in key or ".gate_proj." in key)}
    if len(orders) < 3:
        raise SystemExit("%s: %d orders among the experts" % (name, len(orders)))


def add_gptq(cases, name, base, rename, **settings):
    source, folder = os.path.join(cases.work, base), os.path.join(cases.work, name)
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(cases.dense(base), source)
    save_tokenizer(source)
    make_gptqmodel.quantise(source, folder, torch.float16, make_gptqmodel.calibration(3), group_size=16,
                            desc_act=True, act_group_aware=False, format=FORMAT.GPTQ, **settings)
    config, tensors = checkpoint(folder)
    tensors = {rename(key): tensor for key, tensor in tensors.items()}
    check_orders(name, tensors)
    values = {key: tensor.float() for key, tensor in tensors.items() if key.endswith(".weight")}
    for key in tensors:
        if key.endswith("qweight"):
            prefix = key.removesuffix("qweight")
            weight = make_gptqmodel.gptq_values(tensors, prefix, settings["bits"], True)
            values[prefix + "weight"] = torch.from_numpy(weight).contiguous()
    module = "model.layers.1.mlp.experts.2.down_proj"
    make_gptqmodel.check_against_torch(folder, module, values[rename(module + ".weight")].numpy())
    cases.add(name, base, config, tensors, values)


# ---- one scale for a tensor ----

def is_packed(name, tensor):
    return tensor.dim() == 2 and not any(part in name for part in ("embed_tokens", "lm_head", "gate.weight"))


def add_compressed(cases, name, base, form, inputs, static=False, **weights):
    tensors, values, config = {}, {}, None
    for key, tensor in load_file(os.path.join(cases.dense(base), "model.safetensors")).items():
        if not is_packed(key, tensor):
            tensors[key], values[key] = tensor, tensor.float()
            continue
        config, packed, read = make_compressed.compressed(form, tensor, inputs, strategy="tensor", **weights)
        if static: # each module its own
            packed["input_scale"] = torch.tensor([0.01 + 0.001 * len(tensors)], dtype=tensor.dtype)
        prefix = key.removesuffix("weight")
        tensors.update((prefix + part, t) for part, t in packed.items())
        values[key] = torch.from_numpy(read).contiguous()
    cases.add(name, base, config, tensors, values)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder of the golden files")
    ap.add_argument("--work", required=True, help="folder for checkpoints, may be deleted afterwards")
    args = ap.parse_args()
    gptq = Cases(args.out, args.work, "gptqmodel")
    add_gptq(gptq, "mixtral_gptq", "mixtral", published_mixtral, bits=4, sym=True)
    add_gptq(gptq, "qwen3_moe_gptq", "qwen3_moe", str, bits=8, sym=False)
    gptq.write("families_gptq.json")
    tensor = Cases(args.out, args.work, "compressed-tensors")
    add_compressed(tensor, "phi3_fp8", "phi3", "float-quantized", make_compressed.STATIC_INPUTS, static=True,
                   num_bits=8, type="float")
    add_compressed(tensor, "phi3_int8", "phi3", "int-quantized", make_compressed.INT8_INPUTS, num_bits=8)
    add_compressed(tensor, "mixtral_fp8", "mixtral", "float-quantized", make_compressed.STATIC_INPUTS, static=True,
                   num_bits=8, type="float")
    tensor.write("families_compressed.json")


if __name__ == "__main__":
    main()
