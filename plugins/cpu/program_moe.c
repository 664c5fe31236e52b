/* program_moe.c: a MOE node as six steps: router product, route, gather, gate and up, down, combine; and one before
 * down if its columns are in an order of their own, which for gate and up gather takes care of.
 *
 * Between gather and combine the rows are those of the choices, (row, chosen expert), sorted by expert, so that each
 * expert's matrices are read once for all its rows. Buffers there have room for every row times the experts that it
 * chooses.
 */
#include "program_builder.h"

#include <string.h>

tn_status moe_check(const builder *b, const tn_node *n, tn_error *err)
{
    int64_t experts = n->attr[TN_MOE_A_EXPERTS], chosen = n->attr[TN_MOE_A_CHOSEN];
    int64_t activation = n->attr[TN_MOE_A_ACTIVATION];

    if (n->in_count != TN_MOE_IN_ROUTER_BIAS && n->in_count != TN_MOE_IN_DOWN_BIAS + 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "experts with %u inputs", n->in_count);
    if (experts < 1 || chosen < 1 || chosen > experts || experts > 4096)
        return tn_fail(err, TN_E_UNSUPPORTED, "%lld of %lld experts", (long long)chosen, (long long)experts);
    if (activation < TN_ACT_SILU || activation > TN_ACT_SWIGLU_CLAMPED)
        return tn_fail(err, TN_E_UNSUPPORTED, "activation %lld", (long long)activation);
    const tn_value *x = &b->value[n->in[0]], *gate = &b->value[n->in[TN_MOE_IN_GATE]];
    const tn_value *down = &b->value[n->in[TN_MOE_IN_DOWN]];
    if (gate->dim[0] != experts * down->dim[1] || gate->dim[1] != x->dim[1] || down->dim[0] != experts * x->dim[1])
        return tn_fail(err, TN_E_UNSUPPORTED, "experts whose matrices do not fit together");
    if (x->dim[1] % LANES != 0 || down->dim[1] % LANES != 0)
        return tn_fail(err, TN_E_UNSUPPORTED, "experts of width %lld by %lld; the CPU takes multiples of %d",
                       (long long)x->dim[1], (long long)down->dim[1], LANES);
    return TN_OK;
}

/* A step of this node over choices or rows. */
static step *moe_step(builder *b, const tn_node *n, uint32_t kind, uint32_t columns)
{
    step *s = step_add(b, kind, is_outputs(b, n->out[0]));

    s->columns = columns;
    s->experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    s->chosen = (uint32_t)n->attr[TN_MOE_A_CHOSEN];
    s->normalised = n->attr[TN_MOE_A_NORMALISED] != 0;
    s->activation = (uint32_t)n->attr[TN_MOE_A_ACTIVATION];
    s->limit = (float)n->fattr[TN_MOE_F_LIMIT];
    s->alpha = (float)n->fattr[TN_MOE_F_ALPHA];
    return s;
}

static linear_part moe_part(const builder *b, const tn_node *n, uint32_t input, uint32_t in, uint32_t out)
{
    return (linear_part){weight_of(b, n, input), weight_of(b, n, input + TN_MOE_IN_GATE_BIAS - TN_MOE_IN_GATE), in,
                         NONE, out};
}

/* The buffer among *out and quant in the form that a weight's product wants supplied, made on first use. */
static uint32_t form_for(builder *b, uint32_t weight_id, uint32_t columns, uint32_t choices, uint32_t *out,
                         uint32_t quant[FORM_COUNT])
{
    uint32_t which = supplied_form(b, weight_id), *form = which == FORM_FLOAT ? out : &quant[which];

    if (*form == NONE)
        *form = buffer_add_rows(b, columns, which, choices);
    return *form;
}

static void add_route(builder *b, const tn_node *n, uint32_t rows)
{
    uint32_t router = weight_of(b, n, TN_MOE_IN_ROUTER), experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    uint32_t in = linear_input(b, n->in[0], router), logits = buffer_add_rows(b, experts, FORM_FLOAT, rows);

    step *s = moe_step(b, n, STEP_LINEAR, 0);
    s->part_count = 1;
    s->part[0] = (linear_part){router, weight_of(b, n, TN_MOE_IN_ROUTER_BIAS), in, NONE, logits};
    s = moe_step(b, n, STEP_MOE_ROUTE, 2 * (uint32_t)n->attr[TN_MOE_A_CHOSEN]); /* scratch: weights in double */
    s->in[0] = logits;
}

/* Choices sorted by expert, as gate and up read them. */
static void add_gather(builder *b, const tn_node *n, uint32_t x, uint32_t room, uint32_t ret_in[2])
{
    const uint32_t width = (uint32_t)b->value[n->out[0]].dim[1];
    uint32_t out = NONE, quant[FORM_COUNT] = {NONE, NONE, NONE}, permuted = 0;
    linear_part part[2];

    for (uint32_t i = 0; i < 2; i++) {
        uint32_t weight_id = weight_of(b, n, TN_MOE_IN_GATE + i);
        if (!weight_is_permuted(&b->p->weights[weight_id])) {
            ret_in[i] = form_for(b, weight_id, width, room, &out, quant);
            continue;
        }
        ret_in[i] = buffer_add_rows(b, width, form_of(b, weight_id), room);
        part[permuted++] = (linear_part){weight_id, NONE, NONE, NONE, ret_in[i]};
    }
    step *s = moe_step(b, n, STEP_MOE_GATHER, width);
    s->in[0] = x;
    s->out = out;
    memcpy(s->quant, quant, sizeof quant);
    s->part_count = permuted;
    memcpy(s->part, part, permuted * sizeof *part);
}

/* Rows in the order of each expert's columns in `down`; `hidden` has them as float32. */
static uint32_t permuted_hidden(builder *b, const tn_node *n, uint32_t hidden, uint32_t columns, uint32_t room)
{
    uint32_t down = weight_of(b, n, TN_MOE_IN_DOWN), made = buffer_add_rows(b, columns, form_of(b, down), room);

    step *s = moe_step(b, n, STEP_MOE_PERMUTE, columns);
    s->in[0] = hidden;
    s->part_count = 1;
    s->part[0] = (linear_part){down, NONE, NONE, NONE, made};
    return made;
}

void add_moe(builder *b, const tn_node *n)
{
    program *p = b->p;
    const uint32_t width = (uint32_t)b->value[n->out[0]].dim[1];
    const uint32_t hidden = (uint32_t)b->value[n->in[TN_MOE_IN_DOWN]].dim[1];
    const uint32_t rows = is_outputs(b, n->out[0]) ? p->limits.max_outputs : p->limits.max_tokens;
    const uint32_t choices = rows * (uint32_t)n->attr[TN_MOE_A_CHOSEN], experts = (uint32_t)n->attr[TN_MOE_A_EXPERTS];
    const uint32_t room = choices + TILE_ROWS; /* an expert's rows begin anywhere, and its last tile is read whole */
    const uint32_t down = weight_of(b, n, TN_MOE_IN_DOWN);
    uint32_t x = buffer_for(b, n->in[0]), in[2], out = NONE, quant[FORM_COUNT] = {NONE, NONE, NONE};

    p->experts_max = experts > p->experts_max ? experts : p->experts_max;
    p->choices_max = choices > p->choices_max ? choices : p->choices_max;
    add_route(b, n, rows);
    add_gather(b, n, x, room, in);

    uint32_t down_in = form_for(b, down, hidden, room, &out, quant);
    step *s = moe_step(b, n, STEP_MOE_GATED, hidden);
    s->out = out;
    memcpy(s->quant, quant, sizeof quant);
    s->part_count = 2;
    s->part[0] = moe_part(b, n, TN_MOE_IN_GATE, in[0], NONE);
    s->part[1] = moe_part(b, n, TN_MOE_IN_UP, in[1], NONE);
    if (weight_is_permuted(&p->weights[down]))
        down_in = permuted_hidden(b, n, down_in, hidden, room);

    uint32_t y = buffer_add_rows(b, width, FORM_FLOAT, choices);
    s = moe_step(b, n, STEP_MOE_DOWN, width);
    s->part_count = 1;
    s->part[0] = moe_part(b, n, TN_MOE_IN_DOWN, down_in, y);

    outputs_attach(b, n->out[0], &out, quant);
    s = moe_step(b, n, STEP_MOE_COMBINE, width);
    s->in[0] = y;
    s->out = out;
    memcpy(s->quant, quant, sizeof quant);
}
