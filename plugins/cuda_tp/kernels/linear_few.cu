/* linear_few.cu: matrix product of at most 16 token rows. Limit: bytes of the weight, read once: 16 outputs a block,
 * one of the 8 slices of K a warp, so that 4,096 outputs are 2,048 warps, each with 1 to 2 KiB of loads in flight; 32
 * of them hide the latency of a multiprocessor's share of bandwidth. Inputs come from L1 and L2; slices meet in shared
 * memory. Minimums are always added (zero where there are none): the instruction is free here, and kernels are fewer.
 */
#include "kernels/product.cuh"

/* Inputs of one token tile of a block of K: words 2 s and 2 s + 1 are operand B of step s. Beyond K: zero. */
template <int CODE>
static __device__ __forceinline__ void load_inputs(const bf16 *x, uint32_t columns, uint32_t block, uint32_t word[8])
{
    const uint32_t t = threadIdx.x % WARP % 4;

#pragma unroll
    for (int s = 0; s < 4; s++) {
        const uint32_t k = block * CUDA_K_BLOCK + (code_traits<CODE>::is_float ? 16 * t + 4 * s : 16 * s + 4 * t);
        uint2 v = {0, 0};
        if (x && k + 4 <= columns) {
            v = *reinterpret_cast<const uint2 *>(x + k);
        } else if (x && k < columns) {
            v.x = x[k] | (k + 1 < columns ? (uint32_t)x[k + 1] << 16 : 0);
            v.y = k + 2 < columns ? x[k + 2] : 0;
        }
        word[2 * s] = v.x, word[2 * s + 1] = v.y;
    }
}

template <int CODE, int NT> static __global__ void __launch_bounds__(256, NT == 1 ? 3 : 2) few(product_call c)
{
    __shared__ float slice_sum[CUDA_K_SLICES][CUDA_PANEL][NT * 8 + 1];
    __shared__ bf16 lut[16];
    constexpr int WORDS = code_traits<CODE>::words;
    constexpr int AHEAD = WORDS > 4 ? 1 : 2; /* blocks of K whose codes are loaded together: 1 or 2 KiB a warp */
    const uint32_t lane = threadIdx.x % WARP, slice = threadIdx.x / WARP;
    product_rows rows;
    product_sums<CODE, 1, NT> sums;

    if (!rows_of_block(c, NT * 8, &rows))
        return;
    load_lut<CODE>(c.w, lut);
    const uint32_t output0 = blockIdx.x * CUDA_PANEL, row0 = rows.expert * c.n + output0;
    const uint32_t row_end = rows.expert * c.n + c.n;
    const bf16 *x[NT];
#pragma unroll
    for (int t = 0; t < NT; t++) {
        const uint32_t token = t * 8 + lane / 4;
        x[t] = token < rows.rows ? input_row(c, rows, token) : nullptr;
    }
    const uint32_t begin = slice_begin(c.w, slice), end = slice_begin(c.w, slice + 1);
    slice_start<CODE, 1, NT>(c.w, row0, begin, sums);
    for (uint32_t block0 = begin; block0 < end; block0 += AHEAD) {
        uint32_t word[AHEAD][WORDS];
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (block0 + i < end)
                load_words<CODE>(c.w, row0, row_end, block0 + i, word[i]);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (block0 + i >= end)
                break;
            uint32_t input[NT][8];
#pragma unroll
            for (int t = 0; t < NT; t++)
                load_inputs<CODE>(x[t], c.w.columns, block0 + i, input[t]);
#pragma unroll
            for (int s = 0; s < 4; s++) {
                uint32_t a[1][4];
                step_begin<CODE, 1, NT>(c.w, row0, sums);
                fragment_of_codes<CODE>(word[i], s, sums.group[0], lut, a[0]);
#pragma unroll
                for (int t = 0; t < NT; t++)
                    step_tile<CODE, 1, NT>(sums, t, a, &input[t][2 * s]);
            }
        }
    }
    if (begin < end)
        slice_finish<CODE, 1, NT>(sums);
#pragma unroll
    for (int t = 0; t < NT; t++)
        for (int i = 0; i < 4; i++)
            slice_sum[slice][lane / 4 + i / 2 * 8][t * 8 + lane % 4 * 2 + i % 2] = sums.acc[0][t][i];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < CUDA_PANEL * rows.rows; i += blockDim.x) {
        const uint32_t output = i % CUDA_PANEL, token = i / CUDA_PANEL, n = output0 + output;
        float sum = 0;
        for (int j = 0; j < CUDA_K_SLICES; j++)
            sum += slice_sum[j][output][token];
        if (n < c.n)
            store_float(c.y, c.y_type, (uint64_t)(rows.row0 + token) * c.y_stride + n,
                        c.bias ? sum + c.bias[rows.expert * c.n + n] : sum);
    }
}

template <int CODE>
static tn_status launch_few(const product_call *call, uint32_t rows_max, uint32_t tiles, cuda_stream stream)
{
    const dim3 grid(ceil_div(call->n, CUDA_PANEL), tiles);
    if (rows_max <= 8)
        LAUNCH((few<CODE, 1>), grid, 256, 0, stream, *call);
    else
        LAUNCH((few<CODE, 2>), grid, 256, 0, stream, *call);
    return LAUNCH_STATUS();
}

tn_status product_few(const product_call *call, uint32_t rows_max, uint32_t tiles, cuda_stream stream)
{
    int code = code_of(&call->w.enc);
    switch (code % CODE_MIN) {
    case CODE_FLOAT:
        return launch_few<CODE_FLOAT>(call, rows_max, tiles, stream);
    case CODE_E4M3:
        return launch_few<CODE_E4M3>(call, rows_max, tiles, stream);
    case CODE_E2M1:
        return launch_few<CODE_E2M1>(call, rows_max, tiles, stream);
    case CODE_LUT4:
        return launch_few<CODE_LUT4>(call, rows_max, tiles, stream);
    case 2:
        return launch_few<CODE_MIN + 2>(call, rows_max, tiles, stream);
    case 3:
        return launch_few<CODE_MIN + 3>(call, rows_max, tiles, stream);
    case 4:
        return launch_few<CODE_MIN + 4>(call, rows_max, tiles, stream);
    case 5:
        return launch_few<CODE_MIN + 5>(call, rows_max, tiles, stream);
    case 6:
        return launch_few<CODE_MIN + 6>(call, rows_max, tiles, stream);
    case 7:
        return launch_few<CODE_MIN + 7>(call, rows_max, tiles, stream);
    case 8:
        return launch_few<CODE_MIN + 8>(call, rows_max, tiles, stream);
    default:
        return TN_E_UNSUPPORTED;
    }
}
