/* plugins/quant_none/quant_none.c: the tn.quant table for safetensors checkpoints that are not quantized: F32, F16,
 * BF16.
 *
 * A weight keeps its type; bf16 is offered last. A checkpoint whose config.json has a quantization_config belongs to
 * another plugin (AWQ, GPTQ, ...), and is left to it, whatever the order of plugins in the settings.
 */
#include "base/weight_block.h"
#include "tenon/quant.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct tn_qmodel {
    const tn_source *source; /* borrowed */
};

typedef struct float_weight {
    const void *data;
    uint32_t type; /* TN_F32, TN_F16, TN_BF16 */
    uint64_t rows, columns;
} float_weight;

/* Says who made the checkpoint ("awq"), or that nobody did. */
static tn_status refuse_quantized(const tn_source *source, tn_error *err)
{
    tn_meta config = {.struct_size = sizeof config};
    json_error_t error;

    if (source->meta(source, "config.json", &config) != TN_OK || config.kind != TN_META_STRING)
        return TN_OK;
    json_t *json = json_loadb(config.string, config.count, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: bad JSON at byte %d: %s", source->path, error.position,
                       error.text);
    json_t *quantization = json_object_get(json, "quantization_config");
    tn_status status = TN_OK;
    if (quantization && !json_is_null(quantization)) {
        const char *method = json_string_value(json_object_get(quantization, "quant_method"));
        status = tn_fail(err, TN_E_NOT_FOUND, "%s: the checkpoint is quantized (%.32s), which is not for quant_none",
                         source->path, method ? method : "unnamed method");
    }
    json_decref(json);
    return status;
}

static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    if (!source || !ret_qmodel)
        return tn_fail(err, TN_E_ARGUMENT, "quant_none: open without a source");
    if (strcmp(source->container, "safetensors") != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: container '%s' is not for quant_none", source->path,
                       source->container);
    tn_status status = refuse_quantized(source, err);
    if (status != TN_OK)
        return status;
    tn_qmodel *qmodel = malloc(sizeof *qmodel);
    if (!qmodel)
        return tn_fail(err, TN_E_MEMORY, "quant_none");
    qmodel->source = source;
    *ret_qmodel = qmodel;
    return TN_OK;
}

static void quant_close(tn_qmodel *qmodel)
{
    free(qmodel);
}

static tn_status find_tensor(const tn_qmodel *qmodel, const char *name, tn_tensor_src *ret_tensor, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    if (qmodel->source->tensor(qmodel->source, name, &tensor) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tensor '%s'", qmodel->source->path, name);
    *ret_tensor = tensor;
    return TN_OK;
}

static uint32_t float_type(uint32_t dtype)
{
    switch (dtype) {
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

static tn_status find_weight(const tn_qmodel *qmodel, const char *name, float_weight *ret_weight, tn_error *err)
{
    tn_tensor_src tensor;
    tn_status status = find_tensor(qmodel, name, &tensor, err);
    if (status != TN_OK)
        return status;
    float_weight weight = {.data = tensor.data, .type = float_type(tensor.dtype)};
    if (!weight.type)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "%s: tensor '%s' is not of type F32, F16 or BF16; a quantization plugin for its format is missing",
            qmodel->source->path, name);
    weight_shape(&tensor, &weight.rows, &weight.columns);
    TN_ASSERT(weight.rows * weight.columns * tn_scalar_bytes(weight.type) == tensor.bytes); /* the source promises it */
    *ret_weight = weight;
    return TN_OK;
}

static tn_status quant_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    tn_tensor_src tensor;
    tn_status status = find_tensor(qmodel, name, &tensor, err);
    if (status == TN_OK)
        weight_shape(&tensor, ret_n, ret_k);
    return status;
}

/* Lossless first. A vector of halves is tiny and often wanted in float32, so that comes before bf16, which would round.
 */
static uint32_t list_types(const float_weight *weight, uint32_t ret_types[3])
{
    uint32_t count = 0;

    ret_types[count++] = weight->type;
    if (weight->type == TN_F16 && weight->rows == 1)
        ret_types[count++] = TN_F32;
    if (weight->type != TN_BF16)
        ret_types[count++] = TN_BF16;
    return count;
}

static tn_status quant_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    float_weight weight;
    uint32_t types[3];

    tn_status status = find_weight(qmodel, name, &weight, err);
    if (status != TN_OK)
        return status;
    if (index >= list_types(&weight, types))
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = enc_float(types[index]);
    return TN_OK;
}

static bool is_produced(const float_weight *weight, const tn_enc *enc)
{
    uint32_t types[3], count = list_types(weight, types);

    for (uint32_t i = 0; i < count; i++) {
        tn_enc produced = enc_float(types[i]);
        if (enc_equal(&produced, enc))
            return true;
    }
    return false;
}

static tn_status quant_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    float_weight weight;
    tn_status status = find_weight(qmodel, name, &weight, err);
    if (status != TN_OK)
        return status;
    if (!is_produced(&weight, enc))
        return tn_fail(err, TN_E_ARGUMENT, "'%s' cannot be produced in the encoding asked for", name);

    const weight_block block = {enc, weight.rows, weight.columns, row0, n_rows, k0, n_k, plane, plane_bytes};
    status = weight_block_check(&block, 8, err);
    if (status == TN_OK)
        weight_block_from_floats(&block, weight.type, weight.data);
    return status;
}

static tn_status quant_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    float_weight weight;
    tn_status status = find_weight(qmodel, name, &weight, err);
    if (status != TN_OK)
        return status;
    if (row0 > weight.rows || n_rows > weight.rows - row0)
        return tn_fail(err, TN_E_ARGUMENT, "rows %" PRIu64 "+%" PRIu64 " are outside '%s', which has %" PRIu64, row0,
                       n_rows, name, weight.rows);
    const uint8_t *from = (const uint8_t *)weight.data + row0 * weight.columns * tn_scalar_bytes(weight.type);
    floats_convert(TN_F32, ret_rows, weight.type, from, n_rows * weight.columns);
    return TN_OK;
}

/* ---- the handshake ---- */

static const tn_quant_table table = {
    .struct_size = sizeof table,
    .open = quant_open,
    .close = quant_close,
    .shape = quant_shape,
    .produces = quant_produces,
    .transcode = quant_transcode,
    .reference = quant_reference,
};

static tn_status plugin_init(const tn_host *host, tn_error *err)
{
    (void)host;
    (void)err;
    return TN_OK;
}

static void plugin_fini(void)
{
}

static const void *plugin_get_interface(const char *id)
{
    return strcmp(id, TN_QUANT_ID) == 0 ? &table : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_QUANT_ID, NULL};
    static const tn_plugin plugin = {
        .magic = TN_PLUGIN_MAGIC,
        .struct_size = sizeof plugin,
        .abi_major = TN_ABI_MAJOR,
        .abi_built = TN_ABI_MINOR,
        .abi_min = TN_ABI_MINOR,
        .id = "quant_none",
        .version = "0.1.0",
        .vendor = "Tenon",
        .license = "Apache-2.0",
        .provides = provides,
        .init = plugin_init,
        .fini = plugin_fini,
        .get_interface = plugin_get_interface,
    };
    return &plugin;
}
