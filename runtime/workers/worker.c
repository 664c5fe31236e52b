/* worker.c: see worker.h. */
#include "workers/worker.h"

enum { TICKETS = 64 }; /* as in spread.c */

typedef struct worker {
    workers *workers;
    const tn_backend *backend;
    tn_model *model;
    step_shape shape;
    uint64_t submitted, waited; /* orders */
    uint64_t ticket[TICKETS];   /* of order i at i % TICKETS; this backend's */
    uint32_t out_count[TICKETS];
} worker;

static tn_status fail_order(tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "a step from rank 0 comes out of order");
}

static tn_status submit(worker *w, const uint8_t *payload, size_t n, tn_error *err)
{
    step_batch step;

    tn_status status = step_message_read_batch(payload, n, &w->shape, &step, err);
    if (status != TN_OK)
        return status;
    if (step.order != w->submitted + 1 || w->submitted - w->waited >= TICKETS - 1 || step.prev_order > w->submitted ||
        (step.prev_order && step.prev_order + TICKETS <= w->submitted))
        return fail_order(err);
    if (step.prev_order)
        step.batch.prev = w->ticket[step.prev_order % TICKETS];
    w->submitted++;
    w->out_count[w->submitted % TICKETS] = step.batch.out_count;
    return w->backend->submit(w->model, &step.batch, &w->ticket[w->submitted % TICKETS], err);
}

static tn_status wait(worker *w, const uint8_t *payload, size_t n, tn_error *err)
{
    tn_result nothing = {.struct_size = sizeof nothing};
    uint64_t order;

    tn_status status = step_message_read_number(payload, n, &order, err);
    if (status != TN_OK)
        return status;
    if (order != w->waited + 1 || order > w->submitted)
        return fail_order(err);
    w->waited++;
    nothing.out_count = w->out_count[order % TICKETS];
    return w->backend->wait(w->model, w->ticket[order % TICKETS], &nothing, err);
}

static tn_status copy(worker *w, const uint8_t *payload, size_t n, tn_error *err)
{
    const tn_kvmove *moves;
    uint32_t group, count;

    tn_status status = step_message_read_copy(payload, n, &w->shape, &group, &moves, &count, err);
    if (status == TN_OK && !w->backend->kv_copy)
        status = tn_fail(err, TN_E_CORRUPT, "rank 0 copies pages, which this backend does not");
    return status == TN_OK ? w->backend->kv_copy(w->model, group, moves, count, err) : status;
}

static tn_status obey(worker *w, uint32_t kind, const uint8_t *payload, size_t n, tn_error *err)
{
    switch (kind) {
    case STEP_SUBMIT:
        return submit(w, payload, n, err);
    case STEP_WAIT:
        return wait(w, payload, n, err);
    case STEP_COPY:
        return copy(w, payload, n, err);
    default:
        return tn_fail(err, TN_E_CORRUPT, "rank 0 sends what only workers send");
    }
}

/* What rank 0 never waited for, since its requests had ended. */
static tn_status wait_for_rest(worker *w, tn_error *err)
{
    tn_status status = TN_OK;

    while (w->waited < w->submitted && status == TN_OK) {
        tn_result nothing = {.struct_size = sizeof nothing};
        w->waited++;
        nothing.out_count = w->out_count[w->waited % TICKETS];
        status = w->backend->wait(w->model, w->ticket[w->waited % TICKETS], &nothing, err);
    }
    return status;
}

tn_status worker_run(workers *workers, const step_shape *shape, const tn_backend *backend, tn_model *model,
                     tn_error *err)
{
    worker w = {.workers = workers, .backend = backend, .model = model, .shape = *shape};
    step_buffer in = {0};
    tn_error why = TN_ERROR_INIT;
    uint32_t kind = 0;
    size_t n;

    tn_status status = step_buffer_reserve(&in, STEP_HEAD_BYTES, &why);
    while (status == TN_OK) {
        status = workers_receive(workers, &in, &kind, &n, &why);
        if (status != TN_OK || kind == STEP_END)
            break;
        status = obey(&w, kind, in.bytes, n, &why);
    }
    if (status == TN_OK)
        status = wait_for_rest(&w, &why);
    if (status == TN_OK)
        workers_leave(workers);
    else
        status = workers_fail(workers, status, why.msg[0] ? why.msg : tn_status_text(status), err);
    step_buffer_finish(&in);
    return status;
}
