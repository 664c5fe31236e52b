/* llama.c: the Llama family as a graph: pre-norm, rotary grouped-query attention, gated SiLU feed-forward.
 *
 * Covers Llama 1-3, SmolLM2, TinyLlama, and Mistral without a window. Sources: Touvron et al. 2023 (arXiv:2302.13971),
 * Dubey et al. 2024 (arXiv:2407.21783) for the frequency scaling. Rotary frequencies are computed here in float32, in
 * the order that transformers computes them, so that the constants agree to the last bit or two.
 */
#include "model/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One decoder layer's tensors: what GGUF and Hugging Face call them. */
enum { ATTN_NORM, ATTN_Q, ATTN_K, ATTN_V, ATTN_OUT, FFN_NORM, FFN_GATE, FFN_UP, FFN_DOWN };
static const char *const gguf_names[] = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                         "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};
static const char *const hf_names[] = {"input_layernorm",  "self_attn.q_proj", "self_attn.k_proj",
                                       "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
                                       "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

typedef struct llama_builder {
    graph_builder *b;
    const model_config *config;
    uint32_t layer, kv_group, inv_freq;
} llama_builder;

static uint32_t layer_weight(const llama_builder *l, int tensor, const char *suffix, uint64_t rows, uint64_t columns,
                             uint32_t shard, uint32_t unit)
{
    char name[96];

    if (l->config->hf_names)
        snprintf(name, sizeof name, "model.layers.%u.%s.%s", l->layer, hf_names[tensor], suffix);
    else
        snprintf(name, sizeof name, "blk.%u.%s.%s", l->layer, gguf_names[tensor], suffix);
    return graph_weight(l->b, name, rows, columns, shard, unit);
}

static uint32_t norm(const llama_builder *l, uint32_t x, int tensor)
{
    uint32_t width = l->config->model_width;
    uint32_t gain = layer_weight(l, tensor, "weight", 1, width, TN_SHARD_NONE, 0);
    return graph_rms_norm(l->b, x, gain, width, (double)l->config->norm_eps, 0.0);
}

static uint32_t linear(const llama_builder *l, uint32_t x, int tensor, uint64_t rows, uint64_t columns, bool biased,
                       uint32_t shard, uint32_t unit)
{
    uint32_t weight = layer_weight(l, tensor, "weight", rows, columns, shard, unit);
    uint32_t bias = GRAPH_NO_VALUE;
    if (biased)
        bias = layer_weight(l, tensor, "bias", 1, rows, TN_SHARD_NONE, 0);
    return graph_linear(l->b, x, weight, bias);
}

/* [T, M] normed rows to [T, H*D] attention rows, before the output projection. */
static uint32_t attention(const llama_builder *l, uint32_t x)
{
    const model_config *c = l->config;
    uint32_t style = c->rope_pairs ? TN_ROPE_PAIRS : TN_ROPE_HALVES;
    uint32_t width = c->model_width;
    uint32_t q_unit = c->head_dim * (c->heads / c->kv_heads); /* query heads stay with their key/value head */
    uint32_t q_rows = c->heads * c->head_dim, kv_rows = c->kv_heads * c->head_dim;

    uint32_t q = linear(l, x, ATTN_Q, q_rows, width, c->attention_bias, TN_SHARD_ROWS, q_unit);
    uint32_t k = linear(l, x, ATTN_K, kv_rows, width, c->attention_bias, TN_SHARD_ROWS, c->head_dim);
    uint32_t v = linear(l, x, ATTN_V, kv_rows, width, c->attention_bias, TN_SHARD_ROWS, c->head_dim);
    q = graph_rope(l->b, q, l->inv_freq, c->heads, c->head_dim, c->rope_dim, style, 1.0);
    k = graph_rope(l->b, k, l->inv_freq, c->kv_heads, c->head_dim, c->rope_dim, style, 1.0);

    graph_attention_spec spec = {.kv_group = l->kv_group,
                                 .heads = c->heads,
                                 .kv_heads = c->kv_heads,
                                 .head_dim = c->head_dim,
                                 .v_dim = c->head_dim,
                                 .scale = 1.0 / sqrt((double)c->head_dim)};
    return graph_attention(l->b, q, k, v, GRAPH_NO_VALUE, &spec);
}

static uint32_t feed_forward(const llama_builder *l, uint32_t x)
{
    const model_config *c = l->config;

    uint32_t gate = linear(l, x, FFN_GATE, c->ff_width, c->model_width, c->mlp_bias, TN_SHARD_ROWS, 1);
    uint32_t up = linear(l, x, FFN_UP, c->ff_width, c->model_width, c->mlp_bias, TN_SHARD_ROWS, 1);
    uint32_t hidden = graph_gated(l->b, gate, up, TN_ACT_SILU);
    return linear(l, hidden, FFN_DOWN, c->model_width, c->ff_width, c->mlp_bias, TN_SHARD_COLUMNS, 1);
}

/* After the last layer's attention only output rows matter: attention has read and written what it needs of the others.
 */
static uint32_t layer(const llama_builder *l, uint32_t x)
{
    const model_config *c = l->config;
    uint32_t q_unit = c->head_dim * (c->heads / c->kv_heads);

    uint32_t mixed = attention(l, norm(l, x, ATTN_NORM));
    if (l->layer + 1 == c->layers) {
        mixed = graph_select(l->b, mixed);
        x = graph_select(l->b, x);
    }
    uint32_t out = linear(l, mixed, ATTN_OUT, c->model_width, (uint64_t)c->heads * c->head_dim,
                          c->attention_output_bias, TN_SHARD_COLUMNS, q_unit);
    x = graph_add(l->b, x, out);
    return graph_add(l->b, x, feed_forward(l, norm(l, x, FFN_NORM)));
}

/* Llama 3.1's scaling: long wavelengths are slowed by the factor, short ones kept, those between interpolated. */
static float llama3_frequency(const model_config *c, float inv_freq)
{
    float context = (float)c->rope_original_context;
    float wavelength = (float)(2.0 * M_PI) / inv_freq;

    if (wavelength < context / c->rope_high_freq_factor)
        return inv_freq;
    if (wavelength > context / c->rope_low_freq_factor)
        return inv_freq / c->rope_factor;
    float smooth =
        (context / wavelength - c->rope_low_freq_factor) / (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return (1.0f - smooth) * inv_freq / c->rope_factor + smooth * inv_freq;
}

static uint32_t inverse_frequencies(graph_builder *b, const model_config *c)
{
    uint32_t count = c->rope_dim / 2;
    float inv_freq[MODEL_HEAD_DIM_MAX / 2];

    TN_ASSERT(count <= MODEL_HEAD_DIM_MAX / 2);
    for (uint32_t i = 0; i < count; i++) {
        float exponent = (float)(2 * i) / (float)c->rope_dim;
        inv_freq[i] = 1.0f / (float)pow((double)c->rope_theta, (double)exponent);
        if (c->rope_scaling == ROPE_SCALING_LINEAR)
            inv_freq[i] /= c->rope_factor;
        else if (c->rope_scaling == ROPE_SCALING_LLAMA3)
            inv_freq[i] = llama3_frequency(c, inv_freq[i]);
        if (c->rope_factors)
            inv_freq[i] /= c->rope_factors[i];
    }
    return graph_constant(b, "rope.inv_freq", count, inv_freq);
}

static void build(graph_builder *b, const model_config *c)
{
    const char *embed_name = c->hf_names ? "model.embed_tokens.weight" : "token_embd.weight";
    const char *head_name = c->hf_names ? "lm_head.weight" : "output.weight";
    const char *norm_name = c->hf_names ? "model.norm.weight" : "output_norm.weight";
    uint32_t width = c->model_width;

    llama_builder l = {.b = b, .config = c};
    l.inv_freq = inverse_frequencies(b, c);
    l.kv_group = graph_kv_group(b, TN_KV_FULL, 0, c->kv_heads, c->head_dim, c->head_dim);
    uint32_t x = graph_embed(b, graph_weight(b, embed_name, c->vocab, width, TN_SHARD_ROWS, 1), 1.0);
    for (l.layer = 0; l.layer < c->layers; l.layer++)
        x = layer(&l, x);
    uint32_t gain = graph_weight(b, norm_name, 1, width, TN_SHARD_NONE, 0);
    x = graph_rms_norm(b, x, gain, width, (double)c->norm_eps, 0.0);
    uint32_t head = graph_weight(b, c->tied_embeddings ? embed_name : head_name, c->vocab, width, TN_SHARD_ROWS, 1);
    graph_logits(b, x, head, GRAPH_NO_VALUE, 1.0, 0.0);
}

const model_family llama_family = {.architecture = "llama", .hf_architecture = "LlamaForCausalLM", .build = build};
