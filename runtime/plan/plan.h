/* runtime/plan/plan.h: how many bytes a model takes and whether they are there: before a weight is read.
 *
 * `tenon plan` prints it and the engine allocates by it: one function for both. Device bytes come from the backend's
 * own plan(), the engine's from engine_host_bytes(); the rest of the budget becomes KV pages.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "engine/engine.h"
#include "model/config.h"
#include "settings/settings.h"
#include "tenon/backend.h"

enum { PLAN_KV_GROUPS_MAX = 16, PLAN_BUCKETS_MAX = 64 };

/* Bytes of one rank unless said otherwise. */
typedef struct memory_plan {
    tn_devinfo device;
    uint64_t budget;               /* what the settings allow this model to take of the device */
    double gpu_memory_utilization; /* the share that this is */

    uint64_t weights, activations, logits, comms; /* the backend's resident parts */
    uint64_t engine, tokenizer;                   /* host: request and sequence storage; vocabulary */
    uint64_t load_peak;                           /* extra while loading, gone before serving */
    uint64_t reserve;                             /* bounded, not allocated by us */
    uint64_t requests;                            /* host: what queued and running requests may take, at most */
    uint64_t kv;                                  /* all pages of all groups */

    uint32_t world; /* ranks: each takes as much */
    uint32_t kv_group_count;
    uint32_t page_tokens[PLAN_KV_GROUPS_MAX];
    uint64_t page_bytes[PLAN_KV_GROUPS_MAX], kv_pages[PLAN_KV_GROUPS_MAX];
    uint32_t kept_tokens[PLAN_KV_GROUPS_MAX]; /* of a sequence at its largest: max_model_len; of a window, less */
    uint64_t kv_token_bytes;                  /* of one more token of context */
    uint64_t kv_tokens;         /* tokens of sequences of max_model_len, whole and in part, that there is room for */
    uint64_t kv_sequence_bytes; /* one sequence of max_model_len at its largest */
    uint64_t full_sequences;    /* such sequences at once; 0: the plan does not fit */
    uint64_t multiply_adds;     /* of one token row, matrices only, output matrix included */

    uint32_t max_model_len, max_num_seqs, max_num_batched_tokens, max_outputs, max_waiting;
    uint32_t kv_dtype;
    uint32_t bucket_count, bucket[PLAN_BUCKETS_MAX]; /* rows of batches that the backend prepares for, ascending */
    bool batch_invariant, enable_prefix_caching;
} memory_plan;

/* Asked in place of what the settings say, where not 0. */
typedef struct plan_wishes {
    uint32_t world, max_model_len, max_num_seqs, kv_dtype;
    double gpu_memory_utilization;
} plan_wishes;

/* What the plan is made for. Everything is borrowed for the call. */
typedef struct plan_input {
    const settings *settings;
    const model_config *config;
    const tn_graph *graph;
    const tn_graph_api *graph_api;
    const tn_enc *weight_enc; /* [weight_count] */
    const tn_backend *backend;
    const tn_devinfo *device;
    uint64_t staging_bytes;   /* of weights_load */
    uint64_t tokenizer_bytes; /* resident, host */
    /* Wishes of one-shot commands, over the settings; 0: none. */
    uint32_t context_max, seqs_max, outputs_min;
    plan_wishes wishes;
} plan_input;

/* Fills the plan. TN_E_MEMORY: it does not fit; the message has the numbers and the nearest settings that do (no err:
 * they are not looked for), and ret_plan is filled all the same, for printing. [any] */
tn_status plan_make(const plan_input *input, memory_plan *ret_plan, tn_error *err);
/* Resident bytes while serving (without reserve), and the most at any time (with load_peak). */
uint64_t plan_resident_bytes(const memory_plan *plan);
uint64_t plan_peak_bytes(const memory_plan *plan);
/* Everything but KV that a device must hold, the reserve included. */
uint64_t plan_fixed_bytes(const memory_plan *plan);
/* All that a device must have for it, at any time. */
uint64_t plan_device_bytes(const memory_plan *plan);
/* Whether the device's memory is the machine's RAM. */
bool plan_is_on_host(const memory_plan *plan);
/* RAM of a process with `ranks` of the ranks, at any time, without what drivers take for themselves. */
uint64_t plan_host_bytes(const memory_plan *plan, uint32_t ranks);
/* Sequences of `length` tokens that the pages hold at once. */
uint64_t plan_sequences(const memory_plan *plan, uint64_t length);
/* The compile request that the plan was made for; borrows its buckets. */
tn_compile plan_compile(const plan_input *input, const memory_plan *plan);
/* "1.50 GiB"; text holds 16 bytes. Returns text. */
char *plan_format_bytes(uint64_t bytes, char text[16]);

#endif
