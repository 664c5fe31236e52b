/* step_moe.c: experts. Choices (a row and one of its experts) are sorted by expert; an item is some panels of one
 * expert's matrix times up to ROW_CHUNK of its rows.
 *
 * A choice's row is computed from its token's row alone, by the same kernels whatever stands beside it, and a token
 * adds up its choices in the order in which it chose them, so that neither the batch nor the sorting shows in the
 * result.
 */
#include "model.h"

#include "base/expert_route.h"

#include <math.h>
#include <string.h>

/* ---- who goes where ---- */

/* scratch: a thread's row; the weights in double take two floats each. */
void moe_route_row(tn_model *m, const step *s, uint32_t row, float *scratch)
{
    double *weight = (double *)(void *)scratch;
    uint64_t at = (uint64_t)row * s->chosen;

    expert_route(model_row(m, s->in[0], row), s->experts, s->chosen, s->normalised, m->moe_expert + at, weight);
    for (uint32_t i = 0; i < s->chosen; i++)
        m->moe_weight[at + i] = (float)weight[i];
}

/* Counting sort: places of one expert are in the order of rows. */
static void sort_choices(tn_model *m, uint32_t choices, uint32_t experts)
{
    uint32_t *start = m->moe_start;

    memset(start, 0, (experts + 1) * sizeof *start);
    for (uint32_t i = 0; i < choices; i++)
        start[m->moe_expert[i] + 1]++;
    for (uint32_t e = 0; e < experts; e++)
        start[e + 1] += start[e];
    for (uint32_t i = 0; i < choices; i++) {
        uint32_t place = start[m->moe_expert[i]]++; /* afterwards start[e] is where e + 1 begins */
        m->moe_place[i] = place;
        m->moe_choice[place] = i;
    }
}

static void cut_tasks(tn_model *m, uint32_t experts)
{
    uint32_t row = 0;

    m->moe_tasks = 0;
    for (uint32_t e = 0; e < experts; e++) {
        for (; row < m->moe_start[e]; row += ROW_CHUNK) {
            uint32_t left = m->moe_start[e] - row;
            m->moe_task[m->moe_tasks++] = (moe_task){e, row, left < ROW_CHUNK ? left : ROW_CHUNK};
        }
        row = m->moe_start[e];
    }
}

/* m->rows becomes the number of choices, each of which rows_item then handles. */
uint32_t moe_gather_begin(tn_model *m, const step *s)
{
    m->rows *= s->chosen;
    sort_choices(m, m->rows, s->experts);
    cut_tasks(m, s->experts);
    return rows_begin(m);
}

/* ---- products ---- */

uint32_t moe_linear_begin(tn_model *m, const step *s)
{
    const uint32_t per_expert = s->columns / LANES;
    uint32_t most = 0;

    for (uint32_t i = 0; i < m->moe_tasks; i++)
        most = m->moe_task[i].rows > most ? m->moe_task[i].rows : most;
    m->moe.panels = 2;
    if (most <= FEW_ROWS) {
        uint64_t total = (uint64_t)m->moe_tasks * per_expert;
        uint64_t panels = total / (pool_threads(m->dev->pool) * 8) / 2 * 2;
        m->moe.panels = panels < 2 ? 2 : panels > TILE_COLUMNS / LANES ? TILE_COLUMNS / LANES : (uint32_t)panels;
    }
    m->moe.groups = (per_expert + m->moe.panels - 1) / m->moe.panels;
    return m->moe_tasks * m->moe.groups;
}

/* One item: rows of one expert times columns [column, column + columns) of its matrix. */
typedef struct moe_item {
    uint32_t column, columns;
    product_place at;
} moe_item;

static moe_item item_at(const tn_model *m, const step *s, uint32_t index)
{
    const moe_task *task = &m->moe_task[index / m->moe.groups];
    const uint32_t stride = m->moe.panels * LANES, column = index % m->moe.groups * stride;
    const uint32_t columns = s->columns - column < stride ? s->columns - column : stride;

    return (moe_item){.column = column,
                      .columns = columns,
                      .at = {.row0 = task->row0,
                             .rows = task->rows,
                             .panel0 = (task->expert * s->columns + column) / LANES,
                             .panels = columns / LANES,
                             .stride = stride}};
}

/* g * sigmoid(alpha g) * (u + 1) as silu(alpha g) * ((u + 1) / alpha). */
static void activate(const tn_model *m, const step *s, float *gate, float *up, uint32_t count)
{
    if (s->activation != TN_ACT_SWIGLU_CLAMPED) {
        m->k->gated(gate, up, count, s->activation, gate);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        float g = gate[i] < s->limit ? gate[i] : s->limit, u = up[i] < s->limit ? up[i] : s->limit;
        u = u > -s->limit ? u : -s->limit;
        gate[i] = s->alpha * g;
        up[i] = (u + 1.0f) / s->alpha;
    }
    m->k->gated(gate, up, count, TN_ACT_SILU, gate);
}

void moe_gated_item(tn_model *m, const step *s, uint32_t index, uint32_t thread)
{
    moe_item item = item_at(m, s, index);
    const uint32_t padded = (item.columns + K_BLOCK - 1) / K_BLOCK * K_BLOCK;
    float *gate = (float *)(void *)model_thread(m, thread, m->layout.tile);
    float *up = (float *)(void *)model_thread(m, thread, m->layout.second_tile);

    linear_product(m, &s->part[0], &item.at, gate, thread);
    linear_product(m, &s->part[1], &item.at, up, thread);
    for (uint32_t r = 0; r < item.at.rows; r++) {
        float *row = gate + (uint64_t)r * item.at.stride;
        uint32_t place = item.at.row0 + r;
        activate(m, s, row, up + (uint64_t)r * item.at.stride, item.columns);
        if (s->out != NONE)
            memcpy(model_row(m, s->out, place) + item.column, row, item.columns * sizeof *row);
        for (uint32_t i = 0; i < FORM_COUNT; i++) {
            if (s->quant[i] == NONE)
                continue;
            quant_rows q = model_quant(m, s->quant[i]);
            m->k->quantize_part(row, item.column, padded, &q, place);
        }
    }
}

void moe_down_item(tn_model *m, const step *s, uint32_t index, uint32_t thread)
{
    moe_item item = item_at(m, s, index);
    float *tile = (float *)(void *)model_thread(m, thread, m->layout.tile);

    linear_product(m, &s->part[0], &item.at, tile, thread);
    for (uint32_t r = 0; r < item.at.rows; r++)
        memcpy(model_row(m, s->part[0].out, item.at.row0 + r) + item.column, tile + (uint64_t)r * item.at.stride,
               item.columns * sizeof *tile);
}

void moe_combine_row(tn_model *m, const step *s, uint32_t row, float *out)
{
    memset(out, 0, s->columns * sizeof *out);
    for (uint32_t i = 0; i < s->chosen; i++) {
        uint64_t choice = (uint64_t)row * s->chosen + i;
        float *y = model_row(m, s->in[0], m->moe_place[choice]);
        m->k->scale_cap(y, s->columns, m->moe_weight[choice], 0);
        m->k->add(out, y, s->columns, out);
    }
}
