/* tenon/backend.h: "tn.backend", a device that compiles a graph once and then runs batches of token rows.
 *
 * Life: device -> accepts/plan/check [probe] -> open -> compile -> weight x N -> seal -> kv_reserve per group ->
 * warmup per bucket -> {submit, wait, kv_copy} x many -> model_free -> close.
 * The backend never sees a request: only token rows, stable sequence slots and KV page ids.
 */
#ifndef TENON_BACKEND_H
#define TENON_BACKEND_H

#include "tenon/graph.h"
#include "tenon/plugin.h"
#include "tenon/sampling.h"

TN_BEGIN_DECLS

#define TN_BACKEND_ID "tn.backend/1"

typedef struct tn_dev tn_dev;     /* an opened device or device group; the backend's */
typedef struct tn_model tn_model; /* a compiled graph with weights and KV; the backend's */

/* Bits of tn_devinfo.flags. Append-only. */
enum { TN_DEVICE_DESCRIBED = 1u << 0 /* by settings, for planning: it is not here and cannot be opened */ };

/* A device as found, or as described in a settings file when it is not here. */
typedef struct tn_devinfo {
    uint32_t struct_size, ordinal;
    uint32_t score; /* higher is the better choice */
    uint32_t flags; /* TN_DEVICE_* */
    uint64_t mem_total, mem_free; /* bytes that a model may take: RAM for a CPU, limited by any cgroup */
    char name[64];
    char mem_domain[16]; /* "host" if it is the machine's RAM, which the core shares; else a name of its own */
    char features[128]; /* for people: "avx2 fma f16c, 2 threads" */
} tn_devinfo;
TN_SEALED(tn_devinfo, features);

/* device_count ranks of `world` are in this process: rank, rank + 1, ..., on these ordinals. Where there are others,
 * they are in processes that open the same group at about the same time and make the same calls in the same order;
 * results are read in the process of rank 0 alone. */
typedef struct tn_open {
    uint32_t struct_size, device_count, world, rank;
    const uint32_t *ordinal; /* device_count */
    const char *group_id;    /* names the group across processes; NULL for one process */
} tn_open;
TN_SEALED(tn_open, group_id);

/* What a model is compiled for. Everything is borrowed for the call, except graph, which outlives the model. */
typedef struct tn_compile {
    uint32_t struct_size, flags;
    const tn_graph *graph;
    const tn_graph_api *api;
    const tn_enc *weight_enc; /* encoding of each weight as it will arrive, weight_count entries of */
    uint32_t weight_enc_stride, batch_invariant; /* bytes; 1: results must not depend on the rest of the batch */
    uint32_t max_tokens;    /* token rows of one batch */
    uint32_t max_seqs;      /* sequences of one batch and number of slots */
    uint32_t max_outputs;   /* output rows of one batch */
    uint32_t max_model_len; /* tokens of one sequence */
    uint32_t kv_dtype;      /* TN_F16, TN_BF16, TN_F32; 0: the backend's choice */
    uint32_t bucket_count;
    const uint32_t *bucket; /* token counts worth specialising, ascending; warmup follows for each */
} tn_compile;
TN_SEALED(tn_compile, bucket);

/* Bytes of one rank. The first block is allocated by the backend's own hand and never exceeded. */
typedef struct tn_memplan {
    uint32_t struct_size, group_count; /* group_count: in, length of the arrays below */
    uint64_t weights;     /* resident after seal */
    uint64_t load_peak;   /* extra while weights arrive, gone after seal */
    uint64_t activations; /* scratch for max_tokens rows */
    uint64_t logits;      /* max_outputs rows and the sampler's scratch */
    uint64_t comms;       /* buffers for collectives */
    uint64_t reserve;     /* not allocated by us: contexts, stacks, captured graphs; an upper bound */
    uint32_t *page_tokens; /* per KV group: tokens of a page */
    uint64_t *page_bytes;  /* per KV group: bytes of a page over all its layers */
} tn_memplan;
TN_SEALED(tn_memplan, page_bytes);

/* Capabilities. A batch that needs a bit the backend lacks is refused before submit. */
enum {
    TN_NEED_MASK = 1u << 0,    /* tn_sample.mask */
    TN_NEED_ADAPTER = 1u << 1, /* tn_batch.adapter */
    TN_NEED_EMBED = 1u << 2,   /* tn_batch.embed */
    TN_NEED_SCORE = 1u << 3,   /* tn_sample.score_target */
    TN_NEED_PREV = 1u << 4,    /* tokens that point into an earlier ticket */
    TN_NEED_HIDDEN = 1u << 5,  /* TN_WANT_HIDDEN */
    TN_NEED_AXES = 1u << 6,    /* axis_count > 1 */
    TN_NEED_PENALTY = 1u << 7, /* repetition, presence, frequency */
    TN_NEED_BIAS = 1u << 8,    /* tn_sample.bias_* */
    TN_NEED_LOGITS = 1u << 9   /* TN_WANT_LOGITS */
};

/* What an output row returns besides its sampled token. */
enum {
    TN_WANT_LOGPROB = 1u << 0, /* of the chosen token */
    TN_WANT_TOP = 1u << 1,     /* the tn_sample.top_logprobs largest, descending, lowest id first among equals */
    TN_WANT_TARGET = 1u << 2,  /* log-prob of tn_sample.score_target */
    TN_WANT_HIDDEN = 1u << 3,  /* the row that enters LOGITS */
    TN_WANT_LOGITS = 1u << 4   /* raw logits */
};

/* A token row whose embedding is its row of tn_batch.embed rather than one of the table. */
#define TN_TOKEN_EMBED INT32_MIN

/* One step. Structure of arrays; all borrowed for the submit call. Token rows are grouped by sequence. */
typedef struct tn_batch {
    uint32_t struct_size, need; /* TN_NEED_* used below */
    uint64_t prev;              /* ticket that token = -1-j points into; 0: none */
    uint32_t token_count, seq_count, out_count, delta_count;
    uint32_t axis_count, reserved0; /* position axes, 1 for text */
    const int32_t *token;        /* [token_count]; -1-j: the token sampled by output row j of prev; or TN_TOKEN_EMBED */
    const int32_t *position;     /* [token_count * axis_count] */
    const uint32_t *seq_start;   /* [seq_count + 1] first token row of each sequence */
    const uint32_t *slot;        /* [seq_count] stable slot in 0..max_seqs-1, each at most once */
    const uint32_t *cached_len;  /* [seq_count] tokens already in KV; = position of the sequence's first row */
    const uint32_t *adapter;     /* [seq_count] or NULL */
    const float *embed;          /* [token_count * M], read where token is TN_TOKEN_EMBED; or NULL */
    const uint32_t *delta_group; /* [delta_count] page-table changes, applied before the step: */
    const uint32_t *delta_slot;  /*   table[group][slot][index] = page */
    const uint32_t *delta_index; /*   index counts pages of the sequence: position / page_tokens; it ascends within */
                                 /*   group and slot, so that no entry changes twice */
    const uint32_t *delta_page;
    const uint32_t *out_row;  /* [out_count] token rows whose output is wanted, ascending */
    const uint32_t *out_want; /* [out_count] TN_WANT_* */
    const tn_sample *sample;  /* NULL: all rows greedy */
} tn_batch;
TN_SEALED(tn_batch, sample);

/* Caller's buffers; NULL where no row wants it. Elements of rows that did not ask are left untouched. */
typedef struct tn_result {
    uint32_t struct_size, out_count; /* out_count: in, capacity in rows; must be >= the ticket's */
    int32_t *id;                     /* [out_count] sampled token; -1: NaN logits or an empty mask */
    float *logprob, *target_logprob; /* [out_count] */
    int32_t *top_id;                 /* [out_count * top_logprobs] */
    float *top_logprob;
    float *hidden; /* [out_count * M] */
    float *logits; /* [out_count * V] */
} tn_result;
TN_SEALED(tn_result, logits);

typedef struct tn_kvmove {
    uint32_t src, dst; /* page ids of one group */
} tn_kvmove; /* frozen: element of an array */

typedef struct tn_backend {
    uint32_t struct_size, flags;
    uint32_t can;           /* TN_NEED_* it honours */
    uint32_t max_in_flight; /* tickets between submit and wait, >= 1 */
    /* Describes device `index`; TN_E_NOT_FOUND past the last. Mandatory. [probe] */
    tn_status (*device)(uint32_t index, tn_devinfo *ret_info, tn_error *err);
    /* TN_OK if weight value `value` may arrive in `enc` and stay in it or in something no larger; *ret_cost orders
     * encodings of equal fidelity, lower is better. TN_E_UNSUPPORTED otherwise. bf16 FLOAT must be accepted for
     * every weight. Mandatory. [probe] */
    tn_status (*accepts)(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                         const tn_enc *enc, uint32_t *ret_cost, tn_error *err);
    /* Bytes per rank. No device needed. Mandatory. [probe] */
    tn_status (*plan)(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                      tn_error *err);
    /* Names unsupported nodes before a weight is read: fills bad[0..*bad_count), in: capacity, out: found.
     * TN_OK when none. NULL: everything in the registry this core knows is supported. [probe] */
    tn_status (*check)(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad, uint32_t *bad_count,
                       tn_error *err);
    /* Mandatory. [ctl] */
    tn_status (*open)(const tn_open *open, tn_dev **ret_dev, tn_error *err);
    /* NULL is fine. After every model is freed. Mandatory. [ctl] */
    void (*close)(tn_dev *dev);
    /* Allocates weights and scratch, as planned. Mandatory. [ctl] */
    tn_status (*compile)(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err);
    /* Copies (and may repack) one block of a weight. Blocks of different weights may come from several threads at
     * once; blocks of one weight come in ascending row order from one. Mandatory. [ctl] */
    tn_status (*weight)(tn_model *model, uint32_t weight_id, const tn_planes *planes, tn_error *err);
    /* All weights have arrived; TN_E_ARGUMENT names the first that has not. Mandatory. [ctl] */
    tn_status (*seal)(tn_model *model, tn_error *err);
    /* Allocates `pages` pages of KV group `group`, once. Mandatory. [ctl] */
    tn_status (*kv_reserve)(tn_model *model, uint32_t group, uint64_t pages, tn_error *err);
    /* Touches memory and prepares batches of `tokens` rows. NULL: nothing to do. [ctl] */
    tn_status (*warmup)(tn_model *model, uint32_t tokens, tn_error *err);
    /* Starts a step; copies its inputs. TN_E_AGAIN at max_in_flight. Mandatory. [step] */
    tn_status (*submit)(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err);
    /* Waits for a ticket, in submit order, and fills result. A failed step fails here. Mandatory. [step] */
    tn_status (*wait)(tn_model *model, uint64_t ticket, tn_result *result, tn_error *err);
    /* Copies whole pages, ordered with submits. NULL: the core never shares a page it would have to copy. [step] */
    tn_status (*kv_copy)(tn_model *model, uint32_t group, const tn_kvmove *moves, uint32_t count, tn_error *err);
    /* Makes a blocked wait return TN_E_CANCELLED, now and from then on. NULL: waits are always short. [any] */
    void (*abort)(tn_dev *dev);
    /* NULL is fine; accepts half-loaded models. Mandatory. [ctl] */
    void (*model_free)(tn_model *model);
} tn_backend;
TN_SEALED(tn_backend, model_free);

TN_END_DECLS
#endif
