#!/usr/bin/env python3
"""Writes the binary seeds of the fuzz targets into corpus/: small valid model files from which the fuzzer departs.

Usage: make_seeds.py   (standard library only; the results are committed)
"""
import base64
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


LETTERS = "Helowrdaitsbc0123456789!,'\u0120"
WORDS = ["ll", "llo", "He", "\u0120w", "aa", "12", "<|im_end|>", "<s>"]
MERGES = [["l", "l"], ["ll", "o"], ["H", "e"], ["\u0120", "w"], ["a", "a"], ["1", "2"]]


def tokenizer_gguf(pre):
    tokens = list(LETTERS) + WORDS
    return gguf([
        key("tokenizer.ggml.model", STRING, "gpt2"),
        key("tokenizer.ggml.pre", STRING, pre),
        key("tokenizer.ggml.tokens", ARRAY, tokens, STRING),
        key("tokenizer.ggml.token_type", ARRAY, [1] * (len(tokens) - 2) + [3, 4], I32),
        key("tokenizer.ggml.merges", ARRAY, [" ".join(m) for m in MERGES], STRING),
        key("tokenizer.ggml.bos_token_id", U32, len(tokens) - 1),
        key("tokenizer.ggml.eos_token_id", U32, len(tokens) - 2),
        key("tokenizer.ggml.add_bos_token", BOOL, 1),
        key("tokenizer.ggml.add_space_prefix", BOOL, 1),
    ], [])


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix, regex):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "use_regex": regex}


def tokenizer_json(steps, normalizer=None, post=None, merges=MERGES, **model):
    """Ids of the two added tokens: 60 and 61."""
    added = [{"id": 60, "content": WORDS[-2], "special": True, "normalized": False, "rstrip": True},
             {"id": 61, "content": WORDS[-1], "special": False, "normalized": True, "lstrip": True, "single_word": True}]
    vocab = {text: i for i, text in enumerate(list(LETTERS) + WORDS[:-2])}
    return json.dumps({
        "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": post,
        "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": merges, **model},
    }, separators=(",", ":"), ensure_ascii=False).encode()


SPACE = "\u2581"
PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<|im_end|>", 0.0, 4)]
PIECES += [("<0x%02X>" % byte, 0.0, 6) for byte in (0x0A, 0xC3, 0xB6, 0xF0)]
PIECES += [(text, -1.5 - i / 4, 1) for i, text in enumerate(["ll", "He", "llo", SPACE + "w", "aa", "12", *"Helowrdaits12", SPACE])]


def charsmap():
    """The double array of one key, "a", whose replacement is "bb"."""
    units = [1 << 10, 0, 0] + [0] * 200
    units[1 ^ ord("a")] = 2 << 10 | 1 << 8 | ord("a")
    units[1 ^ ord("a") ^ 2] = 1 << 31 | 0
    trie = struct.pack("<%dI" % len(units), *units)
    return struct.pack("<I", len(trie)) + trie + b"bb\0"


def proto(number, content):
    """One field: bytes, a float, or an integer."""
    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])
    if isinstance(content, bytes):
        return varint(number << 3 | 2) + varint(len(content)) + content
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    return varint(number << 3) + varint(content)


def tokenizer_model(kind, more=b"", normalizer=b""):
    pieces = b"".join(proto(1, proto(1, text.encode()) + proto(2, score) + proto(3, type_)) for text, score, type_ in PIECES)
    return pieces + proto(2, proto(3, kind) + more) + proto(3, normalizer)


def spm_gguf(model, **more):
    return gguf([
        key("tokenizer.ggml.model", STRING, model),
        key("tokenizer.ggml.tokens", ARRAY, [p[0] for p in PIECES], STRING),
        key("tokenizer.ggml.scores", ARRAY, [p[1] for p in PIECES], F32),
        key("tokenizer.ggml.token_type", ARRAY, [p[2] for p in PIECES], I32),
        key("tokenizer.ggml.bos_token_id", U32, 1), key("tokenizer.ggml.eos_token_id", U32, 2),
        key("tokenizer.ggml.unknown_token_id", U32, 0),
        key("tokenizer.ggml.add_space_prefix", BOOL, 1), key("tokenizer.ggml.remove_extra_whitespaces", BOOL, 1),
    ] + ([key("tokenizer.ggml.precompiled_charsmap", ARRAY, list(charsmap()), U32)] if model == "t5" else []), [])


def spm_json(model, normalizer, pre, decoder):
    added = [{"id": i, "content": p[0], "special": p[2] != 4, "normalized": p[2] == 4, "lstrip": False, "rstrip": True}
             for i, p in enumerate(PIECES) if p[2] in (2, 3, 4)]
    if model == "BPE":
        body = {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
                "vocab": {p[0]: i for i, p in enumerate(PIECES)}, "merges": [["l", "l"], ["ll", "o"], ["H", "e"]]}
    else:
        body = {"type": "Unigram", "unk_id": 0, "vocab": [[p[0], p[1]] for p in PIECES]}
    return json.dumps({"added_tokens": added, "normalizer": normalizer, "pre_tokenizer": pre, "decoder": decoder,
                       "model": body}, separators=(",", ":"), ensure_ascii=False).encode()


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
write("tokenizer_gguf", "smollm.gguf", tokenizer_gguf("smollm"))
write("tokenizer_gguf", "gpt-4o.gguf", tokenizer_gguf("gpt-4o"))
write("tokenizer_gguf", "llama-bpe.gguf", tokenizer_gguf("llama-bpe"))
write("tokenizer_json", "llama3.json", tokenizer_json(
    [split(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
     byte_level(False, False)], {"type": "NFC"},
    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
     "special_tokens": {"<s>": {"ids": [61]}}}, ignore_merges=True))
write("tokenizer_json", "falcon.json", tokenizer_json(
    [{"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True, True),
     {"type": "Digits", "individual_digits": False}, split("\u0120", "MergedWithNext", True, "String")],
    {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]},
    {"type": "Sequence", "processors": [{"type": "ByteLevel"},
                                        {"type": "RobertaProcessing", "sep": ["<s>", 61], "cls": ["<|im_end|>", 60]}]},
    [" ".join(m) for m in MERGES]))
write("tokenizer_json", "oddities.json", tokenizer_json(
    [{"type": "WhitespaceSplit"}, split(r"\w+\b|[[:digit:]\S]|\h|(?m:.)\u00e9", "Removed", True), byte_level(False, False)],
    unk_token="aa", limit=int(1e30)))
write("tokenizer_model", "bpe.model", tokenizer_model(2, proto(35, 1)))
write("tokenizer_model", "unigram.model", tokenizer_model(1, proto(24, 1), proto(2, charsmap()) + proto(4, 0)))
write("tokenizer_spm_gguf", "llama.gguf", spm_gguf("llama"))
write("tokenizer_spm_gguf", "t5.gguf", spm_gguf("t5"))
write("tokenizer_spm_gguf", "holes.gguf", gguf([
    key("tokenizer.ggml.model", STRING, "llama"), key("tokenizer.ggml.tokens", ARRAY, ["", ""], STRING),
    key("tokenizer.ggml.scores", ARRAY, [0.0, 0.0], F32), key("tokenizer.ggml.unknown_token_id", U32, 0)], []))
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
META = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": True}
write("tokenizer_spm_json", "llama.json", spm_json(
    "BPE", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, REPLACE]}, None,
    {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}))
write("tokenizer_spm_json", "t5.json", spm_json(
    "Unigram", {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap()).decode()}, {"type": "NFKC"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, {"type": "Strip", "strip_left": True}]},
    {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, META, {
        "type": "Split", "pattern": {"String": "l"}, "behavior": "MergedWithNext", "invert": False}]}, META))



def quant(tensors, config):
    """tensors: eight of (dtype index, rows, columns, rank, small integers)."""
    heads = b"".join(bytes([dtype, rows - 1, columns - 1, rank - 1 | 2 * small])
                     for dtype, rows, columns, rank, small in tensors)
    return heads + json.dumps({"quantization_config": config}, separators=(",", ":")).encode()


I32, F16, U8, I8, F8, I64 = range(6)
NONE = (I64, 1, 1, 1, 0)
for version, shapes in (("gemm", [(I32, 32, 2, 2, 0), (I32, 2, 2, 2, 0), (F16, 2, 16, 2, 0)]),
                        ("gemv", [(I32, 8, 4, 2, 0), (I32, 8, 1, 2, 0), (F16, 8, 8, 2, 0)])):
    write("quant_awq", version, quant(shapes + [NONE] * 5,
                                      {"quant_method": "awq", "bits": 4, "group_size": 16, "version": version}))
for bits in (2, 3, 4, 8):
    write("quant_gptq", "bits%d" % bits, quant(
        [(I32, bits, 32, 2, 0), (I32, 2, bits, 2, 0), (F16, 2, 32, 2, 0), (I32, 32, 1, 1, 1)] + [NONE] * 4,
        {"quant_method": "gptq", "bits": bits, "group_size": 16, "desc_act": True, "sym": False}))


def weights(**settings):
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": settings}}}


write("quant_compressed", "int8", quant([(I8, 8, 32, 2, 0), NONE, (F16, 8, 1, 2, 0)] + [NONE] * 5,
                                        weights(num_bits=8, type="int", strategy="channel")))
write("quant_compressed", "fp8_block", quant([(F8, 8, 32, 2, 0), NONE, NONE, (F16, 2, 2, 2, 0)] + [NONE] * 4,
                                             {"quant_method": "fp8", "weight_block_size": [4, 16]}))
write("quant_compressed", "int4", quant([NONE, (I32, 2, 1, 2, 0), (F16, 2, 1, 2, 0), NONE, (I32, 1, 1, 2, 0),
                                         (I32, 2, 1, 1, 1), (I32, 2, 1, 1, 1), NONE],
                                        weights(num_bits=4, type="int", strategy="group", group_size=16, symmetric=False)))


def manifest(files):
    return json.dumps({"format": "tenon.model/1", "entry": files[0][0], "files": [
        {"name": name, "bytes": size, "sha256": "%064x" % size} for name, size in files],
        "model": {"container": "gguf"}, "source": {"kind": "gguf"}, "created": "2026-01-01T00:00:00Z"}).encode()


def tar(members):
    data = b""
    for name, body in members:
        head = bytearray(name.encode().ljust(100, b"\0") + b"0000444\0" + b"0000000\0" * 2 + b"%011o\0" % len(body) +
                         b"00000000000\0" + b" " * 8 + b"0" + b"\0" * 100 + b"ustar\00000").ljust(512, b"\0")
        head[148:156] = b"%06o\0 " % sum(head)
        data += bytes(head) + body + b"\0" * (-len(body) % 512)
    return data + b"\0" * 1024


MANIFEST = manifest([("m.gguf", 5), ("docs/a.txt", 1 << 40)])
BUNDLE = json.dumps({"format": "tenon.bundle/1", "model": "m", "version": "v1", "manifest": "sha256:" + "a" * 64, "task": None,
                     "comment": "c", "tags": {"k": "v"}, "metrics": {"loss": 1.5}}).encode()
write("bundle", "manifest.json", MANIFEST)
write("bundle", "bundle.json", BUNDLE)
write("bundle", "m.tar", tar([("bundle.json", BUNDLE), ("blobs/sha256/" + "a" * 64, MANIFEST)]))
SIBLINGS = [{"rfilename": "config.json", "size": 5, "blobId": "b" * 40},
            {"rfilename": "a/model.safetensors", "size": 1 << 34, "blobId": "c" * 40, "lfs": {"sha256": "d" * 64, "size": 1 << 34}},
            {"rfilename": ".gitattributes", "size": 0, "blobId": "e" * 40}]
write("hub_answer", "model.json", json.dumps({"id": "o/n", "sha": "f" * 40, "siblings": SIBLINGS}).encode())
write("hub_answer", "pickle.json", json.dumps({"sha": "f" * 40, "siblings": [dict(SIBLINGS[0], rfilename="x.bin")]}).encode())


# ---- what a server answers SQL: the first byte chooses the status ----

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "a\0b"}, "token_ids": [7], "finish_reason": "stop"}
write("sql_answer", "chat.bin", b"\0" + json.dumps({"choices": [CHOICE], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode())
write("sql_answer", "text.bin", b"\0" + json.dumps({"choices": [{"text": "{\"a\": 1}"}], "count": 4, "tokens": [1, 2]}).encode())
write("sql_answer", "embedding.bin", b"\0" + json.dumps({"data": [{"embedding": [0.5, -1, 2]}]}).encode())
write("sql_answer", "refusal.bin", b"\1" + json.dumps({"error": {"message": "m", "param": "top_p", "code": "c"}}).encode())
write("sql_answer", "options.bin", b"\0" + json.dumps({"window": 8, "ordered": False, "on_error": "null", "raw": True, "top_p": 1}).encode())
write("sql_answer", "messages.bin", b"\0" + json.dumps([{"role": "user", "content": "Hi"}]).encode())


# ---- a group's store ----

BYTES, FRAME, JOIN, HANG_UP, TIME = range(5)


def event(connection, kind, data=b""):
    return struct.pack("<BH", kind * 4 + connection, len(data)) + data


def blob(data):
    return struct.pack("<I", len(data)) + data


def put(number, key, value):
    return struct.pack("<BI", 5, number) + blob(key) + blob(value)


def get(number, key, timeout_ms):
    return struct.pack("<BII", 6, number, timeout_ms) + blob(key)


ALL = b"".join(event(rank, JOIN, bytes([rank])) for rank in range(3))
write("store_hub", "exchange", ALL + event(0, FRAME, get(1, b"id/1", 999)) + event(1, FRAME, put(1, b"id/1", b"value"))
      + event(2, FRAME, get(7, b"id/1", 0)) + event(0, TIME, b"\x10") + event(1, FRAME, put(2, b"id/1", b"again")))
write("store_hub", "end", ALL + event(0, FRAME, get(1, b"k", 500)) + event(0, TIME, b"\x40") + event(0, FRAME, b"\x09")
      + event(2, FRAME, get(2, b"k", 500)) + event(1, HANG_UP) + event(2, FRAME, put(3, b"k", b"")))
write("store_hub", "abort", ALL + event(1, FRAME, struct.pack("<BI", 8, 0xfffffffa) + blob(b"reason")) + event(3, JOIN, b"\x00"))
write("store_hub", "strangers", event(0, JOIN, b"\x01\x02") + event(1, BYTES, b"GET / HTTP/1.1\r\n\r\n") + event(2, TIME, b"\xff")
      + event(3, FRAME, b"\x02" + struct.pack("<III", 1, 0, 3) + bytes(64) + blob(b"g") + blob(b"h")))


# ---- steps for workers ----

def padded(kind, *numbers):
    data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
    return data + bytes(-len(data) % 8)


def step_batch(sampled):
    """Two sequences of three tokens, two output rows; fuzz_step_message.c says for what model. Arrays in the order of step_message.c."""
    needed = [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
    present = sum(1 << i for i in needed) | (sum(1 << i for i in (0, 14, 20, 23, 24, 25, 26, 27, 28, 29)) | 1 << 31 if sampled else 0)
    head = struct.pack("<QQ10I", 2, 1, 0, present, 3, 2, 2, 1, 1, 3 if sampled else 0, 1 if sampled else 0, 2 if sampled else 0)
    seed = padded("Q", 7, 8) if sampled else b""
    rows = b"".join([padded("i", 5, 6, -1), padded("i", 0, 1, 9), padded("I", 0, 2, 3), padded("I", 0, 1), padded("I", 0, 9),
                     padded("I", 1), padded("I", 1), padded("I", 0), padded("I", 4), padded("I", 1, 2), padded("I", 1, 3)])
    sample = b"".join([padded("f", 0, 0.7), padded("I", 0, 5), padded("I", *range(6)), padded("I", 0, 1, 1), padded("i", 4),
                       padded("f", -1), padded("I", 0, 0, 2), padded("i", 1, 2), padded("I", 3, 4)]) if sampled else b""
    return b"\x01" + head + seed + rows + sample


write("step_message", "greedy", step_batch(False))
write("step_message", "sampled", step_batch(True))
write("step_message", "wait", b"\x02" + struct.pack("<Q", 1))
write("step_message", "copy", b"\x03" + struct.pack("<6I", 1, 2, 3, 4, 5, 6))
write("node_list", "ranges", b"gpu[01-03,7],x")
write("node_list", "brackets", b"rack[1-2]n[008-010]-ib,login.cluster_1")
write("node_list", "wrong", b"a[3-1],b[,c]]")

# ---- engines over sockets ----

HELLO, WELCOME, GOODBYE, OPEN, SUBMIT, CANCEL, CREDIT, CLOSE, ASK, TAKEN, REFUSED, EVENT, HEALTH, STATS = range(1, 15)
MAGIC, TAG = 0x6d6172666e6e6574, 1 << 33


def frame(kind, body):
    return struct.pack("<IB", len(body) + 1, kind) + body


def note(kind, channel=0, tag=0, number=0, status=0, text=b""):
    return frame(kind, struct.pack("<IQQi", channel, tag, number, status) + blob(text))


def submit(channel, tag, tokens, stops=(), stop_tokens=(), biases=(), allowed=None, salt=None, seeded=0, grammar=None):
    body = struct.pack("<IQIQ", channel, tag, seeded, 5)
    body += struct.pack("<15I", 0, 8, 0, 1, 0, 0, 0, len(tokens), len(stops), len(stop_tokens), len(biases),
                        allowed is not None, len(allowed or ()), salt is not None, 1 if grammar else 0)
    body += struct.pack("<6fQ", 1, 1, 0, 1, 0, 0, 7)
    body += b"".join(struct.pack("<i", t) for t in (*tokens, *stop_tokens))
    body += b"".join(struct.pack("<if", *b) for b in biases) + b"".join(struct.pack("<i", t) for t in allowed or ())
    return frame(SUBMIT, body + blob(salt or b"") + blob(grammar or b"") + b"".join(map(blob, stops)))


def happens(tag, kind, choice=0, index=0, token=5, status=0, finish=0, text=b"", stop=None, tops=(), channel=1):
    body = struct.pack("<7IiII", channel, kind, choice, index, token, status & 0xffffffff, finish, -1, len(tops), stop is not None)
    body += struct.pack("<6Qf", tag, 0, 9, 3, 0, 0, -0.5) + blob(text) + blob(stop or b"")
    return frame(EVENT, body + b"".join(struct.pack("<i", t) for t, _ in tops) + b"".join(struct.pack("<f", p) for _, p in tops))


def series(kind, name, label=None, buckets=()):
    body = struct.pack("<I", kind) + blob(name) + blob(b"help") + struct.pack("<I", label is not None)
    body += blob(label or b"") + blob(b"value") + struct.pack("<dQI", 1.5, 4, len(buckets))
    return body + b"".join(struct.pack("<d", b) for b, _ in buckets) + b"".join(struct.pack("<Q", n) for _, n in buckets)


write("socket_peer", "greeting", b"n" + note(HELLO, tag=MAGIC, number=2) + note(ASK, number=1))
write("socket_peer", "stranger", b"n" + note(HELLO, tag=MAGIC, number=1))
write("socket_peer", "requests", b"g" + note(OPEN, 1, number=4) + submit(1, 1, [1, 2, 3])
      + submit(1, 2, [4], [b"stop", b"x"], [7], [(1, 0.5)], [1, 2], b"salt", 1, b'{"type": "null"}') + note(CREDIT, 1, number=1)
      + note(CANCEL, 1, number=1) + note(CLOSE, 1) + note(OPEN, 2, number=1) + submit(2, 3, [1]) + submit(2, 4, [1]))
write("socket_peer", "questions", b"g" + note(ASK, number=1) + note(ASK, number=2) + note(ASK, number=3))
DONE = happens(TAG, 5) + happens(TAG + 1, 5, status=-7, text=b"gone")
write("gateway_link", "answers", b"e" + note(TAKEN, 1, TAG, 11) + happens(TAG, 1) + happens(TAG, 2, index=1, tops=[(1, -1), (99, -2)])
      + happens(TAG, 3, 1, text="é".encode()) + happens(TAG, 4, 0, finish=1, stop=b"stop") + happens(TAG, 4, 1, finish=2)
      + note(REFUSED, 1, TAG + 1, status=-5, text=b"full") + happens(TAG, 5))
write("gateway_link", "failure", b"e" + note(TAKEN, 1, TAG, 1) + happens(TAG, 1) + happens(TAG, 4, finish=4) + DONE)
write("gateway_link", "health", b"e" + frame(HEALTH, struct.pack("<IQII", 1, 5, 0, 0) + blob(b"fine") + struct.pack("<I", 2))
      + frame(STATS, struct.pack("<I", 3) + series(1, b"tokens") + series(2, b"kv_perc", b"label")
              + series(3, b"latency", None, [(0.5, 1), (2.0, 3)])) + note(GOODBYE, text=b"so long"))
write("gateway_link", "welcome", b"w" + bytes([WELCOME]) + struct.pack("<IQ11IQ4fII", 2, 77, 100, 512, 8, 4, 5, 4, 32, 8, 8, 62, 65536, 1700000000,
                                                                       1, 1, 0, 1, 0, 0)
      + blob(b"/models/m.gguf") + blob(b"llama") + struct.pack("<I", 2) + blob(b"m") + blob(b"alias"))


# ---- batches ----

write("batch", "csv", b"\x00key,prompt,params\r\na,\"b \"\"c\"\"\r\n\",\r\nd,e,\"{\"\"seed\"\": 1}\"\n")
write("batch", "prompt", b'\x01{"key": "a", "prompt": "b", "temperature": 0}')
write("batch", "messages", b'\x01{"key": 7, "messages": [{"role": "user", "content": "b"}]}')
write("batch", "openai", b'\x01{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}')
write("batch", "log", b'\x02{"tenon_batch":1,"service":"m"}\n{"row":0,"status":"ok"}\n{"row":1,"status":"error"}\n{"row":2,"status":"null"}\n'
      b'{"row":1,"status":"error"}\n{"row":1,"status":"ok"}\n{"row":3,"sta')

FORM = b'--cut\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--cut\r\nContent-Disposition: form-data; ' \
       b'name="file"; filename="../a \\"b\\".jsonl"\r\nContent-Type: application/jsonl\r\n\r\n{}\r\n--cu\r\r\n\r\n--cut--\r\n'
write("multipart", "form", b"multipart/form-data; boundary=cut\n" + FORM)
write("multipart", "preamble", b'multipart/form-data; charset=x; boundary="cut"\nhello\r\n' + FORM + b"after")
write("multipart", "truncated", b"multipart/form-data; boundary=cut\n" + FORM[:-6])
