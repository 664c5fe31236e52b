#!/usr/bin/env python3
"""Make quantized GGUF files of the tiny models of make_families.py, and their
logits by transformers.

Writes under --out (golden/):
  families_gguf/NAME.gguf   matrices in Q8_0 and Q4_0 by turns, the rest F32;
                            experts of gpt_oss_mxfp4 in MXFP4, those of
                            mixtral_numbered a tensor each, as in 2023
  families_gguf.json        logits at the positions of families.json

Tensor names are those of gguf-py's own map; what a conversion does to tensors
(q and k permuted, gains plus 1, experts stacked, gpt-oss's gate and up taken
apart) and which keys it writes follow llama.cpp's converter.  The logits are
transformers' in float32 from the tensors of the file, dequantised by gguf-py
and put back into the order of transformers.  With --llama the same tensors in
F32 are run through llama-cpp-python too: all families agree within 1e-2 of the
largest logit but phi3, whose window llama.cpp does not apply, and gpt_oss,
whose YaRN ramp it rounds to whole dimensions.

Made with: torch 2.15.0, transformers 5.24.0, gguf 0.19.0 or near (the exact
versions are recorded in the JSON file).
Usage: make_family_gguf.py --out golden [--llama PYTHON]
"""
import argparse
import json
import os
import subprocess
import tempfile

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from hf_model import unpermute, versions
from make_families import POSITIONS, rounded

# family: (architecture of GGUF, q and k are permuted)
FAMILIES = {
    "mixtral": ("llama", True), "gemma2": ("gemma2", False),
    "gemma3": ("gemma3", False), "qwen2": ("qwen2", False),
    "qwen3_moe": ("qwen3moe", False), "phi3": ("phi3", False),
    "smollm3": ("smollm3", True), "olmo2": ("olmo2", False),
    "olmo3": ("olmo2", False),
    "granite": ("granite", True), "gpt_oss": ("gpt-oss", False),
    "gpt_oss_mxfp4": ("gpt-oss", False), "mixtral_numbered": ("llama", True),
}
SOURCES = {"gpt_oss_mxfp4": "gpt_oss", "mixtral_numbered": "mixtral"}  # checkpoints of another name
TYPES = [gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0]


def permute(w, n_head):
    return (w.reshape(n_head, 2, w.shape[0] // n_head // 2, -1)
             .swapaxes(1, 2).reshape(w.shape))


class Conversion:
    """One family's tensors and keys, to GGUF and back."""

    def __init__(self, name, folder):
        self.name = name
        self.arch, self.permuted = FAMILIES[name]
        self.config = AutoConfig.from_pretrained(folder)
        with open(os.path.join(folder, "config.json")) as f:
            self.json = json.load(f)
        kind = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[self.arch]
        self.names = gguf.get_tensor_name_map(kind, self.config.num_hidden_layers)
        self.gain_offset = 1.0 if self.arch.startswith("gemma") else 0.0

    def heads_of(self, hf_name):
        if not self.permuted:
            return None
        if ".q_proj." in hf_name:
            return self.config.num_attention_heads
        return self.config.num_key_value_heads if ".k_proj." in hf_name else None

    def gguf_name(self, hf_name):
        if hf_name.endswith("self_attn.sinks"):
            return hf_name.replace("model.layers", "blk").replace(
                "self_attn.sinks", "attn_sinks.weight")
        found = self.names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
        if not found:
            raise SystemExit("gguf-py has no name for " + hf_name)
        return found

    def forward(self, state):
        """{GGUF name: float32 array} of a transformers state dict."""
        out, experts = {}, {}
        for name, tensor in state.items():
            w = tensor.float().numpy()
            if ".experts." in name and self.arch == "gpt-oss":
                out.update(self.split_gpt_oss(name, w))
            elif ".experts." in name:
                before, rest = name.split(".experts.")
                number, part = rest.split(".", 1)
                experts.setdefault((before, part), {})[int(number)] = w
            else:
                heads = self.heads_of(name)
                if heads:
                    w = permute(w, heads)
                if "norm" in name:
                    w = w + self.gain_offset
                out[self.gguf_name(name)] = w
        for (before, part), rows in experts.items():
            merged = "%s.experts.%s" % (before, part)
            out[self.gguf_name(merged)] = np.stack([rows[i] for i in sorted(rows)])
        return out

    def split_gpt_oss(self, name, w):
        layer, bias = name.split(".")[2], name.endswith("_bias")
        end = "bias" if bias else "weight"
        if not bias:
            w = w.swapaxes(1, 2)
        stem = "blk.%s.ffn_%%s_exps.%s" % (layer, end)
        if "down" in name:
            return {stem % "down": w}
        return {stem % "gate": w[:, 0::2], stem % "up": w[:, 1::2]}

    def backward(self, tensors, state):
        """The transformers state dict of the same shape as `state`."""
        out = {}
        for name in state:
            if ".experts." in name and self.arch == "gpt-oss":
                layer, bias = name.split(".")[2], name.endswith("_bias")
                end = "bias" if bias else "weight"
                stem = "blk.%s.ffn_%%s_exps.%s" % (layer, end)
                if "down" in name:
                    w = tensors[stem % "down"]
                else:
                    gate, up = tensors[stem % "gate"], tensors[stem % "up"]
                    w = np.stack([gate, up], axis=2).reshape(
                        (gate.shape[0], 2 * gate.shape[1]) + gate.shape[2:])
                out[name] = w if bias else w.swapaxes(1, 2)
            elif ".experts." in name:
                before, rest = name.split(".experts.")
                number, part = rest.split(".", 1)
                merged = "%s.experts.%s" % (before, part)
                out[name] = tensors[self.gguf_name(merged)][int(number)]
            else:
                w = tensors[self.gguf_name(name)]
                heads = self.heads_of(name)
                if heads:
                    w = unpermute(w, heads)
                out[name] = w - self.gain_offset if "norm" in name else w
        return {k: torch.tensor(np.ascontiguousarray(v)) for k, v in out.items()}

    def write_keys(self, writer):
        c = self.config
        head_dim = c.head_dim if getattr(c, "head_dim", None) else c.hidden_size // c.num_attention_heads
        writer.add_vocab_size(c.vocab_size)
        writer.add_block_count(c.num_hidden_layers)
        writer.add_context_length(c.max_position_embeddings)
        writer.add_embedding_length(c.hidden_size)
        writer.add_feed_forward_length(c.intermediate_size)
        writer.add_head_count(c.num_attention_heads)
        writer.add_head_count_kv(c.num_key_value_heads)
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
        writer.add_rope_dimension_count(head_dim)
        rope = c.rope_parameters
        full = rope.get("full_attention", rope)
        writer.add_rope_freq_base(full["rope_theta"])
        if full["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(full["factor"])
        elif full["rope_type"] == "yarn":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(full["factor"])
            writer.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
            if "beta_fast" in full:
                writer.add_rope_scaling_yarn_beta_fast(full["beta_fast"])
                writer.add_rope_scaling_yarn_beta_slow(full["beta_slow"])
        elif full["rope_type"] == "longrope":
            original = self.json["original_max_position_embeddings"]
            scale = c.max_position_embeddings / original
            writer.add_rope_scaling_orig_ctx_len(original)
            writer.add_rope_scaling_attn_factors(
                float(np.sqrt(1 + np.log(scale) / np.log(original))))
            for length in ("long", "short"):
                writer.add_tensor("rope_factors_%s.weight" % length,
                                  np.array(full[length + "_factor"], np.float32))
        if getattr(c, "sliding_window", None):
            writer.add_sliding_window(c.sliding_window)
        self.write_family_keys(writer)

    def write_family_keys(self, writer):
        c = self.config
        if self.arch == "gemma2":
            writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
            writer.add_final_logit_softcapping(c.final_logit_softcapping)
        if self.arch == "granite":
            writer.add_attention_scale(c.attention_multiplier)
            writer.add_embedding_scale(c.embedding_multiplier)
            writer.add_residual_scale(c.residual_multiplier)
            writer.add_logit_scale(c.logits_scaling)
        experts = getattr(c, "num_local_experts", None) or getattr(c, "num_experts", None)
        if experts:
            writer.add_expert_count(experts)
            writer.add_expert_used_count(c.num_experts_per_tok)
        if self.arch == "qwen3moe":
            writer.add_expert_feed_forward_length(c.moe_intermediate_size)
        if self.arch == "gpt-oss":
            writer.add_expert_feed_forward_length(c.intermediate_size)


def write(conversion, tensors, path, exact=False):
    """exact: everything in F32, for a reader that rounds activations."""
    writer = gguf.GGUFWriter(path, conversion.arch)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([chr(33 + i) for i in range(94)] + ["!!", "##"])
    writer.add_token_types([1] * 96)
    writer.add_token_merges(["! !", "# #"])
    conversion.write_keys(writer)
    turn = 0
    for name, w in tensors.items():
        w = np.ascontiguousarray(w, dtype=np.float32)
        plain = exact or w.ndim == 1 or "norm" in name or "gate_inp" in name or name.endswith(".bias")
        if plain:
            writer.add_tensor(name, w)
            continue
        kind = TYPES[turn % len(TYPES)]
        turn += 1
        if conversion.name.endswith("_mxfp4") and "_exps." in name:
            kind = gguf.GGMLQuantizationType.MXFP4
        if conversion.name.endswith("_numbered") and "_exps." in name:
            for e, expert in enumerate(w):
                writer.add_tensor(name.replace("_exps.", ".%d." % e), quantize(expert, kind), raw_dtype=kind)
            continue
        writer.add_tensor(name, quantize(w, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def stacked(tensors):
    """Numbered experts as one tensor of all."""
    out, experts = {}, {}
    for name, w in tensors.items():
        parts = name.split(".")
        if len(parts) == 5 and parts[3].isdigit():
            whole = "%s.%s.%s_exps.%s" % (parts[0], parts[1], parts[2], parts[4])
            experts.setdefault(whole, {})[int(parts[3])] = w
        else:
            out[name] = w
    return {**out, **{n: np.stack([e[i] for i in sorted(e)]) for n, e in experts.items()}}


def read(path):
    out = {}
    for t in gguf.GGUFReader(path).tensors:
        w = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
        out[t.name] = w.reshape([int(d) for d in reversed(t.shape)])
    return stacked(out)


def fitting(conversion):
    """The config that the file stands for: what GGUF has no key for is as
    llama.cpp assumes it."""
    c = conversion.config
    layers = c.num_hidden_layers
    head_dim = c.head_dim if getattr(c, "head_dim", None) else c.hidden_size // c.num_attention_heads
    if conversion.arch == "gemma2":
        c.query_pre_attn_scalar = head_dim
        c.layer_types = ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]
    if conversion.arch == "gemma3":
        c.query_pre_attn_scalar = head_dim
        c.layer_types = ["sliding_attention"] * layers
    if conversion.arch == "smollm3":
        c.no_rope_layers = [1] * layers
    if conversion.name == "olmo3":
        rope = c.rope_parameters
        rope["sliding_attention"]["rope_theta"] = rope["full_attention"]["rope_theta"]
    if conversion.arch == "gpt-oss":
        c.swiglu_limit = 7.0
    return c


def restored_logits(config, state, ids):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager",
            output_loading_info=True)
    if info["missing_keys"] or info["unexpected_keys"]:
        raise SystemExit(str(info))
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0][POSITIONS]


LLAMA = """
import ctypes, json, sys
import llama_cpp as l
path, ids, positions = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
l.llama_backend_init()
model_params = l.llama_model_default_params()
model_params.use_extra_bufts = False  # repacked matrices of this size crash
model = l.llama_model_load_from_file(path.encode(), model_params)
params = l.llama_context_default_params()
params.n_ctx = params.n_batch = params.n_ubatch = 512
params.type_k = params.type_v = 0
params.flash_attn_type = 0
context = l.llama_init_from_model(model, params)
vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
batch = l.llama_batch_init(len(ids), 0, 1)
batch.n_tokens = len(ids)
for i, token in enumerate(ids):
    batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
assert l.llama_decode(context, batch) == 0
json.dump([l.llama_get_logits_ith(context, p)[:vocab] for p in positions], sys.stdout)
"""


def llama_logits(python, path, ids):
    answer = subprocess.run([python, "-c", LLAMA, path, json.dumps(ids), json.dumps(POSITIONS)],
                            capture_output=True, text=True)
    if answer.returncode:
        return "failed (%d) %s" % (answer.returncode, answer.stderr[-300:])
    return torch.tensor(json.loads(answer.stdout))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder that holds families/")
    ap.add_argument("--llama", help="a python that has llama-cpp-python")
    args = ap.parse_args()
    with open(os.path.join(args.out, "families.json")) as f:
        ids = json.load(f)["prompt_ids"]
    os.makedirs(os.path.join(args.out, "families_gguf"), exist_ok=True)
    cases = []
    for name in FAMILIES:
        folder = os.path.join(args.out, "families", SOURCES.get(name, name))
        path = os.path.join(args.out, "families_gguf", name + ".gguf")
        state = load_file(os.path.join(folder, "model.safetensors"))
        conversion = Conversion(name, folder)
        write(conversion, conversion.forward(state), path)
        restored = conversion.backward(read(path), state)
        logits = restored_logits(fitting(conversion), restored, ids)
        line = "%-12s largest logit %6.2f" % (name, logits.abs().max())
        if args.llama:
            with tempfile.TemporaryDirectory() as scratch:
                copy = os.path.join(scratch, "exact.gguf")
                write(conversion, {k: v for k, v in read(path).items() if "rope_factors" not in k},
                      copy, exact=True)
                theirs = llama_logits(args.llama, copy, ids)
            line += ", llama.cpp: " + (theirs if isinstance(theirs, str) else "off by %.2g of it" % (
                (theirs - logits).abs().max() / logits.abs().max()))
        print(line)
        cases.append({"name": name, "logits": rounded(logits)})
    with open(os.path.join(args.out, "families_gguf.json"), "w") as f:
        json.dump({"versions": versions("torch", "transformers", "gguf"), "prompt_ids": ids,
                   "positions": POSITIONS, "cases": cases}, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
