/* sdk/quant/bit_stream.h: codes of 1 to 8 bits in a little-endian bit stream, as checkpoints and planes both hold them.
 */
#ifndef QUANT_BIT_STREAM_H
#define QUANT_BIT_STREAM_H

#include <stdint.h>
#include <string.h>

/* Word `index` of an int32 tensor, at any alignment. */
static inline uint32_t word_at(const void *words, uint64_t index)
{
    uint32_t word;
    memcpy(&word, (const uint8_t *)words + index * sizeof word, sizeof word);
    return word;
}

/* Code `index` of a stream whose words lie `stride` words apart. The second word is read only where the code reaches
 * into it. */
static inline uint32_t stream_code(const void *words, uint64_t stride, uint64_t index, uint32_t bits)
{
    uint64_t bit = index * bits;
    uint32_t shift = (uint32_t)(bit % 32);
    uint64_t word = word_at(words, bit / 32 * stride);
    if (shift + bits > 32)
        word |= (uint64_t)word_at(words, (bit / 32 + 1) * stride) << 32;
    return (uint32_t)(word >> shift) & ((1u << bits) - 1);
}

/* Packs `count` codes, one per byte, into (count * bits + 7) / 8 bytes. */
static inline void stream_pack(const uint8_t *codes, uint64_t count, uint32_t bits, uint8_t *ret_bytes)
{
    uint32_t pending = 0, held = 0; /* held bits of pending, below 8 between codes */

    for (uint64_t i = 0; i < count; i++) {
        pending |= (uint32_t)codes[i] << held;
        for (held += bits; held >= 8; held -= 8) {
            *ret_bytes++ = (uint8_t)pending;
            pending >>= 8;
        }
    }
    if (held)
        *ret_bytes = (uint8_t)pending;
}

#endif
