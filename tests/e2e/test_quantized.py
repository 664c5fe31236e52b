#!/usr/bin/env python3
"""A tiny Llama, and a tiny gpt-oss, in the layouts of published quantized checkpoints: `tenon plan` counts codes as
codes, and the logits are those of the same numbers kept as floats.

    test_quantized.py LLAMA_DIRECTORY GPT_OSS_DIRECTORY
"""
import array
import bisect
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

from in_family_directory import tokenizer

LLAMA, GPT_OSS = sys.argv[1:]
PROMPT = [5 + 7 * i % 80 for i in range(40)]
GROUP = 32
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def e4m3(code):
    exponent, mantissa = code >> 3 & 15, code & 7
    value = mantissa * 2.0 ** -9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -value if code & 128 else value


def nearest(table):
    """value -> the code in `table` (values by code) next to it."""
    order = sorted(range(len(table)), key=table.__getitem__)
    values = [table[code] for code in order]

    def find(value):
        at = bisect.bisect_left(values, value)
        around = range(max(at - 1, 0), min(at + 1, len(values)))
        return order[min(around, key=lambda i: abs(values[i] - value))]
    return find


E4M3 = [e4m3(code) if code & 127 != 127 else math.inf for code in range(256)]
TO_E4M3 = nearest([value if value < math.inf else 1e9 for value in E4M3])
TO_E2M1 = nearest(E2M1 + [-value for value in E2M1])


def half(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


# ---- checkpoints ----

def read(folder):
    """name -> (dtype, shape, bytes)."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def values_of(dtype, data):
    if dtype == "F32":
        return array.array("f", data)
    return array.array("f", b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)))  # bfloat16


def write(folder, source, tensors, quantization=None):
    """The configuration of `source` with other tensors."""
    os.makedirs(folder)
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))
    with open(os.path.join(source, "config.json")) as file:
        config = json.load(file)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**config, **({"quantization_config": quantization} if quantization else {})}, file)
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump(tokenizer(), file)


def floats(values):
    return array.array("f", values).tobytes()


# ---- layouts: (rows, columns, values) -> tensors by suffix, and the values that they stand for ----

def gptq_act_order(rows, columns, values):
    """4 bits, symmetric, columns of a group picked at random, as desc_act leaves them."""
    order = list(range(columns))
    random.Random(columns).shuffle(order)
    group = [0] * columns
    for place, column in enumerate(order):
        group[column] = place // GROUP
    groups = columns // GROUP
    scale = [[half(max(abs(values[r * columns + c]) for c in range(columns) if group[c] == g) / 7)
              for r in range(rows)] for g in range(groups)]
    code = [[max(0, min(15, round(values[r * columns + c] / scale[group[c]][r]) + 8)) for c in range(columns)]
            for r in range(rows)]
    words = [sum(code[r][8 * k + i] << 4 * i for i in range(8)) for k in range(columns // 8) for r in range(rows)]
    tensors = {"qweight": ("I32", [columns // 8, rows], array.array("I", words).tobytes()),
               "qzeros": ("I32", [groups, rows // 8], array.array("I", [0x77777777] * (groups * rows // 8)).tobytes()),
               "scales": ("F16", [groups, rows], b"".join(struct.pack("<e", s) for line in scale for s in line)),
               "g_idx": ("I32", [columns], array.array("i", group).tobytes())}
    return tensors, [single(scale[group[c]][r] * (code[r][c] - 8)) for r in range(rows) for c in range(columns)]


def fp8_blocks(rows, columns, values):
    """e4m3 with a float32 scale for every 32 x 32."""
    across, down = columns // GROUP, rows // GROUP
    scale = [[single(max(abs(values[r * columns + c]) for r in range(y * GROUP, (y + 1) * GROUP)
                         for c in range(x * GROUP, (x + 1) * GROUP)) / 448) for x in range(across)] for y in range(down)]
    code = [TO_E4M3(values[r * columns + c] / scale[r // GROUP][c // GROUP]) for r in range(rows) for c in range(columns)]
    tensors = {"weight": ("F8_E4M3", [rows, columns], bytes(code)),
               "weight_scale_inv": ("F32", [down, across], floats(s for line in scale for s in line))}
    return tensors, [single(scale[i // columns // GROUP][i % columns // GROUP] * E4M3[c]) for i, c in enumerate(code)]


def int8_tensor(rows, columns, values):
    """8-bit integers, one scale."""
    scale = half(max(map(abs, values)) / 127)
    code = [max(-127, min(127, round(value / scale))) for value in values]
    tensors = {"weight": ("I8", [rows, columns], array.array("b", code).tobytes()),
               "weight_scale": ("F16", [1], struct.pack("<e", scale))}
    return tensors, [single(scale * c) for c in code]


def mxfp4(rows, columns, values):
    """e2m1 in groups of 32 with a power of two."""
    code, powers, stood = [], [], []
    for at in range(0, rows * columns, GROUP):
        piece = values[at:at + GROUP]
        power = math.frexp(max(map(abs, piece)) / 6)[1]
        powers.append(power + 127)
        code += [TO_E2M1(value / 2.0 ** power) for value in piece]
    for i, c in enumerate(code):
        stood.append((-1 if c & 8 else 1) * E2M1[c & 7] * 2.0 ** (powers[i // GROUP] - 127))
    packed = bytes(code[i] | code[i + 1] << 4 for i in range(0, len(code), 2))
    tensors = {"weight_packed": ("U8", [rows, columns // 2], packed),
               "weight_scale": ("U8", [rows, columns // GROUP], bytes(powers))}
    return tensors, stood


def compressed(form, **weights):
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"], "config_groups": {"group_0": {
        "targets": ["Linear"], "format": form, "weights": {"symmetric": True, "dynamic": False, **weights}}}}


LAYOUTS = [
    (gptq_act_order, 4, {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True, "sym": True,
                         "checkpoint_format": "gptq"}),
    (fp8_blocks, 8, {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                     "weight_block_size": [GROUP, GROUP]}),
    (int8_tensor, 8, compressed("int-quantized", num_bits=8, type="int", strategy="tensor")),
    (mxfp4, 4, compressed("mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=GROUP)),
]


# ---- the program ----

def tenon(command, folder, *arguments, stdin=""):
    done = subprocess.run([os.environ["TENON"], command, folder, *arguments, "--set",
                           "plugins.path=" + os.environ["TENON_PLUGINS"]],
                          input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} {folder}: {done.stderr[-1500:]}"
    return json.loads(done.stdout)


def logits(folder):
    positions = tenon("logits", folder, "--ids", "--top", "96", stdin=json.dumps(PROMPT))["positions"]
    assert len(positions) == len(PROMPT)
    return [dict(position["top"]) for position in positions]


def weight_bytes(folder):
    return tenon("plan", folder, "--json")["bytes"]["weights"]


def compare(name, folder, elements, dense_bits, bits):
    """The two checkpoints in `folder`, of which `elements` weights differ."""
    saved = weight_bytes(os.path.join(folder, "dense")) - weight_bytes(os.path.join(folder, "packed"))
    kept = dense_bits - 8 * saved / elements
    print(f"{name}: {kept:.2f} bits per weight")
    assert bits <= kept <= bits + 2
    expected, got = logits(os.path.join(folder, "dense")), logits(os.path.join(folder, "packed"))
    largest = max(abs(value) for row in expected for value in row.values())
    both = [(want[token], have[token]) for want, have in zip(expected, got) for token in want if token in have]
    error = max(abs(want - have) for want, have in both)
    print(f"{name}: logits differ by {error / largest:.2g}")
    assert len(both) > 90 * len(PROMPT) and error <= 2e-3 * largest


def check_llama(layout, bits, quantization, folder):
    dense, packed, elements = read(LLAMA), {}, 0
    for name, (dtype, shape, data) in dense.items():
        if "_proj" not in name:
            packed[name] = (dtype, shape, data)
            continue
        tensors, stood = layout(*shape, values_of(dtype, data))
        dense[name] = (dtype, shape, floats(stood))
        packed.update({name.replace("weight", suffix): tensor for suffix, tensor in tensors.items()})
        elements += len(stood)
    write(os.path.join(folder, "dense"), LLAMA, dense)
    write(os.path.join(folder, "packed"), LLAMA, packed, quantization)
    compare(layout.__name__, folder, elements, 32, bits)


def check_gpt_oss(folder):
    """Experts in MXFP4, gate and up by turns; those in floats are stored [E, K, N]."""
    dense, packed, elements = read(GPT_OSS), {}, 0
    for name, (dtype, (*shape,), data) in dense.items():
        if not name.endswith("_proj"):
            packed[name] = (dtype, shape, data)
            continue
        experts, columns, rows = shape
        values = values_of(dtype, data)
        turned = [values[(e * columns + c) * rows + r] for e in range(experts) for r in range(rows) for c in range(columns)]
        tensors, stood = mxfp4(experts * rows, columns, turned)
        back = floats(stood[(e * rows + r) * columns + c] for e in range(experts) for c in range(columns) for r in range(rows))
        dense[name] = (dtype, shape, b"".join(back[i + 2:i + 4] for i in range(0, len(back), 4)))
        groups = columns // GROUP
        packed[name + "_blocks"] = ("U8", [experts, rows, groups, GROUP // 2], tensors["weight_packed"][2])
        packed[name + "_scales"] = ("U8", [experts, rows, groups], tensors["weight_scale"][2])
        elements += len(stood)
    write(os.path.join(folder, "dense"), GPT_OSS, dense)
    write(os.path.join(folder, "packed"), GPT_OSS, packed, {"quant_method": "mxfp4"})
    compare("gpt_oss", folder, elements, 16, 4)


def main():
    for layout, bits, quantization in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            check_llama(layout, bits, quantization, folder)
    with tempfile.TemporaryDirectory() as folder:
        check_gpt_oss(folder)


main()
