#!/usr/bin/env python3
"""Cut one module out of a real quantized checkpoint: a directory small enough to keep, with its reference.

The tensors are copied as they are; of config.json the model's name and its
quantization_config stay, without the writer's notes to itself; of
reference.json (model_reference.py) the module's shape and hash.

Made with: numpy, safetensors 0.8.0.
Usage: quantized_slice.py DIRECTORY model.layers.14.self_attn.k_proj --out golden/genuine/gptq4
"""
import argparse
import json
import os

from safetensors import safe_open
from safetensors.torch import save_file


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)
        out.write("\n")


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("source")
    ap.add_argument("module")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    with safe_open(os.path.join(args.source, "model.safetensors"), "pt") as file:
        save_file({key: file.get_tensor(key) for key in file.keys() if key.startswith(args.module + ".")},
                  os.path.join(args.out, "model.safetensors"))
    config, reference = read_json(args.source, "config.json"), read_json(args.source, "reference.json")
    quantization = {k: v for k, v in config["quantization_config"].items() if k != "meta"}
    write_json(args.out, "config.json", {"model_type": config["model_type"], "quantization_config": quantization})
    weight = args.module + ".weight"
    write_json(args.out, "reference.json", {"versions": reference["versions"], "weights": {weight: reference["weights"][weight]}})


if __name__ == "__main__":
    main()
