/* rms_norm.cu: residual sum and RMS norm in one pass. Limit: bytes, x and delta read once, sum and out written once; a
 * thread keeps its elements in registers between the two phases where a row has at most 8,192 of them.
 *
 * Whole rows take one block each; runs of a head's width (QK norm) one warp each.
 */
#include "kernels/device.cuh"

enum { THREADS = 256, HELD = 4 }; /* HELD: runs of 8 elements that a thread keeps */

/* s = x + delta_scale * delta for elements [at, at + 8) of a row; stores the sum. */
static __device__ __forceinline__ void residual_eight(const cuda_rms_norm_args &a, uint64_t row, uint32_t at,
                                                      float s[8])
{
    load_eight(a.x, a.x_type, row * a.x_stride + at, s);
    if (a.delta) {
        float d[8];
        load_eight(a.delta, a.delta_type, row * a.delta_stride + at, d);
        for (int i = 0; i < 8; i++)
            s[i] += a.delta_scale * d[i];
    }
    if (a.sum)
        store_eight(a.sum, a.x_type, row * a.sum_stride + at, s);
}

static __device__ __forceinline__ void norm_eight(const cuda_rms_norm_args &a, uint64_t row, uint32_t at,
                                                  uint32_t in_run, float factor, float s[8])
{
    for (int i = 0; i < 8; i++)
        s[i] = s[i] * factor * (a.gain[in_run + i] + a.gain_offset);
    store_eight(a.out, a.out_type, row * a.out_stride + at, s);
}

static __global__ void __launch_bounds__(THREADS) norm_row(cuda_rms_norm_args a)
{
    __shared__ float scratch[WARP];
    float held[HELD][8], squares = 0;
    const uint64_t row = blockIdx.x;

#pragma unroll
    for (int h = 0; h < HELD; h++) {
        const uint32_t at = (h * THREADS + threadIdx.x) * 8;
        if (at < a.columns) {
            residual_eight(a, row, at, held[h]);
            for (int i = 0; i < 8; i++)
                squares += held[h][i] * held[h][i];
        }
    }
    if (!a.out)
        return;
    const float factor = 1.0f / sqrtf(block_sum(squares, scratch) / (float)a.columns + a.eps);
#pragma unroll
    for (int h = 0; h < HELD; h++) {
        const uint32_t at = (h * THREADS + threadIdx.x) * 8;
        if (at < a.columns)
            norm_eight(a, row, at, at, factor, held[h]);
    }
}

/* One element at a time, for shapes that are not multiples of eight or rows too long to hold: reads x twice. */
static __device__ __forceinline__ float residual_one(const cuda_rms_norm_args &a, uint64_t row, uint32_t at)
{
    float s = load_float(a.x, a.x_type, row * a.x_stride + at);
    if (a.delta)
        s += a.delta_scale * load_float(a.delta, a.delta_type, row * a.delta_stride + at);
    return s;
}

static __global__ void __launch_bounds__(THREADS) norm_any(cuda_rms_norm_args a)
{
    __shared__ float scratch[WARP];
    const uint64_t row = blockIdx.x;
    const uint32_t begin = blockIdx.y * a.run;
    float squares = 0;

    for (uint32_t i = threadIdx.x; i < a.run; i += THREADS) {
        float s = residual_one(a, row, begin + i);
        squares += s * s;
    }
    const float factor = 1.0f / sqrtf(block_sum(squares, scratch) / (float)a.run + a.eps);
    for (uint32_t i = threadIdx.x; i < a.run; i += THREADS) {
        const float s = residual_one(a, row, begin + i);
        if (a.sum)
            store_float(a.sum, a.x_type, row * a.sum_stride + begin + i, s);
        if (a.out)
            store_float(a.out, a.out_type, row * a.out_stride + begin + i, s * factor * (a.gain[i] + a.gain_offset));
    }
}

/* A warp per run of at most 256 elements. */
static __global__ void __launch_bounds__(THREADS) norm_heads(cuda_rms_norm_args a)
{
    const uint32_t runs = a.columns / a.run, lane = threadIdx.x % WARP;
    const uint64_t item = (uint64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    const uint64_t row = item / runs;
    const uint32_t begin = (uint32_t)(item % runs) * a.run, at = lane * 8;
    const bool mine = row < a.rows && at < a.run;
    float s[8] = {0}, squares = 0;

    if (mine) {
        residual_eight(a, row, begin + at, s);
        for (int i = 0; i < 8; i++)
            squares += s[i] * s[i];
    }
    squares = warp_sum(squares);
    if (mine && a.out)
        norm_eight(a, row, begin + at, at, 1.0f / sqrtf(squares / (float)a.run + a.eps), s);
}

static bool all_aligned(const cuda_rms_norm_args *a)
{
    return rows_aligned(a->x, a->x_type, a->x_stride) &&
           (!a->delta || rows_aligned(a->delta, a->delta_type, a->delta_stride)) &&
           (!a->sum || rows_aligned(a->sum, a->x_type, a->sum_stride)) &&
           (!a->out || rows_aligned(a->out, a->out_type, a->out_stride)) && a->run % 8 == 0;
}

extern "C" tn_status cuda_rms_norm(const cuda_rms_norm_args *args, cuda_stream stream)
{
    if (!args->rows)
        return TN_OK;
    if (!args->run || args->columns % args->run || (args->out && !args->gain))
        return TN_E_ARGUMENT;
    if (!float_type(args->x_type) || (args->delta && !float_type(args->delta_type)) ||
        (args->out && !float_type(args->out_type)))
        return TN_E_UNSUPPORTED;
    const uint32_t runs = args->columns / args->run;
    if (all_aligned(args) && args->run <= 256 && runs > 1)
        LAUNCH(norm_heads, ceil_div((uint64_t)args->rows * runs, THREADS / WARP), THREADS, 0, stream, *args);
    else if (all_aligned(args) && runs == 1 && args->columns <= THREADS * HELD * 8)
        LAUNCH(norm_row, args->rows, THREADS, 0, stream, *args);
    else if (runs <= 65535)
        LAUNCH(norm_any, dim3(args->rows, runs), THREADS, 0, stream, *args);
    else
        return TN_E_ARGUMENT;
    return LAUNCH_STATUS();
}
