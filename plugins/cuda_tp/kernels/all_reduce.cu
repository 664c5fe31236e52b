/* all_reduce.cu: sums over ranks in rank order: of buffers that lie side by side, and the one-shot all-reduce, where
 * every rank reads every rank's buffer. Limit: the link's latency; for messages of up to a few hundred KiB one round
 * trip beats a ring's 2 (world - 1). Both add in f32 and round once, so that they give the same bits.
 *
 * Block b of every rank meets block b of the others twice: before reading (all inputs are written) and after (all have
 * read, so that inputs may change). Flags only grow, compared with wrap-around, and each has one writer.
 */
#include "kernels/device.cuh"

enum {
    THREADS = 512,
    CANCEL_TURNS = 64 /* the host's memory is far away, and asking for it would hold up the flag */
};

/* Waits until block blockIdx.x of every rank is at gate `gate` (0, 1) of round `round`. */
static __device__ void meet(const cuda_all_reduce_args &a, uint32_t gate, uint32_t round)
{
    __syncthreads();
    if (threadIdx.x < a.world) {
        const uint32_t peer = threadIdx.x;
        __threadfence_system();
        flag_store(&a.flag[peer][(a.rank * CUDA_REDUCE_BLOCKS + blockIdx.x) * 2 + gate], round);
        const uint32_t *theirs = &a.flag[a.rank][(peer * CUDA_REDUCE_BLOCKS + blockIdx.x) * 2 + gate];
        for (uint32_t turn = 1; (int32_t)(flag_load(theirs) - round) < 0; turn++) {
            if (turn % CANCEL_TURNS == 0 && a.cancel && *a.cancel)
                break;
            spin();
        }
    }
    __syncthreads();
}

/* out = the sum of `world` buffers; all blocks of the grid share the elements. Args: launch.h's of either sum. */
template <typename Args> static __device__ void add_in_order(const Args &a)
{
    const uint64_t eights = a.count / 8;

    for (uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x; i < eights; i += (uint64_t)gridDim.x * THREADS) {
        float sum[8], value[8];
        load_eight(a.buffer[0], a.type, i * 8, sum);
        for (uint32_t r = 1; r < a.world; r++) {
            load_eight(a.buffer[r], a.type, i * 8, value);
            for (int j = 0; j < 8; j++)
                sum[j] += value[j];
        }
        store_eight(a.out, a.type, i * 8, sum);
    }
    for (uint64_t i = eights * 8 + threadIdx.x; blockIdx.x == 0 && i < a.count; i += THREADS) { /* f32: 4 are left */
        float sum = load_float(a.buffer[0], a.type, i);
        for (uint32_t r = 1; r < a.world; r++)
            sum += load_float(a.buffer[r], a.type, i);
        store_float(a.out, a.type, i, sum);
    }
}

static __global__ void __launch_bounds__(THREADS, 2) all_reduce(cuda_all_reduce_args a)
{
    const uint32_t round = *a.sequence + 1;

    meet(a, 0, round);
    add_in_order(a);
    meet(a, 1, round);
}

static __global__ void __launch_bounds__(THREADS) sum_ranks(cuda_sum_ranks_args a)
{
    add_in_order(a);
}

static __global__ void __launch_bounds__(WARP) advance(uint32_t *sequence)
{
    if (threadIdx.x == 0)
        ++*sequence;
}

extern "C" tn_status cuda_sum_ranks(const cuda_sum_ranks_args *args, cuda_stream stream)
{
    enum { BLOCKS_MAX = 264 };
    const uint32_t blocks = ceil_div(args->count, 8 * THREADS);

    if (!args->count)
        return TN_OK;
    if (!args->world || args->world > CUDA_SUM_MAX || args->count * tn_scalar_bytes(args->type) % 16)
        return TN_E_ARGUMENT;
    if (!float_type(args->type))
        return TN_E_UNSUPPORTED;
    LAUNCH(sum_ranks, blocks < BLOCKS_MAX ? blocks : (uint32_t)BLOCKS_MAX, THREADS, 0, stream, *args);
    return LAUNCH_STATUS();
}

extern "C" tn_status cuda_all_reduce(const cuda_all_reduce_args *args, cuda_stream stream)
{
    if (!args->count)
        return TN_OK;
    if (!args->world || args->world > CUDA_RANKS_MAX || args->rank >= args->world ||
        args->count * tn_scalar_bytes(args->type) % 16)
        return TN_E_ARGUMENT;
    if (!float_type(args->type))
        return TN_E_UNSUPPORTED;
    LAUNCH(all_reduce, CUDA_REDUCE_BLOCKS, THREADS, 0, stream, *args);
    LAUNCH(advance, 1, WARP, 0, stream, args->sequence);
    return LAUNCH_STATUS();
}
