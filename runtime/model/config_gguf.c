/* config_gguf.c: model dimensions from GGUF metadata ("llama.block_count", ...) and from which tensors are present.
 *
 * Source: the GGUF specification (ggml docs/gguf.md). Departures: the vocabulary is the row count of token_embd.weight,
 * since "vocab_size" is optional and sometimes stale; defaults of absent keys are those that llama.cpp applies.
 */
#include "model/decoder.h"

#include <math.h>
#include <string.h>

static tn_status lookup(const config_reader *reader, const char *key, tn_meta *ret_meta)
{
    const tn_source *source = reader->ctx;
    char full[128];
    int length = snprintf(full, sizeof full, "%s%s", reader->prefix, key);
    TN_ASSERT(length > 0 && (size_t)length < sizeof full);
    return source->meta(source, full, ret_meta);
}

static tn_status element(const config_reader *reader, const char *key, uint64_t index, tn_meta *ret_meta)
{
    const tn_source *source = reader->ctx;
    char full[128];
    int length = snprintf(full, sizeof full, "%s%s", reader->prefix, key);
    TN_ASSERT(length > 0 && (size_t)length < sizeof full);
    return source->meta_element(source, full, index, ret_meta);
}

static bool has_tensor(const tn_source *source, const char *name)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    return source->tensor(source, name, &tensor) == TN_OK;
}

static void read_attention(config_reader *reader, model_config *config)
{
    uint32_t value_length = 0;

    config_count(reader, "attention.head_count", 1, MODEL_HEADS_MAX, 0, &config->heads);
    config_count(reader, "attention.head_count_kv", 1, MODEL_HEADS_MAX, config->heads, &config->kv_heads);
    if (reader->status != TN_OK)
        return;
    uint32_t divided = config->model_width % config->heads == 0 ? config->model_width / config->heads : 0;
    config_count(reader, "attention.key_length", 2, MODEL_HEAD_DIM_MAX, divided, &config->head_dim);
    config_count(reader, "attention.value_length", 2, MODEL_HEAD_DIM_MAX, config->head_dim, &value_length);
    if (value_length != config->head_dim)
        config_refuse(reader, TN_E_UNSUPPORTED, "attention.value_length",
                      "is %u, but only key_length (%u) is supported", value_length, config->head_dim);
    config_real(reader, "attention.layer_norm_rms_epsilon", 1e-20, 1.0, NAN, &config->norm_eps);
}

static void read_yarn(config_reader *reader, model_config *config)
{
    config->rope_scaling = ROPE_SCALING_YARN;
    config_count(reader, "rope.scaling.original_context_length", 1, MODEL_CONTEXT_MAX, config->context,
                 &config->rope_original_context);
    config_real(reader, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0, &config->rope_beta_fast);
    config_real(reader, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0, &config->rope_beta_slow);
}

/* A scale of 0 means "none" in old files. */
static void read_rope(config_reader *reader, model_config *config)
{
    char scaling[16];
    float legacy = 1.0f;

    config_count(reader, "rope.dimension_count", 2, MODEL_HEAD_DIM_MAX, config->head_dim, &config->rope_dim);
    config_real(reader, "rope.freq_base", 1.0, 1e15, config->rope_theta != 0.0f ? (double)config->rope_theta : 10000.0,
                &config->rope_theta);
    config_text(reader, "rope.scaling.type", "linear", scaling, sizeof scaling);
    config_real(reader, "rope.scale_linear", 0.0, 1e6, 1.0, &legacy);
    config_real(reader, "rope.scaling.factor", 0.0, 1e6, (double)legacy, &config->rope_factor);
    if (reader->status != TN_OK)
        return;
    bool linear = strcmp(scaling, "linear") == 0, yarn = strcmp(scaling, "yarn") == 0;
    if (!linear && !yarn && strcmp(scaling, "none") != 0 && strcmp(scaling, "longrope") != 0)
        config_refuse(reader, TN_E_UNSUPPORTED, "rope.scaling.type",
                      "\"%s\" is not supported; known: none, linear, yarn, longrope", scaling);
    if (config->rope_factor == 0.0f)
        config->rope_factor = 1.0f;
    if (config->rope_factor < 1e-3f)
        config_refuse(reader, TN_E_CORRUPT, "rope.scaling.factor", "is %g, must be at least 0.001",
                      (double)config->rope_factor);
    if (linear && config->rope_factor != 1.0f)
        config->rope_scaling = ROPE_SCALING_LINEAR;
    if (yarn)
        read_yarn(reader, config);
}

/* Which layers have the window: a period, a flag per layer, or what the family says. */
static void read_window(config_reader *reader, model_config *config)
{
    static const char key[] = "attention.sliding_window_pattern";
    uint32_t window = 0, period = 0;
    tn_meta meta = {.struct_size = sizeof meta};

    config_count(reader, "attention.sliding_window", 0, MODEL_CONTEXT_MAX, config->window ? config->window : UINT32_MAX,
                 &window);
    config->window = window == UINT32_MAX ? 0 : window;
    if (reader->status != TN_OK || lookup(reader, key, &meta) != TN_OK)
        return;
    if (meta.kind != TN_META_ARRAY) {
        config_count(reader, key, 0, MODEL_LAYERS_MAX, 0, &period);
        if (reader->status == TN_OK)
            family_mark_layers(config, LAYER_WINDOW, period, false);
        return;
    }
    if (meta.count != config->layers)
        config_refuse(reader, TN_E_CORRUPT, key, "has %llu elements for %u layers", (unsigned long long)meta.count,
                      config->layers);
    for (uint32_t i = 0; i < config->layers && reader->status == TN_OK; i++) {
        uint8_t kind = config_count_at(reader, key, i, 1) ? LAYER_WINDOW : 0;
        config->layer_kind[i] = (uint8_t)(config->layer_kind[i] & ~LAYER_WINDOW) | kind;
    }
}

static void read_experts(config_reader *reader, model_config *config)
{
    config_count(reader, "expert_count", 0, MODEL_EXPERTS_MAX, UINT32_MAX, &config->experts);
    if (config->experts == UINT32_MAX)
        config->experts = 0;
    if (config->experts == 0)
        return;
    config_count(reader, "expert_used_count", 1, MODEL_EXPERTS_MAX, 0, &config->experts_chosen);
    config_count(reader, "expert_feed_forward_length", 1, MODEL_WIDTH_MAX, UINT32_MAX, &config->expert_width);
    if (config->expert_width == UINT32_MAX)
        config->expert_width = 0;
}

/* A tensor of float32, one for each rotated pair; absent: *ret_values stays NULL. */
static tn_status find_divisors(const tn_source *source, const char *name, const model_config *config,
                               const float **ret_values, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};

    if (source->tensor(source, name, &tensor) != TN_OK)
        return TN_OK;
    if (tensor.dtype != TN_DTYPE_GGUF && tensor.dtype != TN_DTYPE_F32)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s must be F32", source->path, name);
    if (tensor.bytes != (uint64_t)config->rope_dim / 2 * sizeof(float))
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu bytes, %u rotated elements need %u", source->path, name,
                       (unsigned long long)tensor.bytes, config->rope_dim,
                       config->rope_dim / 2 * (uint32_t)sizeof(float));
    if ((uintptr_t)tensor.data % sizeof(float) != 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not aligned", source->path, name);
    *ret_values = tensor.data;
    return TN_OK;
}

static tn_status copy_divisors(const tn_source *source, const char *name, const model_config *config,
                               float ret_divisors[MODEL_ROPE_FACTORS_MAX], tn_error *err)
{
    const float *values = NULL;

    tn_status status = find_divisors(source, name, config, &values, err);
    if (status != TN_OK)
        return status;
    if (!values || config->rope_dim / 2 > MODEL_ROPE_FACTORS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is missing, or longer than %d elements", source->path, name,
                       MODEL_ROPE_FACTORS_MAX);
    for (uint32_t i = 0; i < config->rope_dim / 2; i++) {
        if (!(isfinite(values[i]) && values[i] >= 1e-6f))
            return tn_fail(err, TN_E_CORRUPT, "%s: %s[%u] is %g, must be finite and positive", source->path, name, i,
                           (double)values[i]);
        ret_divisors[i] = values[i];
    }
    return TN_OK;
}

/* LongRoPE is known by its two tensors. */
static tn_status read_longrope(config_reader *reader, const tn_source *source, model_config *config, tn_error *err)
{
    if (!has_tensor(source, "rope_factors_long.weight"))
        return TN_OK;
    config->rope_scaling = ROPE_SCALING_LONGROPE;
    config_count(reader, "rope.scaling.original_context_length", 1, MODEL_CONTEXT_MAX, config->context,
                 &config->rope_original_context);
    config_real(reader, "rope.scaling.attn_factor", 0.0, 1e6, 0.0, &config->rope_attention_factor);
    if (reader->status != TN_OK)
        return reader->status;
    config->rope_factor = (float)((double)config->context / config->rope_original_context);
    tn_status status = copy_divisors(source, "rope_factors_long.weight", config, config->rope_long, err);
    if (status == TN_OK)
        status = copy_divisors(source, "rope_factors_short.weight", config, config->rope_short, err);
    return status;
}

static tn_status read_vocab(const tn_source *source, model_config *config, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};

    if (source->tensor(source, "token_embd.weight", &tensor) != TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor token_embd.weight is missing", source->path);
    if (tensor.rank != 2 || tensor.dim[0] < 1 || tensor.dim[0] > MODEL_VOCAB_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: token_embd.weight must be a matrix of 1 to %d rows, one per token",
                       source->path, MODEL_VOCAB_MAX);
    config->vocab = (uint32_t)tensor.dim[0];
    return TN_OK;
}

static tn_status read_family(const tn_source *source, model_config *config, const model_family **ret_family,
                             tn_error *err)
{
    config_reader reader = {.path = source->path, .prefix = "", .ctx = source, .lookup = lookup, .err = err};
    config_text(&reader, "general.architecture", NULL, config->architecture, sizeof config->architecture);
    if (reader.status != TN_OK)
        return reader.status;
    *ret_family = model_family_find(config->architecture, NULL);
    return *ret_family ? TN_OK : model_family_unknown(source->path, config->architecture, false, err);
}

static tn_status read_keys(config_reader *reader, const model_family *family, model_config *config)
{
    config_count(reader, "block_count", 1, MODEL_LAYERS_MAX, 0, &config->layers);
    config_count(reader, "embedding_length", 1, MODEL_WIDTH_MAX, 0, &config->model_width);
    config_count(reader, "feed_forward_length", 1, MODEL_WIDTH_MAX, 0, &config->ff_width);
    config_count(reader, "context_length", 1, MODEL_CONTEXT_MAX, 0, &config->context);
    read_attention(reader, config);
    read_rope(reader, config);
    read_window(reader, config);
    read_experts(reader, config);
    if (family->read_gguf && reader->status == TN_OK)
        family->read_gguf(reader, config);
    return reader->status;
}

tn_status config_gguf_read(const tn_source *source, model_config *config, tn_error *err)
{
    char prefix[sizeof config->architecture + 2];
    const model_family *family = NULL;

    tn_status status = read_family(source, config, &family, err);
    if (status != TN_OK)
        return status;
    snprintf(prefix, sizeof prefix, "%s.", config->architecture);
    config_reader reader = {
        .path = source->path, .prefix = prefix, .ctx = source, .lookup = lookup, .element = element, .err = err};

    if (family->prepare)
        family->prepare(config);
    status = read_keys(&reader, family, config);
    if (status == TN_OK)
        status = read_vocab(source, config, err);
    if (status == TN_OK)
        status = find_divisors(source, "rope_freqs.weight", config, &config->rope_factors, err);
    if (status == TN_OK)
        status = read_longrope(&reader, source, config, err);
    if (status != TN_OK)
        return status;

    config->rope_pairs = family->gguf_rope_pairs;
    config->tied_embeddings = !has_tensor(source, "output.weight");
    config->attention_bias = has_tensor(source, "blk.0.attn_q.bias") || has_tensor(source, "blk.0.attn_qkv.bias");
    config->attention_output_bias = has_tensor(source, "blk.0.attn_output.bias");
    config->mlp_bias = has_tensor(source, "blk.0.ffn_gate.bias");
    config->numbered_experts = config->experts && has_tensor(source, "blk.0.ffn_gate.0.weight");
    return TN_OK;
}
