#!/usr/bin/env python3
"""Writes golden/tiny_mixed.gguf: a random two-layer Llama with a tensor of every supported type and a byte-level vocabulary.

Small enough to commit, large enough to run every kernel: width 256 (a K-quant super-block), feed-forward 512, 4 heads over
2 key/value heads of 64, 384 tokens (256 bytes, 8 specials, 120 merges). Its text is noise; its use is to compare Tenon with
itself under different schedules, and to test the whole line where no real model is at hand.

Made with gguf 0.19.0, numpy 2.4.6: python3 make_tiny_gguf.py golden/tiny_mixed.gguf
"""
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q

WIDTH, FF, HEADS, KV_HEADS, LAYERS = 256, 512, 4, 2, 2
rng = np.random.default_rng(20261123)


def k_quant(kind, rows, columns):
    """Random bytes of a K-quant with super-scales of a sane size; gguf-py cannot quantise to these types."""
    block = {Q.Q4_K: 144, Q.Q5_K: 176, Q.Q6_K: 210}[kind]
    data = rng.integers(0, 256, (rows, columns // 256, block), dtype=np.uint8)
    scale = np.frombuffer(rng.uniform(2e-4, 4e-4, (rows * columns // 256)).astype("<f2").tobytes(), np.uint8)
    scale = scale.reshape(rows, columns // 256, 2)
    if kind == Q.Q6_K:
        data[..., 192:208] = rng.integers(-20, 20, data[..., 192:208].shape, dtype=np.int8).view(np.uint8)
        data[..., 208:210] = scale
    else:
        data[..., 0:2] = scale
        data[..., 2:4] = scale
    return data.reshape(rows, -1)


def add(writer, name, kind, rows, columns):
    if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
        writer.add_tensor(name, k_quant(kind, rows, columns), raw_dtype=kind)
        return
    values = (rng.standard_normal((rows, columns)) * 1.2 / np.sqrt(columns)).astype(np.float32)
    writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def byte_names():
    """GPT-2's printable stand-ins for the 256 bytes."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in names:
            names[b] = chr(256 + extra)
            extra += 1
    return [names[b] for b in range(256)]


def vocabulary():
    tokens, merges = byte_names(), []
    letters = "etaoinshrdlu"
    for a in letters:
        for b in letters[:10]:
            merges.append(f"{a} {b}")
            tokens.append(a + b)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(5)]
    return tokens + specials, merges, [1] * len(tokens) + [3] * len(specials)


def main():
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    tokens, merges, kinds = vocabulary()
    writer.add_name("tiny mixed")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokens.index("<|im_start|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
                             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
    kinds_by_layer = [
        {"attn_q": Q.Q4_0, "attn_k": Q.Q4_1, "attn_v": Q.Q5_0, "attn_output": Q.Q5_1, "ffn_gate": Q.Q4_K, "ffn_up": Q.Q5_K,
         "ffn_down": Q.Q6_K},
        {"attn_q": Q.F16, "attn_k": Q.BF16, "attn_v": Q.F32, "attn_output": Q.Q8_0, "ffn_gate": Q.Q4_1, "ffn_up": Q.Q4_0,
         "ffn_down": Q.Q4_K},
    ]
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH // 2, WIDTH), "attn_v": (WIDTH // 2, WIDTH),
              "attn_output": (WIDTH, WIDTH), "ffn_gate": (FF, WIDTH), "ffn_up": (FF, WIDTH), "ffn_down": (WIDTH, FF)}
    add(writer, "token_embd.weight", Q.Q8_0, len(tokens), WIDTH)
    for layer, layer_kinds in enumerate(kinds_by_layer):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", rng.uniform(0.7, 1.3, WIDTH).astype(np.float32))
        for name, kind in layer_kinds.items():
            add(writer, f"blk.{layer}.{name}.weight", kind, *shapes[name])
    writer.add_tensor("output_norm.weight", rng.uniform(2.0, 3.0, WIDTH).astype(np.float32))
    add(writer, "output.weight", Q.Q6_K, len(tokens), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
