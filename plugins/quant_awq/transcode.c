/* plugins/quant_awq/transcode.c: AWQ words to canonical planes.
 *
 * gemv already holds a row's codes as canonical planes do. gemm holds eight outputs in a word and walks the inputs:
 * eight words of eight inputs are an 8 x 8 square of nibbles, which is transposed in registers.
 */
#include "quant_awq.h"

#include "quant/bit_stream.h"

/* Swaps, between `high` and `low`, what lies `shift` bits apart under mask. */
static inline void swap_fields(uint32_t *low, uint32_t *high, uint32_t shift, uint32_t mask)
{
    uint32_t moved = ((*low >> shift) ^ *high) & mask;
    *high ^= moved;
    *low ^= moved << shift;
}

/* Nibble j of word i becomes nibble i of word j. */
static inline void transpose_nibbles(uint32_t words[8])
{
    for (uint32_t i = 0; i < 4; i++)
        swap_fields(&words[i], &words[i + 4], 16, 0x0000ffffu);
    for (uint32_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1)
        swap_fields(&words[i], &words[i + 2], 8, 0x00ff00ffu);
    for (uint32_t i = 0; i < 8; i += 2)
        swap_fields(&words[i], &words[i + 1], 4, 0x0f0f0f0fu);
}

/* Position, within a word, of output r of its eight. */
static inline uint32_t place_of(uint64_t r)
{
    static const uint32_t places[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return places[r % 8];
}

/* The eight outputs of word column c, as far as the block holds them. */
static void gemm_codes(const packed_weight *weight, const weight_block *block, uint64_t c)
{
    const void *words = weight->part[AWQ_QWEIGHT].data;
    uint64_t stride = weight->rows / 8, row_bytes = (block->n_k + 1) / 2;
    uint64_t first = c * 8 < block->row0 ? block->row0 : c * 8;
    uint64_t last = block->row0 + block->n_rows < c * 8 + 8 ? block->row0 + block->n_rows : c * 8 + 8;

    for (uint64_t k = 0; k < block->n_k; k += 8) {
        uint64_t count = block->n_k - k < 8 ? block->n_k - k : 8;
        uint32_t square[8] = {0};
        for (uint64_t i = 0; i < count; i++)
            square[i] = word_at(words, (block->k0 + k + i) * stride + c);
        transpose_nibbles(square);
        for (uint64_t row = first; row < last; row++) {
            uint8_t *to = (uint8_t *)block->plane[TN_PLANE_CODES] + (row - block->row0) * row_bytes + k / 2;
            memcpy(to, &square[place_of(row)], (count + 1) / 2);
        }
    }
}

static void gemm_groups(const packed_weight *weight, const weight_block *block, uint64_t group0, uint64_t groups)
{
    const uint8_t *scales = weight->part[AWQ_SCALES].data;
    uint64_t width = tn_scalar_bytes(weight->enc.scale_type);
    uint8_t *to_scale = block->plane[TN_PLANE_SCALE], *to_zero = block->plane[TN_PLANE_MIN];

    for (uint64_t g = 0; g < groups; g++) {
        for (uint64_t i = 0; i < block->n_rows; i++) {
            uint64_t row = block->row0 + i, at = i * groups + g;
            uint32_t word = word_at(weight->part[AWQ_QZEROS].data, (group0 + g) * (weight->rows / 8) + row / 8);
            to_zero[at] = (word >> (4 * place_of(row))) & 15;
            memcpy(to_scale + at * width, scales + ((group0 + g) * weight->rows + row) * width, width);
        }
    }
}

static void gemv_row(const packed_weight *weight, const weight_block *block, uint64_t i, uint64_t group0,
                     uint64_t groups)
{
    const uint8_t *codes = weight->part[AWQ_QWEIGHT].data, *scales = weight->part[AWQ_SCALES].data;
    const void *zeros = weight->part[AWQ_QZEROS].data;
    uint64_t row = block->row0 + i, row_bytes = (block->n_k + 1) / 2, width = tn_scalar_bytes(weight->enc.scale_type);
    uint64_t padded = (uint64_t)weight->part[AWQ_SCALES].dim[1];
    uint8_t *to_zero = (uint8_t *)block->plane[TN_PLANE_MIN] + i * groups;

    memcpy((uint8_t *)block->plane[TN_PLANE_CODES] + i * row_bytes, codes + row * weight->columns / 2 + block->k0 / 2,
           row_bytes);
    memcpy((uint8_t *)block->plane[TN_PLANE_SCALE] + i * groups * width, scales + (row * padded + group0) * width,
           groups * width);
    for (uint64_t g = group0; g < group0 + groups; g++)
        *to_zero++ = (word_at(zeros, row * padded / 8 + g / 8) >> (4 * (g % 8))) & 15;
}

tn_status awq_transcode(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    uint64_t group0 = block->k0 / weight->enc.group_k, groups = tn_group_count(block->n_k, weight->enc.group_k);

    (void)err;
    if (weight->variant == AWQ_GEMV) {
        for (uint64_t i = 0; i < block->n_rows; i++)
            gemv_row(weight, block, i, group0, groups);
        return TN_OK;
    }
    for (uint64_t c = block->row0 / 8; c * 8 < block->row0 + block->n_rows; c++)
        gemm_codes(weight, block, c);
    gemm_groups(weight, block, group0, groups);
    return TN_OK;
}
