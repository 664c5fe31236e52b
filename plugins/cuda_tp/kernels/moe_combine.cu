/* moe_combine.cu: a row's experts added up, in the order of choice. Limit: bytes, chosen * M read, M written a row. */
#include "kernels/device.cuh"

static __global__ void __launch_bounds__(256) combine_eight(cuda_moe_combine_args a)
{
    const uint64_t row = blockIdx.x;
    const uint32_t *place = a.place + row * a.chosen;
    const float *weight = a.weight + row * a.chosen;

    for (uint32_t at = (blockIdx.y * blockDim.x + threadIdx.x) * 8; at < a.columns; at += gridDim.y * blockDim.x * 8) {
        float sum[8] = {0};
        for (uint32_t i = 0; i < a.chosen; i++) {
            float y[8];
            if (place[i] == CUDA_NO_ROW)
                continue;
            load_eight(a.y, a.y_type, (uint64_t)place[i] * a.y_stride + at, y);
            for (int j = 0; j < 8; j++)
                sum[j] += weight[i] * y[j];
        }
        store_eight(a.out, a.out_type, row * a.out_stride + at, sum);
    }
}

static __global__ void __launch_bounds__(256) combine_one(cuda_moe_combine_args a)
{
    const uint64_t row = blockIdx.x;

    for (uint32_t at = threadIdx.x; at < a.columns; at += blockDim.x) {
        float sum = 0;
        for (uint32_t i = 0; i < a.chosen; i++) {
            const uint32_t place = a.place[row * a.chosen + i];
            if (place != CUDA_NO_ROW)
                sum += a.weight[row * a.chosen + i] * load_float(a.y, a.y_type, (uint64_t)place * a.y_stride + at);
        }
        store_float(a.out, a.out_type, row * a.out_stride + at, sum);
    }
}

extern "C" tn_status cuda_moe_combine(const cuda_moe_combine_args *args, cuda_stream stream)
{
    if (!args->rows || !args->columns)
        return TN_OK;
    if (!float_type(args->y_type) || !float_type(args->out_type))
        return TN_E_UNSUPPORTED;
    if (args->columns % 8 == 0 && rows_aligned(args->y, args->y_type, args->y_stride) &&
        rows_aligned(args->out, args->out_type, args->out_stride))
        LAUNCH(combine_eight, dim3(args->rows, ceil_div(args->columns, 2048)), 256, 0, stream, *args);
    else
        LAUNCH(combine_one, args->rows, 256, 0, stream, *args);
    return LAUNCH_STATUS();
}
