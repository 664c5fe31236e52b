/* plugins/cpu/kernels/affine.h: what the packed and the unpacked product of AFFINE weights share: reading codes and
 * joining a block's integer sum to the float32 total.
 */
#ifndef CPU_AFFINE_H
#define CPU_AFFINE_H

#include "family.h"

#include "tenon/encoding.h"

enum {
    PACKED_ROWS_MAX = 4,   /* rows of one packed kernel */
    PACKED_GROUPS_MAX = 3, /* calls of it that are still faster than unpacking */
    PREFETCH_BYTES = 8192
};

/* One K chunk of one panel against some rows. */
typedef struct chunk_args {
    const affine_weight *w;
    const uint8_t *panel;
    const quant_rows *x;
    uint32_t row0, block0, blocks; /* blocks of x within the chunk */
    float *tile;                   /* of row0 and the panel */
    uint32_t tile_stride;
    kernel_scratch *scratch; /* scales expanded; codes too for unpacked chunks */
} chunk_args;
typedef void (*chunk_kernel)(const chunk_args *a);

/* Kernels for 1..PACKED_ROWS_MAX rows that read this weight's packed codes; NULL if unpacking is better for `rows`
 * rows. *ret_direct: they read scales in place, so that these need not be expanded. */
const chunk_kernel *FAMILY(affine_packed)(const affine_weight *w, uint32_t rows, bool *ret_direct);
/* Scales, and minima if any, of the chunk's blocks as float32 per block, to scratch. */
void FAMILY(affine_expand)(const chunk_args *a);
/* Unpacks the chunk's codes to scratch, offset and zero point subtracted, and multiplies `rows` rows with them. */
void FAMILY(affine_unpacked)(const chunk_args *a, uint32_t rows);

/* Blocks of x per chunk of unpacked codes: as few chunks as fit, of nearly equal size. */
INLINE uint32_t affine_chunk_blocks(const affine_weight *w)
{
    const uint32_t chunks = (w->k_pad + K_CHUNK_MAX - 1) / K_CHUNK_MAX;
    return (w->k_pad / K_BLOCK + chunks - 1) / chunks * (K_BLOCK / w->block);
}

/* Codes of pairs i of one K_BLOCK; `bits` and i are constants after inlining. 8-bit codes lie as tiles read them, less
 * 128 (amx_affine.c). */
INLINE vi codes_at(const int bits, const uint8_t *block, const int i)
{
    if (bits == 8) {
        vi v = vi_xor(vi_load(block + (i / 4 * 2 + i % 2) * 64), vi_set16((int16_t)0x8080));
        return i / 2 % 2 ? vi_right16(v, 8) : vi_and(v, vi_set16(0xFF));
    }
    vi codes = vi_zero();
    int done = 0;
    if (bits & 4) {
        vi v = vi_load(block + i / 4 * 64);
        codes = i % 4 == 3 ? vi_right16(v, 12) : vi_and(vi_right16(v, i % 4 * 4), vi_set16(15));
        block += 256;
        done = 4;
    }
    if (bits & 2) {
        vi v = vi_load(block + i / 8 * 64), two;
        int at = i % 8 * 2;
        if (at >= done)
            two = vi_and(vi_right16(v, at - done), vi_set16((int16_t)(3 << done)));
        else
            two = vi_and(vi_left16(v, done - at), vi_set16((int16_t)(3 << done)));
        codes = done ? vi_or(codes, two) : two;
        block += 128;
        done += 2;
    }
    if (bits & 1) {
        vi v = vi_load(block), one;
        if (i >= done)
            one = vi_and(vi_right16(v, i - done), vi_set16((int16_t)(1 << done)));
        else
            one = vi_and(vi_left16(v, done - i), vi_set16((int16_t)(1 << done)));
        codes = vi_or(codes, one);
    }
    return codes;
}

/* The same for 4-bit positions in `table`; the nibbles of two pairs are looked up at once. */
INLINE vi entries_at(vi table, const uint8_t *block, const int i)
{
    vi both = vi_load(block + i / 4 * 64);
    vi entries = vi_lookup(table, vi_and(i % 2 ? vi_right16(both, 4) : both, vi_set16(0x0F0F)));
    return i % 4 < 2 ? vi_and(entries, vi_set16(0xFF)) : vi_right16(entries, 8);
}

/* What the codes stand for, offset and zero point not yet subtracted: themselves, or entries of the weight's table. */
INLINE vi values_at(const int bits, const bool looked_up, vi table, const uint8_t *block, const int i)
{
    return looked_up ? entries_at(table, block, i) : codes_at(bits, block, i);
}

/* The weight's table, if it has one. */
INLINE vi table_of(const affine_weight *w)
{
    return vi_repeat16(w->table);
}

/* function(bits, looked_up, argument), the first two constants that the compiler sees. */
#define WITH_CODES_OF(w, function, argument) \
    do {                                     \
        if ((w)->looked_up) {                \
            function(4, true, argument);     \
            break;                           \
        }                                    \
        switch ((w)->bits) {                 \
        case 2:                              \
            function(2, false, argument);    \
            break;                           \
        case 3:                              \
            function(3, false, argument);    \
            break;                           \
        case 4:                              \
            function(4, false, argument);    \
            break;                           \
        case 5:                              \
            function(5, false, argument);    \
            break;                           \
        case 6:                              \
            function(6, false, argument);    \
            break;                           \
        case 7:                              \
            function(7, false, argument);    \
            break;                           \
        default:                             \
            function(8, false, argument);    \
            break;                           \
        }                                    \
    } while (0)

/* float16 scales and minima, one per block, are as cheap to read in place as expanded. */
INLINE bool scales_in_place(const affine_weight *w)
{
    return w->scale_type == TN_F16 && w->group_blocks == 1 && !w->group2_blocks;
}

/* What to subtract from the codes of block `block`: offset + zero point, per output. */
INLINE vi zero_at(const affine_weight *w, const uint8_t *panel, uint32_t block)
{
    vi zero = vi_set32(w->offset);
    if (w->zero_type == TN_ZERO_POINT)
        zero = vi_add32(zero, vi_load_u8(panel + w->min_at + (uint64_t)(block / w->group_blocks) * LANES));
    return zero;
}

/* 2^(e - 128): half of what an E8M0 stands for, exact where that is subnormal too. */
INLINE vf exponents_halved(const uint8_t *p)
{
    vf power = vf_bits(vi_left32(vi_load_u8(p), 23));
    return vf_mul(vf_max(power, vf_set(0x1p-127f)), vf_set(0.5f));
}

INLINE vf tile_begin(const chunk_args *a, int row)
{
    return a->block0 ? vf_load(a->tile + (uint64_t)(unsigned)row * a->tile_stride) : vf_zero();
}

INLINE vi pair_of(const int16_t *q)
{
    int32_t pair;
    memcpy(&pair, q, sizeof pair);
    return vi_set32(pair);
}

#endif
