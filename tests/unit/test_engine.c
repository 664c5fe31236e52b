/* test_engine.c: what a client is promised: events in order, refusals that name the field, ends that free everything.
 */
#include "engine_bench.h"

#include "base/sampler.h"

#include <math.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void wait_for_steps(const bench *bench, uint32_t steps)
{
    for (int i = 0; i < 20000 && atomic_load(&bench->model->steps) < steps; i++)
        usleep(500);
    assert_true(atomic_load(&bench->model->steps) >= steps);
}

/* ---- answers ---- */

static void test_one_request_generates_the_expected_tokens(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[40];
    bench_start(&bench);
    make_prompt(prompt, 40, 1);
    tn_request request = make_request(prompt, 40, 50);
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_LOGPROBS;
    answer *answer = bench_run(&bench, &request);
    assert_expected(&bench, &request, answer);
    assert_int_equal(answer->generated_tokens, 50);
    free(answer);
    bench_stop(&bench);
}

static void test_max_new_is_capped_at_the_window(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[500];
    bench_start(&bench);
    make_prompt(prompt, 500, 1);
    tn_request request = make_request(prompt, 500, 100000);
    request.flags = TN_REQ_IGNORE_EOS;
    answer *answer = bench_run(&bench, &request);
    assert_int_equal(answer->choice[0].count, 12);
    assert_int_equal(answer->choice[0].finish, TN_FINISH_LENGTH);
    assert_expected(&bench, &request, answer);
    free(answer);

    request = make_request(prompt, 500, 12);
    request.token_count = 500;
    bench_stop(&bench);
}

static void test_prompt_scores_match_the_model(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[100];
    bench_start(&bench);
    make_prompt(prompt, 100, 4);
    for (uint32_t max_new = 0; max_new < 3; max_new++) {
        tn_request request = make_request(prompt, 100, max_new);
        request.flags = TN_REQ_PROMPT_LOGPROBS;
        request.top_logprobs = 3;
        answer *answer = bench_run(&bench, &request);
        assert_int_equal(answer->status, TN_OK);
        assert_int_equal(answer->prompt_count, 99);
        assert_int_equal(answer->cached_tokens, 0);
        uint64_t chain = 0;
        for (uint32_t p = 0; p < 99; p++) {
            float logits[FAKE_VOCAB], target;
            char scratch[1 << 16] __attribute__((aligned(64)));
            int32_t id, next = prompt[p + 1], top[3];
            float top_logprob[3];
            tn_sample sample = {.struct_size = sizeof sample, .score_target = &next, .top_logprobs = 3};
            tn_result result = {.struct_size = sizeof result,
                                .out_count = 1,
                                .id = &id,
                                .target_logprob = &target,
                                .top_id = top,
                                .top_logprob = top_logprob};
            chain = fake_chain(chain, prompt[p], p);
            fake_logits(chain, logits);
            sampler_row(&sample, 0, p + 1, TN_WANT_TARGET | TN_WANT_TOP, logits, FAKE_VOCAB, scratch, &result);
            assert_memory_equal(&target, &answer->prompt_logprob[p], sizeof target);
            assert_int_equal(top[0], answer->prompt_top[p]);
        }
        assert_int_equal(answer->choice[0].count, max_new);
        assert_int_equal(answer->choice[0].finish, TN_FINISH_LENGTH);
        free(answer);
    }
    bench_stop(&bench);
}

static void test_scoring_one_token_needs_no_step(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[1] = {7};
    bench_start(&bench);
    tn_request request = make_request(prompt, 1, 0);
    request.flags = TN_REQ_PROMPT_LOGPROBS;
    answer *answer = bench_run(&bench, &request);
    assert_true(answer->accepted);
    assert_int_equal(answer->status, TN_OK);
    assert_int_equal(answer->choice[0].finish, TN_FINISH_LENGTH);
    assert_int_equal(atomic_load(&bench.model->steps), 0);
    free(answer);
    bench_stop(&bench);
}

static void test_a_drawn_seed_is_told_and_repeats_the_answer(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[10];
    bench_start(&bench);
    make_prompt(prompt, 10, 4);
    tn_request request = make_request(prompt, 10, 30);
    request.temperature = 1.5f;
    request.flags = TN_REQ_IGNORE_EOS;
    answer *first = bench_run(&bench, &request), *second = bench_run(&bench, &request);
    assert_int_not_equal(first->seed, second->seed);
    assert_memory_not_equal(first->choice[0].token, second->choice[0].token, 30 * sizeof(int32_t));
    request.flags |= TN_REQ_SEED;
    request.seed = first->seed;
    answer *again = bench_run(&bench, &request);
    assert_int_equal(again->seed, first->seed);
    assert_same_answer(first, again);
    free(first);
    free(second);
    free(again);
    bench_stop(&bench);
}

/* ---- text ---- */

/* Runs a request whose tokens are dictated. */
static answer *run_script(const int32_t *script, uint32_t count, tn_request *request)
{
    bench bench = bench_defaults();
    int32_t prompt[4] = {50, 51, 52, 53};
    request->struct_size = sizeof *request;
    request->token = prompt;
    request->token_count = 4;
    request->user = 77;
    if (request->max_new == 0)
        request->max_new = count;
    bench_start(&bench);
    bench.model->script_count = count;
    bench.model->script_from = 4;
    bench.model->script = script;
    answer *answer = bench_run(&bench, request);
    bench_stop(&bench);
    return answer;
}

static int32_t byte_token(char c)
{
    return FAKE_BYTE + (unsigned char)c;
}

enum {
    W_STOP = FAKE_WORD,
    W_HELLO,
    W_ST,
    W_OP,
    W_THE_END,
    W_F09F,
    W_9880,
    W_C3,
    W_A9,
    W_FF,
    W_ABC,
    W_BCD,
    W_END,
    W_EURO
};

static void test_a_stop_string_across_tokens_is_cut(void **state)
{
    (void)state;
    const int32_t script[] = {W_HELLO, byte_token(' '), W_ST, W_OP, W_HELLO};
    const char *stop[] = {"never", "stop"};
    tn_request request = {.stop = stop, .stop_count = 2};
    answer *answer = run_script(script, 5, &request);
    assert_string_equal(answer->choice[0].text, " hello ");
    assert_int_equal(answer->choice[0].finish, TN_FINISH_STOP);
    assert_string_equal(answer->choice[0].stop, "stop");
    assert_int_equal(answer->choice[0].count, 4);
    free(answer);

    request.flags = TN_REQ_KEEP_STOP;
    answer = run_script(script, 5, &request);
    assert_string_equal(answer->choice[0].text, " hello stop");
    free(answer);
}

static void test_text_held_back_for_a_stop_string_is_told_at_the_end(void **state)
{
    (void)state;
    const int32_t script[] = {W_HELLO, W_ST};
    const char *stop[] = {"stop"};
    tn_request request = {.stop = stop, .stop_count = 1};
    answer *answer = run_script(script, 2, &request);
    assert_string_equal(answer->choice[0].text, " hellost");
    assert_int_equal(answer->choice[0].finish, TN_FINISH_LENGTH);
    free(answer);
}

static void test_split_characters_are_joined_and_broken_ones_replaced(void **state)
{
    (void)state;
    const int32_t script[] = {W_F09F, W_9880, W_C3, W_A9, W_FF, W_C3, W_ABC, W_F09F};
    tn_request request = {0};
    answer *answer = run_script(script, 8, &request);
    assert_string_equal(answer->choice[0].text, "\xF0\x9F\x98\x80\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD"
                                                "abc\xEF\xBF\xBD");
    free(answer);
}

static void test_end_and_stop_tokens_end_without_text(void **state)
{
    (void)state;
    const int32_t script[] = {W_HELLO, FAKE_EOS, W_HELLO, W_ABC, W_HELLO};
    tn_request request = {0};
    answer *answer = run_script(script, 5, &request);
    assert_string_equal(answer->choice[0].text, " hello");
    assert_int_equal(answer->choice[0].count, 2);
    assert_int_equal(answer->choice[0].stop_token, FAKE_EOS);
    assert_int_equal(answer->choice[0].finish, TN_FINISH_STOP);
    free(answer);

    const int32_t stop_token[] = {W_ABC};
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_SHOW_SPECIAL;
    request.stop_token = stop_token;
    request.stop_token_count = 1;
    answer = run_script(script, 5, &request);
    assert_string_equal(answer->choice[0].text, " hello</s> hello");
    assert_int_equal(answer->choice[0].stop_token, W_ABC);
    free(answer);
}

static void test_no_stop_rule_fires_before_min_new(void **state)
{
    (void)state;
    const int32_t script[] = {W_STOP, W_STOP, W_STOP, W_HELLO};
    const char *stop[] = {"stop"};
    tn_request request = {.stop = stop, .stop_count = 1, .min_new = 2};
    answer *answer = run_script(script, 4, &request);
    assert_string_equal(answer->choice[0].text, "stopstop");
    assert_int_equal(answer->choice[0].count, 3);
    free(answer);

    const int32_t ends[] = {FAKE_EOS, FAKE_EOS, FAKE_EOS, FAKE_EOS};
    tn_request early = {.min_new = 3};
    answer = run_script(ends, 4, &early);
    assert_int_equal(answer->choice[0].count, 4);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_not_equal(answer->choice[0].token[i], FAKE_EOS);
    assert_int_equal(answer->choice[0].stop_token, FAKE_EOS);
    free(answer);
}

/* ---- refusals ---- */

static void assert_refused(bench *bench, const tn_request *request, tn_status expected, const char *field)
{
    tn_error error = TN_ERROR_INIT;
    uint64_t id;
    tn_status status = engine_table.submit(bench->client, request, &id, &error);
    assert_int_equal(status, expected);
    if (!strstr(error.msg, field))
        fail_msg("\"%s\" does not name %s", error.msg, field);
}

static void test_bad_fields_are_refused_by_name(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[600], bad_token[1] = {FAKE_VOCAB}, minus[1] = {-1}, eos[1] = {FAKE_EOS};
    const char *empty[] = {""}, *broken[] = {"\xC3"}, *long_stop[] = {"0123456789012345678901234567890123456789"};
    tn_bias bias[1] = {{5, NAN}};
    char salt[2000];
    static const char large[70000] = "a";
    bench_start(&bench);
    make_prompt(prompt, 600, 1);
    memset(salt, 'x', sizeof salt);
    salt[sizeof salt - 1] = 0;
    tn_request good = make_request(prompt, 10, 10);

#define REFUSE(field, change)                                   \
    do {                                                        \
        tn_request request = good;                              \
        change;                                                 \
        assert_refused(&bench, &request, TN_E_ARGUMENT, field); \
    } while (0)
    REFUSE("struct_size", request.struct_size = 8);
    REFUSE("flags", request.flags = 1u << 30);
    REFUSE("token", request.token_count = 0);
    REFUSE("token", request.token = NULL);
    REFUSE("token[0]", (request.token = bad_token, request.token_count = 1));
    REFUSE("token[0]", (request.token = minus, request.token_count = 1));
    REFUSE("512", request.token_count = 512);
    REFUSE("600", request.token_count = 600);
    REFUSE("token_count", request.token_count = UINT64_MAX);
    REFUSE("max_new", request.max_new = 0);
    REFUSE("min_new", request.min_new = 11);
    REFUSE("n_choices", request.n_choices = 9);
    REFUSE("n_choices", request.n_choices = 1000000);
    REFUSE("temperature", request.temperature = -1);
    REFUSE("temperature", request.temperature = NAN);
    REFUSE("top_p", request.top_p = 1.1f);
    REFUSE("min_p", request.min_p = -0.1f);
    REFUSE("repetition", request.repetition = -2);
    REFUSE("presence", request.presence = INFINITY);
    REFUSE("frequency", request.frequency = NAN);
    REFUSE("top_logprobs", (request.top_logprobs = 6, request.flags = TN_REQ_LOGPROBS));
    REFUSE("top_logprobs", request.top_logprobs = 1);
    REFUSE("stop_count", request.stop_count = 5);
    REFUSE("stop", request.stop_count = 1);
    REFUSE("stop[0]", (request.stop = empty, request.stop_count = 1));
    REFUSE("stop[0]", (request.stop = broken, request.stop_count = 1));
    REFUSE("stop[0]", (request.stop = long_stop, request.stop_count = 1));
    REFUSE("stop_token[0]", (request.stop_token = bad_token, request.stop_token_count = 1));
    REFUSE("bias[0]", (request.bias = bias, request.bias_count = 1));
    REFUSE("bias_count", request.bias_count = 17);
    REFUSE("allowed", (request.allowed = minus, request.allowed_count = 1));
    REFUSE("allowed", (request.allowed = minus, request.allowed_count = 0));
    REFUSE("min_new", (request.allowed = eos, request.allowed_count = 1, request.min_new = 1));
    REFUSE("cache_salt", request.cache_salt = salt);
    REFUSE("grammar_kind", request.grammar_kind = 99);
    REFUSE("grammar is NULL", (request.grammar_kind = TN_GRAMMAR_REGEX, request.grammar_bytes = 5));
    REFUSE("grammar is not valid",
           (request.grammar_kind = TN_GRAMMAR_REGEX, request.grammar = broken[0], request.grammar_bytes = 1));
    REFUSE("grammar_bytes",
           (request.grammar_kind = TN_GRAMMAR_REGEX, request.grammar = large, request.grammar_bytes = sizeof large));
#undef REFUSE
    good.struct_size = offsetof(tn_request, grammar); /* a client from before there were any */
    good.grammar_kind = 99;
    answer *answer = bench_run(&bench, &good);
    assert_int_equal(answer->status, TN_OK);
    free(answer);
    bench_stop(&bench);
}

static void test_a_request_larger_than_the_pool_is_refused_with_numbers(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[100];
    bench.pages[0] = 7;
    bench_start(&bench);
    make_prompt(prompt, 100, 1);
    tn_request request = make_request(prompt, 100, 14);
    assert_refused(&bench, &request, TN_E_ARGUMENT, "take 8 KV pages of 16 tokens, the cache has 7");
    request.max_new = 13; /* 112 tokens are ever in KV: 7 pages */
    request.flags = TN_REQ_IGNORE_EOS;
    answer *answer = bench_run(&bench, &request);
    assert_expected(&bench, &request, answer);
    free(answer);
    bench_stop(&bench);
}

static void test_what_the_backend_cannot_do_is_refused(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    tn_backend plain = fake_backend;
    int32_t prompt[4] = {5, 6, 7, 8}, allowed[1] = {9};
    tn_bias bias[1] = {{5, 1}};
    plain.can = 0;
    bench.backend = &plain;
    bench_start(&bench);
    tn_request request = make_request(prompt, 4, 4);
    request.presence = 1;
    assert_refused(&bench, &request, TN_E_UNSUPPORTED, "presence");
    request.presence = 0;
    request.allowed = allowed;
    request.allowed_count = 1;
    assert_refused(&bench, &request, TN_E_UNSUPPORTED, "allowed");
    request.allowed_count = 0;
    request.allowed = NULL;
    request.bias = bias;
    request.bias_count = 1;
    assert_refused(&bench, &request, TN_E_UNSUPPORTED, "bias");
    request.bias_count = 0;
    request.min_new = 1;
    assert_refused(&bench, &request, TN_E_UNSUPPORTED, "min_new");
    request.min_new = 0;
    request.flags = TN_REQ_PROMPT_LOGPROBS;
    assert_refused(&bench, &request, TN_E_UNSUPPORTED, "prompt log-probs");
    bench_stop(&bench);
}

/* ---- failures ---- */

static void test_nan_logits_fail_only_that_request(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t good[20], bad[20];
    bench_start(&bench);
    make_prompt(good, 20, 1);
    make_prompt(bad, 20, 2);
    bad[19] = 290;
    atomic_store(&bench.model->nan_token, 290);
    tn_request first = make_request(good, 20, 30), second = make_request(bad, 20, 30);
    second.n_choices = 3;
    answer *answers[2] = {answer_create(), answer_create()};
    answers[0]->id = bench_submit(&bench, &first);
    answers[1]->id = bench_submit(&bench, &second);
    bench_collect(&bench, answers, 2);
    assert_expected(&bench, &first, answers[0]);
    assert_int_equal(answers[1]->status, TN_E_INTERNAL);
    assert_int_equal(answers[1]->choices_ended, 3);
    assert_int_equal(answers[1]->choice[0].finish, TN_FINISH_ERROR);
    assert_non_null(strstr(answers[1]->error, "logits"));
    free(answers[0]);
    free(answers[1]);
    bench_stop(&bench);
}

/* What spoils a row may lie in the pages, too. */
static void test_pages_of_a_spoilt_row_are_not_remembered(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[32];
    bench_start(&bench);
    make_prompt(prompt, 32, 1);
    prompt[31] = 290;
    tn_request request = make_request(prompt, 32, 5);
    atomic_store(&bench.model->nan_token, 290);
    answer *spoilt = bench_run(&bench, &request);
    assert_int_equal(spoilt->status, TN_E_INTERNAL);
    atomic_store(&bench.model->nan_token, -1);
    answer *again = bench_run(&bench, &request);
    assert_int_equal(again->cached_tokens, 0);
    assert_expected(&bench, &request, again);
    free(spoilt);
    free(again);
    bench_stop(&bench);
}

static tn_health health_of(const bench *bench)
{
    tn_health health = {.struct_size = sizeof health};
    assert_int_equal(engine_stats_table.health(bench->engine, &health), TN_OK);
    return health;
}

static void test_a_lost_device_ends_everything_and_says_so(void **state)
{
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead};
    (void)state;
    for (uint32_t b = 0; b < 2; b++) {
        bench bench = bench_defaults();
        int32_t prompt[20];
        answer *answers[12];
        bench.backend = backends[b];
        bench_start(&bench);
        atomic_store(&bench.model->fail_at, 6);
        make_prompt(prompt, 20, 1);
        tn_request request = make_request(prompt, 20, 100);
        request.flags = TN_REQ_IGNORE_EOS;
        uint32_t count = 0;
        for (; count < 12; count++) { /* later ones may already be refused */
            tn_error error = TN_ERROR_INIT;
            uint64_t id;
            request.n_choices = 1 + count % 3;
            if (engine_table.submit(bench.client, &request, &id, &error) != TN_OK)
                break;
            answers[count] = answer_create();
            answers[count]->id = id;
        }
        bench_collect(&bench, answers, count);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(answers[i]->status, TN_E_DEVICE_LOST);
            assert_int_equal(answers[i]->choice[0].finish, TN_FINISH_ERROR);
            assert_non_null(strstr(answers[i]->error, "fell off the bus"));
            free(answers[i]);
        }
        tn_health health = health_of(&bench);
        assert_int_equal(health.failed, 1);
        assert_int_equal(health.ready, 0);
        assert_non_null(strstr(health.reason, "fell off the bus"));
        assert_refused(&bench, &request, TN_E_DEVICE_LOST, "fell off the bus");
        bench_stop(&bench);
    }
}

static void test_a_stuck_step_shows_in_health_within_two_seconds(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[4] = {5, 6, 7, 8};
    bench_start(&bench);
    assert_int_equal(health_of(&bench).ready, 1);
    tn_request request = make_request(prompt, 4, 10);
    answer *answer = bench_run(&bench, &request);
    free(answer);
    atomic_store(&bench.model->hang, true);
    uint64_t id = bench_submit(&bench, &request);
    usleep(1900 * 1000);
    tn_health health = health_of(&bench);
    assert_int_equal(health.ready, 0);
    assert_int_equal(health.failed, 0);
    assert_true(health.heartbeat_age_ms >= 1500);
    assert_non_null(strstr(health.reason, "silent"));
    atomic_store(&bench.model->hang, false);
    answer = answer_create();
    answer->id = id;
    bench_collect(&bench, &answer, 1);
    assert_int_equal(health_of(&bench).ready, 1);
    free(answer);
    bench_stop(&bench);
}

static void test_an_idle_engine_is_ready_and_takes_no_cpu(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    clockid_t clock;
    struct timespec before, after;
    bench_start(&bench);
    assert_int_equal(pthread_getcpuclockid(bench.engine->thread, &clock), 0);
    usleep(20000);
    clock_gettime(clock, &before);
    usleep(1800 * 1000);
    clock_gettime(clock, &after);
    int64_t ns = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    assert_true(ns < 10000000);
    assert_int_equal(health_of(&bench).ready, 1);
    bench_stop(&bench);
}

/* ---- cancelling, closing, draining ---- */

static void test_cancelling_at_any_stage_frees_its_pages(void **state)
{
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    (void)state;
    for (uint32_t i = 0; i < 36; i++) {
        bench bench = bench_defaults();
        int32_t prompt[200];
        bench.backend = backends[i % 3];
        bench.config.max_num_batched_tokens = 32;
        bench.config.max_num_seqs = 4;
        bench_start(&bench);
        atomic_store(&bench.model->step_us, 300);
        make_prompt(prompt, 200, 1);
        tn_request request = make_request(prompt, 200, 200);
        request.flags = TN_REQ_IGNORE_EOS | (i % 2 == 0 ? TN_REQ_NO_CACHE : 0);
        request.n_choices = 1 + i % 4;
        request.temperature = 1;
        answer *answers[3];
        for (uint32_t a = 0; a < 3; a++) { /* one runs, the others may still wait */
            answers[a] = answer_create();
            answers[a]->id = bench_submit(&bench, &request);
        }
        wait_for_steps(&bench, i / 3);
        for (uint32_t a = 3; a-- > 0;)
            assert_int_equal(engine_table.cancel(bench.client, answers[a]->id), TN_OK);
        bench_collect(&bench, answers, 3);
        for (uint32_t a = 0; a < 3; a++) {
            assert_int_equal(answers[a]->status, TN_E_CANCELLED);
            assert_int_equal(answers[a]->choices_ended, request.n_choices);
            assert_int_equal(answers[a]->choice[0].finish, TN_FINISH_CANCELLED);
            assert_int_equal(engine_table.cancel(bench.client, answers[a]->id), TN_E_NOT_FOUND);
            free(answers[a]);
        }
        bench_stop(&bench);
    }
}

static void test_closing_a_client_ends_its_requests(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[50];
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 200);
    make_prompt(prompt, 50, 1);
    tn_request request = make_request(prompt, 50, 300);
    request.flags = TN_REQ_IGNORE_EOS;
    for (uint32_t i = 0; i < 20; i++)
        bench_submit(&bench, &request);
    wait_for_steps(&bench, 10);
    bench_stop(&bench);
}

static void test_a_full_queue_pushes_back(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[10];
    bench.config.max_num_seqs = 2;
    bench.config.max_waiting = 3;
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 1000);
    make_prompt(prompt, 10, 1);
    tn_request request = make_request(prompt, 10, 400);
    request.flags = TN_REQ_IGNORE_EOS;
    for (uint32_t i = 0; i < 2; i++)
        bench_submit(&bench, &request);
    while (bench_stat(&bench, "num_requests_running", NULL) < 2) /* until then they wait, too */
        usleep(1000);
    for (uint32_t i = 0; i < 3; i++)
        bench_submit(&bench, &request);
    assert_refused(&bench, &request, TN_E_AGAIN, "waiting");
    uint32_t seconds = engine_table.retry_after(bench.engine);
    assert_true(seconds >= 1 && seconds <= 60);
    bench_stop(&bench);
}

static void test_draining_refuses_new_work_and_ends_the_old(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[10];
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 2000);
    make_prompt(prompt, 10, 1);
    tn_request request = make_request(prompt, 10, 100);
    request.flags = TN_REQ_IGNORE_EOS;
    answer *answer = answer_create();
    answer->id = bench_submit(&bench, &request);
    assert_false(engine_drain(bench.engine, 10));
    assert_refused(&bench, &request, TN_E_AGAIN, "draining");
    assert_int_equal(health_of(&bench).draining, 1);
    assert_int_equal(health_of(&bench).ready, 0);
    assert_true(engine_drain(bench.engine, 20000));
    bench_collect(&bench, &answer, 1);
    assert_expected(&bench, &request, answer);
    free(answer);
    bench_stop(&bench);
}

/* ---- slow clients ---- */

static void test_a_slow_client_is_not_stepped_and_loses_nothing(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[40];
    bench.queue_cap = 3;
    bench_start(&bench);
    make_prompt(prompt, 40, 1);
    tn_request request = make_request(prompt, 40, 60);
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_PROMPT_LOGPROBS;
    request.n_choices = 2;
    answer *answer = answer_create();
    answer->id = bench_submit(&bench, &request);
    usleep(100 * 1000);
    assert_true(atomic_load(&bench.model->steps) <= 4); /* three prompt rows, then no room */
    bench_collect(&bench, &answer, 1);
    assert_expected(&bench, &request, answer);
    assert_int_equal(answer->prompt_count, 39);
    free(answer);
    bench_stop(&bench);
}

static void test_a_client_that_never_polls_blocks_nobody(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[100];
    tn_client *dead;
    tn_error error = TN_ERROR_INIT;
    uint64_t id;
    bench.pages[0] = 32;
    bench_start(&bench);
    assert_int_equal(engine_table.client_open(bench.engine, 8, &dead, &error), TN_OK);
    make_prompt(prompt, 100, 1);
    tn_request request = make_request(prompt, 100, 100);
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_NO_CACHE;
    for (uint32_t i = 0; i < 30; i++) /* takes all slots, all pages and all places ahead in the queue */
        assert_int_equal(engine_table.submit(dead, &request, &id, &error), TN_OK);
    usleep(300 * 1000);
    answer *answer = bench_run(&bench, &request);
    assert_expected(&bench, &request, answer);
    free(answer);
    engine_table.client_close(dead);
    bench_stop(&bench);
}

/* The pages of a client that does not poll go to one that waits, although a third, which runs on, keeps two steps under
 * way all the time. */
static void test_a_client_that_never_polls_blocks_nobody_while_others_run_ahead(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[200];
    tn_client *dead;
    tn_error error = TN_ERROR_INIT;
    uint64_t id;
    bool longest_ended = false, accepted = false;
    bench.backend = &fake_backend_ahead;
    bench.pages[0] = 38;
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 2000);
    make_prompt(prompt, 200, 1);
    tn_request request = make_request(prompt, 200, 100);
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_NO_CACHE;
    assert_int_equal(engine_table.client_open(bench.engine, 8, &dead, &error), TN_OK);
    for (uint32_t i = 0; i < 2; i++) /* 26 pages; after eight tokens there is no room for another */
        assert_int_equal(engine_table.submit(dead, &request, &id, &error), TN_OK);
    wait_for_steps(&bench, 8);
    /* The first takes 11 of the 12 pages that are left, in more than 300 ms, the second wants 13. */
    tn_request longest = make_request(prompt, 4, 170), waiting = make_request(prompt, 200, 2);
    longest.flags = waiting.flags = request.flags;
    uint64_t longest_id = bench_submit(&bench, &longest), waiting_id = bench_submit(&bench, &waiting);
    while (!accepted) {
        struct pollfd wait = {.fd = engine_table.event_fd(bench.client), .events = POLLIN};
        tn_event event = {.struct_size = sizeof event};
        assert_int_equal(poll(&wait, 1, 60000), 1);
        if (engine_table.poll(bench.client, &event, sizeof event, 1) == 0)
            continue;
        longest_ended |= event.kind == TN_EVENT_DONE && event.request == longest_id;
        accepted = event.kind == TN_EVENT_ACCEPTED && event.request == waiting_id;
    }
    assert_false(longest_ended);
    engine_table.client_close(dead);
    bench_stop(&bench);
}

static void test_the_event_fd_tells_whether_poll_has_something(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[4] = {5, 6, 7, 8};
    bench_start(&bench);
    struct pollfd wait = {.fd = engine_table.event_fd(bench.client), .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 0), 0);
    tn_request request = make_request(prompt, 4, 3);
    request.flags = TN_REQ_IGNORE_EOS;
    bench_submit(&bench, &request);
    uint32_t seen = 0;
    while (seen < 6) { /* ACCEPTED, 3 TOKEN, CHOICE, DONE */
        tn_event event = {.struct_size = sizeof event};
        assert_int_equal(poll(&wait, 1, 10000), 1);
        assert_int_equal(engine_table.poll(bench.client, &event, sizeof event, 1), 1);
        seen++;
    }
    assert_int_equal(poll(&wait, 1, 50), 0);
    bench_stop(&bench);
}

/* ---- the rest of the tables ---- */

static void test_info_and_stats_tell_what_happened(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[20];
    tn_engine_info info = {.struct_size = sizeof info};
    bench_start(&bench);
    assert_int_equal(engine_table.info(bench.engine, &info), TN_OK);
    assert_int_equal(info.vocab_size, FAKE_VOCAB);
    assert_int_equal(info.max_model_len, 512);
    assert_int_equal(info.max_choices, 8);
    make_prompt(prompt, 20, 1);
    tn_request request = make_request(prompt, 20, 7);
    request.flags = TN_REQ_IGNORE_EOS;
    for (uint32_t i = 0; i < 3; i++)
        free(bench_run(&bench, &request));
    assert_int_equal(bench_stat(&bench, "prompt_tokens_total", NULL), 60);
    assert_int_equal(bench_stat(&bench, "generation_tokens_total", NULL), 21);
    assert_int_equal(bench_stat(&bench, "request_success_total", "length"), 3);
    assert_int_equal(bench_stat(&bench, "request_success_total", "stop"), 0);
    assert_int_equal(bench_stat(&bench, "time_to_first_token_seconds", NULL), 3);
    assert_int_equal(bench_stat(&bench, "inter_token_latency_seconds", NULL), 18);
    assert_int_equal(bench_stat(&bench, "e2e_request_latency_seconds", NULL), 3);
    assert_int_equal(bench_stat(&bench, "request_queue_time_seconds", NULL), 3);
    assert_int_equal(bench_stat(&bench, "request_prefill_time_seconds", NULL), 3);
    assert_int_equal(bench_stat(&bench, "request_decode_time_seconds", NULL), 3);
    assert_int_equal(bench_stat(&bench, "iteration_tokens_total", NULL), 21);
    assert_int_equal(bench_stat(&bench, "cache_config_info", "16"), 1);
    bench_stop(&bench);
}

static void test_a_config_that_cannot_work_is_refused(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    tn_engine *engine = NULL;
    tn_error error = TN_ERROR_INIT;
    bench_start(&bench);
    engine_config config = bench.config;
    config.max_num_batched_tokens = 4;
    assert_int_equal(engine_create(&config, (const tn_graph *)bench.model, &bench.graph_api, bench.backend,
                                   (tn_model *)bench.model, &fake_tokenizer, NULL, &engine, &error),
                     TN_E_ARGUMENT);
    assert_non_null(strstr(error.msg, "max_num_batched_tokens is 4"));
    config = bench.config;
    config.max_bias = TN_BIAS_ROW_MAX; /* and as many stop tokens as by default, and those of the vocabulary */
    assert_int_equal(engine_create(&config, (const tn_graph *)bench.model, &bench.graph_api, bench.backend,
                                   (tn_model *)bench.model, &fake_tokenizer, NULL, &engine, &error),
                     TN_E_UNSUPPORTED);
    assert_non_null(strstr(error.msg, "2048 biases"));
    assert_null(engine);
    uint64_t requests;
    assert_true(engine_host_bytes(&bench.config, FAKE_VOCAB, &requests) > 30000);
    assert_true(requests > grammar_desk_tools_bytes(FAKE_VOCAB) + 100000);
    assert_in_range(grammar_desk_tools_bytes(131072), 10 << 20, 13 << 20); /* Tekken's tree and masks have 10 MB */
    engine_destroy(NULL);
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request_generates_the_expected_tokens),
        cmocka_unit_test(test_max_new_is_capped_at_the_window),
        cmocka_unit_test(test_prompt_scores_match_the_model),
        cmocka_unit_test(test_scoring_one_token_needs_no_step),
        cmocka_unit_test(test_a_drawn_seed_is_told_and_repeats_the_answer),
        cmocka_unit_test(test_a_stop_string_across_tokens_is_cut),
        cmocka_unit_test(test_text_held_back_for_a_stop_string_is_told_at_the_end),
        cmocka_unit_test(test_split_characters_are_joined_and_broken_ones_replaced),
        cmocka_unit_test(test_end_and_stop_tokens_end_without_text),
        cmocka_unit_test(test_no_stop_rule_fires_before_min_new),
        cmocka_unit_test(test_bad_fields_are_refused_by_name),
        cmocka_unit_test(test_a_request_larger_than_the_pool_is_refused_with_numbers),
        cmocka_unit_test(test_what_the_backend_cannot_do_is_refused),
        cmocka_unit_test(test_nan_logits_fail_only_that_request),
        cmocka_unit_test(test_pages_of_a_spoilt_row_are_not_remembered),
        cmocka_unit_test(test_a_lost_device_ends_everything_and_says_so),
        cmocka_unit_test(test_a_stuck_step_shows_in_health_within_two_seconds),
        cmocka_unit_test(test_an_idle_engine_is_ready_and_takes_no_cpu),
        cmocka_unit_test(test_cancelling_at_any_stage_frees_its_pages),
        cmocka_unit_test(test_closing_a_client_ends_its_requests),
        cmocka_unit_test(test_a_full_queue_pushes_back),
        cmocka_unit_test(test_draining_refuses_new_work_and_ends_the_old),
        cmocka_unit_test(test_a_slow_client_is_not_stepped_and_loses_nothing),
        cmocka_unit_test(test_a_client_that_never_polls_blocks_nobody),
        cmocka_unit_test(test_a_client_that_never_polls_blocks_nobody_while_others_run_ahead),
        cmocka_unit_test(test_the_event_fd_tells_whether_poll_has_something),
        cmocka_unit_test(test_info_and_stats_tell_what_happened),
        cmocka_unit_test(test_a_config_that_cannot_work_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
