/* plugins/cpu/kernels/affine_unpacked.c: many rows times a panel unpacked once to int16 in L1: prefill and large
 * batches.
 *
 * ISA_ROWS_MAX rows x 16 outputs stay in registers over a block of K; a multiply-add takes two k.
 */
#include "affine.h"

/* acc joins the integer sum of block `b` of the chunk. at: index of the row's block in x. */
INLINE vf block_join(const chunk_args *a, uint32_t b, uint64_t at, const bool minima, vi sum, vf acc)
{
    vf product = vf_mul(vf_from_vi(sum), vf_set(a->x->scale[at]));
    acc = vf_fma(product, vf_load(a->scratch->scale[b]), acc);
    return minima ? vf_fma(vf_set(a->x->sum[at]), vf_load(a->scratch->min[b]), acc) : acc;
}

INLINE void unpack_codes(const int bits, const bool looked_up, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const uint32_t halves = K_BLOCK / w->block, first = a->block0 / halves, count = a->blocks / halves;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)first * 64u * (unsigned)bits;
    const bool zeros = w->offset || w->zero_type == TN_ZERO_POINT;
    const vi table = table_of(w);
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
            vi c = values_at(bits, looked_up, table, codes, i);
            vi_store(out[i], zeros ? vi_sub16(c, zero[i / 8]) : c);
        }
    }
}

static void unpack_chunk(const chunk_args *a)
{
    WITH_CODES_OF(a->w, unpack_codes, a);
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
                sum[r] = vi_dot(sum[r], c, pair_of(q + (unsigned)r * x->k_pad + 2 * i));
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

void FAMILY(affine_unpacked)(const chunk_args *args, uint32_t rows)
{
    const uint32_t groups = (rows + ISA_ROWS_MAX - 1) / ISA_ROWS_MAX;
    chunk_args a = *args;

    unpack_chunk(&a);
    for (uint32_t g = 0; g < groups; g++) { /* of nearly equal size */
        uint32_t count = rows / groups + (g < rows % groups);
        unpacked_kernels[count - 1](&a);
        a.row0 += count;
        a.tile += (uint64_t)count * a.tile_stride;
    }
}
