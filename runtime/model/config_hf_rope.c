/* config_hf_rope.c: see config_hf_rope.h.
 *
 * `rope_scaling` beside a flat `rope_theta` (transformers 4), or `rope_parameters` that holds both (transformers 5),
 * there perhaps once for full and once for sliding attention. A file with both spellings must say the same twice. What
 * lies flat beside rope_parameters holds where those have nothing.
 */
#include "model/config_hf_rope.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static void read_llama3(config_reader *rope, model_config *config)
{
    config->rope_scaling = ROPE_SCALING_LLAMA3;
    config_real(rope, "low_freq_factor", 1e-3, 1e6, NAN, &config->rope_low_freq_factor);
    config_real(rope, "high_freq_factor", 1e-3, 1e6, NAN, &config->rope_high_freq_factor);
    config_count(rope, "original_max_position_embeddings", 1, MODEL_CONTEXT_MAX, 0, &config->rope_original_context);
}

static void lengthen(model_config *config)
{
    double tokens = (double)config->rope_original_context * (double)config->rope_factor;

    if (tokens > MODEL_CONTEXT_MAX)
        tokens = MODEL_CONTEXT_MAX;
    if (tokens > config->context)
        config->context = (uint32_t)tokens;
}

static void read_stretched(config_reader *rope, model_config *config, rope_scaling scaling)
{
    config->rope_scaling = scaling;
    config->rope_original_context = config->context;
    config_real(rope, "factor", 1e-3, 1e6, NAN, &config->rope_factor);
    if (rope->status == TN_OK)
        lengthen(config);
}

static void read_yarn(config_reader *rope, model_config *config)
{
    bool truncate = true;

    config->rope_scaling = ROPE_SCALING_YARN;
    config_count(rope, "original_max_position_embeddings", 1, MODEL_CONTEXT_MAX, config->context,
                 &config->rope_original_context);
    if (rope->status != TN_OK)
        return;
    config_real(rope, "factor", 1e-3, 1e6, (double)config->context / config->rope_original_context,
                &config->rope_factor);
    config_real(rope, "attention_factor", 1e-3, 1e6, 0.0, &config->rope_attention_factor);
    config_real(rope, "beta_fast", 1e-3, 1e6, 32.0, &config->rope_beta_fast);
    config_real(rope, "beta_slow", 1e-3, 1e6, 1.0, &config->rope_beta_slow);
    config_real(rope, "mscale", 0.0, 1e6, 0.0, &config->rope_mscale);
    config_real(rope, "mscale_all_dim", 0.0, 1e6, 0.0, &config->rope_mscale_all);
    config_flag(rope, "truncate", true, &truncate);
    config->rope_untruncated = !truncate;
    if (rope->status == TN_OK)
        lengthen(config);
}

static void read_divisors(config_reader *rope, const char *key, uint32_t wanted, float *ret_divisors)
{
    uint32_t count = config_length(rope, key);

    if (rope->status == TN_OK && (count != wanted || count > MODEL_ROPE_FACTORS_MAX))
        config_refuse(rope, TN_E_CORRUPT, key,
                      "has %u elements, one is needed for each of %u rotated pairs (at most %d)", count, wanted,
                      MODEL_ROPE_FACTORS_MAX);
    for (uint32_t i = 0; i < count && rope->status == TN_OK; i++)
        ret_divisors[i] = config_real_at(rope, key, i, 1e-6, 1e6);
}

/* The original context lies beside rope_scaling in older files, within it in newer ones. */
static void read_longrope(config_reader *outer, config_reader *rope, model_config *config)
{
    uint32_t original = config->context;

    config->rope_scaling = ROPE_SCALING_LONGROPE;
    config_count(outer, "original_max_position_embeddings", 1, MODEL_CONTEXT_MAX, original, &original);
    rope->status = outer->status;
    config_count(rope, "original_max_position_embeddings", 1, MODEL_CONTEXT_MAX, original,
                 &config->rope_original_context);
    config_real(rope, "attention_factor", 1e-3, 1e6, 0.0, &config->rope_attention_factor);
    read_divisors(rope, "long_factor", config->rope_dim / 2, config->rope_long);
    read_divisors(rope, "short_factor", config->rope_dim / 2, config->rope_short);
    if (rope->status == TN_OK)
        config->rope_factor = (float)((double)config->context / config->rope_original_context);
}

/* "rope_type", or "type" in older files. */
static void read_type(config_reader *rope, char ret_type[32])
{
    char legacy[32];

    config_text(rope, "type", "default", legacy, sizeof legacy);
    config_text(rope, "rope_type", rope->status == TN_OK ? legacy : "", ret_type, 32);
}

static void read_scaling(config_reader *outer, config_reader *rope, model_config *config)
{
    char type[32];

    read_type(rope, type);
    if (config_has(rope, "llama_4_scaling_beta"))
        config_refuse(rope, TN_E_UNSUPPORTED, "llama_4_scaling_beta",
                      "is not supported: queries that grow with their position, as in Ministral 3");
    if (rope->status != TN_OK || strcmp(type, "default") == 0)
        return;
    if (strcmp(type, "linear") == 0) {
        read_stretched(rope, config, ROPE_SCALING_LINEAR);
    } else if (strcmp(type, "dynamic") == 0) {
        read_stretched(rope, config, ROPE_SCALING_DYNAMIC);
    } else if (strcmp(type, "llama3") == 0) {
        read_llama3(rope, config);
        config_real(rope, "factor", 1e-3, 1e6, NAN, &config->rope_factor);
    } else if (strcmp(type, "yarn") == 0) {
        read_yarn(rope, config);
    } else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) {
        read_longrope(outer, rope, config);
    } else {
        config_refuse(rope, TN_E_UNSUPPORTED, "rope_type",
                      "\"%s\" is not supported; known: default, linear, dynamic, llama3, yarn, longrope", type);
    }
}

static void read_rotated(config_reader *reader, float partial, model_config *config)
{
    config->rope_dim = (uint32_t)((float)config->head_dim * partial);
    if (partial != 1.0f && reader->status == TN_OK && (config->rope_dim < 2 || config->rope_dim % 2 != 0))
        config_refuse(reader, TN_E_CORRUPT, "partial_rotary_factor",
                      "%g of the head width %u is %u elements, which are no pairs to rotate", (double)partial,
                      config->head_dim, config->rope_dim);
}

/* A base that is not there is the flat one: rope_local_base_freq, or rope_theta for families without. */
static void read_local(config_reader *reader, const json_t *sliding, model_config *config)
{
    config_reader local = *reader;
    float flat = config->rope_theta_local != 0.0f ? config->rope_theta_local : config->rope_theta;
    char type[32];

    local.prefix = "config.json rope_parameters.sliding_attention.";
    local.ctx = sliding;
    config_real(&local, "rope_theta", 1.0, 1e15, (double)flat, &config->rope_theta_local);
    read_type(&local, type);
    if (local.status == TN_OK && strcmp(type, "default") != 0)
        config_refuse(&local, TN_E_UNSUPPORTED, "rope_type",
                      "\"%s\" is not supported; windowed layers are known with \"default\" alone", type);
    reader->status = local.status;
}

/* The settings of full attention; those of sliding attention give the local base. */
static const json_t *choose_kind(config_reader *reader, const json_t *parameters, model_config *config)
{
    const json_t *full = json_object_get(parameters, "full_attention");
    const json_t *sliding = json_object_get(parameters, "sliding_attention");

    if (!json_is_object(full))
        return parameters;
    if (json_is_object(sliding))
        read_local(reader, sliding, config);
    return full;
}

static const json_t *find_settings(config_reader *reader, model_config *config)
{
    const json_t *flat = json_object_get(reader->ctx, "rope_scaling");
    const json_t *nested = json_object_get(reader->ctx, "rope_parameters");

    if (json_is_object(flat) && json_is_object(nested) && !json_equal(flat, nested))
        config_refuse(reader, TN_E_CORRUPT, "rope_parameters",
                      "differs from rope_scaling; remove the one that is wrong");
    if (json_is_object(nested))
        return choose_kind(reader, nested, config);
    if (flat && !json_is_null(flat) && !json_is_object(flat))
        config_refuse(reader, TN_E_CORRUPT, "rope_scaling", "must be an object or null");
    return json_is_object(flat) ? flat : NULL;
}

void config_hf_read_rope(config_reader *reader, model_config *config)
{
    config_reader rope = *reader;
    float partial = 1.0f;

    config->rope_factor = 1.0f;
    config_real(reader, "rope_theta", 1.0, 1e15, config->rope_theta != 0.0f ? (double)config->rope_theta : 10000.0,
                &config->rope_theta);
    if (config->rope_theta_local != 0.0f)
        config_real(reader, "rope_local_base_freq", 1.0, 1e15, (double)config->rope_theta_local,
                    &config->rope_theta_local);
    config_real(reader, "partial_rotary_factor", 0.0, 1.0, 1.0, &partial);
    const json_t *settings = find_settings(reader, config);
    if (settings && reader->status == TN_OK) {
        rope.prefix = json_object_get(reader->ctx, "rope_parameters") ? "config.json rope_parameters."
                                                                      : "config.json rope_scaling.";
        rope.ctx = settings;
        config_real(&rope, "rope_theta", 1.0, 1e15, (double)config->rope_theta, &config->rope_theta);
        config_real(&rope, "partial_rotary_factor", 0.0, 1.0, (double)partial, &partial);
        reader->status = rope.status;
        read_rotated(reader, partial, config);
        rope.status = reader->status;
        read_scaling(reader, &rope, config);
        if (reader->status == TN_OK)
            reader->status = rope.status;
    } else {
        read_rotated(reader, partial, config);
    }
}
