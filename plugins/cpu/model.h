/* plugins/cpu/model.h: a compiled model and its device, private to the plugin. */
#ifndef CPU_MODEL_H
#define CPU_MODEL_H

#include "pool.h"
#include "program.h"

#include <string.h>

struct tn_dev {
    const kernels *k;
    pool *pool;
};

/* Some consecutive rows of one sequence, which attend together. */
typedef struct attend_task {
    uint32_t row0, rows, position, slot;
} attend_task;

typedef struct kv_store {
    uint8_t *base;   /* [layer][page] of layer_page_bytes: K of each head, then V of each head */
    uint64_t pages;  /* 0 until reserved */
    uint32_t *table; /* [max_seqs][table_stride] */
} kv_store;

/* How the products of a step are cut into items. */
typedef struct linear_cut {
    uint32_t panels;            /* per item */
    uint32_t groups[PARTS_MAX]; /* items per row chunk of each part */
    uint32_t group_total;
} linear_cut;

/* How the attention of a step is cut into items. */
typedef struct attend_cut {
    uint32_t heads; /* query heads of an item */
    uint32_t parts; /* items per kv head */
    uint32_t spans; /* of the longest sequence */
    bool split;     /* one item per span */
    uint32_t unit;  /* queries of one partial result */
} attend_cut;

/* Some rows of choices that go to one expert. */
typedef struct moe_task {
    uint32_t expert, row0, rows;
} moe_task;

/* How the experts of a step are cut into items. */
typedef struct moe_cut {
    uint32_t panels; /* per item */
    uint32_t groups; /* items per task */
} moe_cut;

struct tn_model {
    tn_dev *dev;
    const kernels *k;
    program *p;
    bool sealed, waiting; /* waiting: a ticket has not been collected */
    uint64_t ticket;
    uint8_t *weights, *arena, *logits;
    uint64_t arena_bytes;
    kv_store *kv; /* [group_count] */

    /* Parts of the arena. */
    thread_layout layout;
    uint8_t *threads;       /* [threads] of layout.bytes */
    float *partial;         /* out vectors of split attention, then their states */
    attend_task *task;      /* [max_tokens] */
    uint32_t *row_slot;     /* [max_tokens] */
    uint32_t *row_position; /* [max_tokens] */
    uint32_t *slot_mark;    /* [max_seqs] 1: a sequence of the batch under check has the slot */
    uint32_t *moe_expert;   /* [choices_max] of row r at r * chosen + i */
    float *moe_weight;      /* [choices_max] */
    uint32_t *moe_place;    /* [choices_max] row of the choice among those sorted by expert */
    uint32_t *moe_choice;   /* [choices_max] the choice at that place */
    uint32_t *moe_start;    /* [experts_max + 1] first place of each expert */
    moe_task *moe_task;     /* [experts_max + choices_max / ROW_CHUNK] */
    uint32_t *want;         /* [max_outputs] */
    int32_t *id;            /* [max_outputs] */
    float *logprob, *target_logprob;
    int32_t *top_id; /* [max_outputs * TOP_MAX] */
    float *top_logprob;

    /* The step in flight. */
    const tn_batch *batch;
    uint32_t task_count, out_count, top_count;
    uint32_t rows, row_some; /* of the open step; rows drawn at a time */
    linear_cut linear;
    attend_cut attend;
    uint32_t moe_tasks;
    moe_cut moe;
};

/* Runs the program over a checked batch, samples included. [step] */
void model_run(tn_model *model, const tn_batch *batch);
/* Holds a batch to what memory safety and the answer depend on. TN_E_ARGUMENT or TN_E_UNSUPPORTED. */
tn_status batch_check(tn_model *model, const tn_batch *batch, tn_error *err);
/* Applies page-table changes and cuts the rows into attention tasks. */
void batch_begin(tn_model *model, const tn_batch *batch);

/* ---- views ---- */

static inline float *model_row(const tn_model *m, uint32_t index, uint32_t row)
{
    const buffer *b = &m->p->buffers[index];
    uint8_t *base = index == m->p->logits ? m->logits : m->arena + b->offset;
    return (float *)(void *)base + (uint64_t)row * b->stride;
}

static inline quant_rows model_quant(const tn_model *m, uint32_t index)
{
    const buffer *b = &m->p->buffers[index];
    return buffer_rows(b, m->arena + b->offset);
}

/* Prepares a whole row: x [n], padded with zeros. */
static inline void model_quantize_row(const tn_model *m, const float *x, uint32_t n, const quant_rows *ret,
                                      uint32_t row)
{
    const uint32_t whole = n / K_BLOCK * K_BLOCK;

    m->k->quantize_part(x, 0, whole, ret, row);
    if (whole < ret->k_pad) {
        float tail[K_BLOCK] = {0};
        memcpy(tail, x + whole, (n - whole) * sizeof *tail);
        m->k->quantize_part(tail, whole, K_BLOCK, ret, row);
    }
}

static inline uint8_t *model_thread(const tn_model *m, uint32_t thread, uint64_t offset)
{
    return m->threads + thread * m->layout.bytes + offset;
}

/* ---- steps (step_linear.c, step_rows.c, step_attention.c, step_moe.c). *_begin cuts the step into items and returns
 * how many; m->rows is set. ---- */
/* Some rows times some panels of a weight, to a tile of `stride` floats a row. */
typedef struct product_place {
    uint32_t row0, rows, panel0, panels, stride;
} product_place;
/* tile = the product, bias added; columns from panels * LANES to stride are zero. */
void linear_product(const tn_model *m, const linear_part *part, const product_place *at, float *tile, uint32_t thread);
uint32_t linear_begin(tn_model *m, const step *s);
void linear_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
void gated_linear_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
uint32_t rows_begin(tn_model *m);
void rows_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
void kv_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
void rope_tables_item(tn_model *m, uint32_t item);
void sample_item(tn_model *m, uint32_t row, uint32_t thread);
void moe_route_row(tn_model *m, const step *s, uint32_t row, float *scratch);
uint32_t moe_gather_begin(tn_model *m, const step *s);
uint32_t moe_linear_begin(tn_model *m, const step *s);
void moe_gated_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
void moe_down_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
void moe_combine_row(tn_model *m, const step *s, uint32_t row, float *out);
uint32_t attend_begin(tn_model *m, const step *s);
void attend_item(tn_model *m, const step *s, uint32_t item, uint32_t thread);
uint32_t attend_end_begin(tn_model *m, const step *s);
void attend_end_item(tn_model *m, const step *s, uint32_t task);

#endif
