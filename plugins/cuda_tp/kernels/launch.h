/* plugins/cuda_tp/kernels/launch.h: the launchers of all kernels, in plain C.
 *
 * Every launcher enqueues on `stream` and never waits, allocates nothing and keeps no state, so all of them can be
 * captured into a CUDA graph. TN_OK; TN_E_ARGUMENT for a shape or stride it cannot take (nothing is enqueued);
 * TN_E_UNSUPPORTED for a type it has no kernel for; TN_E_DEVICE_LOST if the runtime refused the launch. Zero rows are a
 * no-op. [device thread]
 *
 * Pointers are device memory, 16-byte aligned unless said. Strides count elements, rows are contiguous. Types are
 * TN_F32, TN_F16, TN_BF16 of tenon/encoding.h. Activations are bf16 where they enter a matrix product; the residual
 * stream is meant to be f32. Sums are f32 or better. Padding: a step that runs a captured graph of a larger bucket has
 * rows beyond its own; per-row arrays say so (CUDA_NO_ROW, task and expert counts on the device), everything else just
 * computes rows that nobody reads.
 *
 * Batch invariance: the bits of an output row depend on that row's inputs alone, for every kernel here, always:
 * sums over K are cut into CUDA_K_SLICES fixed slices at any row count, attention spans begin at absolute positions,
 * experts add up in the order of choice, the one-shot all-reduce in rank order, and no float is added atomically. Only
 * the choice of cuBLASLt for a product breaks it.
 *
 * Glossary: T token rows, O output rows, M model width, H query heads, G key/value heads, D head width, F feed-forward
 * width, V vocabulary, E experts, N x K a weight's outputs x inputs.
 */
#ifndef CUDA_LAUNCH_H
#define CUDA_LAUNCH_H

#include "tenon/backend.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *cuda_stream; /* = cudaStream_t */

/* While on, launches of this thread check their arguments and load their kernels, but launch nothing: a kernel's code
 * else comes to the device when it is first launched, which takes memory and may wait for all that runs there. [any] */
void cuda_launch_nothing(bool on);

enum {
    CUDA_K_SLICES = 8,       /* parts of K that are summed on their own, then added in order */
    CUDA_PANEL = 16,         /* outputs of a quantized panel */
    CUDA_K_BLOCK = 64,       /* inputs of one storage block of codes; K is padded to a multiple of it */
    CUDA_FEW_ROWS = 16,      /* rows that are multiplied by bytes; more by tiles of */
    CUDA_TILE_TOKENS = 64,   /* rows, times */
    CUDA_TILE_OUTPUTS = 256, /* outputs */
    CUDA_HEAD_DIM_MAX = 256, /* D and Dv */
    CUDA_TASK_QUERIES = 64,  /* query vectors (rows x heads of one kv head) of one attention task */
    CUDA_EXPERTS_MAX = 1024,
    CUDA_CHOSEN_MAX = 32,
    CUDA_TOP_MAX = 128,     /* top_logprobs of a batch */
    CUDA_RANKS_MAX = 8,     /* ranks of a one-shot all-reduce */
    CUDA_SUM_MAX = 64,      /* ranks whose buffers are added up side by side */
    CUDA_REDUCE_BLOCKS = 32 /* blocks, and flags per rank, of a one-shot all-reduce */
};
#define CUDA_NO_ROW UINT32_MAX /* slot of a padding row: nothing is written to KV */

/* ---- weights ---- */

/* A weight [N, K] as the kernels read it.
 *
 * FLOAT: codes is row-major [rows, stride] of qtype TN_BF16 (any op) or TN_F32 (vectors, and embedding tables), as
 * cuBLASLt reads it too; stride % 8 == 0 and columns beyond K zero.
 *
 * Quantized (AFFINE, MX, LUT): rows in panels of CUDA_PANEL, columns in blocks of CUDA_K_BLOCK. `stride` is unused.
 *   codes  bit planes: bits = 8, or the sum of 4, 2, 1. Plane of width b: [panels][k_blocks][32 lanes][4 * b bytes],
 *          see weight.cuh. Codes are as in the canonical encoding; padding is zero.
 *   scale  [panels][groups][16] of scale_type; with group_n > 1: [ceil(N / group_n)][groups] as it came
 *   min    like scale, of scale_type (TN_ZERO_FLOAT) or u8 (TN_ZERO_POINT)
 *   scale2 [panels][groups2][factors][16] of scale2_type, factors = 2 for TN_ZERO_FLOAT, else 1
 *   lut    [2^bits] f32
 * groups = ceil(K / group_k). A permuted weight (TN_ENC_PERM_K) keeps its stored column order: its input goes through
 * cuda_permute_columns first; where its permutation lies is the caller's affair. cuda_weight_layout computes the sizes;
 * cuda_repack fills the planes. */
typedef struct cuda_weight {
    tn_enc enc;
    uint32_t rows, columns; /* N, K */
    uint32_t stride, k_blocks;
    uint32_t groups, groups2;
    const void *codes, *scale, *min, *scale2;
    const float *lut;
} cuda_weight;

/* Bytes of each plane of a repacked weight, every one padded to 256, codes first. */
typedef struct cuda_weight_size {
    uint64_t codes, scale, min, scale2, lut, total;
} cuda_weight_size;

/* Fills everything but the pointers, for a weight [rows, columns] that arrives in `enc`. Host arithmetic; no device.
 * TN_E_UNSUPPORTED unless the kernels read this encoding: FLOAT bf16 and f32, without flags; AFFINE of 2 to 8 bits
 * (zero points up to 128 below 8 bits) or e4m3; MX e2m1; LUT of 4 bits; group_k % 16 == 0 or >= columns; group_n > 1
 * without a second level; parts of whole panels and scale rows. [any] */
tn_status cuda_weight_layout(const tn_enc *enc, uint64_t rows, uint64_t columns, cuda_weight *ret_weight,
                             cuda_weight_size *ret_size);

/* Points the planes of a laid-out weight into one allocation of size.total bytes at `base`, in the order of
 * cuda_weight_size. Host arithmetic. [any] */
void cuda_weight_place(cuda_weight *weight, const cuda_weight_size *size, void *base);

/* Moves one canonical block (tn_planes, here in device memory) into a placed weight.
 * row0 % 16 == 0, and n_rows % 16 == 0 unless no other block has rows of the last panel (the rest of which becomes
 * zero); k0 % 64 == 0 and n_k % 64 == 0 or at the end, and both on whole groups (of either level, or at the end). With
 * group_n > 1: row0 on a multiple of it. plane[]: device pointers by TN_PLANE_*, of any alignment; PERM is not touched,
 * LUT is copied. FLOAT weights: rows are copied, padding zeroed; any row0, k0. Codes of the same panel must not be
 * repacked concurrently. */
typedef struct cuda_repack_args {
    const cuda_weight *weight;
    uint64_t row0, n_rows, k0, n_k;
    const void *plane[TN_PLANE_LIMIT];
} cuda_repack_args;
tn_status cuda_repack(const cuda_repack_args *args, cuda_stream stream);

/* out[r][n] = float value of weight row0 + r, for tests and for converting a weight to bf16: out [count, columns] of
 * out_type TN_F32 or TN_BF16, stride out_stride. Stored column order. */
typedef struct cuda_dequantize_args {
    const cuda_weight *weight;
    void *out;
    uint32_t out_type, out_stride;
    uint32_t row0, count;
} cuda_dequantize_args;
tn_status cuda_dequantize(const cuda_dequantize_args *args, cuda_stream stream);

/* ---- rows ---- */

/* EMBED. out[t] = scale * table[token[t] - vocab_first], or zero where the token is not in
 * [vocab_first, vocab_first + table.rows): ranks then add up to the row. token = -1-j takes prev_id[j];
 * TN_TOKEN_EMBED takes embed[t] (f32 [T, M], unscaled) on the rank with vocab_first == 0 and zero on others.
 * token: i32 [T]. out: [T, M] of out_type TN_F32 or TN_BF16. The table may be quantized; perm: u32 [M] if it is
 * permuted, else NULL. */
typedef struct cuda_embed_args {
    const cuda_weight *table;
    const int32_t *token, *prev_id; /* prev_id: ids of the earlier ticket's output rows; NULL if none points there */
    const float *embed;             /* or NULL */
    const uint32_t *perm;           /* or NULL */
    void *out;
    uint32_t out_type, out_stride;
    uint32_t rows, vocab_first;
    float scale;
    uint32_t reserved0;
} cuda_embed_args;
tn_status cuda_embed(const cuda_embed_args *args, cuda_stream stream);

/* RMS_NORM with the residual sum before it:
 *   s = x + delta_scale * delta        (delta may be NULL: s = x)
 *   sum = s                            (sum may be NULL, or alias x; of x_type)
 *   out = s / sqrt(mean(s^2) + eps) * (gain + gain_offset), over runs of `run` elements
 * rows x columns, `run` divides columns (QK norm: columns = heads * D, run = D). x, sum: x_type, F32 or BF16; delta:
 * delta_type; out: out_type (may alias x if types match); gain: f32 [run]. out NULL: only the sum. */
typedef struct cuda_rms_norm_args {
    const void *x, *delta;
    void *sum, *out;
    const float *gain;
    uint32_t x_type, delta_type, out_type, rows, columns, run;
    uint32_t x_stride, delta_stride, sum_stride, out_stride;
    float delta_scale, eps, gain_offset;
    uint32_t reserved0;
} cuda_rms_norm_args;
tn_status cuda_rms_norm(const cuda_rms_norm_args *args, cuda_stream stream);

/* ROPE of q and k, and the KV write, in one pass over a fused or separate q, k, v (bf16).
 *   q [T, H*D] is turned in place, or into q_out if that is not NULL (stride q_out_stride); k [T, G*D] is turned on its
 *   way into the pages and k itself stays as it is; v [T, G*Dv] goes into the pages.
 * Pair i turns by position * inv_freq[i], i < rotated / 2, times magnitude; TN_ROPE_HALVES or TN_ROPE_PAIRS; elements
 * beyond `rotated` are copied. rotated = 0: no rotation (layers without it). The angle is computed in f32, sine and
 * cosine of it exactly (full range reduction).
 * position: i32 [T * axis_count], axis `axis` is read. row_slot: u32 [T] (CUDA_NO_ROW: rotate only), kv_position: u32
 * [T] index of the token in its sequence. kv.pages NULL: no KV write (k is then turned in place). */
typedef struct cuda_kv {
    /* One layer of a KV group: page p begins at pages + p * page_stride bytes: K [G][page_tokens][D], then V
     * [G][page_tokens][Dv], both of `type` (TN_BF16, TN_F16, TN_F32). page_tokens: a power of two, 8 to 256. */
    void *pages;
    uint64_t page_stride;  /* bytes, % 16 == 0, >= cuda_kv_page_bytes */
    const uint32_t *table; /* [slots][table_stride] page ids: table[slot][position / page_tokens] */
    uint32_t table_stride, page_tokens;
    uint32_t kv_heads, head_dim, v_dim; /* G, D, Dv: multiples of 8, <= CUDA_HEAD_DIM_MAX */
    uint32_t type;
} cuda_kv;
/* Bytes of one layer of one page; a multiple of 16. */
static inline uint64_t cuda_kv_page_bytes(uint32_t type, uint32_t kv_heads, uint32_t head_dim, uint32_t v_dim,
                                          uint32_t page_tokens)
{
    return tn_scalar_bytes(type) * kv_heads * page_tokens * (head_dim + v_dim);
}
typedef struct cuda_rope_kv_args {
    cuda_kv kv;
    void *q, *k; /* bf16; either may be NULL */
    const void *v;
    void *q_out;
    const float *inv_freq; /* f32 [rotated / 2] */
    const int32_t *position;
    const uint32_t *row_slot, *kv_position;
    uint32_t q_stride, k_stride, v_stride, q_out_stride;
    uint32_t rows, heads; /* T, H */
    uint32_t rotated, style, axis, axis_count;
    float magnitude;
    uint32_t reserved0;
} cuda_rope_kv_args;
tn_status cuda_rope_kv(const cuda_rope_kv_args *args, cuda_stream stream);

/* GATED: out = act(gate) * up; TN_ACT_SWIGLU_CLAMPED with limit and alpha. gate, up: [R, F] of in_type F32 or BF16 with
 * their own strides (halves of one fused product are fine); out: out_type. May alias gate if types match. */
typedef struct cuda_gated_args {
    const void *gate, *up;
    void *out;
    uint32_t in_type, out_type, rows, columns;
    uint32_t gate_stride, up_stride, out_stride, activation;
    float limit, alpha;
} cuda_gated_args;
tn_status cuda_gated(const cuda_gated_args *args, cuda_stream stream);

/* ADD, ADD_SCALED, type conversion: out = a + scale * b; b NULL: out = scale * a. Types F32, BF16, each its own; out
 * may alias a or b if types match. b_rows: 0: b has as many rows as a; 1: b is one row for all (a bias). */
typedef struct cuda_add_args {
    const void *a, *b;
    void *out;
    uint32_t a_type, b_type, out_type, rows, columns, b_rows;
    uint32_t a_stride, b_stride, out_stride;
    float scale;
} cuda_add_args;
tn_status cuda_add(const cuda_add_args *args, cuda_stream stream);

/* x = cap * tanh(scale * x / cap), or scale * x if cap = 0. f32 [rows, columns], in place. The end of LOGITS. */
typedef struct cuda_softcap_args {
    float *x;
    uint32_t rows, columns, stride;
    float scale, cap;
} cuda_softcap_args;
tn_status cuda_softcap(const cuda_softcap_args *args, cuda_stream stream);

/* SELECT: out[i] = x[row[i]]; row u32 [count] (NULL: i). columns of `type`, any of F32, BF16, F16. */
typedef struct cuda_select_args {
    const void *x;
    const uint32_t *row;
    void *out;
    uint32_t type, count, columns, x_stride, out_stride, reserved0;
} cuda_select_args;
tn_status cuda_select(const cuda_select_args *args, cuda_stream stream);

/* out[r][k] = x[r][perm[k]], bf16: the input of a permuted weight, or of a rank's columns of one. perm: u32 [columns].
 * Gathered from ranks: x is [][part_rows][x_stride], and column c is column c % part_columns of part c / part_columns;
 * part_columns 0: x has whole rows. Experts: place r reads row place_row[r] of x (NULL: row r), in the order perm + e *
 * columns of its expert e, which expert_start [experts + 1] tells (NULL: one order for all). row_count: device u32, rows
 * from there on are padding and stay as they are; NULL: all rows are real. */
typedef struct cuda_permute_columns_args {
    const void *x;
    const uint32_t *perm, *expert_start, *place_row, *row_count;
    void *out;
    uint32_t rows, columns, x_stride, out_stride;
    uint32_t part_columns, part_rows, experts, reserved0;
} cuda_permute_columns_args;
tn_status cuda_permute_columns(const cuda_permute_columns_args *args, cuda_stream stream);

/* Interleaves what ranks gathered: out[r][rank * part + c] = x[rank][r][c], f32; logits after an all-gather. out has
 * stride out_stride; columns beyond `columns` are cut. x: [world][rows][part]. */
typedef struct cuda_interleave_args {
    const float *x;
    float *out;
    uint32_t rows, part, world, columns, out_stride, reserved0;
} cuda_interleave_args;
tn_status cuda_interleave(const cuda_interleave_args *args, cuda_stream stream);

/* table[change.at] = change.page for the first *count changes, each of another entry. */
typedef struct cuda_page_change {
    uint32_t at, page;
} cuda_page_change;
typedef struct cuda_page_table_args {
    uint32_t *table;
    const cuda_page_change *change;
    const uint32_t *count;
} cuda_page_table_args;
tn_status cuda_page_table(const cuda_page_table_args *args, cuda_stream stream);

/* ---- attention ---- */

/* A task is up to CUDA_TASK_QUERIES query vectors of one sequence: `rows` consecutive token rows times the H / G heads
 * of each kv head (rows * H / G <= 64; H / G <= 64), against the spans [span_first, span_first + span_count) of
 * span_tokens keys each, which begin at absolute multiples of span_tokens.
 * Row i sees keys p - window < j <= p with p = position + i.
 * partial = CUDA_NO_ROW: the task has all spans of its rows and writes out. Else it writes one partial result per row
 * and head, at index partial + i, and cuda_attention_merge joins them. Every span a row sees must be in exactly one
 * task of that row, and a split row's tasks have one span each: then bits do not depend on the cut. */
typedef struct cuda_attention_task {
    uint32_t row, rows; /* token rows of the batch */
    uint32_t slot;      /* into kv.table */
    uint32_t position;  /* of the first row in its sequence */
    uint32_t span_first, span_count;
    uint32_t partial, reserved0;
} cuda_attention_task;

/* ATTENTION after cuda_rope_kv. q [T, H*D], out [T, H*Dv] bf16. softmax(softcap(scale * q k)) v per head, in f32; sinks
 * f32 [H] or NULL. task: [task_limit] on the device, of which *task_count (device) are real; grid_tasks blocks per kv
 * head walk them (give task_limit, or a few times the multiprocessors if that is much smaller).
 * partial: f32 [partials][H][Dv + 2] (accumulator, maximum, sum) or NULL if no task is split.
 * span_tokens: a multiple of 64. Smaller: more parallel decode; 256 to 1,024 are sensible. With keys and values in f32
 * all arithmetic is, without tensor cores. A graph gives the same grid_tasks and one_span to every batch, so upper
 * bounds and 0. */
typedef struct cuda_attention_args {
    cuda_kv kv;
    const void *q;
    void *out;
    const float *sinks;
    float *partial;
    const cuda_attention_task *task;
    const uint32_t *task_count;
    uint32_t grid_tasks, heads, q_stride, out_stride;
    uint32_t window, span_tokens; /* window 0: none */
    float scale, softcap;         /* softcap 0: none */
    uint32_t one_span, reserved0; /* 1: no task has more than one span; more blocks fit then (decode) */
} cuda_attention_args;
tn_status cuda_attention(const cuda_attention_args *args, cuda_stream stream);

/* Joins partial results in ascending order. Row i of `item` (u32 token row, [item_limit], *item_count real) has
 * partials [item_partial[i], item_partial[i + 1]), in span order, one per span. */
typedef struct cuda_attention_merge_args {
    const float *partial;
    const uint32_t *item, *item_partial, *item_count;
    const float *sinks;
    void *out; /* bf16 [T, H*Dv] */
    uint32_t grid_items, heads, v_dim, out_stride;
} cuda_attention_merge_args;
tn_status cuda_attention_merge(const cuda_attention_merge_args *args, cuda_stream stream);

/* Copies whole pages of every layer of a group: pages + layer * layer_stride + page * page_stride, bytes. move:
 * tn_kvmove [count] on the device. All moves read what was there before the call if no dst is also a src. */
typedef struct cuda_kv_copy_args {
    void *pages;
    uint64_t layer_stride, page_stride, page_bytes; /* multiples of 16 */
    const tn_kvmove *move;
    uint32_t count, layers;
} cuda_kv_copy_args;
tn_status cuda_kv_copy(const cuda_kv_copy_args *args, cuda_stream stream);

/* ---- matrix products ---- */

/* LINEAR: y = x W^T + bias. x: bf16 [rows, K], x_stride % 8 == 0, 16-byte aligned; elements beyond K in the last 64 may
 * be anything finite or not: they are never read. y: [rows, N] of y_type F32 or BF16. bias: f32 [N] or NULL.
 * Quantized weights and bf16 FLOAT weights, one to thousands of rows. partial: scratch of partial_floats f32, or NULL;
 * with cuda_linear_split_floats of them, batches of a few tens of rows spread over the whole device. Same bits. */
typedef struct cuda_linear_args {
    const cuda_weight *weight;
    const void *x;
    const float *bias;
    void *y;
    uint32_t y_type, rows, x_stride, y_stride;
    float *partial;
    uint64_t partial_floats;
} cuda_linear_args;
tn_status cuda_linear(const cuda_linear_args *args, cuda_stream stream);

/* Floats of scratch with which a product of `rows` rows and n outputs splits K over blocks; 0: it has blocks enough, or
 * rows too few. _max: of all batches of up to `rows` rows, at most 100 MiB. Host arithmetic. [any] */
uint64_t cuda_linear_split_floats(uint32_t rows, uint64_t n);
uint64_t cuda_linear_split_floats_max(uint32_t rows, uint64_t n);

/* The products of a mixture of experts. weight has E * N rows; expert e's are e*N.. . Places [expert_start[e],
 * expert_start[e + 1]) belong to expert e; place i multiplies row place_row[i] of x (NULL: row i) and writes row i of
 * y. bias: f32 [E, N] or NULL. N % 16 == 0 for quantized weights. expert_start, place_row, task, task_count: from
 * cuda_moe_sort, with the same tile_rows as `task`. task_limit: cuda_moe_task_limit. */
typedef struct cuda_expert_linear_args {
    const cuda_weight *weight;
    const void *x;
    const float *bias;
    void *y;
    const uint32_t *expert_start, *place_row;
    const struct cuda_expert_task *task;
    const uint32_t *task_count;
    uint32_t task_limit, tile_rows, experts, reserved0;
    uint32_t y_type, x_stride, y_stride, n; /* n: N, outputs of one expert */
} cuda_expert_linear_args;
tn_status cuda_expert_linear(const cuda_expert_linear_args *args, cuda_stream stream);

/* ---- mixture of experts ---- */

/* Router: the `chosen` experts of largest logit, the lower number among equals, descending, and their share of the
 * softmax over all, or over the chosen if normalised. logits: f32 [R, E]; expert u32 [R, chosen]; weight f32 [R,
 * chosen]. E <= CUDA_EXPERTS_MAX, chosen <= CUDA_CHOSEN_MAX. row_count: device u32, rows from there on are padding and
 * choose the expert CUDA_NO_ROW, which nobody has; NULL: all rows are real. */
typedef struct cuda_moe_route_args {
    const float *logits;
    uint32_t *expert;
    float *weight;
    const uint32_t *row_count;
    uint32_t rows, experts, chosen, normalised, logits_stride, reserved0;
} cuda_moe_route_args;
tn_status cuda_moe_route(const cuda_moe_route_args *args, cuda_stream stream);

/* One tile of rows of one expert. */
typedef struct cuda_expert_task {
    uint32_t expert, place, rows, reserved0; /* places [place, place + rows) */
} cuda_expert_task;
static inline uint32_t cuda_moe_task_limit(uint32_t choices, uint32_t experts, uint32_t tile_rows)
{
    return choices / tile_rows + (choices < experts ? choices : experts);
}
/* Rows of a tile that suit `choices` (rows * chosen) spread over E experts: 8, 16 or 64. [any] */
uint32_t cuda_moe_tile_rows(uint32_t choices, uint32_t experts);
/* Stable counting sort of choices by expert. Choice c = r * chosen + i; choices = R * chosen.
 * expert_start [E + 1]; place [choices]: where choice c lies; place_row [choices]: row of a place; task [task_limit];
 * task_count [1]. Experts outside [expert_first, expert_first + experts) belong to other ranks: their choices get place
 * CUDA_NO_ROW. expert_start counts from expert_first. */
typedef struct cuda_moe_sort_args {
    const uint32_t *expert; /* [choices] */
    uint32_t *expert_start, *place, *place_row;
    cuda_expert_task *task;
    uint32_t *task_count;
    uint32_t choices, chosen, expert_first, experts, tile_rows, reserved0;
} cuda_moe_sort_args;
tn_status cuda_moe_sort(const cuda_moe_sort_args *args, cuda_stream stream);

/* out[r] = sum over i of weight[r, i] * y[place[r * chosen + i]], in the order of choice, skipping CUDA_NO_ROW.
 * y: [choices, M] F32 or BF16; out: [R, M] F32 or BF16. */
typedef struct cuda_moe_combine_args {
    const void *y;
    const uint32_t *place;
    const float *weight;
    void *out;
    uint32_t y_type, out_type, rows, columns, chosen, y_stride, out_stride, reserved0;
} cuda_moe_combine_args;
tn_status cuda_moe_combine(const cuda_moe_combine_args *args, cuda_stream stream);

/* ---- sampling ---- */

/* tenon/sampling.h on the device. logits: f32 [rows, stride], left as they are; work: f32 [rows, stride] scratch.
 * `sample` is the batch's tn_sample with DEVICE pointers inside (host struct; top_logprobs a host number), or NULL: all
 * greedy. position: u32 [rows], of the token being chosen. want: u32 [rows] of TN_WANT_*. Outputs are device arrays as
 * in tn_result (id, logprob, target_logprob, top_id, top_logprob); those that no row wants may be NULL. HIDDEN and
 * LOGITS are the caller's. row_count: device u32, rows beyond it are skipped; NULL: all rows are real. */
typedef struct cuda_sample_args {
    const float *logits;
    float *work;
    const tn_sample *sample;
    const uint32_t *position, *want, *row_count;
    int32_t *id;
    float *logprob, *target_logprob;
    int32_t *top_id;
    float *top_logprob;
    uint32_t rows, vocab, stride, reserved0;
} cuda_sample_args;
tn_status cuda_sample(const cuda_sample_args *args, cuda_stream stream);

/* ---- collectives ---- */

/* out = sum of buffer[0..world), count elements of `type` F32 or BF16, 16-byte multiples: in f32, in that order,
 * rounded once, as the one-shot all-reduce adds. out: none of the buffers. */
typedef struct cuda_sum_ranks_args {
    const void *buffer[CUDA_SUM_MAX];
    void *out;
    uint64_t count;
    uint32_t type, world;
} cuda_sum_ranks_args;
tn_status cuda_sum_ranks(const cuda_sum_ranks_args *args, cuda_stream stream);

/* One-shot all-reduce among peers that map each other's memory. buffer[r]: rank r's input, as this rank sees it;
 * flag[r]: rank r's flags, u32 [CUDA_RANKS_MAX * CUDA_REDUCE_BLOCKS * 2], zeroed once before first use. Every rank
 * calls with the same count and types, in the same order, each on its own device (or stream). out: this rank's, not
 * among the buffers. count elements of `type` F32 or BF16, 16-byte multiples; sums in f32, in rank order, so all ranks
 * get the same bits. sequence: this rank's u32 counter on the device, zeroed once, advanced by the kernel, so that a
 * captured graph can be replayed. A buffer may be overwritten by work that follows on its rank's stream. cancel: u32 in
 * memory of the host that the device sees, set by the host to make waiting ranks give up (out is then garbage); NULL:
 * none. */
typedef struct cuda_all_reduce_args {
    const void *buffer[CUDA_RANKS_MAX];
    uint32_t *flag[CUDA_RANKS_MAX];
    uint32_t *sequence;
    const volatile uint32_t *cancel;
    void *out;
    uint64_t count;
    uint32_t type, rank, world, reserved0;
} cuda_all_reduce_args;
tn_status cuda_all_reduce(const cuda_all_reduce_args *args, cuda_stream stream);

#ifdef __cplusplus
}
#endif
#endif
