"""Load a llama-architecture GGUF as a float32 transformers LlamaForCausalLM.

The weights are the GGUF's tensors as gguf-py dequantises them (gguf_llama.py),
so that the model computes what an exact runtime would compute from the same
file.

Made with: torch 2.15.0, transformers 5.23.0, gguf (see VERSIONS below).
"""
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gguf_llama import LlamaFile


def versions(*names):
    """Return {package: installed version} for the record in a golden file."""
    return {n: version(n) for n in names}


def load(path):
    """Return (model, metadata dict) for the GGUF at `path`."""
    file = LlamaFile(path)
    state = {name: torch.from_numpy(w) for name, w in file.weights()}
    config = LlamaConfig(**file.config(), attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [m for m in missing
                      if not (file.tied and m == "lm_head.weight")]:
        raise SystemExit("weights do not match: %r %r" % (missing, unexpected))
    return model, file.meta


@torch.no_grad()
def logits(model, ids):
    """Return the float32 logits [len(ids), vocabulary] of one sequence."""
    return model(torch.tensor([ids])).logits[0].float()
