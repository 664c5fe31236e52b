/* linear_tile.cu: matrix product of more rows, 64 tokens by 256 outputs a block. Limit: the tensor cores' rate from
 * about 128 rows on; below, bytes through L2. 8 warps of 32 outputs each expand their codes once into registers and use
 * them for all 64 tokens; the tokens' inputs go through a ring of 3 asynchronous copies in shared memory, padded so
 * that no two lanes of an access meet in a bank.
 *
 * 64 sums of a slice and 64 of a group take 128 registers, so one block runs per multiprocessor; the sum over slices
 * waits in shared memory, where a thread meets only itself. With `partial`, each z takes one slice and leaves it there.
 * mma.sync reaches about two thirds of a Hopper tensor core's rate; wgmma is not used.
 */
#include "kernels/product.cuh"

enum { STAGES = 3, PANELS = 2, TILES = TILE_TOKENS / 8, SUMS = PANELS * TILES * 4, THREADS = 256 };

template <int CODE> static size_t tile_shared_bytes(void)
{
    return (size_t)STAGES * TILE_TOKENS * code_traits<CODE>::token_stride * sizeof(bf16) +
           SUMS * THREADS * sizeof(float);
}

template <int CODE>
static __device__ __forceinline__ void fetch_inputs(const product_call &c, const bf16 *const x[2], bf16 *stage,
                                                    uint32_t block)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t token = threadIdx.x / 8 + i * 32, k = block * CUDA_K_BLOCK + threadIdx.x % 8 * 8;
        const uint32_t left = k < c.w.columns ? (c.w.columns - k) * (uint32_t)sizeof(bf16) : 0;
        copy_async(stage + token * code_traits<CODE>::token_stride + threadIdx.x % 8 * 8, x[i] && left ? x[i] + k : c.x,
                   x[i] ? left < 16 ? left : 16 : 0);
    }
}

/* Operands B of steps 2 j and 2 j + 1 for a token tile. */
template <int CODE>
static __device__ __forceinline__ void load_step_pair(const bf16 *stage, int tile, int j, uint32_t b[4])
{
    const uint32_t lane = threadIdx.x % WARP, t = lane % 4;
    const bf16 *token = stage + (tile * 8 + lane / 4) * code_traits<CODE>::token_stride;

    if (code_traits<CODE>::is_float) {
        uint4 v = *reinterpret_cast<const uint4 *>(token + 16 * t + 8 * j);
        b[0] = v.x, b[1] = v.y, b[2] = v.z, b[3] = v.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint2 v = *reinterpret_cast<const uint2 *>(token + 32 * j + 16 * i + 4 * t);
        b[2 * i] = v.x, b[2 * i + 1] = v.y;
    }
}

/* Codes for which no registers are left to hold the fragments of two steps. */
template <int CODE> static constexpr bool one_step = CODE == CODE_MIN + 3 || CODE == CODE_MIN + 6;

template <int CODE>
static __device__ __forceinline__ void
multiply_block(const product_call &c, uint32_t row0, const uint32_t (*word)[code_traits<CODE>::words],
               const bf16 *stage, const bf16 *lut, product_sums<CODE, PANELS, TILES> &sums)
{
#pragma unroll
    for (int j = 0; j < 2; j++) {
        uint32_t a[2][PANELS][4];
        step_begin<CODE, PANELS, TILES>(c.w, row0, sums);
#pragma unroll
        for (int p = 0; p < PANELS; p++)
            fragment_of_codes<CODE>(word[p], 2 * j, sums.group[p], lut, a[0][p]);
        const bool same_group = !one_step<CODE> && (code_traits<CODE>::is_float || sums.steps_left);
        if (same_group) { /* both steps share the loads of their inputs */
            step_begin<CODE, PANELS, TILES>(c.w, row0, sums);
#pragma unroll
            for (int p = 0; p < PANELS; p++)
                fragment_of_codes<CODE>(word[p], 2 * j + 1, sums.group[p], lut, a[1][p]);
        }
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            uint32_t b[4];
            load_step_pair<CODE>(stage, t, j, b);
            step_tile<CODE, PANELS, TILES>(sums, t, a[0], b);
            if (same_group)
                step_tile<CODE, PANELS, TILES>(sums, t, a[1], b + 2);
        }
        if (same_group)
            continue;
        step_begin<CODE, PANELS, TILES>(c.w, row0, sums);
#pragma unroll
        for (int p = 0; p < PANELS; p++)
            fragment_of_codes<CODE>(word[p], 2 * j + 1, sums.group[p], lut, a[1][p]);
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            uint32_t b[4];
            load_step_pair<CODE>(stage, t, j, b);
            step_tile<CODE, PANELS, TILES>(sums, t, a[1], b + 2);
        }
    }
}

/* Output and token of sum i of a thread, within the block. */
static __device__ __forceinline__ uint32_t output_of(int i)
{
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    return (warp * PANELS + i / (TILES * 4)) * CUDA_PANEL + lane / 4 + i % 4 / 2 * 8;
}
static __device__ __forceinline__ uint32_t token_of(int i)
{
    return i / 4 % TILES * 8 + threadIdx.x % 4 * 2 + i % 2;
}

static __device__ __forceinline__ void store_sum(const product_call &c, const product_rows &rows, uint32_t n,
                                                 uint32_t token, float sum)
{
    const uint64_t row = rows.row0 + token;
    if (n >= c.n || token >= rows.rows)
        return;
    if (c.partial)
        c.partial[((uint64_t)blockIdx.z * c.rows + row) * c.n + n] = sum;
    else
        store_float(c.y, c.y_type, row * c.y_stride + n, c.bias ? sum + c.bias[rows.expert * c.n + n] : sum);
}

template <int CODE> static __global__ void __launch_bounds__(THREADS, 1) tile(product_call c)
{
    SHARED_DYNAMIC(bf16, stage);
    __shared__ bf16 lut[16];
    constexpr int STAGE = TILE_TOKENS * code_traits<CODE>::token_stride, WORDS = code_traits<CODE>::words;
    float *total = reinterpret_cast<float *>(stage + STAGES * STAGE) + threadIdx.x; /* [SUMS][THREADS] */
    product_rows rows;
    product_sums<CODE, PANELS, TILES> sums;

    if (!rows_of_block(c, TILE_TOKENS, &rows))
        return;
    load_lut<CODE>(c.w, lut);
    const uint32_t output0 = blockIdx.x * TILE_OUTPUTS, row_end = rows.expert * c.n + c.n;
    const uint32_t row0 = rows.expert * c.n + output0 + threadIdx.x / WARP * PANELS * CUDA_PANEL;
    const bf16 *x[2];
    for (int i = 0; i < 2; i++) {
        const uint32_t token = threadIdx.x / 8 + i * 32;
        x[i] = token < rows.rows ? input_row(c, rows, token) : nullptr;
    }
    /* Warps whose outputs lie beyond the matrix keep up with the copies and barriers, on the last panels. */
    const bool idle = row0 >= row_end;
    const uint32_t safe0 = idle ? (row_end - 1) / CUDA_PANEL * CUDA_PANEL : row0;
    const uint32_t slice_first = c.partial ? blockIdx.z : 0;
    const uint32_t slice_last = c.partial ? slice_first + 1 : (uint32_t)CUDA_K_SLICES;
    const uint32_t begin = slice_begin(c.w, slice_first), end = slice_begin(c.w, slice_last);

#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (begin + i < end)
            fetch_inputs<CODE>(c, x, stage + i * STAGE, begin + i);
        copy_commit();
    }
    uint32_t word[PANELS][WORDS];
    if (begin < end)
#pragma unroll
        for (int p = 0; p < PANELS; p++)
            load_words<CODE>(c.w, safe0 + p * CUDA_PANEL, row_end, begin, word[p]);
    for (uint32_t slice = slice_first; slice < slice_last; slice++) {
        const uint32_t first = slice_begin(c.w, slice), last = slice_begin(c.w, slice + 1);
        slice_start<CODE, PANELS, TILES>(c.w, safe0, first, sums);
        for (uint32_t block = first; block < last; block++) {
            uint32_t next[PANELS][WORDS];
            copy_wait<STAGES - 2>();
            __syncthreads();
            if (block + STAGES - 1 < end)
                fetch_inputs<CODE>(c, x, stage + (block - begin + STAGES - 1) % STAGES * STAGE, block + STAGES - 1);
            copy_commit();
#pragma unroll
            for (int p = 0; p < PANELS; p++)
                if (block + 1 < end)
                    load_words<CODE>(c.w, safe0 + p * CUDA_PANEL, row_end, block + 1, next[p]);
            multiply_block<CODE>(c, safe0, word, stage + (block - begin) % STAGES * STAGE, lut, sums);
#pragma unroll
            for (int p = 0; p < PANELS; p++)
#pragma unroll
                for (int i = 0; i < WORDS; i++)
                    word[p][i] = next[p][i];
        }
        if (first < last)
            slice_finish<CODE, PANELS, TILES>(sums);
#pragma unroll
        for (int i = 0; i < SUMS; i++) {
            const float sum = sums.acc[i / (TILES * 4)][i / 4 % TILES][i % 4];
            total[i * THREADS] = slice == slice_first ? 0.0f + sum : total[i * THREADS] + sum;
        }
    }
    if (idle)
        return;
#pragma unroll 4
    for (int i = 0; i < SUMS; i++)
        store_sum(c, rows, output0 + output_of(i), token_of(i), total[i * THREADS]);
}

/* Adds the slices of a split product, in order. */
static __global__ void __launch_bounds__(256) add_slices(product_call c)
{
    const uint64_t item = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x, count = (uint64_t)c.rows * c.n;
    if (item >= count)
        return;
    float sum = 0;
    for (int slice = 0; slice < CUDA_K_SLICES; slice++)
        sum += c.partial[slice * count + item];
    const uint32_t n = (uint32_t)(item % c.n);
    store_float(c.y, c.y_type, item / c.n * c.y_stride + n, c.bias ? sum + c.bias[n] : sum);
}

template <int CODE> static tn_status launch_tile(const product_call *call, uint32_t tiles, cuda_stream stream)
{
    const dim3 grid(ceil_div(call->n, TILE_OUTPUTS), tiles, call->partial ? CUDA_K_SLICES : 1);
    const size_t bytes = tile_shared_bytes<CODE>();

    LARGE_SHARED(tile<CODE>, bytes);
    LAUNCH(tile<CODE>, grid, THREADS, bytes, stream, *call);
    if (call->partial)
        LAUNCH(add_slices, ceil_div((uint64_t)call->rows * call->n, 256), 256, 0, stream, *call);
    return LAUNCH_STATUS();
}

tn_status product_tile(const product_call *call, uint32_t tiles, cuda_stream stream)
{
    switch (code_of(&call->w.enc)) {
    case CODE_FLOAT:
        return launch_tile<CODE_FLOAT>(call, tiles, stream);
    case CODE_E4M3:
        return launch_tile<CODE_E4M3>(call, tiles, stream);
    case CODE_E2M1:
        return launch_tile<CODE_E2M1>(call, tiles, stream);
    case CODE_LUT4:
        return launch_tile<CODE_LUT4>(call, tiles, stream);
    case 2: /* too rare for an instance of its own, and so are 5 and 7 */
    case CODE_MIN + 2:
        return launch_tile<CODE_MIN + 2>(call, tiles, stream);
    case 3:
        return launch_tile<3>(call, tiles, stream);
    case 4:
        return launch_tile<4>(call, tiles, stream);
    case 5:
    case CODE_MIN + 5:
        return launch_tile<CODE_MIN + 5>(call, tiles, stream);
    case 6:
        return launch_tile<6>(call, tiles, stream);
    case 8:
        return launch_tile<8>(call, tiles, stream);
    case 7:
    case CODE_MIN + 7:
        return launch_tile<CODE_MIN + 7>(call, tiles, stream);
    case CODE_MIN + 3:
        return launch_tile<CODE_MIN + 3>(call, tiles, stream);
    case CODE_MIN + 4:
        return launch_tile<CODE_MIN + 4>(call, tiles, stream);
    case CODE_MIN + 6:
        return launch_tile<CODE_MIN + 6>(call, tiles, stream);
    case CODE_MIN + 8:
        return launch_tile<CODE_MIN + 8>(call, tiles, stream);
    default:
        return TN_E_UNSUPPORTED;
    }
}
