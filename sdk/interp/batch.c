/* batch.c: holds a batch to every promise that tenon/backend.h makes about it. The strictness is the point: an engine
 * that runs on the interpreter without complaint may trust a backend that checks nothing.
 */
#include "interp/model.h"

#include <string.h>

static tn_status check_counts(const tn_model *model, const tn_batch *b, tn_error *err)
{
    const interp_limits *l = &model->limits;

    if (b->token_count > l->max_tokens || b->seq_count > l->max_seqs || b->out_count > l->max_outputs)
        return tn_fail(err, TN_E_ARGUMENT, "batch: %u tokens, %u sequences, %u outputs exceed the limits %u, %u, %u",
                       b->token_count, b->seq_count, b->out_count, l->max_tokens, l->max_seqs, l->max_outputs);
    if (b->axis_count == 0 || (b->axis_count > 1 && !(b->need & TN_NEED_AXES)))
        return tn_fail(err, TN_E_ARGUMENT, "batch: %u position axes", b->axis_count);
    if ((b->token_count && (!b->token || !b->position)) || (b->seq_count && (!b->slot || !b->cached_len)) ||
        !b->seq_start || (b->out_count && (!b->out_row || !b->out_want)))
        return tn_fail(err, TN_E_ARGUMENT, "batch: a mandatory array is missing");
    if (b->seq_start[0] != 0 || b->seq_start[b->seq_count] != b->token_count)
        return tn_fail(err, TN_E_ARGUMENT, "batch: seq_start must run from 0 to %u", b->token_count);
    return TN_OK;
}

static tn_status check_need(const tn_batch *b, tn_error *err)
{
    uint32_t used = 0;
    const tn_sample *s = b->sample;

    if (b->need & ~(uint32_t)INTERP_CAN)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch: need 0x%x is beyond what the interpreter can do (0x%x)", b->need,
                       (uint32_t)INTERP_CAN);
    used |= b->embed ? TN_NEED_EMBED : 0;
    used |= b->adapter ? TN_NEED_ADAPTER : 0;
    used |= s && s->mask ? TN_NEED_MASK : 0;
    used |= s && s->bias_row ? TN_NEED_BIAS : 0;
    used |= s && s->seen_row ? TN_NEED_PENALTY : 0;
    for (uint32_t i = 0; i < b->out_count; i++) {
        used |= b->out_want[i] & TN_WANT_LOGITS ? TN_NEED_LOGITS : 0;
        used |= b->out_want[i] & TN_WANT_HIDDEN ? TN_NEED_HIDDEN : 0;
        used |= b->out_want[i] & TN_WANT_TARGET ? TN_NEED_SCORE : 0;
    }
    if (used & ~b->need)
        return tn_fail(err, TN_E_ARGUMENT, "batch: fields of need 0x%x are used, but need says 0x%x", used, b->need);
    return TN_OK;
}

static tn_status check_sequence(tn_model *model, const tn_batch *b, uint32_t seq, tn_error *err)
{
    uint32_t start = b->seq_start[seq], end = b->seq_start[seq + 1], slot = b->slot[seq];

    if (end <= start || end > b->token_count)
        return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u has rows %u to %u", seq, start, end);
    if (slot >= model->limits.max_seqs || model->slot_seen[slot])
        return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u has slot %u, out of range or used twice", seq, slot);
    model->slot_seen[slot] = 1;
    if ((uint64_t)b->cached_len[seq] + (end - start) > model->limits.max_model_len)
        return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u grows to %llu tokens, max_model_len is %u", seq,
                       (unsigned long long)b->cached_len[seq] + (end - start), model->limits.max_model_len);
    for (uint32_t row = start; b->axis_count == 1 && row < end; row++) {
        if (b->position[row] < 0 || (uint32_t)b->position[row] != b->cached_len[seq] + (row - start))
            return tn_fail(err, TN_E_ARGUMENT, "batch: row %u of sequence %u is at position %d, expected %u", row, seq,
                           b->position[row], b->cached_len[seq] + (row - start));
    }
    return TN_OK;
}

static const interp_ticket *find_ticket(const tn_model *model, uint64_t id)
{
    for (uint32_t i = 0; id && i < INTERP_IN_FLIGHT; i++) {
        if (model->ticket[i].id == id)
            return &model->ticket[i];
    }
    return NULL;
}

static tn_status check_tokens(const tn_model *model, const tn_batch *b, tn_error *err)
{
    const interp_ticket *prev = find_ticket(model, b->prev);

    for (uint32_t i = 0; i < b->token_count; i++) {
        int32_t token = b->token[i];
        if (token == TN_TOKEN_EMBED) {
            if (!b->embed)
                return tn_fail(err, TN_E_ARGUMENT, "batch: row %u wants an embedding, but there is none", i);
        } else if (token >= 0) {
            if ((uint32_t)token >= model->api->vocab_size)
                return tn_fail(err, TN_E_ARGUMENT, "batch: token %d of row %u is not below %u", token, i,
                               model->api->vocab_size);
        } else if (!(b->need & TN_NEED_PREV) || !prev || (uint32_t)(-1 - token) >= prev->out_count) {
            return tn_fail(err, TN_E_ARGUMENT, "batch: row %u points at output %d of ticket %llu, which has none", i,
                           -1 - token, (unsigned long long)b->prev);
        }
    }
    return TN_OK;
}

static tn_status check_deltas(const tn_model *model, const tn_batch *b, tn_error *err)
{
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t group = b->delta_group[i];
        if (group >= model->api->kv_group_count || b->delta_slot[i] >= model->limits.max_seqs ||
            b->delta_index[i] >= model->table_stride || b->delta_page[i] >= model->kv[group].pages)
            return tn_fail(err, TN_E_ARGUMENT, "batch: delta %u sets group %u slot %u index %u to page %u", i, group,
                           b->delta_slot[i], b->delta_index[i], b->delta_page[i]);
    }
    return TN_OK;
}

static tn_status check_outputs(const tn_batch *b, tn_error *err)
{
    if (b->sample && b->sample->top_logprobs > INTERP_TOP_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch: %u top log-probs, the interpreter keeps %d",
                       b->sample->top_logprobs, INTERP_TOP_MAX);
    for (uint32_t i = 0; i < b->out_count; i++) {
        if (b->out_row[i] >= b->token_count || (i > 0 && b->out_row[i] <= b->out_row[i - 1]))
            return tn_fail(err, TN_E_ARGUMENT, "batch: output %u is row %u; rows must ascend and be below %u", i,
                           b->out_row[i], b->token_count);
    }
    return TN_OK;
}

tn_status interp_batch_check(tn_model *model, const tn_batch *batch, tn_error *err)
{
    tn_status status = check_counts(model, batch, err);
    if (status == TN_OK)
        status = check_need(batch, err);
    memset(model->slot_seen, 0, model->limits.max_seqs * sizeof *model->slot_seen);
    for (uint32_t seq = 0; seq < batch->seq_count && status == TN_OK; seq++)
        status = check_sequence(model, batch, seq, err);
    if (status == TN_OK)
        status = check_tokens(model, batch, err);
    if (status == TN_OK)
        status = check_deltas(model, batch, err);
    if (status == TN_OK)
        status = check_outputs(batch, err);
    return status;
}
