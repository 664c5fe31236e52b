/* lower.c: nodes to steps, in order. Fused: ADD into the RMS_NORM after it, ROPE of q and k into the KV write. A matrix
 * that is cut by columns is followed by a sum over ranks, as is an embedding whose table is cut, and logits by a
 * gather.
 */
#include "ordered_sum.h"
#include "planes.h"

#include <string.h>

static const operand no_operand = {.buffer = NONE};

static uint32_t rows_of(const builder *b, uint32_t value)
{
    return b->view->value[value].dim[0] == TN_DIM_OUTPUTS ? ROWS_OUTPUTS : ROWS_TOKENS;
}

static uint32_t columns_of(const builder *b, uint32_t value)
{
    return (uint32_t)b->view->value[value].dim[1];
}

static const buffer *buffer_of(const builder *b, operand at)
{
    return &b->p->buffers[at.buffer];
}

/* Puts a value into a buffer of its own. */
static uint32_t make_place(builder *b, uint32_t value, uint32_t type, uint32_t columns, bool cut)
{
    uint32_t index = buffer_add(b, type, columns, rows_of(b, value), 1);
    b->place[value] = (value_place){.at = {.buffer = index}, .known = true, .cut = cut, .cast = NONE};
    return index;
}

/* The value as bf16, whole or this rank's columns. */
static operand as_bf16(builder *b, uint32_t value)
{
    value_place *place = &b->place[value];
    operand at = place->at;

    if (b->failed || buffer_of(b, at)->type == TN_BF16)
        return at;
    if (place->cast == NONE) {
        uint32_t columns = buffer_of(b, at)->columns;
        place->cast = buffer_add(b, TN_BF16, columns, rows_of(b, value), 1);
        step *s = step_add(b, STEP_CAST, rows_of(b, value));
        s->in[0] = at;
        s->out = place->cast;
        s->columns = columns;
        s->scale = 1;
    }
    at.buffer = place->cast;
    return at;
}

/* A rank's columns of a value that it may hold whole. */
static operand part_of(const builder *b, uint32_t value, operand at, uint32_t columns, uint32_t replicas)
{
    if (!b->place[value].cut && b->p->world > 1) {
        at.part_columns = columns;
        at.replicas = replicas;
    }
    return at;
}

/* ---- what a value is needed as ---- */

static bool reader_takes_bf16(uint32_t op)
{
    return op == TN_OP_LINEAR || op == TN_OP_MOE || op == TN_OP_LOGITS || op == TN_OP_ROPE || op == TN_OP_ATTENTION ||
           op == TN_OP_GATED;
}

/* The type that suits those who read a value: bf16 if all of them multiply with it. The row that enters LOGITS may be
 * asked for as f32. */
static uint32_t type_for_readers(const builder *b, uint32_t value)
{
    for (uint32_t i = 0; i < b->view->api->node_count; i++) {
        const tn_node *n = &b->view->node[i];
        for (uint32_t j = 0; j < n->in_count; j++)
            if (n->in[j] == value && (!reader_takes_bf16(n->op) || n->op == TN_OP_LOGITS))
                return TN_F32;
    }
    return TN_BF16;
}

/* ---- products ---- */

/* out = sum over ranks of a part; with one rank the part is the sum. */
static void add_reduce(builder *b, uint32_t value, uint32_t part)
{
    uint32_t columns = columns_of(b, value), type = b->p->buffers[part].type;

    if (b->p->world == 1) {
        b->place[value] = (value_place){.at = {.buffer = part}, .known = true, .cast = NONE};
        return;
    }
    uint32_t out = make_place(b, value, type, columns, false);
    step *s = step_add(b, STEP_REDUCE, rows_of(b, value));
    s->in[0] = (operand){.buffer = part};
    s->out = out;
    s->columns = columns;
    if (b->p->world > 2 && b->view->compile->batch_invariant) { /* a + b is b + a */
        uint64_t count = b->p->buffers[part].bytes / tn_scalar_bytes(type);
        s->sum = buffer_add_bytes(b, ordered_sum_bytes(b->p->world, count, type));
    }
    if (columns > b->p->reduce_columns)
        b->p->reduce_columns = columns;
}

/* Rows of x, of which a rank may have its columns only, in the column order of a permuted weight. Those of its stored
 * columns that a rank holds multiply inputs anywhere, so ranks gather what they have first. `each`: as in buffer_add.
 */
static operand permute(builder *b, step *s, operand x, bool cut, uint32_t rows, uint32_t each)
{
    const weight_cut *weight = &b->p->weights[s->weight].cut;

    if (b->failed)
        return x;
    s->in[0] = x;
    s->columns = (uint32_t)weight->columns;
    if (cut && b->p->world > 1)
        s->sum = buffer_add(b, TN_BF16, buffer_of(b, x)->columns, rows, each * b->p->world);
    return (operand){.buffer = s->out = buffer_add(b, TN_BF16, s->columns, rows, each)};
}

/* What a product with weight `id` reads of a value. */
static operand product_input(builder *b, uint32_t value, uint32_t id)
{
    const program_weight *w = &b->p->weights[id];
    operand x = as_bf16(b, value);

    if (columns_are_permuted(&w->enc)) {
        step *s = step_add(b, STEP_PERMUTE, rows_of(b, value));
        s->weight = id;
        return permute(b, s, x, b->place[value].cut, rows_of(b, value), 1);
    }
    if (w->cut.shard == TN_SHARD_COLUMNS)
        return part_of(b, value, x, (uint32_t)w->cut.columns, w->cut.replicas);
    return x;
}

static void lower_embed(builder *b, const tn_node *n)
{
    uint32_t value = n->out[0], columns = columns_of(b, value);
    uint32_t part = buffer_add(b, TN_F32, columns, ROWS_TOKENS, 1);
    step *s = step_add(b, STEP_EMBED, ROWS_TOKENS);

    s->weight = graph_view_weight(b->view, n, 0);
    s->out = part;
    s->columns = columns;
    s->scale = (float)n->fattr[TN_EMBED_F_SCALE];
    add_reduce(b, value, part);
}

static void lower_linear(builder *b, const tn_node *n)
{
    uint32_t value = n->out[0], id = graph_view_weight(b->view, n, 1);
    const weight_cut *cut = &b->p->weights[id].cut;
    bool by_columns = cut->shard == TN_SHARD_COLUMNS;
    operand x = product_input(b, n->in[0], id);
    uint32_t type = type_for_readers(b, value), columns = (uint32_t)cut->rows;

    if (b->p->weights[id].roles & ROLE_ATTENTION_OUT || b->view->weight[id].value.shard == TN_SHARD_COLUMNS)
        type = by_columns ? b->p->reduce_type : TN_F32;
    uint32_t out = by_columns ? buffer_add(b, type, columns, rows_of(b, value), 1)
                              : make_place(b, value, type, columns, cut->shard == TN_SHARD_ROWS);
    step *s = step_add(b, STEP_LINEAR, rows_of(b, value));
    s->in[0] = x;
    s->out = out;
    s->columns = columns;
    s->weight = id;
    s->bias = graph_view_weight(b->view, n, 2);
    s->bias_by_rows = !by_columns;
    if (by_columns)
        add_reduce(b, value, out);
}

static void lower_logits(builder *b, const tn_node *n)
{
    program *p = b->p;
    uint32_t value = n->out[0], id = graph_view_weight(b->view, n, 1), columns = (uint32_t)p->weights[id].cut.rows;
    operand x = product_input(b, n->in[0], id);
    bool cut = p->weights[id].cut.shard == TN_SHARD_ROWS;

    p->hidden = b->place[n->in[0]].at.buffer;
    p->logits = make_place(b, value, TN_F32, p->vocab, false);
    uint32_t part = cut ? buffer_add(b, TN_F32, columns, ROWS_OUTPUTS, 1) : p->logits;
    step *s = step_add(b, STEP_LINEAR, ROWS_OUTPUTS);
    s->in[0] = x;
    s->out = part;
    s->columns = cut ? columns : p->vocab;
    s->weight = id;
    s->bias = graph_view_weight(b->view, n, 2);
    s->bias_by_rows = true;
    if (cut) {
        s = step_add(b, STEP_GATHER, ROWS_OUTPUTS);
        s->in[0] = (operand){.buffer = part};
        s->columns = columns;
        s->sum = buffer_add(b, TN_F32, columns, ROWS_OUTPUTS, p->world);
        s->out = p->logits;
    }
    float scale = (float)n->fattr[TN_LOGITS_F_SCALE], cap = (float)n->fattr[TN_LOGITS_F_SOFTCAP];
    if (scale != 1 || cap != 0) {
        s = step_add(b, STEP_SOFTCAP, ROWS_OUTPUTS);
        s->in[0] = (operand){.buffer = p->logits};
        s->columns = p->vocab;
        s->scale = scale;
        s->cap = cap;
    }
}

/* ---- rows ---- */

/* The ADD whose sum this norm reads, if it is the node before and may be part of it: then its place is made here. */
static void fuse_add(builder *b, uint32_t index, step *ret)
{
    const tn_node *n = &b->view->node[index];
    uint32_t sum = n->in[0], add = b->view->writer[sum];

    if (add == NONE || !b->done[add] || b->place[sum].known)
        return;
    const tn_node *a = &b->view->node[add];
    ret->in[0] = b->place[a->in[0]].at;
    ret->in[1] = b->place[a->in[1]].at;
    ret->scale = a->op == TN_OP_ADD_SCALED ? (float)a->fattr[TN_ADD_SCALED_F_SCALE] : 1;
    ret->sum = make_place(b, sum, TN_F32, columns_of(b, sum), false);
}

static void lower_norm(builder *b, uint32_t index)
{
    const tn_node *n = &b->view->node[index];
    uint32_t value = n->out[0];
    step s = {.sum = NONE, .in = {no_operand, no_operand, no_operand}, .scale = 1};

    fuse_add(b, index, &s);
    if (s.in[0].buffer == NONE)
        s.in[0] = b->place[n->in[0]].at;
    bool cut = b->place[n->in[0]].cut;
    uint32_t columns = b->failed ? 0 : buffer_of(b, s.in[0])->columns;
    uint32_t out = make_place(b, value, type_for_readers(b, value), columns, cut);
    step *to = step_add(b, STEP_NORM, rows_of(b, value));
    memcpy(to->in, s.in, sizeof s.in);
    to->scale = s.scale;
    to->sum = s.sum;
    to->out = out;
    to->columns = columns;
    to->weight = graph_view_weight(b->view, n, 1);
    to->run = (uint32_t)n->attr[TN_RMS_NORM_A_WIDTH];
    to->eps = (float)n->fattr[TN_RMS_NORM_F_EPS];
    to->offset = (float)n->fattr[TN_RMS_NORM_F_GAIN_OFFSET];
}

/* An ADD is left to the norm that follows it, if that is the next node and the residual is f32. */
static bool is_left_to_norm(const builder *b, uint32_t index)
{
    const tn_node *n = &b->view->node[index], *next = n + 1;

    return index + 1 < b->view->api->node_count && next->op == TN_OP_RMS_NORM && next->in[0] == n->out[0] &&
           !b->place[n->in[0]].cut && !b->failed && buffer_of(b, b->place[n->in[0]].at)->type == TN_F32;
}

static void lower_add(builder *b, uint32_t index)
{
    const tn_node *n = &b->view->node[index];
    uint32_t value = n->out[0];

    if (is_left_to_norm(b, index)) {
        b->done[index] = true;
        return;
    }
    bool cut = b->place[n->in[0]].cut;
    uint32_t columns = b->failed ? 0 : buffer_of(b, b->place[n->in[0]].at)->columns;
    uint32_t out = make_place(b, value, TN_F32, columns, cut);
    step *s = step_add(b, STEP_ADD, rows_of(b, value));
    s->in[0] = b->place[n->in[0]].at;
    s->in[1] = b->place[n->in[1]].at;
    s->out = out;
    s->columns = columns;
    s->scale = n->op == TN_OP_ADD_SCALED ? (float)n->fattr[TN_ADD_SCALED_F_SCALE] : 1;
}

static void lower_gated(builder *b, const tn_node *n)
{
    uint32_t value = n->out[0];
    operand gate = as_bf16(b, n->in[0]), up = as_bf16(b, n->in[1]);
    uint32_t columns = b->failed ? 0 : buffer_of(b, gate)->columns;
    uint32_t out = make_place(b, value, TN_BF16, columns, b->place[n->in[0]].cut);
    step *s = step_add(b, STEP_GATED, rows_of(b, value));

    s->in[0] = gate;
    s->in[1] = up;
    s->out = out;
    s->columns = columns;
    s->activation = (uint32_t)n->attr[TN_GATED_A_ACTIVATION];
}

static void lower_select(builder *b, const tn_node *n)
{
    const value_place *from = &b->place[n->in[0]];
    operand at = from->at;
    uint32_t type = b->failed ? TN_F32 : buffer_of(b, at)->type, columns = b->failed ? 0 : buffer_of(b, at)->columns;
    uint32_t out = make_place(b, n->out[0], type, columns, from->cut);
    step *s = step_add(b, STEP_SELECT, ROWS_OUTPUTS);

    s->in[0] = at;
    s->out = out;
    s->columns = columns;
}

/* ---- attention ---- */

/* The value before its rotation, which the KV write does on the way; *ret_rope: that node, or unchanged. */
static uint32_t unrotated(const builder *b, uint32_t value, const tn_node **ret_rope)
{
    uint32_t writer = b->view->writer[value];

    if (writer == NONE || b->view->node[writer].op != TN_OP_ROPE)
        return value;
    *ret_rope = &b->view->node[writer];
    return (*ret_rope)->in[0];
}

static uint32_t constant_of(builder *b, uint32_t value)
{
    program *p = b->p;
    for (uint32_t i = 0; i < p->constant_count; i++)
        if (p->constant[i].value == value)
            return i;
    if (p->constant_count == CONSTANTS_MAX)
        return NONE; /* program_build has refused it */
    p->constant[p->constant_count] = (constant_place){.value = value, .offset = p->weight_bytes};
    p->weight_bytes += align_up((uint64_t)b->view->value[value].dim[1] * sizeof(float));
    return p->constant_count++;
}

static void lower_attention(builder *b, const tn_node *n)
{
    const program *p = b->p;
    const tn_node *rope = NULL;
    uint32_t heads = (uint32_t)n->attr[TN_ATTENTION_A_HEADS], kv_heads = (uint32_t)n->attr[TN_ATTENTION_A_KV_HEADS];
    uint32_t dim = (uint32_t)n->attr[TN_ATTENTION_A_HEAD_DIM], v_dim = (uint32_t)n->attr[TN_ATTENTION_A_V_DIM];
    uint32_t replicas = kv_heads < p->world ? p->world / kv_heads : 1, group = (uint32_t)n->attr[TN_ATTENTION_A_GROUP];
    uint32_t own = heads / p->world, own_kv = p->kv[group].kv_heads;
    uint32_t value[3] = {unrotated(b, n->in[0], &rope), unrotated(b, n->in[1], &rope), n->in[2]};
    const uint32_t columns[3] = {own * dim, own_kv * dim, own_kv * v_dim};
    step common = {.rope = NONE};

    for (uint32_t i = 0; i < 3; i++)
        common.in[i] = part_of(b, value[i], as_bf16(b, value[i]), columns[i], i ? replicas : 1);
    uint32_t out = make_place(b, n->out[0], TN_BF16, own * v_dim, p->world > 1);
    for (uint32_t kind = STEP_ROPE_KV; kind <= STEP_ATTEND; kind++) {
        step *s = step_add(b, kind, ROWS_TOKENS);
        memcpy(s->in, common.in, sizeof s->in);
        s->out = kind == STEP_ATTEND ? out : NONE;
        s->columns = own * v_dim;
        s->bias = graph_view_weight(b->view, n, 3);
        s->group = group;
        s->layer = (uint32_t)n->attr[TN_ATTENTION_A_LAYER];
        s->heads = own;
        s->kv_heads = own_kv;
        s->window = (uint32_t)n->attr[TN_ATTENTION_A_WINDOW];
        s->scale = (float)n->fattr[TN_ATTENTION_F_SCALE];
        s->cap = (float)n->fattr[TN_ATTENTION_F_SOFTCAP];
        s->rope = NONE;
        if (rope) {
            s->rope = constant_of(b, rope->in[1]);
            s->rotated = (uint32_t)rope->attr[TN_ROPE_A_ROTATED];
            s->style = (uint32_t)rope->attr[TN_ROPE_A_STYLE];
            s->magnitude = (float)rope->fattr[TN_ROPE_F_MAGNITUDE];
        }
    }
}

/* ---- experts ---- */

static void make_moe_scratch(builder *b, const tn_node *n, uint32_t rows)
{
    const tn_compile *c = b->view->compile;
    uint64_t count = rows == ROWS_OUTPUTS ? c->max_outputs : c->max_tokens;
    uint64_t experts = (uint64_t)n->attr[TN_MOE_A_EXPERTS], choices = count * (uint64_t)n->attr[TN_MOE_A_CHOSEN];
    uint64_t tasks = choices / 8 + experts;

    b->moe = (moe_scratch){
        .expert = buffer_add_bytes(b, choices * 4),
        .weight = buffer_add_bytes(b, choices * 4),
        .expert_start = buffer_add_bytes(b, (experts + 1) * 4),
        .place = buffer_add_bytes(b, choices * 4),
        .place_row = buffer_add_bytes(b, choices * 4),
        .task = buffer_add_bytes(b, tasks * sizeof(cuda_expert_task)),
        .task_count = buffer_add_bytes(b, 4),
    };
}

static step *moe_step(builder *b, const tn_node *n, uint32_t kind)
{
    step *s = step_add(b, kind, rows_of(b, n->out[0]));
    s->experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    s->chosen = (uint32_t)n->attr[TN_MOE_A_CHOSEN];
    s->normalised = n->attr[TN_MOE_A_NORMALISED] != 0;
    s->activation = (uint32_t)n->attr[TN_MOE_A_ACTIVATION];
    s->limit = (float)n->fattr[TN_MOE_F_LIMIT];
    s->alpha = (float)n->fattr[TN_MOE_F_ALPHA];
    s->moe = b->moe;
    return s;
}

static void lower_expert(builder *b, const tn_node *n, uint32_t input, operand x, uint32_t out)
{
    uint32_t id = graph_view_weight(b->view, n, input), rows = rows_of(b, n->out[0]);
    bool down = input == TN_MOE_IN_DOWN, permuted = columns_are_permuted(&b->p->weights[id].enc);

    if (permuted) { /* once per choice: each expert has an order of its own */
        step *s = moe_step(b, n, STEP_PERMUTE);
        s->weight = id;
        s->gather = !down;
        x = permute(b, s, x, down, rows, s->chosen);
    }
    step *s = moe_step(b, n, STEP_EXPERT);
    s->weight = id;
    s->bias = graph_view_weight(b->view, n, input + TN_MOE_IN_GATE_BIAS - TN_MOE_IN_GATE);
    s->bias_by_rows = !down;
    s->gather = !down && !permuted;
    s->in[0] = x;
    s->out = out;
    s->columns = (uint32_t)b->p->weights[s->weight].cut.rows;
}

static void lower_moe(builder *b, const tn_node *n)
{
    uint32_t value = n->out[0], rows = rows_of(b, value), width = columns_of(b, value);
    uint32_t chosen = (uint32_t)n->attr[TN_MOE_A_CHOSEN], experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    uint32_t hidden = (uint32_t)b->p->weights[graph_view_weight(b->view, n, TN_MOE_IN_GATE)].cut.rows;
    operand x = as_bf16(b, n->in[0]);

    make_moe_scratch(b, n, rows);
    uint32_t logits = buffer_add(b, TN_F32, experts, rows, 1), gate = buffer_add(b, TN_BF16, hidden, rows, chosen);
    uint32_t up = buffer_add(b, TN_BF16, hidden, rows, chosen), act = buffer_add(b, TN_BF16, hidden, rows, chosen);
    uint32_t y = buffer_add(b, TN_F32, width, rows, chosen), part = buffer_add(b, b->p->reduce_type, width, rows, 1);

    uint32_t router = graph_view_weight(b->view, n, TN_MOE_IN_ROUTER);
    operand scored = product_input(b, n->in[0], router);
    step *s = step_add(b, STEP_LINEAR, rows);
    s->in[0] = scored;
    s->out = logits;
    s->columns = experts;
    s->weight = router;
    s->bias = graph_view_weight(b->view, n, TN_MOE_IN_ROUTER_BIAS);
    s->bias_by_rows = true;
    s = moe_step(b, n, STEP_ROUTE);
    s->in[0] = (operand){.buffer = logits};
    lower_expert(b, n, TN_MOE_IN_GATE, x, gate);
    lower_expert(b, n, TN_MOE_IN_UP, x, up);
    s = moe_step(b, n, STEP_GATED);
    s->choices = true;
    s->in[0] = (operand){.buffer = gate};
    s->in[1] = (operand){.buffer = up};
    s->out = act;
    s->columns = hidden;
    lower_expert(b, n, TN_MOE_IN_DOWN, (operand){.buffer = act}, y);
    s = moe_step(b, n, STEP_COMBINE);
    s->in[0] = (operand){.buffer = y};
    s->out = part;
    s->columns = width;
    add_reduce(b, value, part);
}

static void lower_node(builder *b, uint32_t index)
{
    const tn_node *n = &b->view->node[index];

    switch (n->op) {
    case TN_OP_EMBED:
        lower_embed(b, n);
        break;
    case TN_OP_LINEAR:
        lower_linear(b, n);
        break;
    case TN_OP_RMS_NORM:
        lower_norm(b, index);
        break;
    case TN_OP_ROPE: /* part of the attention that reads it */
        break;
    case TN_OP_ATTENTION:
        lower_attention(b, n);
        break;
    case TN_OP_GATED:
        lower_gated(b, n);
        break;
    case TN_OP_ADD:
    case TN_OP_ADD_SCALED:
        lower_add(b, index);
        break;
    case TN_OP_SELECT:
        lower_select(b, n);
        break;
    case TN_OP_LOGITS:
        lower_logits(b, n);
        break;
    case TN_OP_MOE:
        lower_moe(b, n);
        break;
    default:
        TN_ASSERT(!"a node that node_check refused");
    }
}

void lower_graph(builder *b)
{
    for (uint32_t i = 0; i < b->view->api->node_count && !b->failed; i++)
        lower_node(b, i);
}
