/* softcap.cu: cap * tanh(scale * x / cap) in place, the end of LOGITS. Limit: bytes, x read and written once. */
#include "kernels/device.cuh"

static __global__ void __launch_bounds__(256) softcap(cuda_softcap_args a)
{
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (uint64_t)a.rows * a.columns)
        return;
    float *x = &a.x[item / a.columns * a.stride + item % a.columns];
    const float scaled = *x * a.scale;
    *x = a.cap != 0.0f ? a.cap * tanhf(scaled / a.cap) : scaled;
}

extern "C" tn_status cuda_softcap(const cuda_softcap_args *args, cuda_stream stream)
{
    const uint64_t elements = (uint64_t)args->rows * args->columns;

    if (!elements || (args->cap == 0.0f && args->scale == 1.0f))
        return TN_OK;
    if (args->stride < args->columns)
        return TN_E_ARGUMENT;
    LAUNCH(softcap, ceil_div(elements, 256), 256, 0, stream, *args);
    return LAUNCH_STATUS();
}
