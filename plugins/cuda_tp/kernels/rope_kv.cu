/* rope_kv.cu: rotation of q and k, and the write of k and v into their pages. Limit: bytes, q, k, v read once, q and
 * the pages written once. A warp per head vector; every launch recomputes a sine and cosine per pair and head rather
 * than read a table: the special range reduction of sincosf hides behind the loads.
 */
#include "kernels/device.cuh"

enum { WARPS = 4 };

struct head_place {
    const bf16 *in;
    void *out;
    uint32_t out_type, width; /* width: D or Dv */
    bool rotate;
};

static __device__ __forceinline__ void store_as(void *out, uint32_t type, uint32_t i, float value)
{
    if (type == TN_F16)
        static_cast<uint16_t *>(out)[i] = f16_of_float(value);
    else
        store_float(out, type, i, value);
}

static __device__ void turn_head(const cuda_rope_kv_args &a, const head_place &h, float position)
{
    const uint32_t lane = threadIdx.x % WARP, rotated = h.rotate ? a.rotated : 0, half = rotated / 2;

    for (uint32_t i = lane; i < half; i += WARP) {
        const uint32_t first = a.style == TN_ROPE_HALVES ? i : 2 * i,
                       second = first + (a.style == TN_ROPE_HALVES ? half : 1);
        float s, c;
        sincosf(__fmul_rn(position, a.inv_freq[i]), &s, &c);
        const float x = float_of_bf16(h.in[first]), y = float_of_bf16(h.in[second]);
        s *= a.magnitude, c *= a.magnitude;
        store_as(h.out, h.out_type, first, x * c - y * s);
        store_as(h.out, h.out_type, second, y * c + x * s);
    }
    for (uint32_t i = rotated + lane; i < h.width; i += WARP)
        store_as(h.out, h.out_type, i, float_of_bf16(h.in[i]));
}

/* Where row's k (or v) of a kv head goes; NULL: nowhere. */
static __device__ __forceinline__ void *page_row(const cuda_rope_kv_args &a, uint32_t row, uint32_t head, bool is_v)
{
    const cuda_kv &kv = a.kv;
    if (!kv.pages || a.row_slot[row] == CUDA_NO_ROW)
        return nullptr;
    const uint32_t position = a.kv_position[row], in_page = position % kv.page_tokens;
    const uint32_t page = kv.table[(uint64_t)a.row_slot[row] * kv.table_stride + position / kv.page_tokens];
    const uint64_t in_head = (uint64_t)head * kv.page_tokens + in_page, keys = (uint64_t)kv.kv_heads * kv.page_tokens;
    const uint64_t at = is_v ? keys * kv.head_dim + in_head * kv.v_dim : in_head * kv.head_dim;
    return static_cast<unsigned char *>(kv.pages) + page * kv.page_stride + at * (kv.type == TN_F32 ? 4 : 2);
}

static __global__ void __launch_bounds__(WARPS *WARP) rope_kv(cuda_rope_kv_args a)
{
    const uint32_t heads_q = a.q ? a.heads : 0, heads_kv = a.kv.kv_heads;
    const uint32_t row = blockIdx.x;
    const float position = a.position ? (float)a.position[(uint64_t)row * a.axis_count + a.axis] : 0.0f;

    for (uint32_t i = blockIdx.y * WARPS + threadIdx.x / WARP; i < heads_q + 2 * heads_kv; i += gridDim.y * WARPS) {
        head_place h = {nullptr, nullptr, TN_BF16, a.kv.head_dim, true};
        if (i < heads_q) {
            bf16 *q = static_cast<bf16 *>(a.q) + (uint64_t)row * a.q_stride + i * a.kv.head_dim;
            h.in = q;
            h.out = a.q_out ? static_cast<bf16 *>(a.q_out) + (uint64_t)row * a.q_out_stride + i * a.kv.head_dim : q;
        } else if (i < heads_q + heads_kv) {
            if (!a.k)
                continue;
            bf16 *k = static_cast<bf16 *>(a.k) + (uint64_t)row * a.k_stride + (i - heads_q) * a.kv.head_dim;
            h.in = k;
            h.out = a.kv.pages ? page_row(a, row, i - heads_q, false) : static_cast<void *>(k);
            h.out_type = a.kv.pages ? a.kv.type : (uint32_t)TN_BF16;
        } else if (a.v) {
            const uint32_t head = i - heads_q - heads_kv;
            h.in = static_cast<const bf16 *>(a.v) + (uint64_t)row * a.v_stride + head * a.kv.v_dim;
            h.out = page_row(a, row, head, true);
            h.out_type = a.kv.type;
            h.width = a.kv.v_dim;
            h.rotate = false;
        }
        if (h.in && h.out && (h.out != h.in || (h.rotate && a.rotated)))
            turn_head(a, h, position);
    }
}

extern "C" tn_status cuda_rope_kv(const cuda_rope_kv_args *args, cuda_stream stream)
{
    const cuda_kv *kv = &args->kv;
    const uint32_t heads = (args->q ? args->heads : 0) + 2 * kv->kv_heads;

    if (!args->rows || !heads)
        return TN_OK;
    if (args->rotated % 2 || args->rotated > kv->head_dim || (args->rotated && (!args->inv_freq || !args->position)) ||
        (args->style != TN_ROPE_HALVES && args->style != TN_ROPE_PAIRS))
        return TN_E_ARGUMENT;
    if (kv->pages) {
        if (!args->row_slot || !args->kv_position || !args->k || !args->v || !kv->page_tokens ||
            (kv->page_tokens & (kv->page_tokens - 1)) ||
            kv->page_stride < cuda_kv_page_bytes(kv->type, kv->kv_heads, kv->head_dim, kv->v_dim, kv->page_tokens))
            return TN_E_ARGUMENT;
        if (kv->type != TN_BF16 && kv->type != TN_F16 && kv->type != TN_F32)
            return TN_E_UNSUPPORTED;
    }
    LAUNCH(rope_kv, dim3(args->rows, ceil_div(heads, WARPS)), WARPS * WARP, 0, stream, *args);
    return LAUNCH_STATUS();
}
