/* tests/unit/engine_bench.h: an engine on the fake backend, requests run to their end, and what they must have
 * produced. */
#ifndef TESTS_ENGINE_BENCH_H
#define TESTS_ENGINE_BENCH_H

#include "cmocka_test.h"
#include "engine/engine.h"
#include "engine/state.h"
#include "fake_backend.h"

typedef struct bench {
    engine_config config;
    uint32_t page_tokens[FAKE_GROUPS_MAX], window[FAKE_GROUPS_MAX];
    uint64_t pages[FAKE_GROUPS_MAX];
    const tn_backend *backend;
    tn_graph_api graph_api;
    fake_model *model;
    tn_engine *engine;
    tn_client *client;
    uint32_t queue_cap;
} bench;

enum { ANSWER_TOKENS_MAX = 2048, ANSWER_TEXT_MAX = 8192, ANSWER_CHOICES_MAX = 8, ANSWER_TOP_MAX = 8 };

typedef struct answer_choice {
    uint32_t count, finish;
    int32_t stop_token;
    char stop[64];
    int32_t token[ANSWER_TOKENS_MAX];
    float logprob[ANSWER_TOKENS_MAX];
    char text[ANSWER_TEXT_MAX];
    uint64_t text_bytes;
} answer_choice;

/* All events of a request, in the order rules of tenon/engine.h (asserted while collecting). */
typedef struct answer {
    uint64_t id, seed, cached_tokens, generated_tokens;
    bool accepted, done;
    tn_status status;
    char error[512];
    uint32_t choices_ended, prompt_count;
    float prompt_logprob[ANSWER_TOKENS_MAX];
    int32_t prompt_top[ANSWER_TOKENS_MAX];
    answer_choice choice[ANSWER_CHOICES_MAX];
} answer;

/* Defaults: one full group of pages of 16, 64 pages, 8 sequences, 64 rows. */
bench bench_defaults(void);
void bench_start(bench *bench);
/* Checks that no rule was broken, all pages are free again and stops. */
void bench_stop(bench *bench);
/* Pages that nobody references, over all groups; waits until the loop has settled. */
uint64_t bench_free_pages(const bench *bench);
uint64_t bench_all_pages(const bench *bench);

/* A prompt of n tokens, pseudo-random from a seed, without special tokens. */
void make_prompt(int32_t *token, uint32_t n, uint64_t seed);
tn_request make_request(const int32_t *token, uint32_t n, uint32_t max_new);

answer *answer_create(void);
/* Submits; asserts success. */
uint64_t bench_submit(bench *bench, const tn_request *request);
/* Polls until all of `count` answers (by id) are done. */
void bench_collect(bench *bench, answer *const *answers, uint32_t count);
/* Enters one event into an answer. */
void answer_take(answer *answer, const tn_event *event);
/* Submit and collect; the caller frees. */
answer *bench_run(bench *bench, const tn_request *request);
/* Computes without an engine what one choice of the request must generate; returns the number of tokens. */
uint32_t expected_tokens(const tn_request *request, uint64_t seed, uint32_t choice, uint32_t max_model_len,
                         int32_t *ret_token, float *ret_logprob);
void assert_same_answer(const answer *a, const answer *b);
/* Compares every choice with expected_tokens. */
void assert_expected(const bench *bench, const tn_request *request, const answer *answer);
double bench_stat(const bench *bench, const char *name, const char *label_value);

#endif
