/* dequantize.cu: rows of a weight as floats. Limit: bytes written; one thread per element, decoded on its own, since
 * this runs in tests and at load only.
 */
#include "kernels/weight.cuh"

static __global__ void __launch_bounds__(256) dequantize(cuda_weight w, cuda_dequantize_args a)
{
    for (uint32_t k = blockIdx.x * blockDim.x + threadIdx.x; k < w.columns; k += gridDim.x * blockDim.x)
        for (uint32_t r = blockIdx.y; r < a.count; r += gridDim.y)
            store_float(a.out, a.out_type, (uint64_t)r * a.out_stride + k, weight_at(w, a.row0 + r, k));
}

extern "C" tn_status cuda_dequantize(const cuda_dequantize_args *args, cuda_stream stream)
{
    const cuda_weight *w = args->weight;

    if (!args->count)
        return TN_OK;
    if ((uint64_t)args->row0 + args->count > w->rows || args->out_stride < w->columns)
        return TN_E_ARGUMENT;
    if (!float_type(args->out_type))
        return TN_E_UNSUPPORTED;
    LAUNCH(dequantize, dim3(ceil_div(w->columns, 256), args->count < 65535 ? args->count : 65535), 256, 0, stream, *w,
           *args);
    return LAUNCH_STATUS();
}
