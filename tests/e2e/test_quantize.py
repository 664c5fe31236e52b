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
# Mean squared difference of logits over their mean square: products of a weight and of its codes round differently.
LIMITS = {"awq": 3e-4, "int4": 3e-4, "int8": 1e-5, "fp8": 1e-5}
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word is output 8c + ORDER[i]


def program(*arguments):
    return [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]


def tenon(*arguments, stdin="", code=0):
    done = subprocess.run(program(*arguments), input=stdin, capture_output=True, text=True)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}"
    return done.stdout if code == 0 else done.stderr


def model_directory(name, folder, only=("config.json", "model.safetensors"), source=None):
    path = os.path.join(folder, name)
    os.mkdir(path)
    for file in only:
        os.symlink(os.path.join(source or os.path.join(FAMILIES, name), file), os.path.join(path, file))
    if source:
        return path
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
    words = tenon("quantize", source, broken, *["--calibration", other] + options[2:], code=1)
    assert "before the calibration text, as the model's tokenizer reads it, changed" in words, words


def test_a_stopped_calibration_goes_on_with_what_it_was_begun_with(folder):
    """Stopped before a shard was written, so that the log alone says what the run is of."""
    source, out = os.path.join(folder, "stopped"), os.path.join(folder, "stopped-awq")
    os.mkdir(source)
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        with open(os.path.join(folder, "llama", file), "rb") as a, open(os.path.join(source, file), "wb") as b:
            b.write(a.read())
    text, other = os.path.join(folder, "text-long.txt"), os.path.join(folder, "text-other.txt")
    options = ["--group-size", "8", "--sequence-length", "64", "--samples", "64"]
    in_the_way = os.path.join(out, "model.safetensors.partial")
    os.makedirs(in_the_way)
    assert "Is a directory" in tenon("quantize", source, out, "--calibration", text, *options, code=1)
    os.rmdir(in_the_way)

    def refusal(*arguments):
        return tenon("quantize", source, out, *arguments, code=1)

    def flip(file):
        """The last bit of the last byte, back and forth."""
        with open(os.path.join(source, file), "r+b") as data:
            data.seek(-1, os.SEEK_END)
            byte = data.read(1)[0]
            data.seek(-1, os.SEEK_END)
            data.write(bytes([byte ^ 1]))

    log = os.path.join(out, "calibration.partial")
    words = refusal("--calibration", other, *options)
    assert f"{log} was begun before the calibration text" in words and "give what it was begun with" in words, words
    words = refusal("--calibration", text, "--group-size", "16", *options[2:])
    assert f"{log} was made with --group-size 8, this run has 16: give the same" in words, words
    words = refusal("--calibration", text, *options[:4], "--samples", "63")
    assert "calibration text" in words or "--samples 64, this run has 63" in words, words
    flip("model.safetensors")
    words = refusal("--calibration", text, *options)
    assert f"{log} was begun before the weights of the source changed" in words, words
    flip("model.safetensors")
    tenon("quantize", source, out, "--calibration", text, *options)
    same_files(os.path.join(folder, "whole"), out)


# ---- experts ----

def e4m3(code):
    exponent, fraction = code >> 3 & 15, code & 7
    value = fraction / 512 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -value if code & 128 else value


def decode_compressed(method, tensors, module):
    """[N][K] values of a module of compressed-tensors."""
    scales = tensors[module + ".weight_scale"]
    scale, per_row = values(scales), scales["shape"][1]
    if method == "int4":
        n_all, k_all = struct.unpack("<2q", tensors[module + ".weight_shape"]["data"])
        words = values(tensors[module + ".weight_packed"])
        codes = [(words[n * (k_all // 8) + k // 8] >> 4 * (k % 8) & 15) - 8 for n in range(n_all) for k in range(k_all)]
    else:
        (n_all, k_all), data = tensors[module + ".weight"]["shape"], tensors[module + ".weight"]["data"]
        codes = [e4m3(c) for c in data] if method == "fp8" else struct.unpack("<%db" % len(data), data)
    return [[codes[n * k_all + k] * scale[n * per_row + k * per_row // k_all] for k in range(k_all)] for n in range(n_all)]


def write_dense(folder, name, source, quantized, method):
    """The quantized checkpoint with float32 weights, as a source of its own."""
    path = model_directory(name, folder, only=("config.json", "tokenizer.json"), source=source)
    before, after, header, data = read_tensors(source), read_tensors(quantized), {}, b""
    for tensor, entry in before.items():
        module = tensor.removesuffix(".weight")
        if tensor in after and module + ".weight_scale" not in after:
            floats = values(after[tensor])
        elif method == "awq":
            floats = [value for row in decode(after, module) for value, _ in row]
        else:
            floats = [value for row in decode_compressed(method, after, module) for value in row]
        raw = struct.pack("<%df" % len(floats), *floats)
        header[tensor] = {"dtype": "F32", "shape": entry["shape"], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)
    return path


def check_experts(before, after, method, config):
    """Every matrix of every expert is quantized, no router is, and the lists say so."""
    quantized = {n.rsplit(".", 1)[0] for n in after if n.endswith((".qweight", ".weight_scale"))}
    kept = config["modules_to_not_convert" if method == "awq" else "ignore"]
    for name, entry in before.items():
        module = name.removesuffix(".weight")
        if ".experts." in name:
            assert module in quantized and not any(module.startswith(k) for k in kept), name
        elif name.endswith(".gate.weight"):
            assert after[name]["dtype"] == entry["dtype"] and after[name]["shape"] == entry["shape"] and module in kept, name
            assert method == "awq" or after[name]["data"] == entry["data"], name


def check_router(before, after, layer, router, norm):
    """awq divides the norm's gain by scales, and the router's columns have them: its products are what they were."""
    gains, folded = values(before[layer + norm]), values(after[layer + norm])
    was, is_now = values(before[layer + router]), values(after[layer + router])
    assert gains != folded
    for i, (x, y) in enumerate(zip(was, is_now)):
        column = i % len(gains)
        assert abs(y * folded[column] - x * gains[column]) <= 2 ** -8 * abs(x * gains[column]), (router, i)


def test_experts(name, folder, mlp):
    source, text = os.path.join(folder, name), os.path.join(folder, f"text-{name}.txt")
    with open(text) as file:
        ids = list(file.read().encode())[:32]
    for method in ("awq", "int4", "int8", "fp8"):
        out = os.path.join(folder, f"{name}-{method}")
        if not os.path.exists(out):
            tenon("quantize", source, out, "--method", method)
        before, after = read_tensors(source), read_tensors(out)
        with open(os.path.join(out, "config.json")) as file:
            check_experts(before, after, method, json.load(file)["quantization_config"])
        dense = write_dense(folder, f"{name}-{method}-dense", source, out, method)
        apart = error(logits(dense, ids), logits(out, ids))
        print(f"{name} {method}: {apart:.2e} from its weights in float32")
        assert apart < LIMITS[method], (name, method, apart)
    check_router(before, read_tensors(os.path.join(folder, name + "-awq")), "model.layers.0.", mlp + ".gate.weight",
                 "post_attention_layernorm.weight")


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
        test_a_stopped_calibration_goes_on_with_what_it_was_begun_with(folder)
        test_family("qwen2", folder)
        test_family("gemma", folder, offset=1.0)
        test_family("gemma3", folder, offset=1.0)
        test_family("phi3", folder, module="self_attn.qkv_proj")
        test_family("qwen3", folder)
        test_family("granite", folder)
        test_family("mixtral", folder)
        test_family("qwen3_moe", folder)
        test_family("olmo2", folder, module=None)
        test_experts("mixtral", folder, "block_sparse_moe")
        test_experts("qwen3_moe", folder, "mlp")


if __name__ == "__main__":
    main()
