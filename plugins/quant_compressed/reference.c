/* plugins/quant_compressed/reference.c: the value of every element, written straight from the formats' definition. The
 * oracle for transcode.c, which it shares nothing with.
 */
#include "quant_compressed.h"

#include <math.h>
#include <string.h>

static uint32_t kind_of(const packed_weight *weight)
{
    return weight->variant & KIND_MASK;
}

/* Field `index` of a stream of 32-bit words that lie `stride` words apart. */
static int field_at(const void *words, uint64_t stride, uint64_t index, int bits)
{
    const uint8_t *bytes = words;
    int field = 0;
    for (int i = 0; i < bits; i++) {
        uint64_t bit = index * (uint64_t)bits + (uint64_t)i;
        uint8_t byte = bytes[bit / 32 * stride * 4 + bit % 32 / 8];
        field |= ((byte >> (bit % 8)) & 1) << i;
    }
    return field;
}

/* One sign bit, `exponent` and `mantissa` bits, subnormals, and (for e4m3) one NaN. */
static float small_float(int code, int exponent, int mantissa)
{
    int power = (code >> mantissa) % (1 << exponent), fraction = code % (1 << mantissa);
    int bias = (1 << (exponent - 1)) - 1;
    float value = power ? ldexpf((float)(fraction + (1 << mantissa)), power - bias - mantissa)
                        : ldexpf((float)fraction, 1 - bias - mantissa);
    if (exponent == 4 && code % 128 == 127)
        value = NAN;
    return code >> (exponent + mantissa) ? -value : value;
}

/* The number stored for element (row, k), before zero point and scale. */
static float number_at(const packed_weight *weight, uint64_t row, uint64_t k)
{
    const uint8_t *bytes = weight->part[PART_CODES].data;
    uint64_t at = row * weight->columns + k;
    int bits = (int)weight->enc.bits;

    switch (kind_of(weight)) {
    case KIND_PACKED:
        bytes += row * (uint64_t)weight->part[PART_CODES].dim[1] * 4;
        return (float)(field_at(bytes, 1, k, bits) - (1 << (bits - 1)));
    case KIND_INT8:
        return (float)(int8_t)bytes[at];
    case KIND_FP8:
        return small_float(bytes[at], 4, 3);
    default:
        return small_float(at % 2 ? bytes[at / 2] >> 4 : bytes[at / 2] & 15, 2, 1);
    }
}

static uint64_t group_at(const packed_weight *weight, uint64_t k)
{
    const uint8_t *g_idx = weight->part[PART_G_IDX].data;
    int32_t group;

    if (!(weight->enc.flags & TN_ENC_PERM_K))
        return k / weight->enc.group_k;
    memcpy(&group, g_idx + 4 * k, sizeof group);
    return (uint64_t)group;
}

static float zero_at(const packed_weight *weight, uint64_t row, uint64_t group, uint64_t groups)
{
    const uint8_t *zeros = weight->part[PART_ZERO].data;
    int bits = (int)weight->enc.bits;

    if (weight->enc.zero_type == TN_ZERO_NONE)
        return 0;
    if (weight->variant & ONE_SCALE)
        return (float)(int8_t)zeros[0];
    if (kind_of(weight) == KIND_PACKED)
        return (float)(field_at(zeros + 4 * group, groups, row, bits) - (1 << (bits - 1)));
    return (float)(int8_t)zeros[row * groups + group];
}

static float scale_at(const packed_weight *weight, uint64_t row, uint64_t group, uint64_t groups)
{
    const uint8_t *scales = weight->part[PART_SCALE].data;
    uint64_t at = weight->enc.group_n > 1 ? row / weight->enc.group_n : row;
    float scale;

    at = weight->variant & ONE_SCALE ? 0 : at * groups + group;
    if (kind_of(weight) == KIND_MXFP4)
        return ldexpf(1.0f, scales[at] - 127);
    floats_convert(TN_F32, &scale, weight->enc.scale_type, scales + at * tn_scalar_bytes(weight->enc.scale_type), 1);
    return scale;
}

void compressed_decode(const packed_weight *weight, uint64_t row, float *ret_row)
{
    uint64_t groups = (weight->columns + weight->enc.group_k - 1) / weight->enc.group_k;

    for (uint64_t k = 0; k < weight->columns; k++) {
        uint64_t group = group_at(weight, k);
        float q = number_at(weight, row, k) - zero_at(weight, row, group, groups);
        ret_row[k] = q * scale_at(weight, row, group, groups);
    }
}
