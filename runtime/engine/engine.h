/* runtime/engine/engine.h: an engine around one loaded model: scheduler, KV pages, prefix cache, sampler, step loop.
 *
 * engine_create starts the loop thread; the tables in tenon/engine.h, stats.h are the only way in. The loop thread owns
 * all sequence state and neither mallocs nor frees after start.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "tenon/backend.h"
#include "tenon/engine.h"
#include "tenon/stats.h"

#include <stdbool.h>

/* Sizes and policies. Computed from settings and plan by the caller; all within their stated ranges. */
typedef struct engine_config {
    uint32_t max_model_len, max_num_seqs, max_num_batched_tokens;
    uint32_t max_outputs; /* output rows of a step; >= max_num_seqs */
    uint32_t max_waiting; /* queued requests before TN_E_AGAIN */
    /* Limits of one request; 0: 128, 20, 16, 256, 1024, 64. */
    uint32_t max_choices, max_top_logprobs, max_stop, max_stop_bytes, max_bias, max_stop_tokens;
    bool enable_prefix_caching;
    bool batch_invariant;
    uint64_t seed; /* of the generator that draws seeds for requests without one; 0: from the system */
    uint32_t kv_group_count;
    const uint32_t *page_tokens; /* per KV group, from the plan */
    const uint64_t *kv_pages;    /* per KV group, as reserved */
    const char *const *served_names;
    const char *model_path, *architecture;
    tn_sampling_defaults defaults; /* told to front ends, no business of the engine's */
    void *owner; /* comes back from engine_owner */
} engine_config;

/* Bytes the engine itself allocates at its start for this config, a line of the plan. *ret_requests: what submitted
 * requests may take beyond that, together and at most, and what it takes to mask the tokens of those with grammars. */
uint64_t engine_host_bytes(const engine_config *config, uint32_t vocab, uint64_t *ret_requests);

/* model: sealed, with KV reserved. Everything borrowed until engine_destroy, config copied. [ctl] */
tn_status engine_create(const engine_config *config, const tn_graph *graph, const tn_graph_api *graph_api,
                        const tn_backend *backend, tn_model *model, const tn_tokenizer_table *tokenizer,
                        const tn_tok *tok, tn_engine **ret_engine, tn_error *err);
void *engine_owner(const tn_engine *engine); /* [any] */
/* Refuses new work at once; returns true once nothing runs or ms have passed. [ctl] */
bool engine_drain(tn_engine *engine, uint32_t ms);
void engine_destroy(tn_engine *engine); /* stops the loop; clients must be closed; NULL is fine. [ctl] */

extern const tn_engine_table engine_table;
extern const tn_stats_table engine_stats_table;

#endif
