/* tests/cuda/ring_sum.h: sums over ranks as NCCL's ring makes them. */
#ifndef TESTS_RING_SUM_H
#define TESTS_RING_SUM_H

#include "base/half.h"
#include "tenon/encoding.h"

#include <stdint.h>

static inline float ring_sum_part(const void *part, uint32_t type, uint64_t i)
{
    return type == TN_F32 ? ((const float *)part)[i] : float_from_bf16(((const uint16_t *)part)[i]);
}

/* out[i] = sum over ranks of part[r][i], rounded at every rank; the rank at which an element's sum begins depends on
 * where it stands. type: TN_F32 or TN_BF16. */
static inline void ring_sum(const void *const *part, uint32_t world, void *out, uint64_t count, uint32_t type)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = i * world / count;
        float sum = ring_sum_part(part[first], type, i);
        for (uint64_t r = 1; r < world; r++) {
            sum += ring_sum_part(part[(first + r) % world], type, i);
            sum = type == TN_F32 ? sum : float_from_bf16(bf16_from_float(sum));
        }
        if (type == TN_F32)
            ((float *)out)[i] = sum;
        else
            ((uint16_t *)out)[i] = bf16_from_float(sum);
    }
}

#endif
