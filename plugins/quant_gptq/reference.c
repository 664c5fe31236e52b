/* plugins/quant_gptq/reference.c: the value of every element, bit by bit from the layout's definition. The oracle for
 * transcode.c, which it shares nothing with.
 */
#include "quant_gptq.h"

static int bit_at(const tn_tensor_src *tensor, uint64_t word, int bit)
{
    const uint8_t *bytes = (const uint8_t *)tensor->data + 4 * word;
    return (bytes[bit / 8] >> (bit % 8)) & 1;
}

static int code_at(const packed_weight *weight, uint64_t k, uint64_t row)
{
    int bits = (int)weight->enc.bits, code = 0;
    for (int i = 0; i < bits; i++) {
        uint64_t at = k * (uint64_t)bits + (uint64_t)i;
        code |= bit_at(&weight->part[GPTQ_QWEIGHT], at / 32 * weight->rows + row, (int)(at % 32)) << i;
    }
    return code;
}

/* The field of output `row` as stored. */
static int stored_zero(const packed_weight *weight, uint64_t group, uint64_t row)
{
    const tn_tensor_src *zeros = &weight->part[GPTQ_QZEROS];
    int bits = (int)weight->enc.bits, zero = 0;
    for (int i = 0; i < bits; i++) {
        uint64_t at = row * (uint64_t)bits + (uint64_t)i;
        zero |= bit_at(zeros, group * (uint64_t)zeros->dim[1] + at / 32, (int)(at % 32)) << i;
    }
    return zero;
}

/* v1: one is added to each field, from the word's lowest field upwards; a field that overflows carries into the next
 * one of its word. Three-bit fields do not carry. */
static int zero_at(const packed_weight *weight, uint64_t group, uint64_t row)
{
    int bits = (int)weight->enc.bits, range = 1 << bits;
    uint64_t per_word = 32 / weight->enc.bits;

    if (weight->variant == GPTQ_ZEROS_AS_THEY_ARE)
        return stored_zero(weight, group, row);
    if (bits == 3)
        return (stored_zero(weight, group, row) + 1) % range;
    int carry = 0, sum = 0;
    for (uint64_t field = row / per_word * per_word; field <= row; field++) {
        sum = stored_zero(weight, group, field) + 1 + carry;
        carry = sum / range;
    }
    return sum % range;
}

static uint64_t group_at(const packed_weight *weight, uint64_t k)
{
    const uint8_t *g_idx = weight->part[GPTQ_G_IDX].data;
    if (!g_idx)
        return k / weight->enc.group_k;
    g_idx += 4 * k;
    return (uint64_t)g_idx[0] | (uint64_t)g_idx[1] << 8 | (uint64_t)g_idx[2] << 16 | (uint64_t)g_idx[3] << 24;
}

void gptq_decode(const packed_weight *weight, uint64_t row, float *ret_row)
{
    const uint8_t *scales = weight->part[GPTQ_SCALES].data;
    uint64_t width = tn_scalar_bytes(weight->enc.scale_type);

    for (uint64_t k = 0; k < weight->columns; k++) {
        uint64_t group = group_at(weight, k);
        float scale;
        floats_convert(TN_F32, &scale, weight->enc.scale_type, scales + (group * weight->rows + row) * width, 1);
        ret_row[k] = scale * (float)(code_at(weight, k, row) - zero_at(weight, group, row));
    }
}
