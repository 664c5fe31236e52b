/* tests/reference/model_rig.h: a checkpoint loaded into a backend, without an engine: tests drive it batch by batch.
 *
 * Every call asserts success. Pages are handed out in a scrambled order, so that an implementation that ignores the
 * page table fails.
 */
#ifndef TESTS_MODEL_RIG_H
#define TESTS_MODEL_RIG_H

#include "model/weights.h"

enum { RIG_GROUPS_MAX = 4, RIG_SLOTS_MAX = 8, RIG_RANKS_MAX = 8 };

typedef struct rig_limits {
    uint32_t max_tokens, max_seqs, max_outputs, max_model_len;
    uint32_t kv_dtype;                  /* 0: the backend's choice */
    void (*edit)(model_config *config); /* NULL, or changes what was read */
    uint32_t world;                     /* ranks, on devices 0..; 0: one */
    bool one_device;                    /* all ranks on device 0 */
    bool batch_varies;                  /* compiled without batch_invariant */
    uint32_t float_type;                /* as weight_source.float_type */
    bool dummy;                         /* made-up weights: the directory has a config.json alone */
    const tn_quant_table *over_dummy;   /* what stands between those and the core; NULL: nothing */
    const uint32_t *bucket;             /* bucket_count, borrowed */
    uint32_t bucket_count;
} rig_limits;

typedef struct model_rig {
    checkpoint *checkpoint;
    weight_source weights;
    model_config config;
    tn_graph *graph;
    const tn_graph_api *api;
    tn_enc *enc;
    const tn_backend *backend;
    tn_dev *dev;
    tn_model *model;
    rig_limits limits;
    uint32_t page_tokens[RIG_GROUPS_MAX];
    uint64_t page_bytes[RIG_GROUPS_MAX];
    tn_memplan plan;
    uint64_t pages;
    uint32_t pages_set[RIG_SLOTS_MAX]; /* page table entries that a slot has been given */
    bool turned[RIG_SLOTS_MAX];        /* it is given them in reverse */
} model_rig;

void rig_open(model_rig *rig, const char *path, const tn_quant_table *quant, const tn_backend *backend,
              rig_limits limits);
void rig_close(model_rig *rig);
/* warmup of every bucket. */
void rig_warm_up(model_rig *rig);

/* One run of tokens of one sequence within a batch. */
typedef struct rig_run {
    uint32_t slot, cached_len, count;
    const int32_t *token;
} rig_run;
/* Submits the runs as one batch and waits: logits [sum of counts, V] of every token row. */
void rig_step(model_rig *rig, const rig_run *runs, uint32_t run_count, float *ret_logits);

/* The sequence in `slot` is gone: what runs there next begins at position 0 and is given other pages for
 * each position. */
void rig_forget(model_rig *rig, uint32_t slot);

/* Bytes that the CPU backend may take for the weights if those that the checkpoint has in codes stay in them: with rows
 * padded to 16, columns to 32, scales of up to 4 bytes, a permutation for each part, and arrays that begin on cache
 * lines. Asserts that they do stay; *ret_packed counts them. */
uint64_t rig_weight_bytes_max(const model_rig *rig, uint32_t *ret_packed);

/* Log-prob of token `id` under a row of logits. */
double rig_logprob(const float *row, uint32_t vocab, int32_t id);

#endif
