/* step.c: a ticket on one rank: its block goes to the device in one copy, a graph or launches make logits of it, the
 * sampler makes tokens, and what was asked for comes back in one copy. Everything is enqueued.
 *
 * The sampler is a launch of its own behind the graph: what it reads differs from batch to batch, and one launch costs
 * the host next to nothing.
 */
#include "model.h"

#include <string.h>

typedef struct context {
    rank *r;
    const device_api *api;
    const program *p;
    const ticket *t;
    tn_error *err;
} context;

static tn_status copy_part(const context *c, void *to, const void *from, uint64_t bytes)
{
    return bytes ? c->api->copy(to, from, bytes, c->r->stream, c->err) : TN_OK;
}

/* Where an array of the ticket's block is on the device; NULL if the batch has none. */
static void *on_device(const context *c, const void *array)
{
    return array ? c->r->memory.block + ((const uint8_t *)array - c->t->block) : NULL;
}

static step_run run_of(const context *c)
{
    step_run run = {.r = c->r, .shape = c->t->shape, .embed = c->t->has_embed ? c->r->memory.embed : NULL};

    step_inputs_carve(c->p, &c->r->model->sizes, run.shape, c->r->memory.block, &run.in);
    memcpy(run.grid, c->t->grid, sizeof run.grid);
    return run;
}

static tn_status copy_inputs(const context *c)
{
    uint64_t embed = c->t->has_embed ? (uint64_t)c->t->token_count * c->p->width * sizeof(float) : 0;

    tn_status status = copy_part(c, c->r->memory.block, c->t->block, c->t->block_used);
    return status == TN_OK ? copy_part(c, c->r->memory.embed, c->t->embed, embed) : status;
}

/* ---- sampling ---- */

#define PLACE(member) .member = on_device(c, c->t->sample.member)

static tn_sample sample_of(const context *c)
{
    return (tn_sample){
        .struct_size = sizeof(tn_sample),
        .top_logprobs = c->t->top_count,
        PLACE(temperature),
        PLACE(top_p),
        PLACE(min_p),
        PLACE(repetition),
        PLACE(presence),
        PLACE(frequency),
        PLACE(top_k),
        PLACE(choice),
        PLACE(seed),
        PLACE(mask),
        PLACE(bias_row),
        PLACE(bias_token),
        PLACE(bias_value),
        PLACE(seen_row),
        PLACE(seen_token),
        PLACE(seen_count),
        PLACE(score_target),
    };
}

#undef PLACE

static tn_status sample_rows(const context *c, uint32_t rows)
{
    const rank_memory *m = &c->r->memory;
    const tn_sample sample = sample_of(c);
    step_outputs out;

    step_outputs_carve(rows, c->t->top_count, m->results, &out);
    const cuda_sample_args args = {.logits = m->logits,
                                   .work = m->work,
                                   .sample = &sample,
                                   .position = on_device(c, c->t->sample_position),
                                   .want = on_device(c, c->t->want),
                                   .id = out.id,
                                   .logprob = out.logprob,
                                   .target_logprob = out.target_logprob,
                                   .top_id = out.top_id,
                                   .top_logprob = out.top_logprob,
                                   .rows = rows,
                                   .vocab = c->p->vocab,
                                   .stride = c->p->buffers[c->p->logits].stride};
    tn_status status = cuda_sample(&args, c->r->stream);
    return status == TN_OK ? TN_OK : c->api->launch_failure(status, "sampling", c->err);
}

/* ---- results ---- */

/* Whole rows that somebody asked for. */
static tn_status copy_rows(const context *c)
{
    const uint64_t hidden_stride = c->p->buffers[c->p->hidden].stride, stride = c->p->buffers[c->p->logits].stride;
    const float *hidden = run_hidden(c->r);
    tn_status status = TN_OK;

    for (uint64_t i = 0; i < c->t->out_count && status == TN_OK; i++) {
        if (c->t->want[i] & TN_WANT_HIDDEN)
            status =
                copy_part(c, c->t->hidden + i * c->p->width, hidden + i * hidden_stride, c->p->width * sizeof(float));
        if (status == TN_OK && c->t->want[i] & TN_WANT_LOGITS)
            status = copy_part(c, c->t->logits + i * c->p->vocab, c->r->memory.logits + i * stride,
                               c->p->vocab * sizeof(float));
    }
    return status;
}

/* All ranks have the same results; the first one hands them over, up to the last array that a row wants. */
static tn_status copy_outputs(const context *c)
{
    const ticket *t = c->t;
    const uint8_t *end = t->wants & TN_WANT_TOP ? (const uint8_t *)(t->out.top_logprob + t->out_count * t->top_count)
                         : t->wants & TN_WANT_TARGET  ? (const uint8_t *)(t->out.target_logprob + t->out_count)
                         : t->wants & TN_WANT_LOGPROB ? (const uint8_t *)(t->out.logprob + t->out_count)
                                                      : (const uint8_t *)(t->out.id + t->out_count);

    tn_status status = copy_part(c, t->results, c->r->memory.results, (uint64_t)(end - t->results));
    return status == TN_OK && t->wants & (TN_WANT_HIDDEN | TN_WANT_LOGITS) ? copy_rows(c) : status;
}

/* ---- kinds of ticket ---- */

static tn_status enqueue_batch(const context *c)
{
    tn_status status = copy_inputs(c);

    if (status == TN_OK && c->t->kind == TICKET_STEP && c->t->graph != NONE) {
        status = c->api->graph_launch(c->r->graph[c->t->graph], c->r->stream, c->err);
    } else if (status == TN_OK) {
        const step_run run = run_of(c);
        status = run_program(&run, c->err);
    }
    if (status == TN_OK && c->t->out_count)
        status = sample_rows(c, c->t->out_count);
    return status == TN_OK && c->r->index == 0 && c->t->out_count ? copy_outputs(c) : status;
}

static tn_status load_kernels(const context *c)
{
    const step_run run = run_of(c);

    cuda_launch_nothing(true);
    tn_status status = run_program(&run, c->err);
    if (status == TN_OK)
        status = sample_rows(c, c->t->shape.outputs);
    cuda_launch_nothing(false);
    return status;
}

/* The graph is launched once: what a first launch costs is paid here. */
static tn_status capture(const context *c)
{
    device_graph **graph = &c->r->graph[c->t->graph];
    tn_status status = enqueue_batch(c);

    if (status == TN_OK)
        status = c->api->stream_wait(c->r->stream, c->err);
    if (status != TN_OK)
        return status;
    const step_run run = run_of(c);
    status = c->api->graph_capture(c->r->stream, run_program, &run, sizeof run, graph, c->err);
    return status == TN_OK ? c->api->graph_launch(*graph, c->r->stream, c->err) : status;
}

tn_status step_enqueue(rank *r, const ticket *t, tn_error *err)
{
    const context c = {.r = r, .api = r->model->dev->api, .p = r->model->p, .t = t, .err = err};
    tn_status status;

    switch (t->kind) {
    case TICKET_LOAD:
        status = load_kernels(&c);
        break;
    case TICKET_CAPTURE:
        status = capture(&c);
        break;
    default:
        status = enqueue_batch(&c);
    }
    return status == TN_OK ? c.api->event_record(r->done[t->id % IN_FLIGHT], r->stream, err) : status;
}
