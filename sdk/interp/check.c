/* check.c: a table's kernels beside the reference, node by node.
 *
 * Two models of one layer, loaded twice: over the table and over host memory. Before each node the table's model gets
 * the host's inputs, so errors do not add up and a wrong kernel is named. The second model has sizes that no vector
 * width divides, biases, a window, sinks, soft caps, paired rotation and experts; batches mix a prompt's later chunk
 * with a new sequence.
 */
#include <math.h>
#include <string.h>

#include "interp/model.h"

enum { NODES_MAX = 24, VALUES_MAX = 64, CHECK_TOKENS = 40, CHECK_ROWS_MAX = 32, WIDTH_MAX = 256, OP_COUNT = 12 };

typedef struct geometry {
    uint32_t width, ff_width, vocab, heads, kv_heads, head_dim, rotated, style, window, activation;
    bool extras; /* biases, sinks, soft caps, gain offset, magnitude */
} geometry;

static const geometry geometries[] = {
    {64, 96, 128, 4, 2, 16, 16, TN_ROPE_HALVES, 0, TN_ACT_SILU, false},
    {65, 33, 51, 6, 2, 10, 6, TN_ROPE_PAIRS, 9, TN_ACT_GELU_TANH, true},
};

/* ---- the graph ---- */

typedef struct check_graph {
    tn_graph_api api;
    tn_node node[NODES_MAX];
    tn_value value[VALUES_MAX];
    uint32_t in[NODES_MAX][INTERP_INPUTS_MAX], out[NODES_MAX];
    int64_t attr[NODES_MAX][7];
    double fattr[NODES_MAX][2];
    tn_kv_group group;
    float inv_freq[8];
} check_graph;

static const check_graph *graph_from(const tn_graph *graph)
{
    return (const check_graph *)(const void *)graph;
}

static tn_status get_node(const tn_graph *graph, uint32_t index, tn_node *ret_node)
{
    *ret_node = graph_from(graph)->node[index];
    return TN_OK;
}

static tn_status get_value(const tn_graph *graph, uint32_t index, tn_value *ret_value)
{
    *ret_value = graph_from(graph)->value[index];
    return TN_OK;
}

static tn_status get_kv_group(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group)
{
    (void)index;
    *ret_group = graph_from(graph)->group;
    return TN_OK;
}

static uint32_t add_value(check_graph *g, uint32_t kind, int64_t rows, int64_t columns, const char *name)
{
    TN_ASSERT(g->api.value_count < VALUES_MAX && columns <= WIDTH_MAX);
    tn_value *value = &g->value[g->api.value_count];
    *value = (tn_value){.struct_size = sizeof *value, .kind = kind, .dim = {rows, columns}, .name = name};
    if (kind == TN_VALUE_WEIGHT)
        value->weight_id = g->api.weight_count++;
    return g->api.value_count++;
}

static uint32_t weight(check_graph *g, int64_t rows, int64_t columns, const char *name)
{
    return add_value(g, TN_VALUE_WEIGHT, rows, columns, name);
}

/* in: up to INTERP_INPUTS_MAX values, fewer end at UINT32_MAX. attr: 7 or NULL; fattr: 2 or NULL. */
static uint32_t add_node(check_graph *g, uint32_t op, const char *name, int64_t rows, int64_t columns,
                         const uint32_t *in, const int64_t *attr, const double *fattr)
{
    uint32_t i = g->api.node_count++;
    TN_ASSERT(i < NODES_MAX);
    g->out[i] = add_value(g, TN_VALUE_ACTIVATION, rows, columns, name);
    g->node[i] = (tn_node){.struct_size = sizeof(tn_node),
                           .op = op,
                           .out_count = 1,
                           .attr_count = 7,
                           .fattr_count = 2,
                           .in = g->in[i],
                           .out = &g->out[i],
                           .attr = g->attr[i],
                           .fattr = g->fattr[i]};
    while (g->node[i].in_count < INTERP_INPUTS_MAX && in[g->node[i].in_count] != UINT32_MAX) {
        g->in[i][g->node[i].in_count] = in[g->node[i].in_count];
        g->node[i].in_count++;
    }
    if (attr)
        memcpy(g->attr[i], attr, sizeof g->attr[i]);
    if (fattr)
        memcpy(g->fattr[i], fattr, sizeof g->fattr[i]);
    return g->out[i];
}

static uint32_t linear(check_graph *g, const geometry *s, uint32_t x, int64_t rows, int64_t columns, const char *name)
{
    uint32_t w = weight(g, columns, g->value[x].dim[1], name);
    uint32_t bias = s->extras ? weight(g, 1, columns, name) : UINT32_MAX;
    return add_node(g, TN_OP_LINEAR, name, rows, columns, (uint32_t[]){x, w, bias, UINT32_MAX}, NULL, NULL);
}

static uint32_t norm(check_graph *g, const geometry *s, uint32_t x, int64_t rows, const char *name)
{
    uint32_t gain = weight(g, 1, s->width, name);
    return add_node(g, TN_OP_RMS_NORM, name, rows, s->width, (uint32_t[]){x, gain, UINT32_MAX}, (int64_t[7]){s->width},
                    (double[2]){1e-5, s->extras ? 1.0 : 0.0});
}

static uint32_t rope(check_graph *g, const geometry *s, uint32_t x, uint32_t inv_freq, uint32_t heads, const char *name)
{
    return add_node(g, TN_OP_ROPE, name, TN_DIM_TOKENS, g->value[x].dim[1], (uint32_t[]){x, inv_freq, UINT32_MAX},
                    (int64_t[7]){heads, s->head_dim, s->rotated, s->style, 0}, (double[2]){s->extras ? 1.25 : 1.0});
}

static uint32_t attention(check_graph *g, const geometry *s, uint32_t x)
{
    int64_t q_width = (int64_t)s->heads * s->head_dim, kv_width = (int64_t)s->kv_heads * s->head_dim;
    uint32_t inv_freq = add_value(g, TN_VALUE_CONSTANT, 1, s->rotated / 2, "inv_freq");
    g->value[inv_freq].constant = g->inv_freq;
    for (uint32_t i = 0; i < s->rotated / 2; i++)
        g->inv_freq[i] = 1.0f / (float)(1u << i);

    uint32_t q = linear(g, s, x, TN_DIM_TOKENS, q_width, "attn_q");
    uint32_t k = linear(g, s, x, TN_DIM_TOKENS, kv_width, "attn_k");
    uint32_t v = linear(g, s, x, TN_DIM_TOKENS, kv_width, "attn_v");
    q = rope(g, s, q, inv_freq, s->heads, "attn_q.rope");
    k = rope(g, s, k, inv_freq, s->kv_heads, "attn_k.rope");
    uint32_t sinks = s->extras ? weight(g, 1, s->heads, "attn_sinks") : UINT32_MAX;
    return add_node(g, TN_OP_ATTENTION, "attention", TN_DIM_TOKENS, q_width, (uint32_t[]){q, k, v, sinks, UINT32_MAX},
                    (int64_t[7]){0, 0, s->heads, s->kv_heads, s->head_dim, s->head_dim, s->window},
                    (double[2]){0.25, s->extras ? 5.0 : 0.0});
}

/* activation: of GATED; scale: of ADD_SCALED */
static uint32_t pair(check_graph *g, uint32_t op, const char *name, uint32_t a, uint32_t b, int64_t activation,
                     double scale)
{
    return add_node(g, op, name, TN_DIM_OUTPUTS, g->value[a].dim[1], (uint32_t[]){a, b, UINT32_MAX},
                    (int64_t[7]){activation}, (double[2]){scale});
}

/* Three of five experts, clamped, with biases. */
static uint32_t mixture(check_graph *g, const geometry *s, uint32_t x)
{
    const int64_t experts = 5, chosen = 3, width = s->width, hidden = 16;
    uint32_t in[INTERP_INPUTS_MAX] = {x};

    in[TN_MOE_IN_ROUTER] = weight(g, experts, width, "router");
    in[TN_MOE_IN_GATE] = weight(g, experts * hidden, width, "expert_gate");
    in[TN_MOE_IN_UP] = weight(g, experts * hidden, width, "expert_up");
    in[TN_MOE_IN_DOWN] = weight(g, experts * width, hidden, "expert_down");
    in[TN_MOE_IN_ROUTER_BIAS] = weight(g, 1, experts, "router.bias");
    in[TN_MOE_IN_GATE_BIAS] = weight(g, experts, hidden, "expert_gate.bias");
    in[TN_MOE_IN_UP_BIAS] = weight(g, experts, hidden, "expert_up.bias");
    in[TN_MOE_IN_DOWN_BIAS] = weight(g, experts, width, "expert_down.bias");
    return add_node(g, TN_OP_MOE, "mixture", TN_DIM_OUTPUTS, width, in,
                    (int64_t[7]){experts, chosen, TN_ACT_SWIGLU_CLAMPED, 1}, (double[2]){1.0, 1.7});
}

static uint32_t chosen(check_graph *g, uint32_t x, const char *name)
{
    return add_node(g, TN_OP_SELECT, name, TN_DIM_OUTPUTS, g->value[x].dim[1], (uint32_t[]){x, UINT32_MAX}, NULL, NULL);
}

static void build(check_graph *g, const geometry *s)
{
    *g = (check_graph){.api = {.struct_size = sizeof g->api,
                               .kv_group_count = 1,
                               .vocab_size = s->vocab,
                               .model_width = s->width,
                               .node = get_node,
                               .value = get_value,
                               .kv_group = get_kv_group},
                       .group = {.struct_size = sizeof g->group,
                                 .kind = s->window ? TN_KV_WINDOW : TN_KV_FULL,
                                 .layer_count = 1,
                                 .window = s->window,
                                 .kv_heads = s->kv_heads,
                                 .head_dim = s->head_dim,
                                 .v_dim = s->head_dim}};
    uint32_t table = weight(g, s->vocab, s->width, "embed");
    uint32_t x = add_node(g, TN_OP_EMBED, "embed", TN_DIM_TOKENS, s->width, (uint32_t[]){table, UINT32_MAX}, NULL,
                          (double[2]){s->extras ? 3.0 : 1.0});
    uint32_t mixed = attention(g, s, norm(g, s, x, TN_DIM_TOKENS, "attn_norm"));
    mixed = linear(g, s, chosen(g, mixed, "attention.select"), TN_DIM_OUTPUTS, s->width, "attn_output");
    x = pair(g, TN_OP_ADD, "attention.add", chosen(g, x, "residual.select"), mixed, 0, 0);
    uint32_t normed = norm(g, s, x, TN_DIM_OUTPUTS, "ffn_norm");
    uint32_t gate = linear(g, s, normed, TN_DIM_OUTPUTS, s->ff_width, "ffn_gate");
    uint32_t up = linear(g, s, normed, TN_DIM_OUTPUTS, s->ff_width, "ffn_up");
    uint32_t hidden = pair(g, TN_OP_GATED, "gated", gate, up, s->activation, 0);
    x = pair(g, TN_OP_ADD, "ffn.add", x, linear(g, s, hidden, TN_DIM_OUTPUTS, s->width, "ffn_down"), 0, 0);
    if (s->extras)
        x = pair(g, TN_OP_ADD_SCALED, "mixture.add", x, mixture(g, s, x), 0, 0.5);
    uint32_t head = weight(g, s->vocab, s->width, "output");
    add_node(g, TN_OP_LOGITS, "logits", TN_DIM_OUTPUTS, s->vocab, (uint32_t[]){x, head, UINT32_MAX}, NULL,
             (double[2]){s->extras ? 0.5 : 1.0, s->extras ? 8.0 : 0.0});
}

/* ---- loading ---- */

static float noise(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / (1 << 24) - 0.5);
}

/* Weights are the same in both models: random, of about the size that keeps activations near 1. */
static tn_status load_weight(const tn_backend *backend, tn_model *model, const tn_value *value, tn_error *err)
{
    float values[WIDTH_MAX];
    uint64_t bytes[TN_PLANE_LIMIT] = {(uint64_t)value->dim[1] * sizeof(float)}, seed = value->weight_id + 1;
    const void *plane[TN_PLANE_LIMIT] = {values};
    float scale = value->dim[0] == 1 ? 2.0f : 4.0f / sqrtf((float)value->dim[1]);
    tn_status status = TN_OK;

    for (int64_t row = 0; row < value->dim[0] && status == TN_OK; row++) {
        tn_planes planes = {.struct_size = sizeof planes,
                            .plane_count = TN_PLANE_LIMIT,
                            .row0 = (uint64_t)row,
                            .n_rows = 1,
                            .n_k = (uint64_t)value->dim[1],
                            .plane = plane,
                            .plane_bytes = bytes};
        for (int64_t i = 0; i < value->dim[1]; i++)
            values[i] = scale * noise(&seed);
        status = backend->weight(model, value->weight_id, &planes, err);
    }
    return status;
}

static tn_status load(const tn_backend *backend, tn_dev *dev, const check_graph *g, tn_model **ret_model, tn_error *err)
{
    static const tn_enc enc = {.struct_size = sizeof enc, .family = TN_ENC_FLOAT, .qtype = TN_F32, .bits = 32};
    tn_compile compile = {.struct_size = sizeof compile,
                          .graph = (const tn_graph *)(const void *)g,
                          .api = &g->api,
                          .weight_enc = &enc,
                          .weight_enc_stride = 0, /* one for all */
                          .batch_invariant = 1,
                          .max_tokens = CHECK_ROWS_MAX,
                          .max_seqs = 2,
                          .max_outputs = CHECK_ROWS_MAX,
                          .max_model_len = CHECK_TOKENS};
    tn_status status = backend->compile(dev, &compile, ret_model, err);
    for (uint32_t i = 0; i < g->api.value_count && status == TN_OK; i++)
        if (g->value[i].kind == TN_VALUE_WEIGHT)
            status = load_weight(backend, *ret_model, &g->value[i], err);
    if (status == TN_OK)
        status = backend->seal(*ret_model, err);
    if (status == TN_OK)
        status = backend->kv_reserve(*ret_model, 0, 6, err);
    return status;
}

/* ---- lockstep ---- */

typedef struct lockstep {
    tn_model *device, *host;
    const check_graph *graph;
    tn_interp_finding *found; /* [OP_COUNT], by op */
    float from_device[CHECK_ROWS_MAX * WIDTH_MAX], from_host[CHECK_ROWS_MAX * WIDTH_MAX];
} lockstep;

static uint64_t value_bytes(const lockstep *l, uint32_t value, const tn_batch *batch)
{
    const tn_value *v = &l->graph->value[value];
    uint32_t rows = v->dim[0] == TN_DIM_TOKENS ? batch->token_count : batch->out_count;
    return rows * (uint64_t)v->dim[1] * sizeof(float);
}

static tn_status copy_inputs(lockstep *l, const tn_node *node, const tn_batch *batch, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t j = 0; j < node->in_count && status == TN_OK; j++) {
        if (l->graph->value[node->in[j]].kind != TN_VALUE_ACTIVATION)
            continue;
        uint64_t bytes = value_bytes(l, node->in[j], batch);
        status = l->host->ops->get(l->host->dev, l->from_host, l->host->value_buf[node->in[j]], bytes, err);
        if (status == TN_OK)
            status = l->device->ops->put(l->device->dev, l->device->value_buf[node->in[j]], l->from_host, bytes, err);
    }
    return status;
}

static double difference(const lockstep *l, uint64_t count)
{
    double worst = 0, largest = 1e-30;

    for (uint64_t i = 0; i < count; i++) {
        double off = fabs((double)l->from_device[i] - (double)l->from_host[i]);
        largest = fmax(largest, fabs((double)l->from_host[i]));
        worst = off > worst || isnan(off) ? off : worst;
        if (isnan(off))
            return INFINITY;
    }
    return worst / largest;
}

static tn_status check_node(lockstep *l, uint32_t index, const tn_batch *batch, tn_error *err)
{
    const tn_node *node = &l->graph->node[index];
    uint64_t bytes = value_bytes(l, node->out[0], batch);
    tn_interp_finding *found = &l->found[node->op];

    tn_status status = copy_inputs(l, node, batch, err);
    l->device->device_ran = false;
    if (status == TN_OK)
        status = interp_run_node(l->device, index, batch, err);
    if (status == TN_OK)
        status = interp_run_node(l->host, index, batch, err);
    if (status == TN_OK)
        status = l->device->ops->get(l->device->dev, l->from_device, l->device->value_buf[node->out[0]], bytes, err);
    if (status == TN_OK)
        status = l->host->ops->get(l->host->dev, l->from_host, l->host->value_buf[node->out[0]], bytes, err);
    if (status != TN_OK)
        return status;
    if (!l->device->device_ran) {
        found->declined++;
        return TN_OK;
    }
    found->ran++;
    double error = difference(l, bytes / sizeof(float));
    if (!found->node || error > found->error) {
        found->error = error;
        found->node = l->graph->value[node->out[0]].name;
    }
    return TN_OK;
}

/* Slot 1 holds the sequence that grows, slot 0 one that begins in the second batch. Pages are out of order. */
static tn_status check_batch(lockstep *l, uint32_t cached, uint32_t count, uint32_t fresh, tn_error *err)
{
    static const uint32_t page_of[2][3] = {{4, 0, 2}, {5, 3, 1}};
    int32_t token[CHECK_ROWS_MAX], position[CHECK_ROWS_MAX];
    uint32_t out_row[CHECK_ROWS_MAX], out_want[CHECK_ROWS_MAX] = {0};
    tn_batch batch = {.struct_size = sizeof batch,
                      .token_count = count + fresh,
                      .seq_count = fresh ? 2 : 1,
                      .axis_count = 1,
                      .token = token,
                      .position = position,
                      .seq_start = (uint32_t[]){0, count, count + fresh},
                      .slot = (uint32_t[]){1, 0},
                      .cached_len = (uint32_t[]){cached, 0},
                      .out_row = out_row,
                      .out_want = out_want};
    tn_status status = TN_OK;

    for (uint32_t slot = 0; slot < 2; slot++)
        for (uint32_t i = 0; i < 3; i++) {
            uint64_t at = (uint64_t)slot * l->host->table_stride + i;
            l->host->kv[0].table[at] = l->device->kv[0].table[at] = page_of[slot][i];
        }
    for (uint32_t row = 0; row < batch.token_count; row++) {
        position[row] = (int32_t)(row < count ? cached + row : row - count);
        token[row] = (int32_t)((cached + row * 29 + 3) % l->graph->api.vocab_size);
        if (row % 3 != 1)
            out_row[batch.out_count++] = row;
    }
    for (uint32_t i = 0; i < l->graph->api.node_count && status == TN_OK; i++)
        status = check_node(l, i, &batch, err);
    return status;
}

static tn_status check_geometry(const tn_backend *backend, const tn_backend *reference, tn_dev *const dev[2],
                                const geometry *s, tn_interp_finding *found, tn_error *err)
{
    check_graph *graph = calloc(1, sizeof *graph);
    lockstep *l = calloc(1, sizeof *l);
    tn_status status = graph && l ? TN_OK : tn_fail(err, TN_E_MEMORY, "check: no memory");

    if (status == TN_OK) {
        build(graph, s);
        l->graph = graph;
        l->found = found;
        status = load(backend, dev[0], graph, &l->device, err);
    }
    if (status == TN_OK)
        status = load(reference, dev[1], graph, &l->host, err);
    if (status == TN_OK)
        status = check_batch(l, 0, 19, 0, err);
    if (status == TN_OK)
        status = check_batch(l, 19, 18, 7, err);
    if (status == TN_OK)
        status = check_batch(l, 37, 1, 0, err);
    backend->model_free(l ? l->device : NULL);
    reference->model_free(l ? l->host : NULL);
    free(l);
    free(graph);
    return status;
}

static tn_status check_devices(const tn_backend *backend, const tn_backend *reference, tn_interp_finding *found,
                               tn_error *err)
{
    const uint32_t ordinal = 0;
    tn_open request = {.struct_size = sizeof request, .device_count = 1, .world = 1, .ordinal = &ordinal};
    tn_dev *dev[2] = {NULL, NULL};

    tn_status status = backend->open(&request, &dev[0], err);
    if (status == TN_OK)
        status = reference->open(&request, &dev[1], err);
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries && status == TN_OK; i++)
        status = check_geometry(backend, reference, dev, &geometries[i], found, err);
    backend->close(dev[0]);
    reference->close(dev[1]);
    return status;
}

tn_status tn_interp_check_ops(const tn_ops_table *ops, double tolerance,
                              void (*report)(void *ctx, const tn_interp_finding *finding), void *ctx, tn_error *err)
{
    static const char *const names[OP_COUNT] = {"",      "EMBED", "LINEAR", "RMS_NORM", "ROPE",       "ATTENTION",
                                                "GATED", "ADD",   "SELECT", "LOGITS",   "ADD_SCALED", "MOE"};
    tn_interp_finding found[OP_COUNT] = {{0}};
    const tn_backend *backend = NULL, *reference = NULL;

    tn_status status = tn_interp_backend(ops, &backend, err);
    if (status == TN_OK)
        status = tn_interp_backend(tn_interp_host_ops(), &reference, err);
    if (status == TN_OK)
        status = check_devices(backend, reference, found, err);
    for (uint32_t op = 1; op < OP_COUNT && status == TN_OK; op++) {
        found[op].op = names[op];
        report(ctx, &found[op]);
    }
    for (uint32_t op = 1; op < OP_COUNT && status == TN_OK; op++) {
        if (found[op].error > tolerance)
            status =
                tn_fail(err, TN_E_INTERNAL, "%s differs from the reference by %.2g of its largest value at node %s",
                        names[op], found[op].error, found[op].node);
    }
    return status;
}
