#!/usr/bin/env python3
"""`tenon quantize --method awq` holds one layer, not the model: over two models that differ in their number of layers alone, the
peak of memory differs by less than what few of the added layers take in float32. Not run under sanitizers, which keep freed memory."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from in_family_directory import VOCAB, tokenizer

WIDTH, FF, HEAD, FEW, MANY = 256, 1024, 64, 2, 14
LAYER = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH), "self_attn.v_proj": (WIDTH, WIDTH),
         "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (FF, WIDTH), "mlp.up_proj": (FF, WIDTH),
         "mlp.down_proj": (WIDTH, FF), "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
LAYER_BYTES = 4 * sum(s[0] * (s[1] if len(s) > 1 else 1) for s in LAYER.values())
SIGNS = bytes(0x3C | b & 0x80 for b in range(256))  # bfloat16s of 2^-7 to 2^-6, either sign


def bfloat16s(draw, shape):
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if len(shape) == 1:
        return b"\x80\x3f" * count  # gains: 1
    data = bytearray(draw.randbytes(2 * count))
    data[1::2] = data[1::2].translate(SIGNS)
    return bytes(data)


def write_model(path, layers):
    os.mkdir(path)
    draw, header, data = random.Random(layers), {}, []
    shapes = {"model.embed_tokens.weight": (VOCAB, WIDTH), "model.norm.weight": (WIDTH,)}
    for i in range(layers):
        shapes.update({f"model.layers.{i}.{name}.weight": shape for name, shape in LAYER.items()})
    at = 0
    for name, shape in shapes.items():
        data.append(bfloat16s(draw, shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.writelines(data)
    with open(os.path.join(path, "config.json"), "w") as out:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "vocab_size": VOCAB,
                   "intermediate_size": FF, "num_hidden_layers": layers, "num_attention_heads": WIDTH // HEAD,
                   "num_key_value_heads": WIDTH // HEAD, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                   "max_position_embeddings": 128, "tie_word_embeddings": True, "hidden_act": "silu"}, out)
    with open(os.path.join(path, "tokenizer.json"), "w") as out:
        json.dump(tokenizer(), out)


PEAK = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"""


def peak_bytes(folder, layers):
    """The greatest resident memory, file pages included, of the program."""
    source, text = os.path.join(folder, f"{layers}"), os.path.join(folder, "text.txt")
    write_model(source, layers)
    done = subprocess.run([sys.executable, "-c", PEAK, os.environ["TENON"], "quantize", source, source + "-awq",
                           "--calibration", text, "--samples", "2", "--sequence-length", "16",
                           "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        draw = random.Random(0)
        with open(os.path.join(folder, "text.txt"), "w") as out:
            out.write(bytes(draw.randrange(33, VOCAB) for _ in range(64)).decode())
        few, many = peak_bytes(folder, FEW), peak_bytes(folder, MANY)
    layers = (many - few) / LAYER_BYTES
    print(f"{few >> 20} MiB with {FEW} layers, {many >> 20} MiB with {MANY}: the {MANY - FEW} more take {layers:.2f} layers of "
          f"{LAYER_BYTES >> 20} MiB")
    assert layers < 3, "memory grows with the model"


if __name__ == "__main__":
    main()
