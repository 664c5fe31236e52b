/* fake_engine.h: engine, chat and stats tables that follow a script, so that a front end can be tested alone.
 *
 * Its tokenizer has one token per byte, plus <s> (256, beginning), </s> (257, ends generation) and <x> (258, special).
 * Every request answers with `reply`, byte by byte, from a thread of its own, as whole UTF-8 like the real engine.
 * Knobs may be set before a request is sent, and `endless` at any time.
 */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include "tenon/frontend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { FAKE_BOS = 256, FAKE_EOS = 257, FAKE_SPECIAL = 258, FAKE_VOCAB = 260, FAKE_CONTEXT = 256 };

typedef struct fake_request {
    tn_request request; /* as submitted; pointers are copies below */
    int32_t tokens[4096];
    char stop[16][64], cache_salt[64];
    int32_t stop_token[16], allowed[16];
    tn_bias bias[16];
    bool cancelled;
} fake_request;

struct tn_engine {
    tn_engine_info info;
    const char *reply;
    uint32_t delay_us;       /* before each token */
    atomic_bool endless;     /* repeats the reply up to max_new */
    tn_status submit_status; /* what submit answers, TN_OK to accept */
    tn_status refuse_status; /* DONE before ACCEPTED, as a gateway refuses; TN_OK: none */
    tn_status done_status;   /* how a request ends */
    uint32_t fail_after;     /* tokens before done_status strikes */
    bool no_template;
    tn_health health;

    /* Under lock. */
    pthread_mutex_t lock;
    fake_request last; /* the last one submitted */
    uint32_t submitted, cancelled, running;
    char rendered[8192]; /* the last JSON given to render */
};

extern const tn_sampling_defaults fake_author; /* what an author may wish: nothing in it is neutral */
void fake_engine_init(tn_engine *engine);
void fake_engine_finish(tn_engine *engine); /* after its client is closed */
/* The longest that a test waits for what must come, in steps of 10 ms: a minute. */
enum { FAKE_WAIT_STEPS = 6000, FAKE_STEP_US = 10000 };
/* Waits until no request runs; false if some still do. */
bool fake_engine_settle(tn_engine *engine);
/* Waits until `count` requests have been submitted in all; false if there are fewer. */
bool fake_engine_takes(tn_engine *engine, uint32_t count);
/* submitted, read under lock. */
uint32_t fake_engine_submitted(tn_engine *engine);
/* cancelled, read under lock. */
uint32_t fake_engine_cancelled(tn_engine *engine);

extern const tn_engine_table fake_engine_table;
extern const tn_chat_table fake_chat_table;
extern const tn_stats_table fake_stats_table;

#endif
