/* moe.c: a mixture of experts on the host, row by row: route, then each chosen expert's feed-forward in the order of
 * choice.
 *
 * Weight matrices are visited in blocks of rows, so that a device whose memory the host cannot address needs only a
 * block of staging.
 */
#include "interp/kernels.h"
#include "interp/model.h"

#include <string.h>

#include "base/expert_route.h"

tn_status interp_matrix_multiply(const interp_matrix *matrix, const float *x, uint32_t rows, uint64_t row0,
                                 uint64_t count, const float *bias, float *y, uint64_t y_stride)
{
    uint64_t row_bytes = matrix->k * sizeof(float);
    uint64_t block = matrix->model->mapped ? count : INTERP_BLOCK_BYTES / row_bytes;

    block = block ? block : 1;
    for (uint64_t n0 = 0; n0 < count; n0 += block) {
        uint64_t n = count - n0 < block ? count - n0 : block;
        tn_buf at = {matrix->buf.handle, matrix->buf.offset + (row0 + n0) * row_bytes};
        const void *w = NULL;
        tn_status status = interp_read(matrix->model, at, n * row_bytes, matrix->model->weight_block, &w, matrix->err);
        if (status != TN_OK)
            return status;
        interp_linear(x, rows, matrix->k, w, bias ? bias + n0 : NULL, n, y + n0, y_stride);
    }
    return TN_OK;
}

/* What the experts of one node share. */
typedef struct moe_call {
    tn_model *model;
    const tn_node *node;
    const tn_buf *in;
    uint32_t experts, chosen;
    uint64_t width, hidden;
    float *logits, *gate, *up, *out; /* [E], [F], [F], [M] */
    double *weight;                  /* [chosen] */
    tn_error *err;
} moe_call;

static uint64_t moe_hidden(const tn_model *model, const tn_node *node)
{
    return (uint64_t)interp_value(model, node->in[TN_MOE_IN_DOWN]).dim[1];
}

/* Doubles count as two floats. */
uint64_t interp_moe_floats(const tn_model *model, const tn_node *node)
{
    uint64_t experts = (uint64_t)node->attr[TN_MOE_A_EXPERTS];
    uint64_t width = (uint64_t)interp_value(model, node->out[0]).dim[1];
    return 2 * experts + experts + 2 * moe_hidden(model, node) + width;
}

/* Row `expert` of a bias matrix, added to y[count]. */
static tn_status add_bias(const moe_call *call, uint32_t input, uint32_t expert, uint64_t count, float *y)
{
    const void *bias = NULL;

    if (input >= call->node->in_count)
        return TN_OK;
    tn_buf at = {call->in[input].handle, call->in[input].offset + expert * count * sizeof(float)};
    tn_status status = interp_read(call->model, at, count * sizeof(float), call->model->weight_block, &bias, call->err);
    if (status == TN_OK)
        interp_add(y, bias, count, y);
    return status;
}

static tn_status project(const moe_call *call, uint32_t input, uint32_t expert, const float *x, uint64_t k,
                         uint64_t rows, float *y)
{
    interp_matrix matrix = {call->model, call->in[input], k, call->err};
    tn_status status = interp_matrix_multiply(&matrix, x, 1, expert * rows, rows, NULL, y, rows);
    return status == TN_OK ? add_bias(call, input + (TN_MOE_IN_GATE_BIAS - TN_MOE_IN_GATE), expert, rows, y) : status;
}

static tn_status run_expert(const moe_call *call, uint32_t expert, const float *x)
{
    uint32_t activation = (uint32_t)call->node->attr[TN_MOE_A_ACTIVATION];

    tn_status status = project(call, TN_MOE_IN_GATE, expert, x, call->width, call->hidden, call->gate);
    if (status == TN_OK)
        status = project(call, TN_MOE_IN_UP, expert, x, call->width, call->hidden, call->up);
    if (status != TN_OK)
        return status;
    if (activation == TN_ACT_SWIGLU_CLAMPED)
        interp_gated_clamped(call->gate, call->up, call->hidden, call->node->fattr[TN_MOE_F_LIMIT],
                             call->node->fattr[TN_MOE_F_ALPHA], call->gate);
    else
        interp_gated(call->gate, call->up, call->hidden, activation, call->gate);
    return project(call, TN_MOE_IN_DOWN, expert, call->gate, call->hidden, call->width, call->out);
}

static tn_status run_row(const moe_call *call, const float *x, const float *router_bias, float *y)
{
    interp_matrix router = {call->model, call->in[TN_MOE_IN_ROUTER], call->width, call->err};
    uint32_t *chosen = call->model->moe_chosen;

    tn_status status =
        interp_matrix_multiply(&router, x, 1, 0, call->experts, router_bias, call->logits, call->experts);
    if (status != TN_OK)
        return status;
    expert_route(call->logits, call->experts, call->chosen, call->node->attr[TN_MOE_A_NORMALISED] != 0, chosen,
                 call->weight);
    memset(y, 0, call->width * sizeof *y);
    for (uint32_t i = 0; i < call->chosen && status == TN_OK; i++) {
        status = run_expert(call, chosen[i], x);
        if (status == TN_OK)
            interp_add_scaled(y, call->out, call->weight[i], call->width, y);
    }
    return status;
}

tn_status interp_run_moe(tn_model *model, const tn_node *node, const tn_buf *in, const float *x,
                         const float *router_bias, uint32_t rows, float *y, tn_error *err)
{
    moe_call call = {.model = model,
                     .node = node,
                     .in = in,
                     .experts = (uint32_t)node->attr[TN_MOE_A_EXPERTS],
                     .chosen = (uint32_t)node->attr[TN_MOE_A_CHOSEN],
                     .width = (uint64_t)interp_value(model, node->out[0]).dim[1],
                     .hidden = moe_hidden(model, node),
                     .weight = (double *)(void *)model->moe,
                     .err = err};
    tn_status status = TN_OK;

    call.logits = model->moe + 2 * (uint64_t)call.experts;
    call.gate = call.logits + call.experts;
    call.up = call.gate + call.hidden;
    call.out = call.up + call.hidden;
    for (uint32_t r = 0; r < rows && status == TN_OK; r++)
        status = run_row(&call, x + r * call.width, router_bias, y + r * call.width);
    return status;
}
