/* plugins/quant_awq/layout.c: what quantization_config says, and whether a weight's tensors agree with it. */
#include "quant_awq.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* Newer names first; AutoAWQ's own file said w_bit and q_group_size. */
static tn_status read_sizes(const quant_config *config, int64_t *ret_bits, int64_t *ret_group_size, tn_error *err)
{
    static const char where[] = "quantization_config";
    tn_status status = quant_config_integer(config, config->object, where, "w_bit", 1, 32, ret_bits, err);

    if (status == TN_OK)
        status = quant_config_integer(config, config->object, where, "bits", 1, 32, ret_bits, err);
    if (status == TN_OK)
        status =
            quant_config_integer(config, config->object, where, "q_group_size", -1, INT32_MAX, ret_group_size, err);
    if (status == TN_OK)
        status = quant_config_integer(config, config->object, where, "group_size", -1, INT32_MAX, ret_group_size, err);
    return status;
}

/* AutoAWQ's "version" has the last word, as in transformers; newer writers say "format" or "checkpoint_format". */
static tn_status read_layout(const quant_config *config, uint32_t *ret_layout, tn_error *err)
{
    static const char *const keys[] = {"checkpoint_format", "format", "version"};
    const char *version = "gemm";
    tn_status status = TN_OK;

    for (size_t i = 0; i < sizeof keys / sizeof *keys && status == TN_OK; i++)
        status = quant_config_string(config, config->object, "quantization_config", keys[i], &version, err);
    if (status != TN_OK)
        return status;
    if (strcasecmp(version, "gemm") == 0)
        *ret_layout = AWQ_GEMM;
    else if (strcasecmp(version, "gemv") == 0)
        *ret_layout = AWQ_GEMV;
    else
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: AWQ layout '%.32s' is not read (gemm and gemv are): convert the checkpoint to gemm",
                       config->path, version);
    return TN_OK;
}

tn_status awq_read_settings(const quant_config *config, void *ret_settings, tn_error *err)
{
    awq_settings *settings = ret_settings;
    bool zero_point = true;
    int64_t bits = AWQ_BITS;

    settings->group_size = 128;
    tn_status status = read_sizes(config, &bits, &settings->group_size, err);
    if (status == TN_OK)
        status = read_layout(config, &settings->layout, err);
    if (status == TN_OK)
        status = quant_config_bool(config, config->object, "quantization_config", "zero_point", &zero_point, err);
    if (status == TN_OK)
        status = quant_config_check_names(config, config->object, "quantization_config", "modules_to_not_convert", err);
    if (status != TN_OK)
        return status;
    if (bits != AWQ_BITS)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: AWQ of %" PRId64 " bits; quant_awq reads 4", config->path, bits);
    if (settings->group_size == 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: quantization_config.group_size is 0", config->path);
    return TN_OK;
}

/* qweight's shape gives N and K. */
static tn_status read_shape(const tn_tensor_src *qweight, uint32_t layout, packed_weight *weight, tn_error *err)
{
    if (qweight->dtype != TN_DTYPE_I32 || qweight->rank != 2 || qweight->dim[0] > INT32_MAX ||
        qweight->dim[1] > INT32_MAX / AWQ_PER_WORD)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be an I32 matrix, it is %s of rank %u", weight->path,
                       qweight->name, packed_dtype_name(qweight->dtype), qweight->rank);
    uint64_t packed = (uint64_t)qweight->dim[1] * AWQ_PER_WORD;
    weight->rows = layout == AWQ_GEMM ? packed : (uint64_t)qweight->dim[0];
    weight->columns = layout == AWQ_GEMM ? (uint64_t)qweight->dim[0] : packed;
    return TN_OK;
}

/* gemv pads its rows to a width that depends on the group size; what is there beyond the groups is not read. */
static tn_status check_gemv(packed_weight *weight, uint64_t groups, const char *because, tn_error *err)
{
    const tn_tensor_src *zeros = &weight->part[AWQ_QZEROS], *scales = &weight->part[AWQ_SCALES];
    uint64_t width = zeros->rank == 2 ? (uint64_t)zeros->dim[1] : 0;

    if (width * AWQ_PER_WORD < groups)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' has room for %" PRIu64 " groups per row; %s need %" PRIu64,
                       weight->path, zeros->name, width * AWQ_PER_WORD, because, groups);
    tn_status status = packed_expect(weight, zeros, TN_DTYPE_I32, weight->rows, width, because, err);
    if (status == TN_OK)
        status = packed_expect(weight, scales, scales->dtype, weight->rows, width * AWQ_PER_WORD, "8 per word of zeros",
                               err);
    return status;
}

static tn_status check_parts(packed_weight *weight, uint64_t groups, tn_error *err)
{
    char because[96];

    snprintf(because, sizeof because, "%" PRIu64 " inputs in groups of %u", weight->columns, weight->enc.group_k);
    if (weight->variant == AWQ_GEMV)
        return check_gemv(weight, groups, because, err);
    tn_status status = packed_expect(weight, &weight->part[AWQ_QZEROS], TN_DTYPE_I32, groups,
                                     weight->rows / AWQ_PER_WORD, because, err);
    if (status == TN_OK)
        status = packed_expect(weight, &weight->part[AWQ_SCALES], weight->part[AWQ_SCALES].dtype, groups, weight->rows,
                               because, err);
    return status;
}

tn_status awq_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                   tn_error *err)
{
    const awq_settings *awq = settings;
    packed_weight *weight = ret_weight;
    uint32_t scale_type = 0;

    if (!packed_part(source, name, "qweight", &weight->part[AWQ_QWEIGHT]))
        return TN_E_NOT_FOUND;
    if (!packed_part(source, name, "qzeros", &weight->part[AWQ_QZEROS]))
        return packed_missing(weight, "qzeros", "AWQ has zero points", err);
    if (!packed_part(source, name, "scales", &weight->part[AWQ_SCALES]))
        return packed_missing(weight, "scales", "each group has one", err);
    tn_status status = read_shape(&weight->part[AWQ_QWEIGHT], awq->layout, weight, err);
    if (status == TN_OK)
        status = packed_float_type(weight, &weight->part[AWQ_SCALES], &scale_type, err);
    if (status != TN_OK)
        return status;
    bool whole = awq->group_size < 0 || (uint64_t)awq->group_size > weight->columns;
    weight->variant = awq->layout;
    weight->transcode = awq_transcode;
    weight->decode = awq_decode;
    weight->enc = (tn_enc){.struct_size = sizeof weight->enc,
                           .family = TN_ENC_AFFINE,
                           .qtype = TN_Q_UNSIGNED,
                           .bits = AWQ_BITS,
                           .group_k = (uint32_t)(whole ? weight->columns : (uint64_t)awq->group_size),
                           .scale_type = scale_type,
                           .zero_type = TN_ZERO_POINT};
    return check_parts(weight, tn_group_count(weight->columns, weight->enc.group_k), err);
}
