/* attention_merge.cu: partial results of a row's spans, joined in ascending order. Limit: bytes of the partials, which
 * lie in L2; a warp per row and head.
 */
#include "kernels/attention_join.cuh"

enum { WARPS = 4, HELD = CUDA_HEAD_DIM_MAX / WARP };

static __global__ void __launch_bounds__(WARPS *WARP) merge(cuda_attention_merge_args a)
{
    const uint32_t lane = threadIdx.x % WARP, head = blockIdx.y * WARPS + threadIdx.x / WARP;
    const uint32_t items = *a.item_count;

    if (head >= a.heads)
        return;
    for (uint32_t i = blockIdx.x; i < items; i += gridDim.x) {
        float acc[HELD] = {0}, max = -INFINITY, sum = 0;
        for (uint32_t p = a.item_partial[i]; p < a.item_partial[i + 1]; p++) {
            const float *span = a.partial + ((uint64_t)p * a.heads + head) * (a.v_dim + 2);
            float total_factor, span_factor;
            join_factors(&max, &sum, span[a.v_dim], span[a.v_dim + 1], &total_factor, &span_factor);
#pragma unroll
            for (int j = 0; j < HELD; j++)
                if (j * WARP + lane < a.v_dim)
                    acc[j] = join(acc[j], total_factor, span[j * WARP + lane], span_factor);
        }
        const float factor = finish_factor(max, sum, a.sinks ? &a.sinks[head] : nullptr);
        bf16 *out = static_cast<bf16 *>(a.out) + (uint64_t)a.item[i] * a.out_stride + head * a.v_dim;
#pragma unroll
        for (int j = 0; j < HELD; j++)
            if (j * WARP + lane < a.v_dim)
                out[j * WARP + lane] = bf16_of_float(__fmul_rn(acc[j], factor));
    }
}

extern "C" tn_status cuda_attention_merge(const cuda_attention_merge_args *args, cuda_stream stream)
{
    if (!args->grid_items)
        return TN_OK;
    if (args->v_dim > CUDA_HEAD_DIM_MAX || args->out_stride < args->heads * args->v_dim)
        return TN_E_ARGUMENT;
    LAUNCH(merge, dim3(args->grid_items, ceil_div(args->heads, WARPS)), WARPS * WARP, 0, stream, *args);
    return LAUNCH_STATUS();
}
