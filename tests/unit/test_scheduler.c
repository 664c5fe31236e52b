/* test_scheduler.c: whatever shares the batch, however a prompt is cut, wherever its pages come from, the answer is the
 * one that the fake model gives to that prompt alone. */
#include "engine_bench.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REQUESTS = 24, PROMPT_MAX = 200 };

/* Prompts of many lengths, some sharing a beginning, sampled in many ways. */
typedef struct mixture {
    int32_t prompt[REQUESTS][PROMPT_MAX];
    int32_t allowed[150], stop_token[2];
    tn_bias bias[2];
    tn_request request[REQUESTS];
} mixture;

static mixture *make_mixture(void)
{
    mixture *mixture = calloc(1, sizeof *mixture);
    assert_non_null(mixture);
    for (int32_t i = 0; i < 150; i++)
        mixture->allowed[i] = FAKE_BYTE + i;
    mixture->stop_token[0] = 20;
    mixture->stop_token[1] = 21;
    mixture->bias[0] = (tn_bias){30, 3};
    mixture->bias[1] = (tn_bias){31, -100};
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t n = 1 + i * 37 % PROMPT_MAX;
        make_prompt(mixture->prompt[i], n, 5 + i);
        if (i % 3 == 0)
            make_prompt(mixture->prompt[i], n > 100 ? 100 : n, 5);
        tn_request request = make_request(mixture->prompt[i], n, 10 + i * 7 % 60);
        request.flags = TN_REQ_LOGPROBS | (i % 2 == 0 ? TN_REQ_IGNORE_EOS : 0);
        request.temperature = i % 4 == 0 ? 0 : 0.5f + (float)i / 10;
        request.top_k = i % 5 == 1 ? 20 : 0;
        request.top_p = i % 5 == 2 ? 0.9f : 0;
        request.min_p = i % 5 == 3 ? 0.05f : 0;
        request.repetition = i % 6 == 1 ? 1.3f : 0;
        request.presence = i % 6 == 2 ? 0.7f : 0;
        request.frequency = i % 6 == 3 ? 0.4f : 0;
        request.top_logprobs = i % 4;
        if (i % 7 == 2) {
            request.allowed = mixture->allowed;
            request.allowed_count = 150;
        }
        if (i % 7 == 3) {
            request.bias = mixture->bias;
            request.bias_count = 2;
            request.stop_token = mixture->stop_token;
            request.stop_token_count = 2;
            request.min_new = 5;
        }
        request.n_choices = i % 8 == 5 ? 3 : 0;
        mixture->request[i] = request;
    }
    return mixture;
}

/* Runs the mixture at once, the first step ending when all are there, and checks every answer. */
static void run_mixture(bench *bench)
{
    mixture *mixture = make_mixture();
    answer *answers[REQUESTS];

    atomic_store(&bench->model->hang, true);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        answers[i] = answer_create();
        answers[i]->id = bench_submit(bench, &mixture->request[i]);
    }
    atomic_store(&bench->model->hang, false);
    bench_collect(bench, answers, REQUESTS);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        assert_expected(bench, &mixture->request[i], answers[i]);
        free(answers[i]);
    }
    free(mixture);
}

static void test_requests_that_share_batches_get_their_own_answers(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    bench_start(&bench);
    run_mixture(&bench);
    assert_int_equal(atomic_load(&bench.model->most_seqs), 8);
    bench_stop(&bench);
}

static void test_answers_do_not_depend_on_the_chunk_size(void **state)
{
    static const uint32_t chunk[] = {1, 16, 64, 512};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        bench bench = bench_defaults();
        bench.config.max_num_batched_tokens = chunk[i];
        bench.config.max_num_seqs = chunk[i] < 8 ? chunk[i] : 8;
        bench_start(&bench);
        if (chunk[i] > 1) {
            run_mixture(&bench);
        } else {
            int32_t prompt[50];
            make_prompt(prompt, 50, 3);
            tn_request request = make_request(prompt, 50, 20);
            answer *answer = bench_run(&bench, &request);
            assert_expected(&bench, &request, answer);
            free(answer);
        }
        assert_true(atomic_load(&bench.model->largest_batch) <= chunk[i]);
        bench_stop(&bench);
    }
}

static void test_two_steps_in_flight_give_the_same_answers(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    bench.backend = &fake_backend_ahead;
    bench_start(&bench);
    assert_int_equal(bench.engine->depth, 2);
    run_mixture(&bench);
    bench_stop(&bench);
}

static void test_short_pools_preempt_and_change_nothing(void **state)
{
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        bench bench = bench_defaults();
        bench.backend = backends[i];
        bench.pages[0] = 18;
        bench_start(&bench);
        run_mixture(&bench);
        assert_true(bench_stat(&bench, "num_preemptions_total", NULL) > 0);
        bench_stop(&bench);
    }
}

static void test_short_lists_of_a_step_change_nothing(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    bench_start(&bench);
    bench.engine->pages.delta_capacity = 33; /* a whole sequence's and one more */
    bench.engine->builder.seen_capacity = 301;
    run_mixture(&bench);
    bench_stop(&bench);
}

static void test_a_block_behind_another_prefix_is_another_block(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t x[16], y[16], z[16], w[16], prompt[40];
    const int32_t *const order[][2] = {{x, z}, {y, w}, {y, z}};
    static const uint64_t cached[] = {0, 0, 16};
    bench_start(&bench);
    make_prompt(x, 16, 1);
    make_prompt(y, 16, 2);
    make_prompt(z, 16, 3);
    make_prompt(w, 16, 4);
    make_prompt(prompt + 32, 8, 5);
    for (uint32_t i = 0; i < 3; i++) {
        memcpy(prompt, order[i][0], sizeof x);
        memcpy(prompt + 16, order[i][1], sizeof x);
        tn_request request = make_request(prompt, 40, 5);
        answer *answer = bench_run(&bench, &request);
        assert_int_equal(answer->cached_tokens, cached[i]);
        assert_expected(&bench, &request, answer);
        free(answer);
    }
    bench_stop(&bench);
}

static void test_no_caching_changes_nothing(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    bench.config.enable_prefix_caching = false;
    bench.pages[0] = 20;
    bench_start(&bench);
    run_mixture(&bench);
    assert_int_equal(bench_stat(&bench, "prefix_cache_hits", NULL), 0);
    bench_stop(&bench);
}

static void test_window_groups_slide_and_change_nothing(void **state)
{
    static const struct {
        uint32_t groups, page_tokens[3], window[3];
        uint64_t pages[3];
    } shape[] = {
        {2, {16, 16}, {0, 20}, {64, 40}},
        {2, {16, 8}, {0, 20}, {64, 60}},
        {1, {16}, {40}, {30}},
        {3, {8, 16, 12}, {32, 0, 64}, {40, 40, 60}},
        {2, {16, 16}, {20, 50}, {16, 16}},
        {2, {16, 16}, {0, 33}, {18, 9}},
    };
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    (void)state;
    for (uint32_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        for (uint32_t b = 0; b < 3; b++) {
            bench bench = bench_defaults();
            bench.backend = backends[b];
            bench.config.kv_group_count = shape[i].groups;
            memcpy(bench.page_tokens, shape[i].page_tokens, sizeof bench.page_tokens);
            memcpy(bench.window, shape[i].window, sizeof bench.window);
            memcpy(bench.pages, shape[i].pages, sizeof bench.pages);
            bench_start(&bench);
            run_mixture(&bench);
            run_mixture(&bench); /* now with prefixes in the cache */
            bench_stop(&bench);
        }
    }
}

static void test_a_window_needs_fewer_pages_than_its_sequence(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[400];
    bench.window[0] = 32;
    bench.pages[0] = 6; /* 96 tokens */
    bench_start(&bench);
    make_prompt(prompt, 400, 9);
    tn_request request = make_request(prompt, 400, 100);
    request.flags = TN_REQ_IGNORE_EOS;
    answer *answer = bench_run(&bench, &request);
    assert_expected(&bench, &request, answer);
    free(answer);
    bench_stop(&bench);
}

static void test_a_cached_prefix_is_reused_and_gives_the_same_answer(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[100];
    bench_start(&bench);
    make_prompt(prompt, 100, 2);
    tn_request request = make_request(prompt, 96, 30);
    request.flags = TN_REQ_LOGPROBS | TN_REQ_IGNORE_EOS;
    answer *miss = bench_run(&bench, &request);
    answer *hit = bench_run(&bench, &request);
    assert_int_equal(miss->cached_tokens, 0);
    assert_int_equal(hit->cached_tokens,
                     80); /* of 96 = 6 pages the last is computed again: its last token gives the logits */
    assert_same_answer(miss, hit);
    assert_expected(&bench, &request, hit);

    /* The generated tokens are in the cache as well: a conversation goes on from them. */
    int32_t longer[126];
    memcpy(longer, prompt, 96 * sizeof *longer);
    memcpy(longer + 96, miss->choice[0].token, 30 * sizeof *longer);
    tn_request next = make_request(longer, 126, 5);
    answer *goes_on = bench_run(&bench, &next);
    assert_int_equal(goes_on->cached_tokens, 112);
    assert_expected(&bench, &next, goes_on);
    assert_int_equal(bench_stat(&bench, "prefix_cache_queries", NULL), 96 + 96 + 126);
    assert_int_equal(bench_stat(&bench, "prefix_cache_hits", NULL), 80 + 112);
    free(miss);
    free(hit);
    free(goes_on);
    bench_stop(&bench);
}

static void test_salts_and_no_cache_keep_prefixes_apart(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[64];
    static const struct {
        const char *salt;
        uint32_t flags;
        uint64_t cached;
    } turn[] = {{"a", 0, 0}, {"b", 0, 0},   {"a", 0, 48}, {NULL, TN_REQ_NO_CACHE, 0}, {NULL, 0, 0},
                {"", 0, 0},  {NULL, 0, 48}, {"", 0, 48},  {"a", TN_REQ_NO_CACHE, 0},  {"shared", 0, 0}};
    bench_start(&bench);
    make_prompt(prompt, 64, 2);
    for (uint32_t i = 0; i < sizeof turn / sizeof turn[0]; i++) {
        tn_request request = make_request(prompt, 64, 4);
        request.cache_salt = turn[i].salt;
        request.flags = turn[i].flags;
        answer *answer = bench_run(&bench, &request);
        assert_int_equal(answer->cached_tokens, turn[i].cached);
        assert_expected(&bench, &request, answer);
        free(answer);
    }
    bench_stop(&bench);
}

static void test_choices_share_the_prompt_and_differ(void **state)
{
    static const uint32_t length[] = {1, 2, 15, 16, 17, 33, 100};
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    (void)state;
    for (uint32_t b = 0; b < 3; b++) {
        bench bench = bench_defaults();
        bench.backend = backends[b];
        bench_start(&bench);
        for (uint32_t i = 0; i < sizeof length / sizeof length[0]; i++) {
            int32_t prompt[100];
            make_prompt(prompt, length[i], 40 + i);
            tn_request request = make_request(prompt, length[i], 20);
            request.n_choices = 8;
            request.temperature = 2;
            request.flags = TN_REQ_IGNORE_EOS | TN_REQ_NO_CACHE;
            uint32_t rows = atomic_load(&bench.model->rows);
            answer *answer = bench_run(&bench, &request);
            assert_expected(&bench, &request, answer);
            assert_memory_not_equal(answer->choice[0].token, answer->choice[1].token, 20 * sizeof(int32_t));
            rows = atomic_load(&bench.model->rows) - rows;
            /* The prompt once, its last token (without copies: last page) again for each, and the generated tokens. */
            uint32_t again = backends[b]->kv_copy ? 1 : 16;
            assert_true(rows <= length[i] + 7 * again + 8 * 19 + 8);
            free(answer);
        }
        assert_int_equal(atomic_load(&bench.model->copies) > 0, backends[b]->kv_copy != NULL);
        bench_stop(&bench);
    }
}

static void test_choices_are_recomputed_when_pages_are_short(void **state)
{
    const tn_backend *backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    (void)state;
    for (uint32_t b = 0; b < 3; b++) {
        bench bench = bench_defaults();
        int32_t prompt[60];
        bench.backend = backends[b];
        bench.pages[0] = 8;
        bench_start(&bench);
        make_prompt(prompt, 60, 8);
        tn_request request = make_request(prompt, 60, 60);
        request.n_choices = 6;
        request.temperature = 1;
        request.flags = TN_REQ_IGNORE_EOS;
        answer *answer = bench_run(&bench, &request);
        assert_expected(&bench, &request, answer);
        free(answer);
        bench_stop(&bench);
    }
}

static void test_choices_may_outnumber_the_slots(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[20];
    answer *answers[6];
    tn_request request[6];
    bench.config.max_num_seqs = 3;
    bench_start(&bench);
    make_prompt(prompt, 20, 8);
    for (uint32_t i = 0; i < 6; i++) {
        request[i] = make_request(prompt, 20, 30);
        request[i].n_choices = 1 + i * 3 % 8;
        request[i].temperature = 1;
        request[i].flags = i < 3 ? TN_REQ_NO_CACHE : 0;
        answers[i] = answer_create();
        answers[i]->id = bench_submit(&bench, &request[i]);
    }
    bench_collect(&bench, answers, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_expected(&bench, &request[i], answers[i]);
        free(answers[i]);
    }
    bench_stop(&bench);
}

/* Order in which ACCEPTED events come for requests that queue behind a long one. */
static void accepted_order(bench *bench, const int32_t *priority, uint32_t count, uint32_t *ret_order)
{
    int32_t prompt[8];
    uint64_t ids[16], blocker;
    uint32_t accepted = 0, done = 0;

    make_prompt(prompt, 8, 1);
    tn_request request = make_request(prompt, 8, 200);
    request.flags = TN_REQ_IGNORE_EOS;
    request.priority = -100;
    blocker = bench_submit(bench, &request);
    request.max_new = 2;
    for (uint32_t i = 0; i < count; i++) {
        request.priority = priority[i];
        ids[i] = bench_submit(bench, &request);
    }
    while (done < count + 1) {
        tn_event event = {.struct_size = sizeof event};
        if (engine_table.poll(bench->client, &event, sizeof event, 1) == 0) {
            usleep(100);
            continue;
        }
        done += event.kind == TN_EVENT_DONE;
        for (uint32_t i = 0; i < count; i++)
            if (event.kind == TN_EVENT_ACCEPTED && event.request != blocker && event.request == ids[i])
                ret_order[accepted++] = i;
    }
    assert_int_equal(accepted, count);
}

static void test_lower_priority_numbers_go_first_then_arrival(void **state)
{
    (void)state;
    static const int32_t priority[] = {5, 0, 5, -3, 0};
    static const uint32_t expected[] = {3, 1, 4, 0, 2};
    uint32_t order[5];
    bench bench = bench_defaults();
    bench.config.max_num_seqs = 1;
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 100);
    accepted_order(&bench, priority, 5, order);
    assert_memory_equal(order, expected, sizeof expected);
    bench_stop(&bench);
}

static void test_an_urgent_request_takes_the_slot_of_another(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[30];
    answer *slow = answer_create(), *urgent = answer_create();
    bench.config.max_num_seqs = 1;
    bench_start(&bench);
    atomic_store(&bench.model->step_us, 500);
    make_prompt(prompt, 30, 1);
    tn_request first = make_request(prompt, 30, 200), second = make_request(prompt, 10, 5);
    first.flags = second.flags = TN_REQ_IGNORE_EOS;
    first.priority = 1;
    slow->id = bench_submit(&bench, &first);
    while (atomic_load(&bench.model->steps) < 20)
        usleep(500);
    urgent->id = bench_submit(&bench, &second);
    bench_collect(&bench, &urgent, 1);
    assert_true(bench_stat(&bench, "num_preemptions_total", NULL) >= 1);
    free(urgent);
    tn_event event = {.struct_size = sizeof event};
    (void)event;
    engine_table.cancel(bench.client, slow->id);
    free(slow);
    bench_stop(&bench);
}

static void test_backend_memory_shortage_preempts_and_goes_on(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    tn_request request[6];
    int32_t prompt[6][10];
    answer *answers[6];
    bench_start(&bench);
    bench.model->in_engine_memory_limit = 25;
    for (uint32_t i = 0; i < 6; i++) {
        make_prompt(prompt[i], 10, i);
        request[i] = make_request(prompt[i], 10, 20);
        answers[i] = answer_create();
        answers[i]->id = bench_submit(&bench, &request[i]);
    }
    bench_collect(&bench, answers, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_expected(&bench, &request[i], answers[i]);
        free(answers[i]);
    }
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_that_share_batches_get_their_own_answers),
        cmocka_unit_test(test_answers_do_not_depend_on_the_chunk_size),
        cmocka_unit_test(test_two_steps_in_flight_give_the_same_answers),
        cmocka_unit_test(test_short_pools_preempt_and_change_nothing),
        cmocka_unit_test(test_short_lists_of_a_step_change_nothing),
        cmocka_unit_test(test_a_block_behind_another_prefix_is_another_block),
        cmocka_unit_test(test_no_caching_changes_nothing),
        cmocka_unit_test(test_window_groups_slide_and_change_nothing),
        cmocka_unit_test(test_a_window_needs_fewer_pages_than_its_sequence),
        cmocka_unit_test(test_a_cached_prefix_is_reused_and_gives_the_same_answer),
        cmocka_unit_test(test_salts_and_no_cache_keep_prefixes_apart),
        cmocka_unit_test(test_choices_share_the_prompt_and_differ),
        cmocka_unit_test(test_choices_are_recomputed_when_pages_are_short),
        cmocka_unit_test(test_choices_may_outnumber_the_slots),
        cmocka_unit_test(test_lower_priority_numbers_go_first_then_arrival),
        cmocka_unit_test(test_an_urgent_request_takes_the_slot_of_another),
        cmocka_unit_test(test_backend_memory_shortage_preempts_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
