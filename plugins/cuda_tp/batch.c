/* batch.c: what a batch must satisfy at the ABI boundary, and how its rows become attention tasks and page-table runs.
 *
 * A task is some rows of one sequence times the heads of a kv head, over all spans they see. A single row with several
 * spans is split, one task per span, as long as there is room for the partial results: bits do not depend on it
 * (kernels/launch.h).
 */
#include "model.h"

#include <string.h>

/* ---- checks ---- */

static tn_status check_counts(const tn_model *m, const tn_batch *b, tn_error *err)
{
    const tn_compile *r = &m->p->request;

    if (b->token_count > r->max_tokens || b->seq_count > r->max_seqs || b->out_count > r->max_outputs)
        return tn_fail(err, TN_E_ARGUMENT, "batch of %u rows, %u sequences, %u outputs; room is for %u, %u, %u",
                       b->token_count, b->seq_count, b->out_count, r->max_tokens, r->max_seqs, r->max_outputs);
    if (b->need & ~CUDA_TP_CAN)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch needs 0x%x; cuda_tp has 0x%x", b->need, CUDA_TP_CAN);
    if (b->axis_count != 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch with %u position axes", b->axis_count);
    if (b->delta_count > m->delta_limit)
        return tn_fail(err, TN_E_ARGUMENT, "batch changes %u page-table entries of %llu", b->delta_count,
                       (unsigned long long)m->delta_limit);
    if (!b->seq_start || (b->token_count && (!b->token || !b->position)) ||
        (b->seq_count && (!b->slot || !b->cached_len)) || (b->out_count && (!b->out_row || !b->out_want)) ||
        (b->delta_count && (!b->delta_group || !b->delta_slot || !b->delta_index || !b->delta_page)))
        return tn_fail(err, TN_E_ARGUMENT, "batch: an array that its counts call for is NULL");
    if (b->seq_start[0] != 0 || b->seq_start[b->seq_count] != b->token_count)
        return tn_fail(err, TN_E_ARGUMENT, "batch: sequences must cover rows 0 to %u", b->token_count);
    return TN_OK;
}

static tn_status check_pages(const tn_model *m, const tn_batch *b, tn_error *err)
{
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t g = b->delta_group[i];
        bool known = g < m->p->view.api->kv_group_count && b->delta_slot[i] < m->p->request.max_seqs;
        if (!known || b->delta_index[i] >= m->p->kv[g].table_stride || b->delta_page[i] >= m->kv[g].pages)
            return tn_fail(err, TN_E_ARGUMENT,
                           "batch: page change %u is out of range: group %u, slot %u, index %u, page %u", i, g,
                           b->delta_slot[i], b->delta_index[i], b->delta_page[i]);
    }
    return TN_OK;
}

static tn_status check_sequences(tn_model *m, const tn_batch *b, tn_error *err)
{
    const tn_compile *r = &m->p->request;

    memset(m->slot_mark, 0, r->max_seqs * sizeof *m->slot_mark);
    for (uint32_t i = 0; i < b->seq_count; i++) {
        uint32_t start = b->seq_start[i], end = b->seq_start[i + 1], slot = b->slot[i];
        if (start >= end || end > b->token_count)
            return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u has rows %u to %u", i, start, end);
        if (slot >= r->max_seqs || m->slot_mark[slot]++)
            return tn_fail(err, TN_E_ARGUMENT, "batch: slot %u of sequence %u is out of range or taken", slot, i);
        if ((uint64_t)b->cached_len[i] + (end - start) > r->max_model_len)
            return tn_fail(err, TN_E_ARGUMENT, "batch: sequence %u would be longer than max_model_len %u", i,
                           r->max_model_len);
    }
    return TN_OK;
}

static tn_status check_token(const tn_model *m, const tn_batch *b, uint32_t row, tn_error *err)
{
    const ticket *last = &m->tickets[(m->next_ticket + IN_FLIGHT - 1) % IN_FLIGHT];
    int32_t token = b->token[row];

    if (token == TN_TOKEN_EMBED && b->embed)
        return TN_OK;
    if (token >= 0 && (uint32_t)token < m->p->vocab)
        return TN_OK;
    if (token >= 0 || token == TN_TOKEN_EMBED || !(b->need & TN_NEED_PREV))
        return tn_fail(err, TN_E_ARGUMENT, "batch: token %d of row %u is not one of %u", token, row, m->p->vocab);
    if (!b->prev || b->prev != last->id || (uint32_t)(-1 - token) >= last->out_count)
        return tn_fail(err, TN_E_ARGUMENT,
                       "batch: row %u takes output %d of ticket %llu; only the last ticket's %u are kept", row,
                       -1 - token, (unsigned long long)b->prev, last->out_count);
    return TN_OK;
}

/* The device uses the tokens as indices. */
static tn_status check_list(const tn_model *m, const tn_batch *b, const char *what, const uint32_t *row,
                            const int32_t *token, uint64_t limit, tn_error *err)
{
    if (!row)
        return TN_OK;
    if (row[b->out_count] > limit)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch: %u %s; room is for %llu", row[b->out_count], what,
                       (unsigned long long)limit);
    for (uint32_t i = 0; i < b->out_count; i++)
        if (row[0] != 0 || row[i] > row[i + 1])
            return tn_fail(err, TN_E_ARGUMENT, "batch: %s of output row %u are from %u to %u", what, i, row[i],
                           row[i + 1]);
    for (uint32_t i = 0; i < row[b->out_count]; i++)
        if (token[i] < 0 || (uint32_t)token[i] >= m->p->vocab)
            return tn_fail(err, TN_E_ARGUMENT, "batch: token %d among the %s is not one of %u", token[i], what,
                           m->p->vocab);
    return TN_OK;
}

static tn_status check_sample(const tn_model *m, const tn_batch *b, tn_error *err)
{
    const tn_sample *s = b->sample;

    if (!s)
        return TN_OK;
    if (s->top_logprobs > SAMPLE_TOP_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "batch: %u top log-probs; %d are kept", s->top_logprobs, SAMPLE_TOP_MAX);
    tn_status status = check_list(m, b, "biases", s->bias_row, s->bias_token, m->sizes.bias_limit, err);
    return status == TN_OK ? check_list(m, b, "seen tokens", s->seen_row, s->seen_token, m->sizes.seen_limit, err)
                           : status;
}

tn_status batch_check(tn_model *m, const tn_batch *b, tn_error *err)
{
    tn_status status = check_counts(m, b, err);

    if (status == TN_OK)
        status = check_pages(m, b, err);
    if (status == TN_OK)
        status = check_sequences(m, b, err);
    for (uint32_t row = 0; row < b->token_count && status == TN_OK; row++)
        status = check_token(m, b, row, err);
    for (uint32_t i = 0; i < b->out_count && status == TN_OK; i++)
        if (b->out_row[i] >= b->token_count || (i && b->out_row[i] <= b->out_row[i - 1]))
            status = tn_fail(err, TN_E_ARGUMENT, "batch: output rows must ascend and be below %u", b->token_count);
    return status == TN_OK ? check_sample(m, b, err) : status;
}

/* ---- attention ---- */

typedef struct task_writer {
    const tn_model *m;
    const attention_inputs *to;
    uint32_t window, rows_max;
    uint32_t tasks, items, partials;
} task_writer;

static void write_task(task_writer *w, uint32_t row, uint32_t rows, uint32_t slot, uint32_t position)
{
    uint32_t first_key = w->window && position >= w->window ? position - w->window + 1 : 0;
    uint32_t first = first_key / SPAN_TOKENS, count = (position + rows - 1) / SPAN_TOKENS - first + 1;
    cuda_attention_task task = {.row = row,
                                .rows = rows,
                                .slot = slot,
                                .position = position,
                                .span_first = first,
                                .span_count = count,
                                .partial = CUDA_NO_ROW};

    if (rows > 1 || count == 1 || w->partials + count > w->m->sizes.partial_limit) {
        w->to->task[w->tasks++] = task;
        return;
    }
    w->to->item[w->items] = row;
    w->to->item_partial[w->items++] = w->partials;
    for (uint32_t i = 0; i < count; i++) {
        task.span_first = first + i;
        task.span_count = 1;
        task.partial = w->partials++;
        w->to->task[w->tasks++] = task;
    }
}

static void write_tasks(const tn_model *m, const tn_batch *b, uint32_t group, const attention_inputs *to)
{
    const tn_kv_group *shape = &m->p->kv[group].shape;
    task_writer w = {.m = m, .to = to, .window = shape->window, .rows_max = m->p->kv[group].task_rows};

    for (uint32_t i = 0; i < b->seq_count; i++) {
        uint32_t start = b->seq_start[i], end = b->seq_start[i + 1];
        for (uint32_t row = start; row < end; row += w.rows_max) {
            uint32_t rows = end - row < w.rows_max ? end - row : w.rows_max;
            write_task(&w, row, rows, b->slot[i], b->cached_len[i] + (row - start));
        }
    }
    to->item_partial[w.items] = w.partials;
    *to->task_count = w.tasks;
    *to->item_count = w.items;
}

/* ---- page tables ---- */

/* Neighbouring changes of one slot become one copy. */
static void pack_pages(const tn_model *m, const tn_batch *b, ticket *t)
{
    t->run_count = 0;
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t g = b->delta_group[i], at = b->delta_slot[i] * m->p->kv[g].table_stride + b->delta_index[i];
        struct table_run *run = t->run_count ? &t->run[t->run_count - 1] : NULL;

        t->delta_page[i] = b->delta_page[i];
        if (run && run->group == g && run->at + run->count == at)
            run->count++;
        else
            t->run[t->run_count++] = (struct table_run){.group = g, .at = at, .first = i, .count = 1};
    }
}

/* ---- sampling ---- */

#define PACK(member, count)                                                     \
    do {                                                                        \
        if (from->member) {                                                     \
            memcpy(t->in.member, from->member, (count) * sizeof *from->member); \
            t->sample.member = t->in.member;                                    \
        }                                                                       \
    } while (0)

static void pack_sample(const tn_model *m, const tn_batch *b, ticket *t)
{
    const tn_sample *from = b->sample;
    const uint64_t rows = b->out_count;

    t->sample = (tn_sample){.struct_size = sizeof t->sample};
    t->top_count = from ? from->top_logprobs : 0;
    t->bias_count = t->seen_count = 0;
    if (!from)
        return;
    t->sample.top_logprobs = from->top_logprobs;
    PACK(temperature, rows);
    PACK(top_p, rows);
    PACK(min_p, rows);
    PACK(repetition, rows);
    PACK(presence, rows);
    PACK(frequency, rows);
    PACK(top_k, rows);
    PACK(choice, rows);
    PACK(seed, rows);
    PACK(score_target, rows);
    PACK(mask, rows * m->sizes.mask_words);
    if (from->bias_row) {
        t->bias_count = from->bias_row[rows];
        PACK(bias_row, rows + 1);
        PACK(bias_token, t->bias_count);
        PACK(bias_value, t->bias_count);
    }
    if (from->seen_row) {
        t->seen_count = from->seen_row[rows];
        PACK(seen_row, rows + 1);
        PACK(seen_token, t->seen_count);
        PACK(seen_count, t->seen_count);
    }
}

#undef PACK

static void pack_rows(const tn_batch *b, ticket *t)
{
    memcpy(t->in.token, b->token, b->token_count * sizeof *b->token);
    memcpy(t->in.position, b->position, b->token_count * sizeof *b->position);
    for (uint32_t i = 0; i < b->seq_count; i++) {
        for (uint32_t row = b->seq_start[i]; row < b->seq_start[i + 1]; row++) {
            t->in.row_slot[row] = b->slot[i];
            t->in.kv_position[row] = b->cached_len[i] + (row - b->seq_start[i]);
        }
    }
    t->wants = 0;
    for (uint32_t i = 0; i < b->out_count; i++) {
        t->in.out_row[i] = b->out_row[i];
        t->in.want[i] = b->out_want[i];
        t->in.sample_position[i] = (uint32_t)b->position[b->out_row[i]] + 1;
        t->wants |= b->out_want[i];
    }
    *t->in.out_count = b->out_count;
}

void batch_pack(tn_model *m, const tn_batch *b, ticket *t)
{
    t->token_count = b->token_count;
    t->out_count = b->out_count;
    t->has_prev = (b->need & TN_NEED_PREV) != 0;
    t->has_embed = b->embed && (b->need & TN_NEED_EMBED);
    pack_rows(b, t);
    for (uint32_t g = 0; g < m->p->view.api->kv_group_count; g++)
        write_tasks(m, b, g, &t->in.attention[g]);
    pack_pages(m, b, t);
    pack_sample(m, b, t);
    if (t->has_embed)
        memcpy(t->in.embed, b->embed, (uint64_t)b->token_count * m->p->width * sizeof *b->embed);
}
