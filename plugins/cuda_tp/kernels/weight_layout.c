/* weight_layout.c: sizes and places of a repacked weight. Host arithmetic only; see weight.cuh for what lies there. */
#include "kernels/launch.h"

#include <stdbool.h>

static bool float_scales(const tn_enc *enc)
{
    if (enc->group2_k)
        return (enc->scale_type == TN_U8 || enc->scale_type == TN_S8) &&
               (enc->scale2_type == TN_F16 || enc->scale2_type == TN_F32) && enc->group2_k % enc->group_k == 0 &&
               enc->group_n <= 1;
    return enc->scale_type == TN_F32 || enc->scale_type == TN_F16 || enc->scale_type == TN_BF16;
}

static bool integer_codes(const tn_enc *enc)
{
    return (enc->qtype == TN_Q_UNSIGNED || enc->qtype == TN_Q_SIGNED) && enc->bits >= 2 && enc->bits <= 8;
}

/* Parts begin on panels, and where a scale that rows share does. */
static bool known_flags(const tn_enc *enc)
{
    if (enc->flags & ~(uint32_t)(TN_ENC_PERM_K | TN_ENC_PARTS) || !(enc->flags & TN_ENC_PARTS) != !enc->part_n)
        return false;
    return enc->part_n % CUDA_PANEL == 0 && (enc->group_n <= 1 || enc->part_n % enc->group_n == 0);
}

static bool supported(const tn_enc *enc, uint64_t columns)
{
    if (!known_flags(enc))
        return false;
    if (enc->family == TN_ENC_FLOAT)
        return !enc->flags &&
               ((enc->qtype == TN_BF16 && enc->bits == 16) || (enc->qtype == TN_F32 && enc->bits == 32));
    if (!enc->group_k || (enc->group_k % 16 && enc->group_k < columns))
        return false;
    switch (enc->family) {
    case TN_ENC_AFFINE:
        if (enc->qtype == TN_Q_E4M3)
            return enc->bits == 8 && enc->zero_type == TN_ZERO_NONE && !enc->group2_k && float_scales(enc);
        return integer_codes(enc) && float_scales(enc) && enc->zero_type <= TN_ZERO_FLOAT;
    case TN_ENC_MX:
        return enc->qtype == TN_Q_E2M1 && enc->bits == 4 && enc->scale_type == TN_E8M0 && !enc->zero_type &&
               !enc->group2_k && enc->group_n <= 1;
    case TN_ENC_LUT:
        return enc->bits == 4 && !enc->zero_type && float_scales(enc);
    default:
        return false;
    }
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

tn_status cuda_weight_layout(const tn_enc *enc, uint64_t rows, uint64_t columns, cuda_weight *ret_weight,
                             cuda_weight_size *ret_size)
{
    const bool is_float = enc->family == TN_ENC_FLOAT;
    uint64_t panels = rows / CUDA_PANEL + (rows % CUDA_PANEL != 0), scale_rows;
    cuda_weight w = {.enc = *enc, .rows = (uint32_t)rows, .columns = (uint32_t)columns};
    cuda_weight_size size = {0};

    if (!rows || !columns || rows > INT32_MAX || columns > INT32_MAX / 2)
        return TN_E_ARGUMENT;
    if (!supported(enc, columns))
        return TN_E_UNSUPPORTED;
    w.k_blocks = (uint32_t)((columns + CUDA_K_BLOCK - 1) / CUDA_K_BLOCK);
    if (is_float) {
        w.stride = (uint32_t)((columns + 7) / 8 * 8);
        size.codes = padded(rows * w.stride * enc->bits / 8);
    } else {
        w.groups = (uint32_t)tn_group_count(columns, enc->group_k);
        w.groups2 = enc->group2_k ? (uint32_t)tn_group_count(columns, enc->group2_k) : 0;
        scale_rows = enc->group_n > 1 ? tn_group_count(rows, enc->group_n) : panels * CUDA_PANEL;
        size.codes = padded(panels * w.k_blocks * 128 * enc->bits);
        size.scale = padded(scale_rows * w.groups * tn_scalar_bytes(enc->scale_type));
        if (enc->zero_type)
            size.min = padded(scale_rows * w.groups *
                              (enc->zero_type == TN_ZERO_POINT ? 1 : tn_scalar_bytes(enc->scale_type)));
        size.scale2 = padded(panels * CUDA_PANEL * w.groups2 * (enc->zero_type == TN_ZERO_FLOAT ? 2 : 1) *
                             tn_scalar_bytes(enc->scale2_type));
        size.lut = enc->family == TN_ENC_LUT ? padded(sizeof(float) << enc->bits) : 0;
    }
    size.total = size.codes + size.scale + size.min + size.scale2 + size.lut;
    *ret_weight = w;
    *ret_size = size;
    return TN_OK;
}

void cuda_weight_place(cuda_weight *weight, const cuda_weight_size *size, void *base)
{
    uint8_t *at = base;

    weight->codes = at;
    at += size->codes;
    weight->scale = size->scale ? at : NULL;
    at += size->scale;
    weight->min = size->min ? at : NULL;
    at += size->min;
    weight->scale2 = size->scale2 ? at : NULL;
    at += size->scale2;
    weight->lut = size->lut ? (const float *)(const void *)at : NULL;
}
