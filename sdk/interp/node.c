/* node.c: runs one node: offered to the device first, else the reference kernel on host views of its operands.
 *
 * Weight matrices are visited in blocks of rows, so that a device whose memory the host cannot address needs only a
 * block of staging. Where it can, views are the memory itself and nothing is copied.
 */
#include "interp/kernels.h"
#include "interp/model.h"

#include <string.h>

tn_status interp_map(tn_model *model, tn_buf buf, void **ret, tn_error *err)
{
    void *memory = model->ops->map(model->dev, buf);

    if (!memory)
        return tn_fail(err, TN_E_INTERNAL,
                       "tn.ops: map answers NULL; a device whose memory the host cannot address has no `map`");
    *ret = memory;
    return TN_OK;
}

tn_status interp_read(tn_model *model, tn_buf buf, uint64_t bytes, void *scratch, const void **ret, tn_error *err)
{
    void *memory = NULL;

    if (model->mapped) {
        tn_status status = interp_map(model, buf, &memory, err);
        if (status == TN_OK)
            *ret = memory;
        return status;
    }
    *ret = scratch;
    return model->ops->get(model->dev, scratch, buf, bytes, err);
}

/* One node with everything a kernel asks for. */
typedef struct node_call {
    tn_model *model;
    tn_node node;
    tn_value value_in[INTERP_INPUTS_MAX], value_out;
    tn_buf in[INTERP_INPUTS_MAX], out;
    uint32_t rows;
    const tn_batch *batch;
    const float *x[INTERP_INPUTS_MAX]; /* host views of activations and vectors, NULL for matrices */
    float *y;
    tn_error *err;
} node_call;

static uint32_t rows_of(const tn_value *value, const tn_batch *batch)
{
    return value->dim[0] == TN_DIM_TOKENS ? batch->token_count : batch->out_count;
}

/* ---- the device ---- */

/* Fields of a batch that a table of ops has no way to refuse stay with the reference kernels. */
static bool device_may_run(const node_call *call)
{
    if (!call->model->ops->run)
        return false;
    if (call->node.op == TN_OP_ROPE)
        return call->batch->axis_count == 1;
    return call->node.op != TN_OP_EMBED || !call->batch->embed;
}

static tn_status run_on_device(node_call *call)
{
    tn_model *model = call->model;
    tn_ops_args args = {.struct_size = sizeof args,
                        .rows = call->rows,
                        .node = &call->node,
                        .value_in = call->value_in,
                        .value_out = &call->value_out,
                        .in = call->in,
                        .out = &call->out,
                        .batch = call->batch};

    if (call->node.op == TN_OP_ATTENTION) {
        const interp_kv *kv = &model->kv[call->node.attr[TN_ATTENTION_A_GROUP]];
        uint64_t layer = (uint64_t)call->node.attr[TN_ATTENTION_A_LAYER];
        args.kv = (tn_buf){kv->handle, layer * kv->pages * kv->layer_page_bytes};
        args.page_table = kv->table;
        args.page_table_stride = model->table_stride;
        args.page_tokens = INTERP_PAGE_TOKENS;
    }
    tn_status status = model->ops->run(model->dev, &args, call->err);
    model->device_ran = status != TN_E_UNSUPPORTED;
    model->device_busy |= model->device_ran;
    return status;
}

/* ---- reference ---- */

static tn_status host_embed(node_call *call)
{
    uint64_t width = (uint64_t)call->value_out.dim[1];
    double scale = call->node.fattr[TN_EMBED_F_SCALE];

    for (uint32_t r = 0; r < call->rows; r++) {
        float *y = call->y + r * width;
        int32_t token = call->batch->token[r];
        const void *row = NULL;
        if (token == TN_TOKEN_EMBED) {
            memcpy(y, call->batch->embed + r * width, width * sizeof *y);
            continue;
        }
        tn_buf at = {call->in[0].handle, call->in[0].offset + (uint64_t)token * width * sizeof(float)};
        tn_status status =
            interp_read(call->model, at, width * sizeof(float), call->model->weight_block, &row, call->err);
        if (status != TN_OK)
            return status;
        for (uint64_t i = 0; i < width; i++)
            y[i] = (float)((double)((const float *)row)[i] * scale);
    }
    return TN_OK;
}

static tn_status host_linear(node_call *call)
{
    uint64_t n = (uint64_t)call->value_in[1].dim[0], k = (uint64_t)call->value_in[1].dim[1];
    interp_matrix matrix = {call->model, call->in[1], k, call->err};

    tn_status status = interp_matrix_multiply(&matrix, call->x[0], call->rows, 0, n,
                                              call->node.in_count > 2 ? call->x[2] : NULL, call->y, n);
    if (status == TN_OK && call->node.op == TN_OP_LOGITS)
        interp_softcap(call->y, call->rows * n, call->node.fattr[TN_LOGITS_F_SCALE],
                       call->node.fattr[TN_LOGITS_F_SOFTCAP]);
    return status;
}

static void host_rope(node_call *call)
{
    const int64_t *attr = call->node.attr;
    uint64_t width = (uint64_t)call->value_out.dim[1];
    interp_rope_spec spec = {.heads = (uint32_t)attr[TN_ROPE_A_HEADS],
                             .head_dim = (uint32_t)attr[TN_ROPE_A_HEAD_DIM],
                             .rotated = (uint32_t)attr[TN_ROPE_A_ROTATED],
                             .style = (uint32_t)attr[TN_ROPE_A_STYLE],
                             .magnitude = call->node.fattr[TN_ROPE_F_MAGNITUDE],
                             .inv_freq = call->x[1]};
    for (uint32_t r = 0; r < call->rows; r++) {
        uint64_t at = (uint64_t)r * call->batch->axis_count + (uint64_t)attr[TN_ROPE_A_AXIS];
        interp_rope_row(call->x[0] + r * width, &spec, call->batch->position[at], call->y + r * width);
    }
}

static void host_select(node_call *call)
{
    uint64_t width = (uint64_t)call->value_out.dim[1];
    for (uint32_t r = 0; r < call->rows; r++)
        memcpy(call->y + r * width, call->x[0] + call->batch->out_row[r] * width, width * sizeof(float));
}

static tn_status host_kernel(node_call *call)
{
    uint64_t width = (uint64_t)call->value_out.dim[1];
    const double *fattr = call->node.fattr;

    switch (call->node.op) {
    case TN_OP_EMBED:
        return host_embed(call);
    case TN_OP_LINEAR:
    case TN_OP_LOGITS:
        return host_linear(call);
    case TN_OP_RMS_NORM:
        interp_rms_norm(call->x[0], call->rows, width, call->x[1], (uint64_t)call->node.attr[TN_RMS_NORM_A_WIDTH],
                        fattr[TN_RMS_NORM_F_EPS], fattr[TN_RMS_NORM_F_GAIN_OFFSET], call->y);
        return TN_OK;
    case TN_OP_ROPE:
        host_rope(call);
        return TN_OK;
    case TN_OP_ATTENTION:
        return interp_run_attention(call->model, &call->node, call->batch, call->x, call->y, call->err);
    case TN_OP_GATED:
        interp_gated(call->x[0], call->x[1], call->rows * width, (uint32_t)call->node.attr[TN_GATED_A_ACTIVATION],
                     call->y);
        return TN_OK;
    case TN_OP_ADD:
        interp_add(call->x[0], call->x[1], call->rows * width, call->y);
        return TN_OK;
    case TN_OP_ADD_SCALED:
        interp_add_scaled(call->x[0], call->x[1], fattr[TN_ADD_SCALED_F_SCALE], call->rows * width, call->y);
        return TN_OK;
    case TN_OP_MOE:
        return interp_run_moe(call->model, &call->node, call->in, call->x[0], call->x[TN_MOE_IN_ROUTER_BIAS],
                              call->rows, call->y, call->err);
    default:
        TN_ASSERT(call->node.op == TN_OP_SELECT); /* others were refused when the model was compiled */
        host_select(call);
        return TN_OK;
    }
}

static tn_status run_on_host(node_call *call)
{
    tn_model *model = call->model;
    uint64_t out_bytes = call->rows * (uint64_t)call->value_out.dim[1] * sizeof(float);
    tn_status status = TN_OK;

    if (model->mapped && model->device_busy)
        status = model->ops->sync(model->dev, call->err);
    model->device_busy = false;
    for (uint32_t j = 0; j < call->node.in_count && status == TN_OK; j++) {
        const tn_value *value = &call->value_in[j];
        uint64_t rows = value->kind == TN_VALUE_ACTIVATION ? rows_of(value, call->batch) : (uint64_t)value->dim[0];
        if (value->kind != TN_VALUE_ACTIVATION && rows != 1)
            continue;
        const void *view = NULL;
        status = interp_read(model, call->in[j], rows * (uint64_t)value->dim[1] * sizeof(float), model->in[j], &view,
                             call->err);
        call->x[j] = view;
    }
    void *out = model->out;
    if (status == TN_OK && model->mapped)
        status = interp_map(model, call->out, &out, call->err);
    if (status != TN_OK)
        return status;
    call->y = out;
    status = host_kernel(call);
    if (status == TN_OK && !model->mapped)
        status = model->ops->put(model->dev, call->out, call->y, out_bytes, call->err);
    return status;
}

tn_status interp_run_node(tn_model *model, uint32_t index, const tn_batch *batch, tn_error *err)
{
    node_call call = {.model = model, .node = interp_node(model, index), .batch = batch, .err = err};

    for (uint32_t j = 0; j < call.node.in_count; j++) {
        call.value_in[j] = interp_value(model, call.node.in[j]);
        call.in[j] = model->value_buf[call.node.in[j]];
    }
    call.value_out = interp_value(model, call.node.out[0]);
    call.out = model->value_buf[call.node.out[0]];
    call.rows = rows_of(&call.value_out, batch);
    if (call.rows == 0)
        return TN_OK;
    if (device_may_run(&call)) {
        tn_status status = run_on_device(&call);
        if (status != TN_E_UNSUPPORTED)
            return status;
    }
    return run_on_host(&call);
}
