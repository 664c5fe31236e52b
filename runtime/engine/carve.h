/* runtime/engine/carve.h: one allocation cut into arrays.
 *
 * A layout function runs twice over the same code: first with base NULL, which only counts, then with the memory of
 * that size, which hands out pointers. So the bytes that the plan prints are the bytes that are taken, and an object
 * made of a dozen arrays has one place where memory can run out.
 */
#ifndef ENGINE_CARVE_H
#define ENGINE_CARVE_H

#include "base/size.h"

#include <stddef.h>

typedef struct carve {
    char *base;    /* NULL while counting */
    uint64_t used; /* bytes handed out */
    bool overflow; /* a size did not fit 64 bits; used is meaningless */
} carve;

/* count elements of size bytes, 16-byte aligned; NULL while counting. */
static inline void *carve_array(carve *from, uint64_t count, uint64_t size)
{
    uint64_t start, bytes, end;
    if (!size_align(from->used, 16, &start) || !size_mul(count, size, &bytes) || !size_add(start, bytes, &end)) {
        from->overflow = true;
        return NULL;
    }
    from->used = end;
    return from->base ? from->base + start : NULL;
}

#endif
