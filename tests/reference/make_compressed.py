"""Modules as compressed-tensors packs them, with the values it reads back, and the two layouts that it does not write.

    python make_compressed.py --out golden

Scales come from compressed-tensors' calculate_qparams, packing from its compressors, values from their decompress with
the scales widened to float32 first (in bfloat16 the product is rounded once more). fp8 with 2-D blocks is the layout of
DeepSeek-V3, mxfp4 blocks that of gpt-oss; their values come from transformers' own code (MXFP4) and from torch.
"""
import argparse
import os

import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from quant_golden import Golden

INT8_INPUTS = dict(num_bits=8, type="int", symmetric=True, dynamic=True, strategy="token")
FP8_INPUTS = dict(num_bits=8, type="float", symmetric=True, dynamic=True, strategy="token")
STATIC_INPUTS = dict(num_bits=8, type="float", symmetric=True, dynamic=False, strategy="tensor")


def grouped(weight, args):
    """The weight with the elements that share a scale in the last dimension, before them the grid of scales."""
    rows, columns = weight.shape
    if args.strategy == "tensor":
        return weight.reshape(1, -1)
    if args.strategy == "channel":
        return weight.reshape(rows, 1, columns)
    if args.strategy == "group":
        return weight.reshape(rows, columns // args.group_size, args.group_size)
    height, width = args.block_structure
    padded = torch.nn.functional.pad(weight, (0, -columns % width, 0, -rows % height))
    blocks = padded.reshape(padded.shape[0] // height, height, padded.shape[1] // width, width)
    return blocks.permute(0, 2, 1, 3).reshape(blocks.shape[0], blocks.shape[2], -1)


def compressed(form, weight, inputs=None, **weights):
    """(quantization_config, tensors of the module, the values that they are read as)"""
    args = QuantizationArgs(**weights)
    scheme = QuantizationScheme(targets=["Linear"], weights=args,
                                input_activations=QuantizationArgs(**inputs) if inputs else None, format=form)
    groups = grouped(weight, args)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    state = {"weight": weight, "weight_scale": scale.to(weight.dtype)}
    if not args.symmetric:
        state["weight_zero_point"] = zero.to(torch.int8)
    compressor = BaseCompressor.get_value_from_registry(form)
    packed = compressor.compress(state, scheme)
    wide = dict(packed)
    if wide["weight_scale"].dtype != torch.uint8:
        wide["weight_scale"] = wide["weight_scale"].to(torch.float32)
    values = compressor.decompress(wide, scheme)["weight"].to(torch.float32).numpy()
    error = np.abs(values - weight.to(torch.float32).numpy()).max()
    assert error <= weight.abs().max() * (0.3 if args.num_bits < 8 else 0.05), (form, weights, error)
    config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"], format=form,
                                quantization_status="compressed").model_dump(mode="json")
    return config, packed, values


def add_compressed(golden, name, form, weight, inputs=None, **weights):
    config, packed, values = compressed(form, weight, inputs, **weights)
    if inputs is STATIC_INPUTS:
        packed["input_scale"] = torch.tensor([0.0625], dtype=weight.dtype)
    golden.add(name, config, {"m." + key: value for key, value in packed.items()}, "m.weight", values)


def add_all_compressed(golden):
    torch.manual_seed(9)
    weight = torch.randn(40, 96) * 0.05
    weight[3] = weight[3].abs()
    half, brain = weight.half(), weight.bfloat16()
    odd = torch.randn(24, 83).bfloat16()
    pack = "pack-quantized"
    add_compressed(golden, "int4_group", pack, brain, num_bits=4, strategy="group", group_size=32)
    add_compressed(golden, "int4_asymmetric", pack, half, num_bits=4, strategy="group", group_size=32, symmetric=False)
    add_compressed(golden, "int4_channel_odd", pack, odd, num_bits=4, strategy="channel", symmetric=False)
    add_compressed(golden, "int3_group", pack, half, num_bits=3, strategy="group", group_size=32)
    add_compressed(golden, "int8_packed", pack, brain, num_bits=8, strategy="channel")
    add_compressed(golden, "int4_float32", pack, weight, num_bits=4, strategy="group", group_size=32, symmetric=False)
    add_compressed(golden, "w8a8_int", "int-quantized", half, INT8_INPUTS, num_bits=8, strategy="channel")
    add_compressed(golden, "w8a8_int_asymmetric", "int-quantized", brain, INT8_INPUTS, num_bits=8, strategy="channel",
                   symmetric=False)
    add_compressed(golden, "w8a8_int_tensor", "int-quantized", half, INT8_INPUTS, num_bits=8, strategy="tensor")
    add_compressed(golden, "fp8_channel", "float-quantized", brain, FP8_INPUTS, num_bits=8, type="float",
                   strategy="channel")
    add_compressed(golden, "fp8_tensor_static", "float-quantized", half, STATIC_INPUTS, num_bits=8, type="float",
                   strategy="tensor")
    add_compressed(golden, "fp8_block", "float-quantized", brain, None, num_bits=8, type="float", strategy="block",
                   block_structure=[16, 32])
    add_compressed(golden, "mxfp4", "mxfp4-pack-quantized", brain, None, num_bits=4, type="float", strategy="group",
                   group_size=32, scale_dtype=torch.uint8)


def add_deepseek(golden):
    weight = torch.randn(40, 80) * 0.1
    scales = torch.zeros(3, 3)
    codes = torch.zeros(40, 80, dtype=torch.float8_e4m3fn)
    values = np.zeros((40, 80), np.float32)
    for i in range(3):
        for j in range(3):
            at = (slice(16 * i, 16 * i + 16), slice(32 * j, 32 * j + 32))
            scales[i, j] = weight[at].abs().max() / 448
            codes[at] = (weight[at] / scales[i, j]).to(torch.float8_e4m3fn)
            values[at] = (codes[at].to(torch.float32) * scales[i, j]).numpy()
    config = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [16, 32]}
    golden.add("deepseek_fp8", config, {"m.weight": codes, "m.weight_scale_inv": scales}, "m.weight", values)


def add_gpt_oss(golden):
    """Two experts. transformers returns [E, K, N]; stored rows are outputs."""
    blocks = torch.randint(0, 256, (2, 6, 3, 16), dtype=torch.uint8)
    scales = torch.randint(110, 140, (2, 6, 3), dtype=torch.uint8)
    values = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2).reshape(12, 96)
    golden.add("gpt_oss_mxfp4", {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
               {"m.experts.up_blocks": blocks, "m.experts.up_scales": scales}, "m.experts.up", values.numpy())


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder of the golden files")
    args = ap.parse_args()
    golden = Golden("compressed-tensors", "torch", "transformers", "numpy")
    add_all_compressed(golden)
    add_deepseek(golden)
    add_gpt_oss(golden)
    golden.write(os.path.join(args.out, "compressed_checkpoints.json"))


if __name__ == "__main__":
    main()
