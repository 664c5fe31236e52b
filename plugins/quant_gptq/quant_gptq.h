/* plugins/quant_gptq/quant_gptq.h: GPTQ's layout of a matrix in 2, 3, 4 or 8 bits.
 *
 * N outputs, K inputs, groups of g inputs, b bits:
 *   qweight [K b / 32, N] i32   column n is the bit stream of output n's codes
 *   qzeros [G, N b / 32] i32    row of a group: the bit stream of its outputs' zero points, minus one in v1
 *   scales [G, N] float         g_idx [K] i32: the group of each input; in order unless desc_act
 */
#ifndef QUANT_GPTQ_H
#define QUANT_GPTQ_H

#include "quant/packed_model.h"

/* packed_weight.part */
enum { GPTQ_QWEIGHT, GPTQ_QZEROS, GPTQ_SCALES, GPTQ_G_IDX };

/* How zero points are stored, packed_weight.variant. */
enum {
    GPTQ_ZEROS_AS_THEY_ARE, /* v2 */
    GPTQ_ZEROS_MINUS_ONE    /* v1: one was taken from every field */
};

typedef struct gptq_settings {
    int64_t bits, group_size; /* -1: one group per row */
    bool symmetric, desc_act;
    uint32_t zeros;
} gptq_settings;

tn_status gptq_read_settings(const quant_config *config, void *ret_settings, tn_error *err);
tn_status gptq_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                    tn_error *err);
tn_status gptq_transcode(const packed_weight *weight, const weight_block *block, tn_error *err); /* transcode.c */
void gptq_decode(const packed_weight *weight, uint64_t row, float *ret_row);                     /* reference.c */

#endif
