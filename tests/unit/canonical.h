/* tests/unit/canonical.h: values of canonical planes, read bit by bit as tenon/encoding.h words it. */
#ifndef TESTS_CANONICAL_H
#define TESTS_CANONICAL_H

#include "base/half.h"
#include "tenon/encoding.h"
#include "tenon/error.h"

#include <math.h>

static inline uint32_t canonical_code(const uint8_t *row, uint64_t index, uint32_t bits)
{
    uint32_t code = 0;
    for (uint32_t i = 0; i < bits; i++) {
        uint64_t at = index * bits + i;
        code |= (uint32_t)((row[at / 8] >> (at % 8)) & 1) << i;
    }
    return code;
}

/* A small float of one sign bit, then `exponent` and `mantissa` bits: by the general formula. */
static inline float canonical_small_float(uint32_t code, int exponent, int mantissa)
{
    int power = (int)(code >> mantissa) & ((1 << exponent) - 1), fraction = (int)code & ((1 << mantissa) - 1);
    int bias = (1 << (exponent - 1)) - 1;
    float value = power ? ldexpf((float)(fraction + (1 << mantissa)), power - bias - mantissa)
                        : ldexpf((float)fraction, 1 - bias - mantissa);
    return code >> (exponent + mantissa) & 1 ? -value : value;
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
    case TN_E8M0:
        return ldexpf(1.0f, (int)plane[index] - 127);
    case TN_F32:
        memcpy(&value, plane + 4 * index, sizeof value);
        return value;
    default:
        memcpy(&half, plane + 2 * index, sizeof half);
        return type == TN_F16 ? float_from_f16(half) : float_from_bf16(half);
    }
}

/* What a code stands for before it is scaled. */
static inline float canonical_number(const tn_enc *enc, void *const *planes, uint32_t code)
{
    switch (enc->qtype) {
    case TN_Q_UNSIGNED:
        return (float)code;
    case TN_Q_SIGNED:
        return (float)((int32_t)code - (1 << (enc->bits - 1)));
    case TN_Q_E4M3:
        return canonical_small_float(code, 4, 3);
    case TN_Q_E2M1:
        return canonical_small_float(code, 2, 1);
    default:
        return ((const float *)planes[TN_PLANE_LUT])[code];
    }
}

/* Element (row, column) of a block of n_k columns, as stored: before any permutation. */
static inline float canonical_stored(const tn_enc *enc, void *const *planes, uint64_t n_k, uint64_t row,
                                     uint64_t column)
{
    const uint8_t *const codes = planes[TN_PLANE_CODES];
    if (enc->family == TN_ENC_FLOAT)
        return canonical_scalar(enc->qtype, codes, row * n_k + column);

    uint64_t scale_row = enc->group_n > 1 ? row / enc->group_n : row;
    uint64_t groups = (n_k + enc->group_k - 1) / enc->group_k, group = scale_row * groups + column / enc->group_k;
    float q =
        canonical_number(enc, planes, canonical_code(codes + row * ((n_k * enc->bits + 7) / 8), column, enc->bits));
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
        q = q - (float)((const uint8_t *)planes[TN_PLANE_MIN])[group];
    float product = scale * q;
    return enc->zero_type == TN_ZERO_FLOAT ? product + min : product;
}

/* Element (row, column) of a block of n_k columns. */
static inline float canonical_value(const tn_enc *enc, void *const *planes, uint64_t n_k, uint64_t row, uint64_t column)
{
    uint64_t stored = column;
    if (enc->flags & TN_ENC_PERM_K) {
        const uint32_t *perm = planes[TN_PLANE_PERM];
        for (stored = 0; stored < n_k && perm[stored] != column; stored++)
            continue;
        TN_ASSERT(stored < n_k);
    }
    return canonical_stored(enc, planes, n_k, row, stored);
}

#endif
