/* plugins/quant_awq/quant_awq.h: AutoAWQ's two layouts of a 4-bit matrix. */
#ifndef QUANT_AWQ_H
#define QUANT_AWQ_H

#include "quant/packed_model.h"

enum { AWQ_BITS = 4, AWQ_PER_WORD = 8 };

/* Layouts, packed_weight.variant. N outputs, K inputs, groups of g inputs. */
enum {
    AWQ_GEMM, /* qweight [K, N/8], qzeros [K/g, N/8], scales [K/g, N]: nibble i of a word is output 8c + awq_order[i] */
    AWQ_GEMV  /* qweight [N, K/8], qzeros [N, zw], scales [N, 8 zw]: in order; rows padded to zw words of zeros */
};

/* packed_weight.part */
enum { AWQ_QWEIGHT, AWQ_QZEROS, AWQ_SCALES };

typedef struct awq_settings {
    uint32_t layout;
    int64_t group_size; /* -1: one group per row */
} awq_settings;

tn_status awq_read_settings(const quant_config *config, void *ret_settings, tn_error *err);
tn_status awq_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                   tn_error *err);
tn_status awq_transcode(const packed_weight *weight, const weight_block *block, tn_error *err); /* transcode.c */
void awq_decode(const packed_weight *weight, uint64_t row, float *ret_row);                     /* reference.c */

#endif
