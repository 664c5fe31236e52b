/* ordered_sum.c: see ordered_sum.h. In pieces, so that scratch does not grow with the batch; a piece of every rank lies
 * side by side before all are added.
 */
#include "ordered_sum.h"

#include <string.h>

tn_status ordered_sum_parts(const void *const *part, uint32_t world, void *out, uint64_t count, uint32_t type,
                            cuda_stream stream, tn_error *err)
{
    cuda_sum_ranks_args args = {.out = out, .count = count, .type = type, .world = world};

    TN_ASSERT(world <= CUDA_SUM_MAX);
    memcpy(args.buffer, part, world * sizeof *part);
    tn_status status = cuda_sum_ranks(&args, stream);
    return status == TN_OK
               ? TN_OK
               : tn_fail(err, status, "adding up %llu elements of %u ranks", (unsigned long long)count, world);
}

tn_status ordered_sum(collective *c, uint32_t rank, uint32_t world, const void *in, void *out, uint64_t count,
                      uint32_t type, void *scratch, cuda_stream stream, tn_error *err)
{
    const uint64_t size = tn_scalar_bytes(type);
    const void *part[CUDA_SUM_MAX];
    tn_status status = TN_OK;

    TN_ASSERT(world <= CUDA_SUM_MAX);
    for (uint64_t first = 0; first < count && status == TN_OK; first += ORDERED_SUM_PIECE) {
        uint64_t left = count - first, piece = left < ORDERED_SUM_PIECE ? left : ORDERED_SUM_PIECE;
        status = c->api->all_gather(c, rank, (const uint8_t *)in + first * size, scratch, piece * size, stream, err);
        for (uint32_t r = 0; r < world; r++)
            part[r] = (const uint8_t *)scratch + r * piece * size;
        if (status == TN_OK)
            status = ordered_sum_parts(part, world, (uint8_t *)out + first * size, piece, type, stream, err);
    }
    return status;
}
