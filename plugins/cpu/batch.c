/* plugins/cpu/batch.c: what a batch must satisfy at the ABI boundary, and how its rows become work. */
#include "model.h"

#include "batch.h"

#include <string.h>

static tn_status check_counts(const tn_model *m, const tn_batch *b, tn_error *err)
{
    const limits *l = &m->p->limits;

    if (b->token_count > l->max_tokens || b->seq_count > l->max_seqs || b->out_count > l->max_outputs)
        return tn_fail(err, TN_E_ARGUMENT,
                       "batch of %u tokens, %u sequences, %u outputs; the model was compiled for %u, %u, %u",
                       b->token_count, b->seq_count, b->out_count, l->max_tokens, l->max_seqs, l->max_outputs);
    if (b->need & ~(uint32_t)CPU_CAN)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch needs 0x%x; the CPU backend has 0x%x", b->need, (uint32_t)CPU_CAN);
    if (b->axis_count != 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch with %u position axes", b->axis_count);
    if ((b->token_count && (!b->token || !b->position)) || (b->seq_count && (!b->slot || !b->cached_len)) ||
        !b->seq_start || (b->out_count && (!b->out_row || !b->out_want)) ||
        (b->delta_count && (!b->delta_group || !b->delta_slot || !b->delta_index || !b->delta_page)))
        return tn_fail(err, TN_E_ARGUMENT, "batch: a mandatory array is missing");
    if (b->seq_start[0] != 0 || b->seq_start[b->seq_count] != b->token_count)
        return tn_fail(err, TN_E_ARGUMENT, "batch: seq_start does not run from 0 to %u", b->token_count);
    return TN_OK;
}

static tn_status check_deltas(const tn_model *m, const tn_batch *b, tn_error *err)
{
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t group = b->delta_group[i];
        if (group >= m->p->group_count || b->delta_slot[i] >= m->p->limits.max_seqs ||
            b->delta_index[i] >= m->p->kv[group].table_stride || b->delta_page[i] >= m->kv[group].pages)
            return tn_fail(err, TN_E_ARGUMENT,
                           "batch: page change %u (group %u, slot %u, index %u, page %u) is out of range", i, group,
                           b->delta_slot[i], b->delta_index[i], b->delta_page[i]);
    }
    return TN_OK;
}

static tn_status check_sequences(tn_model *m, const tn_batch *b, tn_error *err)
{
    memset(m->slot_mark, 0, m->p->limits.max_seqs * sizeof *m->slot_mark);
    for (uint32_t i = 0; i < b->seq_count; i++) {
        uint32_t start = b->seq_start[i], end = b->seq_start[i + 1], slot = b->slot[i];
        if (end <= start || end > b->token_count)
            return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u has rows %u to %u", i, start, end);
        if (slot >= m->p->limits.max_seqs || m->slot_mark[slot])
            return tn_fail(err, TN_E_ARGUMENT, "batch: slot %u of sequence %u is out of range or used twice", slot, i);
        m->slot_mark[slot] = 1;
        if ((uint64_t)b->cached_len[i] + (end - start) > m->p->limits.max_model_len)
            return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u grows past max_model_len %u", i,
                           m->p->limits.max_model_len);
    }
    return TN_OK;
}

static tn_status check_rows(const tn_model *m, const tn_batch *b, tn_error *err)
{
    for (uint32_t i = 0; i < b->token_count; i++) {
        bool embedded = b->token[i] == TN_TOKEN_EMBED && b->embed;
        if (!embedded && (b->token[i] < 0 || (uint32_t)b->token[i] >= m->p->vocab))
            return tn_fail(err, TN_E_ARGUMENT, "batch: token %d of row %u is outside the vocabulary of %u", b->token[i],
                           i, m->p->vocab);
    }
    for (uint32_t i = 0; i < b->out_count; i++)
        if (b->out_row[i] >= b->token_count || (i && b->out_row[i] <= b->out_row[i - 1]))
            return tn_fail(err, TN_E_ARGUMENT, "batch: output rows must ascend and be below %u", b->token_count);
    if (b->sample && b->sample->top_logprobs > TOP_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch: %u top log-probs; the CPU backend keeps %d",
                       b->sample->top_logprobs, TOP_MAX);
    return TN_OK;
}

tn_status batch_check(tn_model *m, const tn_batch *b, tn_error *err)
{
    tn_status status = check_counts(m, b, err);
    if (status == TN_OK)
        status = check_deltas(m, b, err);
    if (status == TN_OK)
        status = check_sequences(m, b, err);
    if (status == TN_OK)
        status = check_rows(m, b, err);
    return status;
}

void batch_begin(tn_model *m, const tn_batch *b)
{
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t group = b->delta_group[i];
        uint64_t at = (uint64_t)b->delta_slot[i] * m->p->kv[group].table_stride + b->delta_index[i];
        m->kv[group].table[at] = b->delta_page[i];
    }
    m->task_count = 0;
    for (uint32_t i = 0; i < b->seq_count; i++) {
        uint32_t start = b->seq_start[i], end = b->seq_start[i + 1];
        for (uint32_t row = start; row < end; row++) {
            m->row_slot[row] = b->slot[i];
            m->row_position[row] = b->cached_len[i] + (row - start);
        }
        for (uint32_t row = start; row < end; row += m->p->attend_rows) {
            uint32_t rows = end - row < m->p->attend_rows ? end - row : m->p->attend_rows;
            m->task[m->task_count++] = (attend_task){row, rows, m->row_position[row], b->slot[i]};
        }
    }
    m->batch = b;
    m->out_count = b->out_count;
    m->top_count = b->sample ? b->sample->top_logprobs : 0;
    memcpy(m->want, b->out_want, b->out_count * sizeof *m->want);
}
