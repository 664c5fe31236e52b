/* node_check.c: what the kernels can run, from the limits in kernels/launch.h. */
#include "program.h"

static tn_status check_attention(const graph_view *view, const tn_node *n, tn_error *err)
{
    const int64_t *a = n->attr;
    int64_t heads = a[TN_ATTENTION_A_HEADS], kv_heads = a[TN_ATTENTION_A_KV_HEADS];
    int64_t dim = a[TN_ATTENTION_A_HEAD_DIM], v_dim = a[TN_ATTENTION_A_V_DIM];

    if (a[TN_ATTENTION_A_GROUP] < 0 || a[TN_ATTENTION_A_GROUP] >= view->api->kv_group_count)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention in KV group %lld of %u", (long long)a[TN_ATTENTION_A_GROUP],
                       view->api->kv_group_count);
    const tn_kv_group *g = &view->kv[a[TN_ATTENTION_A_GROUP]];
    if (kv_heads < 1 || heads < kv_heads || heads % kv_heads || heads / kv_heads > CUDA_TASK_QUERIES)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention with %lld heads over %lld key/value heads", (long long)heads,
                       (long long)kv_heads);
    if (dim < 8 || dim > CUDA_HEAD_DIM_MAX || dim % 8 || v_dim < 8 || v_dim > CUDA_HEAD_DIM_MAX || v_dim % 8)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention heads of width %lld; multiples of 8 up to %d run",
                       (long long)dim, CUDA_HEAD_DIM_MAX);
    if (g->kv_heads != kv_heads || g->head_dim != dim || g->v_dim != v_dim || a[TN_ATTENTION_A_LAYER] < 0 ||
        a[TN_ATTENTION_A_LAYER] >= g->layer_count)
        return tn_fail(err, TN_E_UNSUPPORTED, "attention whose shape differs from its KV group's");
    return TN_OK;
}

/* The ROPE that makes an input of attention; NULL: it is not rotated. */
static const tn_node *rope_of(const graph_view *view, uint32_t value)
{
    uint32_t writer = view->writer[value];
    return writer != NONE && view->node[writer].op == TN_OP_ROPE ? &view->node[writer] : NULL;
}

/* One kernel turns queries and keys, by one rotation. */
static tn_status check_rotations(const graph_view *view, const tn_node *n, tn_error *err)
{
    const tn_node *q = rope_of(view, n->in[0]), *k = rope_of(view, n->in[1]);
    bool equal = !q == !k;

    if (q && k)
        equal = q->in[1] == k->in[1] && q->attr[TN_ROPE_A_ROTATED] == k->attr[TN_ROPE_A_ROTATED] &&
                q->attr[TN_ROPE_A_STYLE] == k->attr[TN_ROPE_A_STYLE] &&
                q->fattr[TN_ROPE_F_MAGNITUDE] == k->fattr[TN_ROPE_F_MAGNITUDE];
    return equal ? TN_OK : tn_fail(err, TN_E_UNSUPPORTED, "attention whose queries and keys are rotated differently");
}

static tn_status check_rope(const graph_view *view, const tn_node *n, tn_error *err)
{
    int64_t style = n->attr[TN_ROPE_A_STYLE];

    if (n->attr[TN_ROPE_A_AXIS] != 0)
        return tn_fail(err, TN_E_UNSUPPORTED, "rotation by position axis %lld", (long long)n->attr[TN_ROPE_A_AXIS]);
    if (style != TN_ROPE_HALVES && style != TN_ROPE_PAIRS)
        return tn_fail(err, TN_E_UNSUPPORTED, "rotation style %lld", (long long)style);
    if (view->uses[n->out[0]] != 1 || view->uses[n->in[0]] != 1 ||
        !graph_view_is_read_by(view, n->out[0], TN_OP_ATTENTION))
        return tn_fail(err, TN_E_UNSUPPORTED, "a rotation that is not for attention alone");
    return TN_OK;
}

static tn_status check_moe(const graph_view *view, const tn_node *n, tn_error *err)
{
    int64_t experts = n->attr[TN_MOE_A_EXPERTS], chosen = n->attr[TN_MOE_A_CHOSEN];
    int64_t activation = n->attr[TN_MOE_A_ACTIVATION];
    const tn_value *x = &view->value[n->in[0]], *gate = &view->value[n->in[TN_MOE_IN_GATE]];
    const tn_value *down = &view->value[n->in[TN_MOE_IN_DOWN]];

    if (n->in_count != TN_MOE_IN_ROUTER_BIAS && n->in_count != TN_MOE_IN_DOWN_BIAS + 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "experts with %u inputs", n->in_count);
    if (experts < 1 || experts > CUDA_EXPERTS_MAX || chosen < 1 || chosen > experts || chosen > CUDA_CHOSEN_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "%lld of %lld experts; up to %d of %d run", (long long)chosen,
                       (long long)experts, CUDA_CHOSEN_MAX, CUDA_EXPERTS_MAX);
    if (activation < TN_ACT_SILU || activation > TN_ACT_SWIGLU_CLAMPED)
        return tn_fail(err, TN_E_UNSUPPORTED, "activation %lld", (long long)activation);
    if (gate->dim[0] != experts * down->dim[1] || gate->dim[1] != x->dim[1] || down->dim[0] != experts * x->dim[1])
        return tn_fail(err, TN_E_UNSUPPORTED, "experts whose matrices do not fit together");
    if (x->dim[1] % 16 || down->dim[1] % 16)
        return tn_fail(err, TN_E_UNSUPPORTED, "experts of width %lld by %lld; multiples of 16 run",
                       (long long)x->dim[1], (long long)down->dim[1]);
    return TN_OK;
}

tn_status node_check(const graph_view *view, uint32_t index, tn_error *err)
{
    const tn_node *n = &view->node[index];
    tn_status status;

    switch (n->op) {
    case TN_OP_ATTENTION:
        status = check_attention(view, n, err);
        return status == TN_OK ? check_rotations(view, n, err) : status;
    case TN_OP_ROPE:
        return check_rope(view, n, err);
    case TN_OP_GATED:
        return n->attr[TN_GATED_A_ACTIVATION] < TN_ACT_SILU || n->attr[TN_GATED_A_ACTIVATION] > TN_ACT_GELU
                   ? tn_fail(err, TN_E_UNSUPPORTED, "activation %lld", (long long)n->attr[TN_GATED_A_ACTIVATION])
                   : TN_OK;
    case TN_OP_MOE:
        return check_moe(view, n, err);
    case TN_OP_EMBED:
    case TN_OP_LINEAR:
    case TN_OP_RMS_NORM:
    case TN_OP_ADD:
    case TN_OP_ADD_SCALED:
    case TN_OP_SELECT:
    case TN_OP_LOGITS:
        return TN_OK;
    default:
        return tn_fail(err, TN_E_UNSUPPORTED, "node %u is op %u, which this backend does not know", index, n->op);
    }
}
