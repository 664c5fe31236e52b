#!/usr/bin/env python3
"""Write a llama-architecture GGUF as a Hugging Face directory.

config.json, generation_config.json, model.safetensors, tokenizer.json and
tokenizer_config.json with the chat template, as published directories have
them.  Tensors are stored in one type, and none may change by it: a value that
the type does not hold is an error.  float32 holds what every GGUF stands for;
float16 and bfloat16 are for files that requantize.py made in those types.

Made with: gguf 0.19.0, numpy.
Usage: hf_directory.py MODEL.gguf --dtype float32|float16|bfloat16 --out DIR
"""
import argparse
import json
import os
import struct

import numpy as np

from gguf_llama import LlamaFile
from tokenizer_reference import tokenizer_json

# dtype: name in safetensors, bytes of a value
DTYPES = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}


def encode(name, values, dtype):
    """Bytes of a float32 array in another type, in which it must be exact."""
    if dtype == "float32":
        return values.astype("<f4").tobytes()
    if dtype == "float16":
        stored = values.astype("<f2")
        exact = np.array_equal(stored.astype(np.float32), values)
    else:
        bits = values.view(np.uint32)
        stored = (bits >> 16).astype("<u2")
        exact = not (bits & 0xffff).any()
    if not exact:
        raise SystemExit("%s: not all of its values are %s" % (name, dtype))
    return stored.tobytes()


def write_safetensors(path, file, dtype):
    """Header first, from shapes alone; then one tensor after the other."""
    code, width = DTYPES[dtype]
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, values in file.weights():
        end = at + width * values.size
        header[name] = {"dtype": code, "shape": list(values.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, values in file.weights():
            out.write(encode(name, values, dtype))


def special_ids(meta):
    return {name + "_token_id": meta["tokenizer.ggml.%s_token_id" % key]
            for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
            if "tokenizer.ggml.%s_token_id" % key in meta}


def tokenizer_config(meta, spec):
    """As published directories spell it: the text of special tokens, not ids."""
    tokens = meta["tokenizer.ggml.tokens"]
    config = {"tokenizer_class": "PreTrainedTokenizerFast",
              "add_bos_token": bool(meta.get("tokenizer.ggml.add_bos_token", False)),
              "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"}
                                       for t in spec["added_tokens"]},
              "clean_up_tokenization_spaces": False,
              "model_max_length": meta["llama.context_length"]}
    config.update((name.removesuffix("_id"), tokens[i]) for name, i in special_ids(meta).items())
    if "tokenizer.ggml.unknown_token_id" in meta:
        config["unk_token"] = tokens[meta["tokenizer.ggml.unknown_token_id"]]
    if "tokenizer.chat_template" in meta:
        config["chat_template"] = meta["tokenizer.chat_template"]
    return config


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)
        out.write("\n")


def write_directory(path, dtype, folder):
    file = LlamaFile(path)
    os.makedirs(folder, exist_ok=True)
    ids, spec = special_ids(file.meta), tokenizer_json(file.meta)
    write_safetensors(os.path.join(folder, "model.safetensors"), file, dtype)
    write_json(folder, "config.json", dict(
        architectures=["LlamaForCausalLM"], model_type="llama", torch_dtype=dtype,
        hidden_act="silu", attention_bias=False, mlp_bias=False, **file.config(), **ids))
    write_json(folder, "generation_config.json", dict(_from_model_config=True, **ids))
    write_json(folder, "tokenizer.json", spec)
    write_json(folder, "tokenizer_config.json", tokenizer_config(file.meta, spec))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model", help="GGUF file")
    ap.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    write_directory(args.model, args.dtype, args.out)


if __name__ == "__main__":
    main()
