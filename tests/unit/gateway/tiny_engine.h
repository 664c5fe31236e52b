/* tiny_engine.h: the tests' tiny model as real engines in this process, each behind a real socket, and what their
 * events say as text, so that two of them can be compared.
 */
#ifndef TESTS_TINY_ENGINE_H
#define TESTS_TINY_ENGINE_H

#include "../cmocka_test.h"
#include "../scratch_directory.h"
#include "gateway/gateway.h"
#include "instance/instance.h"
#include "tenon/frontend.h"

typedef struct tiny_engine {
    settings *settings;
    instance instance;
    tn_host host;
    tn_front *front; /* NULL: not behind a socket */
    char socket[96];
} tiny_engine;

/* socket: NULL: none. sets: "section.key=value" over the defaults, NULL-terminated, or NULL. */
void tiny_engine_start(tiny_engine *tiny, const char *socket, const char *const *sets);
void tiny_engine_stop(tiny_engine *tiny);
/* Settings for a route of the same model, named `name`; the caller destroys them. */
settings *tiny_settings(const char *name);

/* What events say, a line each. */
typedef struct event_log {
    char *text; /* owned */
    size_t count, capacity;
    uint32_t events, tokens, done;
    tn_status status;  /* of the last DONE */
    char words[512];   /* its text */
    uint64_t accepted; /* ACCEPTED events */
    uint64_t seed;
} event_log;

void event_log_take(event_log *log, const tn_event *event);
void event_log_finish(event_log *log);
/* Polls until `done` requests are over; fails the test after 30 s. cap: of one poll. */
void event_log_collect(event_log *log, const tn_engine_table *api, tn_client *client, uint32_t done, uint32_t cap);
/* One request on a client of its own, to its end. */
event_log event_log_run(const tn_engine_table *api, tn_engine *engine, const tn_request *request, uint32_t queue_cap);

/* A prompt that the tiny model takes. */
tn_request tiny_request(const int32_t *prompt, uint32_t n, uint32_t max_new);
extern const int32_t tiny_prompt[12];

#endif
