/* sdk/quant/plain_weight.c: float tensors as weights. */
#include "quant/plain_weight.h"

#include "base/size.h"

#include <inttypes.h>

tn_status plain_weight_find(const tn_source *source, const char *name, plain_weight *ret_weight, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    if (source->tensor(source, name, &tensor) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tensor '%s'", source->path, name);
    plain_weight weight = {.data = tensor.data, .type = tensor_float_type(&tensor)};
    if (!weight.type)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "%s: tensor '%s' is not of type F32, F16 or BF16; a quantization plugin for its format is missing",
            source->path, name);
    weight_shape(&tensor, &weight.rows, &weight.columns);
    TN_ASSERT(weight.rows * weight.columns * tn_scalar_bytes(weight.type) == tensor.bytes); /* the source promises it */
    *ret_weight = weight;
    return TN_OK;
}

/* A vector of halves is tiny and often wanted in float32, so that comes before bf16, which would round. */
uint32_t plain_weight_encodings(const plain_weight *weight, tn_enc ret_list[PLAIN_ENCODINGS_MAX])
{
    uint32_t count = 0;

    ret_list[count++] = enc_float(weight->type);
    if (weight->type == TN_F16 && weight->rows == 1)
        ret_list[count++] = enc_float(TN_F32);
    if (weight->type != TN_BF16)
        ret_list[count++] = enc_float(TN_BF16);
    return count;
}

static bool is_produced(const plain_weight *weight, const tn_enc *enc)
{
    tn_enc list[PLAIN_ENCODINGS_MAX];
    uint32_t count = plain_weight_encodings(weight, list);

    for (uint32_t i = 0; i < count; i++)
        if (enc_equal(&list[i], enc))
            return true;
    return false;
}

tn_status plain_weight_transcode(const plain_weight *weight, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    if (!is_produced(weight, enc))
        return tn_fail(err, TN_E_ARGUMENT, "'%s' cannot be produced in the encoding asked for", name);
    const weight_block block = {enc, weight->rows, weight->columns, row0, n_rows, k0, n_k, plane, plane_bytes};
    tn_status status = weight_block_check(&block, 8, err);
    if (status == TN_OK)
        weight_block_from_floats(&block, weight->type, weight->data);
    return status;
}

tn_status plain_weight_reference(const plain_weight *weight, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    if (!size_within(row0, n_rows, weight->rows))
        return tn_fail(err, TN_E_ARGUMENT, "rows %" PRIu64 "+%" PRIu64 " are outside '%s', which has %" PRIu64, row0,
                       n_rows, name, weight->rows);
    const uint8_t *from = (const uint8_t *)weight->data + row0 * weight->columns * tn_scalar_bytes(weight->type);
    floats_convert(TN_F32, ret_rows, weight->type, from, n_rows * weight->columns);
    return TN_OK;
}
