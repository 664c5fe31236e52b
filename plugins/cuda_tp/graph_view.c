/* graph_view.c: see graph_view.h. Roles follow from the nodes that use a weight, found by walking back from attention.
 */
#include "graph_view.h"

#include <stdlib.h>
#include <string.h>

uint32_t graph_view_weight(const graph_view *view, const tn_node *node, uint32_t input)
{
    return input < node->in_count ? view->value[node->in[input]].weight_id : NONE;
}

bool graph_view_is_read_by(const graph_view *view, uint32_t value, uint32_t op)
{
    for (uint32_t i = 0; i < view->api->node_count; i++) {
        const tn_node *n = &view->node[i];
        for (uint32_t j = 0; j < n->in_count && n->op == op; j++)
            if (n->in[j] == value)
                return true;
    }
    return false;
}

static tn_status read_values(graph_view *view, tn_error *err)
{
    const tn_graph *graph = view->compile->graph;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < view->api->value_count && status == TN_OK; i++) {
        view->value[i].struct_size = sizeof view->value[i];
        status = view->api->value(graph, i, &view->value[i]);
        view->writer[i] = NONE;
    }
    for (uint32_t i = 0; i < view->api->node_count && status == TN_OK; i++) {
        tn_node *n = &view->node[i];
        n->struct_size = sizeof *n;
        status = view->api->node(graph, i, n);
        for (uint32_t j = 0; status == TN_OK && j < n->in_count; j++)
            view->uses[n->in[j]]++;
        if (status == TN_OK)
            view->writer[n->out[0]] = i;
    }
    for (uint32_t i = 0; i < view->api->kv_group_count && status == TN_OK; i++) {
        view->kv[i].struct_size = sizeof view->kv[i];
        status = view->api->kv_group(graph, i, &view->kv[i]);
    }
    return status == TN_OK ? TN_OK : tn_fail(err, status, "the graph cannot be read");
}

static void read_weights(graph_view *view)
{
    const tn_compile *compile = view->compile;

    for (uint32_t i = 0; i < view->api->value_count; i++) {
        const tn_value *v = &view->value[i];
        if (v->kind != TN_VALUE_WEIGHT || view->weight[v->weight_id].experts)
            continue;
        weight_view *w = &view->weight[v->weight_id];
        const uint8_t *enc = (const uint8_t *)compile->weight_enc + (uint64_t)v->weight_id * compile->weight_enc_stride;
        memcpy(&w->enc, enc, sizeof w->enc < compile->weight_enc_stride ? sizeof w->enc : compile->weight_enc_stride);
        w->value = *v;
        w->experts = 1;
    }
}

static weight_view *weight_at(graph_view *view, const tn_node *n, uint32_t input)
{
    uint32_t id = graph_view_weight(view, n, input);
    return id == NONE ? NULL : &view->weight[id];
}

static void mark(graph_view *view, const tn_node *n, uint32_t input, uint32_t roles)
{
    weight_view *w = weight_at(view, n, input);
    if (w)
        w->roles |= roles;
}

/* From an input of attention back to the product that makes it. */
static void mark_heads(graph_view *view, const tn_node *attention, uint32_t input, uint32_t role, uint32_t head)
{
    uint32_t value = attention->in[input], whole = 0;

    for (uint32_t at = view->writer[value]; at != NONE; at = view->writer[view->node[at].in[0]]) {
        const tn_node *n = &view->node[at];
        if (n->op == TN_OP_RMS_NORM && n->attr[TN_RMS_NORM_A_WIDTH] > (int64_t)head)
            whole = ROLE_WHOLE;
        if (n->op == TN_OP_LINEAR) {
            weight_view *w = weight_at(view, n, 1);
            w->roles |= role | whole;
            w->head = head;
            w->kv_heads = (uint32_t)attention->attr[TN_ATTENTION_A_KV_HEADS];
            return;
        }
        if (n->op != TN_OP_ROPE && n->op != TN_OP_RMS_NORM)
            return;
    }
}

/* The product that reads attention's result, directly or by way of SELECT. */
static void mark_out(graph_view *view, const tn_node *attention)
{
    uint32_t value = attention->out[0], head = (uint32_t)attention->attr[TN_ATTENTION_A_V_DIM];

    for (uint32_t i = 0; i < view->api->node_count; i++) {
        const tn_node *n = &view->node[i];
        if (n->in_count == 0 || n->in[0] != value)
            continue;
        if (n->op == TN_OP_SELECT)
            value = n->out[0];
        weight_view *w = n->op == TN_OP_LINEAR ? weight_at(view, n, 1) : NULL;
        if (!w)
            continue;
        w->roles |= ROLE_ATTENTION_OUT;
        w->head = head;
        w->kv_heads = (uint32_t)attention->attr[TN_ATTENTION_A_KV_HEADS];
    }
}

static void mark_experts(graph_view *view, const tn_node *n)
{
    for (uint32_t input = TN_MOE_IN_GATE; input <= TN_MOE_IN_DOWN; input++) {
        weight_view *w = weight_at(view, n, input);
        if (w)
            w->experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    }
    mark(view, n, TN_MOE_IN_ROUTER_BIAS, ROLE_VECTOR);
    mark(view, n, TN_MOE_IN_GATE_BIAS, ROLE_VECTOR | ROLE_EXPERT_VECTOR);
    mark(view, n, TN_MOE_IN_UP_BIAS, ROLE_VECTOR | ROLE_EXPERT_VECTOR);
    mark(view, n, TN_MOE_IN_DOWN_BIAS, ROLE_VECTOR);
}

static void mark_roles(graph_view *view)
{
    for (uint32_t i = 0; i < view->api->node_count; i++) {
        const tn_node *n = &view->node[i];
        switch (n->op) {
        case TN_OP_EMBED:
            mark(view, n, 0, ROLE_VOCABULARY);
            break;
        case TN_OP_LOGITS:
            mark(view, n, 1, ROLE_VOCABULARY);
            mark(view, n, 2, ROLE_VECTOR);
            break;
        case TN_OP_LINEAR:
            mark(view, n, 2, ROLE_VECTOR);
            break;
        case TN_OP_RMS_NORM:
            mark(view, n, 1, ROLE_VECTOR);
            break;
        case TN_OP_ATTENTION: {
            uint32_t head = (uint32_t)n->attr[TN_ATTENTION_A_HEAD_DIM];
            mark(view, n, 3, ROLE_VECTOR);
            mark_heads(view, n, 0, ROLE_QUERY, head);
            mark_heads(view, n, 1, ROLE_KV, head);
            mark_heads(view, n, 2, ROLE_KV, (uint32_t)n->attr[TN_ATTENTION_A_V_DIM]);
            mark_out(view, n);
            break;
        }
        case TN_OP_MOE:
            mark_experts(view, n);
            break;
        default:
            break;
        }
    }
}

tn_status graph_view_init(graph_view *view, const tn_compile *compile, tn_error *err)
{
    const tn_graph_api *api = compile->api;

    *view = (graph_view){.compile = compile, .api = api};
    if (!compile->max_tokens || !compile->max_seqs || !compile->max_outputs || !compile->max_model_len)
        return tn_fail(err, TN_E_ARGUMENT, "compile: a limit is 0");
    view->node = calloc(api->node_count + 1, sizeof *view->node);
    view->value = calloc(api->value_count + 1, sizeof *view->value);
    view->writer = calloc(api->value_count + 1, sizeof *view->writer);
    view->uses = calloc(api->value_count + 1, sizeof *view->uses);
    view->weight = calloc(api->weight_count + 1, sizeof *view->weight);
    view->kv = calloc(api->kv_group_count + 1, sizeof *view->kv);
    if (!view->node || !view->value || !view->writer || !view->uses || !view->weight || !view->kv)
        return tn_fail(err, TN_E_MEMORY, "a graph of %u nodes", api->node_count);
    tn_status status = read_values(view, err);
    if (status != TN_OK)
        return status;
    read_weights(view);
    mark_roles(view);
    return TN_OK;
}

void graph_view_finish(graph_view *view)
{
    free(view->node);
    free(view->value);
    free(view->writer);
    free(view->uses);
    free(view->weight);
    free(view->kv);
    *view = (graph_view){0};
}
