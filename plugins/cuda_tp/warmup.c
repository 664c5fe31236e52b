/* warmup.c: what is done before the first step so that none of it is done in one: kernels and collectives are made
 * ready before pages take the rest of the memory, and steps of the buckets become graphs.
 */
#include "host_log.h"
#include "model.h"

step_shape warmup_shape(const program *p, uint32_t tokens)
{
    const uint32_t outputs = p->request.max_outputs;
    return (step_shape){.tokens = tokens, .outputs = tokens < outputs ? tokens : outputs};
}

static uint32_t bucket_of(const program *p, uint32_t tokens)
{
    for (uint32_t i = 0; i < p->bucket_count; i++)
        if (p->bucket[i] == tokens)
            return i;
    return NONE;
}

/* A ticket of padding, from packing to the end. */
static tn_status run_padding(tn_model *m, uint32_t kind, uint32_t tokens, uint32_t graph, tn_error *err)
{
    ticket *t = &m->tickets[m->next_ticket % IN_FLIGHT];

    if (m->next_wait != m->next_ticket)
        return tn_fail(err, TN_E_ARGUMENT, "a warm-up while steps are in flight");
    tn_status status = ranks_check(m, err);
    if (status != TN_OK)
        return status;
    t->kind = kind;
    t->graph = graph;
    batch_pack_padding(m, warmup_shape(m->p, tokens), t);
    t->id = m->next_ticket++;
    ranks_post(m);
    status = ranks_wait(m, t, err);
    m->next_wait++;
    return status;
}

/* Which kernel runs is a matter of thresholds in the number of rows, and so is how ranks meet: doubling meets them all.
 */
tn_status warmup_load(tn_model *m, tn_error *err)
{
    const uint32_t most = m->p->request.max_tokens;
    tn_status status = TN_OK;

    for (uint64_t tokens = 1; tokens < most && status == TN_OK; tokens *= 2)
        status = run_padding(m, TICKET_LOAD, (uint32_t)tokens, NONE, err);
    return status == TN_OK ? run_padding(m, TICKET_LOAD, most, NONE, err) : status;
}

/* False, said once, if what the ranks do together cannot be kept. */
static bool can_capture(tn_model *m)
{
    if (!m->dev->ranks || m->dev->ranks->api->captured)
        return true;
    if (!m->graph_refused)
        host_log(TN_LOG_WARNING,
                 "no CUDA graphs: the ranks meet on the host, and every step is launched kernel by kernel");
    m->graph_refused = true;
    return false;
}

tn_status warmup_run(tn_model *m, uint32_t tokens, tn_error *err)
{
    if (tokens == 0 || tokens > m->p->request.max_tokens)
        return tn_fail(err, TN_E_ARGUMENT, "a warm-up of %u rows; room is for %u", tokens, m->p->request.max_tokens);
    uint32_t graph = bucket_of(m->p, tokens);
    if (graph == NONE || m->graph_ready[graph] || !can_capture(m))
        return run_padding(m, TICKET_STEP, tokens, NONE, err);
    tn_status status = run_padding(m, TICKET_CAPTURE, tokens, graph, err);
    m->graph_ready[graph] = status == TN_OK;
    if (status == TN_OK)
        host_log(TN_LOG_DEBUG, "a CUDA graph of %u rows, %u of %u", tokens, graph + 1, m->p->bucket_count);
    return status;
}
