/* plugins/cpu/kernels/family.h: names of one family's kernels, which family.c gathers into its table. */
#ifndef CPU_FAMILY_H
#define CPU_FAMILY_H

#include "isa.h"
#include "kernels.h"

void FAMILY(linear_affine)(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                           uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
void FAMILY(linear_float)(const float_weight *w, uint32_t panel0, uint32_t panels, const float *x, uint32_t x_stride,
                          uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
void FAMILY(quantize_part)(const float *x, uint32_t first, uint32_t n, const quant_rows *ret, uint32_t row);
void FAMILY(rms_norm)(const float *x, const float *gain, uint32_t n, float eps, float gain_offset, float *out);
void FAMILY(add)(const float *a, const float *b, uint32_t n, float *out);
void FAMILY(gated)(const float *gate, const float *up, uint32_t n, uint32_t activation, float *out);
void FAMILY(scale_cap)(float *x, uint32_t n, float scale, float cap);
void FAMILY(rope_head)(float *x, const float *cos, const float *sin, uint32_t rotated, uint32_t style);
int32_t FAMILY(argmax)(const float *x, uint32_t n);
void FAMILY(attention_span)(const attention_item *item, uint32_t span, softmax_state *state, float *out,
                            kernel_scratch *scratch);
void FAMILY(attention_merge)(softmax_state *state, float *out, const softmax_state *part, const float *part_out,
                             uint32_t v_pad);
void FAMILY(attention_finish)(const softmax_state *state, const float *state_out, const float *sink, uint32_t v_dim,
                              float *out);
void FAMILY(kv_write)(const float *k, const float *v, uint32_t head_dim, uint32_t v_dim, uint32_t v_pad, uint32_t store,
                      uint32_t token, uint8_t *k_page, uint8_t *v_page);

/* Members that have nothing to do with matrix products, for the tables of this family and of those built on it. */
#define FAMILY_VECTOR_KERNELS                                                                                 \
    .rms_norm = FAMILY(rms_norm), .add = FAMILY(add), .gated = FAMILY(gated), .scale_cap = FAMILY(scale_cap), \
    .rope_head = FAMILY(rope_head), .attention_span = FAMILY(attention_span),                                 \
    .attention_merge = FAMILY(attention_merge), .attention_finish = FAMILY(attention_finish),                 \
    .kv_write = FAMILY(kv_write), .argmax = FAMILY(argmax)

/* What the products of e4m3 weights from k on, of one run, are scaled by, per output. */
INLINE const float *group_scale(const float_weight *w, const uint8_t *panel, uint32_t k)
{
    return (const float *)(const void *)(panel + w->scale_at) + (uint64_t)(k / w->group) * LANES;
}

/* Shared within a family: tile[r][0..16) += x[r][0..k) * panel, one chain of fused multiply-adds per element. */
void FAMILY(product_continue)(const float *x, uint32_t x_stride, uint32_t rows, const float (*panel)[LANES], uint32_t k,
                              float *tile, uint32_t tile_stride);

#endif
