"""The weights of a llama-architecture GGUF under Hugging Face names, as gguf-py dequantises them to float32.

GGUF stores the rows of attn_q and attn_k permuted for interleaved rotary
embedding; they are put back into the half-split order of transformers here.

Made with: gguf 0.19.0, numpy.
"""
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

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


def unpermute(w, n_head):
    """Undo the row permutation that GGUF conversion applies to q and k."""
    return (w.reshape(n_head, w.shape[0] // n_head // 2, 2, -1)
             .swapaxes(1, 2).reshape(w.shape))


class LlamaFile:
    """meta: its metadata as a dict; weights() reads one tensor after the other."""

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.meta = {k: f.contents() for k, f in self.reader.fields.items()}
        if self.meta["general.architecture"] != "llama":
            raise SystemExit("not a llama-architecture GGUF")
        self.heads = self.meta["llama.attention.head_count"]
        self.kv_heads = self.meta.get("llama.attention.head_count_kv", self.heads)
        self.tied = all(t.name != "output.weight" for t in self.reader.tensors)
        self.vocab = next(int(t.shape[1]) for t in self.reader.tensors
                          if t.name == "token_embd.weight")

    def weights(self):
        """Yield (Hugging Face name, float32 array)."""
        for t in self.reader.tensors:
            w = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
            w = w.reshape([int(d) for d in reversed(t.shape)])
            if t.name in NAMES:
                name = NAMES[t.name]
            elif t.name.startswith("blk."):
                _, layer, part, _ = t.name.split(".")
                name = "model.layers.%s.%s.weight" % (layer, LAYER_NAMES[part])
                if part in ("attn_q", "attn_k"):
                    w = unpermute(w, self.heads if part == "attn_q" else self.kv_heads)
            else:
                raise SystemExit("unknown tensor " + t.name)
            yield name, np.ascontiguousarray(w)

    def config(self):
        """config.json's keys, as published Llama directories spell them."""
        epsilon = np.float32(self.meta["llama.attention.layer_norm_rms_epsilon"])
        return dict(
            vocab_size=self.vocab,
            hidden_size=self.meta["llama.embedding_length"],
            intermediate_size=self.meta["llama.feed_forward_length"],
            num_hidden_layers=self.meta["llama.block_count"],
            num_attention_heads=self.heads, num_key_value_heads=self.kv_heads,
            rms_norm_eps=float(str(epsilon)),  # the shortest decimals of the float32
            rope_theta=self.meta.get("llama.rope.freq_base", 10000.0),
            max_position_embeddings=self.meta["llama.context_length"],
            tie_word_embeddings=self.tied)
