/* decoder.c: a decoder-only transformer as a graph: grouped-query attention and a gated feed-forward, dense or a
 * mixture of experts, with the features that model_config has.
 *
 * Sources: Touvron et al. 2023 (arXiv:2302.13971) for the plain form; Jiang et al. 2024 (arXiv:2401.04088) experts;
 * Gemma Team 2024, 2025 (arXiv:2408.00118, arXiv:2503.19786) soft caps, norms around, local layers; OLMo 2
 * (arXiv:2501.00656) norms after; Granite 3 multipliers and gpt-oss sinks after their code in transformers.
 */
#include "model/decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 160 };

static const decoder_names usual_gguf_names = {
    [TENSOR_EMBED] = "token_embd.weight",
    [TENSOR_FINAL_NORM] = "output_norm.weight",
    [TENSOR_HEAD] = "output.weight",
    [TENSOR_ATTN_NORM] = "attn_norm.weight",
    [TENSOR_Q] = "attn_q.weight",
    [TENSOR_K] = "attn_k.weight",
    [TENSOR_V] = "attn_v.weight",
    [TENSOR_QKV] = "attn_qkv.weight",
    [TENSOR_Q_NORM] = "attn_q_norm.weight",
    [TENSOR_K_NORM] = "attn_k_norm.weight",
    [TENSOR_SINKS] = "attn_sinks.weight",
    [TENSOR_ATTN_OUT] = "attn_output.weight",
    [TENSOR_ATTN_POST_NORM] = "post_attention_norm.weight",
    [TENSOR_FFN_NORM] = "ffn_norm.weight",
    [TENSOR_GATE] = "ffn_gate.weight",
    [TENSOR_UP] = "ffn_up.weight",
    [TENSOR_GATE_UP] = "ffn_up.weight",
    [TENSOR_DOWN] = "ffn_down.weight",
    [TENSOR_FFN_POST_NORM] = "post_ffw_norm.weight",
    [TENSOR_ROUTER] = "ffn_gate_inp.weight",
    [TENSOR_EXPERT_GATE] = "ffn_gate_exps.weight",
    [TENSOR_EXPERT_UP] = "ffn_up_exps.weight",
    [TENSOR_EXPERT_GATE_UP] = "ffn_gate_up_exps.weight",
    [TENSOR_EXPERT_DOWN] = "ffn_down_exps.weight",
};
static const decoder_names numbered_gguf_names = {
    [TENSOR_EXPERT_GATE] = "ffn_gate.*.weight",
    [TENSOR_EXPERT_UP] = "ffn_up.*.weight",
    [TENSOR_EXPERT_DOWN] = "ffn_down.*.weight",
};
static const decoder_names usual_hf_names = {
    [TENSOR_EMBED] = "model.embed_tokens.weight",
    [TENSOR_FINAL_NORM] = "model.norm.weight",
    [TENSOR_HEAD] = "lm_head.weight",
    [TENSOR_ATTN_NORM] = "input_layernorm.weight",
    [TENSOR_Q] = "self_attn.q_proj.weight",
    [TENSOR_K] = "self_attn.k_proj.weight",
    [TENSOR_V] = "self_attn.v_proj.weight",
    [TENSOR_QKV] = "self_attn.qkv_proj.weight",
    [TENSOR_Q_NORM] = "self_attn.q_norm.weight",
    [TENSOR_K_NORM] = "self_attn.k_norm.weight",
    [TENSOR_SINKS] = "self_attn.sinks",
    [TENSOR_ATTN_OUT] = "self_attn.o_proj.weight",
    [TENSOR_ATTN_POST_NORM] = "post_attention_layernorm.weight",
    [TENSOR_FFN_NORM] = "post_attention_layernorm.weight",
    [TENSOR_GATE] = "mlp.gate_proj.weight",
    [TENSOR_UP] = "mlp.up_proj.weight",
    [TENSOR_GATE_UP] = "mlp.gate_up_proj.weight",
    [TENSOR_DOWN] = "mlp.down_proj.weight",
    [TENSOR_FFN_POST_NORM] = "post_feedforward_layernorm.weight",
    [TENSOR_ROUTER] = "mlp.gate.weight",
    [TENSOR_EXPERT_GATE] = "mlp.experts.*.gate_proj.weight",
    [TENSOR_EXPERT_UP] = "mlp.experts.*.up_proj.weight",
    [TENSOR_EXPERT_GATE_UP] = "mlp.experts.gate_up_proj",
    [TENSOR_EXPERT_DOWN] = "mlp.experts.*.down_proj.weight",
};

typedef struct decoder {
    graph_builder *b;
    const model_config *config;
    const model_family *family;
    weight_part *parts;                     /* [experts] scratch */
    uint32_t layer, layer_first, layer_end; /* the one being built, and those that are */
    uint32_t group[2], inv_freq[2];         /* of full and of windowed layers */
    float magnitude[2];
} decoder;

/* ---- names and weights ---- */

static const char *usual_name(const decoder *d, decoder_tensor tensor)
{
    const decoder_names *own = d->config->hf_names ? d->family->hf_names : d->family->gguf_names;

    if (d->config->numbered_experts && numbered_gguf_names[tensor])
        return numbered_gguf_names[tensor];
    if (own && (*own)[tensor])
        return (*own)[tensor];
    return d->config->hf_names ? usual_hf_names[tensor] : usual_gguf_names[tensor];
}

/* Writes the full name of a tensor or, if `bias`, of its bias. */
static void full_name(const decoder *d, decoder_tensor tensor, bool bias, char name[NAME_MAX_BYTES])
{
    const char *stem = usual_name(d, tensor), *ending = "", *before = d->config->hf_prefix;
    int length = (int)strlen(stem), body = strncmp(stem, "model.", 6) == 0 ? 6 : 0;
    bool plain = length > 7 && strcmp(stem + length - 7, ".weight") == 0;

    if (bias) {
        length -= plain ? 7 : 0;
        ending = plain ? ".bias" : "_bias";
    }
    if (tensor <= TENSOR_HEAD)
        snprintf(name, NAME_MAX_BYTES, "%s%.*s%s%.*s%s", before, body, stem, body ? d->config->hf_infix : "",
                 length - body, stem + body, ending);
    else if (d->config->hf_names)
        snprintf(name, NAME_MAX_BYTES, "%smodel.%slayers.%u.%.*s%s", before, d->config->hf_infix, d->layer, length,
                 stem, ending);
    else
        snprintf(name, NAME_MAX_BYTES, "blk.%u.%.*s%s", d->layer, length, stem, ending);
}

static uint32_t weight(const decoder *d, decoder_tensor tensor, uint64_t rows, uint64_t columns, uint32_t shard,
                       uint32_t unit)
{
    char name[NAME_MAX_BYTES];

    full_name(d, tensor, false, name);
    return graph_weight(d->b, name, rows, columns, shard, unit);
}

static uint32_t bias_of(const decoder *d, decoder_tensor tensor, bool biased, uint64_t rows, uint64_t columns)
{
    char name[NAME_MAX_BYTES];

    if (!biased)
        return GRAPH_NO_VALUE;
    full_name(d, tensor, true, name);
    return graph_weight(d->b, name, rows, columns, TN_SHARD_NONE, 0);
}

/* Rows first.. of a tensor that holds `all` rows of several weights; its bias likewise. */
typedef struct fused_rows {
    decoder_tensor tensor;
    uint64_t first, all;
} fused_rows;

static uint32_t fused_weight(const decoder *d, decoder_tensor own, const fused_rows *from, uint64_t rows,
                             uint64_t columns, uint32_t unit)
{
    char name[NAME_MAX_BYTES], tensor[NAME_MAX_BYTES];

    full_name(d, own, false, name);
    full_name(d, from->tensor, false, tensor);
    weight_part part = {.tensor = tensor,
                        .tensor_rows = from->all,
                        .tensor_columns = columns,
                        .rows = rows,
                        .row0 = from->first,
                        .row_step = 1,
                        .column_step = 1};
    return graph_weight_of_parts(d->b, name, rows, columns, TN_SHARD_ROWS, unit, &part, 1);
}

static uint32_t fused_bias(const decoder *d, decoder_tensor own, const fused_rows *from, bool biased, uint64_t rows)
{
    char name[NAME_MAX_BYTES], tensor[NAME_MAX_BYTES];

    if (!biased)
        return GRAPH_NO_VALUE;
    full_name(d, own, true, name);
    full_name(d, from->tensor, true, tensor);
    weight_part part = {.tensor = tensor,
                        .tensor_rows = 1,
                        .tensor_columns = from->all,
                        .rows = 1,
                        .row_step = 1,
                        .column0 = from->first,
                        .column_step = 1};
    return graph_weight_of_parts(d->b, name, 1, rows, TN_SHARD_NONE, 0, &part, 1);
}

/* ---- parts of a layer ---- */

static uint32_t norm(const decoder *d, uint32_t x, decoder_tensor tensor, uint32_t width)
{
    uint32_t gain = weight(d, tensor, 1, width, TN_SHARD_NONE, 0);
    return graph_rms_norm(d->b, x, gain, width, (double)d->config->norm_eps, (double)d->config->norm_offset);
}

/* A linear of its own, or rows of a fused one (from not NULL). */
static uint32_t linear(const decoder *d, uint32_t x, decoder_tensor tensor, const fused_rows *from, uint64_t rows,
                       uint64_t columns, bool biased, uint32_t unit)
{
    uint32_t w, bias;

    if (from) {
        w = fused_weight(d, tensor, from, rows, columns, unit);
        bias = fused_bias(d, tensor, from, biased, rows);
    } else {
        w = weight(d, tensor, rows, columns, TN_SHARD_ROWS, unit);
        bias = bias_of(d, tensor, biased, 1, rows);
    }
    return graph_linear(d->b, x, w, bias);
}

static uint32_t linear_back(const decoder *d, uint32_t x, decoder_tensor tensor, uint64_t columns, bool biased,
                            uint32_t unit)
{
    uint64_t rows = d->config->model_width;
    uint32_t w = weight(d, tensor, rows, columns, TN_SHARD_COLUMNS, unit);
    return graph_linear(d->b, x, w, bias_of(d, tensor, biased, 1, rows));
}

/* Normalises and rotates queries or keys. */
static uint32_t prepare_heads(const decoder *d, uint32_t x, uint32_t heads, decoder_tensor gain, bool windowed)
{
    const model_config *c = d->config;

    if (c->qk_norm != QK_NORM_NONE)
        x = norm(d, x, gain, c->qk_norm == QK_NORM_HEAD ? c->head_dim : heads * c->head_dim);
    if (c->layer_kind[d->layer] & LAYER_NO_ROPE)
        return x;
    return graph_rope(d->b, x, d->inv_freq[windowed], heads, c->head_dim, c->rope_dim,
                      c->rope_pairs ? TN_ROPE_PAIRS : TN_ROPE_HALVES, (double)d->magnitude[windowed]);
}

static bool is_windowed(const decoder *d)
{
    return d->config->window && (d->config->layer_kind[d->layer] & LAYER_WINDOW);
}

/* [T, M] rows to [T, H*D] attention rows, before the output projection. */
static uint32_t attention(const decoder *d, uint32_t x)
{
    const model_config *c = d->config;
    bool windowed = is_windowed(d);
    uint32_t width = c->model_width, dim = c->head_dim;
    uint32_t q_unit = dim * (c->heads / c->kv_heads); /* query heads stay with their key/value head */
    uint64_t q_rows = (uint64_t)c->heads * dim, kv_rows = (uint64_t)c->kv_heads * dim, all = q_rows + 2 * kv_rows;
    fused_rows rows[3] = {{TENSOR_QKV, 0, all}, {TENSOR_QKV, q_rows, all}, {TENSOR_QKV, q_rows + kv_rows, all}};
    bool biased = c->attention_bias;

    uint32_t q = linear(d, x, TENSOR_Q, c->fused_qkv ? &rows[0] : NULL, q_rows, width, biased, q_unit);
    uint32_t k = linear(d, x, TENSOR_K, c->fused_qkv ? &rows[1] : NULL, kv_rows, width, biased, dim);
    uint32_t v = linear(d, x, TENSOR_V, c->fused_qkv ? &rows[2] : NULL, kv_rows, width, biased, dim);
    q = prepare_heads(d, q, c->heads, TENSOR_Q_NORM, windowed);
    k = prepare_heads(d, k, c->kv_heads, TENSOR_K_NORM, windowed);
    uint32_t sinks = c->attention_sinks ? weight(d, TENSOR_SINKS, 1, c->heads, TN_SHARD_NONE, 0) : GRAPH_NO_VALUE;

    graph_attention_spec spec = {.kv_group = d->group[windowed],
                                 .heads = c->heads,
                                 .kv_heads = c->kv_heads,
                                 .head_dim = dim,
                                 .v_dim = dim,
                                 .window = windowed ? c->window : 0,
                                 .scale =
                                     c->attention_scale != 0.0f ? (double)c->attention_scale : 1.0 / sqrt((double)dim),
                                 .softcap = (double)c->attention_softcap};
    return graph_attention(d->b, q, k, v, sinks, &spec);
}

static uint32_t dense(const decoder *d, uint32_t x)
{
    const model_config *c = d->config;
    uint64_t ff = c->ff_width, all = 2 * ff;
    fused_rows rows[2] = {{TENSOR_GATE_UP, 0, all}, {TENSOR_GATE_UP, ff, all}};

    uint32_t gate = linear(d, x, TENSOR_GATE, c->fused_gate_up ? &rows[0] : NULL, ff, c->model_width, c->mlp_bias, 1);
    uint32_t up = linear(d, x, TENSOR_UP, c->fused_gate_up ? &rows[1] : NULL, ff, c->model_width, c->mlp_bias, 1);
    uint32_t hidden = graph_gated(d->b, gate, up, c->activation ? c->activation : TN_ACT_SILU);
    return linear_back(d, hidden, TENSOR_DOWN, ff, c->mlp_bias, 1);
}

/* ---- experts ---- */

/* Which rows of a tensor that holds several weights in turn belong to one of them. */
typedef struct expert_rows {
    decoder_tensor own, tensor; /* what the graph calls the weight, what the checkpoint has */
    uint64_t rows, columns;     /* of one expert */
    uint32_t first, step;       /* 0 and 1, or the place among `step` that take turns */
} expert_rows;

/* "mlp.experts.*.up_proj" with the expert's number for the '*'; the part owns its name. */
static bool numbered_part(const expert_rows *r, const char *name, uint32_t expert, weight_part *ret_part)
{
    const char *star = strchr(name, '*');
    char tensor[NAME_MAX_BYTES + 12];

    snprintf(tensor, sizeof tensor, "%.*s%u%s", (int)(star - name), name, expert, star + 1);
    *ret_part = (weight_part){.tensor = strdup(tensor),
                              .tensor_rows = r->rows,
                              .tensor_columns = r->columns,
                              .rows = r->rows,
                              .row_step = 1,
                              .column_step = 1};
    return ret_part->tensor != NULL;
}

/* Expert `expert` in a tensor that stacks all of them. */
static weight_part stacked_part(const decoder *d, const expert_rows *r, const char *tensor, uint32_t expert)
{
    uint64_t all = r->rows * r->step, experts = d->config->experts;
    weight_part part = {.tensor = tensor, .rows = r->rows, .row_step = 1, .column_step = 1};

    if (d->config->experts_transposed) {
        part.tensor_rows = experts * r->columns;
        part.tensor_columns = all;
        part.row0 = expert * r->columns;
        part.column0 = r->first;
        part.column_step = r->step;
        part.transposed = true;
        return part;
    }
    part.tensor_rows = experts * all;
    part.tensor_columns = r->columns;
    part.row0 = expert * all + r->first;
    part.row_step = r->step;
    return part;
}

/* A stack [E * rows, columns], from one tensor, one per expert, or turns of one. */
static uint32_t expert_weight(const decoder *d, const expert_rows *r, uint32_t shard)
{
    char name[NAME_MAX_BYTES], tensor[NAME_MAX_BYTES];
    uint32_t experts = d->config->experts, value;
    bool numbered, complete = true;

    full_name(d, r->own, false, name);
    full_name(d, r->tensor, false, tensor);
    numbered = strchr(tensor, '*') != NULL;
    if (!numbered && r->step == 1 && !d->config->experts_transposed)
        return graph_weight(d->b, tensor, experts * r->rows, r->columns, shard, 1);
    for (uint32_t e = 0; e < experts; e++) {
        if (numbered)
            complete = numbered_part(r, tensor, e, &d->parts[e]) && complete;
        else
            d->parts[e] = stacked_part(d, r, tensor, e);
    }
    if (complete)
        value = graph_weight_of_parts(d->b, name, experts * r->rows, r->columns, shard, 1, d->parts, experts);
    else
        value = graph_out_of_memory(d->b);
    for (uint32_t e = 0; numbered && e < experts; e++)
        free((char *)d->parts[e].tensor);
    return value;
}

static uint32_t expert_bias(const decoder *d, const expert_rows *r)
{
    char name[NAME_MAX_BYTES], tensor[NAME_MAX_BYTES];
    uint32_t experts = d->config->experts;

    if (!d->config->expert_bias)
        return GRAPH_NO_VALUE;
    full_name(d, r->own, true, name);
    full_name(d, r->tensor, true, tensor);
    if (r->step == 1)
        return graph_weight(d->b, tensor, experts, r->rows, TN_SHARD_NONE, 0);
    weight_part part = {.tensor = tensor,
                        .tensor_rows = experts,
                        .tensor_columns = r->rows * r->step,
                        .rows = experts,
                        .row_step = 1,
                        .column0 = r->first,
                        .column_step = r->step};
    return graph_weight_of_parts(d->b, name, experts, r->rows, TN_SHARD_NONE, 0, &part, 1);
}

static uint32_t mixture(const decoder *d, uint32_t x)
{
    const model_config *c = d->config;
    uint64_t width = c->model_width, ff = c->expert_width ? c->expert_width : c->ff_width;
    bool fused = c->fused_experts;
    expert_rows gate = {TENSOR_EXPERT_GATE, fused ? TENSOR_EXPERT_GATE_UP : TENSOR_EXPERT_GATE, ff, width, 0,
                        fused ? 2 : 1};
    expert_rows up = {TENSOR_EXPERT_UP, fused ? TENSOR_EXPERT_GATE_UP : TENSOR_EXPERT_UP, ff, width, fused,
                      fused ? 2 : 1};
    expert_rows down = {TENSOR_EXPERT_DOWN, TENSOR_EXPERT_DOWN, width, ff, 0, 1};
    graph_moe_spec spec = {.experts = c->experts,
                           .chosen = c->experts_chosen,
                           .activation = c->activation ? c->activation : TN_ACT_SILU,
                           .normalised = !c->experts_unnormalized,
                           .limit = (double)c->swiglu_limit,
                           .alpha = (double)c->swiglu_alpha};

    spec.weight[0] = weight(d, TENSOR_ROUTER, c->experts, width, TN_SHARD_NONE, 0);
    spec.weight[1] = expert_weight(d, &gate, TN_SHARD_ROWS);
    spec.weight[2] = expert_weight(d, &up, TN_SHARD_ROWS);
    spec.weight[3] = expert_weight(d, &down, TN_SHARD_COLUMNS);
    spec.bias[0] = bias_of(d, TENSOR_ROUTER, c->expert_bias, 1, c->experts);
    spec.bias[1] = expert_bias(d, &gate);
    spec.bias[2] = expert_bias(d, &up);
    spec.bias[3] = expert_bias(d, &down);
    return graph_moe(d->b, x, &spec);
}

/* ---- the model ---- */

/* residual + branch, the branch normalised and scaled first where the model does so. */
static uint32_t join(const decoder *d, uint32_t residual, uint32_t branch, decoder_tensor gain)
{
    const model_config *c = d->config;

    if (c->norms != NORMS_BEFORE)
        branch = norm(d, branch, gain, c->model_width);
    if (c->residual_scale != 0.0f && c->residual_scale != 1.0f)
        return graph_add_scaled(d->b, residual, branch, (double)c->residual_scale);
    return graph_add(d->b, residual, branch);
}

/* After the last layer's attention only output rows matter: attention has read and written what it needs of the others.
 */
static uint32_t layer(const decoder *d, uint32_t x)
{
    const model_config *c = d->config;
    uint32_t q_unit = c->head_dim * (c->heads / c->kv_heads);
    bool before = c->norms != NORMS_AFTER;

    uint32_t mixed = attention(d, before ? norm(d, x, TENSOR_ATTN_NORM, c->model_width) : x);
    if (d->layer + 1 == d->layer_end) {
        mixed = graph_select(d->b, mixed);
        x = graph_select(d->b, x);
    }
    uint32_t out =
        linear_back(d, mixed, TENSOR_ATTN_OUT, (uint64_t)c->heads * c->head_dim, c->attention_output_bias, q_unit);
    x = join(d, x, out, TENSOR_ATTN_POST_NORM);
    uint32_t in = before ? norm(d, x, TENSOR_FFN_NORM, c->model_width) : x;
    bool mixed_experts = c->experts && !(c->layer_kind[d->layer] & LAYER_DENSE);
    return join(d, x, mixed_experts ? mixture(d, in) : dense(d, in), TENSOR_FFN_POST_NORM);
}

static double scale_or_1(float scale)
{
    return scale != 0.0f ? (double)scale : 1.0;
}

/* Constants and KV groups, for those kinds of layers that there are. */
static void add_layer_kinds(decoder *d)
{
    const model_config *c = d->config;
    float inv_freq[MODEL_HEAD_DIM_MAX / 2];
    bool present[2] = {false, false};

    for (d->layer = d->layer_first; d->layer < d->layer_end; d->layer++)
        present[is_windowed(d)] = true;
    for (uint32_t windowed = 0; windowed < 2; windowed++) {
        bool local = windowed && c->rope_theta_local != 0.0f;
        if (!present[windowed])
            continue;
        d->group[windowed] = graph_kv_group(d->b, windowed ? TN_KV_WINDOW : TN_KV_FULL, windowed ? c->window : 0,
                                            c->kv_heads, c->head_dim, c->head_dim);
        if (windowed && present[0] && !local) {
            d->inv_freq[1] = d->inv_freq[0];
            d->magnitude[1] = d->magnitude[0];
            continue;
        }
        d->magnitude[windowed] = rope_frequencies(c, local, inv_freq);
        d->inv_freq[windowed] =
            graph_constant(d->b, local ? "rope.local_inv_freq" : "rope.inv_freq", c->rope_dim / 2, inv_freq);
    }
}

static bool decoder_init(decoder *d, uint32_t layer_first, uint32_t layer_end)
{
    d->layer_first = layer_first;
    d->layer_end = layer_end;
    d->parts = calloc(d->config->experts ? d->config->experts : 1, sizeof *d->parts);
    if (!d->parts)
        graph_out_of_memory(d->b);
    else
        add_layer_kinds(d);
    return d->parts != NULL;
}

void decoder_build(graph_builder *b, const model_config *c, const model_family *family)
{
    decoder d = {.b = b, .config = c, .family = family};
    uint32_t width = c->model_width;

    if (!decoder_init(&d, 0, c->layers))
        return;
    uint32_t x =
        graph_embed(b, weight(&d, TENSOR_EMBED, c->vocab, width, TN_SHARD_ROWS, 1), scale_or_1(c->embedding_scale));
    for (d.layer = 0; d.layer < c->layers; d.layer++)
        x = layer(&d, x);
    x = norm(&d, x, TENSOR_FINAL_NORM, width);
    decoder_tensor head = c->tied_embeddings ? TENSOR_EMBED : TENSOR_HEAD;
    graph_logits(b, x, weight(&d, head, c->vocab, width, TN_SHARD_ROWS, 1), GRAPH_NO_VALUE, scale_or_1(c->logits_scale),
                 (double)c->logits_softcap);
    free(d.parts);
}

/* A row of zeros stands for the table and the head: a vocabulary of one. */
void decoder_build_layer(graph_builder *b, const model_config *c, const model_family *family, uint32_t index)
{
    decoder d = {.b = b, .config = c, .family = family};
    float *zeros = calloc(c->model_width, sizeof *zeros);

    if (!zeros)
        graph_out_of_memory(b);
    if (!zeros || !decoder_init(&d, index, index + 1)) {
        free(zeros);
        return;
    }
    uint32_t table = graph_constant(b, "layer", c->model_width, zeros);
    uint32_t x = graph_embed(b, table, 1.0);
    d.layer = index;
    graph_logits(b, layer(&d, x), table, GRAPH_NO_VALUE, 1.0, 0.0);
    free(d.parts);
    free(zeros);
}
