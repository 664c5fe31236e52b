/* tests/unit/canonical.h: values of canonical planes, read bit by bit as tenon/encoding.h words it. */
#ifndef TESTS_CANONICAL_H
#define TESTS_CANONICAL_H

#include "base/half.h"
#include "tenon/encoding.h"

static inline uint32_t canonical_code(const uint8_t *row, uint64_t index, uint32_t bits)
{
    uint32_t code = 0;
    for (uint32_t i = 0; i < bits; i++) {
        uint64_t at = index * bits + i;
        code |= (uint32_t)((row[at / 8] >> (at % 8)) & 1) << i;
    }
    return code;
}

static inline float canonical_scalar(uint32_t type, const uint8_t *plane, uint64_t index)
{
    uint16_t half;
    float value;

    switch (type) {
    case TN_U8:
        return (float)plane[index];
    case TN_S8:
        return (float)(int8_t)plane[index];
    case TN_F32:
        memcpy(&value, plane + 4 * index, sizeof value);
        return value;
    default:
        memcpy(&half, plane + 2 * index, sizeof half);
        return type == TN_F16 ? float_from_f16(half) : float_from_bf16(half);
    }
}

/* Element (row, column) of a block of n_k columns. */
static inline float canonical_value(const tn_enc *enc, void *const *planes, uint64_t n_k, uint64_t row, uint64_t column)
{
    const uint8_t *const codes = planes[TN_PLANE_CODES];
    if (enc->family == TN_ENC_FLOAT)
        return canonical_scalar(enc->qtype, codes, row * n_k + column);

    uint64_t groups = (n_k + enc->group_k - 1) / enc->group_k, group = row * groups + column / enc->group_k;
    uint32_t code = canonical_code(codes + row * ((n_k * enc->bits + 7) / 8), column, enc->bits);
    float q = enc->qtype == TN_Q_SIGNED ? (float)((int32_t)code - (1 << (enc->bits - 1))) : (float)code;
    float scale = canonical_scalar(enc->scale_type, planes[TN_PLANE_SCALE], group), min = 0;
    if (enc->zero_type == TN_ZERO_FLOAT)
        min = canonical_scalar(enc->scale_type, planes[TN_PLANE_MIN], group);
    if (enc->group2_k) {
        uint64_t supers = (n_k + enc->group2_k - 1) / enc->group2_k, super = row * supers + column / enc->group2_k;
        uint64_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
        scale = scale * canonical_scalar(enc->scale2_type, planes[TN_PLANE_SCALE2], super * factors);
        if (factors == 2)
            min = min * canonical_scalar(enc->scale2_type, planes[TN_PLANE_SCALE2], super * factors + 1);
    }
    if (enc->zero_type == TN_ZERO_POINT)
        min = -scale * (float)((const uint8_t *)planes[TN_PLANE_MIN])[group];
    float product = scale * q;
    return enc->zero_type == TN_ZERO_NONE ? product : product + min;
}

#endif
