/* sdk/base/weight_block.c: checks of a block request, and float to float transcoding. */
#include "base/weight_block.h"

#include "base/half.h"
#include "base/size.h"

#include <inttypes.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "planes are little-endian and copied as they are");

uint32_t tensor_float_type(const tn_tensor_src *tensor)
{
    switch (tensor->dtype) {
    case TN_DTYPE_F32:
        return TN_F32;
    case TN_DTYPE_F16:
        return TN_F16;
    case TN_DTYPE_BF16:
        return TN_BF16;
    default:
        return 0;
    }
}

void weight_shape(const tn_tensor_src *tensor, uint64_t *ret_n, uint64_t *ret_k)
{
    uint64_t rows = 1; /* cannot overflow: a source has checked the product of all dimensions */
    for (uint32_t i = 0; i + 1 < tensor->rank; i++)
        rows *= (uint64_t)tensor->dim[i];
    *ret_n = rows;
    *ret_k = (uint64_t)tensor->dim[tensor->rank - 1];
}

tn_enc enc_float(uint32_t type)
{
    return (tn_enc){.struct_size = sizeof(tn_enc),
                    .family = TN_ENC_FLOAT,
                    .qtype = type,
                    .bits = (uint32_t)tn_scalar_bytes(type) * 8};
}

bool enc_equal(const tn_enc *left, const tn_enc *right)
{
    return left->family == right->family && left->qtype == right->qtype && left->bits == right->bits &&
           left->group_k == right->group_k && left->scale_type == right->scale_type &&
           left->zero_type == right->zero_type && left->group2_k == right->group2_k &&
           left->scale2_type == right->scale2_type && left->flags == right->flags && left->group_n == right->group_n &&
           left->act_scheme == right->act_scheme && left->act_type == right->act_type && left->part_n == right->part_n;
}

/* True if [first, first + count) begins on a multiple of unit, and ends on one or at `total`. */
static bool on_multiples(uint64_t first, uint64_t count, uint64_t unit, uint64_t total)
{
    return first % unit == 0 && (count % unit == 0 || first + count == total);
}

static tn_status check_groups(const weight_block *block, uint64_t unit, tn_error *err)
{
    const tn_enc *enc = block->enc;
    uint64_t whole = enc->flags & TN_ENC_PERM_K ? block->columns : 1;
    const uint64_t units[] = {unit, enc->group_k ? enc->group_k : 1, enc->group2_k ? enc->group2_k : 1, whole};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!on_multiples(block->k0, block->n_k, units[i], block->columns))
            return tn_fail(err, TN_E_ARGUMENT,
                           "block of columns %" PRIu64 "+%" PRIu64 " does not fall on multiples of %" PRIu64, block->k0,
                           block->n_k, units[i]);
    if (enc->group_n > 1 && !on_multiples(block->row0, block->n_rows, enc->group_n, block->rows))
        return tn_fail(err, TN_E_ARGUMENT, "block of rows %" PRIu64 "+%" PRIu64 " does not fall on multiples of %u",
                       block->row0, block->n_rows, enc->group_n);
    return TN_OK;
}

tn_status weight_block_check(const weight_block *block, uint64_t unit, tn_error *err)
{
    TN_ASSERT(unit);
    if (!block->n_rows || !block->n_k || !size_within(block->row0, block->n_rows, block->rows) ||
        !size_within(block->k0, block->n_k, block->columns))
        return tn_fail(err, TN_E_ARGUMENT,
                       "block of rows %" PRIu64 "+%" PRIu64 ", columns %" PRIu64 "+%" PRIu64
                       " is empty or outside the weight [%" PRIu64 ", %" PRIu64 "]",
                       block->row0, block->n_rows, block->k0, block->n_k, block->rows, block->columns);
    tn_status status = check_groups(block, unit, err);
    if (status != TN_OK)
        return status;
    for (uint32_t plane = 0; plane < TN_PLANE_LIMIT; plane++) {
        uint64_t needed = tn_plane_bytes(block->enc, plane, block->n_rows, block->n_k);
        if (block->plane_bytes[plane] != needed || (needed && !block->plane[plane]))
            return tn_fail(err, TN_E_ARGUMENT, "plane %u has %" PRIu64 " bytes; the block needs %" PRIu64, plane,
                           block->plane_bytes[plane], needed);
    }
    return TN_OK;
}

static float load_float(uint32_t type, const uint8_t *src, uint64_t index)
{
    uint32_t bits;
    uint16_t half;

    if (type == TN_F32) {
        memcpy(&bits, src + index * 4, sizeof bits);
        return float_from_bits(bits);
    }
    memcpy(&half, src + index * 2, sizeof half);
    return type == TN_F16 ? float_from_f16(half) : float_from_bf16(half);
}

static void store_float(uint32_t type, uint8_t *dst, uint64_t index, float value)
{
    if (type == TN_F32) {
        memcpy(dst + index * 4, &value, sizeof value);
        return;
    }
    uint16_t half = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);
    memcpy(dst + index * 2, &half, sizeof half);
}

void floats_convert(uint32_t dst_type, void *dst, uint32_t src_type, const void *src, uint64_t count)
{
    TN_ASSERT(dst_type >= TN_F32 && dst_type <= TN_BF16);
    TN_ASSERT(src_type >= TN_F32 && src_type <= TN_BF16);
    if (dst_type == src_type) {
        memcpy(dst, src, count * tn_scalar_bytes(src_type));
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        store_float(dst_type, dst, i, load_float(src_type, src, i));
}

void weight_block_from_floats(const weight_block *block, uint32_t src_type, const void *matrix)
{
    uint64_t src_width = tn_scalar_bytes(src_type), dst_width = tn_scalar_bytes(block->enc->qtype);
    uint8_t *dst = block->plane[TN_PLANE_CODES];

    TN_ASSERT(block->enc->family == TN_ENC_FLOAT);
    for (uint64_t i = 0; i < block->n_rows; i++) {
        const uint8_t *src = (const uint8_t *)matrix + ((block->row0 + i) * block->columns + block->k0) * src_width;
        floats_convert(block->enc->qtype, dst + i * block->n_k * dst_width, src_type, src, block->n_k);
    }
}
