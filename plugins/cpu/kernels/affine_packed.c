/* plugins/cpu/kernels/affine_packed.c: few rows times packed codes, straight from memory: the decode path.
 *
 * Bound by memory when all is well: about 150 instructions per 16 x 32 codes of 4 bits and row, 320 bytes with scales.
 * The common encodings have kernels of their own, in which what a block's end does is fixed; the rest share one per
 * width for a single row, and take the unpacked path otherwise.
 */
#include "affine.h"

#ifdef ISA_UNPACK_ALWAYS

const chunk_kernel *FAMILY(affine_packed)(const affine_weight *w, uint32_t rows, bool *ret_direct)
{
    (void)w, (void)rows, (void)ret_direct;
    return NULL;
}

#else

/* How codes become weights. ZERO_MIN: scale * code + min. ZERO_OFFSET: scale * (code - offset). ZERO_ANY: as w says. */
enum { ZERO_MIN, ZERO_OFFSET, ZERO_ANY };

/* Where a block's scale is: expanded in scratch, or in place, one per block. */
enum { SCALES_EXPANDED, SCALES_F16, SCALES_E8M0 };

INLINE vf scale_of(const chunk_args *a, uint32_t b, const int scales)
{
    const uint8_t *plane = a->panel + a->w->scale_at;
    const uint64_t index = (uint64_t)(a->block0 + b) * LANES;

    if (scales == SCALES_E8M0)
        return exponents_halved(plane + index);
    if (scales == SCALES_F16)
        return vf_load_f16((const uint16_t *)(const void *)plane + index);
    return vf_load(a->scratch->scale[b]);
}

INLINE vf min_of(const chunk_args *a, uint32_t b, const int scales)
{
    const uint16_t *half = (const uint16_t *)(const void *)(a->panel + a->w->min_at);
    return scales == SCALES_F16 ? vf_load_f16(half + (uint64_t)(a->block0 + b) * LANES) : vf_load(a->scratch->min[b]);
}

/* bits, looked_up, rows, block, zero and scales are constants after inlining. */
INLINE void packed_chunk(const int bits, const bool looked_up, const int rows, const int block, const int zero,
                         const int scales, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const quant_rows *x = a->x;
    const int halves = K_BLOCK / block, pairs = block / 2;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)(a->block0 / (unsigned)halves) * 64u * (unsigned)bits;
    const uint64_t ahead_step = w->panel_bytes / (w->k_pad / K_BLOCK);
    const uint8_t *ahead = a->panel + a->block0 / (unsigned)halves * ahead_step + PREFETCH_BYTES;
    const bool subtract = zero == ZERO_OFFSET || (zero == ZERO_ANY && (w->offset || w->zero_type == TN_ZERO_POINT));
    const bool minima = zero == ZERO_MIN || (zero == ZERO_ANY && w->zero_type == TN_ZERO_FLOAT);
    const vi table = table_of(w);
    const int16_t *q = x->q + (uint64_t)a->row0 * x->k_pad + (uint64_t)a->block0 * (unsigned)block;
    uint64_t at = (uint64_t)a->row0 * x->blocks + a->block0;
    vf acc[PACKED_ROWS_MAX];

    for (int r = 0; r < rows; r++)
        acc[r] = tile_begin(a, r);
    for (uint32_t b = 0; b < a->blocks; codes += 64 * bits, ahead += ahead_step) {
#pragma GCC unroll 9
        for (int line = 0; line < bits + 1; line++)
            isa_prefetch(ahead + line * 64);
#pragma GCC unroll 2
        for (int half = 0; half < halves; half++, b++, at++, q += block) {
            vi sum[PACKED_ROWS_MAX];
            for (int r = 0; r < rows; r++)
                sum[r] = vi_zero();
            if (subtract) {
                for (int r = 0; r < rows; r++) {
                    int32_t isum = x->isum[at + (unsigned)r * x->blocks];
                    sum[r] = zero == ZERO_OFFSET ? vi_set32(-w->offset * isum)
                                                 : vi_mul32(zero_at(w, a->panel, a->block0 + b), vi_set32(-isum));
                }
            }
#pragma GCC unroll 16
            for (int i = 0; i < pairs; i++) {
                vi c = values_at(bits, looked_up, table, codes, half * pairs + i);
                for (int r = 0; r < rows; r++)
                    sum[r] = vi_dot(sum[r], c, pair_of(q + (unsigned)r * x->k_pad + 2 * i));
            }
            vf scale = scale_of(a, b, scales);
            for (int r = 0; r < rows; r++)
                acc[r] =
                    vf_fma(vf_mul(vf_from_vi(sum[r]), vf_set(x->scale[at + (unsigned)r * x->blocks])), scale, acc[r]);
            if (minima) {
                vf min = min_of(a, b, scales);
                for (int r = 0; r < rows; r++)
                    acc[r] = vf_fma(vf_set(x->sum[at + (unsigned)r * x->blocks]), min, acc[r]);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        vf_store(a->tile + (uint64_t)(unsigned)r * a->tile_stride, acc[r]);
}

#define PACKED(name, rows, bits, looked_up, block, zero, scales)     \
    static void name##_##rows(const chunk_args *a)                   \
    {                                                                \
        packed_chunk(bits, looked_up, rows, block, zero, scales, a); \
    }
#define PACKED_ROWS(name, bits, looked_up, block, zero, scales) \
    PACKED(name, 1, bits, looked_up, block, zero, scales)       \
    PACKED(name, 2, bits, looked_up, block, zero, scales)       \
    PACKED(name, 3, bits, looked_up, block, zero, scales)       \
    PACKED(name, 4, bits, looked_up, block, zero, scales)       \
    static const chunk_kernel name[PACKED_ROWS_MAX] = {name##_1, name##_2, name##_3, name##_4};

PACKED_ROWS(q4_min_direct, 4, false, 32, ZERO_MIN, SCALES_F16)         /* Q4_1 */
PACKED_ROWS(q4_offset_direct, 4, false, 32, ZERO_OFFSET, SCALES_F16)   /* Q4_0 */
PACKED_ROWS(q5_min_direct, 5, false, 32, ZERO_MIN, SCALES_F16)         /* Q5_1 */
PACKED_ROWS(q5_offset_direct, 5, false, 32, ZERO_OFFSET, SCALES_F16)   /* Q5_0 */
PACKED_ROWS(q8_offset_direct, 8, false, 32, ZERO_OFFSET, SCALES_F16)   /* Q8_0 */
PACKED_ROWS(q4_min, 4, false, 32, ZERO_MIN, SCALES_EXPANDED)           /* Q4_K */
PACKED_ROWS(q5_min, 5, false, 32, ZERO_MIN, SCALES_EXPANDED)           /* Q5_K */
PACKED_ROWS(q6_offset, 6, false, 16, ZERO_OFFSET, SCALES_EXPANDED)     /* Q6_K */
PACKED_ROWS(q4_any, 4, false, 32, ZERO_ANY, SCALES_EXPANDED)           /* AWQ, GPTQ */
PACKED_ROWS(q8_any, 8, false, 32, ZERO_ANY, SCALES_EXPANDED)           /* W8A8 */
PACKED_ROWS(table_f16, 4, true, 32, ZERO_OFFSET, SCALES_F16)           /* IQ4_NL */
PACKED_ROWS(table_expanded, 4, true, 32, ZERO_OFFSET, SCALES_EXPANDED) /* IQ4_XS */
PACKED_ROWS(table_e8m0, 4, true, 32, ZERO_OFFSET, SCALES_E8M0)         /* MXFP4 */
PACKED(any2_16, 1, 2, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any3_16, 1, 3, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any4_16, 1, 4, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any5_16, 1, 5, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any6_16, 1, 6, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any7_16, 1, 7, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any8_16, 1, 8, false, 16, ZERO_ANY, SCALES_EXPANDED)
PACKED(any2_32, 1, 2, false, 32, ZERO_ANY, SCALES_EXPANDED)
PACKED(any3_32, 1, 3, false, 32, ZERO_ANY, SCALES_EXPANDED)
PACKED(any5_32, 1, 5, false, 32, ZERO_ANY, SCALES_EXPANDED)
PACKED(any6_32, 1, 6, false, 32, ZERO_ANY, SCALES_EXPANDED)
PACKED(any7_32, 1, 7, false, 32, ZERO_ANY, SCALES_EXPANDED)

static const chunk_kernel any_kernels[2][7] = {
    {any2_16_1, any3_16_1, any4_16_1, any5_16_1, any6_16_1, any7_16_1, any8_16_1},
    {any2_32_1, any3_32_1, q4_any_1, any5_32_1, any6_32_1, any7_32_1, q8_any_1}};

/* The kernels of a common encoding, NULL for others. */
static const chunk_kernel *common_kernels(const affine_weight *w, bool *ret_direct)
{
    const bool min = w->zero_type == TN_ZERO_FLOAT && w->offset == 0;
    const bool offset = w->zero_type == TN_ZERO_NONE && w->offset != 0;
    const bool direct = scales_in_place(w);
    const bool e8m0 = w->scale_type == TN_E8M0 && w->group_blocks == 1 && !w->group2_blocks;

    *ret_direct = w->looked_up && w->block == 32 && (direct || e8m0);
    if (w->looked_up)
        return w->block == 16 ? NULL : direct ? table_f16 : e8m0 ? table_e8m0 : table_expanded;
    if (w->block == 16)
        return w->bits == 6 && offset ? q6_offset : NULL;
    if (direct && (min || offset) && (w->bits == 4 || w->bits == 5 || (w->bits == 8 && offset))) {
        *ret_direct = true;
        return w->bits == 8   ? q8_offset_direct
               : w->bits == 4 ? (min ? q4_min_direct : q4_offset_direct)
                              : (min ? q5_min_direct : q5_offset_direct);
    }
    if (w->bits == 4)
        return min ? q4_min : q4_any;
    if (w->bits == 8)
        return q8_any;
    return w->bits == 5 && min ? q5_min : NULL;
}

const chunk_kernel *FAMILY(affine_packed)(const affine_weight *w, uint32_t rows, bool *ret_direct)
{
    const chunk_kernel *common = common_kernels(w, ret_direct);

    if (rows > PACKED_GROUPS_MAX * PACKED_ROWS_MAX || (!common && (rows > 1 || w->looked_up)))
        return NULL;
    return common ? common : &any_kernels[w->block == 32][w->bits - 2];
}

#endif
