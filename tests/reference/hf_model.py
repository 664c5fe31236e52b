"""Load a llama-architecture GGUF as a float32 transformers LlamaForCausalLM.

The weights are the GGUF's tensors as gguf-py dequantises them, so that the
model computes what an exact runtime would compute from the same file.  GGUF
stores the rows of attn_q and attn_k permuted for interleaved rotary
embedding; they are put back into the half-split order of transformers here.

Made with: torch 2.15.0, transformers 5.23.0, gguf (see VERSIONS below).
"""
from importlib.metadata import version

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def versions(*names):
    """Return {package: installed version} for the record in a golden file."""
    return {n: version(n) for n in names}


def unpermute(w, n_head):
    """Undo the row permutation that GGUF conversion applies to q and k."""
    return (w.reshape(n_head, w.shape[0] // n_head // 2, 2, -1)
             .swapaxes(1, 2).reshape(w.shape))


def load(path):
    """Return (model, metadata dict) for the GGUF at `path`."""
    reader = GGUFReader(path)
    meta = {k: f.contents() for k, f in reader.fields.items()}
    if meta["general.architecture"] != "llama":
        raise SystemExit("not a llama-architecture GGUF")
    heads = meta["llama.attention.head_count"]
    kv_heads = meta.get("llama.attention.head_count_kv", heads)
    state = {}
    for t in reader.tensors:
        w = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
        w = w.reshape([int(d) for d in reversed(t.shape)])
        if t.name in NAMES:
            name = NAMES[t.name]
        elif t.name.startswith("blk."):
            _, layer, part, _ = t.name.split(".")
            name = "model.layers.%s.%s.weight" % (layer, LAYER_NAMES[part])
            if part in ("attn_q", "attn_k"):
                w = unpermute(w, heads if part == "attn_q" else kv_heads)
        else:
            raise SystemExit("unknown tensor " + t.name)
        state[name] = torch.from_numpy(np.ascontiguousarray(w))
    tied = "lm_head.weight" not in state
    config = LlamaConfig(
        vocab_size=state["model.embed_tokens.weight"].shape[0],
        hidden_size=meta["llama.embedding_length"],
        intermediate_size=meta["llama.feed_forward_length"],
        num_hidden_layers=meta["llama.block_count"],
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        rms_norm_eps=meta["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=meta.get("llama.rope.freq_base", 10000.0),
        max_position_embeddings=meta["llama.context_length"],
        tie_word_embeddings=tied, attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [m for m in missing if not (tied and m == "lm_head.weight")]:
        raise SystemExit("weights do not match: %r %r" % (missing, unexpected))
    return model, meta


@torch.no_grad()
def logits(model, ids):
    """Return the float32 logits [len(ids), vocabulary] of one sequence."""
    return model(torch.tensor([ids])).logits[0].float()
