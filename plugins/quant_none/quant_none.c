/* plugins/quant_none/quant_none.c: the tn.quant table for safetensors checkpoints that are not quantized: F32, F16,
 * BF16.
 *
 * A weight keeps its type; bf16 is offered last. A checkpoint whose config.json has a quantization_config belongs to
 * another plugin (AWQ, GPTQ, ...), and is left to it, whatever the order of plugins in the settings.
 */
#include "base/json_text.h"
#include "quant/plain_weight.h"
#include "tenon/entry.h"
#include "tenon/quant.h"

#include <stdlib.h>
#include <string.h>

struct tn_qmodel {
    const tn_source *source; /* borrowed */
};

/* Says who made the checkpoint ("awq"), or that nobody did. */
static tn_status refuse_quantized(const tn_source *source, tn_error *err)
{
    tn_meta config = {.struct_size = sizeof config};
    json_error_t error;

    if (source->meta(source, "config.json", &config) != TN_OK || config.kind != TN_META_STRING)
        return TN_OK;
    json_t *json = json_text_load(config.string, config.count, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: bad JSON at byte %d: %s", source->path, error.position,
                       error.text);
    json_t *quantization = json_object_get(json, "quantization_config");
    tn_status status = TN_OK;
    if (quantization && !json_is_null(quantization)) {
        const char *method = json_string_value(json_object_get(quantization, "quant_method"));
        if (method)
            status = tn_fail(err, TN_E_NOT_FOUND, "%s: config.json: quant_method \"%.32s\" is not supported",
                             source->path, method);
        else
            status =
                tn_fail(err, TN_E_NOT_FOUND, "%s: config.json: quantization_config has no quant_method", source->path);
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

static tn_status quant_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    if (qmodel->source->tensor(qmodel->source, name, &tensor) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tensor '%s'", qmodel->source->path, name);
    weight_shape(&tensor, ret_n, ret_k);
    return TN_OK;
}

static tn_status quant_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    plain_weight weight;
    tn_enc list[PLAIN_ENCODINGS_MAX];

    tn_status status = plain_weight_find(qmodel->source, name, &weight, err);
    if (status != TN_OK)
        return status;
    if (index >= plain_weight_encodings(&weight, list))
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = list[index];
    return TN_OK;
}

static tn_status quant_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    plain_weight weight;
    tn_status status = plain_weight_find(qmodel->source, name, &weight, err);
    if (status != TN_OK)
        return status;
    return plain_weight_transcode(&weight, name, enc, row0, n_rows, k0, n_k, plane, plane_bytes, err);
}

static tn_status quant_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    plain_weight weight;
    tn_status status = plain_weight_find(qmodel->source, name, &weight, err);
    return status == TN_OK ? plain_weight_reference(&weight, name, row0, n_rows, ret_rows, err) : status;
}

static const char *quant_formats(void)
{
    return "no quantization";
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
    .formats = quant_formats,
};

TN_PLUGIN_ENTRY(TN_QUANT_ID, &table, .id = "quant_none", .version = "0.1.0", .vendor = "Tenon", .license = "Apache-2.0")
