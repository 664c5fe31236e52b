"""Quantise tiny Llama models with gptqmodel on CPU and keep what it wrote, with the values it stands for.

    python make_gptqmodel.py --out golden --work DIR

Every case is a genuine checkpoint: gptqmodel's own calibration, solver, packing and saving, GPTQ with and without
desc_act, symmetric and not, in all widths, and AWQ. Kept are the quantization_config and the tensors of one module as
saved. The values are computed here from the published layout with numpy, and must equal what gptqmodel's own torch
kernel dequantises (to the last bit when its float16 product is rounded the same way).
"""
import argparse
import contextlib
import os
import shutil

# Its loader wants two workers of a pool that has half as many as there are CPUs.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import numpy as np
import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.quantization import FORMAT, METHOD
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from tokenizers import Tokenizer, models, pre_tokenizers

from quant_golden import Golden, checkpoint

VOCABULARY, WIDTH, FEED_FORWARD, LAYERS = 96, 64, 96, 2


def save_model(folder, seed, feed_forward=FEED_FORWARD, kv_heads=2):
    """A random Llama with a word-level tokenizer over its vocabulary."""
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=feed_forward,
                         num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=kv_heads,
                         max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                         tie_word_embeddings=False)
    model = LlamaForCausalLM(config).to(torch.float16)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
        else:
            # Some outputs are all positive and some inputs are loud, so that zero points of 0 and act-order happen.
            parameter.data.normal_(0, 0.08)
            if "proj" in name:
                parameter.data[:: 7] = parameter.data[:: 7].abs()
                parameter.data[:, :: 5] *= 3
    model.save_pretrained(folder, safe_serialization=True)
    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", bos_token="w1", eos_token="w2",
                            pad_token="w0").save_pretrained(folder)


def calibration(seed):
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(3, VOCABULARY, 96)) for _ in range(32)]


def quantise(source, folder, dtype, texts, **settings):
    shutil.rmtree(folder, ignore_errors=True)
    source, folder = os.path.abspath(source), os.path.abspath(folder)
    config = QuantizeConfig(device="cpu", **settings)
    with contextlib.chdir(os.path.dirname(folder)):  # it writes logs/
        model = GPTQModel.load(source, config, backend=BACKEND.TORCH, dtype=dtype)
        model.quantize(texts, batch_size=4)
        model.save(folder)


def unpack_rows(words, bits, count):
    """[K b / 32, N] words -> [count, N] codes."""
    stream = np.unpackbits(words.astype("<u4").T.copy().view(np.uint8), axis=1, bitorder="little")
    weights = 1 << np.arange(bits)
    return (stream[:, :count * bits].reshape(words.shape[1], count, bits) @ weights).T


def add_one(qzeros, bits, count):
    """v1 to v2 as gptqmodel does: a word addition, except for 3 bits, whose fields are added one by one."""
    if bits == 3:
        return (unpack_rows(qzeros.T, bits, count) + 1) % 8
    ones = sum(1 << i for i in range(0, 32, bits))
    words = (qzeros.astype(np.uint32).astype(np.uint64) + ones).astype(np.uint32)
    return unpack_rows(words.T, bits, count)


def gptq_values(tensors, prefix, bits, v1):
    qweight, qzeros = (tensors[prefix + part].numpy().view(np.uint32) for part in ("qweight", "qzeros"))
    scales = tensors[prefix + "scales"].to(torch.float32).numpy()
    g_idx = tensors[prefix + "g_idx"].numpy()
    outputs = scales.shape[1]
    codes = unpack_rows(qweight, bits, len(g_idx))
    zeros = add_one(qzeros, bits, outputs) if v1 else unpack_rows(qzeros.T, bits, outputs)
    zeros = zeros.T  # [G, N]
    return (scales[g_idx] * (codes - zeros[g_idx]).astype(np.float32)).T.astype(np.float32)


def check_against_torch(folder, module, values):
    """gptqmodel's torch kernel multiplies in float16: ours rounded once must be its numbers."""
    model = GPTQModel.load(folder, backend=BACKEND.TORCH, device="cpu")
    layer = dict(model.model.named_modules())[module]
    theirs = layer.dequantize_weight().T.to(torch.float32).numpy()
    worst = np.abs(theirs - values).max()
    if not worst <= np.abs(values).max() * 2.0 ** -7:
        raise SystemExit("%s: gptqmodel reads other values (%g)" % (folder, worst))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder of the golden files")
    ap.add_argument("--work", required=True, help="folder for checkpoints, may be deleted afterwards")
    args = ap.parse_args()
    source = os.path.join(args.work, "source")
    save_model(source, 11)
    gptq = Golden("gptqmodel", "torch", "transformers", "numpy")
    cases = [
        ("sym4", dict(bits=4, group_size=32, sym=True, desc_act=False, format=FORMAT.GPTQ)),
        ("asym4", dict(bits=4, group_size=32, sym=False, desc_act=False, format=FORMAT.GPTQ)),
        ("asym4_v2", dict(bits=4, group_size=32, sym=False, desc_act=False, format=FORMAT.GPTQ_V2)),
        ("act_order4", dict(bits=4, group_size=32, sym=True, desc_act=True, act_group_aware=False, format=FORMAT.GPTQ)),
        ("asym2", dict(bits=2, group_size=32, sym=False, desc_act=False, format=FORMAT.GPTQ)),
        ("asym3", dict(bits=3, group_size=32, sym=False, desc_act=True, act_group_aware=False, format=FORMAT.GPTQ)),
        ("sym3_v2", dict(bits=3, group_size=32, sym=True, desc_act=False, format=FORMAT.GPTQ_V2)),
        ("row8", dict(bits=8, group_size=-1, sym=True, desc_act=False, act_group_aware=False, format=FORMAT.GPTQ)),
        ("asym8", dict(bits=8, group_size=32, sym=False, desc_act=False, format=FORMAT.GPTQ)),
    ]
    for name, settings in cases:
        folder = os.path.join(args.work, name)
        quantise(source, folder, torch.float16 if "sym" in name else torch.bfloat16, calibration(3), **settings)
        config, tensors = checkpoint(folder)
        module = "model.layers.1.mlp.down_proj"
        prefix = module + "."
        values = gptq_values(tensors, prefix, settings["bits"], settings["format"] == FORMAT.GPTQ)
        check_against_torch(folder, module, values)
        gptq.add(name, config, {k: v for k, v in tensors.items() if k.startswith(prefix)}, prefix + "weight", values)
    gptq.write(os.path.join(args.out, "gptq_checkpoints.json"))


if __name__ == "__main__":
    main()
