/* plugins/cpu/program.c: see program.h. One pass over the nodes in order: each is either swallowed by an earlier step
 * or becomes one.
 */
#include "program_builder.h"

#include <stdlib.h>
#include <string.h>

/* ---- buffers ---- */

bool is_outputs(const builder *b, uint32_t value)
{
    return b->value[value].dim[0] == TN_DIM_OUTPUTS;
}

uint32_t buffer_add_rows(builder *b, uint32_t columns, uint32_t form, uint32_t rows)
{
    program *p = b->p;

    if (p->buffer_count == b->buffer_capacity) {
        uint32_t capacity = b->buffer_capacity ? 2 * b->buffer_capacity : 256;
        buffer *grown = realloc(p->buffers, capacity * sizeof *grown);
        if (!grown) {
            b->failed = true;
            return 0;
        }
        p->buffers = grown;
        b->buffer_capacity = capacity;
    }
    p->buffers[p->buffer_count] = buffer_lay_out(columns, form, rows, p->limits.tiles);
    return p->buffer_count++;
}

static uint32_t buffer_add(builder *b, uint32_t columns, uint32_t form, bool outputs)
{
    return buffer_add_rows(b, columns, form, outputs ? b->p->limits.max_outputs : b->p->limits.max_tokens);
}

uint32_t buffer_for(builder *b, uint32_t value)
{
    if (b->buffer_of[value] == NONE)
        b->buffer_of[value] = buffer_add(b, (uint32_t)b->value[value].dim[1], FORM_FLOAT, is_outputs(b, value));
    return b->buffer_of[value];
}

step *step_add(builder *b, uint32_t kind, bool outputs)
{
    static step sink; /* written, never read, after memory ran out */
    program *p = b->p;

    if (p->step_count == b->step_capacity) {
        uint32_t capacity = b->step_capacity ? 2 * b->step_capacity : 256;
        step *grown = realloc(p->steps, capacity * sizeof *grown);
        if (!grown) {
            b->failed = true;
            return &sink;
        }
        p->steps = grown;
        b->step_capacity = capacity;
    }
    step *s = &p->steps[p->step_count++];
    *s = (step){.kind = kind,
                .outputs = outputs,
                .in = {NONE, NONE, NONE},
                .out = NONE,
                .quant = {NONE, NONE, NONE},
                .gain = NONE,
                .q_rope = {.table = NONE},
                .k_rope = {.table = NONE}};
    for (uint32_t i = 0; i < PARTS_MAX; i++)
        s->part[i] = (linear_part){NONE, NONE, NONE, NONE, NONE};
    return s;
}

/* ---- what a value is needed as ---- */

uint32_t form_of(const builder *b, uint32_t weight_id)
{
    const weight *w = &b->p->weights[weight_id];

    if (w->kind == WEIGHT_AFFINE)
        return w->affine.block == 16 ? FORM_16 : FORM_32;
    return b->p->limits.tiles && (w->matrix.store == STORE_BF16 || w->matrix.store == STORE_E4M3) ? FORM_SPLIT
                                                                                                  : FORM_FLOAT;
}

uint32_t supplied_form(const builder *b, uint32_t weight_id)
{
    return weight_is_permuted(&b->p->weights[weight_id]) ? FORM_FLOAT : form_of(b, weight_id);
}

/* Which forms of `value` later nodes read. */
static void forms_of(const builder *b, uint32_t value, bool ret_wants[FORM_COUNT + 1])
{
    memset(ret_wants, 0, (FORM_COUNT + 1) * sizeof *ret_wants);
    for (uint32_t i = b->writer[value] + 1; i <= b->reader[value] && b->reader[value] != NONE; i++) {
        const tn_node *n = &b->node[i];
        for (uint32_t j = 0; j < n->in_count; j++) {
            if (n->in[j] != value)
                continue;
            bool product = j == 0 && (n->op == TN_OP_LINEAR || n->op == TN_OP_LOGITS);
            ret_wants[product ? supplied_form(b, b->value[n->in[1]].weight_id) : FORM_FLOAT] = true;
        }
        if (n->op == TN_OP_LOGITS && n->in[0] == value)
            ret_wants[FORM_FLOAT] = true; /* the hidden row may be asked for */
    }
}

void outputs_attach(builder *b, uint32_t value, uint32_t *ret_out, uint32_t quant[FORM_COUNT])
{
    bool wants[FORM_COUNT + 1];

    forms_of(b, value, wants);
    *ret_out = wants[FORM_FLOAT] ? buffer_for(b, value) : NONE;
    for (uint32_t i = 0; i < FORM_COUNT; i++) {
        if (wants[i])
            b->quant_of[value][i] = buffer_add(b, (uint32_t)b->value[value].dim[1], i, is_outputs(b, value));
        quant[i] = b->quant_of[value][i];
    }
}

/* Rows of `value` in the order of one weight's columns. Products that follow each other share the step. */
static uint32_t permuted_input(builder *b, uint32_t value, uint32_t weight_id)
{
    const uint32_t columns = (uint32_t)b->value[value].dim[1];
    const bool outputs = is_outputs(b, value);
    uint32_t from = buffer_for(b, value), made = buffer_add(b, columns, form_of(b, weight_id), outputs);
    step *s = b->p->step_count ? &b->p->steps[b->p->step_count - 1] : NULL;

    if (!s || s->kind != STEP_PERMUTE || s->in[0] != from || s->part_count == PARTS_MAX) {
        s = step_add(b, STEP_PERMUTE, outputs);
        s->in[0] = from;
        s->columns = columns;
        s->part_count = 0;
    }
    s->part[s->part_count++] = (linear_part){weight_id, NONE, NONE, NONE, made};
    return made;
}

uint32_t linear_input(builder *b, uint32_t value, uint32_t weight_id)
{
    uint32_t which = form_of(b, weight_id);
    if (weight_is_permuted(&b->p->weights[weight_id]))
        return permuted_input(b, value, weight_id);
    if (which == FORM_FLOAT)
        return buffer_for(b, value);
    if (b->quant_of[value][which] == NONE) {
        uint32_t made = buffer_add(b, (uint32_t)b->value[value].dim[1], which, is_outputs(b, value));
        step *s = step_add(b, STEP_QUANTIZE, is_outputs(b, value));
        s->in[0] = buffer_for(b, value);
        s->columns = (uint32_t)b->value[value].dim[1];
        s->quant[which] = b->quant_of[value][which] = made;
    }
    return b->quant_of[value][which];
}

/* ---- matching ---- */

uint32_t weight_of(const builder *b, const tn_node *n, uint32_t input)
{
    return input < n->in_count ? b->value[n->in[input]].weight_id : NONE;
}

/* The only node that reads `value`, if it is of kind op; NONE otherwise. */
static uint32_t only_reader(const builder *b, uint32_t value, uint32_t op)
{
    uint32_t reader = b->reader[value];
    return b->uses[value] == 1 && reader != NONE && b->node[reader].op == op ? reader : NONE;
}

static bool is_read_between(const builder *b, uint32_t value, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        for (uint32_t j = 0; j < b->node[i].in_count; j++)
            if (b->node[i].in[j] == value)
                return true;
    return false;
}

/* out = residual + linear, when the ADD's other operand exists before the step. first: the node whose place the step
 * takes; `index` runs there too, ahead of those in between. */
static void residual_match(builder *b, uint32_t first, uint32_t index, linear_part *part)
{
    uint32_t y = b->node[index].out[0], add = only_reader(b, y, TN_OP_ADD);

    if (add == NONE) {
        part->out = buffer_for(b, y);
        return;
    }
    const tn_node *n = &b->node[add];
    uint32_t other = n->in[0] == y ? n->in[1] : n->in[0];
    if (other == y || b->writer[other] >= first) {
        part->out = buffer_for(b, y);
        return;
    }
    part->residual = buffer_for(b, other);
    /* The sum takes the residual's place when nobody reads that any more: same element, same thread. */
    if (!is_read_between(b, other, first, add) && b->reader[other] == add)
        b->buffer_of[n->out[0]] = part->residual;
    part->out = buffer_for(b, n->out[0]);
    b->done[add] = true;
}

/* ret: the sibling LINEAR that makes the other input of a GATED, if both may run as one step. */
static bool gated_match(builder *b, uint32_t index, uint32_t *ret_gate, uint32_t *ret_up, uint32_t *ret_gated)
{
    uint32_t gated = only_reader(b, b->node[index].out[0], TN_OP_GATED);
    if (gated == NONE)
        return false;
    const tn_node *n = &b->node[gated];
    uint32_t gate = b->writer[n->in[0]], up = b->writer[n->in[1]];
    if (n->in[0] == n->in[1] || gate == NONE || up == NONE || b->uses[n->in[0]] != 1 || b->uses[n->in[1]] != 1)
        return false;
    if (b->node[gate].op != TN_OP_LINEAR || b->node[up].op != TN_OP_LINEAR || b->node[gate].in[0] != b->node[up].in[0])
        return false;
    uint32_t wg = weight_of(b, &b->node[gate], 1), wu = weight_of(b, &b->node[up], 1);
    if (form_of(b, wg) != form_of(b, wu) || b->p->weights[wg].n != b->p->weights[wu].n)
        return false;
    *ret_gate = gate;
    *ret_up = up;
    *ret_gated = gated;
    return true;
}

static void add_gated(builder *b, uint32_t gate, uint32_t up, uint32_t gated)
{
    const tn_node *n[2] = {&b->node[gate], &b->node[up]}, *g = &b->node[gated];
    uint32_t input[2], out, quant[FORM_COUNT];

    for (uint32_t i = 0; i < 2; i++)
        input[i] = linear_input(b, n[i]->in[0], weight_of(b, n[i], 1));
    outputs_attach(b, g->out[0], &out, quant);
    step *s = step_add(b, STEP_GATED_LINEAR, is_outputs(b, g->out[0]));
    s->out = out;
    memcpy(s->quant, quant, sizeof quant);
    s->columns = (uint32_t)b->value[g->out[0]].dim[1];
    s->activation = (uint32_t)g->attr[TN_GATED_A_ACTIVATION];
    s->part_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        s->part[i].in = input[i];
        s->part[i].weight = weight_of(b, n[i], 1);
        s->part[i].bias = weight_of(b, n[i], 2);
    }
    b->done[gate] = b->done[up] = b->done[gated] = true;
}

/* This LINEAR and those right after it that read the same input in the same form. */
static void add_linears(builder *b, uint32_t index)
{
    const tn_node *first = &b->node[index];
    uint32_t gate, up, gated;

    if (gated_match(b, index, &gate, &up, &gated)) {
        add_gated(b, gate, up, gated);
        return;
    }
    uint32_t form = form_of(b, weight_of(b, first, 1)), count = 0;
    linear_part part[PARTS_MAX];
    for (uint32_t i = index; i < b->api->node_count && count < PARTS_MAX; i++) {
        const tn_node *n = &b->node[i];
        if (b->done[i] || n->op != TN_OP_LINEAR || n->in[0] != first->in[0]) {
            if (n->op == TN_OP_LINEAR || n->op == TN_OP_ATTENTION)
                break;
            continue;
        }
        if (form_of(b, weight_of(b, n, 1)) != form || (i != index && gated_match(b, i, &gate, &up, &gated)))
            break;
        uint32_t input = linear_input(b, n->in[0], weight_of(b, n, 1));
        part[count] = (linear_part){weight_of(b, n, 1), weight_of(b, n, 2), input, NONE, NONE};
        residual_match(b, index, i, &part[count++]);
        b->done[i] = true;
    }
    step *s = step_add(b, STEP_LINEAR, is_outputs(b, first->out[0]));
    s->part_count = count;
    memcpy(s->part, part, sizeof part);
}

uint32_t rope_table_of(builder *b, const tn_node *n)
{
    program *p = b->p;
    rope_table want = {.inv_freq = b->value[n->in[1]].constant,
                       .half = (uint32_t)n->attr[TN_ROPE_A_ROTATED] / 2,
                       .axis = (uint32_t)n->attr[TN_ROPE_A_AXIS],
                       .magnitude = (float)n->fattr[TN_ROPE_F_MAGNITUDE]};
    for (uint32_t i = 0; i < p->rope_count; i++) {
        const rope_table *t = &p->rope[i];
        if (t->inv_freq == want.inv_freq && t->half == want.half && t->axis == want.axis &&
            t->magnitude == want.magnitude)
            return i;
    }
    if (p->rope_count == ROPES_MAX)
        return NONE;
    p->rope[p->rope_count] = want;
    return p->rope_count++;
}

static rope_use rope_of(builder *b, const tn_node *n)
{
    return (rope_use){rope_table_of(b, n), (uint32_t)n->attr[TN_ROPE_A_HEADS], (uint32_t)n->attr[TN_ROPE_A_HEAD_DIM],
                      (uint32_t)n->attr[TN_ROPE_A_ROTATED], (uint32_t)n->attr[TN_ROPE_A_STYLE]};
}

/* The value to read for input `value` of an ATTENTION, and the rotation still owed to it. A ROPE whose result only the
 * attention reads is applied on the way: q in the buffer of ROPE's input if nobody else reads that either. */
static uint32_t unrotated(builder *b, uint32_t value, rope_use *ret_rope)
{
    uint32_t writer = b->writer[value];

    if (writer == NONE || b->node[writer].op != TN_OP_ROPE || b->done[writer] == false || b->buffer_of[value] != NONE)
        return value;
    *ret_rope = rope_of(b, &b->node[writer]);
    return b->node[writer].in[0];
}

/* A ROPE that unrotated() will apply. */
static bool rope_is_deferred(const builder *b, uint32_t index)
{
    const tn_node *n = &b->node[index];
    uint32_t reader = only_reader(b, n->out[0], TN_OP_ATTENTION);
    if (reader == NONE || b->uses[n->in[0]] != 1)
        return false;
    return b->node[reader].in[0] == n->out[0] || b->node[reader].in[1] == n->out[0];
}

static void add_rope(builder *b, uint32_t index)
{
    const tn_node *n = &b->node[index];
    if (rope_is_deferred(b, index)) {
        b->done[index] = true;
        return;
    }
    step *s = step_add(b, STEP_ROPE, false);
    s->columns = (uint32_t)b->value[n->out[0]].dim[1];
    uint32_t in = buffer_for(b, n->in[0]), out = buffer_for(b, n->out[0]);
    s->in[0] = in;
    s->out = out;
    s->q_rope = rope_of(b, n);
}

static void add_attention(builder *b, const tn_node *n)
{
    rope_use q_rope = {.table = NONE}, k_rope = {.table = NONE};
    uint32_t q = buffer_for(b, unrotated(b, n->in[0], &q_rope));
    uint32_t k = buffer_for(b, unrotated(b, n->in[1], &k_rope));
    uint32_t v = buffer_for(b, n->in[2]), out = buffer_for(b, n->out[0]), ignored, quant[FORM_COUNT];
    step s = {.outputs = false};

    outputs_attach(b, n->out[0], &ignored, quant);
    for (uint32_t kind = STEP_KV; kind <= STEP_ATTEND_END; kind++) {
        step *to = step_add(b, kind, false);
        s = *to;
        s.in[0] = kind == STEP_ATTEND_END ? NONE : q;
        s.in[1] = kind == STEP_KV ? k : NONE;
        s.in[2] = kind == STEP_KV ? v : NONE;
        s.out = kind == STEP_KV ? NONE : out;
        if (kind == STEP_ATTEND_END)
            memcpy(s.quant, quant, sizeof quant);
        s.columns = (uint32_t)b->value[n->out[0]].dim[1];
        s.gain = weight_of(b, n, 3);
        s.q_rope = q_rope;
        s.k_rope = k_rope;
        s.group = (uint32_t)n->attr[TN_ATTENTION_A_GROUP];
        s.layer = (uint32_t)n->attr[TN_ATTENTION_A_LAYER];
        s.heads = (uint32_t)n->attr[TN_ATTENTION_A_HEADS];
        s.kv_heads = (uint32_t)n->attr[TN_ATTENTION_A_KV_HEADS];
        s.head_dim = (uint32_t)n->attr[TN_ATTENTION_A_HEAD_DIM];
        s.v_dim = (uint32_t)n->attr[TN_ATTENTION_A_V_DIM];
        s.window = (uint32_t)n->attr[TN_ATTENTION_A_WINDOW];
        s.scale = (float)n->fattr[TN_ATTENTION_F_SCALE];
        s.cap = (float)n->fattr[TN_ATTENTION_F_SOFTCAP];
        *to = s;
    }
}

/* A step of `kind` over float32 inputs 0..inputs, with quantised outputs attached. */
static step *add_rows(builder *b, const tn_node *n, uint32_t kind, uint32_t inputs)
{
    uint32_t in[3] = {NONE, NONE, NONE}, out, quant[FORM_COUNT];

    for (uint32_t i = 0; i < inputs; i++)
        in[i] = buffer_for(b, n->in[i]);
    outputs_attach(b, n->out[0], &out, quant);
    step *s = step_add(b, kind, is_outputs(b, n->out[0]));
    memcpy(s->in, in, sizeof in);
    memcpy(s->quant, quant, sizeof quant);
    s->out = out;
    s->columns = (uint32_t)b->value[n->out[0]].dim[1];
    return s;
}

static void add_node(builder *b, uint32_t index)
{
    const tn_node *n = &b->node[index];
    step *s;

    switch (n->op) {
    case TN_OP_EMBED:
        s = add_rows(b, n, STEP_EMBED, 0);
        s->gain = weight_of(b, n, 0);
        s->scale = (float)n->fattr[TN_EMBED_F_SCALE];
        break;
    case TN_OP_LINEAR:
        add_linears(b, index);
        break;
    case TN_OP_RMS_NORM:
        s = add_rows(b, n, STEP_NORM, 1);
        s->gain = weight_of(b, n, 1);
        s->width = (uint32_t)n->attr[TN_RMS_NORM_A_WIDTH];
        s->eps = (float)n->fattr[TN_RMS_NORM_F_EPS];
        s->offset = (float)n->fattr[TN_RMS_NORM_F_GAIN_OFFSET];
        break;
    case TN_OP_ROPE:
        add_rope(b, index);
        break;
    case TN_OP_ATTENTION:
        add_attention(b, n);
        break;
    case TN_OP_GATED:
        s = add_rows(b, n, STEP_GATED, 2);
        s->activation = (uint32_t)n->attr[TN_GATED_A_ACTIVATION];
        break;
    case TN_OP_ADD:
        add_rows(b, n, STEP_ADD, 2);
        break;
    case TN_OP_ADD_SCALED:
        s = add_rows(b, n, STEP_ADD_SCALED, 2);
        s->scale = (float)n->fattr[TN_ADD_SCALED_F_SCALE];
        break;
    case TN_OP_MOE:
        add_moe(b, n);
        break;
    case TN_OP_SELECT:
        add_rows(b, n, STEP_SELECT, 1);
        break;
    case TN_OP_LOGITS: {
        uint32_t in = linear_input(b, n->in[0], weight_of(b, n, 1)), hidden = buffer_for(b, n->in[0]);
        uint32_t out = buffer_for(b, n->out[0]);
        s = step_add(b, STEP_LOGITS, true);
        s->in[0] = hidden;
        s->part_count = 1;
        s->part[0] = (linear_part){weight_of(b, n, 1), weight_of(b, n, 2), in, NONE, out};
        s->scale = (float)n->fattr[TN_LOGITS_F_SCALE];
        s->cap = (float)n->fattr[TN_LOGITS_F_SOFTCAP];
        b->p->hidden = hidden;
        b->p->logits = out;
        break;
    }
    default:
        TN_ASSERT(!"a node that node_check refused");
    }
}

/* ---- building ---- */

static tn_status builder_init(builder *b, const tn_compile *compile, uint32_t threads, bool tiles)
{
    const tn_graph_api *api = compile->api;
    program *p = calloc(1, sizeof *p);

    b->p = p;
    b->node = calloc(api->node_count + 1, sizeof *b->node);
    b->value = calloc(api->value_count + 1, sizeof *b->value);
    b->uses = calloc(api->value_count + 1, sizeof *b->uses);
    b->writer = calloc(api->value_count + 1, sizeof *b->writer);
    b->reader = calloc(api->value_count + 1, sizeof *b->reader);
    b->buffer_of = calloc(api->value_count + 1, sizeof *b->buffer_of);
    b->quant_of = calloc(api->value_count + 1, sizeof *b->quant_of);
    b->done = calloc(api->node_count + 1, sizeof *b->done);
    if (!p || !b->node || !b->value || !b->uses || !b->writer || !b->reader || !b->buffer_of || !b->quant_of ||
        !b->done)
        return tn_fail(b->err, TN_E_MEMORY, "the execution plan");
    *p = (program){.limits = {compile->max_tokens, compile->max_seqs, compile->max_outputs, compile->max_model_len,
                              threads, tiles},
                   .vocab = api->vocab_size,
                   .width = api->model_width,
                   .weight_count = api->weight_count,
                   .group_count = api->kv_group_count,
                   .hidden = NONE,
                   .logits = NONE};
    p->weights = calloc(p->weight_count + 1, sizeof *p->weights);
    p->names = calloc(p->weight_count + 1, sizeof *p->names);
    p->weight_at = calloc(p->weight_count + 1, sizeof *p->weight_at);
    p->kv = calloc(p->group_count + 1, sizeof *p->kv);
    if (!p->weights || !p->names || !p->weight_at || !p->kv)
        return tn_fail(b->err, TN_E_MEMORY, "the execution plan");
    return TN_OK;
}

static void builder_finish(builder *b)
{
    free(b->node);
    free(b->value);
    free(b->uses);
    free(b->writer);
    free(b->reader);
    free(b->buffer_of);
    free(b->quant_of);
    free(b->done);
}

static tn_status build(builder *b, uint32_t *bad, uint32_t *bad_count)
{
    tn_status status = graph_read(b);
    if (status == TN_OK)
        status = groups_read(b);
    if (status == TN_OK)
        status = nodes_check(b, bad, bad_count, b->err);
    if (status == TN_OK)
        status = weights_read(b);
    if (status != TN_OK)
        return status;
    for (uint32_t i = 0; i < b->api->node_count; i++)
        if (!b->done[i])
            add_node(b, i);
    if (b->failed)
        return tn_fail(b->err, TN_E_MEMORY, "the execution plan");
    if (b->p->logits == NONE)
        return tn_fail(b->err, TN_E_UNSUPPORTED, "a graph without LOGITS");
    memory_plan(b->p);
    return TN_OK;
}

tn_status program_build(const tn_compile *compile, uint32_t threads, bool tiles, uint32_t *bad, uint32_t *bad_count,
                        program **ret_program, tn_error *err)
{
    builder b = {.compile = compile, .api = compile->api, .err = err};

    if (!compile->max_tokens || !compile->max_seqs || !compile->max_outputs || !compile->max_model_len)
        return tn_fail(err, TN_E_ARGUMENT, "compile: a limit is 0");
    tn_status status = builder_init(&b, compile, threads, tiles);
    if (status == TN_OK)
        status = build(&b, bad, bad_count);
    builder_finish(&b);
    if (status != TN_OK) {
        program_free(b.p);
        return status;
    }
    *ret_program = b.p;
    return TN_OK;
}

void program_free(program *p)
{
    if (!p)
        return;
    free(p->steps);
    free(p->buffers);
    free(p->weights);
    free(p->names);
    free(p->weight_at);
    free(p->kv);
    free(p);
}
