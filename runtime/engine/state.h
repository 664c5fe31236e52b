/* runtime/engine/state.h: the parts of one engine, and who may touch them.
 *
 * Constant after start: config, limits, tables. Under `mutex`: the queue of submitted requests and the flags beside it.
 * Atomics name their partner. Everything else belongs to the loop thread.
 */
#ifndef ENGINE_STATE_H
#define ENGINE_STATE_H

#include "engine/batch_builder.h"
#include "engine/grammar_desk.h"
#include "engine/page_table.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "engine/stats.h"

#include <pthread.h>

enum { STEPS_IN_FLIGHT_MAX = 2 };

/* A step between plan and result. */
typedef struct step {
    schedule schedule;
    step_result result;
    uint64_t ticket;
    int64_t submitted_ns;
} step;

struct tn_engine {
    engine_config config;
    const tn_graph *graph;
    const tn_graph_api *graph_api;
    const tn_backend *backend;
    tn_model *model;
    const tn_tokenizer_table *tokenizer;
    const tn_tok *tok;
    request_limits limits;
    uint32_t tok_vocab;        /* ids from here on have no text */
    uint32_t event_text_bytes; /* room for the text of any event */
    uint64_t request_bytes_limit;
    uint32_t common_tokens; /* least common multiple of the page sizes; 0: unwieldy */
    int64_t created;
    char *memory;  /* everything below that is an array */
    uint8_t *ends; /* [(V + 7) / 8] tokens that end generation */

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;     /* the loop waits for woken */
    pthread_cond_t drained;  /* outstanding became 0 */
    bool woken, stopping;    /* mutex */
    request_queue submitted; /* mutex */
    grammar_desk desk;       /* requests whose grammar is compiled first */
    uint32_t outstanding;    /* mutex; requests between submit and DONE */
    uint32_t client_count;   /* mutex */
    tn_status failure;       /* mutex; not TN_OK: the engine has failed, for this reason: */
    char reason[256];        /* mutex */
    atomic_bool failed, draining;
    atomic_bool cancel_pending;  /* some request's cancelled was set; the loop looks for it */
    atomic_uint waiting_count;   /* requests not accepted yet; submit adds, the loop subtracts */
    atomic_ullong request_bytes; /* of all requests not freed; client threads */
    atomic_ullong next_id, seed_counter;

    stats stats;

    /* Loop thread. */
    prefix_cache cache;
    page_table pages;
    scheduler scheduler;
    batch_builder builder;
    step step[STEPS_IN_FLIGHT_MAX];
    uint32_t depth, in_flight, oldest; /* steps under way: oldest, oldest + 1 ... modulo depth */
    uint32_t row_limit; /* rows of the next step; below max_num_batched_tokens while the backend is short of memory */
    int64_t now_ns;     /* when this round began */
    request *live;
    char *piece; /* [piece_bytes] */
};

/* Hands the loop a request that is entered already. Under the mutex. */
void engine_pass_on(tn_engine *engine, request *request);
/* Makes the loop look at its queues. [any, no lock held] */
void engine_wake(tn_engine *engine);
/* Body of the loop thread. */
void *step_loop(void *engine);

#endif
