/* sdk/base/weight_block.h: the block of a weight that a quantization plugin is asked for (tn_quant_table.transcode):
 * argument checks, and the float encodings, which every such plugin can produce.
 */
#ifndef BASE_WEIGHT_BLOCK_H
#define BASE_WEIGHT_BLOCK_H

#include "tenon/encoding.h"
#include "tenon/source.h"

#include <stdbool.h>

typedef struct weight_block {
    const tn_enc *enc;
    uint64_t rows, columns; /* of the whole weight [N, K] */
    uint64_t row0, n_rows, k0, n_k;
    void *const *plane; /* TN_PLANE_LIMIT destinations */
    const uint64_t *plane_bytes;
} weight_block;

/* TN_F32, TN_F16 or TN_BF16; 0 for other tensors. */
uint32_t tensor_float_type(const tn_tensor_src *tensor);
/* A tensor as a matrix [N, K]: a vector is [1, K], leading dimensions (experts) stack up as rows. */
void weight_shape(const tn_tensor_src *tensor, uint64_t *ret_n, uint64_t *ret_k);

/* The float encoding of type TN_F32, TN_F16 or TN_BF16. */
tn_enc enc_float(uint32_t type);
/* True if both describe the same planes; struct_size is not compared. */
bool enc_equal(const tn_enc *left, const tn_enc *right);

/* TN_E_ARGUMENT unless the block is not empty, lies within the weight, has its K range on multiples of `unit` and of
 * enc's groups or at the row's end, its rows on multiples of group_n or at the last one, and every plane has exactly
 * the bytes that enc demands. */
tn_status weight_block_check(const weight_block *block, uint64_t unit, tn_error *err);

/* Converts `count` little-endian floats at any alignment from one of the three types to another; equal types are
 * copied. */
void floats_convert(uint32_t dst_type, void *dst, uint32_t src_type, const void *src, uint64_t count);
/* Fills the code plane of a checked FLOAT block from the row-major matrix [rows, columns] of src_type. */
void weight_block_from_floats(const weight_block *block, uint32_t src_type, const void *matrix);

#endif
