#!/usr/bin/env python3
"""`tenon quantize` with a calibration text, over tiny checkpoints of several families (argv[1]: their folder).

What is written computes what the original does but for rounding, nearer to it than rounding to the nearest on the texts it was
calibrated on; its AWQ tensors, decoded here from AutoAWQ's layout, are the original's; a run that is killed again and again ends with
the same bytes; wrong requests are refused in words."""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

from in_family_directory import VOCAB, tokenizer

FAMILIES = sys.argv[1]
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word is output 8c + ORDER[i]


def program(*arguments):
    return [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]


def tenon(*arguments, stdin="", code=0):
    done = subprocess.run(program(*arguments), input=stdin, capture_output=True, text=True)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    return done.stdout if code == 0 else done.stderr


def model_directory(name, folder):
    path = os.path.join(folder, name)
    os.mkdir(path)
    for file in ("config.json", "model.safetensors"):
        os.symlink(os.path.join(FAMILIES, name, file), os.path.join(path, file))
    with open(os.path.join(path, "tokenizer.json"), "w") as out:
        json.dump(tokenizer(), out)
    return path


def write_text(folder, seed, count):
    """A text of `count` tokens: bytes that the tokenizer knows, which are their own ids."""
    draw = random.Random(seed)
    ids = [draw.randrange(33, VOCAB) for _ in range(count)]
    path = os.path.join(folder, f"text-{seed}.txt")
    with open(path, "w") as out:
        out.write(bytes(ids).decode())
    return path, ids


def logits(model, ids):
    out = json.loads(tenon("logits", model, "--ids", "--top", str(VOCAB), stdin=json.dumps(ids)))
    return [dict(row["top"]) for row in out["positions"]]


def error(left, right):
    """Mean squared difference of logits over their mean square."""
    pairs = [(a[t], b[t]) for a, b in zip(left, right) for t in a if t in b]
    return sum((x - y) ** 2 for x, y in pairs) / sum(x * x for x, _ in pairs)


def read_tensors(path):
    with open(os.path.join(path, "model.safetensors"), "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        entry["data"] = data[8 + size + begin:8 + size + end]
    return header


FORMATS = {"F32": "f", "F16": "e", "I32": "I"}


def values(entry):
    if entry["dtype"] == "BF16":
        words = struct.unpack("<%dH" % (len(entry["data"]) // 2), entry["data"])
        return struct.unpack("<%df" % len(words), struct.pack("<%dI" % len(words), *[w << 16 for w in words]))
    code = FORMATS[entry["dtype"]]
    return struct.unpack("<%d%s" % (len(entry["data"]) // struct.calcsize(code), code), entry["data"])


def decode(tensors, module):
    """[N][K] values of an AWQ gemm module, and half a step of each."""
    words, zeros, scales = (values(tensors[f"{module}.{part}"]) for part in ("qweight", "qzeros", "scales"))
    (k_all, width), n_all = tensors[f"{module}.qweight"]["shape"], tensors[f"{module}.scales"]["shape"][1]
    group = k_all // tensors[f"{module}.scales"]["shape"][0]
    assert tensors[f"{module}.qzeros"]["shape"] == [k_all // group, width] and width * 8 == n_all

    def nibble(from_words, row, n):
        return from_words[row * width + n // 8] >> 4 * ORDER.index(n % 8) & 15

    rows = []
    for n in range(n_all):
        rows.append([])
        for k in range(k_all):
            scale = scales[k // group * n_all + n]
            rows[n].append(((nibble(words, k, n) - nibble(zeros, k // group, n)) * scale, scale / 2))
    return rows


def check_tensors(original, quantized, module, gain, offset):
    """q_proj's columns times what the norm's gain lost are the original's, within half a step unless the grid is narrowed.
    The last quarter of fused q, k and v is v, whose rows are divided besides."""
    before, after = read_tensors(original), read_tensors(quantized)
    weight, shape = values(before[module + ".weight"]), before[module + ".weight"]["shape"]
    gains, folded = values(before[gain]), values(after[gain])
    rows = shape[0] * 3 // 4 if "qkv" in module else shape[0]
    near = 0
    for n, row in enumerate(decode(after, module)[:rows]):
        for k, (value, half) in enumerate(row):
            scale = (gains[k] + offset) / (folded[k] + offset)
            near += abs(value - weight[n * shape[1] + k] * scale) <= half * 1.01
    assert near > 0.9 * rows * shape[1], f"{module}: {near} of {shape}"
    assert gains != folded, "no scale was folded"


def quantize(source, out, text, *more):
    tenon("quantize", source, out, "--calibration", text, "--group-size", "8", "--sequence-length", "32", "--samples", "8",
          *more)


def test_family(name, folder, module="self_attn.q_proj", offset=0.0):
    source = model_directory(name, folder)
    text, ids = write_text(folder, name, 8 * 32)
    awq, nearest = os.path.join(folder, name + "-awq"), os.path.join(folder, name + "-int4")
    quantize(source, awq, text)
    tenon("quantize", source, nearest, "--method", "int4", "--group-size", "8")
    with open(os.path.join(awq, "config.json")) as file:
        config = json.load(file)["quantization_config"]
    assert (config["quant_method"], config["version"], config["bits"], config["group_size"], config["zero_point"]) == \
        ("awq", "gemm", 4, 8, True) and "lm_head" in config["modules_to_not_convert"], config
    mean = [0.0, 0.0]
    for at in range(0, len(ids), 32):
        exact = logits(source, ids[at:at + 32])
        mean[0] += error(exact, logits(awq, ids[at:at + 32])) / 8
        mean[1] += error(exact, logits(nearest, ids[at:at + 32])) / 8
    print(f"{name}: awq {mean[0]:.5f}, nearest {mean[1]:.5f}")
    assert mean[0] <= mean[1] < 0.5, (name, mean)
    if module:
        layer = "model.layers.0."
        check_tensors(source, awq, layer + module, layer + "input_layernorm.weight", offset)


def same_files(left, right):
    names = sorted(os.listdir(left))
    assert names == sorted(os.listdir(right)), (names, os.listdir(right))
    for name in names:
        with open(os.path.join(left, name), "rb") as a, open(os.path.join(right, name), "rb") as b:
            assert a.read() == b.read(), name


def test_killed_runs_end_with_the_same_bytes(folder, kills=8):
    source = os.path.join(folder, "llama")
    text, _ = write_text(folder, "long", 64 * 64)
    options = ["--calibration", text, "--group-size", "8", "--sequence-length", "64", "--samples", "64"]
    whole, broken = os.path.join(folder, "whole"), os.path.join(folder, "broken")
    start = time.monotonic()
    tenon("quantize", source, whole, *options)
    took = time.monotonic() - start
    killed = 0
    for i in range(kills):
        process = subprocess.Popen(program("quantize", source, broken, *options), stderr=subprocess.DEVNULL)
        time.sleep(took * (i + 1) / (kills + 1))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    log = os.path.join(broken, "calibration.partial")
    if os.path.exists(log):
        with open(log, "r+b") as file:  # as if the last record had not reached the disk
            file.truncate(os.path.getsize(log) - 5)
    tenon("quantize", source, broken, *options)
    same_files(whole, broken)
    tenon("quantize", source, broken, *options)  # nothing is left to do
    same_files(whole, broken)
    assert killed >= 1
    print(f"{killed} runs of {took:.2f} s were killed")
    other, _ = write_text(folder, "other", 64 * 64)
    assert "other settings" in tenon("quantize", source, broken, *["--calibration", other] + options[2:], code=1)


def test_refusals(folder):
    source, out = os.path.join(folder, "llama"), os.path.join(folder, "refused")
    text, _ = write_text(folder, "short", 100)
    assert "--calibration FILE" in tenon("quantize", source, out, code=2)
    assert "--bits takes 4 or 8" in tenon("quantize", source, out, "--bits", "3", code=2)
    assert "--bits is not what" in tenon("quantize", source, out, "--method", "fp8", "--bits", "4", code=2)
    assert "for --method awq" in tenon("quantize", source, out, "--bits", "8", "--calibration", text, code=2)
    assert "is for 4 bits" in tenon("quantize", source, out, "--method", "int8", "--group-size", "32", code=2)
    assert "No such file" in tenon("quantize", source, out, "--calibration", os.path.join(folder, "none.txt"), code=1)
    words = tenon("quantize", source, out, "--calibration", text, "--samples", "4", "--sequence-length", "32", code=1)
    assert "has 100 tokens" in words and "--samples of at most 3" in words, words
    words = tenon("quantize", source, out, "--calibration", text, "--samples", "1", "--sequence-length", "32",
                  "--group-size", "1024", code=1)
    assert "do not divide: --group-size can be 8" in words, words
    assert not os.path.exists(out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        test_family("llama", folder)
        test_refusals(folder)
        test_killed_runs_end_with_the_same_bytes(folder)
        test_family("qwen2", folder)
        test_family("gemma", folder, offset=1.0)
        test_family("gemma3", folder, offset=1.0)
        test_family("phi3", folder, module="self_attn.qkv_proj")
        test_family("qwen3", folder)
        test_family("granite", folder)
        test_family("mixtral", folder)
        test_family("olmo2", folder, module=None)


if __name__ == "__main__":
    main()
