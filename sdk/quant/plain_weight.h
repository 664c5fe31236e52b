/* sdk/quant/plain_weight.h: weights stored as they are, in F32, F16 or BF16: all of an unquantized checkpoint, and the
 * norms, embeddings and excepted modules of a quantized one.
 */
#ifndef QUANT_PLAIN_WEIGHT_H
#define QUANT_PLAIN_WEIGHT_H

#include "base/weight_block.h"
#include "tenon/source.h"

typedef struct plain_weight {
    const void *data;
    uint32_t type; /* TN_F32, TN_F16, TN_BF16 */
    uint64_t rows, columns;
} plain_weight;

enum { PLAIN_ENCODINGS_MAX = 3 };

/* TN_E_NOT_FOUND without such a tensor, TN_E_UNSUPPORTED if it has another type. [any] */
tn_status plain_weight_find(const tn_source *source, const char *name, plain_weight *ret_weight, tn_error *err);
/* The encodings it can be had in: lossless first, bf16 last; returns their number. [any] */
uint32_t plain_weight_encodings(const plain_weight *weight, tn_enc ret_list[PLAIN_ENCODINGS_MAX]);
/* tn_quant_table.transcode and .reference. [any] */
tn_status plain_weight_transcode(const plain_weight *weight, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err);
tn_status plain_weight_reference(const plain_weight *weight, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err);

#endif
