/* spread.c: see spread.h. A step is sent before it is begun here, so that the workers read it meanwhile; a batch is
 * written once for all of them, into memory that was taken at the start. [step] thread only.
 */
#include "workers/spread.h"

#include <stdlib.h>

/* Tickets whose order is remembered, as many as a worker remembers: more than may be in flight. */
enum { TICKETS = 64 };

typedef struct spread {
    tn_backend table;
    workers *workers;
    const tn_backend *backend;
    tn_model *model;
    step_shape shape;
    step_buffer message;        /* a batch or a copy */
    uint64_t submitted, waited; /* orders */
    uint64_t ticket[TICKETS];   /* of order i at i % TICKETS; the backend's */
} spread;

static spread *spread_of(tn_model *model)
{
    return (spread *)model;
}

/* Something that the workers were told failed here: nobody can go on alone. */
static tn_status fail_here(spread *s, tn_status status, const tn_error *why, tn_error *err)
{
    return workers_fail(s->workers, status, why->msg[0] ? why->msg : tn_status_text(status), err);
}

/* The order of a ticket in flight or not long past; 0: none has it. */
static uint64_t order_of(const spread *s, uint64_t ticket)
{
    for (uint64_t order = s->submitted; order > 0 && order + TICKETS > s->submitted; order--)
        if (s->ticket[order % TICKETS] == ticket)
            return order;
    return 0;
}

static tn_status check_submit(const spread *s, const tn_batch *batch, uint64_t *ret_prev_order, tn_error *err)
{
    tn_status status = workers_check(s->workers, err);
    if (status == TN_OK && s->submitted - s->waited >= s->table.max_in_flight)
        status = tn_fail(err, TN_E_AGAIN, "%u steps are in flight", s->table.max_in_flight);
    *ret_prev_order = batch->prev ? order_of(s, batch->prev) : 0;
    if (status == TN_OK && batch->prev && !*ret_prev_order)
        status = tn_fail(err, TN_E_ARGUMENT, "a batch points into ticket %llu, which is none",
                         (unsigned long long)batch->prev);
    return status;
}

static tn_status spread_submit(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    spread *s = spread_of(model);
    tn_error why = TN_ERROR_INIT;
    uint64_t prev_order;

    tn_status status = check_submit(s, batch, &prev_order, err);
    if (status == TN_OK)
        status = step_message_write_batch(&s->message, &s->shape, batch, s->submitted + 1, prev_order, err);
    if (status != TN_OK)
        return status;
    workers_send(s->workers, s->message.bytes, s->message.n);
    status = s->backend->submit(s->model, batch, ret_ticket, &why);
    if (status != TN_OK)
        return fail_here(s, status, &why, err);
    s->submitted++;
    s->ticket[s->submitted % TICKETS] = *ret_ticket;
    return TN_OK;
}

static tn_status spread_wait(tn_model *model, uint64_t ticket, tn_result *result, tn_error *err)
{
    spread *s = spread_of(model);
    tn_error why = TN_ERROR_INIT;
    uint8_t message[STEP_NUMBER_BYTES];

    if (s->waited == s->submitted || s->ticket[(s->waited + 1) % TICKETS] != ticket)
        return tn_fail(err, TN_E_ARGUMENT, "ticket %llu is not the next in flight", (unsigned long long)ticket);
    s->waited++;
    step_message_write_number(message, STEP_WAIT, s->waited);
    workers_send(s->workers, message, sizeof message);
    tn_status status = s->backend->wait(s->model, ticket, result, &why);
    return status == TN_OK ? TN_OK : fail_here(s, status, &why, err);
}

static tn_status spread_kv_copy(tn_model *model, uint32_t group, const tn_kvmove *moves, uint32_t count, tn_error *err)
{
    spread *s = spread_of(model);
    tn_error why = TN_ERROR_INIT;

    tn_status status = workers_check(s->workers, err);
    if (status == TN_OK)
        status = step_message_write_copy(&s->message, group, moves, count, err);
    if (status != TN_OK)
        return status;
    workers_send(s->workers, s->message.bytes, s->message.n);
    status = s->backend->kv_copy(s->model, group, moves, count, &why);
    return status == TN_OK ? TN_OK : fail_here(s, status, &why, err);
}

static void spread_model_free(tn_model *model)
{
    spread *s = spread_of(model);

    if (!s)
        return;
    workers_dismiss(s->workers);
    s->backend->model_free(s->model);
    step_buffer_finish(&s->message);
    free(s);
}

/* A batch of everything but embeddings, masks and lists; those that are larger make the buffer grow, once. */
static uint64_t plain_batch_bytes(const step_shape *shape)
{
    return 4096 + 32ull * shape->max_tokens + 64ull * shape->max_seqs + 128ull * shape->max_outputs;
}

tn_status spread_create(workers *workers, const step_shape *shape, const tn_backend *backend, tn_model *model,
                        const tn_backend **ret_table, tn_model **ret_model, tn_error *err)
{
    spread *s = calloc(1, sizeof *s);
    if (!s)
        return tn_fail(err, TN_E_MEMORY, "the group's steps");
    *s = (spread){.table = *backend, .workers = workers, .backend = backend, .model = model, .shape = *shape};
    s->table.max_in_flight = backend->max_in_flight < TICKETS ? backend->max_in_flight : TICKETS - 1;
    s->table.submit = spread_submit;
    s->table.wait = spread_wait;
    s->table.kv_copy = backend->kv_copy ? spread_kv_copy : NULL;
    s->table.model_free = spread_model_free;
    tn_status status = step_buffer_reserve(&s->message, plain_batch_bytes(shape), err);
    if (status != TN_OK) {
        free(s);
        return status;
    }
    *ret_table = &s->table;
    *ret_model = (tn_model *)s;
    return TN_OK;
}
