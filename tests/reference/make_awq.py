"""AWQ modules as their writers pack them: a tiny Llama quantised by gptqmodel on CPU, and AutoAWQ's own from_linear.

    python make_awq.py --out golden --work DIR --autoawq DIR_OF_UNPACKED_AUTOAWQ_SDIST

Values come from AutoAWQ's dequantize_gemm (gemm) and from the definition in its gemv kernel (gemv has no CPU path),
with the scales widened to float32 before the product.
"""
import argparse
import os
import sys
import types

import numpy as np
import torch

from make_gptqmodel import calibration, quantise, save_model
from quant_golden import Golden, checkpoint


def import_autoawq(folder):
    """Its modules without awq/__init__.py, which wants an old transformers."""
    package = types.ModuleType("awq")
    package.__path__ = [os.path.join(folder, "awq")]
    sys.modules["awq"] = package
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.utils.packing_utils import dequantize_gemm
    return WQLinear_GEMM, WQLinear_GEMV, dequantize_gemm


def quantise_linear(linear, group_size):
    """AutoAWQ's pseudo_quantize_tensor with zero points: scales and zeros [N, K / g]."""
    weight = linear.weight.data.reshape(-1, group_size)
    most, least = weight.amax(1, keepdim=True), weight.amin(1, keepdim=True)
    scales = (most - least).clamp(min=1e-5) / 15
    zeros = (-torch.round(least / scales)).clamp_(0, 15)
    rows = linear.out_features
    linear.weight.data = ((torch.clamp(torch.round(weight / scales) + zeros, 0, 15) - zeros) * scales).view(rows, -1)
    return scales.view(rows, -1).half(), zeros.view(rows, -1).half()


def gemv_values(layer, group_size):
    words = layer.qweight.numpy().view(np.uint32)
    codes = np.stack([(words >> (4 * i)) & 15 for i in range(8)], -1).reshape(len(words), -1).astype(np.int64)
    zero_words = layer.qzeros.numpy().view(np.uint32)
    zeros = np.stack([(zero_words >> (4 * i)) & 15 for i in range(8)], -1).reshape(len(words), -1).astype(np.int64)
    group = np.arange(codes.shape[1]) // group_size
    return ((codes - zeros[:, group]).astype(np.float32) * layer.scales.float().numpy()[:, group]).astype(np.float32)


def add_autoawq(golden, folder):
    gemm, gemv, dequantize = import_autoawq(folder)
    torch.manual_seed(5)
    for name, layout, group_size in (("autoawq_gemm", gemm, 32), ("autoawq_gemm_row", gemm, 96),
                                     ("autoawq_gemv", gemv, 32), ("autoawq_gemv64", gemv, 64)):
        linear = torch.nn.Linear(96 if group_size != 64 else 128, 32, bias=False).half()
        linear.weight.data[:5].abs_()
        scales, zeros = quantise_linear(linear, group_size)
        if layout is gemm:
            layer = gemm.from_linear(linear, 4, group_size, scales=scales.t().contiguous(), zeros=zeros.t().contiguous())
            values = dequantize(layer.qweight, layer.qzeros, layer.scales.float(), 4, group_size).t().numpy()
        else:
            layer = gemv.from_linear(linear, 4, group_size, scales=scales, zeros=zeros)
            values = gemv_values(layer, group_size)
        assert np.allclose(values, linear.weight.data.float().numpy(), atol=2e-3)
        config = {"quant_method": "awq", "zero_point": True, "group_size": group_size, "bits": 4,
                  "version": "gemm" if layout is gemm else "gemv", "modules_to_not_convert": None}
        golden.add(name, config, {"m." + part: getattr(layer, part) for part in ("qweight", "qzeros", "scales")},
                   "m.weight", values)
    return dequantize


def add_gptqmodel(golden, work, dequantize):
    source = os.path.join(work, "source")
    save_model(source, 11, feed_forward=128, kv_heads=4)
    for name, group_size in (("gptqmodel_gemm", 32),):
        folder = os.path.join(work, name)
        quantise(source, folder, torch.float16, calibration(3), bits=4, group_size=group_size, sym=False,
                 quant_method="awq", format="gemm")
        config, tensors = checkpoint(folder)
        prefix = "model.layers.1.mlp.down_proj."
        parts = {key: value for key, value in tensors.items() if key.startswith(prefix)}
        values = dequantize(parts[prefix + "qweight"], parts[prefix + "qzeros"], parts[prefix + "scales"].float(), 4,
                            group_size).t().numpy()
        golden.add(name, config, parts, prefix + "weight", values)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True, help="folder of the golden files")
    ap.add_argument("--work", required=True, help="folder for checkpoints, may be deleted afterwards")
    ap.add_argument("--autoawq", required=True, help="the unpacked source distribution of autoawq 0.2.9")
    args = ap.parse_args()
    golden = Golden("gptqmodel", "torch", "transformers", "numpy")
    golden.versions["autoawq"] = "0.2.9"
    add_gptqmodel(golden, args.work, add_autoawq(golden, args.autoawq))
    golden.write(os.path.join(args.out, "awq_checkpoints.json"))


if __name__ == "__main__":
    main()
