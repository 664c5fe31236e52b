/* moe_route.cu: which experts a row goes to. Limit: latency; E logits a row. A warp per row passes `chosen` times over
 * its logits, as sdk/base/expert_route.c does, so that ties fall the same way.
 */
#include "kernels/device.cuh"

enum { WARPS = 4, HELD = CUDA_EXPERTS_MAX / WARP };

/* The better of two candidates; NONE loses to everything. */
#define NONE UINT32_MAX
static __device__ __forceinline__ bool beats(float value, uint32_t expert, float other, uint32_t other_expert)
{
    if (expert == NONE || other_expert == NONE)
        return other_expert == NONE && expert != NONE;
    return value > other || (value == other && expert < other_expert);
}

static __device__ __forceinline__ float logit_at(const float *logits, uint32_t expert)
{
    const float value = logits[expert];
    return value == value ? value : -INFINITY; /* a row of NaNs still chooses experts that exist */
}

static __global__ void __launch_bounds__(WARPS *WARP) route(cuda_moe_route_args a)
{
    const uint32_t lane = threadIdx.x % WARP, row = blockIdx.x * WARPS + threadIdx.x / WARP;
    uint32_t taken = 0; /* bit j: expert j * 32 + lane is chosen */
    float largest = 0, sum = 0;

    if (row >= a.rows)
        return;
    const float *logits = a.logits + (uint64_t)row * a.logits_stride;
    float *weight = a.weight + (uint64_t)row * a.chosen;
    if (a.row_count && row >= *a.row_count) {
        if (lane < a.chosen)
            a.expert[(uint64_t)row * a.chosen + lane] = CUDA_NO_ROW;
        return;
    }
    for (uint32_t i = 0; i < a.chosen; i++) {
        float best = 0;
        uint32_t expert = NONE;
        for (uint32_t j = 0; j * WARP + lane < a.experts; j++) {
            const float value = logit_at(logits, j * WARP + lane);
            if (!(taken >> j & 1) && beats(value, j * WARP + lane, best, expert))
                best = value, expert = j * WARP + lane;
        }
        for (unsigned mask = 16; mask; mask >>= 1) {
            const float other = __shfl_xor_sync(WARP_FULL, best, mask);
            const uint32_t other_expert = __shfl_xor_sync(WARP_FULL, expert, mask);
            if (beats(other, other_expert, best, expert))
                best = other, expert = other_expert;
        }
        if (expert % WARP == lane)
            taken |= 1u << (expert / WARP);
        if (i == 0)
            largest = best;
        const float share = expf(best - largest);
        sum += share;
        if (lane == 0) {
            a.expert[(uint64_t)row * a.chosen + i] = expert;
            weight[i] = share;
        }
    }
    if (!a.normalised) {
        sum = 0;
        for (uint32_t e = lane; e < a.experts; e += WARP)
            sum += expf(logits[e] - largest);
        sum = warp_sum(sum);
    }
    __syncwarp();
    if (lane < a.chosen)
        weight[lane] /= sum;
}

extern "C" tn_status cuda_moe_route(const cuda_moe_route_args *args, cuda_stream stream)
{
    if (!args->rows)
        return TN_OK;
    if (!args->chosen || args->chosen > args->experts || args->chosen > CUDA_CHOSEN_MAX ||
        args->experts > CUDA_EXPERTS_MAX || args->logits_stride < args->experts)
        return TN_E_ARGUMENT;
    LAUNCH(route, ceil_div(args->rows, WARPS), WARPS * WARP, 0, stream, *args);
    return LAUNCH_STATUS();
}
