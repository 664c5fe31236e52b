/* decode.c: the definitions of tenon/encoding.h as plain loops, one element at a time. Product first, then one
 * addition. */
#include "interp/decode.h"

#include <stdbool.h>
#include <string.h>

#include "base/half.h"

static bool float_type(uint32_t type)
{
    return type == TN_F32 || type == TN_F16 || type == TN_BF16;
}

tn_status interp_decode_check(const tn_enc *enc, tn_error *err)
{
    if (enc->family == TN_ENC_FLOAT) {
        if (float_type(enc->qtype) && enc->bits == tn_scalar_bytes(enc->qtype) * 8)
            return TN_OK;
        return tn_fail(err, TN_E_UNSUPPORTED, "encoding: float codes of type %u with %u bits", enc->qtype, enc->bits);
    }
    if (enc->family != TN_ENC_AFFINE)
        return tn_fail(err, TN_E_UNSUPPORTED, "encoding: family %u", enc->family);
    bool codes = enc->bits >= 2 && enc->bits <= 8 && (enc->qtype == TN_Q_UNSIGNED || enc->qtype == TN_Q_SIGNED);
    bool scales = enc->group2_k ? enc->scale_type == TN_U8 || enc->scale_type == TN_S8 : float_type(enc->scale_type);
    bool second = !enc->group2_k || (float_type(enc->scale2_type) && enc->group2_k % enc->group_k == 0);
    if (!codes || enc->group_k == 0 || !scales || !second || enc->zero_type > TN_ZERO_FLOAT || enc->flags)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "encoding: affine, %u bits, group %u, scale type %u, zero type %u, second group %u", enc->bits,
                       enc->group_k, enc->scale_type, enc->zero_type, enc->group2_k);
    return TN_OK;
}

/* Element i of an array of scalars that may be unaligned. */
static float scalar(const void *plane, uint32_t type, uint64_t i)
{
    const unsigned char *bytes = (const unsigned char *)plane + i * tn_scalar_bytes(type);
    uint16_t half;
    float value;

    switch (type) {
    case TN_F32:
        memcpy(&value, bytes, sizeof value);
        return value;
    case TN_F16:
        memcpy(&half, bytes, sizeof half);
        return float_from_f16(half);
    case TN_BF16:
        memcpy(&half, bytes, sizeof half);
        return float_from_bf16(half);
    case TN_U8:
        return (float)bytes[0];
    default:
        return (float)(signed char)bytes[0];
    }
}

/* Code i of a little-endian bit stream. The second byte is read only where the code reaches into it. */
static uint32_t code_at(const unsigned char *stream, uint64_t i, uint32_t bits)
{
    uint64_t bit = i * bits;
    uint32_t shift = (uint32_t)(bit % 8);
    uint32_t word = stream[bit / 8];
    if (shift + bits > 8)
        word |= (uint32_t)stream[bit / 8 + 1] << 8;
    return (word >> shift) & ((1u << bits) - 1);
}

typedef struct affine {
    float scale, min;
} affine;

/* Scale and minimum of group g of a row. */
static affine group_of(const tn_enc *enc, const tn_planes *planes, uint64_t row, uint64_t g)
{
    uint64_t groups = (planes->n_k + enc->group_k - 1) / enc->group_k;
    uint64_t at = row * groups + g, at2 = 0;
    uint32_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
    affine a = {scalar(planes->plane[TN_PLANE_SCALE], enc->scale_type, at), 0.0f};

    if (enc->group2_k) {
        uint64_t groups2 = (planes->n_k + enc->group2_k - 1) / enc->group2_k;
        at2 = (row * groups2 + g * enc->group_k / enc->group2_k) * factors;
        a.scale *= scalar(planes->plane[TN_PLANE_SCALE2], enc->scale2_type, at2);
    }
    if (enc->zero_type == TN_ZERO_POINT) {
        a.min = -a.scale * scalar(planes->plane[TN_PLANE_MIN], TN_U8, at);
    } else if (enc->zero_type == TN_ZERO_FLOAT) {
        a.min = scalar(planes->plane[TN_PLANE_MIN], enc->scale_type, at);
        if (enc->group2_k)
            a.min *= scalar(planes->plane[TN_PLANE_SCALE2], enc->scale2_type, at2 + 1);
    }
    return a;
}

static void decode_affine(const tn_enc *enc, const tn_planes *planes, uint64_t row, float *out)
{
    uint64_t row_bytes = tn_plane_bytes(enc, TN_PLANE_CODES, 1, planes->n_k);
    const unsigned char *codes = (const unsigned char *)planes->plane[TN_PLANE_CODES] + row * row_bytes;
    int32_t offset = enc->qtype == TN_Q_SIGNED ? 1 << (enc->bits - 1) : 0;
    affine a = {0, 0};

    for (uint64_t k = 0; k < planes->n_k; k++) {
        if (k % enc->group_k == 0)
            a = group_of(enc, planes, row, k / enc->group_k);
        float product = a.scale * (float)((int32_t)code_at(codes, k, enc->bits) - offset);
        out[k] = enc->zero_type == TN_ZERO_NONE ? product : product + a.min;
    }
}

void interp_decode_row(const tn_enc *enc, const tn_planes *planes, uint64_t row, float *out)
{
    if (enc->family == TN_ENC_AFFINE) {
        decode_affine(enc, planes, row, out);
        return;
    }
    for (uint64_t k = 0; k < planes->n_k; k++)
        out[k] = scalar(planes->plane[TN_PLANE_CODES], enc->qtype, row * planes->n_k + k);
}
