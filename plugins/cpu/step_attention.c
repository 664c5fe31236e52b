/* plugins/cpu/step_attention.c: attention as work items: (task of rows, kv head, part of its query heads).
 *
 * An item walks its spans in ascending order. When there are too few items to feed the threads (one long sequence),
 * each span is an item of its own and the partial results are merged in the same order afterwards: the same operations
 * on the same numbers, so the cut never shows in the result.
 */
#include "model.h"

#include <string.h>

static attend_cut cut_attention(const tn_model *m, const step *s)
{
    const uint32_t per_kv = s->heads / s->kv_heads;
    attend_cut cut = {.parts = (per_kv + ATTEND_HEADS_MAX - 1) / ATTEND_HEADS_MAX};
    uint32_t longest = 0, rows = 0;

    cut.heads = (per_kv + cut.parts - 1) / cut.parts;
    cut.parts = (per_kv + cut.heads - 1) / cut.heads;
    for (uint32_t i = 0; i < m->task_count; i++) {
        uint32_t end = m->task[i].position + m->task[i].rows;
        longest = end > longest ? end : longest;
        rows = m->task[i].rows > rows ? m->task[i].rows : rows;
    }
    cut.spans = (longest + SPAN_TOKENS - 1) / SPAN_TOKENS;
    cut.unit = rows * cut.heads;
    uint64_t items = (uint64_t)m->task_count * s->kv_heads * cut.parts;
    uint64_t floats = items * cut.spans * cut.unit * (m->p->kv[s->group].v_pad + 2);
    cut.split = cut.spans > 1 && items < (uint64_t)SPLIT_ITEMS * pool_threads(m->dev->pool) &&
                pool_threads(m->dev->pool) > 1 && floats <= program_partial_floats(m->p);
    return cut;
}

/* One item: which task, kv head and query heads. */
typedef struct attend_place {
    const attend_task *task;
    uint32_t kv_head, head0, heads; /* head0: of the model's query heads */
} attend_place;

static attend_place place_of(const tn_model *m, const step *s, const attend_cut *cut, uint32_t item)
{
    const uint32_t per_kv = s->heads / s->kv_heads, part = item % cut->parts;
    attend_place place = {.kv_head = item / cut->parts % s->kv_heads,
                          .task = &m->task[item / cut->parts / s->kv_heads]};
    uint32_t first = part * cut->heads;

    place.head0 = place.kv_head * per_kv + first;
    place.heads = per_kv - first < cut->heads ? per_kv - first : cut->heads;
    return place;
}

/* Gathers and scales the query vectors. */
static attention_item item_begin(tn_model *m, const step *s, const attend_place *place, uint32_t thread)
{
    const kv_layout *kv = &m->p->kv[s->group];
    const kv_store *store = &m->kv[s->group];
    float *q = (float *)(void *)model_thread(m, thread, m->layout.query);
    const uint8_t *layer = store->base + (uint64_t)s->layer * store->pages * kv->layer_page_bytes;

    for (uint32_t r = 0; r < place->task->rows; r++) {
        const float *from = model_row(m, s->in[0], place->task->row0 + r) + (uint64_t)place->head0 * s->head_dim;
        float *to = q + (uint64_t)r * place->heads * s->head_dim;
        memcpy(to, from, (uint64_t)place->heads * s->head_dim * sizeof *to);
    }
    m->k->scale_cap(q, place->task->rows * place->heads * s->head_dim, s->scale, 0);
    return (attention_item){.q = q,
                            .pages = store->table + (uint64_t)place->task->slot * kv->table_stride,
                            .k_base = layer + place->kv_head * kv->k_bytes,
                            .v_base = layer + s->kv_heads * kv->k_bytes + place->kv_head * kv->v_bytes,
                            .page_stride = kv->layer_page_bytes,
                            .store = kv->store,
                            .queries = place->task->rows * place->heads,
                            .heads = place->heads,
                            .head_dim = s->head_dim,
                            .v_pad = kv->v_pad,
                            .position = place->task->position,
                            .window = s->window,
                            .softcap = s->cap};
}

static void query_finish(tn_model *m, const step *s, const attend_place *place, uint32_t query,
                         const softmax_state *state, const float *out)
{
    uint32_t row = place->task->row0 + query / place->heads, head = place->head0 + query % place->heads;
    const float *sink = s->gain == NONE ? NULL : weight_vector(&m->p->weights[s->gain]) + head;

    m->k->attention_finish(state, out, sink, s->v_dim, model_row(m, s->out, row) + (uint64_t)head * s->v_dim);
}

static void attend_whole(tn_model *m, const step *s, const attend_cut *cut, uint32_t index, uint32_t thread)
{
    attend_place place = place_of(m, s, cut, index);
    attention_item item = item_begin(m, s, &place, thread);
    kernel_scratch *scratch = (kernel_scratch *)(void *)model_thread(m, thread, m->layout.kernel);
    softmax_state *state = (softmax_state *)(void *)model_thread(m, thread, m->layout.state);
    softmax_state *part = state + QUERIES_MAX;
    float *out = (float *)(void *)model_thread(m, thread, m->layout.span_out);
    float *part_out = out + (uint64_t)QUERIES_MAX * item.v_pad;
    uint32_t spans = (item.position + place.task->rows + SPAN_TOKENS - 1) / SPAN_TOKENS;
    uint32_t first = item.window && item.position >= item.window ? (item.position + 1 - item.window) / SPAN_TOKENS : 0;

    m->k->attention_span(&item, first, state, out, scratch);
    for (uint32_t span = first + 1; span < spans; span++) {
        m->k->attention_span(&item, span, part, part_out, scratch);
        for (uint32_t q = 0; q < item.queries; q++)
            m->k->attention_merge(&state[q], out + (uint64_t)q * item.v_pad, &part[q],
                                  part_out + (uint64_t)q * item.v_pad, item.v_pad);
    }
    for (uint32_t q = 0; q < item.queries; q++)
        query_finish(m, s, &place, q, &state[q], out + (uint64_t)q * item.v_pad);
}

/* Partial results: out vectors of all units, then states of all units. */
static float *partial_out(const tn_model *m, const attend_cut *cut, uint32_t v_pad, uint32_t item, uint32_t span)
{
    return m->partial + ((uint64_t)item * cut->spans + span) * cut->unit * v_pad;
}

static softmax_state *partial_state(const tn_model *m, const step *s, const attend_cut *cut, uint32_t v_pad,
                                    uint32_t item, uint32_t span)
{
    uint64_t units = (uint64_t)m->task_count * s->kv_heads * cut->parts * cut->spans;
    softmax_state *states = (softmax_state *)(void *)(m->partial + units * cut->unit * v_pad);
    return states + ((uint64_t)item * cut->spans + span) * cut->unit;
}

uint32_t attend_begin(tn_model *m, const step *s)
{
    m->attend = cut_attention(m, s);
    return m->task_count * s->kv_heads * m->attend.parts * (m->attend.split ? m->attend.spans : 1);
}

void attend_item(tn_model *m, const step *s, uint32_t item, uint32_t thread)
{
    const attend_cut *cut = &m->attend;
    uint32_t v_pad = m->p->kv[s->group].v_pad;

    if (!cut->split) {
        attend_whole(m, s, cut, item, thread);
        return;
    }
    uint32_t span = item % cut->spans, index = item / cut->spans;
    attend_place place = place_of(m, s, cut, index);
    attention_item work = item_begin(m, s, &place, thread);
    m->k->attention_span(&work, span, partial_state(m, s, cut, v_pad, index, span),
                         partial_out(m, cut, v_pad, index, span),
                         (kernel_scratch *)(void *)model_thread(m, thread, m->layout.kernel));
}

static void merge_item(tn_model *m, const step *s, const attend_cut *cut, uint32_t index)
{
    attend_place place = place_of(m, s, cut, index);
    uint32_t v_pad = m->p->kv[s->group].v_pad;
    softmax_state *state = partial_state(m, s, cut, v_pad, index, 0);
    float *out = partial_out(m, cut, v_pad, index, 0);

    for (uint32_t q = 0; q < place.task->rows * place.heads; q++) {
        for (uint32_t span = 1; span < cut->spans; span++)
            m->k->attention_merge(&state[q], out + (uint64_t)q * v_pad,
                                  partial_state(m, s, cut, v_pad, index, span) + q,
                                  partial_out(m, cut, v_pad, index, span) + (uint64_t)q * v_pad, v_pad);
        query_finish(m, s, &place, q, &state[q], out + (uint64_t)q * v_pad);
    }
}

/* m->attend is still that of the ATTEND step right before. */
uint32_t attend_end_begin(tn_model *m, const step *s)
{
    bool quantised = false;

    for (uint32_t i = 0; i < FORM_COUNT; i++)
        quantised = quantised || s->quant[i] != NONE;
    return m->attend.split || quantised ? m->task_count : 0;
}

void attend_end_item(tn_model *m, const step *s, uint32_t task)
{
    const attend_task *t = &m->task[task];
    uint32_t per_task = s->kv_heads * m->attend.parts;

    for (uint32_t i = 0; m->attend.split && i < per_task; i++)
        merge_item(m, s, &m->attend, task * per_task + i);
    for (uint32_t i = 0; i < FORM_COUNT; i++) {
        if (s->quant[i] == NONE)
            continue;
        quant_rows q = model_quant(m, s->quant[i]);
        for (uint32_t row = t->row0; row < t->row0 + t->rows; row++)
            model_quantize_row(m, model_row(m, s->out, row), s->columns, &q, row);
    }
}
