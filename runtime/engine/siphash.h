/* runtime/engine/siphash.h: SipHash-2-4 with 128-bit output, a keyed hash whose collisions cannot be sought without the
 * key.
 *
 * Source: Aumasson, Bernstein 2012, "SipHash: a fast short-input PRF", and the authors' 128-bit variant.
 */
#ifndef ENGINE_SIPHASH_H
#define ENGINE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct hash128 {
    uint64_t low, high;
} hash128;

/* Hash of n bytes under a 128-bit key. Pure. */
hash128 siphash_128(const uint64_t key[2], const void *bytes, size_t n);

#endif
