/* plugins/cpu/kernels/linear_affine.c: matrix products of int16 rows with 2..8-bit AFFINE weights.
 *
 * One multiply-add instruction takes two k for 8 or 16 outputs. Within a block of 16 or 32 k the sum is an exact
 * integer (32 * 255 * 32767 < 2^31); each block then joins the float32 sum with two fused operations, in ascending k:
 *     acc = fma(float(isum) * x_scale, w_scale, acc);  acc = fma(x_sum, w_min, acc)
 * Few rows stream the packed codes straight from memory. Many rows unpack a panel once into L1 as int16 and reuse it.
 */
#include "family.h"
#include "tenon/encoding.h"

enum { PACKED_ROWS_MAX = 4, PREFETCH_BYTES = 2048 };

/* Codes of pairs i of one K_BLOCK; `bits` and i are constants after inlining. */
INLINE vi codes_at(const int bits, const uint8_t *block, const int i)
{
    if (bits == 8) {
        vi v = vi_load(block + i / 2 * 64);
        return i % 2 ? vi_right16(v, 8) : vi_and(v, vi_set16(0xFF));
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

INLINE vf load_scalars(const uint8_t *p, uint32_t type, uint32_t index)
{
    switch (type) {
    case TN_F16:
        return vf_load_f16((const uint16_t *)(const void *)p + (uint64_t)index * LANES);
    case TN_BF16:
        return vf_load_bf16((const uint16_t *)(const void *)p + (uint64_t)index * LANES);
    case TN_U8:
        return vf_from_vi(vi_load_u8(p + (uint64_t)index * LANES));
    case TN_S8:
        return vf_from_vi(vi_load_s8(p + (uint64_t)index * LANES));
    default:
        return vf_load((const float *)(const void *)p + (uint64_t)index * LANES);
    }
}

/* Scales, and float minima if any, of blocks block0 .. block0 + blocks of a panel, as float32 per block. */
static void expand_scales(const affine_weight *w, const uint8_t *panel, uint32_t block0, uint32_t blocks,
                          kernel_scratch *scratch)
{
    uint32_t groups2 = w->group2_blocks ? (w->k_pad / w->block + w->group2_blocks - 1) / w->group2_blocks : 0;
    bool minima = w->zero_type == TN_ZERO_FLOAT;
    vf scale = vf_zero(), min = vf_zero();
    uint32_t known = UINT32_MAX;

    for (uint32_t b = 0; b < blocks; b++) {
        uint32_t group = (block0 + b) / w->group_blocks;
        if (group != known) {
            scale = load_scalars(panel + w->scale_at, w->scale_type, group);
            if (minima)
                min = load_scalars(panel + w->min_at, w->scale_type, group);
            if (groups2) {
                uint32_t group2 = (block0 + b) / w->group2_blocks;
                scale = vf_mul(scale, load_scalars(panel + w->scale2_at, w->scale2_type, group2));
                if (minima)
                    min = vf_mul(min, load_scalars(panel + w->scale2_at, w->scale2_type, groups2 + group2));
            }
            known = group;
        }
        vf_store(scratch->scale[b], scale);
        if (minima)
            vf_store(scratch->min[b], min);
    }
}

/* What to subtract from the codes of block `block`: offset + zero point, per output. */
INLINE vi zero_at(const affine_weight *w, const uint8_t *panel, uint32_t block)
{
    vi zero = vi_set32(w->offset);
    if (w->zero_type == TN_ZERO_POINT)
        zero = vi_add32(zero, vi_load_u8(panel + w->min_at + (uint64_t)(block / w->group_blocks) * LANES));
    return zero;
}

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

/* acc joins the integer sum of block `b` of the chunk. at: index of the row's block in x. */
INLINE vf block_join(const chunk_args *a, uint32_t b, uint64_t at, const bool minima, vi sum, vf acc)
{
    vf product = vf_mul(vf_from_vi(sum), vf_set(a->x->scale[at]));
    acc = vf_fma(product, vf_load(a->scratch->scale[b]), acc);
    return minima ? vf_fma(vf_set(a->x->sum[at]), vf_load(a->scratch->min[b]), acc) : acc;
}

/* ---- few rows: straight from the packed codes. bits, rows and block are constants after inlining. ---- */

#ifndef ISA_UNPACK_ALWAYS
INLINE void packed_chunk(const int bits, const int rows, const int block, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const quant_rows *x = a->x;
    const int halves = K_BLOCK / block, pairs = block / 2;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)(a->block0 / (unsigned)halves) * 64u * (unsigned)bits;
    const uint64_t ahead_step = w->panel_bytes / (w->k_pad / K_BLOCK);
    const uint8_t *ahead = a->panel + a->block0 / (unsigned)halves * ahead_step + PREFETCH_BYTES;
    const bool zeros = w->offset || w->zero_type == TN_ZERO_POINT, minima = w->zero_type == TN_ZERO_FLOAT;
    const int16_t *q = x->q + (uint64_t)a->row0 * x->k_pad + (uint64_t)a->block0 * (unsigned)block;
    uint64_t at = (uint64_t)a->row0 * x->blocks + a->block0;
    vf acc[PACKED_ROWS_MAX];

    for (int r = 0; r < rows; r++)
        acc[r] = tile_begin(a, r);
    for (uint32_t b = 0; b < a->blocks; codes += 64 * bits, ahead += ahead_step) {
        for (uint64_t line = 0; line < ahead_step; line += 64)
            isa_prefetch(ahead + line);
#pragma GCC unroll 2
        for (int half = 0; half < halves; half++, b++, at++, q += block) {
            vi sum[PACKED_ROWS_MAX];
            for (int r = 0; r < rows; r++)
                sum[r] = vi_zero();
            if (zeros) {
                vi zero = zero_at(w, a->panel, a->block0 + b);
                for (int r = 0; r < rows; r++)
                    sum[r] = vi_mul32(zero, vi_set32(-x->isum[at + (unsigned)r * x->blocks]));
            }
#pragma GCC unroll 16
            for (int i = 0; i < pairs; i++) {
                vi c = codes_at(bits, codes, half * pairs + i);
                for (int r = 0; r < rows; r++)
                    sum[r] = vi_dot(sum[r], c, pair_of(q + (unsigned)r * x->k_pad + 2 * i));
            }
            for (int r = 0; r < rows; r++)
                acc[r] = block_join(a, b, at + (unsigned)r * x->blocks, minima, sum[r], acc[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        vf_store(a->tile + (uint64_t)(unsigned)r * a->tile_stride, acc[r]);
}

#define PACKED(bits, rows, block)                                     \
    static void packed_##bits##_##rows##_##block(const chunk_args *a) \
    {                                                                 \
        packed_chunk(bits, rows, block, a);                           \
    }
#define PACKED_ROWS(bits, block) \
    PACKED(bits, 1, block) PACKED(bits, 2, block) PACKED(bits, 3, block) PACKED(bits, 4, block)
#define PACKED_BITS(block)                                                                                        \
    PACKED_ROWS(2, block)                                                                                         \
    PACKED_ROWS(3, block) PACKED_ROWS(4, block) PACKED_ROWS(5, block) PACKED_ROWS(6, block) PACKED_ROWS(7, block) \
        PACKED_ROWS(8, block)
PACKED_BITS(16)
PACKED_BITS(32)

#define PACKED_ENTRY(bits, block)                                                                                  \
    {                                                                                                              \
        packed_##bits##_1_##block, packed_##bits##_2_##block, packed_##bits##_3_##block, packed_##bits##_4_##block \
    }
#define PACKED_ENTRIES(block)                                                                           \
    {                                                                                                   \
        PACKED_ENTRY(2, block), PACKED_ENTRY(3, block), PACKED_ENTRY(4, block), PACKED_ENTRY(5, block), \
            PACKED_ENTRY(6, block), PACKED_ENTRY(7, block), PACKED_ENTRY(8, block)                      \
    }
static const chunk_kernel packed_kernels[2][7][PACKED_ROWS_MAX] = {PACKED_ENTRIES(16), PACKED_ENTRIES(32)};
#endif

/* ---- many rows: codes unpacked to int16, offset and zero point already subtracted ---- */

INLINE void unpack_codes(const int bits, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const uint32_t halves = K_BLOCK / w->block, first = a->block0 / halves, count = a->blocks / halves;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)first * 64u * (unsigned)bits;
    const bool zeros = w->offset || w->zero_type == TN_ZERO_POINT;
    int16_t(*out)[32] = a->scratch->codes;

    for (uint32_t b = 0; b < count; b++, codes += 64 * bits, out += K_BLOCK / 2) {
        for (int line = 0; line < bits; line++)
            isa_prefetch(codes + PREFETCH_BYTES + line * 64);
        vi zero[2] = {vi_zero(), vi_zero()};
        for (uint32_t half = 0; zeros && half < 2; half++) {
            vi wide = zero_at(w, a->panel, a->block0 + b * halves + half * (halves - 1));
            zero[half] = vi_or(wide, vi_left32(wide, 16));
        }
#pragma GCC unroll 16
        for (int i = 0; i < K_BLOCK / 2; i++) {
            vi c = codes_at(bits, codes, i);
            vi_store(out[i], zeros ? vi_sub16(c, zero[i / 8]) : c);
        }
    }
}

static void unpack_chunk(const chunk_args *a)
{
    switch (a->w->bits) {
    case 2:
        unpack_codes(2, a);
        break;
    case 3:
        unpack_codes(3, a);
        break;
    case 4:
        unpack_codes(4, a);
        break;
    case 5:
        unpack_codes(5, a);
        break;
    case 6:
        unpack_codes(6, a);
        break;
    case 7:
        unpack_codes(7, a);
        break;
    default:
        unpack_codes(8, a);
        break;
    }
}

INLINE void unpacked_chunk(const int rows, const int block, const bool minima, const chunk_args *a)
{
    const quant_rows *x = a->x;
    const int16_t *q = x->q + (uint64_t)a->row0 * x->k_pad + (uint64_t)a->block0 * (unsigned)block;
    const int16_t(*codes)[32] = (const int16_t(*)[32])a->scratch->codes;
    uint64_t at = (uint64_t)a->row0 * x->blocks + a->block0;
    vf acc[ISA_ROWS_MAX];

    for (int r = 0; r < rows; r++)
        acc[r] = tile_begin(a, r);
    for (uint32_t b = 0; b < a->blocks; b++, at++, q += block, codes += block / 2) {
        vi sum[ISA_ROWS_MAX];
        for (int r = 0; r < rows; r++)
            sum[r] = vi_zero();
#pragma GCC unroll 2
        for (int i = 0; i < block / 2; i++) {
            vi c = vi_load(codes[i]);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++)
                sum[r] = vi_pin(vi_dot(sum[r], c, pair_of(q + (unsigned)r * x->k_pad + 2 * i)));
        }
        for (int r = 0; r < rows; r++)
            acc[r] = block_join(a, b, at + (unsigned)r * x->blocks, minima, sum[r], acc[r]);
    }
    for (int r = 0; r < rows; r++)
        vf_store(a->tile + (uint64_t)(unsigned)r * a->tile_stride, acc[r]);
}

#define UNPACKED(rows)                                  \
    static void unpacked_##rows(const chunk_args *a)    \
    {                                                   \
        bool minima = a->w->zero_type == TN_ZERO_FLOAT; \
        if (a->w->block == 32 && minima)                \
            unpacked_chunk(rows, 32, true, a);          \
        else if (a->w->block == 32)                     \
            unpacked_chunk(rows, 32, false, a);         \
        else                                            \
            unpacked_chunk(rows, 16, minima, a);        \
    }
UNPACKED(1)
UNPACKED(2)
#if ISA_ROWS_MAX >= 6
UNPACKED(3)
UNPACKED(4)
UNPACKED(5)
UNPACKED(6)
#endif
#if ISA_ROWS_MAX >= 12
UNPACKED(7)
UNPACKED(8)
UNPACKED(9)
UNPACKED(10)
UNPACKED(11)
UNPACKED(12)
#endif
static const chunk_kernel unpacked_kernels[ISA_ROWS_MAX] = {
    unpacked_1, unpacked_2,
#if ISA_ROWS_MAX >= 6
    unpacked_3, unpacked_4, unpacked_5, unpacked_6,
#endif
#if ISA_ROWS_MAX >= 12
    unpacked_7, unpacked_8, unpacked_9, unpacked_10, unpacked_11, unpacked_12,
#endif
};

/* Calls the kernel for row groups of nearly equal size. */
static void rows_in_groups(chunk_args a, uint32_t rows, uint32_t rows_max, const chunk_kernel *kernel)
{
    uint32_t groups = (rows + rows_max - 1) / rows_max;
    for (uint32_t g = 0; g < groups; g++) {
        uint32_t count = rows / groups + (g < rows % groups);
        kernel[count - 1](&a);
        a.row0 += count;
        a.tile += (uint64_t)count * a.tile_stride;
    }
}

void FAMILY(linear_affine)(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                           uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint32_t blocks = w->k_pad / w->block, halves = K_BLOCK / w->block;
    const uint32_t chunks = (w->k_pad + K_CHUNK_MAX - 1) / K_CHUNK_MAX;
    const uint32_t step = ((w->k_pad / K_BLOCK + chunks - 1) / chunks) * halves;

    for (uint32_t p = 0; p < panels; p++) {
        chunk_args a = {.w = w,
                        .panel = w->data + (uint64_t)(panel0 + p) * w->panel_bytes,
                        .x = x,
                        .row0 = row0,
                        .tile = tile + p * LANES,
                        .tile_stride = tile_stride,
                        .scratch = scratch};
        for (a.block0 = 0; a.block0 < blocks; a.block0 += step) {
            a.blocks = blocks - a.block0 < step ? blocks - a.block0 : step;
            expand_scales(w, a.panel, a.block0, a.blocks, scratch);
#ifndef ISA_UNPACK_ALWAYS
            if (rows <= PACKED_ROWS_MAX) {
                packed_kernels[w->block == 32][w->bits - 2][rows - 1](&a);
                continue;
            }
#endif
            unpack_chunk(&a);
            rows_in_groups(a, rows, ISA_ROWS_MAX, unpacked_kernels);
        }
    }
}
