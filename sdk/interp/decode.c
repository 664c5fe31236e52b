/* decode.c: the definitions of tenon/encoding.h as plain loops, one element at a time. Product first, then one
 * addition. */
#include "interp/decode.h"

#include <stdbool.h>
#include <string.h>

#include "base/half.h"
#include "base/small_float.h"

static bool float_type(uint32_t type)
{
    return type == TN_F32 || type == TN_F16 || type == TN_BF16;
}

static bool integer_codes(const tn_enc *enc)
{
    return enc->bits >= 2 && enc->bits <= 8 && (enc->qtype == TN_Q_UNSIGNED || enc->qtype == TN_Q_SIGNED);
}

/* Scales of one or two levels, as AFFINE and LUT have them. */
static bool known_scales(const tn_enc *enc)
{
    bool scales = enc->group2_k ? enc->scale_type == TN_U8 || enc->scale_type == TN_S8 : float_type(enc->scale_type);
    bool second = !enc->group2_k || (float_type(enc->scale2_type) && enc->group_k && enc->group2_k % enc->group_k == 0);
    return scales && second && (!enc->group2_k || enc->group_n <= 1);
}

static bool known_encoding(const tn_enc *enc)
{
    bool flat = enc->zero_type == TN_ZERO_NONE && !enc->group2_k;

    if ((enc->flags & ~(uint32_t)(TN_ENC_PERM_K | TN_ENC_PARTS)) || !(enc->flags & TN_ENC_PARTS) != !enc->part_n)
        return false;
    switch (enc->family) {
    case TN_ENC_FLOAT:
        return float_type(enc->qtype) && enc->bits == tn_scalar_bytes(enc->qtype) * 8 && !enc->flags;
    case TN_ENC_AFFINE:
        if (enc->qtype == TN_Q_E4M3 && !(enc->bits == 8 && flat))
            return false;
        return enc->group_k && known_scales(enc) && enc->zero_type <= TN_ZERO_FLOAT &&
               (integer_codes(enc) || enc->qtype == TN_Q_E4M3);
    case TN_ENC_MX:
        return enc->group_k && enc->qtype == TN_Q_E2M1 && enc->bits == 4 && flat && enc->scale_type == TN_E8M0 &&
               enc->group_n <= 1;
    case TN_ENC_LUT:
        return enc->group_k && enc->qtype == TN_F32 && enc->bits >= 2 && enc->bits <= 8 && known_scales(enc) &&
               enc->zero_type == TN_ZERO_NONE && enc->group_n <= 1;
    default:
        return false;
    }
}

tn_status interp_decode_check(const tn_enc *enc, tn_error *err)
{
    if (known_encoding(enc))
        return TN_OK;
    return tn_fail(err, TN_E_UNSUPPORTED,
                   "encoding: family %u, codes of type %u and %u bits, groups of %u x %u, scale type %u, zero type %u, "
                   "second group %u, flags %x, parts of %u rows",
                   enc->family, enc->qtype, enc->bits, enc->group_n, enc->group_k, enc->scale_type, enc->zero_type,
                   enc->group2_k, enc->flags, enc->part_n);
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
    case TN_E8M0:
        return float_from_e8m0(bytes[0]);
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

/* The number that a code stands for, before it is scaled. */
static float code_value(const tn_enc *enc, const tn_planes *planes, uint32_t code)
{
    switch (enc->qtype) {
    case TN_Q_UNSIGNED:
        return (float)code;
    case TN_Q_SIGNED:
        return (float)((int32_t)code - (1 << (enc->bits - 1)));
    case TN_Q_E4M3:
        return float_from_e4m3((uint8_t)code);
    case TN_Q_E2M1:
        return float_from_e2m1((uint8_t)code);
    default:
        return scalar(planes->plane[TN_PLANE_LUT], TN_F32, code);
    }
}

typedef struct group_scale {
    float scale, min, zero; /* w = scale * (q - zero) + min */
} group_scale;

/* Scale and minimum of group g of a row. */
static group_scale group_of(const tn_enc *enc, const tn_planes *planes, uint64_t row, uint64_t g)
{
    uint64_t scale_row = enc->group_n > 1 ? row / enc->group_n : row;
    uint64_t at = scale_row * tn_group_count(planes->n_k, enc->group_k) + g, at2 = 0;
    uint32_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
    group_scale a = {scalar(planes->plane[TN_PLANE_SCALE], enc->scale_type, at), 0.0f, 0.0f};

    if (enc->group2_k) {
        at2 = (row * tn_group_count(planes->n_k, enc->group2_k) + g * enc->group_k / enc->group2_k) * factors;
        a.scale *= scalar(planes->plane[TN_PLANE_SCALE2], enc->scale2_type, at2);
    }
    if (enc->zero_type == TN_ZERO_POINT) {
        a.zero = scalar(planes->plane[TN_PLANE_MIN], TN_U8, at);
    } else if (enc->zero_type == TN_ZERO_FLOAT) {
        a.min = scalar(planes->plane[TN_PLANE_MIN], enc->scale_type, at);
        if (enc->group2_k)
            a.min *= scalar(planes->plane[TN_PLANE_SCALE2], enc->scale2_type, at2 + 1);
    }
    return a;
}

/* Where column k of the planes belongs in a row. */
static uint64_t column_of(const tn_enc *enc, const tn_planes *planes, uint64_t k)
{
    uint32_t column;

    if (!(enc->flags & TN_ENC_PERM_K))
        return k;
    memcpy(&column, (const unsigned char *)planes->plane[TN_PLANE_PERM] + k * sizeof column, sizeof column);
    TN_ASSERT(column < planes->n_k);
    return column;
}

static void decode_scaled(const tn_enc *enc, const tn_planes *planes, uint64_t row, float *out)
{
    uint64_t row_bytes = tn_plane_bytes(enc, TN_PLANE_CODES, 1, planes->n_k);
    const unsigned char *codes = (const unsigned char *)planes->plane[TN_PLANE_CODES] + row * row_bytes;
    group_scale a = {0, 0, 0};

    for (uint64_t k = 0; k < planes->n_k; k++) {
        if (k % enc->group_k == 0)
            a = group_of(enc, planes, row, k / enc->group_k);
        float q = code_value(enc, planes, code_at(codes, k, enc->bits));
        if (enc->zero_type == TN_ZERO_POINT)
            q -= a.zero;
        float product = a.scale * q;
        out[column_of(enc, planes, k)] = enc->zero_type == TN_ZERO_FLOAT ? product + a.min : product;
    }
}

void interp_decode_row(const tn_enc *enc, const tn_planes *planes, uint64_t row, float *out)
{
    if (enc->family != TN_ENC_FLOAT) {
        decode_scaled(enc, planes, row, out);
        return;
    }
    for (uint64_t k = 0; k < planes->n_k; k++)
        out[k] = scalar(planes->plane[TN_PLANE_CODES], enc->qtype, row * planes->n_k + k);
}
