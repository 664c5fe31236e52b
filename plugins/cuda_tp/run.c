/* run.c: a step on one rank from its page-table changes to its logits: one launch or a few per step of the program, all
 * cut for a shape. Everything is enqueued; nothing here waits, except for other ranks in a collective that meets on the
 * host. Nothing here sees a batch, so that the launches can be kept as a graph.
 */
#include "model.h"
#include "ordered_sum.h"
#include "planes.h"

typedef struct context {
    const step_run *run;
    rank *r;
    const program *p;
    tn_error *err;
} context;

/* ---- where things are ---- */

static void *buffer_at(const context *c, uint32_t index)
{
    if (index == c->p->logits)
        return c->r->memory.logits;
    return index == NONE ? NULL : c->r->memory.activations + c->p->buffers[index].offset;
}

static void *operand_at(const context *c, operand at)
{
    if (at.buffer == NONE)
        return NULL;
    const buffer *b = &c->p->buffers[at.buffer];
    uint64_t column = at.part_columns ? c->r->index / at.replicas * (uint64_t)at.part_columns : 0;
    return (uint8_t *)buffer_at(c, at.buffer) + column * tn_scalar_bytes(b->type);
}

static uint32_t stride_of(const context *c, uint32_t index)
{
    return index == NONE ? 0 : c->p->buffers[index].stride;
}

static uint32_t type_of(const context *c, uint32_t index)
{
    return index == NONE ? 0 : c->p->buffers[index].type;
}

static cuda_weight weight_at(const context *c, uint32_t id)
{
    const program_weight *w = &c->p->weights[id];
    cuda_weight placed = w->layout;
    cuda_weight_place(&placed, &w->size, c->r->memory.weights + w->offset);
    return placed;
}

static const float *vector_at(const context *c, uint32_t id)
{
    return id == NONE ? NULL : (const float *)(const void *)(c->r->memory.weights + c->p->weights[id].offset);
}

/* The order of a permuted weight's columns, as this rank has them; NULL: they are in order. */
static const uint32_t *perm_at(const context *c, uint32_t id)
{
    const program_weight *w = &c->p->weights[id];
    return columns_are_permuted(&w->enc)
               ? (const uint32_t *)(const void *)(c->r->memory.weights + w->offset + w->perm_at)
               : NULL;
}

/* A bias follows its matrix: the rank's rows of it, or whole on rank 0 alone where ranks add up. */
static const float *bias_at(const context *c, const step *s)
{
    const float *bias = vector_at(c, s->bias);

    if (!bias)
        return NULL;
    if (!s->bias_by_rows)
        return c->r->index == 0 ? bias : NULL;
    return c->p->weights[s->bias].roles & ROLE_EXPERT_VECTOR
               ? bias
               : bias + cut_first_row(&c->p->weights[s->weight].cut, c->r->index);
}

static cuda_kv kv_at(const context *c, const step *s)
{
    const kv_layout *kv = &c->p->kv[s->group];
    uint64_t layer_bytes = c->r->model->kv[s->group].pages * kv->layer_page_bytes;

    return (cuda_kv){.pages = c->r->kv[s->group] + s->layer * layer_bytes,
                     .page_stride = kv->layer_page_bytes,
                     .table = c->r->memory.table + kv->table_first,
                     .table_stride = kv->table_stride,
                     .page_tokens = KV_PAGE_TOKENS,
                     .kv_heads = kv->kv_heads,
                     .head_dim = kv->shape.head_dim,
                     .v_dim = kv->shape.v_dim,
                     .type = kv->type};
}

/* ---- steps ---- */

static tn_status run_embed(const context *c, const step *s, uint32_t rows)
{
    cuda_weight table = weight_at(c, s->weight);
    const cuda_embed_args args = {.table = &table,
                                  .token = c->run->in.token,
                                  .prev_id = (const int32_t *)(const void *)c->r->memory.results,
                                  .embed = c->run->embed,
                                  .perm = perm_at(c, s->weight),
                                  .out = buffer_at(c, s->out),
                                  .out_type = type_of(c, s->out),
                                  .out_stride = stride_of(c, s->out),
                                  .rows = rows,
                                  .vocab_first = (uint32_t)cut_first_row(&c->p->weights[s->weight].cut, c->r->index),
                                  .scale = s->scale};
    return cuda_embed(&args, c->r->stream);
}

matmul_place run_product_place(rank *r, const step *s)
{
    const context c = {.r = r, .p = r->model->p};

    return (matmul_place){
        .w = weight_at(&c, s->weight).codes, .x = operand_at(&c, s->in[0]), .y = buffer_at(&c, s->out)};
}

static tn_status run_linear(const context *c, const step *s, uint32_t rows)
{
    if (matmul_takes(c->r->matmul, s->shape, rows)) {
        matmul_place place = run_product_place(c->r, s);
        return matmul_run(c->r->matmul, s->shape, &place, rows, c->r->stream, c->err);
    }
    cuda_weight weight = weight_at(c, s->weight);
    const cuda_linear_args args = {.weight = &weight,
                                   .x = operand_at(c, s->in[0]),
                                   .bias = bias_at(c, s),
                                   .y = buffer_at(c, s->out),
                                   .y_type = type_of(c, s->out),
                                   .rows = rows,
                                   .x_stride = stride_of(c, s->in[0].buffer),
                                   .y_stride = stride_of(c, s->out),
                                   .partial = c->r->memory.split,
                                   .partial_floats = c->p->split_floats};
    return cuda_linear(&args, c->r->stream);
}

/* In a mixture rows are choices, in the order of their experts. */
static tn_status run_permute(const context *c, const step *s, uint32_t rows)
{
    collective *ranks = c->r->model->dev->ranks;
    const uint32_t in = s->in[0].buffer, count = s->chosen ? rows * s->chosen : rows;
    const bool own_orders = s->chosen && c->p->weights[s->weight].enc.part_n;
    const uint32_t *expert_start = s->chosen ? buffer_at(c, s->moe.expert_start) : NULL;
    cuda_permute_columns_args args = {.x = operand_at(c, s->in[0]),
                                      .perm = perm_at(c, s->weight),
                                      .expert_start = own_orders ? expert_start : NULL,
                                      .place_row = s->gather ? buffer_at(c, s->moe.place_row) : NULL,
                                      .row_count = expert_start ? expert_start + s->experts : NULL,
                                      .out = buffer_at(c, s->out),
                                      .rows = count,
                                      .columns = s->columns,
                                      .x_stride = stride_of(c, in),
                                      .out_stride = stride_of(c, s->out),
                                      .experts = s->experts};
    tn_status status = TN_OK;

    if (s->sum != NONE) {
        const uint64_t bytes = (uint64_t)count * args.x_stride * tn_scalar_bytes(TN_BF16);
        status = ranks->api->all_gather(ranks, c->r->index, args.x, buffer_at(c, s->sum), bytes, c->r->stream, c->err);
        args.x = buffer_at(c, s->sum);
        args.part_columns = c->p->buffers[in].columns;
        args.part_rows = count;
    }
    return status == TN_OK ? cuda_permute_columns(&args, c->r->stream) : status;
}

static tn_status run_norm(const context *c, const step *s, uint32_t rows)
{
    const cuda_rms_norm_args args = {.x = operand_at(c, s->in[0]),
                                     .delta = operand_at(c, s->in[1]),
                                     .sum = buffer_at(c, s->sum),
                                     .out = buffer_at(c, s->out),
                                     .gain = vector_at(c, s->weight),
                                     .x_type = type_of(c, s->in[0].buffer),
                                     .delta_type = type_of(c, s->in[1].buffer),
                                     .out_type = type_of(c, s->out),
                                     .rows = rows,
                                     .columns = s->columns,
                                     .run = s->run,
                                     .x_stride = stride_of(c, s->in[0].buffer),
                                     .delta_stride = stride_of(c, s->in[1].buffer),
                                     .sum_stride = stride_of(c, s->sum),
                                     .out_stride = stride_of(c, s->out),
                                     .delta_scale = s->scale,
                                     .eps = s->eps,
                                     .gain_offset = s->offset};
    return cuda_rms_norm(&args, c->r->stream);
}

/* ADD, and CAST: one operand. */
static tn_status run_add(const context *c, const step *s, uint32_t rows)
{
    const cuda_add_args args = {.a = operand_at(c, s->in[0]),
                                .b = operand_at(c, s->in[1]),
                                .out = buffer_at(c, s->out),
                                .a_type = type_of(c, s->in[0].buffer),
                                .b_type = type_of(c, s->in[1].buffer),
                                .out_type = type_of(c, s->out),
                                .rows = rows,
                                .columns = s->columns,
                                .a_stride = stride_of(c, s->in[0].buffer),
                                .b_stride = stride_of(c, s->in[1].buffer),
                                .out_stride = stride_of(c, s->out),
                                .scale = s->scale};
    return cuda_add(&args, c->r->stream);
}

static tn_status run_gated(const context *c, const step *s, uint32_t rows)
{
    const cuda_gated_args args = {.gate = operand_at(c, s->in[0]),
                                  .up = operand_at(c, s->in[1]),
                                  .out = buffer_at(c, s->out),
                                  .in_type = type_of(c, s->in[0].buffer),
                                  .out_type = type_of(c, s->out),
                                  .rows = s->choices ? rows * s->chosen : rows,
                                  .columns = s->columns,
                                  .gate_stride = stride_of(c, s->in[0].buffer),
                                  .up_stride = stride_of(c, s->in[1].buffer),
                                  .out_stride = stride_of(c, s->out),
                                  .activation = s->activation,
                                  .limit = s->limit,
                                  .alpha = s->alpha};
    return cuda_gated(&args, c->r->stream);
}

static tn_status run_rope_kv(const context *c, const step *s, uint32_t rows)
{
    bool rotated = s->rope != NONE;
    const cuda_rope_kv_args args = {
        .kv = kv_at(c, s),
        .q = operand_at(c, s->in[0]),
        .k = operand_at(c, s->in[1]),
        .v = operand_at(c, s->in[2]),
        .inv_freq =
            rotated ? (const float *)(const void *)(c->r->memory.weights + c->p->constant[s->rope].offset) : NULL,
        .position = c->run->in.position,
        .row_slot = c->run->in.row_slot,
        .kv_position = c->run->in.kv_position,
        .q_stride = stride_of(c, s->in[0].buffer),
        .k_stride = stride_of(c, s->in[1].buffer),
        .v_stride = stride_of(c, s->in[2].buffer),
        .rows = rows,
        .heads = s->heads,
        .rotated = s->rotated,
        .style = s->style,
        .axis_count = 1,
        .magnitude = rotated ? s->magnitude : 1,
    };
    return cuda_rope_kv(&args, c->r->stream);
}

static tn_status run_attend(const context *c, const step *s, uint32_t rows)
{
    const attention_inputs *in = &c->run->in.attention[s->group];
    const attention_grid *grid = &c->run->grid[s->group];
    const float *sinks = vector_at(c, s->bias);
    const cuda_attention_args args = {.kv = kv_at(c, s),
                                      .q = operand_at(c, s->in[0]),
                                      .out = buffer_at(c, s->out),
                                      .sinks = sinks ? sinks + (uint64_t)c->r->index * s->heads : NULL,
                                      .partial = c->r->memory.partial,
                                      .task = in->task,
                                      .task_count = in->task_count,
                                      .grid_tasks = grid->tasks,
                                      .heads = s->heads,
                                      .q_stride = stride_of(c, s->in[0].buffer),
                                      .out_stride = stride_of(c, s->out),
                                      .window = s->window,
                                      .span_tokens = SPAN_TOKENS,
                                      .scale = s->scale,
                                      .softcap = s->cap,
                                      .one_span = grid->one_span};
    const cuda_attention_merge_args merge = {.partial = c->r->memory.partial,
                                             .item = in->item,
                                             .item_partial = in->item_partial,
                                             .item_count = in->item_count,
                                             .sinks = args.sinks,
                                             .out = args.out,
                                             .grid_items = grid->items,
                                             .heads = s->heads,
                                             .v_dim = args.kv.v_dim,
                                             .out_stride = args.out_stride};
    (void)rows;
    tn_status status = cuda_attention(&args, c->r->stream);
    return status == TN_OK && merge.grid_items ? cuda_attention_merge(&merge, c->r->stream) : status;
}

static tn_status run_select(const context *c, const step *s, uint32_t rows)
{
    const cuda_select_args args = {.x = operand_at(c, s->in[0]),
                                   .row = c->run->in.out_row,
                                   .out = buffer_at(c, s->out),
                                   .type = type_of(c, s->out),
                                   .count = rows,
                                   .columns = s->columns,
                                   .x_stride = stride_of(c, s->in[0].buffer),
                                   .out_stride = stride_of(c, s->out)};
    return cuda_select(&args, c->r->stream);
}

static tn_status run_reduce(const context *c, const step *s, uint32_t rows)
{
    collective *ranks = c->r->model->dev->ranks;
    const void *in = buffer_at(c, s->in[0].buffer);
    void *out = buffer_at(c, s->out);
    const one_shot *peers = &c->r->model->one_shot;
    const uint64_t count = (uint64_t)rows * stride_of(c, s->out);

    if (one_shot_takes(peers, count * tn_scalar_bytes(type_of(c, s->out))))
        return one_shot_sum(peers, c->r->index, in, out, count, type_of(c, s->out), c->r->stream);
    if (s->sum != NONE && !ranks->api->ordered)
        return ordered_sum(ranks, c->r->index, c->p->world, in, out, count, type_of(c, s->out), buffer_at(c, s->sum),
                           c->r->stream, c->err);
    return ranks->api->all_reduce(ranks, c->r->index, in, out, count, type_of(c, s->out), c->r->stream, c->err);
}

static tn_status run_gather(const context *c, const step *s, uint32_t rows)
{
    collective *ranks = c->r->model->dev->ranks;
    const cuda_interleave_args args = {.x = buffer_at(c, s->sum),
                                       .out = buffer_at(c, s->out),
                                       .rows = rows,
                                       .part = s->columns,
                                       .world = c->p->world,
                                       .columns = c->p->vocab,
                                       .out_stride = stride_of(c, s->out)};
    tn_status status = ranks->api->all_gather(ranks, c->r->index, buffer_at(c, s->in[0].buffer), buffer_at(c, s->sum),
                                              (uint64_t)rows * s->columns * sizeof(float), c->r->stream, c->err);
    return status == TN_OK ? cuda_interleave(&args, c->r->stream) : status;
}

static tn_status run_softcap(const context *c, const step *s, uint32_t rows)
{
    const cuda_softcap_args args = {.x = buffer_at(c, s->in[0].buffer),
                                    .rows = rows,
                                    .columns = s->columns,
                                    .stride = stride_of(c, s->in[0].buffer),
                                    .scale = s->scale,
                                    .cap = s->cap};
    return cuda_softcap(&args, c->r->stream);
}

/* ---- experts ---- */

/* Padding chooses no experts, whose weights it would have read; what follows SELECT has outputs for rows. */
static const uint32_t *moe_row_count(const context *c, const step *s)
{
    return s->rows == ROWS_TOKENS ? c->run->in.token_count : NULL;
}

static tn_status run_route(const context *c, const step *s, uint32_t rows)
{
    const moe_scratch *moe = &s->moe;
    const uint32_t choices = rows * s->chosen;
    const cuda_moe_route_args route = {.logits = operand_at(c, s->in[0]),
                                       .expert = buffer_at(c, moe->expert),
                                       .weight = buffer_at(c, moe->weight),
                                       .row_count = moe_row_count(c, s),
                                       .rows = rows,
                                       .experts = s->experts,
                                       .chosen = s->chosen,
                                       .normalised = s->normalised,
                                       .logits_stride = stride_of(c, s->in[0].buffer)};
    const cuda_moe_sort_args sort = {.expert = route.expert,
                                     .expert_start = buffer_at(c, moe->expert_start),
                                     .place = buffer_at(c, moe->place),
                                     .place_row = buffer_at(c, moe->place_row),
                                     .task = buffer_at(c, moe->task),
                                     .task_count = buffer_at(c, moe->task_count),
                                     .choices = choices,
                                     .chosen = s->chosen,
                                     .experts = s->experts,
                                     .tile_rows = cuda_moe_tile_rows(choices, s->experts)};
    tn_status status = cuda_moe_route(&route, c->r->stream);
    return status == TN_OK ? cuda_moe_sort(&sort, c->r->stream) : status;
}

static tn_status run_expert(const context *c, const step *s, uint32_t rows)
{
    const uint32_t choices = rows * s->chosen, tile = cuda_moe_tile_rows(choices, s->experts);
    cuda_weight weight = weight_at(c, s->weight);
    const cuda_expert_linear_args args = {.weight = &weight,
                                          .x = operand_at(c, s->in[0]),
                                          .bias = bias_at(c, s),
                                          .y = buffer_at(c, s->out),
                                          .expert_start = buffer_at(c, s->moe.expert_start),
                                          .place_row = s->gather ? buffer_at(c, s->moe.place_row) : NULL,
                                          .task = buffer_at(c, s->moe.task),
                                          .task_count = buffer_at(c, s->moe.task_count),
                                          .task_limit = cuda_moe_task_limit(choices, s->experts, tile),
                                          .tile_rows = tile,
                                          .experts = s->experts,
                                          .y_type = type_of(c, s->out),
                                          .x_stride = stride_of(c, s->in[0].buffer),
                                          .y_stride = stride_of(c, s->out),
                                          .n = s->columns};
    return cuda_expert_linear(&args, c->r->stream);
}

static tn_status run_combine(const context *c, const step *s, uint32_t rows)
{
    const cuda_moe_combine_args args = {.y = operand_at(c, s->in[0]),
                                        .place = buffer_at(c, s->moe.place),
                                        .weight = buffer_at(c, s->moe.weight),
                                        .out = buffer_at(c, s->out),
                                        .y_type = type_of(c, s->in[0].buffer),
                                        .out_type = type_of(c, s->out),
                                        .rows = rows,
                                        .columns = s->columns,
                                        .chosen = s->chosen,
                                        .y_stride = stride_of(c, s->in[0].buffer),
                                        .out_stride = stride_of(c, s->out)};
    return cuda_moe_combine(&args, c->r->stream);
}

typedef tn_status (*step_launch)(const context *c, const step *s, uint32_t rows);

static const struct {
    const char *name; /* for messages */
    step_launch run;
} kinds[] = {
    [STEP_EMBED] = {"embedding", run_embed},
    [STEP_LINEAR] = {"matrix product", run_linear},
    [STEP_NORM] = {"norm", run_norm},
    [STEP_CAST] = {"conversion", run_add},
    [STEP_ADD] = {"sum", run_add},
    [STEP_GATED] = {"gate", run_gated},
    [STEP_ROPE_KV] = {"rotation", run_rope_kv},
    [STEP_ATTEND] = {"attention", run_attend},
    [STEP_SELECT] = {"selection of rows", run_select},
    [STEP_PERMUTE] = {"permutation of columns", run_permute},
    [STEP_REDUCE] = {"sum over ranks", run_reduce},
    [STEP_ROUTE] = {"choice of experts", run_route},
    [STEP_EXPERT] = {"product of experts", run_expert},
    [STEP_COMBINE] = {"sum of experts", run_combine},
    [STEP_GATHER] = {"gathering of logits", run_gather},
    [STEP_SOFTCAP] = {"soft cap", run_softcap},
};

static tn_status refuse(const context *c, tn_status status, const char *what)
{
    return c->r->model->dev->api->launch_failure(status, what, c->err);
}

static tn_status run_steps(const context *c)
{
    for (uint32_t i = 0; i < c->p->step_count; i++) {
        const step *s = &c->p->steps[i];
        uint32_t rows = s->rows == ROWS_OUTPUTS ? c->run->shape.outputs : c->run->shape.tokens;
        char what[64];
        if (!rows)
            continue;
        tn_status status = kinds[s->kind].run(c, s, rows);
        if (status == TN_OK)
            continue;
        /* Libraries are quoted in a sentence of their own. */
        bool said =
            s->kind == STEP_REDUCE || s->kind == STEP_GATHER || s->kind == STEP_LINEAR || s->kind == STEP_PERMUTE;
        if (said && c->err && c->err->msg[0])
            return status;
        snprintf(what, sizeof what, "the %s of step %u", kinds[s->kind].name, i);
        return refuse(c, status, what);
    }
    return TN_OK;
}

tn_status run_program(const void *kept, tn_error *err)
{
    const step_run *run = kept;
    const context c = {.run = run, .r = run->r, .p = run->r->model->p, .err = err};
    const cuda_page_table_args pages = {
        .table = run->r->memory.table, .change = run->in.change, .count = run->in.change_count};

    if (err)
        err->msg[0] = '\0';
    tn_status status = cuda_page_table(&pages, run->r->stream);
    return status == TN_OK ? run_steps(&c) : refuse(&c, status, "the change of page tables");
}

const float *run_hidden(const rank *r)
{
    const program *p = r->model->p;
    return (const float *)(const void *)(r->memory.activations + p->buffers[p->hidden].offset);
}
