/* tests/bench/engine_client.h: a model served by this process and one client of it, for measuring through tn.engine as
 * a front end would. What goes wrong ends the program with a sentence.
 */
#ifndef BENCH_ENGINE_CLIENT_H
#define BENCH_ENGINE_CLIENT_H

#include "tenon/embed.h"

typedef struct engine_client {
    tn_runtime *runtime;
    const tn_engine_table *api;
    tn_client *client;
    uint32_t vocab;
    uint64_t random; /* state */
} engine_client;

/* When requests came where, in seconds of a monotonic clock. */
typedef struct engine_progress {
    double first;           /* every request had its first token */
    double done_first;      /* one was done; */
    double last;            /* all were */
    uint64_t steady_tokens; /* that came between first and done_first */
} engine_progress;

double clock_now(void);

/* overrides: as for tn_runtime_open. */
void engine_client_open(engine_client *c, const char *const *overrides);
void engine_client_close(engine_client *c);
/* Ids that no earlier call has given, so that nothing of them is cached. */
void engine_client_random(engine_client *c, int32_t *ids, uint32_t count);
/* A greedy request for exactly max_new tokens. */
void engine_client_submit(engine_client *c, const int32_t *ids, uint32_t count, uint32_t max_new);
/* Until `requests` are done. */
engine_progress engine_client_drain(engine_client *c, uint32_t requests);

#endif
