/* moe_sort.cu: choices sorted by expert, stably and without atomics. Limit: latency; a block per expert reads all
 * choices twice, from L2. Three launches: count, scan (which also cuts the tasks), place.
 */
#include "kernels/device.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };

static __global__ void __launch_bounds__(THREADS) count_choices(cuda_moe_sort_args a)
{
    __shared__ uint32_t of_warp[WARPS];
    uint32_t count = 0;

    for (uint32_t c = threadIdx.x; c < a.choices; c += THREADS) {
        const uint32_t expert = a.expert[c] - a.expert_first;
        count += expert == blockIdx.x;
        if (blockIdx.x == 0 && expert >= a.experts)
            a.place[c] = CUDA_NO_ROW;
    }
    for (unsigned mask = 16; mask; mask >>= 1)
        count += __shfl_xor_sync(WARP_FULL, count, mask);
    if (threadIdx.x % WARP == 0)
        of_warp[threadIdx.x / WARP] = count;
    __syncthreads();
    if (threadIdx.x)
        return;
    count = 0;
    for (int i = 0; i < WARPS; i++)
        count += of_warp[i];
    a.expert_start[blockIdx.x + 1] = count;
}

static __device__ __forceinline__ uint32_t warp_scan(uint32_t value)
{
    for (unsigned delta = 1; delta < WARP; delta *= 2) {
        const uint32_t other = __shfl_up_sync(WARP_FULL, value, delta);
        value += threadIdx.x % WARP >= delta ? other : 0;
    }
    return value;
}

/* One warp: counts become starts, experts become tasks. */
static __global__ void __launch_bounds__(WARP) cut_tasks(cuda_moe_sort_args a)
{
    uint32_t start = 0, task = 0;

    for (uint32_t base = 0; base < a.experts; base += WARP) {
        const uint32_t expert = base + threadIdx.x;
        const uint32_t count = expert < a.experts ? a.expert_start[expert + 1] : 0;
        const uint32_t tiles = (count + a.tile_rows - 1) / a.tile_rows;
        const uint32_t end = start + warp_scan(count), task_end = task + warp_scan(tiles);
        if (expert < a.experts)
            a.expert_start[expert + 1] = end;
        for (uint32_t i = 0; i < tiles; i++) {
            const uint32_t done = i * a.tile_rows, left = count - done;
            const cuda_expert_task t = {expert, end - count + done, left < a.tile_rows ? left : a.tile_rows, 0};
            a.task[task_end - tiles + i] = t;
        }
        start = __shfl_sync(WARP_FULL, end, WARP - 1);
        task = __shfl_sync(WARP_FULL, task_end, WARP - 1);
    }
    if (threadIdx.x == 0) {
        a.expert_start[0] = 0;
        *a.task_count = task;
    }
}

static __global__ void __launch_bounds__(THREADS) place_choices(cuda_moe_sort_args a)
{
    __shared__ uint32_t of_warp[WARPS];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t place = a.expert_start[blockIdx.x];

    if (place == a.expert_start[blockIdx.x + 1])
        return;
    for (uint32_t base = 0; base < a.choices; base += THREADS) {
        const uint32_t c = base + threadIdx.x;
        const bool mine = c < a.choices && a.expert[c] - a.expert_first == blockIdx.x;
        const uint32_t ballot = __ballot_sync(WARP_FULL, mine);
        if (lane == 0)
            of_warp[warp] = (uint32_t)__popc(ballot);
        __syncthreads();
        uint32_t at = place + (uint32_t)__popc(ballot & ((1u << lane) - 1));
        for (uint32_t i = 0; i < WARPS; i++) {
            at += i < warp ? of_warp[i] : 0;
            place += of_warp[i];
        }
        if (mine) {
            a.place[c] = at;
            a.place_row[at] = c / a.chosen;
        }
        __syncthreads();
    }
}

extern "C" tn_status cuda_moe_sort(const cuda_moe_sort_args *args, cuda_stream stream)
{
    if (!args->chosen || !args->experts || args->experts > CUDA_EXPERTS_MAX || !args->tile_rows)
        return TN_E_ARGUMENT;
    LAUNCH(count_choices, args->experts, THREADS, 0, stream, *args);
    LAUNCH(cut_tasks, 1, WARP, 0, stream, *args);
    LAUNCH(place_choices, args->experts, THREADS, 0, stream, *args);
    return LAUNCH_STATUS();
}
