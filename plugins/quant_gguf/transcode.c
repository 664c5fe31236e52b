/* plugins/quant_gguf/transcode.c: GGUF blocks split into canonical planes (tenon/encoding.h).
 *
 * A block keeps its codes in an order of its own (low nibbles first half, high nibbles second half; fifth and sixth
 * bits apart). Here sixteen codes at a time become the sixteen bytes of a vector and then a dense little-endian bit
 * stream, with shifts and masks that every vector unit has: 16 to 60 instructions for 32 weights. Scales are moved,
 * never converted.
 */
#include "quant_gguf.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are loaded and stored as they lie in memory");

/* Sixteen bytes, in three readings; the compiler picks the instructions (SSE2, NEON, or none). */
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t shorts8 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

#define EACH_BYTE(value) (0x0101010101010101ull * (value))

static inline words2 load16(const uint8_t *bytes)
{
    words2 words;
    memcpy(&words, bytes, sizeof words);
    return words;
}

static inline uint32_t load32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Writes sixteen codes, one per byte, as 2 * bits dense bytes: in each word neighbours join in pairs, the pairs in
 * pairs, then the halves. */
static inline void store_codes(uint8_t *to, words2 codes, uint32_t bits)
{
    codes = (codes & 0x00ff00ff00ff00ffull) | ((codes & 0xff00ff00ff00ff00ull) >> (8 - bits));
    codes = (codes & 0x0000ffff0000ffffull) | ((codes & 0xffff0000ffff0000ull) >> (16 - 2 * bits));
    codes = (codes & 0x00000000ffffffffull) | ((codes >> 32) << (4 * bits));
    uint64_t first = codes[0], second = codes[1];
    memcpy(to, &first, bits);
    memcpy(to + bits, &second, bits);
}

/* Writes 32 codes below 16, one per byte of two vectors, as 16 bytes. The shortest way for four bits: join neighbours
 * within 16-bit lanes, then keep every lane's low byte. */
static inline void store_nibbles(uint8_t *to, words2 first, words2 second)
{
    bytes16 left = (bytes16)((shorts8)first | (shorts8)first >> 4);
    bytes16 right = (bytes16)((shorts8)second | (shorts8)second >> 4);
    bytes16 packed = __builtin_shufflevector(left, right, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    memcpy(to, &packed, sizeof packed);
}

/* Bit i (0..15) of `bits` to bit 4 of byte i: pick one bit per byte, carry it into bit 7, bring it down. */
static inline words2 spread_fifth_bits(uint32_t bits)
{
    words2 picked = {EACH_BYTE((uint64_t)(bits & 0xff)), EACH_BYTE((uint64_t)(bits >> 8 & 0xff))};
    picked &= 0x8040201008040201ull;
    return ((picked + EACH_BYTE(0x7full)) >> 3) & EACH_BYTE(0x10ull);
}

/* ---- blocks of 32 ---- */

void split_q8_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales;

    for (uint64_t i = 0; i < count; i++, blocks += 34) {
        words2 first = load16(blocks + 2) ^ EACH_BYTE(0x80ull); /* two's complement to biased */
        words2 second = load16(blocks + 18) ^ EACH_BYTE(0x80ull);
        memcpy(scales + 2 * i, blocks, 2);
        memcpy(codes + 32 * i, &first, sizeof first);
        memcpy(codes + 32 * i + 16, &second, sizeof second);
    }
}

/* 16 bytes hold 32 codes: the low nibbles are codes 0..15, the high ones 16..31. */
static inline void split_nibbles(const uint8_t *from, uint8_t *to)
{
    words2 both = load16(from);
    store_nibbles(to, both & EACH_BYTE(0x0full), (both >> 4) & EACH_BYTE(0x0full));
}

void split_q4_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales;

    for (uint64_t i = 0; i < count; i++, blocks += 18) {
        memcpy(scales + 2 * i, blocks, 2);
        split_nibbles(blocks + 2, codes + 16 * i);
    }
}

void split_q4_1(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales, *mins = planes->mins;

    for (uint64_t i = 0; i < count; i++, blocks += 20) {
        memcpy(scales + 2 * i, blocks, 2);
        memcpy(mins + 2 * i, blocks + 2, 2);
        split_nibbles(blocks + 4, codes + 16 * i);
    }
}

/* The file's value table has no negative zero, e2m1 has: code 8 becomes 0. */
void split_mxfp4(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales;
    const uint64_t low = EACH_BYTE(0x0full);

    for (uint64_t i = 0; i < count; i++, blocks += 17) {
        words2 both = load16(blocks + 1), nibbles[2] = {both & low, (both >> 4) & low};
        for (uint32_t half = 0; half < 2; half++) {
            words2 zero = (words2)((bytes16)nibbles[half] == 8); /* all ones where the code is 8 */
            nibbles[half] &= ~zero;
        }
        scales[i] = blocks[0];
        store_nibbles(codes + 16 * i, nibbles[0], nibbles[1]);
    }
}

/* As split_nibbles, with the fifth bit of code j in bit j of the word before the nibbles. */
static inline void split_nibbles_and_bits(const uint8_t *from, uint8_t *to)
{
    uint32_t fifth = load32(from);
    words2 both = load16(from + 4);

    store_codes(to, (both & EACH_BYTE(0x0full)) | spread_fifth_bits(fifth), 5);
    store_codes(to + 10, ((both >> 4) & EACH_BYTE(0x0full)) | spread_fifth_bits(fifth >> 16), 5);
}

void split_q5_0(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales;

    for (uint64_t i = 0; i < count; i++, blocks += 22) {
        memcpy(scales + 2 * i, blocks, 2);
        split_nibbles_and_bits(blocks + 2, codes + 20 * i);
    }
}

void split_q5_1(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    uint8_t *codes = planes->codes, *scales = planes->scales, *mins = planes->mins;

    for (uint64_t i = 0; i < count; i++, blocks += 24) {
        memcpy(scales + 2 * i, blocks, 2);
        memcpy(mins + 2 * i, blocks + 2, 2);
        split_nibbles_and_bits(blocks + 4, codes + 20 * i);
    }
}

/* ---- super-blocks of 256 ---- */

void split_q2_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t nibbles = EACH_BYTE(0x0full), pairs = EACH_BYTE(0x03ull);

    for (uint64_t i = 0; i < count; i++, blocks += 84) {
        words2 both = load16(blocks), scales = both & nibbles, mins = (both >> 4) & nibbles;
        uint32_t factors = load32(blocks + 80) ^ 0x80000000u; /* minimums are subtracted in the file, added in planes */
        memcpy(planes->scales + 16 * i, &scales, sizeof scales);
        memcpy(planes->mins + 16 * i, &mins, sizeof mins);
        memcpy(planes->factors + 4 * i, &factors, sizeof factors);
        for (uint32_t group = 0; group < 16; group++) { /* 16 codes: a pair of bits in each of 16 bytes */
            words2 packed = load16(blocks + 16 + 32 * (group / 8) + 16 * (group % 2));
            store_codes(planes->codes + 64 * i + 4 * group, (packed >> (group / 2 % 4 * 2)) & pairs, 2);
        }
    }
}

/* Sixteen 6-bit scales in 12 bytes: low nibbles of the first 8 bytes, then their high ones; pairs of bits in the last
 * 4. 32 is taken off each. */
static inline void split_q3_scales(const uint8_t *packed, uint8_t *to)
{
    uint32_t first = load32(packed), second = load32(packed + 4), top = load32(packed + 8);
    const uint32_t low = 0x0f0f0f0fu, pair = 0x03030303u;
    uint32_t scales[4] = {(first & low) | (top & pair) << 4, (second & low) | (top >> 2 & pair) << 4,
                          (first >> 4 & low) | (top >> 4 & pair) << 4, (second >> 4 & low) | (top >> 6 & pair) << 4};

    for (uint32_t i = 0; i < 4; i++) /* x - 32 in each byte: the sign is the complement of bit 5, spread upwards */
        scales[i] = (scales[i] ^ 0x20202020u) | ((~scales[i] & 0x20202020u) * 6);
    memcpy(to, scales, sizeof scales);
}

void split_q3_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t pairs = EACH_BYTE(0x03ull), lowest = EACH_BYTE(0x01ull);

    for (uint64_t i = 0; i < count; i++, blocks += 110) {
        split_q3_scales(blocks + 96, planes->scales + 16 * i);
        memcpy(planes->factors + 2 * i, blocks + 108, 2);
        for (uint32_t group = 0; group < 16; group++) { /* as Q2_K; the third bit lies in its own 32 bytes */
            words2 packed = load16(blocks + 32 + 32 * (group / 8) + 16 * (group % 2));
            words2 third = (load16(blocks + 16 * (group % 2)) >> (group / 2)) & lowest;
            store_codes(planes->codes + 96 * i + 6 * group, ((packed >> (group / 2 % 4 * 2)) & pairs) | third << 2, 3);
        }
    }
}

void split_iq4_xs(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    for (uint64_t i = 0; i < count; i++, blocks += 136) {
        uint32_t high = blocks[2] | (uint32_t)blocks[3] << 8, low = load32(blocks + 4);
        memcpy(planes->factors + 2 * i, blocks, 2);
        for (uint32_t group = 0; group < 8; group++) {
            uint32_t scale = (low >> (4 * group) & 15) | (high >> (2 * group) & 3) << 4;
            planes->scales[8 * i + group] = (uint8_t)(scale - 32);
            split_nibbles(blocks + 8 + 16 * group, planes->codes + 128 * i + 16 * group);
        }
    }
}

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
    const uint64_t nibbles = EACH_BYTE(0x0full);

    for (uint64_t i = 0; i < count; i++, blocks += 144) {
        split_scales(blocks, i, planes);
        for (uint32_t chunk = 0; chunk < 4; chunk++) { /* 32 bytes: 32 low nibbles, then 32 high ones */
            const uint8_t *from = blocks + 16 + 32 * chunk;
            uint8_t *to = planes->codes + 128 * i + 32 * chunk;
            words2 first = load16(from), second = load16(from + 16);
            store_nibbles(to, first & nibbles, second & nibbles);
            store_nibbles(to + 16, (first >> 4) & nibbles, (second >> 4) & nibbles);
        }
    }
}

void split_q5_k(const uint8_t *blocks, uint64_t count, const block_planes *planes)
{
    const uint64_t nibbles = EACH_BYTE(0x0full), lowest = EACH_BYTE(0x01ull);

    for (uint64_t i = 0; i < count; i++, blocks += 176) {
        split_scales(blocks, i, planes);
        for (uint32_t chunk = 0; chunk < 4; chunk++) { /* as Q4_K; bit 2 * chunk (+ 1) of byte j is code j's fifth */
            uint8_t *to = planes->codes + 160 * i + 40 * chunk;
            for (uint32_t at = 0; at < 2; at++) {
                words2 both = load16(blocks + 48 + 32 * chunk + 16 * at);
                words2 fifth = load16(blocks + 16 + 16 * at) >> (2 * chunk);
                store_codes(to + 10 * at, (both & nibbles) | (fifth & lowest) << 4, 5);
                store_codes(to + 20 + 10 * at, ((both >> 4) & nibbles) | ((fifth >> 1) & lowest) << 4, 5);
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
        for (uint32_t quarter = 0; quarter < 4; quarter++) { /* 16 of 32 columns of one half of 128 codes */
            uint32_t half = quarter / 2, at = quarter % 2;
            words2 first = load16(blocks + 64 * half + 16 * at), second = load16(blocks + 64 * half + 32 + 16 * at);
            words2 top = load16(blocks + 128 + 32 * half + 16 * at);
            uint8_t *to = planes->codes + 192 * i + 96 * half + 12 * at;
            store_codes(to, (first & nibbles) | ((top << 4) & pairs), 6);
            store_codes(to + 24, (second & nibbles) | ((top << 2) & pairs), 6);
            store_codes(to + 48, ((first >> 4) & nibbles) | (top & pairs), 6);
            store_codes(to + 72, ((second >> 4) & nibbles) | ((top >> 2) & pairs), 6);
        }
    }
}
