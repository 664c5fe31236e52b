/* config_gguf.c: model dimensions from GGUF metadata ("llama.block_count", ...) and from which tensors are present.
 *
 * Source: the GGUF specification (ggml docs/gguf.md). Departures: the vocabulary is the row count of token_embd.weight,
 * since "vocab_size" is optional and sometimes stale; defaults of absent keys are those that llama.cpp applies.
 */
#include "model/config.h"
#include "model/config_reader.h"
#include "model/graph.h"

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

/* A scale of 0 means "none" in old files. */
static void read_rope(config_reader *reader, model_config *config)
{
    char scaling[16];
    float legacy = 1.0f;

    config_count(reader, "rope.dimension_count", 2, MODEL_HEAD_DIM_MAX, config->head_dim, &config->rope_dim);
    config_real(reader, "rope.freq_base", 1.0, 1e15, 10000.0, &config->rope_theta);
    config_text(reader, "rope.scaling.type", "linear", scaling, sizeof scaling);
    config_real(reader, "rope.scale_linear", 0.0, 1e6, 1.0, &legacy);
    config_real(reader, "rope.scaling.factor", 0.0, 1e6, (double)legacy, &config->rope_factor);
    if (reader->status != TN_OK)
        return;
    if (strcmp(scaling, "linear") != 0 && strcmp(scaling, "none") != 0)
        config_refuse(reader, TN_E_UNSUPPORTED, "rope.scaling.type", "\"%s\" is not supported; known: none, linear",
                      scaling);
    bool scaled = strcmp(scaling, "linear") == 0 && config->rope_factor != 0.0f && config->rope_factor != 1.0f;
    config->rope_scaling = scaled ? ROPE_SCALING_LINEAR : ROPE_SCALING_NONE;
    if (scaled && config->rope_factor < 1e-3f)
        config_refuse(reader, TN_E_CORRUPT, "rope.scaling.factor", "is %g, must be at least 0.001",
                      (double)config->rope_factor);
}

/* Llama 3's frequency scaling arrives as a tensor of divisors. */
static tn_status read_rope_factors(const tn_source *source, model_config *config, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};

    if (source->tensor(source, "rope_freqs.weight", &tensor) != TN_OK)
        return TN_OK;
    if (tensor.dtype != TN_DTYPE_GGUF && tensor.dtype != TN_DTYPE_F32)
        return tn_fail(err, TN_E_CORRUPT, "%s: rope_freqs.weight must be F32", source->path);
    if (tensor.bytes != (uint64_t)config->rope_dim / 2 * sizeof(float))
        return tn_fail(err, TN_E_CORRUPT, "%s: rope_freqs.weight has %llu bytes, %u rotated elements need %u",
                       source->path, (unsigned long long)tensor.bytes, config->rope_dim,
                       config->rope_dim / 2 * (uint32_t)sizeof(float));
    if ((uintptr_t)tensor.data % sizeof(float) != 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: rope_freqs.weight is not aligned", source->path);
    config->rope_factors = tensor.data;
    return TN_OK;
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

static tn_status read_family(const tn_source *source, model_config *config, tn_error *err)
{
    config_reader reader = {.path = source->path, .prefix = "", .ctx = source, .lookup = lookup, .err = err};
    config_text(&reader, "general.architecture", NULL, config->architecture, sizeof config->architecture);
    if (reader.status != TN_OK)
        return reader.status;
    return model_family_find(config->architecture, NULL)
               ? TN_OK
               : model_family_unknown(source->path, config->architecture, err);
}

tn_status config_gguf_read(const tn_source *source, model_config *config, tn_error *err)
{
    char prefix[sizeof config->architecture + 2];
    uint32_t experts = 0;

    tn_status status = read_family(source, config, err);
    if (status != TN_OK)
        return status;
    snprintf(prefix, sizeof prefix, "%s.", config->architecture);

    config_reader reader = {.path = source->path, .prefix = prefix, .ctx = source, .lookup = lookup, .err = err};
    config_count(&reader, "block_count", 1, MODEL_LAYERS_MAX, 0, &config->layers);
    config_count(&reader, "embedding_length", 1, MODEL_WIDTH_MAX, 0, &config->model_width);
    config_count(&reader, "feed_forward_length", 1, MODEL_WIDTH_MAX, 0, &config->ff_width);
    config_count(&reader, "context_length", 1, MODEL_CONTEXT_MAX, 0, &config->context);
    read_attention(&reader, config);
    read_rope(&reader, config);
    config_count(&reader, "expert_count", 0, UINT32_MAX, UINT32_MAX, &experts);
    if (experts != 0 && experts != UINT32_MAX)
        config_refuse(&reader, TN_E_UNSUPPORTED, "expert_count", "%u experts: mixture-of-experts is not supported",
                      experts);
    status = reader.status;
    if (status == TN_OK)
        status = read_vocab(source, config, err);
    if (status == TN_OK)
        status = read_rope_factors(source, config, err);
    if (status != TN_OK)
        return status;

    config->rope_pairs = true;
    config->tied_embeddings = !has_tensor(source, "output.weight");
    config->attention_bias = has_tensor(source, "blk.0.attn_q.bias");
    config->attention_output_bias = has_tensor(source, "blk.0.attn_output.bias");
    config->mlp_bias = has_tensor(source, "blk.0.ffn_gate.bias");
    return TN_OK;
}
