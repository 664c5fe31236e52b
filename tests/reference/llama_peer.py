"""A thin layer over llama.cpp's C API (by llama-cpp-python's ctypes bindings).

Made with: llama-cpp-python 0.3.36.
"""
import ctypes

import llama_cpp as L
import numpy as np

_QUIET = L.llama_log_callback(lambda level, text, data: None)


class Peer:
    """A model and one context; tokens are given and logits read as numpy."""

    def __init__(self, path, n_ctx=512, n_batch=512, threads=2, n_seq=1,
                 flash=None, kv_unified=None, repack=True):
        """flash: None (automatic), False or True.  repack: matrices may be
        rearranged for the processor, which not every build survives."""
        L.llama_log_set(_QUIET, ctypes.c_void_p(0))
        L.llama_backend_init()
        mp = L.llama_model_default_params()
        mp.n_gpu_layers = 0
        mp.use_extra_bufts = repack
        self.model = L.llama_model_load_from_file(path.encode(), mp)
        if not self.model:
            raise SystemExit("cannot load " + path)
        self.vocab = L.llama_model_get_vocab(self.model)
        self.n_vocab = L.llama_vocab_n_tokens(self.vocab)
        cp = L.llama_context_default_params()
        cp.n_ctx, cp.n_batch, cp.n_ubatch = n_ctx, n_batch, min(n_batch, 512)
        cp.n_seq_max = n_seq
        cp.n_threads = cp.n_threads_batch = threads
        cp.flash_attn_type = -1 if flash is None else int(flash)
        if kv_unified is not None:
            cp.kv_unified = kv_unified
        cp.no_perf = True
        self.ctx = L.llama_init_from_model(self.model, cp)
        if not self.ctx:
            raise SystemExit("cannot make a context")
        self.batch = L.llama_batch_init(n_batch, 0, 1)

    def close(self):
        L.llama_batch_free(self.batch)
        L.llama_free(self.ctx)
        L.llama_model_free(self.model)

    def tokenize(self, text, parse_special=False):
        """Token ids of a text; no BOS is added."""
        data = text.encode()
        buf = (L.llama_token * (len(data) + 8))()
        n = L.llama_tokenize(self.vocab, data, len(data), buf, len(buf),
                             False, parse_special)
        if n < 0:
            raise SystemExit("cannot tokenise")
        return list(buf[:n])

    def clear(self):
        L.llama_memory_clear(L.llama_get_memory(self.ctx), False)

    def decode(self, items):
        """Run one batch of (token, position, sequence, wants logits)."""
        b = self.batch
        b.n_tokens = len(items)
        for i, (tok, pos, seq, out) in enumerate(items):
            b.token[i], b.pos[i], b.logits[i] = tok, pos, int(out)
            b.n_seq_id[i] = 1
            b.seq_id[i][0] = seq
        if L.llama_decode(self.ctx, b):
            raise SystemExit("llama_decode failed")

    def logits(self, i):
        """Logits of item i of the last batch (a view: copy it to keep it)."""
        p = L.llama_get_logits_ith(self.ctx, i)
        return np.ctypeslib.as_array(p, shape=(self.n_vocab,))


def log_softmax(x):
    """Log-probabilities of a vector of logits, computed in float64."""
    x = x.astype(np.float64)
    m = x.max(-1, keepdims=True)
    return x - m - np.log(np.exp(x - m).sum(-1, keepdims=True))
