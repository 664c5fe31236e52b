#!/usr/bin/env python3
"""What a Llama computes along a text in float32, on the weights that its file stands for.

MODEL: a GGUF file (as gguf-py dequantises it), a Hugging Face directory as it
is, or one that gptqmodel quantised. The quantised weights are what gptqmodel's
own dequantisation gives with the scales widened to float32 before the product,
so that nothing is rounded; transformers computes with them. The text is cut
as perplexity.py says. Written are, per window, the log-prob of each token that
comes next, the likeliest token and its lead in logits; and, of quantised
weights, shape and SHA-256 of their float32 bytes (rows of [outputs, inputs]).

Made with: torch 2.15.0, transformers 5.24.0, gptqmodel 7.7.0 (recorded).
Usage: model_reference.py MODEL TEXT --out reference.json [--windows N]
"""
import argparse
import hashlib
import json
import math
import os

import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from hf_model import load as load_gguf, versions
from tokenizer_reference import read_meta, tokenizer_json

WINDOW = 512


def dequantised(path):
    """{module: float32 [outputs, inputs]} of a gptqmodel directory, by gptqmodel."""
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.nn_modules.qlinear import BaseQuantLinear
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
    with open(os.path.join(path, "config.json")) as f:
        method = json.load(f)["quantization_config"]["quant_method"]
    with safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        scales = next(key for key in file.keys() if key.endswith(".scales"))
        dtype = file.get_tensor(scales).dtype  # loaded in another, they would be rounded
    backend = BACKEND.TORCH_AWQ if method == "awq" else BACKEND.TORCH
    model = GPTQModel.load(path, backend=backend, device="cpu", dtype=dtype).model
    values = {}
    for name, module in model.named_modules():
        if not isinstance(module, BaseQuantLinear):
            continue
        module.scales.data = module.scales.data.float()
        if method == "awq":
            w = dequantize_gemm(module.qweight, module.qzeros, module.scales, module.bits, module.group_size)
        else:
            w = module.dequantize_weight()
        values[name] = w.float().T.contiguous()
    return values


def load_directory(path):
    """(model in float32, {weight: {shape, sha256}})"""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(path)
    if not hasattr(config, "quantization_config"):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), {}
    values, weights = dequantised(path), {}
    state = {name: w.float() for name, w in load_file(os.path.join(path, "model.safetensors")).items()
             if name.rpartition(".")[0] not in values}
    for name, w in sorted(values.items()):
        state[name + ".weight"] = w
        weights[name + ".weight"] = {"shape": list(w.shape), "sha256": hashlib.sha256(w.numpy().tobytes()).hexdigest()}
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit("weights do not match: %r %r" % (missing, unexpected))
    return model, weights


def load(path):
    """(model, {weight: {shape, sha256}}, tokenizer)"""
    if os.path.isdir(path):
        return *load_directory(path), Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    spec = tokenizer_json(read_meta(path))
    return load_gguf(path)[0], {}, Tokenizer.from_str(json.dumps(spec))


@torch.no_grad()
def window_scores(model, ids):
    rows = model(torch.tensor([ids])).logits[0, :-1].double()
    logprob = torch.log_softmax(rows, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    top = rows.topk(2, -1)
    return {"ids": ids, "logprob": [round(x, 6) for x in logprob.tolist()], "argmax": top.indices[:, 0].tolist(),
            "gap": [round(x, 4) for x in (top.values[:, 0] - top.values[:, 1]).tolist()]}


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("text")
    ap.add_argument("--out", required=True)
    ap.add_argument("--windows", type=int, help="the first so many only")
    args = ap.parse_args()
    model, weights, tokenizer = load(args.model)
    with open(args.text, encoding="utf-8", newline="") as f:
        ids = tokenizer.encode(f.read(), add_special_tokens=False).ids
    starts = range(0, len(ids) - WINDOW + 1, WINDOW)
    starts, windows = starts[:args.windows], []
    for at in starts:
        windows.append(window_scores(model, ids[at:at + WINDOW]))
        if len(windows) % 6 == 0:
            print("window %d of %d" % (len(windows), len(starts)), flush=True)
    scored = [x for w in windows for x in w["logprob"]]
    out = {"versions": versions("torch", "transformers", *(["gptqmodel"] if weights else [])), "window": WINDOW, "tokens": len(ids),
           "perplexity": round(math.exp(-sum(scored) / len(scored)), 6), "windows": windows, "weights": weights}
    with open(args.out + ".part", "w") as f:
        json.dump(out, f)
    os.replace(args.out + ".part", args.out)
    print("%s: perplexity %.5f over %d windows" % (args.model, out["perplexity"], len(windows)))


if __name__ == "__main__":
    main()
