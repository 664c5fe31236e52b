/* plugins/cuda_tp/kernels/product.cuh: what both matrix product kernels do with one block of 64 inputs.
 *
 * Weights are operand A (16 outputs), token rows operand B (8 tokens): one row fills an eighth of an instruction that
 * costs nothing beside its bytes, so one family serves decode and prefill. Products of a group are summed on their own
 * and join the slice's sum times the group's scale; a minimum times the sum of the inputs, which the tensor core gives
 * as a product with ones. The order is: steps of a group, groups of a slice, slices, bias.
 */
#ifndef CUDA_PRODUCT_CUH
#define CUDA_PRODUCT_CUH

#include "kernels/weight.cuh"

/* What a launch multiplies. */
struct product_call {
    cuda_weight w;
    const bf16 *x;
    const float *bias;
    void *y;
    float *partial;               /* [CUDA_K_SLICES][rows][n], or NULL: do not split */
    const uint32_t *place_row;    /* experts: row of x at each place; NULL: the place itself */
    const cuda_expert_task *task; /* experts; NULL: one matrix for all rows */
    const uint32_t *task_count;
    uint32_t y_type, rows, x_stride, y_stride, n; /* n: outputs of one expert, or of the matrix */
};

/* The rows and the expert of one block. */
struct product_rows {
    uint32_t expert, row0, rows;
};

/* False: nothing to do. tile: rows that the kernel takes at once. */
static __device__ __forceinline__ bool rows_of_block(const product_call &c, uint32_t tile, product_rows *ret_rows)
{
    product_rows r = {0, blockIdx.y * tile, 0};
    if (c.task) {
        if (blockIdx.y >= *c.task_count)
            return false;
        const cuda_expert_task t = c.task[blockIdx.y];
        r.expert = t.expert, r.row0 = t.place, r.rows = t.rows;
    } else {
        r.rows = c.rows - r.row0 < tile ? c.rows - r.row0 : tile;
    }
    *ret_rows = r;
    return true;
}

static __device__ __forceinline__ const bf16 *input_row(const product_call &c, const product_rows &r, uint32_t token)
{
    uint32_t row = r.row0 + token;
    if (c.place_row)
        row = c.place_row[row];
    return c.x + (uint64_t)row * c.x_stride;
}

/* Blocks of K in slice `slice`: [slice_begin(slice), slice_begin(slice + 1)). */
static __device__ __forceinline__ uint32_t slice_begin(const cuda_weight &w, uint32_t slice)
{
    return (uint32_t)((uint64_t)w.k_blocks * slice / CUDA_K_SLICES);
}

/* Sums under way: P panels of 16 outputs times NT tiles of 8 tokens. */
template <int CODE, int P, int NT> struct product_sums {
    float acc[P][NT][4];                                    /* of the slice */
    float part[code_traits<CODE>::is_float ? 1 : P][NT][4]; /* of the group */
    float inputs[code_traits<CODE>::has_min ? NT : 1][4];   /* sum of x over the group */
    group_numbers group[P];
    uint32_t group_index, steps_left; /* steps of 16 until the group ends */
};

template <int CODE, int P, int NT>
static __device__ __forceinline__ void group_begin(const cuda_weight &w, uint32_t row0, product_sums<CODE, P, NT> &s)
{
#pragma unroll
    for (int p = 0; p < P; p++) {
        s.group[p] = load_group<CODE>(w, row0 + p * CUDA_PANEL, s.group_index);
#pragma unroll
        for (int t = 0; t < NT; t++)
            for (int i = 0; i < 4; i++)
                s.part[p][t][i] = 0;
    }
    if (code_traits<CODE>::has_min)
#pragma unroll
        for (int t = 0; t < NT; t++)
            for (int i = 0; i < 4; i++)
                s.inputs[t][i] = 0;
}

template <int CODE, int P, int NT> static __device__ __forceinline__ void group_end(product_sums<CODE, P, NT> &s)
{
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int t = 0; t < NT; t++)
            for (int i = 0; i < 4; i++) {
                s.acc[p][t][i] = fmaf(s.group[p].scale[i / 2], s.part[p][t][i], s.acc[p][t][i]);
                if (code_traits<CODE>::has_min)
                    s.acc[p][t][i] = fmaf(s.group[p].min[i / 2], s.inputs[t][i % 2], s.acc[p][t][i]);
            }
}

/* Starts a slice at block `block`, perhaps in the middle of a group. */
template <int CODE, int P, int NT>
static __device__ __forceinline__ void slice_start(const cuda_weight &w, uint32_t row0, uint32_t block,
                                                   product_sums<CODE, P, NT> &s)
{
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int t = 0; t < NT; t++)
            for (int i = 0; i < 4; i++)
                s.acc[p][t][i] = 0;
    if (code_traits<CODE>::is_float)
        return;
    const uint64_t k = (uint64_t)block * CUDA_K_BLOCK;
    s.group_index = (uint32_t)(k / w.enc.group_k);
    s.steps_left = (uint32_t)((w.enc.group_k - k % w.enc.group_k + 15) / 16);
    if (block < w.k_blocks)
        group_begin<CODE, P, NT>(w, row0, s);
}

template <int CODE, int P, int NT> static __device__ __forceinline__ void slice_finish(product_sums<CODE, P, NT> &s)
{
    if (!code_traits<CODE>::is_float)
        group_end<CODE, P, NT>(s);
}

/* Before step `step` of block `block`: goes on to the next group if the last one is full. */
template <int CODE, int P, int NT>
static __device__ __forceinline__ void step_begin(const cuda_weight &w, uint32_t row0, product_sums<CODE, P, NT> &s)
{
    if (code_traits<CODE>::is_float)
        return;
    if (s.steps_left == 0) {
        group_end<CODE, P, NT>(s);
        s.group_index = s.group_index + 1 < w.groups ? s.group_index + 1 : s.group_index; /* padding of K */
        s.steps_left = (w.enc.group_k + 15) / 16;
        group_begin<CODE, P, NT>(w, row0, s);
    }
    s.steps_left--;
}

/* One step for one tile of tokens. a: fragments of the P panels. */
template <int CODE, int P, int NT>
static __device__ __forceinline__ void step_tile(product_sums<CODE, P, NT> &s, int tile, const uint32_t (*a)[4],
                                                 const uint32_t b[2])
{
#pragma unroll
    for (int p = 0; p < P; p++)
        mma<false>(code_traits<CODE>::is_float ? s.acc[p][tile] : s.part[p][tile], a[p], b);
    if (code_traits<CODE>::has_min) {
        const uint32_t ones[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
        mma<false>(s.inputs[tile], ones, b);
    }
}

template <int CODE>
static __device__ __forceinline__ void load_words(const cuda_weight &w, uint32_t row0, uint32_t row_end, uint32_t block,
                                                  uint32_t *word)
{
    if (code_traits<CODE>::is_float)
        load_float_codes(w, row0, row_end, block, word);
    else if (row0 < row_end)
        load_codes<CODE>(w, row0 / CUDA_PANEL, block, word);
    else
        for (int i = 0; i < code_traits<CODE>::words; i++)
            word[i] = 0;
}

/* Fills the shared table of a LUT weight; ends in a barrier. */
template <int CODE> static __device__ __forceinline__ void load_lut(const cuda_weight &w, bf16 *lut)
{
    if (CODE != CODE_LUT4)
        return;
    if (threadIdx.x < 16)
        lut[threadIdx.x] = bf16_of_float(w.lut[threadIdx.x]);
    __syncthreads();
}

/* Launchers of the two kernels; tiles: blocks over rows, or tasks. call->partial: K is split over blocks. */
enum { FEW_ROWS = CUDA_FEW_ROWS, TILE_TOKENS = CUDA_TILE_TOKENS, TILE_OUTPUTS = CUDA_TILE_OUTPUTS };
tn_status product_few(const product_call *call, uint32_t rows_max, uint32_t tiles, cuda_stream stream);
tn_status product_tile(const product_call *call, uint32_t tiles, cuda_stream stream);

#endif
