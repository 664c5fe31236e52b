/* config_hf.c: model dimensions from a checkpoint directory's config.json, as Hugging Face transformers writes it.
 *
 * Rope settings are read from `rope_scaling` beside a flat `rope_theta` (transformers 4) or from `rope_parameters` that
 * holds both (transformers 5). Defaults of absent keys are those of LlamaConfig. Unknown keys are ignored, as there are
 * hundreds that say nothing about inference; those that would change an answer are refused by name.
 */
#include "model/config.h"
#include "model/config_reader.h"
#include "model/graph.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static tn_status lookup(const config_reader *reader, const char *key, tn_meta *ret_meta)
{
    const json_t *value = json_object_get(reader->ctx, key);

    if (!value || json_is_null(value))
        return TN_E_NOT_FOUND;
    ret_meta->count = 1;
    if (json_is_integer(value)) {
        ret_meta->kind = TN_META_INT;
        ret_meta->i = json_integer_value(value);
    } else if (json_is_real(value)) {
        ret_meta->kind = TN_META_FLOAT;
        ret_meta->f = json_real_value(value);
    } else if (json_is_boolean(value)) {
        ret_meta->kind = TN_META_BOOL;
        ret_meta->u = json_is_true(value);
    } else if (json_is_string(value)) {
        ret_meta->kind = TN_META_STRING;
        ret_meta->string = json_string_value(value);
        ret_meta->count = json_string_length(value);
    } else {
        ret_meta->kind = TN_META_ARRAY;
    }
    return TN_OK;
}

static tn_status parse(const tn_source *source, json_t **ret_root, tn_error *err)
{
    tn_meta meta = {.struct_size = sizeof meta};
    json_error_t where;

    if (source->meta(source, "config.json", &meta) != TN_OK || meta.kind != TN_META_STRING)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: config.json is missing; it holds the model's dimensions",
                       source->path);
    json_t *root = json_loadb(meta.string, meta.count, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json line %d: %s", source->path, where.line, where.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json must hold an object", source->path);
    }
    *ret_root = root;
    return TN_OK;
}

static tn_status read_family(const tn_source *source, const json_t *root, model_config *config, tn_error *err)
{
    const char *name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));

    if (!name)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json architectures: must name the model's architecture",
                       source->path);
    const model_family *family = model_family_find(NULL, name);
    if (!family)
        return model_family_unknown(source->path, name, err);
    snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
    return TN_OK;
}

static void read_llama3(config_reader *rope, model_config *config)
{
    config_real(rope, "low_freq_factor", 1e-3, 1e6, NAN, &config->rope_low_freq_factor);
    config_real(rope, "high_freq_factor", 1e-3, 1e6, NAN, &config->rope_high_freq_factor);
    config_count(rope, "original_max_position_embeddings", 1, MODEL_CONTEXT_MAX, 0, &config->rope_original_context);
}

static void read_rope_scaling(config_reader *rope, model_config *config)
{
    char type[32], legacy[32];

    config_text(rope, "type", "default", legacy, sizeof legacy);
    config_text(rope, "rope_type", rope->status == TN_OK ? legacy : "", type, sizeof type);
    if (rope->status != TN_OK || strcmp(type, "default") == 0)
        return;
    if (strcmp(type, "linear") == 0) {
        config->rope_scaling = ROPE_SCALING_LINEAR;
    } else if (strcmp(type, "llama3") == 0) {
        config->rope_scaling = ROPE_SCALING_LLAMA3;
        read_llama3(rope, config);
    } else {
        config_refuse(rope, TN_E_UNSUPPORTED, "rope_type", "\"%s\" is not supported; known: default, linear, llama3",
                      type);
    }
    config_real(rope, "factor", 1e-3, 1e6, NAN, &config->rope_factor);
}

static void read_rope(config_reader *reader, model_config *config)
{
    const json_t *flat = json_object_get(reader->ctx, "rope_scaling");
    const json_t *nested = json_object_get(reader->ctx, "rope_parameters");
    const json_t *scaling = json_is_object(nested) ? nested : flat;
    float partial = 1.0f;

    config->rope_factor = 1.0f;
    config_real(reader, "rope_theta", 1.0, 1e15, 10000.0, &config->rope_theta);
    config_real(reader, "partial_rotary_factor", 0.0, 1.0, 1.0, &partial);
    if (json_is_object(scaling) && reader->status == TN_OK) {
        config_reader rope = *reader;
        rope.prefix = scaling == nested ? "config.json rope_parameters." : "config.json rope_scaling.";
        rope.ctx = scaling;
        config_real(&rope, "rope_theta", 1.0, 1e15, (double)config->rope_theta, &config->rope_theta);
        config_real(&rope, "partial_rotary_factor", 0.0, 1.0, (double)partial, &partial);
        read_rope_scaling(&rope, config);
        reader->status = rope.status;
    } else if (scaling && !json_is_null(scaling) && !json_is_object(scaling)) {
        config_refuse(reader, TN_E_CORRUPT, "rope_scaling", "must be an object or null");
    }
    if (partial != 1.0f)
        config_refuse(reader, TN_E_UNSUPPORTED, "partial_rotary_factor", "%g is not supported, only 1",
                      (double)partial);
    config->rope_dim = config->head_dim;
}

static void read_heads(config_reader *reader, model_config *config)
{
    config_count(reader, "num_attention_heads", 1, MODEL_HEADS_MAX, 0, &config->heads);
    config_count(reader, "num_key_value_heads", 1, MODEL_HEADS_MAX, config->heads, &config->kv_heads);
    if (reader->status != TN_OK)
        return;
    uint32_t divided = config->model_width % config->heads == 0 ? config->model_width / config->heads : 0;
    config_count(reader, "head_dim", 2, MODEL_HEAD_DIM_MAX, divided, &config->head_dim);
}

static tn_status read_root(const tn_source *source, const json_t *root, model_config *config, tn_error *err)
{
    config_reader reader = {.path = source->path, .prefix = "config.json ", .ctx = root, .lookup = lookup, .err = err};
    char activation[32];

    config_count(&reader, "num_hidden_layers", 1, MODEL_LAYERS_MAX, 0, &config->layers);
    config_count(&reader, "hidden_size", 1, MODEL_WIDTH_MAX, 0, &config->model_width);
    config_count(&reader, "intermediate_size", 1, MODEL_WIDTH_MAX, 0, &config->ff_width);
    config_count(&reader, "vocab_size", 1, MODEL_VOCAB_MAX, 0, &config->vocab);
    config_count(&reader, "max_position_embeddings", 1, MODEL_CONTEXT_MAX, 2048, &config->context);
    read_heads(&reader, config);
    config_real(&reader, "rms_norm_eps", 1e-20, 1.0, 1e-6, &config->norm_eps);
    read_rope(&reader, config);
    config_flag(&reader, "tie_word_embeddings", false, &config->tied_embeddings);
    config_flag(&reader, "attention_bias", false, &config->attention_bias);
    config_flag(&reader, "mlp_bias", false, &config->mlp_bias);
    config_text(&reader, "hidden_act", "silu", activation, sizeof activation);
    if (reader.status == TN_OK && strcmp(activation, "silu") != 0)
        config_refuse(&reader, TN_E_UNSUPPORTED, "hidden_act", "\"%s\" is not supported, only silu", activation);
    config->attention_output_bias = config->attention_bias;
    config->hf_names = true;
    return reader.status;
}

tn_status config_hf_read(const tn_source *source, model_config *config, tn_error *err)
{
    json_t *root = NULL;

    tn_status status = parse(source, &root, err);
    if (status == TN_OK)
        status = read_family(source, root, config, err);
    if (status == TN_OK)
        status = read_root(source, root, config, err);
    json_decref(root);
    return status;
}
