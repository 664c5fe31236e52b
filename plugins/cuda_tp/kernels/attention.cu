/* attention.cu: paged attention on tensor cores, flash style, for prefill and decode alike. Limit: bytes of K and V in
 * decode, the tensor cores' rate (mma.sync) in prefill.
 *
 * A block is one task and one kv head: 4 warps of 16 query vectors each (rows x heads of the group, so that a group's
 * heads share every key), a ring of two tiles of keys and values in shared memory, filled by asynchronous copies of 16
 * bytes. Chunks of a row are swizzled by the row's number, so that no two rows of a matrix load meet in a bank.
 *
 * Tiles lie at absolute positions and are added in ascending order with a running maximum. At the end of a span the
 * sums either leave for cuda_attention_merge or join the total of earlier spans in shared memory, by the same
 * arithmetic; a key that a row does not see changes none of its bits. So neither the cut into tasks nor the batch shows
 * in a row. Source: FlashAttention-2 (arXiv:2307.08691), Flash-Decoding, with spans at absolute positions.
 */
#include "kernels/attention_join.cuh"

enum { WARPS = 4, THREADS = WARPS * WARP, STAGES = 2 };

/* DMAX: head width of the instance; narrower heads are padded with zeros in shared memory. */
template <int DMAX> struct attention_shape {
    static constexpr int keys = DMAX > 128 ? 16 : 64; /* of a tile: what fits 99 KiB beside the totals */
    static constexpr int chunks = DMAX / 8;           /* 16 bytes each */
    static constexpr int tile_bytes = keys * DMAX * 2;
    static constexpr int ring_bytes = STAGES * 2 * tile_bytes;
    static constexpr int sums = DMAX / 2; /* accumulators of a thread */
};

/* Keys [begin, end) of a task, and what its rows are. */
struct task_view {
    uint32_t row, position, slot, ratio, queries, head0; /* queries = rows * ratio; head0: first query head */
    uint32_t first_key, last_key;                        /* that any row sees */
    uint32_t tile_begin, tile_end;
};

template <int DMAX>
static __device__ __forceinline__ task_view view_of(const cuda_attention_args &a, const cuda_attention_task &t)
{
    constexpr uint32_t KEYS = attention_shape<DMAX>::keys;
    task_view v;
    v.row = t.row, v.position = t.position, v.slot = t.slot;
    v.ratio = a.heads / a.kv.kv_heads;
    v.queries = t.rows * v.ratio;
    v.head0 = blockIdx.y * v.ratio;
    v.first_key = a.window && t.position >= a.window ? t.position - a.window + 1 : 0;
    v.last_key = t.position + t.rows - 1;
    const uint32_t span_begin = t.span_first * a.span_tokens, span_end = (t.span_first + t.span_count) * a.span_tokens;
    const uint32_t begin = v.first_key > span_begin ? v.first_key : span_begin;
    const uint32_t end = v.last_key + 1 < span_end ? v.last_key + 1 : span_end;
    v.tile_begin = begin / KEYS;
    v.tile_end = end > begin ? (end + KEYS - 1) / KEYS : v.tile_begin;
    return v;
}

/* Where chunk `chunk` of row `row` of a tile lies, in 16-bit elements. */
template <int DMAX> static __device__ __forceinline__ uint32_t swizzled(uint32_t row, uint32_t chunk)
{
    return (row * attention_shape<DMAX>::chunks + (chunk ^ (row & 7))) * 8;
}

/* Starts the copies of one tile of keys and values; what no row sees becomes zero and is not read. */
template <int DMAX>
static __device__ __forceinline__ void fetch_tile(const cuda_attention_args &a, const task_view &v, uint32_t tile,
                                                  uint16_t *keys, uint16_t *values)
{
    constexpr uint32_t KEYS = attention_shape<DMAX>::keys, CHUNKS = attention_shape<DMAX>::chunks;
    const cuda_kv &kv = a.kv;
    const uint32_t *table = kv.table + (uint64_t)v.slot * kv.table_stride;

    for (uint32_t i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
        const uint32_t row = i / CHUNKS, chunk = i % CHUNKS, position = tile * KEYS + row;
        const bool seen = position >= v.first_key && position <= v.last_key;
        const uint16_t *page = static_cast<const uint16_t *>(kv.pages), *k = page, *value = page;
        if (seen) {
            const uint32_t in_page = blockIdx.y * kv.page_tokens + position % kv.page_tokens;
            page += table[position / kv.page_tokens] * (kv.page_stride / 2);
            k = page + (uint64_t)in_page * kv.head_dim + chunk * 8;
            value =
                page + (uint64_t)kv.kv_heads * kv.page_tokens * kv.head_dim + (uint64_t)in_page * kv.v_dim + chunk * 8;
        }
        const bool has_k = seen && chunk * 8 < kv.head_dim, has_v = seen && chunk * 8 < kv.v_dim;
        copy_async(keys + swizzled<DMAX>(row, chunk), has_k ? k : kv.pages, has_k ? 16 : 0);
        copy_async(values + swizzled<DMAX>(row, chunk), has_v ? value : kv.pages, has_v ? 16 : 0);
    }
}

/* Query fragments of a warp, operand A of every step. */
template <int DMAX, bool F16>
static __device__ __forceinline__ void load_queries(const cuda_attention_args &a, const task_view &v,
                                                    uint32_t (*fragment)[4])
{
    const uint32_t lane = threadIdx.x % WARP;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t query = threadIdx.x / WARP * 16 + lane / 4 + half * 8;
        const uint32_t head = v.head0 + query % v.ratio;
        const bf16 *q =
            static_cast<const bf16 *>(a.q) + (uint64_t)(v.row + query / v.ratio) * a.q_stride + head * a.kv.head_dim;
#pragma unroll
        for (int i = 0; i < DMAX / 8; i++) {
            const uint32_t d = i * 8 + lane % 4 * 2;
            uint32_t pair = 0;
            if (query < v.queries && d < a.kv.head_dim)
                pair = *reinterpret_cast<const uint32_t *>(q + d);
            if (F16)
                pair = f16_of_float(low_of_pair(pair)) | (uint32_t)f16_of_float(high_of_pair(pair)) << 16;
            fragment[i / 2][half + i % 2 * 2] = pair;
        }
    }
}

/* Running softmax of a thread's two query vectors (g and g + 8 of its warp). sum: this thread's share of its keys. */
template <int DMAX> struct running {
    float acc[DMAX / 8][4];
    float max[2], sum[2];
};

template <int DMAX> static __device__ __forceinline__ void running_start(running<DMAX> &r)
{
#pragma unroll
    for (int i = 0; i < DMAX / 8; i++)
        for (int j = 0; j < 4; j++)
            r.acc[i][j] = 0;
    for (int h = 0; h < 2; h++)
        r.max[h] = -INFINITY, r.sum[h] = 0;
}

/* Scores of a tile, in base-2 logarithms, masked. */
template <int DMAX, bool F16>
static __device__ __forceinline__ void score_tile(const cuda_attention_args &a, const task_view &v, uint32_t tile,
                                                  const uint32_t (*q)[4], const uint16_t *keys, float (*score)[4])
{
    constexpr int KEYS = attention_shape<DMAX>::keys;
    const uint32_t lane = threadIdx.x % WARP;

#pragma unroll
    for (int n = 0; n < KEYS / 8; n++) {
        for (int j = 0; j < 4; j++)
            score[n][j] = 0;
#pragma unroll
        for (int k = 0; k < DMAX / 16; k += 2) {
            uint32_t b[4];
            load_matrices<false>(b, keys + swizzled<DMAX>(n * 8 + lane % 8, k * 2 + lane / 8));
            mma<F16>(score[n], q[k], b);
            mma<F16>(score[n], q[k + 1], b + 2);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t query = threadIdx.x / WARP * 16 + lane / 4 + half * 8;
        const uint32_t position = v.position + query / v.ratio;
        const uint32_t low = a.window && position >= a.window ? position - a.window + 1 : 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            for (int j = 0; j < 2; j++) {
                const uint32_t key = tile * KEYS + n * 8 + lane % 4 * 2 + j;
                float s = score[n][half * 2 + j] * a.scale;
                if (a.softcap != 0.0f)
                    s = a.softcap * tanhf(s / a.softcap);
                score[n][half * 2 + j] = key <= position && key >= low ? s * LOG2_E : -INFINITY;
            }
    }
}

/* Scores become weights; the running sums shrink to the new maximum. */
template <int DMAX> static __device__ __forceinline__ void weigh_tile(running<DMAX> &r, float (*score)[4])
{
    constexpr int KEYS = attention_shape<DMAX>::keys;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        float max = r.max[half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            max = fmaxf(max, fmaxf(score[n][half * 2], score[n][half * 2 + 1]));
        max = fmaxf(max, __shfl_xor_sync(WARP_FULL, max, 1));
        max = fmaxf(max, __shfl_xor_sync(WARP_FULL, max, 2));
        const float safe = max == -INFINITY ? 0.0f : max, shrink = exp_two(r.max[half] - safe);
        float sum = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            for (int j = 0; j < 2; j++) {
                const float w = exp_two(score[n][half * 2 + j] - safe);
                score[n][half * 2 + j] = w;
                sum += w;
            }
        r.sum[half] = r.sum[half] * shrink + sum;
        r.max[half] = max;
#pragma unroll
        for (int i = 0; i < DMAX / 8; i++)
            r.acc[i][half * 2] *= shrink, r.acc[i][half * 2 + 1] *= shrink;
    }
}

template <int DMAX, bool F16>
static __device__ __forceinline__ void add_values(running<DMAX> &r, const float (*weight)[4], const uint16_t *values)
{
    constexpr int KEYS = attention_shape<DMAX>::keys;
    const uint32_t lane = threadIdx.x % WARP;

#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
        uint32_t a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float low = weight[2 * k + i / 2][i % 2 * 2], high = weight[2 * k + i / 2][i % 2 * 2 + 1];
            a[i] = F16 ? f16_of_float(low) | (uint32_t)f16_of_float(high) << 16 : bf16_pair(low, high);
        }
#pragma unroll
        for (int n = 0; n < DMAX / 8; n += 2) {
            uint32_t b[4];
            load_matrices<true>(b, values + swizzled<DMAX>(k * 16 + lane % 16, n + lane / 16));
            mma<F16>(r.acc[n], a, b);
            mma<F16>(r.acc[n + 1], a, b + 2);
        }
    }
}

/* The whole sum of a span: a quad of lanes shares two query vectors. */
template <int DMAX> static __device__ __forceinline__ void span_finish(running<DMAX> &r)
{
    for (int half = 0; half < 2; half++) {
        r.sum[half] += __shfl_xor_sync(WARP_FULL, r.sum[half], 1);
        r.sum[half] += __shfl_xor_sync(WARP_FULL, r.sum[half], 2);
    }
}

/* Joins a finished span to the total of those before it. total: this thread's, stride THREADS, or NULL at the first. */
template <int DMAX>
static __device__ __forceinline__ void fold_span(running<DMAX> &r, float *total, float total_max[2], float total_sum[2],
                                                 bool first)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total_factor, span_factor;
        join_factors(&total_max[half], &total_sum[half], r.max[half], r.sum[half], &total_factor, &span_factor);
#pragma unroll
        for (int i = 0; i < DMAX / 8; i++)
            for (int j = half * 2; j < half * 2 + 2; j++)
                r.acc[i][j] = join(first ? 0.0f : total[(i * 4 + j) * THREADS], total_factor, r.acc[i][j], span_factor);
    }
}

template <int DMAX>
static __device__ __forceinline__ void write_partial(const cuda_attention_args &a, const task_view &v, uint32_t partial,
                                                     const running<DMAX> &r)
{
    const uint32_t lane = threadIdx.x % WARP, width = a.kv.v_dim;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t query = threadIdx.x / WARP * 16 + lane / 4 + half * 8;
        if (query >= v.queries)
            continue;
        float *out =
            a.partial + ((uint64_t)(partial + query / v.ratio) * a.heads + v.head0 + query % v.ratio) * (width + 2);
#pragma unroll
        for (int i = 0; i < DMAX / 8; i++) {
            const uint32_t d = i * 8 + lane % 4 * 2;
            if (d < width)
                out[d] = r.acc[i][half * 2], out[d + 1] = r.acc[i][half * 2 + 1];
        }
        if (lane % 4 == 0)
            out[width] = r.max[half], out[width + 1] = r.sum[half];
    }
}

template <int DMAX>
static __device__ __forceinline__ void write_out(const cuda_attention_args &a, const task_view &v,
                                                 const running<DMAX> &r, const float total_max[2],
                                                 const float total_sum[2])
{
    const uint32_t lane = threadIdx.x % WARP, width = a.kv.v_dim;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t query = threadIdx.x / WARP * 16 + lane / 4 + half * 8, head = v.head0 + query % v.ratio;
        if (query >= v.queries)
            continue;
        const float factor = finish_factor(total_max[half], total_sum[half], a.sinks ? &a.sinks[head] : nullptr);
        bf16 *out = static_cast<bf16 *>(a.out) + (uint64_t)(v.row + query / v.ratio) * a.out_stride + head * width;
#pragma unroll
        for (int i = 0; i < DMAX / 8; i++) {
            const uint32_t d = i * 8 + lane % 4 * 2;
            if (d < width)
                *reinterpret_cast<uint32_t *>(out + d) =
                    bf16_pair(__fmul_rn(r.acc[i][half * 2], factor), __fmul_rn(r.acc[i][half * 2 + 1], factor));
        }
    }
}

/* True if some query of this warp sees some key of the tile. */
template <int DMAX>
static __device__ __forceinline__ bool warp_sees(const cuda_attention_args &a, const task_view &v, uint32_t tile)
{
    constexpr uint32_t KEYS = attention_shape<DMAX>::keys;
    const uint32_t first = threadIdx.x / WARP * 16, last = first + 15 < v.queries ? first + 15 : v.queries - 1;

    if (first >= v.queries)
        return false;
    const uint32_t low = v.position + first / v.ratio, high = v.position + last / v.ratio;
    return tile * KEYS <= high && (!a.window || (tile + 1) * KEYS + a.window > low + 1);
}

template <int DMAX, bool F16>
static __device__ void run_task(const cuda_attention_args &a, const cuda_attention_task &task, uint16_t *ring)
{
    constexpr uint32_t KEYS = attention_shape<DMAX>::keys, TILE = KEYS * DMAX;
    const task_view v = view_of<DMAX>(a, task);
    float *total = reinterpret_cast<float *>(ring + STAGES * 2 * TILE) + threadIdx.x;
    float total_max[2] = {-INFINITY, -INFINITY}, total_sum[2] = {0, 0};
    bool first_span = true;
    uint32_t q[DMAX / 16][4];
    running<DMAX> r;

    load_queries<DMAX, F16>(a, v, q);
    running_start(r);
    if (v.tile_begin < v.tile_end)
        fetch_tile<DMAX>(a, v, v.tile_begin, ring, ring + TILE);
    copy_commit();
    for (uint32_t tile = v.tile_begin; tile < v.tile_end; tile++) {
        const uint32_t stage = (tile - v.tile_begin) % STAGES, next = (stage + 1) % STAGES;
        if (tile + 1 < v.tile_end)
            fetch_tile<DMAX>(a, v, tile + 1, ring + next * 2 * TILE, ring + next * 2 * TILE + TILE);
        copy_commit();
        copy_wait<STAGES - 1>();
        __syncthreads();
        if (warp_sees<DMAX>(a, v, tile)) {
            float score[KEYS / 8][4];
            score_tile<DMAX, F16>(a, v, tile, q, ring + stage * 2 * TILE, score);
            weigh_tile<DMAX>(r, score);
            add_values<DMAX, F16>(r, score, ring + stage * 2 * TILE + TILE);
        }
        const bool last = tile + 1 == v.tile_end;
        if (last || (tile + 1) * KEYS % a.span_tokens == 0) {
            span_finish<DMAX>(r);
            if (task.partial == CUDA_NO_ROW) {
                fold_span<DMAX>(r, total, total_max, total_sum, first_span);
                first_span = false;
                if (!last) {
#pragma unroll
                    for (int i = 0; i < DMAX / 2; i++)
                        total[i * THREADS] = r.acc[i / 4][i % 4];
                    running_start(r);
                }
            }
        }
        __syncthreads();
    }
    if (task.partial == CUDA_NO_ROW)
        write_out<DMAX>(a, v, r, total_max, total_sum);
    else
        write_partial<DMAX>(a, v, task.partial, r);
}

template <int DMAX, bool F16> static __global__ void __launch_bounds__(THREADS) attend(cuda_attention_args a)
{
    SHARED_DYNAMIC(uint16_t, ring);
    const uint32_t tasks = *a.task_count;

    for (uint32_t i = blockIdx.x; i < tasks; i += gridDim.x)
        run_task<DMAX, F16>(a, a.task[i], ring);
}

template <int DMAX, bool F16> static tn_status launch_attend(const cuda_attention_args *args, cuda_stream stream)
{
    const size_t totals = (size_t)attention_shape<DMAX>::sums * THREADS * sizeof(float);
    const size_t bytes = attention_shape<DMAX>::ring_bytes + (args->one_span ? 0 : totals);

    /* Always the most, which a graph of earlier launches may need. */
    LARGE_SHARED((attend<DMAX, F16>), attention_shape<DMAX>::ring_bytes + totals);
    LAUNCH((attend<DMAX, F16>), dim3(args->grid_tasks, args->kv.kv_heads), THREADS, bytes, stream, *args);
    return LAUNCH_STATUS();
}

template <bool F16> static tn_status launch_width(const cuda_attention_args *args, cuda_stream stream)
{
    const uint32_t width = args->kv.head_dim > args->kv.v_dim ? args->kv.head_dim : args->kv.v_dim;

    if (width <= 64)
        return launch_attend<64, F16>(args, stream);
    if (width <= 128)
        return launch_attend<128, F16>(args, stream);
    return launch_attend<256, F16>(args, stream);
}

extern "C" tn_status cuda_attention(const cuda_attention_args *args, cuda_stream stream)
{
    const cuda_kv *kv = &args->kv;

    if (!args->grid_tasks)
        return TN_OK;
    if (!kv->kv_heads || args->heads % kv->kv_heads || args->heads / kv->kv_heads > CUDA_TASK_QUERIES ||
        kv->kv_heads > 65535 || kv->head_dim % 8 || kv->v_dim % 8 || kv->head_dim > CUDA_HEAD_DIM_MAX ||
        kv->v_dim > CUDA_HEAD_DIM_MAX || !args->span_tokens || args->span_tokens % 64 || args->q_stride % 2 ||
        args->out_stride % 2 || kv->page_stride % 16)
        return TN_E_ARGUMENT;
    if (kv->type == TN_BF16)
        return launch_width<false>(args, stream);
    if (kv->type == TN_F16)
        return launch_width<true>(args, stream);
    if (kv->type == TN_F32)
        return attention_f32(args, stream);
    return TN_E_UNSUPPORTED;
}
