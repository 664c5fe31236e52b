/* plugins/quant_gptq/layout.c: what quantization_config says, and whether a weight's tensors agree with it.
 *
 * Zero points come in two ways that writers do not always name rightly: v1 stored them minus one. Symmetric checkpoints
 * betray it, because their only zero point is 2^(bits - 1); for the others the label decides.
 */
#include "quant_gptq.h"

#include "quant/bit_stream.h"
#include "quant/group_order.h"

#include <inttypes.h>
#include <string.h>

static tn_status read_format(const quant_config *config, uint32_t *ret_zeros, tn_error *err)
{
    const char *format = NULL;
    tn_status status = quant_config_string(config, config->object, "quantization_config", "format", &format, err);

    if (status == TN_OK)
        status = quant_config_string(config, config->object, "quantization_config", "checkpoint_format", &format, err);
    if (status != TN_OK)
        return status;
    if (!format || strcmp(format, "gptq") == 0)
        *ret_zeros = GPTQ_ZEROS_MINUS_ONE;
    else if (strcmp(format, "gptq_v2") == 0)
        *ret_zeros = GPTQ_ZEROS_AS_THEY_ARE;
    else
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: GPTQ checkpoint_format '%.32s' is not read (gptq and gptq_v2 are): convert the checkpoint",
                       config->path, format);
    return TN_OK;
}

static tn_status read_numbers(const quant_config *config, gptq_settings *settings, tn_error *err)
{
    static const char where[] = "quantization_config";
    settings->bits = 4;
    settings->group_size = 128;
    settings->symmetric = true;

    tn_status status = quant_config_integer(config, config->object, where, "bits", 1, 32, &settings->bits, err);
    if (status == TN_OK)
        status = quant_config_integer(config, config->object, where, "group_size", -1, INT32_MAX, &settings->group_size,
                                      err);
    if (status == TN_OK)
        status = quant_config_bool(config, config->object, where, "sym", &settings->symmetric, err);
    if (status == TN_OK)
        status = quant_config_bool(config, config->object, where, "desc_act", &settings->desc_act, err);
    return status;
}

tn_status gptq_read_settings(const quant_config *config, void *ret_settings, tn_error *err)
{
    gptq_settings *settings = ret_settings;
    const char *pack_type = "int32";

    tn_status status = read_numbers(config, settings, err);
    if (status == TN_OK)
        status = read_format(config, &settings->zeros, err);
    if (status == TN_OK)
        status = quant_config_string(config, config->object, "quantization_config", "pack_dtype", &pack_type, err);
    if (status == TN_OK)
        status = quant_config_check_names(config, config->object, "quantization_config", "modules_to_not_convert", err);
    if (status != TN_OK)
        return status;
    if (settings->bits != 2 && settings->bits != 3 && settings->bits != 4 && settings->bits != 8)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: GPTQ of %" PRId64 " bits; quant_gptq reads 2, 3, 4 and 8",
                       config->path, settings->bits);
    if (settings->group_size == 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: quantization_config.group_size is 0", config->path);
    if (strcmp(pack_type, "int32") != 0)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: GPTQ packed into %.16s; quant_gptq reads int32", config->path,
                       pack_type);
    return TN_OK;
}

/* ---- a weight ---- */

/* K comes from g_idx where there is one, else from qweight, whose columns then hold whole words. */
static tn_status read_shape(packed_weight *weight, uint32_t bits, tn_error *err)
{
    const tn_tensor_src *qweight = &weight->part[GPTQ_QWEIGHT], *g_idx = &weight->part[GPTQ_G_IDX];

    if (qweight->dtype != TN_DTYPE_I32 || qweight->rank != 2 || qweight->dim[0] > INT32_MAX / 32 ||
        qweight->dim[1] > INT32_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be an I32 matrix, it is %s of rank %u", weight->path,
                       qweight->name, packed_dtype_name(qweight->dtype), qweight->rank);
    uint64_t words = (uint64_t)qweight->dim[0];
    weight->rows = (uint64_t)qweight->dim[1];
    weight->columns = g_idx->data ? (uint64_t)g_idx->dim[0] : words * 32 / bits;
    if (weight->columns > INT32_MAX || (weight->columns * bits + 31) / 32 != words)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tensor '%s' has %" PRIu64 " rows; %" PRIu64 " inputs of %u bits need %" PRIu64
                       ": quantization_config.bits may be wrong",
                       weight->path, qweight->name, words, weight->columns, bits, (weight->columns * bits + 31) / 32);
    return TN_OK;
}

static tn_status check_parts(packed_weight *weight, uint64_t groups, tn_error *err)
{
    uint32_t bits = weight->enc.bits, scale_type;
    char because[96];

    snprintf(because, sizeof because, "%" PRIu64 " inputs in groups of %u", weight->columns, weight->enc.group_k);
    tn_status status = packed_float_type(weight, &weight->part[GPTQ_SCALES], &scale_type, err);
    if (status == TN_OK)
        status = packed_expect(weight, &weight->part[GPTQ_SCALES], weight->part[GPTQ_SCALES].dtype, groups,
                               weight->rows, because, err);
    if (status == TN_OK)
        status = packed_expect(weight, &weight->part[GPTQ_QZEROS], TN_DTYPE_I32, groups,
                               (weight->rows * bits + 31) / 32, because, err);
    if (status == TN_OK && weight->part[GPTQ_G_IDX].data)
        status = packed_expect(weight, &weight->part[GPTQ_G_IDX], TN_DTYPE_I32, weight->columns, 0,
                               "the group of each input", err);
    if (status == TN_OK)
        weight->enc.scale_type = scale_type;
    return status;
}

/* See the head of this file. */
static uint32_t zeros_of(const gptq_settings *settings, const packed_weight *weight)
{
    uint32_t middle = 1u << (settings->bits - 1);
    uint32_t first = stream_code(weight->part[GPTQ_QZEROS].data, 1, 0, (uint32_t)settings->bits);

    if (settings->symmetric && first == middle)
        return GPTQ_ZEROS_AS_THEY_ARE;
    if (settings->symmetric && first == middle - 1)
        return GPTQ_ZEROS_MINUS_ONE;
    return settings->zeros;
}

static tn_status find_parts(const tn_source *source, const char *name, const gptq_settings *settings,
                            packed_weight *weight, tn_error *err)
{
    if (!packed_part(source, name, "qweight", &weight->part[GPTQ_QWEIGHT]))
        return TN_E_NOT_FOUND;
    if (!packed_part(source, name, "qzeros", &weight->part[GPTQ_QZEROS]))
        return packed_missing(weight, "qzeros", "GPTQ has zero points", err);
    if (!packed_part(source, name, "scales", &weight->part[GPTQ_SCALES]))
        return packed_missing(weight, "scales", "each group has one", err);
    if (!packed_part(source, name, "g_idx", &weight->part[GPTQ_G_IDX]) && settings->desc_act)
        return packed_missing(weight, "g_idx", "quantization_config.desc_act is true", err);
    if (weight->part[GPTQ_G_IDX].data && weight->part[GPTQ_G_IDX].rank != 1)
        return packed_expect(weight, &weight->part[GPTQ_G_IDX], TN_DTYPE_I32, (uint64_t)weight->part[GPTQ_G_IDX].dim[0],
                             0, "the group of each input", err);
    return TN_OK;
}

tn_status gptq_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                    tn_error *err)
{
    const gptq_settings *gptq = settings;
    packed_weight *weight = ret_weight;

    tn_status status = find_parts(source, name, gptq, weight, err);
    if (status == TN_OK)
        status = read_shape(weight, (uint32_t)gptq->bits, err);
    if (status != TN_OK)
        return status;
    bool whole = gptq->group_size < 0 || (uint64_t)gptq->group_size > weight->columns;
    weight->transcode = gptq_transcode;
    weight->decode = gptq_decode;
    weight->enc = (tn_enc){.struct_size = sizeof weight->enc,
                           .family = TN_ENC_AFFINE,
                           .qtype = TN_Q_UNSIGNED,
                           .bits = (uint32_t)gptq->bits,
                           .group_k = (uint32_t)(whole ? weight->columns : (uint64_t)gptq->group_size),
                           .zero_type = TN_ZERO_POINT};
    uint64_t groups = tn_group_count(weight->columns, weight->enc.group_k);
    status = check_parts(weight, groups, err);
    if (status != TN_OK)
        return status;
    weight->variant = zeros_of(gptq, weight);
    return weight->part[GPTQ_G_IDX].data ? group_order_check(weight, &weight->part[GPTQ_G_IDX], err) : TN_OK;
}
