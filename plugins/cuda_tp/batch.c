/* batch.c: what a batch must satisfy at the ABI boundary, and how it becomes a block: rows, attention tasks, page-table
 * changes, and behind them as much for the sampler as it has.
 *
 * A task is some rows of one sequence times the heads of a kv head, over all spans they see. A single row with several
 * spans is split, one task per span, as long as there is room for the partial results: bits do not depend on it
 * (kernels/launch.h).
 */
#include "model.h"

#include <string.h>

/* Of a graph's launches of attention: several for each multiprocessor of a large device. Blocks walk the tasks. */
enum { ATTENTION_BLOCKS = 1024 };

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
    if (b->delta_count > m->sizes.change_limit)
        return tn_fail(err, TN_E_ARGUMENT, "batch changes %u page-table entries of %llu", b->delta_count,
                       (unsigned long long)m->sizes.change_limit);
    if (!b->seq_start || (b->token_count && (!b->token || !b->position)) ||
        (b->seq_count && (!b->slot || !b->cached_len)) || (b->out_count && (!b->out_row || !b->out_want)) ||
        (b->delta_count && (!b->delta_group || !b->delta_slot || !b->delta_index || !b->delta_page)))
        return tn_fail(err, TN_E_ARGUMENT, "batch: an array that its counts call for is NULL");
    if (b->seq_start[0] != 0 || b->seq_start[b->seq_count] != b->token_count)
        return tn_fail(err, TN_E_ARGUMENT, "batch: sequences must cover rows 0 to %u", b->token_count);
    return TN_OK;
}

static uint32_t *change_mark(tn_model *m, const tn_batch *b, uint32_t change)
{
    return &m->change_mark[(uint64_t)b->delta_group[change] * m->p->request.max_seqs + b->delta_slot[change]];
}

/* The device makes all changes at once, so no entry may have two. */
static tn_status check_pages(tn_model *m, const tn_batch *b, tn_error *err)
{
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t g = b->delta_group[i];
        bool known = g < m->p->view.api->kv_group_count && b->delta_slot[i] < m->p->request.max_seqs;
        if (!known || b->delta_index[i] >= m->p->kv[g].table_stride || b->delta_page[i] >= m->kv[g].pages)
            return tn_fail(err, TN_E_ARGUMENT,
                           "batch: page change %u is out of range: group %u, slot %u, index %u, page %u", i, g,
                           b->delta_slot[i], b->delta_index[i], b->delta_page[i]);
        *change_mark(m, b, i) = 0;
    }
    for (uint32_t i = 0; i < b->delta_count; i++) {
        uint32_t *mark = change_mark(m, b, i);
        if (b->delta_index[i] < *mark)
            return tn_fail(err, TN_E_ARGUMENT, "batch: page change %u: those of group %u and slot %u must ascend", i,
                           b->delta_group[i], b->delta_slot[i]);
        *mark = b->delta_index[i] + 1;
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
    const attention_inputs *to;
    uint32_t window, rows_max, partial_limit;
    uint32_t tasks, items, partials;
    bool one_span;
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

    if (rows > 1 || count == 1 || w->partials + count > w->partial_limit) {
        w->to->task[w->tasks++] = task;
        w->one_span = w->one_span && count == 1;
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

static void write_tasks(const tn_model *m, const tn_batch *b, uint32_t group, ticket *t)
{
    const attention_inputs *to = &t->in.attention[group];
    task_writer w = {.to = to,
                     .window = m->p->kv[group].shape.window,
                     .rows_max = m->p->kv[group].task_rows,
                     .partial_limit = step_partial_limit(&m->sizes, t->shape),
                     .one_span = true};

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
    t->grid[group] = (attention_grid){.tasks = w.tasks, .items = w.items, .one_span = w.one_span};
}

/* What is enough for any batch of the shape. */
static attention_grid widest_grid(const tn_model *m, uint32_t group, step_shape shape)
{
    uint32_t partials = step_partial_limit(&m->sizes, shape), limit = shape.tokens + partials;
    uint32_t wanted = ATTENTION_BLOCKS / m->p->kv[group].kv_heads;

    wanted = wanted > shape.tokens ? wanted : shape.tokens;
    return (attention_grid){.tasks = wanted < limit ? wanted : limit,
                            .items = shape.tokens < partials ? shape.tokens : partials};
}

/* ---- behind what the shape places ---- */

/* Room for so many bytes at the end of the block. */
static void *append(const tn_model *m, ticket *t, uint64_t bytes)
{
    void *at = t->block + t->block_used;

    t->block_used += step_align(bytes);
    TN_ASSERT(t->block_used <= m->sizes.block_bytes);
    return at;
}

static void pack_pages(const tn_model *m, const tn_batch *b, ticket *t)
{
    cuda_page_change *change = append(m, t, b->delta_count * sizeof *change);

    for (uint32_t i = 0; i < b->delta_count; i++) {
        const kv_layout *kv = &m->p->kv[b->delta_group[i]];
        change[i] = (cuda_page_change){.at = kv->table_first + b->delta_slot[i] * kv->table_stride + b->delta_index[i],
                                       .page = b->delta_page[i]};
    }
    *t->in.change_count = b->delta_count;
}

#define PACK(member, count)                                                      \
    do {                                                                         \
        if (from->member) {                                                      \
            const uint64_t bytes = (uint64_t)(count) * sizeof *from->member;     \
            t->sample.member = memcpy(append(m, t, bytes), from->member, bytes); \
        }                                                                        \
    } while (0)

static void pack_sample(const tn_model *m, const tn_batch *b, ticket *t)
{
    const tn_sample *from = b->sample;
    const uint64_t rows = b->out_count;

    t->sample = (tn_sample){.struct_size = sizeof t->sample};
    t->top_count = from ? from->top_logprobs : 0;
    if (!from)
        return;
    t->sample.top_logprobs = from->top_logprobs;
    PACK(seed, rows);
    PACK(temperature, rows);
    PACK(top_p, rows);
    PACK(min_p, rows);
    PACK(repetition, rows);
    PACK(presence, rows);
    PACK(frequency, rows);
    PACK(top_k, rows);
    PACK(choice, rows);
    PACK(score_target, rows);
    PACK(mask, rows * m->sizes.mask_words);
    if (from->bias_row) {
        PACK(bias_row, rows + 1);
        PACK(bias_token, from->bias_row[rows]);
        PACK(bias_value, from->bias_row[rows]);
    }
    if (from->seen_row) {
        PACK(seen_row, rows + 1);
        PACK(seen_token, from->seen_row[rows]);
        PACK(seen_count, from->seen_row[rows]);
    }
}

#undef PACK

/* ---- rows ---- */

/* Begins a block for rows of the shape; those from `tokens` and `outputs` on are padding. */
static void start_block(const tn_model *m, step_shape shape, uint32_t tokens, uint32_t outputs, ticket *t)
{
    t->shape = shape;
    t->token_count = tokens;
    t->out_count = outputs;
    t->wants = 0;
    t->has_embed = false;
    t->block_used = step_inputs_carve(m->p, &m->sizes, shape, t->block, &t->in);
    *t->in.token_count = tokens;
    for (uint32_t row = tokens; row < shape.tokens; row++) {
        t->in.token[row] = t->in.position[row] = 0;
        t->in.row_slot[row] = CUDA_NO_ROW;
        t->in.kv_position[row] = 0;
    }
    for (uint32_t i = outputs; i < shape.outputs; i++)
        t->in.out_row[i] = 0;
}

static void pack_rows(const tn_batch *b, ticket *t)
{
    memcpy(t->in.token, b->token, b->token_count * sizeof *b->token);
    memcpy(t->in.position, b->position, b->token_count * sizeof *b->position);
    memcpy(t->in.out_row, b->out_row, b->out_count * sizeof *b->out_row);
    for (uint32_t i = 0; i < b->seq_count; i++) {
        for (uint32_t row = b->seq_start[i]; row < b->seq_start[i + 1]; row++) {
            t->in.row_slot[row] = b->slot[i];
            t->in.kv_position[row] = b->cached_len[i] + (row - b->seq_start[i]);
        }
    }
}

static void pack_outputs(const tn_model *m, const tn_batch *b, ticket *t)
{
    t->want = append(m, t, b->out_count * sizeof *t->want);
    t->sample_position = append(m, t, b->out_count * sizeof *t->sample_position);
    for (uint32_t i = 0; i < b->out_count; i++) {
        t->want[i] = b->out_want[i];
        t->sample_position[i] = (uint32_t)b->position[b->out_row[i]] + 1;
        t->wants |= b->out_want[i];
    }
}

/* The smallest graph that has room, unless most of its logits would be for nobody: up to CUDA_FEW_ROWS of them cost no
 * more than one. */
static uint32_t graph_for(const tn_model *m, const tn_batch *b, bool has_embed)
{
    for (uint32_t i = 0; i < m->p->bucket_count && b->token_count && !has_embed; i++) {
        step_shape shape = warmup_shape(m->p, m->p->bucket[i]);
        if (!m->graph_ready[i] || shape.tokens < b->token_count || shape.outputs < b->out_count)
            continue;
        return shape.outputs <= CUDA_FEW_ROWS || b->out_count >= shape.outputs / 2 ? i : NONE;
    }
    return NONE;
}

void batch_pack(tn_model *m, const tn_batch *b, ticket *t)
{
    const bool has_embed = b->embed && (b->need & TN_NEED_EMBED);
    const uint32_t graph = graph_for(m, b, has_embed);
    const step_shape own = {.tokens = b->token_count, .outputs = b->out_count};

    t->kind = TICKET_STEP;
    t->graph = graph;
    start_block(m, graph == NONE ? own : warmup_shape(m->p, m->p->bucket[graph]), b->token_count, b->out_count, t);
    pack_rows(b, t);
    for (uint32_t g = 0; g < m->p->view.api->kv_group_count; g++)
        write_tasks(m, b, g, t);
    pack_pages(m, b, t);
    pack_outputs(m, b, t);
    pack_sample(m, b, t);
    step_outputs_carve(t->out_count, t->top_count, t->results, &t->out);
    t->has_embed = has_embed;
    if (has_embed)
        memcpy(t->embed, b->embed, (uint64_t)b->token_count * m->p->width * sizeof *b->embed);
}

void batch_pack_padding(const tn_model *m, step_shape shape, ticket *t)
{
    start_block(m, shape, 0, 0, t);
    *t->in.change_count = 0;
    for (uint32_t g = 0; g < m->p->view.api->kv_group_count; g++) {
        const attention_inputs *to = &t->in.attention[g];
        *to->task_count = *to->item_count = to->item_partial[0] = 0;
        t->grid[g] = widest_grid(m, g, shape);
    }
    t->want = t->sample_position = NULL;
    t->sample = (tn_sample){.struct_size = sizeof t->sample};
    t->top_count = 0;
}
