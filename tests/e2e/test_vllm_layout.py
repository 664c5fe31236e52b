#!/usr/bin/env python3
"""What `tenon quantize` writes is what vLLM's loader demands (golden/vllm_layout.json, which vllm_layout.py has vLLM itself say).

    test_vllm_layout.py LLAMA_DIRECTORY GOLDEN [FOLDER]

For each method: config.json says what was said to vLLM; every parameter that vLLM makes has its tensors, of its type and, once
fused, of its shape, and there is no other tensor; numbers stand where vLLM reads them, by a decoder that is first held against
what vLLM makes of a module. With FOLDER the checkpoints are written there, for vllm_layout.py, and nothing is tested.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from in_family_directory import VOCAB, tokenizer

GROUP = 32
METHODS = {"awq": ["--group-size", str(GROUP), "--samples", "8", "--sequence-length", "32"],
           "int4": ["--group-size", str(GROUP)], "int8": [], "fp8": []}
FORMATS = {"F32": "f", "F16": "e", "I64": "q", "I32": "I", "I8": "b"}
FLOATS = {"F32", "F16", "BF16"}  # which vLLM casts as it loads
ERRORS = {"awq": 0.03, "int4": 0.03, "int8": 0.0001, "fp8": 0.001}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word is output 8c + AWQ_ORDER[i]


# ---- what is written ----

def write_source(llama, folder):
    source = os.path.join(folder, "source")
    os.mkdir(source)
    for file in ("config.json", "model.safetensors"):
        os.symlink(os.path.join(os.path.abspath(llama), file), os.path.join(source, file))
    with open(os.path.join(source, "tokenizer.json"), "w") as out:
        json.dump(tokenizer(), out)
    draw = random.Random(1)
    text = os.path.join(folder, "text")
    with open(text, "w") as out:
        out.write(bytes(draw.randrange(33, VOCAB) for _ in range(8 * 32)).decode())
    return source, text


def write_checkpoints(llama, folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        source, text = write_source(llama, work)
        for method, options in METHODS.items():
            options = [*options, *(["--calibration", text] if method == "awq" else [])]
            subprocess.run([os.environ["TENON"], "quantize", source, os.path.join(folder, method), "--method", method, *options,
                            "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]], check=True, stderr=subprocess.DEVNULL)


def read_tensors(folder):
    """name -> {dtype, shape, data}."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: {"dtype": entry["dtype"], "shape": entry["shape"], "data": data[slice(*entry["data_offsets"])]}
            for name, entry in header.items()}


# ---- names, types, shapes ----

def check_parameter(name, wanted, fused, tensors):
    """Takes a parameter's tensors out of `tensors`."""
    module, _, leaf = name.rpartition(".")
    parent, _, last = module.rpartition(".")
    names = [f"{parent}.{part}.{leaf}" if parent else f"{part}.{leaf}" for part in fused.get(last, [last])]
    missing = [each for each in names if each not in tensors]
    assert not missing, f"vLLM's {name} has no {missing}"
    found = [tensors.pop(each) for each in names]
    for each, tensor in zip(names, found):
        same = tensor["dtype"] == wanted["dtype"] or {tensor["dtype"], wanted["dtype"]} <= FLOATS
        assert same, f"{each} is {tensor['dtype']}, vLLM's {name} {wanted['dtype']}"
    joined, axis = list(found[0]["shape"]), wanted["output_dim"]
    if len(found) > 1 and axis is not None:
        joined[axis] = sum(tensor["shape"][axis] for tensor in found)
    assert joined == wanted["shape"], f"{names}: {joined} in all, vLLM's {name} is {wanted['shape']}"


def check_names(method, expected, tensors):
    left = dict(tensors)
    for name, wanted in expected["parameters"].items():
        check_parameter(name, wanted, expected["fused"], left)
    assert not left, f"{method}: vLLM has no place for {sorted(left)}"
    assert len(expected["parameters"]) > 20


# ---- numbers ----

def values(tensor):
    if tensor["dtype"] == "F8_E4M3":
        return [e4m3(code) for code in tensor["data"]]
    code = FORMATS[tensor["dtype"]]
    return struct.unpack("<%d%s" % (len(tensor["data"]) // struct.calcsize("<" + code), code), tensor["data"])


def e4m3(code):
    exponent, mantissa = code >> 3 & 15, code & 7
    value = mantissa * 2.0 ** -9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -value if code & 128 else value


def decode_awq(parts):
    inputs, width = parts["qweight"]["shape"]
    words, zeros, scales = (values(parts[name]) for name in ("qweight", "qzeros", "scales"))

    def nibble(from_words, row, n):
        return from_words[row * width + n // 8] >> 4 * AWQ_ORDER.index(n % 8) & 15

    return [[(nibble(words, k, n) - nibble(zeros, k // GROUP, n)) * scales[k // GROUP * width * 8 + n] for k in range(inputs)]
            for n in range(width * 8)]


def decode_int4(parts):
    words, scales = values(parts["weight_packed"]), values(parts["weight_scale"])
    outputs, inputs = values(parts["weight_shape"])
    return [[((words[(n * inputs + k) // 8] >> k % 8 * 4 & 15) - 8) * scales[(n * inputs + k) // GROUP] for k in range(inputs)]
            for n in range(outputs)]


def decode_bytes(parts):
    codes, scales, (outputs, inputs) = values(parts["weight"]), values(parts["weight_scale"]), parts["weight"]["shape"]
    return [[codes[n * inputs + k] * scales[n] for k in range(inputs)] for n in range(outputs)]


DECODERS = {"awq": decode_awq, "int4": decode_int4, "int8": decode_bytes, "fp8": decode_bytes}


def difference(left, right):
    """Greatest difference over greatest magnitude."""
    pairs = [pair for a, b in zip(left, right, strict=True) for pair in zip(a, b, strict=True)]
    return max(abs(a - b) for a, b in pairs) / max(abs(b) for _, b in pairs)


def check_decoder(method, module):
    """vLLM rounds scales and products to bfloat16."""
    parts = {name: {**part, "data": bytes.fromhex(part["data"])} for name, part in module["tensors"].items()}
    ours = DECODERS[method](parts)
    theirs = [struct.unpack("<%df" % (len(row) // 8), bytes.fromhex(row)) for row in module["values"]]
    off = difference([ours[row] for row in module["rows"]], theirs)
    print(f"{method}: {off:.5f} between the decoder and vLLM", end=", ")
    assert off <= 2 ** -8


def check_numbers(method, module, tensors, original):
    """Squared error, as a share: rounding takes little, and the wrong place about 2. awq's columns are scaled besides."""
    prefix = module["name"] + "."
    parts = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    wanted = values(original[prefix + "weight"])
    ours = [value for row in DECODERS[method](parts) for value in row]
    off = sum((a - b) ** 2 for a, b in zip(ours, wanted, strict=True)) / sum(b * b for b in wanted)
    print(f"{off:.6f} between it and the original", flush=True)
    assert off <= ERRORS[method], f"{method}: {off}"


def main():
    llama, golden, *folder = sys.argv[1:]
    if folder:
        return write_checkpoints(llama, folder[0])
    with open(golden) as file:
        methods = json.load(file)["methods"]
    assert sorted(methods) == sorted(METHODS)
    original = read_tensors(llama)
    with tempfile.TemporaryDirectory() as work:
        write_checkpoints(llama, work)
        for method, expected in methods.items():
            with open(os.path.join(work, method, "config.json")) as file:
                config = json.load(file)["quantization_config"]
            assert config == expected["quantization_config"], f"{method}: config.json has {config}, vLLM was asked about " \
                f"{expected['quantization_config']}: ask it again (vllm_layout.py)"
            tensors = read_tensors(os.path.join(work, method))
            check_names(method, expected, tensors)
            check_decoder(method, expected["module"])
            check_numbers(method, expected["module"], tensors, original)


if __name__ == "__main__":
    main()
