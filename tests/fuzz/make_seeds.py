#!/usr/bin/env python3
"""Writes the binary seeds of the fuzz targets into corpus/: small valid model files from which the fuzzer departs.

Usage: make_seeds.py   (standard library only; the results are committed)
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
# GGUF type: number, elements and bytes of a block.
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
          "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144),
          "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)}


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B"}[kind], content)


def key(name, kind, content, element=None):
    head = string(name) + struct.pack("<I", kind)
    if kind == ARRAY:
        return head + struct.pack("<IQ", element, len(content)) + b"".join(value(element, c) for c in content)
    return head + value(kind, content)


def gguf(keys, tensors):
    """tensors: (name, type, dims fastest first)."""
    infos, data = b"", b""
    for name, kind, dims in tensors:
        number, elements, size = BLOCKS[kind]
        count = 1
        for dim in dims:
            count *= dim
        data += bytes(-len(data) % 32)
        infos += string(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
        infos += struct.pack("<IQ", number, len(data))
        data += bytes(i * 7 % 61 for i in range(count // elements * size))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def llama():
    keys = [
        key("general.architecture", STRING, "llama"),
        key("llama.block_count", U32, 1),
        key("llama.context_length", U32, 64),
        key("llama.embedding_length", U32, 32),
        key("llama.feed_forward_length", U32, 32),
        key("llama.attention.head_count", U32, 2),
        key("llama.attention.head_count_kv", U32, 1),
        key("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        key("llama.rope.freq_base", F32, 10000.0),
        key("llama.vocab_size", U32, 4),
        key("tokenizer.ggml.model", STRING, "gpt2"),
        key("tokenizer.ggml.tokens", ARRAY, ["a", "b", "ab", "<|end|>"], STRING),
        key("tokenizer.ggml.token_type", ARRAY, [1, 1, 1, 3], I32),
        key("tokenizer.ggml.merges", ARRAY, ["a b"], STRING),
        key("tokenizer.ggml.eos_token_id", U32, 3),
        key("tokenizer.ggml.add_bos_token", BOOL, 0),
    ]
    tensors = [("token_embd.weight", "Q8_0", [32, 4]), ("output_norm.weight", "F32", [32])]
    tensors += [("blk.0.attn_norm.weight", "F32", [32]), ("blk.0.attn_q.weight", "Q4_0", [32, 32]),
                ("blk.0.attn_k.weight", "Q4_1", [32, 16]), ("blk.0.attn_v.weight", "Q5_0", [32, 16])]
    return gguf(keys, tensors)


def safetensors(tensors, metadata=None):
    """tensors: (name, dtype, shape, bytes)."""
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(i * 7 % 61 for i in range(at))


def write(target, name, data):
    os.makedirs(os.path.join(HERE, "corpus", target), exist_ok=True)
    with open(os.path.join(HERE, "corpus", target, name), "wb") as file:
        file.write(data)


write("gguf", "llama.gguf", llama())
write("gguf", "types.gguf", gguf([key("general.alignment", U32, 32)],
                                 [("t." + kind, kind, [max(256 if kind.endswith("K") else 32, 32)])
                                  for kind in BLOCKS]))
write("gguf", "empty.gguf", gguf([], []))
write("safetensors", "floats.safetensors", safetensors(
    [("a", "F32", [2, 8], 64), ("b", "BF16", [8], 16), ("c", "F16", [2, 2, 4], 32), ("s", "F32", [], 4)],
    {"format": "pt"}))
write("safetensors", "others.safetensors", safetensors([("i", "I64", [1], 8), ("u", "U8", [3], 3), ("f", "F8_E4M3", [2], 2)]))
write("safetensors", "empty.safetensors", safetensors([]))
