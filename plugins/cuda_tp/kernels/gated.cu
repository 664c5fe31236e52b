/* gated.cu: act(gate) * up. Limit: bytes, both inputs read once, the product written once; eight elements a thread. */
#include "kernels/device.cuh"

static __device__ __forceinline__ float activate(float gate, float up, uint32_t activation, float limit, float alpha)
{
    switch (activation) {
    case TN_ACT_SILU:
        return gate / (1.0f + expf(-gate)) * up;
    case TN_ACT_GELU_TANH:
        return 0.5f * gate * (1.0f + tanhf(0.797884561f * (gate + 0.044715f * gate * gate * gate))) * up;
    case TN_ACT_GELU:
        return 0.5f * gate * (1.0f + erff(gate * 0.707106781f)) * up;
    default: { /* TN_ACT_SWIGLU_CLAMPED */
        const float g = fminf(gate, limit), u = fmaxf(fminf(up, limit), -limit);
        return g / (1.0f + expf(-alpha * g)) * (u + 1.0f);
    }
    }
}

static __global__ void __launch_bounds__(256) gated_eight(cuda_gated_args a)
{
    const uint32_t per_row = a.columns / 8;
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (uint64_t)a.rows * per_row)
        return;
    const uint64_t row = item / per_row;
    const uint32_t at = (uint32_t)(item % per_row) * 8;
    float gate[8], up[8];

    load_eight(a.gate, a.in_type, row * a.gate_stride + at, gate);
    load_eight(a.up, a.in_type, row * a.up_stride + at, up);
    for (int i = 0; i < 8; i++)
        gate[i] = activate(gate[i], up[i], a.activation, a.limit, a.alpha);
    store_eight(a.out, a.out_type, row * a.out_stride + at, gate);
}

static __global__ void __launch_bounds__(256) gated_one(cuda_gated_args a)
{
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (uint64_t)a.rows * a.columns)
        return;
    const uint64_t row = item / a.columns, at = item % a.columns;
    const float gate = load_float(a.gate, a.in_type, row * a.gate_stride + at);
    const float up = load_float(a.up, a.in_type, row * a.up_stride + at);
    store_float(a.out, a.out_type, row * a.out_stride + at, activate(gate, up, a.activation, a.limit, a.alpha));
}

extern "C" tn_status cuda_gated(const cuda_gated_args *args, cuda_stream stream)
{
    const uint64_t elements = (uint64_t)args->rows * args->columns;

    if (!elements)
        return TN_OK;
    if (args->activation < TN_ACT_SILU || args->activation > TN_ACT_SWIGLU_CLAMPED)
        return TN_E_UNSUPPORTED;
    if (!float_type(args->in_type) || !float_type(args->out_type))
        return TN_E_UNSUPPORTED;
    if (args->columns % 8 == 0 && rows_aligned(args->gate, args->in_type, args->gate_stride) &&
        rows_aligned(args->up, args->in_type, args->up_stride) &&
        rows_aligned(args->out, args->out_type, args->out_stride))
        LAUNCH(gated_eight, ceil_div(elements / 8, 256), 256, 0, stream, *args);
    else
        LAUNCH(gated_one, ceil_div(elements, 256), 256, 0, stream, *args);
    return LAUNCH_STATUS();
}
