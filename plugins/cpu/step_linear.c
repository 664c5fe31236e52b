/* plugins/cpu/step_linear.c: matrix products as work items: some panels of one weight times up to ROW_CHUNK rows.
 *
 * An item's result stays in the thread's tile until bias, residual, gate or quantisation have been applied, so that a
 * row of outputs is written once.
 */
#include "model.h"

#include <string.h>

static uint32_t panels_of(const weight *w)
{
    return w->kind == WEIGHT_AFFINE ? w->affine.panels : w->matrix.panels;
}

/* Few rows: items long enough that drawing one costs nothing, short enough to balance. Many rows: two panels. */
uint32_t linear_begin(tn_model *m, const step *s)
{
    const uint32_t chunks = (m->rows + ROW_CHUNK - 1) / ROW_CHUNK;
    const uint32_t parts = s->kind == STEP_GATED_LINEAR ? 1 : s->part_count; /* gate and up go together */
    uint32_t total = 0;
    linear_cut cut = {.panels = 2};

    for (uint32_t i = 0; i < parts; i++)
        total += panels_of(&m->p->weights[s->part[i].weight]);
    if (m->rows <= FEW_ROWS) {
        uint32_t panels = total / (pool_threads(m->dev->pool) * 8) / 2 * 2;
        cut.panels = panels < 2 ? 2 : panels > TILE_COLUMNS / LANES ? TILE_COLUMNS / LANES : panels;
    }
    for (uint32_t i = 0; i < parts; i++) {
        cut.groups[i] = (panels_of(&m->p->weights[s->part[i].weight]) + cut.panels - 1) / cut.panels;
        cut.group_total += cut.groups[i];
    }
    m->linear = cut;
    return chunks * cut.group_total;
}

void linear_product(const tn_model *m, const linear_part *part, const product_place *at, float *tile, uint32_t thread)
{
    const weight *w = &m->p->weights[part->weight];
    kernel_scratch *scratch = (kernel_scratch *)(void *)model_thread(m, thread, m->layout.kernel);
    const buffer *in = &m->p->buffers[part->in];

    if (w->kind == WEIGHT_AFFINE) {
        quant_rows x = model_quant(m, part->in);
        m->k->linear_affine(&w->affine, at->panel0, at->panels, &x, at->row0, at->rows, tile, at->stride, scratch);
    } else if (in->form == FORM_SPLIT) {
        quant_rows x = model_quant(m, part->in);
        m->k->linear_split(&w->matrix, at->panel0, at->panels, &x, at->row0, at->rows, tile, at->stride, scratch);
    } else {
        m->k->linear_float(&w->matrix, at->panel0, at->panels, model_row(m, part->in, at->row0), in->stride, at->rows,
                           tile, at->stride, scratch);
    }
    const uint32_t first = at->panel0 * LANES, width = at->panels * LANES;
    const uint32_t columns = w->n - first < width ? w->n - first : width;
    for (uint32_t r = 0; r < at->rows; r++) {
        float *row = tile + (uint64_t)r * at->stride;
        memset(row + width, 0, (at->stride - width) * sizeof *row);
        if (part->bias != NONE)
            m->k->add(row, weight_vector(&m->p->weights[part->bias]) + first, columns, row);
    }
}

/* Panels [panel0, panel0 + panels) of a weight, as far as it has them. */
static product_place place_at(const tn_model *m, const linear_part *part, uint32_t panel0, uint32_t row0)
{
    const uint32_t panels = m->linear.panels, left = panels_of(&m->p->weights[part->weight]) - panel0;

    return (product_place){.row0 = row0,
                           .rows = m->rows - row0 < ROW_CHUNK ? m->rows - row0 : ROW_CHUNK,
                           .panel0 = panel0,
                           .panels = panels < left ? panels : left,
                           .stride = panels * LANES};
}

void linear_item(tn_model *m, const step *s, uint32_t item, uint32_t thread)
{
    const linear_cut *cut = &m->linear;
    float *tile = (float *)(void *)model_thread(m, thread, m->layout.tile);
    uint32_t row0 = item / cut->group_total * ROW_CHUNK, group = item % cut->group_total, part_index = 0;

    while (group >= cut->groups[part_index])
        group -= cut->groups[part_index++];
    const linear_part *part = &s->part[part_index];
    const product_place at = place_at(m, part, group * cut->panels, row0);
    uint32_t column = at.panel0 * LANES, n = m->p->weights[part->weight].n;
    uint32_t columns = n - column < at.stride ? n - column : at.stride;

    linear_product(m, part, &at, tile, thread);
    for (uint32_t r = 0; r < at.rows; r++) {
        float *out = model_row(m, part->out, row0 + r) + column, *from = tile + (uint64_t)r * at.stride;
        if (s->kind == STEP_LOGITS && (s->scale != 1 || s->cap != 0))
            m->k->scale_cap(from, columns, s->scale, s->cap);
        if (part->residual != NONE)
            m->k->add(model_row(m, part->residual, row0 + r) + column, from, columns, out);
        else
            memcpy(out, from, columns * sizeof *out);
    }
}

void gated_linear_item(tn_model *m, const step *s, uint32_t item, uint32_t thread)
{
    const linear_cut *cut = &m->linear;
    float *gate = (float *)(void *)model_thread(m, thread, m->layout.tile);
    float *up = (float *)(void *)model_thread(m, thread, m->layout.second_tile);
    uint32_t row0 = item / cut->group_total * ROW_CHUNK, panel0 = item % cut->group_total * cut->panels;
    const product_place at = place_at(m, &s->part[0], panel0, row0);
    uint32_t column = panel0 * LANES, columns = s->columns - column < at.stride ? s->columns - column : at.stride;
    uint32_t padded = (columns + K_BLOCK - 1) / K_BLOCK * K_BLOCK;

    linear_product(m, &s->part[0], &at, gate, thread);
    linear_product(m, &s->part[1], &at, up, thread);
    for (uint32_t r = 0; r < at.rows; r++) {
        float *row = gate + (uint64_t)r * at.stride;
        m->k->gated(row, up + (uint64_t)r * at.stride, columns, s->activation, row);
        memset(row + columns, 0, (padded - columns) * sizeof *row);
        if (s->out != NONE)
            memcpy(model_row(m, s->out, row0 + r) + column, row, columns * sizeof *row);
        for (uint32_t i = 0; i < FORM_COUNT; i++) {
            if (s->quant[i] == NONE)
                continue;
            quant_rows q = model_quant(m, s->quant[i]);
            m->k->quantize_part(row, column, padded, &q, row0 + r);
        }
    }
}
