/* config.c: dispatches to the container's reader, then checks what no single key can show: how dimensions fit together.
 *
 * After this nothing downstream needs to doubt a dimension: the graph builder asserts what is checked here.
 */
#include "model/config.h"

#include <math.h>
#include <string.h>

static tn_status check_heads(const char *path, const model_config *config, tn_error *err)
{
    if (config->kv_heads > config->heads || config->heads % config->kv_heads != 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u key/value heads do not divide %u attention heads", path,
                       config->kv_heads, config->heads);
    if (config->head_dim > MODEL_HEAD_DIM_MAX) /* one that is not given is width over heads */
        return tn_fail(err, TN_E_CORRUPT, "%s: head width %u is beyond the limit of %d", path, config->head_dim,
                       MODEL_HEAD_DIM_MAX);
    if (config->head_dim % 2 != 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: head width %u is odd; rotary positions turn pairs of elements", path,
                       config->head_dim);
    if ((uint64_t)config->heads * config->head_dim > MODEL_WIDTH_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u heads of width %u are beyond the limit of %d columns", path,
                       config->heads, config->head_dim, MODEL_WIDTH_MAX);
    return TN_OK;
}

static tn_status check_rope(const char *path, const model_config *config, tn_error *err)
{
    if (config->rope_dim % 2 != 0 || config->rope_dim > config->head_dim)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u rotated elements must be even and at most the head width %u", path,
                       config->rope_dim, config->head_dim);
    if (config->rope_scaling == ROPE_SCALING_LLAMA3 && config->rope_high_freq_factor <= config->rope_low_freq_factor)
        return tn_fail(err, TN_E_CORRUPT, "%s: rope high_freq_factor %g must be above low_freq_factor %g", path,
                       (double)config->rope_high_freq_factor, (double)config->rope_low_freq_factor);
    if (config->rope_scaling == ROPE_SCALING_DYNAMIC && config->rope_dim < 4)
        return tn_fail(err, TN_E_CORRUPT, "%s: dynamic rope scaling needs more than one rotated pair", path);
    if ((config->rope_scaling == ROPE_SCALING_YARN || config->rope_scaling == ROPE_SCALING_LONGROPE) &&
        (config->rope_theta <= 1.0f || config->rope_original_context < 2))
        return tn_fail(err, TN_E_CORRUPT, "%s: a rope theta of %g and an original context of %u cannot be scaled", path,
                       (double)config->rope_theta, config->rope_original_context);
    for (uint32_t i = 0; config->rope_factors && i < config->rope_dim / 2; i++) {
        if (!(isfinite(config->rope_factors[i]) && config->rope_factors[i] >= 1e-6f))
            return tn_fail(err, TN_E_CORRUPT, "%s: rope frequency factor %u is %g, must be finite and positive", path,
                           i, (double)config->rope_factors[i]);
    }
    return TN_OK;
}

static tn_status check_experts(const char *path, const model_config *config, tn_error *err)
{
    uint64_t width = config->expert_width ? config->expert_width : config->ff_width;

    if (config->experts_chosen > config->experts)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u experts are chosen of %u", path, config->experts_chosen,
                       config->experts);
    if (config->experts * config->layers > MODEL_LAYER_EXPERTS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u layers of %u experts are beyond the limit of %d experts", path,
                       config->layers, config->experts, MODEL_LAYER_EXPERTS_MAX);
    if (width < config->model_width)
        width = config->model_width;
    if (width * config->experts >= 1u << 30)
        return tn_fail(err, TN_E_CORRUPT, "%s: %u experts of width %llu are beyond the limit of 2^30 rows", path,
                       config->experts, (unsigned long long)width);
    return TN_OK;
}

/* A window that no sequence outgrows is none. */
static void settle(model_config *config)
{
    config->sequence_max = config->context;
    if (config->window >= config->context)
        config->window = 0;
}

tn_status model_config_read(const tn_source *source, model_config *ret_config, tn_error *err)
{
    model_config config = {0};

    tn_status status = strcmp(source->container, "gguf") == 0 ? config_gguf_read(source, &config, err)
                                                              : config_hf_read(source, &config, err);
    if (status == TN_OK)
        status = check_heads(source->path, &config, err);
    if (status == TN_OK)
        status = check_rope(source->path, &config, err);
    if (status == TN_OK)
        status = check_experts(source->path, &config, err);
    if (status != TN_OK)
        return status;
    settle(&config);
    *ret_config = config;
    return TN_OK;
}
