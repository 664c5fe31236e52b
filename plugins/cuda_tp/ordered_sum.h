/* plugins/cuda_tp/ordered_sum.h: sums over ranks in rank order, whose bits do not depend on where in a batch an element
 * stands.
 */
#ifndef CUDA_TP_ORDERED_SUM_H
#define CUDA_TP_ORDERED_SUM_H

#include "collective.h"

#include "tenon/encoding.h"

enum { ORDERED_SUM_PIECE = 1 << 20 }; /* elements that are gathered at once */

/* Device memory that a sum of `count` elements of `type` needs. */
static inline uint64_t ordered_sum_bytes(uint32_t world, uint64_t count, uint32_t type)
{
    return world * (count < ORDERED_SUM_PIECE ? count : ORDERED_SUM_PIECE) * tn_scalar_bytes(type);
}

/* out = part[0] + .. + part[world - 1], as cuda_sum_ranks. Enqueued. */
tn_status ordered_sum_parts(const void *const *part, uint32_t world, void *out, uint64_t count, uint32_t type,
                            cuda_stream stream, tn_error *err);
/* As collective_api.all_reduce, by way of gathering: world / 2 times the traffic. count % 8 == 0. */
tn_status ordered_sum(collective *c, uint32_t rank, uint32_t world, const void *in, void *out, uint64_t count,
                      uint32_t type, void *scratch, cuda_stream stream, tn_error *err);

#endif
