/* plugins/quant_gguf/transcode.c: GGUF blocks split into canonical planes (tenon/encoding.h).
 *
 * A block keeps its codes in an order of its own (low nibbles first half, high nibbles second half; fifth and sixth
 * bits apart). Here eight codes at a time become eight bytes of one 64-bit word and then a dense little-endian bit
 * stream, with shifts and masks only: about 40 operations for 32 weights. Scales are moved, never converted.
 */
#include "quant_gguf.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are loaded and stored as they lie in memory");

#define EACH_BYTE(value) (0x0101010101010101ull * (value))

static inline uint64_t load64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t load32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Eight codes, one per byte, to 8 * bits dense bits: neighbours join in pairs, the pairs in pairs, then the halves. */
static inline uint64_t pack_codes(uint64_t codes, uint32_t bits)
{
    codes = (codes & 0x00ff00ff00ff00ffull) | ((codes & 0xff00ff00ff00ff00ull) >> (8 - bits));
    codes = (codes & 0x0000ffff0000ffffull) | ((codes & 0xffff0000ffff0000ull) >> (16 - 2 * bits));
    return (codes & 0xffffffffull) | ((codes >> 32) << (4 * bits));
}

/* Writes eight codes as bits dense bytes; returns the byte behind them. */
static inline uint8_t *store_codes(uint8_t *to, uint64_t codes, uint32_t bits)
{
    uint64_t packed = pack_codes(codes, bits);
    memcpy(to, &packed, bits);
    return to + bits;
}

/* Bit i of `bits` to bit 4 of byte i: pick one bit per byte, carry it into bit 7, bring it down. */
static inline uint64_t spread_fifth_bits(uint32_t bits)
{
    uint64_t picked = EACH_BYTE((uint64_t)(bits & 0xff)) & 0x8040201008040201ull;
    return ((picked + EACH_BYTE(0x7full)) >> 3) & EACH_BYTE(0x10ull);
}

/* ---- blocks of 32 ---- */

void split_q8_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 34) {
        memcpy(planes->scales + 2 * i, blocks, 2);
        for (uint32_t at = 0; at < 32; at += 8) {
            uint64_t codes = load64(blocks + 2 + at) ^ EACH_BYTE(0x80ull); /* two's complement to biased */
            memcpy(planes->codes + 32 * i + at, &codes, sizeof codes);
        }
    }
}

/* 16 bytes hold 32 codes: the low nibbles are codes 0..15, the high ones 16..31. */
static inline void split_nibbles(const uint8_t *from, uint8_t *to)
{
    uint64_t first = load64(from), second = load64(from + 8), mask = EACH_BYTE(0x0full);
    uint64_t low = pack_codes(first & mask, 4) | pack_codes(second & mask, 4) << 32;
    uint64_t high = pack_codes((first >> 4) & mask, 4) | pack_codes((second >> 4) & mask, 4) << 32;

    memcpy(to, &low, sizeof low);
    memcpy(to + 8, &high, sizeof high);
}

void split_q4_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 18) {
        memcpy(planes->scales + 2 * i, blocks, 2);
        split_nibbles(blocks + 2, planes->codes + 16 * i);
    }
}

void split_q4_1(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 20) {
        memcpy(planes->scales + 2 * i, blocks, 2);
        memcpy(planes->mins + 2 * i, blocks + 2, 2);
        split_nibbles(blocks + 4, planes->codes + 16 * i);
    }
}

/* As split_nibbles, with the fifth bit of code j in bit j of the word before the nibbles. */
static inline void split_nibbles_and_bits(const uint8_t *from, uint8_t *to)
{
    uint32_t fifth = load32(from);
    uint64_t first = load64(from + 4), second = load64(from + 12), mask = EACH_BYTE(0x0full);

    to = store_codes(to, (first & mask) | spread_fifth_bits(fifth), 5);
    to = store_codes(to, (second & mask) | spread_fifth_bits(fifth >> 8), 5);
    to = store_codes(to, ((first >> 4) & mask) | spread_fifth_bits(fifth >> 16), 5);
    store_codes(to, ((second >> 4) & mask) | spread_fifth_bits(fifth >> 24), 5);
}

void split_q5_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 22) {
        memcpy(planes->scales + 2 * i, blocks, 2);
        split_nibbles_and_bits(blocks + 2, planes->codes + 20 * i);
    }
}

void split_q5_1(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 24) {
        memcpy(planes->scales + 2 * i, blocks, 2);
        memcpy(planes->mins + 2 * i, blocks + 2, 2);
        split_nibbles_and_bits(blocks + 4, planes->codes + 20 * i);
    }
}

/* ---- super-blocks of 256 ---- */

/* The head of Q4_K and Q5_K: two F16 factors, then eight 6-bit scales and eight 6-bit minimums in 12 bytes: scales and
 * minimums 0..3 fill the low six bits of bytes 0..7, whose high two bits continue those of 4..7 in bytes 8..11. The
 * format subtracts its minimums, ours are added: the minus goes into the factor's sign bit. */
static inline void split_scales(const uint8_t *block, uint64_t index, const block_planes *planes)
{
    uint32_t first = load32(block + 4), second = load32(block + 8), third = load32(block + 12);
    uint32_t scales[2] = {first & 0x3f3f3f3fu, (third & 0x0f0f0f0fu) | ((first >> 2) & 0x30303030u)};
    uint32_t mins[2] = {second & 0x3f3f3f3fu, ((third >> 4) & 0x0f0f0f0fu) | ((second >> 2) & 0x30303030u)};
    uint32_t factors = load32(block) ^ 0x80000000u;

    memcpy(planes->scales + 8 * index, scales, sizeof scales);
    memcpy(planes->mins + 8 * index, mins, sizeof mins);
    memcpy(planes->factors + 4 * index, &factors, sizeof factors);
}

void split_q4_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t mask = EACH_BYTE(0x0full);

    for (uint64_t i = 0; i < count; i++, blocks += 144) {
        split_scales(blocks, i, planes);
        for (uint32_t chunk = 0; chunk < 4; chunk++) { /* 32 bytes: 32 low nibbles, then 32 high ones */
            const uint8_t *from = blocks + 16 + 32 * chunk;
            uint8_t *to = planes->codes + 128 * i + 32 * chunk;
            for (uint32_t at = 0; at < 4; at++) {
                uint64_t word = load64(from + 8 * at);
                store_codes(to + 4 * at, word & mask, 4);
                store_codes(to + 16 + 4 * at, (word >> 4) & mask, 4);
            }
        }
    }
}

void split_q5_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t nibbles = EACH_BYTE(0x0full), lowest = EACH_BYTE(0x01ull);

    for (uint64_t i = 0; i < count; i++, blocks += 176) {
        split_scales(blocks, i, planes);
        for (uint32_t chunk = 0; chunk < 4; chunk++) { /* as Q4_K; bit 2 * chunk (+ 1) of byte j is code j's fifth */
            const uint8_t *from = blocks + 48 + 32 * chunk;
            uint8_t *to = planes->codes + 160 * i + 40 * chunk;
            for (uint32_t at = 0; at < 4; at++) {
                uint64_t word = load64(from + 8 * at), fifth = load64(blocks + 16 + 8 * at) >> (2 * chunk);
                store_codes(to + 5 * at, (word & nibbles) | (fifth & lowest) << 4, 5);
                store_codes(to + 20 + 5 * at, ((word >> 4) & nibbles) | ((fifth >> 1) & lowest) << 4, 5);
            }
        }
    }
}

void split_q6_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t nibbles = EACH_BYTE(0x0full), pairs = EACH_BYTE(0x30ull);

    for (uint64_t i = 0; i < count; i++, blocks += 210) {
        memcpy(planes->scales + 16 * i, blocks + 192, 16);
        memcpy(planes->factors + 2 * i, blocks + 208, 2);
        for (uint32_t half = 0; half < 2; half++) { /* 64 bytes of nibbles and 32 of bit pairs make 128 codes */
            const uint8_t *low = blocks + 64 * half, *high = blocks + 128 + 32 * half;
            uint8_t *to = planes->codes + 192 * i + 96 * half;
            for (uint32_t at = 0; at < 4; at++) {
                uint64_t first = load64(low + 8 * at), second = load64(low + 32 + 8 * at), top = load64(high + 8 * at);
                store_codes(to + 6 * at, (first & nibbles) | ((top << 4) & pairs), 6);
                store_codes(to + 24 + 6 * at, (second & nibbles) | ((top << 2) & pairs), 6);
                store_codes(to + 48 + 6 * at, ((first >> 4) & nibbles) | (top & pairs), 6);
                store_codes(to + 72 + 6 * at, ((second >> 4) & nibbles) | ((top >> 2) & pairs), 6);
            }
        }
    }
}
