"""The golden files of test_quant_checkpoints.c: quantised modules as their writer saved them, and their values."""
import json
import os

import numpy as np
import torch
from safetensors import safe_open

from hf_model import versions

NAMES = {torch.int32: "I32", torch.int64: "I64", torch.int8: "I8", torch.uint8: "U8", torch.float16: "F16",
         torch.bfloat16: "BF16", torch.float32: "F32", torch.float8_e4m3fn: "F8_E4M3"}


def checkpoint(folder):
    """(quantization_config, {name: tensor}) of a saved directory."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            with safe_open(os.path.join(folder, name), "pt") as file:
                tensors.update((key, file.get_tensor(key)) for key in file.keys())
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)["quantization_config"], tensors


class Golden:
    def __init__(self, *packages):
        self.versions = versions(*packages)
        self.cases = []

    def add(self, name, config, tensors, weight, values, rows=(0, 1, 6, 7)):
        """tensors: {name: tensor}; values: float32 [N, K], of which rows are kept."""
        stored = []
        for key, tensor in sorted(tensors.items()):
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            stored.append({"name": key, "dtype": NAMES[tensor.dtype], "shape": list(tensor.shape) or [1],
                           "data": data.hex()})
        config = {key: value for key, value in config.items() if key != "meta"}  # the writer's notes to itself
        rows = list(rows) + [len(values) - 1]
        self.cases.append({
            "name": name, "quantization_config": config, "tensors": stored, "weight": weight,
            "shape": list(values.shape), "rows": rows,
            "values": [np.ascontiguousarray(values[r], "<f4").tobytes().hex() for r in rows]})

    def write(self, path):
        with open(path, "w") as file:
            json.dump({"versions": self.versions, "cases": self.cases}, file, indent=0)
            file.write("\n")
