/* plugins/quant_compressed/settings.c: quantization_config as a list of schemes.
 *
 * compressed-tensors groups modules by targets (classes, names, regular expressions) and gives each group a scheme. The
 * tensors of a weight show which scheme it follows, so targets are not matched; a weight that fits none is refused.
 */
#include "quant_compressed.h"

#include <string.h>

static const char where[] = "quantization_config";

static tn_status unsupported(const quant_config *config, const char *key, const char *value, tn_error *err)
{
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: config.json: %s.%s is '%.48s', which quant_compressed does not read",
                   config->path, where, key, value);
}

static tn_status one_of(const quant_config *config, const char *key, const char *value, const char *const *known,
                        tn_error *err)
{
    for (; *known; known++)
        if (strcmp(*known, value) == 0)
            return TN_OK;
    return unsupported(config, key, value, err);
}

/* ---- compressed-tensors ---- */

static tn_status read_strategy(const quant_config *config, const json_t *weights, scheme *ret, tn_error *err)
{
    static const char *const names[] = {"tensor", "channel", "group", "block"};
    const json_t *block = NULL;
    const char *strategy = NULL;
    int64_t group_size = 0;

    tn_status status = quant_config_string(config, weights, "weights", "strategy", &strategy, err);
    if (status == TN_OK)
        status = quant_config_integer(config, weights, "weights", "group_size", -1, INT32_MAX, &group_size, err);
    if (status == TN_OK)
        status = quant_config_container(config, weights, "weights", "block_structure", JSON_ARRAY, &block, err);
    if (status != TN_OK)
        return status;
    if (!strategy)
        strategy = group_size > 0 ? "group" : group_size < 0 ? "channel" : "tensor";
    for (ret->strategy = 0; ret->strategy < 4 && strcmp(names[ret->strategy], strategy) != 0; ret->strategy++)
        continue;
    if (ret->strategy == 4)
        return unsupported(config, "weights.strategy", strategy, err);
    if (ret->strategy == STRATEGY_GROUP && group_size <= 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: weights of strategy 'group' need a group_size",
                       config->path);
    ret->group_k = (uint32_t)(group_size > 0 ? group_size : 0);
    if (ret->strategy != STRATEGY_BLOCK)
        return TN_OK;
    int64_t rows = json_integer_value(json_array_get(block, 0)), columns = json_integer_value(json_array_get(block, 1));
    if (json_array_size(block) != 2 || rows < 1 || columns < 1 || rows > INT32_MAX || columns > INT32_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: weights.block_structure is not a list of two sizes",
                       config->path);
    ret->group_n = (uint32_t)rows;
    ret->group_k = (uint32_t)columns;
    return TN_OK;
}

/* Inputs of other widths than 8 bits, and asymmetric ones, are taken as floats: the scheme is information. */
static tn_status read_inputs(const quant_config *config, const json_t *inputs, scheme *ret, tn_error *err)
{
    int64_t bits = 8;
    bool dynamic = false, symmetric = true;
    const char *type = "int", *strategy = "tensor";

    if (!inputs)
        return TN_OK;
    tn_status status = quant_config_integer(config, inputs, "input_activations", "num_bits", 1, 32, &bits, err);
    if (status == TN_OK)
        status = quant_config_bool(config, inputs, "input_activations", "symmetric", &symmetric, err);
    if (status == TN_OK)
        status = quant_config_string(config, inputs, "input_activations", "type", &type, err);
    if (status == TN_OK)
        status = quant_config_string(config, inputs, "input_activations", "strategy", &strategy, err);
    if (status == TN_OK && bits == 8)
        status = quant_config_bool(config, inputs, "input_activations", "dynamic", &dynamic, err);
    if (status != TN_OK || bits != 8 || !symmetric)
        return status;
    ret->act_type = strcmp(type, "float") == 0 ? TN_Q_E4M3 : TN_S8;
    ret->act_scheme = !dynamic                         ? TN_INPUT_STATIC
                      : strcmp(strategy, "token") == 0 ? TN_INPUT_TOKEN
                      : strcmp(strategy, "group") == 0 ? TN_INPUT_GROUP
                                                       : TN_INPUT_TENSOR;
    return TN_OK;
}

static tn_status read_weights(const quant_config *config, const json_t *weights, scheme *ret, tn_error *err)
{
    int64_t bits = 8;
    const char *type = "int";
    ret->symmetric = true;

    tn_status status = quant_config_integer(config, weights, "weights", "num_bits", 1, 32, &bits, err);
    if (status == TN_OK)
        status = quant_config_string(config, weights, "weights", "type", &type, err);
    if (status == TN_OK)
        status = quant_config_bool(config, weights, "weights", "symmetric", &ret->symmetric, err);
    if (status == TN_OK)
        status = read_strategy(config, weights, ret, err);
    if (status != TN_OK)
        return status;
    ret->is_float = strcmp(type, "float") == 0;
    ret->bits = (uint32_t)bits;
    if (!ret->is_float && strcmp(type, "int") != 0)
        return unsupported(config, "weights.type", type, err);
    if (ret->is_float ? bits != 8 && bits != 4 : bits < 2 || bits > 8)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: %s weights of %d bits; quant_compressed reads int 2 to 8, float 8 and "
                       "MXFP4",
                       config->path, type, (int)bits);
    if (!ret->is_float && ret->strategy == STRATEGY_BLOCK)
        return unsupported(config, "weights.strategy", "block of int", err);
    return TN_OK;
}

static tn_status check_format(const quant_config *config, const json_t *object, tn_error *err)
{
    static const char *const known[] = {"pack-quantized",       "int-quantized",   "float-quantized", "naive-quantized",
                                        "mxfp4-pack-quantized", "mixed-precision", "dense",           NULL};
    const char *format = "dense";
    tn_status status = quant_config_string(config, object, where, "format", &format, err);
    return status == TN_OK ? one_of(config, "format", format, known, err) : status;
}

/* Sparse storage and rotations of the activations would change answers if they were passed over. */
static tn_status check_extras(const quant_config *config, tn_error *err)
{
    const json_t *sparsity = NULL, *transform = NULL, *groups = NULL;
    const char *format = "dense";

    tn_status status =
        quant_config_container(config, config->object, where, "sparsity_config", JSON_OBJECT, &sparsity, err);
    if (status == TN_OK)
        status = quant_config_string(config, sparsity, "sparsity_config", "format", &format, err);
    if (status == TN_OK && strcmp(format, "dense") != 0)
        return unsupported(config, "sparsity_config.format", format, err);
    if (status == TN_OK)
        status =
            quant_config_container(config, config->object, where, "transform_config", JSON_OBJECT, &transform, err);
    if (status == TN_OK)
        status =
            quant_config_container(config, transform, "transform_config", "config_groups", JSON_OBJECT, &groups, err);
    if (status == TN_OK && json_object_size(groups))
        return unsupported(config, "transform_config", "not empty", err);
    return status;
}

static tn_status read_group(const quant_config *config, const json_t *group, compressed_settings *settings,
                            tn_error *err)
{
    const json_t *weights = NULL, *inputs = NULL;

    if (settings->count == SCHEMES_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: config.json: more than %d config_groups", config->path, SCHEMES_MAX);
    scheme *scheme = &settings->schemes[settings->count];
    tn_status status = check_format(config, group, err);
    if (status == TN_OK)
        status = quant_config_container(config, group, "config_groups", "weights", JSON_OBJECT, &weights, err);
    if (status == TN_OK)
        status = quant_config_container(config, group, "config_groups", "input_activations", JSON_OBJECT, &inputs, err);
    if (status != TN_OK || !weights)
        return status; /* a group may quantize inputs alone */
    settings->count++;
    status = read_weights(config, weights, scheme, err);
    return status == TN_OK ? read_inputs(config, inputs, scheme, err) : status;
}

static tn_status read_compressed(const quant_config *config, compressed_settings *settings, tn_error *err)
{
    const json_t *groups = NULL;
    const char *name;
    json_t *group;

    tn_status status = check_format(config, config->object, err);
    if (status == TN_OK)
        status = check_extras(config, err);
    if (status == TN_OK)
        status = quant_config_check_names(config, config->object, where, "ignore", err);
    if (status == TN_OK)
        status = quant_config_container(config, config->object, where, "config_groups", JSON_OBJECT, &groups, err);
    json_object_foreach((json_t *)(uintptr_t)groups, name, group)
    {
        if (status == TN_OK && !json_is_object(group))
            status = tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.config_groups.%.32s is not an object",
                             config->path, where, name);
        if (status == TN_OK)
            status = read_group(config, group, settings, err);
    }
    return status;
}

/* ---- fp8 and mxfp4 ---- */

static tn_status read_fp8_block(const quant_config *config, compressed_settings *settings, tn_error *err)
{
    const json_t *block = NULL;
    tn_status status =
        quant_config_container(config, config->object, where, "weight_block_size", JSON_ARRAY, &block, err);

    if (status != TN_OK || !block)
        return status;
    int64_t rows = json_integer_value(json_array_get(block, 0)), columns = json_integer_value(json_array_get(block, 1));
    if (json_array_size(block) != 2 || rows < 1 || columns < 1 || rows > INT32_MAX || columns > INT32_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.weight_block_size is not a list of two sizes",
                       config->path, where);
    settings->schemes[0].strategy = STRATEGY_BLOCK;
    settings->schemes[0].group_n = (uint32_t)rows;
    settings->schemes[0].group_k = (uint32_t)columns;
    settings->scale_part = "weight_scale_inv";
    return TN_OK;
}

static tn_status read_fp8(const quant_config *config, compressed_settings *settings, tn_error *err)
{
    static const char *const formats[] = {"e4m3", "float8_e4m3fn", NULL}, *const schemes[] = {"dynamic", "static",
                                                                                              NULL};
    const char *format = "e4m3", *inputs = "dynamic";

    settings->count = 2; /* one scale for a tensor, or one for each output */
    for (uint32_t i = 0; i < settings->count; i++)
        settings->schemes[i] = (scheme){.is_float = true, .symmetric = true, .bits = 8, .strategy = i};
    tn_status status = quant_config_string(config, config->object, where, "fmt", &format, err);
    if (status == TN_OK)
        status = one_of(config, "fmt", format, formats, err);
    if (status == TN_OK)
        status = quant_config_string(config, config->object, where, "activation_scheme", &inputs, err);
    if (status == TN_OK)
        status = one_of(config, "activation_scheme", inputs, schemes, err);
    if (status == TN_OK)
        status = quant_config_check_names(config, config->object, where, "modules_to_not_convert", err);
    if (status == TN_OK)
        status = read_fp8_block(config, settings, err);
    for (uint32_t i = 0; i < settings->count; i++) {
        bool block = settings->schemes[i].strategy == STRATEGY_BLOCK;
        settings->schemes[i].act_type = TN_Q_E4M3;
        settings->schemes[i].act_scheme = strcmp(inputs, "static") == 0 ? TN_INPUT_STATIC
                                          : block                       ? TN_INPUT_GROUP
                                                                        : TN_INPUT_TENSOR;
    }
    return status;
}

tn_status compressed_read_settings(const quant_config *config, void *ret_settings, tn_error *err)
{
    compressed_settings *settings = ret_settings;

    settings->scale_part = "weight_scale";
    if (strcmp(config->method, "fp8") == 0)
        return read_fp8(config, settings, err);
    if (strcmp(config->method, "mxfp4") == 0) {
        settings->schemes[settings->count++] =
            (scheme){.is_float = true, .symmetric = true, .bits = 4, .strategy = STRATEGY_GROUP, .group_k = 32};
        return quant_config_check_names(config, config->object, where, "modules_to_not_convert", err);
    }
    return read_compressed(config, settings, err);
}
