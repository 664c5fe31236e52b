/* plugins/quant_compressed/transcode.c: rows are stored as canonical planes want them, or nearly so: they are copied.
 *
 * Signed bytes change their top bit, zero points packed down the columns are picked out, a scale that the whole tensor
 * shares is repeated for each row, one of a 2-D block where the encoding asked for wants it.
 */
#include "quant_compressed.h"

#include "quant/bit_stream.h"
#include "quant/group_order.h"

#include <stdlib.h>

static uint64_t code_row_bytes(const weight_block *block)
{
    return (block->n_k * block->enc->bits + 7) / 8;
}

/* Bytes from one stored row of codes to the next. */
static uint64_t stored_row_bytes(const packed_weight *weight)
{
    if ((weight->variant & KIND_MASK) == KIND_PACKED)
        return (weight->columns * weight->enc.bits + 31) / 32 * sizeof(uint32_t);
    return weight->columns * weight->enc.bits / 8;
}

static void copy_codes(const packed_weight *weight, const weight_block *block)
{
    uint64_t bytes = code_row_bytes(block), stored = stored_row_bytes(weight);
    const uint8_t *from =
        (const uint8_t *)weight->part[PART_CODES].data + block->row0 * stored + block->k0 * weight->enc.bits / 8;
    uint8_t *to = block->plane[TN_PLANE_CODES];

    for (uint64_t i = 0; i < block->n_rows; i++, from += stored, to += bytes)
        memcpy(to, from, bytes);
    if ((weight->variant & KIND_MASK) == KIND_INT8) /* two's complement to biased */
        for (uint8_t *at = block->plane[TN_PLANE_CODES]; at < to; at++)
            *at ^= 0x80;
}

static tn_status permuted_codes(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    uint64_t stored = stored_row_bytes(weight);
    const uint8_t *from = (const uint8_t *)weight->part[PART_CODES].data + block->row0 * stored;
    uint32_t *perm = block->plane[TN_PLANE_PERM];
    uint8_t *codes = malloc(weight->columns);

    if (!codes)
        return tn_fail(err, TN_E_MEMORY, "a row of '%s'", weight->name);
    tn_status status = group_order_make(weight, &weight->part[PART_G_IDX], perm, err);
    for (uint64_t i = 0; i < block->n_rows && status == TN_OK; i++, from += stored) {
        for (uint64_t k = 0; k < weight->columns; k++)
            codes[k] = (uint8_t)stream_code(from, 1, perm[k], block->enc->bits);
        stream_pack(codes, weight->columns, block->enc->bits,
                    (uint8_t *)block->plane[TN_PLANE_CODES] + i * code_row_bytes(block));
    }
    free(codes);
    return status;
}

/* ---- scales and zero points ---- */

/* The part of the grid of scales that a block covers. */
typedef struct span {
    uint64_t row0, rows, group0, groups, stored_groups; /* stored_groups: of a whole row of scales */
} span;

static span span_of(const packed_weight *weight, const weight_block *block)
{
    uint32_t group_n = block->enc->group_n ? block->enc->group_n : 1;
    return (span){.row0 = block->row0 / group_n,
                  .rows = tn_group_count(block->n_rows, group_n),
                  .group0 = block->k0 / block->enc->group_k,
                  .groups = tn_group_count(block->n_k, block->enc->group_k),
                  .stored_groups = tn_group_count(weight->columns, block->enc->group_k)};
}

static void copy_scales(const packed_weight *weight, const weight_block *block, const span *span)
{
    uint64_t width = tn_scalar_bytes(block->enc->scale_type);
    uint64_t repeated = block->enc->group_n == weight->enc.group_n ? 1 : weight->enc.group_n;
    const uint8_t *from = weight->part[PART_SCALE].data;
    uint8_t *to = block->plane[TN_PLANE_SCALE];

    for (uint64_t i = 0; i < span->rows; i++, to += span->groups * width) {
        uint64_t at = (span->row0 + i) / repeated * span->stored_groups + span->group0;
        memcpy(to, weight->variant & ONE_SCALE ? from : from + at * width, span->groups * width);
    }
}

static void copy_zeros(const packed_weight *weight, const weight_block *block, const span *span)
{
    const uint8_t *from = weight->part[PART_ZERO].data;
    uint8_t *to = block->plane[TN_PLANE_MIN], offset = (uint8_t)(1u << (block->enc->bits - 1));

    for (uint64_t i = 0; i < span->rows; i++) {
        for (uint64_t g = span->group0; g < span->group0 + span->groups; g++) {
            uint64_t row = span->row0 + i;
            if (weight->variant & ONE_SCALE)
                *to++ = (uint8_t)(from[0] + offset);
            else if ((weight->variant & KIND_MASK) == KIND_PACKED)
                *to++ = (uint8_t)stream_code(from + g * sizeof(uint32_t), span->stored_groups, row, block->enc->bits);
            else
                *to++ = (uint8_t)(from[row * span->stored_groups + g] + offset);
        }
    }
}

static void copy_input_scale(const packed_weight *weight, const weight_block *block)
{
    const tn_tensor_src *scale = &weight->part[PART_INPUT_SCALE];
    uint32_t type = scale->dtype == TN_DTYPE_F32 ? TN_F32 : scale->dtype == TN_DTYPE_F16 ? TN_F16 : TN_BF16;
    floats_convert(TN_F32, block->plane[TN_PLANE_INPUT_SCALE], type, scale->data, 1);
}

tn_status compressed_transcode(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    const span span = span_of(weight, block);

    copy_scales(weight, block, &span);
    if (block->enc->zero_type == TN_ZERO_POINT)
        copy_zeros(weight, block, &span);
    if (block->enc->act_scheme == TN_INPUT_STATIC)
        copy_input_scale(weight, block);
    if (block->enc->flags & TN_ENC_PERM_K)
        return permuted_codes(weight, block, err);
    copy_codes(weight, block);
    return TN_OK;
}
