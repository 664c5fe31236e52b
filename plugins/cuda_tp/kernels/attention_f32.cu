/* attention_f32.cu: paged attention over keys and values in f32, for who wants a cache that rounds nothing. Limit:
 * bytes of K and V, which every query vector reads anew; speed is not its purpose. A warp takes one query vector, key
 * by key in ascending order; lane l holds elements l, l + 32, ... of it and of its sums. Spans join as in attention.cu.
 */
#include "kernels/attention_join.cuh"

enum { WARPS = 8, OWN = CUDA_HEAD_DIM_MAX / WARP };

struct query_view {
    const float *keys, *values; /* of page 0, this kv head */
    const uint32_t *table;
    uint64_t page_floats;
    float q[OWN];
};

/* What a query vector has seen of a span. */
struct span_sums {
    float acc[OWN], max, sum;
};

static __device__ __forceinline__ query_view view_of(const cuda_attention_args &a, const cuda_attention_task &t,
                                                     uint32_t row, uint32_t head)
{
    const cuda_kv &kv = a.kv;
    const float *pages = static_cast<const float *>(kv.pages);
    const uint64_t tokens = kv.page_tokens;
    query_view v;

    v.keys = pages + blockIdx.y * tokens * kv.head_dim;
    v.values = pages + kv.kv_heads * tokens * kv.head_dim + blockIdx.y * tokens * kv.v_dim;
    v.table = kv.table + (uint64_t)t.slot * kv.table_stride;
    v.page_floats = kv.page_stride / sizeof(float);
    const bf16 *q = static_cast<const bf16 *>(a.q) + (uint64_t)row * a.q_stride + (uint64_t)head * kv.head_dim;
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const uint32_t d = threadIdx.x % WARP + i * WARP;
        v.q[i] = d < kv.head_dim ? float_of_bf16(q[d]) : 0.0f;
    }
    return v;
}

static __device__ __forceinline__ void add_key(const cuda_attention_args &a, const query_view &v, uint32_t key,
                                               span_sums &s)
{
    const uint64_t page = v.table[key / a.kv.page_tokens] * v.page_floats, in_page = key % a.kv.page_tokens;
    const float *k = v.keys + page + in_page * a.kv.head_dim, *value = v.values + page + in_page * a.kv.v_dim;
    float dot = 0;

#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const uint32_t d = threadIdx.x % WARP + i * WARP;
        if (d < a.kv.head_dim)
            dot = fmaf(v.q[i], k[d], dot);
    }
    float score = warp_sum(dot) * a.scale;
    if (a.softcap != 0.0f)
        score = a.softcap * tanhf(score / a.softcap);
    score *= LOG2_E;
    const float max = fmaxf(s.max, score), shrink = exp_two(s.max - max), weight = exp_two(score - max);
    s.max = max;
    s.sum = fmaf(s.sum, shrink, weight);
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const uint32_t d = threadIdx.x % WARP + i * WARP;
        if (d < a.kv.v_dim)
            s.acc[i] = fmaf(s.acc[i], shrink, weight * value[d]);
    }
}

static __device__ __forceinline__ span_sums no_sums(void)
{
    span_sums s;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        s.acc[i] = 0;
    s.max = -INFINITY, s.sum = 0;
    return s;
}

/* The keys of a span that a row at `position` sees. */
static __device__ __forceinline__ span_sums sums_of_span(const cuda_attention_args &a, const query_view &v,
                                                         uint32_t position, uint32_t span)
{
    const uint32_t low = a.window && position >= a.window ? position - a.window + 1 : 0;
    uint32_t key = span * a.span_tokens, end = key + a.span_tokens;
    span_sums s = no_sums();

    key = key > low ? key : low;
    end = end < position + 1 ? end : position + 1;
#pragma unroll 1
    for (; key < end; key++)
        add_key(a, v, key, s);
    return s;
}

static __device__ __forceinline__ void join_span(span_sums &total, const span_sums &s)
{
    float total_factor, span_factor;
    join_factors(&total.max, &total.sum, s.max, s.sum, &total_factor, &span_factor);
#pragma unroll
    for (int i = 0; i < OWN; i++)
        total.acc[i] = join(total.acc[i], total_factor, s.acc[i], span_factor);
}

/* row: of the task. */
static __device__ __forceinline__ void attend_query(const cuda_attention_args &a, const cuda_attention_task &t, uint32_t row,
                                    uint32_t head)
{
    const uint32_t width = a.kv.v_dim, lane = threadIdx.x % WARP, position = t.position + row;
    const query_view v = view_of(a, t, t.row + row, head);
    const bool is_split = t.partial != CUDA_NO_ROW;
    span_sums total = no_sums();

#pragma unroll 1
    for (uint32_t span = t.span_first; span < t.span_first + t.span_count; span++) {
        const span_sums s = sums_of_span(a, v, position, span);
        if (is_split)
            total = s; /* its only one */
        else
            join_span(total, s);
    }
    if (is_split) {
        float *out = a.partial + ((uint64_t)(t.partial + row) * a.heads + head) * (width + 2);
#pragma unroll
        for (int i = 0; i < OWN; i++)
            if (lane + i * WARP < width)
                out[lane + i * WARP] = total.acc[i];
        if (lane == 0)
            out[width] = total.max, out[width + 1] = total.sum;
        return;
    }
    const float factor = finish_factor(total.max, total.sum, a.sinks ? &a.sinks[head] : nullptr);
    bf16 *out = static_cast<bf16 *>(a.out) + (uint64_t)(t.row + row) * a.out_stride + (uint64_t)head * width;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        if (lane + i * WARP < width)
            out[lane + i * WARP] = bf16_of_float(__fmul_rn(total.acc[i], factor));
}

static __global__ void __launch_bounds__(WARPS *WARP, 2) attend_f32(cuda_attention_args a)
{
    const uint32_t tasks = *a.task_count, ratio = a.heads / a.kv.kv_heads;

    for (uint32_t i = blockIdx.x; i < tasks; i += gridDim.x) {
        const cuda_attention_task t = a.task[i];
        for (uint32_t query = threadIdx.x / WARP; query < t.rows * ratio; query += WARPS)
            attend_query(a, t, query / ratio, blockIdx.y * ratio + query % ratio);
    }
}

tn_status attention_f32(const cuda_attention_args *args, cuda_stream stream)
{
    LAUNCH(attend_f32, dim3(args->grid_tasks, args->kv.kv_heads), WARPS * WARP, 0, stream, *args);
    return LAUNCH_STATUS();
}
