/* plugins/quant_awq/reference.c: the value of every element, written straight from the layouts' definition. The oracle
 * for transcode.c, which it shares nothing with.
 */
#include "quant_awq.h"

/* Output 8c + order[i] is nibble i of word c. */
static const int gemm_order[8] = {0, 2, 4, 6, 1, 3, 5, 7};

static unsigned nibble(const tn_tensor_src *tensor, uint64_t word_index, int i)
{
    const uint8_t *bytes = (const uint8_t *)tensor->data + 4 * word_index;
    return i % 2 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
}

/* The nibble for output `column` of row `row` of a matrix whose words hold eight outputs each. */
static unsigned gemm_nibble(const tn_tensor_src *tensor, uint64_t row, uint64_t column)
{
    int i = 0;
    while (gemm_order[i] != (int)(column % 8))
        i++;
    return nibble(tensor, row * (uint64_t)tensor->dim[1] + column / 8, i);
}

static float scale_at(const packed_weight *weight, uint64_t index)
{
    float scale;
    uint64_t width = tn_scalar_bytes(weight->enc.scale_type);
    floats_convert(TN_F32, &scale, weight->enc.scale_type,
                   (const uint8_t *)weight->part[AWQ_SCALES].data + index * width, 1);
    return scale;
}

void awq_decode(const packed_weight *weight, uint64_t row, float *ret_row)
{
    const tn_tensor_src *codes = &weight->part[AWQ_QWEIGHT], *zeros = &weight->part[AWQ_QZEROS];
    uint64_t scales_wide = (uint64_t)weight->part[AWQ_SCALES].dim[1];

    for (uint64_t k = 0; k < weight->columns; k++) {
        uint64_t g = k / weight->enc.group_k;
        unsigned code, zero;
        float scale;
        if (weight->variant == AWQ_GEMM) {
            code = gemm_nibble(codes, k, row);
            zero = gemm_nibble(zeros, g, row);
            scale = scale_at(weight, g * scales_wide + row);
        } else {
            code = nibble(codes, row * (uint64_t)codes->dim[1] + k / 8, (int)(k % 8));
            zero = nibble(zeros, row * (uint64_t)zeros->dim[1] + g / 8, (int)(g % 8));
            scale = scale_at(weight, row * scales_wide + g);
        }
        ret_row[k] = ((float)code - (float)zero) * scale;
    }
}
