/* add.cu: a + scale * b, or scale * a. Limit: bytes; eight elements a thread where rows are aligned. */
#include "kernels/device.cuh"

static __global__ void __launch_bounds__(256) add_eight(cuda_add_args p)
{
    const uint32_t per_row = p.columns / 8;
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (uint64_t)p.rows * per_row)
        return;
    const uint64_t row = item / per_row, b_row = p.b_rows == 1 ? 0 : row;
    const uint32_t at = (uint32_t)(item % per_row) * 8;
    float a[8], b[8];

    load_eight(p.a, p.a_type, row * p.a_stride + at, a);
    if (p.b)
        load_eight(p.b, p.b_type, b_row * p.b_stride + at, b);
    for (int i = 0; i < 8; i++)
        a[i] = p.b ? a[i] + p.scale * b[i] : p.scale * a[i];
    store_eight(p.out, p.out_type, row * p.out_stride + at, a);
}

static __global__ void __launch_bounds__(256) add_one(cuda_add_args p)
{
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (uint64_t)p.rows * p.columns)
        return;
    const uint64_t row = item / p.columns, at = item % p.columns, b_row = p.b_rows == 1 ? 0 : row;
    const float a = load_float(p.a, p.a_type, row * p.a_stride + at);
    const float sum = p.b ? a + p.scale * load_float(p.b, p.b_type, b_row * p.b_stride + at) : p.scale * a;
    store_float(p.out, p.out_type, row * p.out_stride + at, sum);
}

extern "C" tn_status cuda_add(const cuda_add_args *args, cuda_stream stream)
{
    const uint64_t elements = (uint64_t)args->rows * args->columns;

    if (!elements)
        return TN_OK;
    if (!float_type(args->a_type) || !float_type(args->out_type) || (args->b && !float_type(args->b_type)))
        return TN_E_UNSUPPORTED;
    if (args->columns % 8 == 0 && rows_aligned(args->a, args->a_type, args->a_stride) &&
        (!args->b || rows_aligned(args->b, args->b_type, args->b_rows == 1 ? 0 : args->b_stride)) &&
        rows_aligned(args->out, args->out_type, args->out_stride))
        LAUNCH(add_eight, ceil_div(elements / 8, 256), 256, 0, stream, *args);
    else
        LAUNCH(add_one, ceil_div(elements, 256), 256, 0, stream, *args);
    return LAUNCH_STATUS();
}
