/* plugins/cpu/step_rows.c: steps that treat each row on its own: embed, normalise, rotate, gate, add, select, route,
 * sample.
 */
#include "model.h"

#include "base/sampler.h"

#include <math.h>
#include <string.h>

/* Hands a finished row to whoever wants it: as float32, quantised, or both. */
static void row_emit(tn_model *m, const step *s, uint32_t row, const float *x)
{
    if (s->out != NONE && x != model_row(m, s->out, row))
        memcpy(model_row(m, s->out, row), x, s->columns * sizeof *x);
    for (uint32_t i = 0; i < FORM_COUNT; i++) {
        if (s->quant[i] == NONE)
            continue;
        quant_rows q = model_quant(m, s->quant[i]);
        model_quantize_row(m, x, s->columns, &q, row);
    }
}

static void embed_row(tn_model *m, const step *s, uint32_t row, float *out)
{
    const tn_batch *b = m->batch;
    int32_t token = b->token[row];

    if (token == TN_TOKEN_EMBED) {
        memcpy(out, b->embed + (uint64_t)row * s->columns, s->columns * sizeof *out);
        return;
    }
    weight_row(&m->p->weights[s->gain], (uint64_t)token, out);
    if (s->scale != 1)
        m->k->scale_cap(out, s->columns, s->scale, 0);
}

static void norm_row(tn_model *m, const step *s, uint32_t row, float *out)
{
    const float *x = model_row(m, s->in[0], row), *gain = weight_vector(&m->p->weights[s->gain]);

    for (uint32_t i = 0; i < s->columns; i += s->width)
        m->k->rms_norm(x + i, gain, s->width, s->eps, s->offset, out + i);
}

static void rope_row(const tn_model *m, const rope_use *use, uint32_t row, float *x)
{
    if (use->table == NONE)
        return;
    const rope_table *t = &m->p->rope[use->table];
    const float *cos = (const float *)(const void *)(m->arena + t->offset) + (uint64_t)row * t->half;
    const float *sin = cos + (uint64_t)m->p->limits.max_tokens * t->half;
    for (uint32_t h = 0; h < use->heads; h++)
        m->k->rope_head(x + (uint64_t)h * use->head_dim, cos, sin, use->rotated, use->style);
}

/* x in the order of a part's columns, in the form that its product reads. n: a row of the weight that multiplies it. */
static void permute_row(tn_model *m, const linear_part *part, uint64_t n, const float *x, uint32_t row, float *scratch)
{
    const bool plain = m->p->buffers[part->out].form == FORM_FLOAT;
    const weight *w = &m->p->weights[part->weight];
    const uint32_t *perm = weight_perm(w, n);
    float *out = plain ? model_row(m, part->out, row) : scratch;

    for (uint32_t k = 0; k < w->k; k++)
        out[k] = x[perm[k]];
    if (plain)
        return;
    quant_rows q = model_quant(m, part->out);
    model_quantize_row(m, out, w->k, &q, row);
}

/* Row `place` of the choices, x, in the order of its expert's columns in each part. */
static void permute_choice(tn_model *m, const step *s, const float *x, uint32_t place, float *scratch)
{
    const uint32_t expert = m->moe_expert[m->moe_choice[place]];

    for (uint32_t i = 0; i < s->part_count; i++) {
        const uint64_t rows = m->p->weights[s->part[i].weight].n / s->experts;
        permute_row(m, &s->part[i], expert * rows, x, place, scratch);
    }
}

static void one_row(tn_model *m, const step *s, uint32_t row, float *scratch)
{
    float *out = s->out != NONE ? model_row(m, s->out, row) : scratch;

    switch (s->kind) {
    case STEP_EMBED:
        embed_row(m, s, row, out);
        break;
    case STEP_NORM:
        norm_row(m, s, row, out);
        break;
    case STEP_QUANTIZE:
        out = model_row(m, s->in[0], row);
        break;
    case STEP_PERMUTE:
        permute_row(m, &s->part[row % s->part_count], 0, model_row(m, s->in[0], row / s->part_count),
                    row / s->part_count, scratch);
        break;
    case STEP_ROPE:
        memmove(out, model_row(m, s->in[0], row), s->columns * sizeof *out);
        rope_row(m, &s->q_rope, row, out);
        break;
    case STEP_GATED:
        m->k->gated(model_row(m, s->in[0], row), model_row(m, s->in[1], row), s->columns, s->activation, out);
        break;
    case STEP_ADD:
        m->k->add(model_row(m, s->in[0], row), model_row(m, s->in[1], row), s->columns, out);
        break;
    case STEP_ADD_SCALED:
        memcpy(out, model_row(m, s->in[1], row), s->columns * sizeof *out);
        m->k->scale_cap(out, s->columns, s->scale, 0);
        m->k->add(model_row(m, s->in[0], row), out, s->columns, out);
        break;
    case STEP_MOE_ROUTE:
        moe_route_row(m, s, row, scratch);
        break;
    case STEP_MOE_GATHER:
        out = model_row(m, s->in[0], m->moe_choice[row] / s->chosen);
        permute_choice(m, s, out, row, scratch);
        break;
    case STEP_MOE_PERMUTE:
        permute_choice(m, s, model_row(m, s->in[0], row), row, scratch);
        break;
    case STEP_MOE_COMBINE:
        moe_combine_row(m, s, row, out);
        break;
    case STEP_SELECT:
        memcpy(out, model_row(m, s->in[0], m->batch->out_row[row]), s->columns * sizeof *out);
        break;
    default:
        TN_ASSERT(!"not a step over rows");
    }
    row_emit(m, s, row, out);
}

uint32_t rows_begin(tn_model *m)
{
    uint32_t some = m->rows / (pool_threads(m->dev->pool) * 8);

    m->row_some = some < 1 ? 1 : some > 16 ? 16 : some;
    return (m->rows + m->row_some - 1) / m->row_some;
}

void rows_item(tn_model *m, const step *s, uint32_t item, uint32_t thread)
{
    float *scratch = (float *)(void *)model_thread(m, thread, m->layout.row);
    for (uint32_t row = item * m->row_some; row < m->rows && row < (item + 1) * m->row_some; row++)
        one_row(m, s, row, scratch);
}

/* ---- rotation and the KV cache ---- */

static void rope_table_row(tn_model *m, const rope_table *rope, uint32_t row)
{
    float *cosines = (float *)(void *)(m->arena + rope->offset) + (uint64_t)row * rope->half;
    float *sines = cosines + (uint64_t)m->p->limits.max_tokens * rope->half;
    float position = (float)m->batch->position[(uint64_t)row * m->batch->axis_count];

    for (uint32_t i = 0; i < rope->half; i++) {
        float angle = position * rope->inv_freq[i];
        cosines[i] = (float)cos((double)angle) * rope->magnitude;
        sines[i] = (float)sin((double)angle) * rope->magnitude;
    }
}

void rope_tables_item(tn_model *m, uint32_t item)
{
    for (uint32_t row = item * m->row_some; row < m->rows && row < (item + 1) * m->row_some; row++)
        for (uint32_t t = 0; t < m->p->rope_count; t++)
            rope_table_row(m, &m->p->rope[t], row);
}

static void kv_row(tn_model *m, const step *s, uint32_t row, float *scratch)
{
    const kv_layout *kv = &m->p->kv[s->group];
    const kv_store *store = &m->kv[s->group];
    uint32_t position = m->row_position[row];
    uint32_t page = store->table[(uint64_t)m->row_slot[row] * kv->table_stride + position / LANES];
    uint8_t *k_page = store->base + ((uint64_t)s->layer * store->pages + page) * kv->layer_page_bytes;
    uint8_t *v_page = k_page + kv->k_bytes * s->kv_heads;
    const float *v = model_row(m, s->in[2], row);

    rope_row(m, &s->q_rope, row, model_row(m, s->in[0], row));
    memcpy(scratch, model_row(m, s->in[1], row), (uint64_t)s->kv_heads * s->head_dim * sizeof *scratch);
    rope_row(m, &s->k_rope, row, scratch);
    for (uint32_t g = 0; g < s->kv_heads; g++)
        m->k->kv_write(scratch + (uint64_t)g * s->head_dim, v + (uint64_t)g * s->v_dim, s->head_dim, s->v_dim,
                       kv->v_pad, kv->store, position % LANES, k_page + g * kv->k_bytes, v_page + g * kv->v_bytes);
}

void kv_item(tn_model *m, const step *s, uint32_t item, uint32_t thread)
{
    float *scratch = (float *)(void *)model_thread(m, thread, m->layout.row);
    for (uint32_t row = item * m->row_some; row < m->rows && row < (item + 1) * m->row_some; row++)
        kv_row(m, s, row, scratch);
}

/* ---- sampling ---- */

static bool neutral(const float *values, uint32_t row, float value)
{
    return !values || values[row] == value;
}

/* True if the row's answer is the largest raw logit and nothing else is asked. */
static bool is_plain_greedy(const tn_sample *s, uint32_t row, uint32_t want)
{
    if (want & (TN_WANT_LOGPROB | TN_WANT_TOP | TN_WANT_TARGET))
        return false;
    if (!s)
        return true;
    bool unedited = !s->mask && (!s->bias_row || s->bias_row[row] == s->bias_row[row + 1]);
    bool unseen = !s->seen_row || s->seen_row[row] == s->seen_row[row + 1] ||
                  (neutral(s->repetition, row, 1) && neutral(s->presence, row, 0) && neutral(s->frequency, row, 0));
    return neutral(s->temperature, row, 0) && unedited && unseen;
}

void sample_item(tn_model *m, uint32_t row, uint32_t thread)
{
    const tn_batch *b = m->batch;
    float *logits = model_row(m, m->p->logits, row);
    uint32_t want = b->out_want[row];

    if (is_plain_greedy(b->sample, row, want)) {
        m->id[row] = m->k->argmax(logits, m->p->vocab);
        return;
    }
    if (want & TN_WANT_LOGITS) { /* the sampler edits what it reads */
        float *copy = (float *)(void *)model_thread(m, thread, m->layout.sample_row);
        memcpy(copy, logits, m->p->vocab * sizeof *copy);
        logits = copy;
    }
    tn_result result = {.struct_size = sizeof result,
                        .out_count = m->out_count,
                        .id = m->id,
                        .logprob = m->logprob,
                        .target_logprob = m->target_logprob,
                        .top_id = m->top_id,
                        .top_logprob = m->top_logprob};
    sampler_row(b->sample, row, m->row_position[b->out_row[row]] + 1,
                want & ~(uint32_t)(TN_WANT_HIDDEN | TN_WANT_LOGITS), logits, m->p->vocab,
                model_thread(m, thread, m->layout.sampler), &result);
}
