/* plugins/cuda_tp/model.h: a device group and a compiled model, private to the plugin.
 *
 * One thread per rank enqueues steps on its device's stream; submit checks and packs a batch once, in memory that all
 * ranks copy from. Weights arrive on the core's threads. Per rank there is one allocation for everything but KV, and
 * one per KV group.
 */
#ifndef CUDA_TP_MODEL_H
#define CUDA_TP_MODEL_H

#include "collective.h"
#include "device_api.h"
#include "one_shot.h"
#include "program.h"

#include <pthread.h>

enum { RANKS_MAX = 64, IN_FLIGHT = 2, STAGING_BYTES = 4 << 20 };

#define CUDA_TP_CAN                                                                                              \
    ((uint32_t)(TN_NEED_MASK | TN_NEED_EMBED | TN_NEED_SCORE | TN_NEED_PREV | TN_NEED_HIDDEN | TN_NEED_PENALTY | \
                TN_NEED_BIAS | TN_NEED_LOGITS))

struct tn_dev {
    const device_api *api;
    collective *ranks;            /* NULL: one rank */
    uint32_t world, first, count; /* ranks; this process has `count` of them, the first of which is `first` */
    uint32_t ordinal[RANKS_MAX];  /* [count] */
    pthread_mutex_t lock;
    /* under lock: */
    tn_model *model; /* whose waits abort must end; one at a time */
};

/* ---- what a step reads: one layout in host memory (per ticket) and on every rank ---- */

typedef struct attention_inputs {
    cuda_attention_task *task; /* [task_limit] */
    uint32_t *task_count, *item_count;
    uint32_t *item, *item_partial; /* [partial_limit], [partial_limit + 1] */
} attention_inputs;

typedef struct step_inputs {
    int32_t *token, *position;                  /* [max_tokens] */
    uint32_t *row_slot, *kv_position;           /* [max_tokens] */
    uint32_t *out_row, *want, *sample_position; /* [max_outputs] */
    uint32_t *out_count;
    attention_inputs attention[GROUPS_MAX];
    uint64_t copied; /* bytes up to here are copied every step; the rest as far as it is used: */
    float *embed;    /* [max_tokens, M] */
    float *temperature, *top_p, *min_p, *repetition, *presence, *frequency; /* [max_outputs] */
    uint32_t *top_k, *choice;
    uint64_t *seed;
    int32_t *score_target;
    uint32_t *mask;                   /* [max_outputs, (V + 31) / 32] */
    uint32_t *bias_row, *seen_row;    /* [max_outputs + 1] */
    int32_t *bias_token, *seen_token; /* [bias_limit], [seen_limit] */
    float *bias_value;
    uint32_t *seen_count;
} step_inputs;

/* What a step leaves, likewise. */
typedef struct step_outputs {
    int32_t *id;
    float *logprob, *target_logprob;
    int32_t *top_id;
    float *top_logprob;
} step_outputs;

typedef struct step_sizes {
    uint32_t task_limit, partial_limit, mask_words;
    uint64_t bias_limit, seen_limit; /* of a batch */
    uint64_t input_bytes, output_bytes;
} step_sizes;

/* Limits that follow from a program. */
step_sizes step_sizes_of(const program *p);
/* Sets pointers into base, or with base NULL only counts; both return the bytes. */
uint64_t step_inputs_carve(const program *p, const step_sizes *sizes, uint8_t *base, step_inputs *ret);
uint64_t step_outputs_carve(const program *p, uint8_t *base, step_outputs *ret);

/* A batch on its way: host memory that the device copies from and to. */
typedef struct ticket {
    uint64_t id; /* 0: never used */
    bool pending;
    uint32_t token_count, out_count, top_count, wants; /* wants: all rows' together */
    bool has_embed, has_prev;
    tn_sample sample; /* which arrays are there; pointers into host inputs */
    uint32_t bias_count, seen_count;
    uint8_t *memory; /* inputs, then outputs */
    step_inputs in;
    step_outputs out;
    /* Page-table changes: runs of entries of one slot. */
    uint32_t *delta_page; /* [delta_limit] */
    struct table_run {
        uint32_t group, at, first, count; /* entries [at, at + count) become delta_page[first..] */
    } * run;
    uint32_t run_count;
    float *hidden, *logits; /* host, [max_outputs, M], [max_outputs, V]; touched when somebody wants them */
} ticket;

/* Where things are on a rank: one allocation. */
typedef struct rank_memory {
    uint8_t *weights, *activations;
    float *partial, *split; /* of attention; of products, [split_floats] */
    uint8_t *input_base, *output_base;
    step_inputs in;
    step_outputs out;
    uint32_t *table[GROUPS_MAX]; /* [max_seqs, table_stride] */
    float *logits, *work;
    uint8_t *comms;                                       /* of one_shot.h */
    uint8_t *matmul;                                      /* its workspace */
    uint64_t activation_total, logits_total, comms_total; /* bytes by line of the plan */
    uint64_t bytes;
} rank_memory;

/* Sets pointers into base, or with base NULL only counts. */
void rank_memory_carve(const program *p, const step_sizes *sizes, uint8_t *base, rank_memory *ret);

typedef struct rank {
    tn_model *model;
    uint32_t index, ordinal; /* among all ranks, those of other processes included; its device */
    pthread_t thread;
    bool started;
    cuda_stream stream;
    uint8_t *base; /* rank_memory.bytes */
    rank_memory memory;
    uint8_t *kv[GROUPS_MAX];
    device_event *done[IN_FLIGHT];
    matmul *matmul; /* NULL: our kernels alone */
    /* Loading: */
    pthread_mutex_t load_lock;
    cuda_stream load_stream;
    uint8_t *staging, *host_staging; /* STAGING_BYTES or a panel of the widest weight; gone after seal */
    /* Steps: */
    uint64_t enqueued; /* tickets; under model.lock */
} rank;

typedef struct kv_pages {
    uint64_t pages; /* 0 until reserved */
} kv_pages;

struct tn_model {
    tn_dev *dev;
    program *p;
    step_sizes sizes;
    rank *ranks; /* [dev->count] */
    one_shot one_shot;
    uint64_t staging_bytes;
    uint64_t *rows_loaded; /* [weight_count] */
    bool sealed;
    kv_pages kv[GROUPS_MAX];
    uint32_t *slot_mark; /* [max_seqs] of batch checks */
    uint64_t delta_limit;
    ticket tickets[IN_FLIGHT];
    uint64_t next_ticket, next_wait; /* ids */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock: */
    uint64_t posted; /* tickets handed to the ranks' threads */
    bool stopping;
    tn_status failure; /* of the first rank that failed */
    tn_error failure_err;
};

/* ---- weights.c ---- */
/* Every rank's part of a block, repacked. [ctl, any thread] */
tn_status weights_store(tn_model *m, uint32_t id, const tn_planes *planes, tn_error *err);

/* ---- batch.c ---- */
/* Holds a batch to what memory safety and the answer depend on. */
tn_status batch_check(tn_model *m, const tn_batch *batch, tn_error *err);
/* Packs a checked batch into the ticket. */
void batch_pack(tn_model *m, const tn_batch *batch, ticket *t);

/* ---- run.c ---- */
/* Where a LINEAR step's matrices are on the rank. */
matmul_place run_product_place(rank *r, const step *s);
/* Enqueues a packed batch on the rank's stream: copies, steps, sampling, results. [device thread] */
tn_status run_step(rank *r, const ticket *t, tn_error *err);

/* ---- group.c ---- */
tn_status ranks_start(tn_model *m, tn_error *err);
/* Ends the threads; those that were never started are fine. */
void ranks_stop(tn_model *m);
/* The first failure of any rank, or TN_OK. */
tn_status ranks_check(tn_model *m, tn_error *err);
/* Hands the ticket to all ranks. */
void ranks_post(tn_model *m);
/* Whether every rank has done all tickets up to `id`. Remembers, as ranks_fail, a failure that this finds. */
bool ranks_are_done(tn_model *m, uint64_t id);
/* Until every rank has done the ticket, one has failed, or the group is aborted. */
tn_status ranks_wait(tn_model *m, const ticket *t, tn_error *err);
/* Remembers the first failure and ends all waits. [any] */
void ranks_fail(tn_model *m, tn_status status, const char *message);

#endif
