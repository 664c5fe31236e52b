/* sdk/check/small_model.h: a Llama of two layers with made-up weights, and any backend running it batch by batch.
 *
 * Weights are bf16, so that every backend must take them; they follow from the weight's number alone. Pages are handed
 * out in a scrambled order, so that an implementation that ignores the page table is found out.
 */
#ifndef CHECK_SMALL_MODEL_H
#define CHECK_SMALL_MODEL_H

#include "model/graph.h"
#include "tenon/backend.h"

enum {
    SMALL_VOCAB = 1009, /* a prime: no kernel's tile divides it */
    SMALL_TOKENS = 64,  /* largest batch */
    SMALL_SLOTS = 4,
    SMALL_LENGTH = 128, /* longest sequence */
    SMALL_GROUPS = 4,
    SMALL_PAGES_PER_SLOT = SMALL_LENGTH
};

/* The model's graph and everything that [probe] calls need. */
typedef struct small_model {
    tn_graph *graph;
    const tn_graph_api *api;
    tn_enc *enc; /* per weight: bf16 */
    tn_compile compile;
} small_model;

tn_status small_model_init(small_model *model, tn_error *err);
void small_model_finish(small_model *model);
/* Fills plan with arrays of SMALL_GROUPS entries for its pages. */
tn_status small_model_plan(const small_model *model, const tn_backend *backend, const tn_devinfo *info,
                           uint32_t page_tokens[SMALL_GROUPS], uint64_t page_bytes[SMALL_GROUPS], tn_memplan *ret_plan,
                           tn_error *err);

/* The model loaded into a backend. */
typedef struct small_run {
    const small_model *model;
    const tn_backend *backend;
    tn_dev *dev;
    tn_model *loaded;
    uint32_t page_tokens[SMALL_GROUPS];
    uint64_t page_bytes[SMALL_GROUPS];
    uint64_t pages;
    uint32_t pages_set[SMALL_SLOTS];
} small_run;

/* Opens device 0, loads and seals. On failure small_run_close is still due. */
tn_status small_run_open(small_run *run, const small_model *model, const tn_backend *backend, tn_error *err);
void small_run_close(small_run *run);

/* Consecutive tokens of one sequence within a batch. */
typedef struct small_span {
    uint32_t slot, cached_len, count;
    const int32_t *token;
} small_span;

/* Submits the spans as one batch and waits. Every token row is an output row: ret_logits [sum of counts, V] (NULL: not
 * wanted), ret_ids [sum of counts], greedy. */
tn_status small_run_step(small_run *run, const small_span *spans, uint32_t span_count, float *ret_logits,
                         int32_t *ret_ids, tn_error *err);
/* The first half of a step. */
tn_status small_run_submit(small_run *run, const small_span *spans, uint32_t span_count, bool logits,
                           uint64_t *ret_ticket, tn_error *err);

#endif
