/* plugins/quant_gptq/transcode.c: GPTQ words to canonical planes.
 *
 * A column of qweight is already the bit stream of an output's codes; only its words lie N apart. Words are moved a row
 * of qweight at a time, so that reads run along memory. With a permutation, codes are unpacked, picked and packed.
 */
#include "quant_gptq.h"

#include "quant/bit_stream.h"
#include "quant/group_order.h"

#include <stdlib.h>

static uint64_t code_row_bytes(const weight_block *block)
{
    return (block->n_k * block->enc->bits + 7) / 8;
}

/* Word `index` of the streams of the block's rows, counted from bit k0 * bits, into their code rows. */
static void move_word(const packed_weight *weight, const weight_block *block, uint64_t index)
{
    const void *words = weight->part[GPTQ_QWEIGHT].data;
    uint64_t bit = block->k0 * block->enc->bits + index * 32, row_bytes = code_row_bytes(block);
    uint64_t at = bit / 32 * weight->rows + block->row0, left = row_bytes - index * 4;
    uint32_t shift = (uint32_t)(bit % 32);
    bool split = shift && bit / 32 + 1 < (uint64_t)weight->part[GPTQ_QWEIGHT].dim[0];
    uint8_t *to = (uint8_t *)block->plane[TN_PLANE_CODES] + index * 4;

    for (uint64_t i = 0; i < block->n_rows; i++, to += row_bytes) {
        uint32_t word = word_at(words, at + i) >> shift;
        if (split)
            word |= word_at(words, at + i + weight->rows) << (32 - shift);
        if (left >= sizeof word)
            memcpy(to, &word, sizeof word);
        else
            memcpy(to, &word, left);
    }
}

static tn_status permuted_codes(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    const uint8_t *words = weight->part[GPTQ_QWEIGHT].data;
    uint32_t *perm = block->plane[TN_PLANE_PERM];
    uint8_t *codes = malloc(weight->columns);

    if (!codes)
        return tn_fail(err, TN_E_MEMORY, "a row of '%s'", weight->name);
    tn_status status = group_order_make(weight, &weight->part[GPTQ_G_IDX], perm, err);
    for (uint64_t i = 0; i < block->n_rows && status == TN_OK; i++) {
        const uint8_t *column = words + (block->row0 + i) * sizeof(uint32_t);
        for (uint64_t k = 0; k < weight->columns; k++)
            codes[k] = (uint8_t)stream_code(column, weight->rows, perm[k], block->enc->bits);
        stream_pack(codes, weight->columns, block->enc->bits,
                    (uint8_t *)block->plane[TN_PLANE_CODES] + i * code_row_bytes(block));
    }
    free(codes);
    return status;
}

/* The zero point of output `row`. v1 writers subtract from whole words, so that a zero of 0 borrows from its neighbour;
 * adding to the word gives back what was. Three bits do not fill words evenly and were written field by field. */
static uint8_t zero_point(const packed_weight *weight, const uint8_t *zeros, uint64_t row)
{
    uint32_t bits = weight->enc.bits, mask = (1u << bits) - 1;

    if (weight->variant == GPTQ_ZEROS_AS_THEY_ARE || bits == 3) {
        uint32_t stored = stream_code(zeros, 1, row, bits);
        return (uint8_t)((stored + (weight->variant == GPTQ_ZEROS_MINUS_ONE)) & mask);
    }
    uint32_t ones = UINT32_MAX / mask; /* one in every field */
    return (uint8_t)(((word_at(zeros, row * bits / 32) + ones) >> (row * bits % 32)) & mask);
}

static void groups_move(const packed_weight *weight, const weight_block *block)
{
    uint64_t group0 = block->k0 / block->enc->group_k, groups = tn_group_count(block->n_k, block->enc->group_k);
    uint64_t width = tn_scalar_bytes(block->enc->scale_type);
    uint64_t zeros_bytes = (uint64_t)weight->part[GPTQ_QZEROS].dim[1] * sizeof(uint32_t);
    uint8_t *to_scale = block->plane[TN_PLANE_SCALE], *to_zero = block->plane[TN_PLANE_MIN];

    for (uint64_t g = 0; g < groups; g++) {
        const uint8_t *zeros = (const uint8_t *)weight->part[GPTQ_QZEROS].data + (group0 + g) * zeros_bytes;
        const uint8_t *scales = (const uint8_t *)weight->part[GPTQ_SCALES].data + (group0 + g) * weight->rows * width;
        for (uint64_t i = 0; i < block->n_rows; i++) {
            to_zero[i * groups + g] = zero_point(weight, zeros, block->row0 + i);
            memcpy(to_scale + (i * groups + g) * width, scales + (block->row0 + i) * width, width);
        }
    }
}

tn_status gptq_transcode(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    groups_move(weight, block);
    if (block->enc->flags & TN_ENC_PERM_K)
        return permuted_codes(weight, block, err);
    for (uint64_t index = 0; index * 4 < code_row_bytes(block); index++)
        move_word(weight, block, index);
    return TN_OK;
}
