/* sdk/base/size.h: arithmetic on sizes that come from files and requests: checked before it is used. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns false, leaving *ret untouched, when the result does not fit. */
static inline bool size_add(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

/* Rounds up to a multiple of unit (a power of two). */
static inline bool size_align(uint64_t a, uint64_t unit, uint64_t *ret)
{
    uint64_t sum;
    if (!size_add(a, unit - 1, &sum))
        return false;
    *ret = sum & ~(unit - 1);
    return true;
}

/* True if [offset, offset + bytes) lies within [0, total). */
static inline bool size_within(uint64_t offset, uint64_t bytes, uint64_t total)
{
    return offset <= total && bytes <= total - offset;
}

#endif
