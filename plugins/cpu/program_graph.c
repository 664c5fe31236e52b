/* program_graph.c: the graph as the builder keeps it, and whether the CPU can run it. */
#include "program_builder.h"

#include <string.h>

/* ---- what can run ---- */

static tn_status attention_check(const builder *b, const tn_node *n, tn_error *err)
{
    const int64_t *a = n->attr;
    int64_t heads = a[TN_ATTENTION_A_HEADS], kv_heads = a[TN_ATTENTION_A_KV_HEADS];
    int64_t head_dim = a[TN_ATTENTION_A_HEAD_DIM];

    if (a[TN_ATTENTION_A_GROUP] < 0 || a[TN_ATTENTION_A_GROUP] >= b->api->kv_group_count)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention in KV group %lld of %u", (long long)a[TN_ATTENTION_A_GROUP],
                       b->api->kv_group_count);
    const tn_kv_group *g = &b->p->kv[a[TN_ATTENTION_A_GROUP]].shape;
    if (kv_heads < 1 || heads < kv_heads || heads % kv_heads || heads > 4096)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention with %lld heads over %lld key/value heads", (long long)heads,
                       (long long)kv_heads);
    if (head_dim < 1 || head_dim > SPAN_TOKENS || a[TN_ATTENTION_A_V_DIM] < 1 || a[TN_ATTENTION_A_V_DIM] > SPAN_TOKENS)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention heads of width %lld; the CPU takes up to %d",
                       (long long)head_dim, SPAN_TOKENS);
    if (g->kv_heads != kv_heads || g->head_dim != head_dim || g->v_dim != a[TN_ATTENTION_A_V_DIM] ||
        a[TN_ATTENTION_A_LAYER] < 0 || a[TN_ATTENTION_A_LAYER] >= g->layer_count)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention whose shape differs from its KV group's");
    return TN_OK;
}

static tn_status node_check(builder *b, uint32_t index, tn_error *err)
{
    const tn_node *n = &b->node[index];

    switch (n->op) {
    case TN_OP_ATTENTION:
        return attention_check(b, n, err);
    case TN_OP_ROPE:
        if (n->attr[TN_ROPE_A_AXIS] != 0)
            return tn_fail(err, TN_E_UNSUPPORTED, "rotation by position axis %lld", (long long)n->attr[TN_ROPE_A_AXIS]);
        if (n->attr[TN_ROPE_A_STYLE] != TN_ROPE_HALVES && n->attr[TN_ROPE_A_STYLE] != TN_ROPE_PAIRS)
            return tn_fail(err, TN_E_UNSUPPORTED, "rotation style %lld", (long long)n->attr[TN_ROPE_A_STYLE]);
        return rope_table_of(b, n) == NONE
                   ? tn_fail(err, TN_E_UNSUPPORTED, "more than %d different rotations", ROPES_MAX)
                   : TN_OK;
    case TN_OP_GATED:
        return n->attr[TN_GATED_A_ACTIVATION] < TN_ACT_SILU || n->attr[TN_GATED_A_ACTIVATION] > TN_ACT_GELU
                   ? tn_fail(err, TN_E_UNSUPPORTED, "activation %lld", (long long)n->attr[TN_GATED_A_ACTIVATION])
                   : TN_OK;
    case TN_OP_EMBED:
    case TN_OP_LINEAR:
    case TN_OP_RMS_NORM:
    case TN_OP_ADD:
    case TN_OP_ADD_SCALED:
    case TN_OP_SELECT:
    case TN_OP_LOGITS:
        return TN_OK;
    case TN_OP_MOE:
        return moe_check(b, n, err);
    default:
        return tn_fail(err, TN_E_UNSUPPORTED, "node %u is op %u, which this backend does not know", index, n->op);
    }
}

tn_status nodes_check(builder *b, uint32_t *bad, uint32_t *bad_count, tn_error *err)
{
    uint32_t capacity = bad_count ? *bad_count : 0, found = 0;
    tn_status first = TN_OK;

    for (uint32_t i = 0; i < b->api->node_count; i++) {
        tn_status status = node_check(b, i, first == TN_OK ? err : NULL);
        if (status == TN_OK)
            continue;
        if (bad && found < capacity)
            bad[found] = i;
        found++;
        first = first == TN_OK ? status : first;
    }
    if (bad_count)
        *bad_count = found;
    return first;
}

/* ---- reading the graph ---- */

static bool is_vector(const builder *b, const tn_node *n, uint32_t input)
{
    return b->value[n->in[input]].kind == TN_VALUE_WEIGHT &&
           ((n->op == TN_OP_RMS_NORM && input == 1) || (n->op == TN_OP_ATTENTION && input == 3) ||
            (n->op == TN_OP_MOE && input >= TN_MOE_IN_ROUTER_BIAS) ||
            ((n->op == TN_OP_LINEAR || n->op == TN_OP_LOGITS) && input == 2));
}

/* Rows are put in order once for everything that they are multiplied with: one expert, or a whole weight. */
static tn_status order_check(const tn_node *n, uint32_t input, const weight *w, const char *name, tn_error *err)
{
    bool experts = n->op == TN_OP_MOE && input >= TN_MOE_IN_GATE && input <= TN_MOE_IN_DOWN;
    uint64_t together = experts ? w->n / (uint64_t)n->attr[TN_MOE_A_EXPERTS] : w->n;

    if (weight_is_permuted(w) && w->enc.part_n % together != 0)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: columns in another order every %u rows; the CPU takes %llu", name,
                       w->enc.part_n, (unsigned long long)together);
    return TN_OK;
}

tn_status weights_read(builder *b)
{
    program *p = b->p;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < b->api->node_count && status == TN_OK; i++) {
        const tn_node *n = &b->node[i];
        for (uint32_t j = 0; j < n->in_count && status == TN_OK; j++) {
            const tn_value *v = &b->value[n->in[j]];
            if (v->kind != TN_VALUE_WEIGHT || p->weights[v->weight_id].kind)
                continue;
            tn_enc enc = {0};
            const uint8_t *at =
                (const uint8_t *)b->compile->weight_enc + (uint64_t)v->weight_id * b->compile->weight_enc_stride;
            memcpy(&enc, at, sizeof enc < b->compile->weight_enc_stride ? sizeof enc : b->compile->weight_enc_stride);
            p->names[v->weight_id] = v->name;
            status = weight_init(&p->weights[v->weight_id], &enc, (uint64_t)v->dim[0], (uint64_t)v->dim[1],
                                 is_vector(b, n, j), v->name, b->err);
            if (status == TN_OK)
                status = order_check(n, j, &p->weights[v->weight_id], v->name, b->err);
        }
    }
    for (uint32_t i = 0; i < p->weight_count; i++) {
        p->weight_at[i] = p->weight_bytes;
        p->weight_bytes += p->weights[i].bytes;
    }
    return status;
}

tn_status groups_read(builder *b)
{
    program *p = b->p;
    uint32_t type = b->compile->kv_dtype;

    if (type > TN_BF16)
        return tn_fail(b->err, TN_E_UNSUPPORTED, "KV cache of type %u; the CPU takes f16, bf16, f32", type);
    for (uint32_t i = 0; i < p->group_count; i++) {
        kv_layout *kv = &p->kv[i];
        kv->shape.struct_size = sizeof kv->shape;
        tn_status status = b->api->kv_group(b->compile->graph, i, &kv->shape);
        if (status != TN_OK)
            return tn_fail(b->err, status, "KV group %u cannot be read", i);
        uint64_t width = type == TN_F32 ? 4 : 2;
        kv->store = type == TN_F32 ? STORE_F32 : type == TN_BF16 ? STORE_BF16 : STORE_F16;
        kv->v_pad = (kv->shape.v_dim + LANES - 1) / LANES * LANES;
        kv->table_stride = (p->limits.max_model_len + LANES - 1) / LANES;
        kv->k_bytes = (uint64_t)kv->shape.head_dim * LANES * width;
        kv->v_bytes = (uint64_t)kv->v_pad * LANES * width;
        kv->layer_page_bytes = (kv->k_bytes + kv->v_bytes) * kv->shape.kv_heads;
        kv->page_bytes = kv->layer_page_bytes * kv->shape.layer_count;
    }
    return TN_OK;
}

tn_status graph_read(builder *b)
{
    const tn_graph *graph = b->compile->graph;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < b->api->value_count && status == TN_OK; i++) {
        b->value[i].struct_size = sizeof b->value[i];
        status = b->api->value(graph, i, &b->value[i]);
        b->writer[i] = b->reader[i] = b->buffer_of[i] = NONE;
        for (uint32_t form = 0; form < FORM_COUNT; form++)
            b->quant_of[i][form] = NONE;
    }
    for (uint32_t i = 0; i < b->api->node_count && status == TN_OK; i++) {
        tn_node *n = &b->node[i];
        n->struct_size = sizeof *n;
        status = b->api->node(graph, i, n);
        if (status != TN_OK)
            break;
        for (uint32_t j = 0; j < n->in_count; j++) {
            b->uses[n->in[j]]++;
            b->reader[n->in[j]] = i;
        }
        b->writer[n->out[0]] = i;
    }
    if (status != TN_OK)
        return tn_fail(b->err, status, "the graph cannot be read");
    return TN_OK;
}
