/* plugins/cpu/kernels/linear_affine.c: matrix products of int16 rows with weights of integers.
 *
 * One multiply-add instruction takes two k for 8 or 16 outputs. Within a block of 16 or 32 k the sum is an exact
 * integer (32 * 255 * 32767 < 2^31); each block then joins the float32 sum with two fused operations, in ascending k:
 *     acc = fma(float(isum) * x_scale, w_scale, acc);  acc = fma(x_sum, w_min, acc)
 * Few rows stream the packed codes straight from memory. Many rows unpack a panel once into L1 as int16 and reuse it.
 */
#include "affine.h"

INLINE vf load_scalars(const uint8_t *p, const uint32_t type, uint32_t index)
{
    switch (type) {
    case TN_F16:
        return vf_load_f16((const uint16_t *)(const void *)p + (uint64_t)index * LANES);
    case TN_BF16:
        return vf_load_bf16((const uint16_t *)(const void *)p + (uint64_t)index * LANES);
    case TN_U8:
        return vf_from_vi(vi_load_u8(p + (uint64_t)index * LANES));
    case TN_E8M0:
        return exponents_halved(p + (uint64_t)index * LANES);
    case TN_S8:
        return vf_from_vi(vi_load_s8(p + (uint64_t)index * LANES));
    default:
        return vf_load((const float *)(const void *)p + (uint64_t)index * LANES);
    }
}

/* Scales, and minima if any, of the chunk's blocks as float32 per block. type, type2: of the scales, constants after
 * inlining where it matters; type2 = 0: one level. */
INLINE void expand(const uint32_t type, const uint32_t type2, const bool minima, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const uint32_t end = a->block0 + a->blocks, all = w->k_pad / w->block;
    const uint8_t *factors = a->panel + w->scale2_at;
    float(*scale_out)[LANES] = a->scratch->scale, (*min_out)[LANES] = a->scratch->min;

    for (uint32_t b = a->block0; b < end;) {
        uint32_t group = b / w->group_blocks, group_end = (group + 1) * w->group_blocks;
        vf scale = load_scalars(a->panel + w->scale_at, type, group), min = vf_zero();
        if (minima)
            min = load_scalars(a->panel + w->min_at, type, group);
        if (type2) {
            uint32_t group2 = b / w->group2_blocks, groups2 = (all + w->group2_blocks - 1) / w->group2_blocks;
            scale = vf_mul(scale, load_scalars(factors, type2, group2));
            if (minima)
                min = vf_mul(min, load_scalars(factors, type2, groups2 + group2));
        }
        for (group_end = group_end < end ? group_end : end; b < group_end; b++) {
            vf_store(*scale_out++, scale);
            if (minima)
                vf_store(*min_out++, min);
        }
    }
}

void FAMILY(affine_expand)(const chunk_args *a)
{
    const affine_weight *w = a->w;
    const bool minima = w->zero_type == TN_ZERO_FLOAT;
    const uint32_t type2 = w->group2_blocks ? w->scale2_type : 0;

    if (w->scale_type == TN_F16 && !type2 && minima)
        expand(TN_F16, 0, true, a);
    else if (w->scale_type == TN_F16 && !type2)
        expand(TN_F16, 0, false, a);
    else if (w->scale_type == TN_E8M0)
        expand(TN_E8M0, 0, false, a);
    else if (w->scale_type == TN_U8 && type2 == TN_F16 && minima)
        expand(TN_U8, TN_F16, true, a);
    else if (w->scale_type == TN_S8 && type2 == TN_F16 && !minima)
        expand(TN_S8, TN_F16, false, a);
    else
        expand(w->scale_type, type2, minima, a);
}

/* Groups of up to PACKED_ROWS_MAX rows; all but the first find the codes in L1. */
static void packed_groups(chunk_args a, uint32_t rows, const chunk_kernel *kernels_of_rows)
{
    const uint32_t groups = (rows + PACKED_ROWS_MAX - 1) / PACKED_ROWS_MAX;

    for (uint32_t g = 0; g < groups; g++) { /* of nearly equal size */
        uint32_t count = rows / groups + (g < rows % groups);
        kernels_of_rows[count - 1](&a);
        a.row0 += count;
        a.tile += (uint64_t)count * a.tile_stride;
    }
}

void FAMILY(linear_affine)(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                           uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint32_t blocks = w->k_pad / w->block;
    bool direct = false;
    const chunk_kernel *packed = FAMILY(affine_packed)(w, rows, &direct);
    const uint32_t step = packed && direct ? blocks : affine_chunk_blocks(w);

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
            if (!packed || !direct)
                FAMILY(affine_expand)(&a);
            if (packed)
                packed_groups(a, rows, packed);
            else
                FAMILY(affine_unpacked)(&a, rows);
        }
    }
}
