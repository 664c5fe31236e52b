/* step.c: submit and wait. A step runs whole inside submit; wait hands over what it left in its ticket.
 *
 * Two tickets may be in flight, so that an engine's "token = output of the previous ticket" is exercised as on a
 * device: tickets keep their sampled ids until the slot is used again.
 */
#include "interp/model.h"

#include <string.h>

#include "base/sampler.h"

static void apply_deltas(tn_model *model, const tn_batch *batch)
{
    for (uint32_t i = 0; i < batch->delta_count; i++) {
        uint64_t row = (uint64_t)batch->delta_slot[i] * model->table_stride;
        model->kv[batch->delta_group[i]].table[row + batch->delta_index[i]] = batch->delta_page[i];
    }
}

/* A row whose token could not be sampled (id -1) carries on with token 0; its request fails at the earlier wait. */
static void resolve_tokens(tn_model *model, const tn_batch *batch)
{
    for (uint32_t i = 0; i < batch->token_count; i++) {
        int32_t token = batch->token[i];
        if (token < 0 && token != TN_TOKEN_EMBED) {
            token = model->ticket[batch->prev % INTERP_IN_FLIGHT].token[-1 - token];
            token = token < 0 ? 0 : token;
        }
        model->token[i] = token;
    }
}

/* Position of the token that output `row` chooses. With several axes the count of tokens so far stands for it. */
static uint32_t next_position(const tn_batch *batch, uint32_t row)
{
    uint32_t seq = 0;
    while (batch->seq_start[seq + 1] <= row)
        seq++;
    return batch->cached_len[seq] + (row - batch->seq_start[seq]) + 1;
}

static tn_status sample_output(tn_model *model, const tn_batch *batch, interp_ticket *ticket, uint32_t i, tn_error *err)
{
    tn_node logits_node = interp_node(model, model->api->node_count - 1);
    uint64_t vocab = model->api->vocab_size, width = model->api->model_width;
    tn_buf logits = model->value_buf[logits_node.out[0]], hidden = model->value_buf[logits_node.in[0]];
    tn_result result = {.struct_size = sizeof result,
                        .out_count = ticket->out_count,
                        .id = ticket->token,
                        .logprob = ticket->logprob,
                        .target_logprob = ticket->target_logprob,
                        .top_id = ticket->top_id,
                        .top_logprob = ticket->top_logprob};

    logits.offset += i * vocab * sizeof(float);
    hidden.offset += i * width * sizeof(float);
    tn_status status = model->ops->get(model->dev, model->sample_row, logits, vocab * sizeof(float), err);
    if (status == TN_OK && (ticket->want[i] & TN_WANT_HIDDEN))
        status = model->ops->get(model->dev, ticket->hidden + i * width, hidden, width * sizeof(float), err);
    if (status != TN_OK)
        return status;
    if (ticket->want[i] & TN_WANT_LOGITS)
        memcpy(ticket->logits + i * vocab, model->sample_row, vocab * sizeof(float));
    sampler_row(batch->sample, i, next_position(batch, batch->out_row[i]), ticket->want[i], model->sample_row,
                (uint32_t)vocab, model->sample_scratch, &result);
    return TN_OK;
}

static tn_status check_state(const tn_model *model, tn_error *err)
{
    if (!model->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: submit before seal");
    for (uint32_t g = 0; g < model->api->kv_group_count; g++) {
        if (!model->kv[g].pages)
            return tn_fail(err, TN_E_ARGUMENT, "interpreter: submit before kv_reserve of group %u", g);
    }
    if (model->next_ticket - model->next_wait >= INTERP_IN_FLIGHT)
        return tn_fail(err, TN_E_AGAIN, "interpreter: %d steps are in flight", INTERP_IN_FLIGHT);
    return TN_OK;
}

tn_status interp_submit(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    interp_ticket *ticket = &model->ticket[model->next_ticket % INTERP_IN_FLIGHT];
    tn_batch resolved = *batch;

    tn_status status = check_state(model, err);
    if (status == TN_OK)
        status = interp_batch_check(model, batch, err);
    if (status != TN_OK)
        return status;
    apply_deltas(model, batch);
    resolve_tokens(model, batch);
    resolved.token = model->token;
    for (uint32_t i = 0; i < model->api->node_count && status == TN_OK; i++)
        status = interp_run_node(model, i, &resolved, err);

    ticket->out_count = batch->out_count;
    ticket->top = batch->sample ? batch->sample->top_logprobs : 0;
    for (uint32_t i = 0; i < batch->out_count && status == TN_OK; i++) {
        ticket->want[i] = batch->out_want[i];
        status = sample_output(model, batch, ticket, i, err);
    }
    if (status != TN_OK)
        return status;
    ticket->id = model->next_ticket++;
    *ret_ticket = ticket->id;
    return TN_OK;
}

static tn_status check_result(const interp_ticket *ticket, const tn_result *result, tn_error *err)
{
    uint32_t want = 0;

    for (uint32_t i = 0; i < ticket->out_count; i++)
        want |= ticket->want[i];
    if (result->out_count < ticket->out_count || (ticket->out_count && !result->id))
        return tn_fail(err, TN_E_ARGUMENT, "wait: room for %u output rows, the ticket has %u",
                       result->id ? result->out_count : 0, ticket->out_count);
    if (((want & TN_WANT_LOGPROB) && !result->logprob) || ((want & TN_WANT_TARGET) && !result->target_logprob) ||
        ((want & TN_WANT_TOP) && ticket->top && (!result->top_id || !result->top_logprob)) ||
        ((want & TN_WANT_HIDDEN) && !result->hidden) || ((want & TN_WANT_LOGITS) && !result->logits))
        return tn_fail(err, TN_E_ARGUMENT, "wait: a buffer that an output row asked for is missing");
    return TN_OK;
}

static void hand_over(const tn_model *model, const interp_ticket *ticket, uint32_t i, tn_result *result)
{
    uint64_t top = ticket->top, vocab = model->api->vocab_size, width = model->api->model_width;
    uint32_t want = ticket->want[i];

    result->id[i] = ticket->token[i];
    if (want & TN_WANT_LOGPROB)
        result->logprob[i] = ticket->logprob[i];
    if (want & TN_WANT_TARGET)
        result->target_logprob[i] = ticket->target_logprob[i];
    if ((want & TN_WANT_TOP) && top) {
        memcpy(result->top_id + i * top, ticket->top_id + i * top, top * sizeof(int32_t));
        memcpy(result->top_logprob + i * top, ticket->top_logprob + i * top, top * sizeof(float));
    }
    if (want & TN_WANT_HIDDEN)
        memcpy(result->hidden + i * width, ticket->hidden + i * width, width * sizeof(float));
    if (want & TN_WANT_LOGITS)
        memcpy(result->logits + i * vocab, ticket->logits + i * vocab, vocab * sizeof(float));
}

tn_status interp_wait(tn_model *model, uint64_t id, tn_result *result, tn_error *err)
{
    interp_ticket *ticket = &model->ticket[id % INTERP_IN_FLIGHT];

    if (id != model->next_wait || id >= model->next_ticket)
        return tn_fail(err, TN_E_ARGUMENT, "wait: ticket %llu is not the oldest in flight", (unsigned long long)id);
    tn_status status = check_result(ticket, result, err);
    if (status != TN_OK)
        return status;
    for (uint32_t i = 0; i < ticket->out_count; i++)
        hand_over(model, ticket, i, result);
    model->next_wait++;
    return TN_OK;
}
