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

/* ---- what a step reads: one block, packed on the host and copied to every rank in one piece ---- */

/* Rows that a step's arrays and launches are cut for: those of its batch, or of the bucket whose graph it runs. Rows
 * beyond the batch's are padding: they write no keys and values, attend to nothing and choose no experts. */
typedef struct step_shape {
    uint32_t tokens, outputs;
} step_shape;

typedef struct attention_inputs {
    cuda_attention_task *task; /* [task_limit of the shape] */
    uint32_t *task_count, *item_count;
    uint32_t *item, *item_partial; /* [partial_limit of the shape], [that + 1] */
} attention_inputs;

/* Places follow from the shape alone. What the sampler reads lies behind the changes, as far as a batch has it. */
typedef struct step_inputs {
    uint32_t *token_count, *change_count; /* what is real, beside the counts of attention */
    int32_t *token, *position;            /* [tokens] */
    uint32_t *row_slot, *kv_position;     /* [tokens] */
    uint32_t *out_row;                    /* [outputs] */
    attention_inputs attention[GROUPS_MAX];
    cuda_page_change *change; /* [*change_count], to the end of the block */
} step_inputs;

/* What a step leaves, likewise: arrays as long as its batch asks for, the ids first. */
typedef struct step_outputs {
    int32_t *id;
    float *logprob, *target_logprob;
    int32_t *top_id;
    float *top_logprob;
} step_outputs;

/* Limits of every batch. */
typedef struct step_sizes {
    uint32_t partial_limit, spans_max, mask_words; /* spans_max: of a sequence */
    uint64_t change_limit, bias_limit, seen_limit;
    uint64_t block_bytes, output_bytes;
} step_sizes;

/* Limits that follow from a program. */
step_sizes step_sizes_of(const program *p);
/* Partial results that a group's rows may leave. */
uint32_t step_partial_limit(const step_sizes *sizes, step_shape shape);
/* Sets pointers into base, or with base NULL only counts; both return the bytes up to the changes. */
uint64_t step_inputs_carve(const program *p, const step_sizes *sizes, step_shape shape, uint8_t *base,
                           step_inputs *ret);
/* Arrays of a block or of results begin on as many bytes. */
static inline uint64_t step_align(uint64_t bytes)
{
    return (bytes + 15) / 16 * 16;
}
/* Sets pointers into base; returns the bytes, the top log-probs last. */
uint64_t step_outputs_carve(uint32_t outputs, uint32_t top, uint8_t *base, step_outputs *ret);

/* What launches of attention are told of the tasks: exact, or for a graph an upper bound. */
typedef struct attention_grid {
    uint32_t tasks, items;
    bool one_span;
} attention_grid;

/* TICKET_LOAD: kernels of a step of the shape are made ready, and ranks meet as they would in it; TICKET_CAPTURE: a
 * step of padding is run, then kept as a graph. */
enum { TICKET_STEP, TICKET_LOAD, TICKET_CAPTURE };

/* A batch on its way: host memory that the device copies from and to. */
typedef struct ticket {
    uint64_t id; /* 0: never used */
    bool pending;
    uint32_t kind, graph; /* graph: index of the bucket it runs or becomes; NONE */
    step_shape shape;
    uint32_t token_count, out_count, top_count, wants; /* wants: all rows' together */
    bool has_embed;
    uint8_t *block;
    uint64_t block_used;
    step_inputs in;                   /* into the block, and so are: */
    uint32_t *want, *sample_position; /* [out_count] */
    tn_sample sample;                 /* arrays that the batch has */
    attention_grid grid[GROUPS_MAX];
    float *embed; /* [max_tokens, M] */
    uint8_t *results;
    step_outputs out;
    float *hidden, *logits; /* host, [max_outputs, M], [max_outputs, V]; touched when somebody wants them */
} ticket;

/* Where things are on a rank: one allocation. */
typedef struct rank_memory {
    uint8_t *weights, *activations;
    float *partial, *split; /* of attention; of products, [split_floats] */
    uint8_t *block, *results;
    float *embed;    /* [max_tokens, M] */
    uint32_t *table; /* groups' [max_seqs, table_stride] one after the other */
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
    device_graph *graph[GRAPHS_MAX]; /* by bucket; NULL until it is captured */
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
    uint32_t *slot_mark;          /* [max_seqs] of batch checks */
    uint32_t *change_mark;        /* [groups, max_seqs] likewise: entries up to which a batch has changes */
    bool graph_ready[GRAPHS_MAX]; /* by bucket: every rank has it */
    bool graph_refused;           /* the ranks meet in a way that no graph can hold: said once */
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
/* Packs a checked batch into the ticket, for the graph that suits it if there is one. */
void batch_pack(tn_model *m, const tn_batch *batch, ticket *t);
/* As a batch of no rows, padded to the shape, with launches as wide as its graph's. */
void batch_pack_padding(const tn_model *m, step_shape shape, ticket *t);

/* ---- run.c ---- */
/* Where a LINEAR step's matrices are on the rank. */
matmul_place run_product_place(rank *r, const step *s);
/* What the launches of a step depend on: nothing of the batch but what lies on the device, so that a graph can keep it.
 */
typedef struct step_run {
    rank *r;
    step_shape shape;
    step_inputs in;     /* on the device */
    const float *embed; /* or NULL */
    attention_grid grid[GROUPS_MAX];
} step_run;
/* Enqueues everything from page-table changes to logits. context: a step_run. [device thread] */
tn_status run_program(const void *context, tn_error *err);
/* What the sampler, or one that asked for whole rows, reads afterwards. */
const float *run_hidden(const rank *r);

/* ---- step.c ---- */
/* Enqueues a ticket on the rank's stream: the block, a graph or launches, sampling, results. [device thread] */
tn_status step_enqueue(rank *r, const ticket *t, tn_error *err);

/* ---- warmup.c ---- */
/* Rows of bucket `index`, and of everything that its graph is cut for. */
step_shape warmup_shape(const program *p, uint32_t tokens);
/* Makes ready, on every rank, what steps of any size launch, before pages take the rest of the memory. */
tn_status warmup_load(tn_model *m, tn_error *err);
/* A step of `tokens` rows of padding; if that is a bucket, it becomes a graph. */
tn_status warmup_run(tn_model *m, uint32_t tokens, tn_error *err);

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
/* Until every rank has done all tickets, at most a few seconds; false: a rank never will, it seems. */
bool ranks_settle(tn_model *m);
/* Remembers the first failure and ends all waits. [any] */
void ranks_fail(tn_model *m, tn_status status, const char *message);

#endif
