/* sdk/interp/model.h: what the interpreter keeps of a compiled model. Private to sdk/interp.
 *
 * Device memory: one buffer per weight and constant, a few activation slots that values share by lifetime, one buffer
 * per KV group. Host memory: one arena, carved in model_carve; the plan is the same carving without memory, so the two
 * agree to the byte. Nothing is allocated after kv_reserve.
 */
#ifndef INTERP_MODEL_H
#define INTERP_MODEL_H

#include "tenon/interp.h"

#include <pthread.h>
#include <stdbool.h>

/* Everything but adapters. */
#define INTERP_CAN                                                                                                   \
    (TN_NEED_MASK | TN_NEED_EMBED | TN_NEED_SCORE | TN_NEED_PREV | TN_NEED_HIDDEN | TN_NEED_AXES | TN_NEED_PENALTY | \
     TN_NEED_BIAS | TN_NEED_LOGITS)

enum {
    INTERP_PAGE_TOKENS = 16,
    INTERP_IN_FLIGHT = 2,
    INTERP_TOP_MAX = 128,           /* top_logprobs of a batch */
    INTERP_BLOCK_BYTES = 256 << 10, /* of a weight fetched at a time; at least one row */
    INTERP_ROW_TILE = 32,           /* token rows that attend at a time */
    INTERP_INPUTS_MAX = 9
};

/* Marks bytes of an arena; with base NULL it only counts. */
typedef struct interp_carver {
    unsigned char *base;
    uint64_t used;
} interp_carver;
void *interp_carve(interp_carver *carver, uint64_t bytes);

typedef struct interp_weight {
    tn_buf buf;
    tn_enc enc;
    uint64_t n, k, rows_arrived;
} interp_weight;

typedef struct interp_kv {
    tn_kv_group shape;
    uint64_t handle, pages, layer_page_bytes;
    uint32_t *table; /* [max_seqs][table_stride], UINT32_MAX where nothing was set */
} interp_kv;

typedef struct interp_ticket {
    uint64_t id; /* 0: never used */
    uint32_t out_count, top;
    uint32_t *want; /* [max_outputs] */
    int32_t *token;
    float *logprob, *target_logprob;
    int32_t *top_id; /* [max_outputs * INTERP_TOP_MAX] */
    float *top_logprob;
    float *hidden; /* [max_outputs * M] */
    float *logits; /* [max_outputs * V] */
} interp_ticket;

typedef struct interp_limits {
    uint32_t max_tokens, max_seqs, max_outputs, max_model_len;
} interp_limits;

struct tn_model {
    const tn_ops_table *ops;
    tn_dev *dev; /* the wrapped table's */
    bool mapped; /* ops->map works */
    bool sealed;
    bool device_busy; /* run has been called since the last sync */
    bool device_ran;  /* the last node ran on the device */

    const tn_graph *graph; /* outlives the model */
    const tn_graph_api *api;
    interp_limits limits;
    uint32_t table_stride; /* page table entries of a sequence */

    /* Lifetimes of activations: value -> slot. */
    uint32_t slot_count;
    uint32_t *value_slot;  /* [value_count] */
    uint64_t *slot_bytes;  /* [value_count] */
    uint32_t *slot_expiry; /* [value_count] scratch: node after which the slot is free */
    uint32_t *last_use;    /* [value_count] node */

    void *arena;
    tn_buf *value_buf; /* [value_count] */
    uint64_t *slot_handle;
    interp_weight *weight; /* [weight_count] */
    interp_kv *kv;         /* [kv_group_count] */
    interp_ticket ticket[INTERP_IN_FLIGHT];
    uint64_t next_ticket, next_wait;

    /* Step scratch. */
    int32_t *token;              /* [max_tokens] resolved ids */
    uint32_t *slot_seen;         /* [max_seqs] batch checks */
    float *weight_block;         /* one block of a weight, while loading and, if not mapped, in steps */
    void *in[INTERP_INPUTS_MAX]; /* activations fetched from a device that is not mapped */
    void *out;
    double *attention_acc; /* [INTERP_ROW_TILE * H * Dv] */
    void *attention_state; /* [INTERP_ROW_TILE * H] interp_attention_state */
    float *page;           /* one fetched KV page */
    float *moe;            /* one row's router logits, gate, up and expert output */
    uint32_t *moe_chosen;
    float *sample_row; /* [V] */
    void *sample_scratch;

    pthread_mutex_t load_lock; /* guards ops->put and weight_block while weights arrive */
};

/* ---- layout.c ---- */

/* What a model takes: the parts of tn_memplan that are ours. */
typedef struct interp_bytes {
    uint64_t weights, slots, host, logits;
} interp_bytes;
/* Checks the request, fills graph, limits and lifetimes of a zeroed model, and returns its sizes. ret_bytes may be
 * NULL. */
tn_status interp_layout(tn_model *model, const tn_compile *compile, interp_bytes *ret_bytes, tn_error *err);
void interp_layout_finish(tn_model *model);
/* Sets every host pointer of a laid-out model; with no base, only counts. *ret_logits: the share of tickets and
 * sampler. */
void interp_model_carve(tn_model *model, interp_carver *carver, uint64_t *ret_logits);
/* TN_E_UNSUPPORTED if the reference kernels cannot run the node. */
tn_status interp_node_check(const tn_graph *graph, const tn_graph_api *api, uint32_t index, tn_error *err);
/* Bytes of a weight's device buffer. */
uint64_t interp_weight_bytes(uint64_t n, uint64_t k);
uint64_t interp_page_bytes(const tn_kv_group *group); /* of one layer */
tn_node interp_node(const tn_model *model, uint32_t index);
tn_value interp_value(const tn_model *model, uint32_t index);

/* ---- node.c ---- */

/* Runs one node on the device, or on the host if the device declines. rows: of its first output. batch: with resolved
 * tokens. [step] */
tn_status interp_run_node(tn_model *model, uint32_t index, const tn_batch *batch, tn_error *err);
/* Where device memory lies for the host, of a device that has `map`. */
tn_status interp_map(tn_model *model, tn_buf buf, void **ret, tn_error *err);
/* A host view of device memory: mapped, or fetched into scratch. */
tn_status interp_read(tn_model *model, tn_buf buf, uint64_t bytes, void *scratch, const void **ret, tn_error *err);

/* ---- attention.c ---- */
/* x: host views of q, k, v and sinks; y: [token_count, H * Dv]. Writes k and v into their pages, then attends. [step]
 */
tn_status interp_run_attention(tn_model *model, const tn_node *node, const tn_batch *batch, const float *const *x,
                               float *y, tn_error *err);

/* ---- moe.c ---- */

/* Rows of a weight matrix, or as many of them as fit into scratch if the device is not mapped. */
typedef struct interp_matrix {
    tn_model *model;
    tn_buf buf;
    uint64_t k; /* columns */
    tn_error *err;
} interp_matrix;
/* y[r, i] = x[r] . w[row0 + i] + bias[i] for i < count; x: [rows, k]; y's rows are y_stride apart. */
tn_status interp_matrix_multiply(const interp_matrix *matrix, const float *x, uint32_t rows, uint64_t row0,
                                 uint64_t count, const float *bias, float *y, uint64_t y_stride);
/* Floats of tn_model.moe that a MOE node needs, and elements of moe_chosen. */
uint64_t interp_moe_floats(const tn_model *model, const tn_node *node);
/* x, y: [rows, M]; router_bias: [E] or NULL; in: where all inputs live. [step] */
tn_status interp_run_moe(tn_model *model, const tn_node *node, const tn_buf *in, const float *x,
                         const float *router_bias, uint32_t rows, float *y, tn_error *err);

/* ---- batch.c ---- */

/* Checks every count, index and promise of tenon/backend.h. TN_E_ARGUMENT names the first that does not hold. */
tn_status interp_batch_check(tn_model *model, const tn_batch *batch, tn_error *err);

/* ---- step.c ---- */
tn_status interp_submit(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err);
tn_status interp_wait(tn_model *model, uint64_t ticket, tn_result *result, tn_error *err);

#endif
