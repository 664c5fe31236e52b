/* test_engine_memory.c: the nth allocation fails, for every n, in engine_create, client_open and submit; and the loop
 * thread allocates and frees nothing at all.
 *
 * malloc, calloc, realloc and free of the linked objects are wrapped (-Wl,--wrap).
 */
#include "../unit/engine_bench.h"

#include <stdatomic.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

static _Thread_local int countdown = -1; /* allocations of this thread until one fails; -1: none */
static atomic_bool watching;             /* the loop's thread is known: */
static pthread_t watched;
static atomic_uint calls_in_loop;

static bool fails(void)
{
    if (atomic_load(&watching) && pthread_equal(pthread_self(), watched))
        atomic_fetch_add(&calls_in_loop, 1);
    return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    if (atomic_load(&watching) && pthread_equal(pthread_self(), watched))
        atomic_fetch_add(&calls_in_loop, 1);
    __real_free(memory);
}

static void test_each_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[40];
    tn_engine *engine = NULL;
    tn_client *client = NULL;
    tn_error error = TN_ERROR_INIT;
    int failed = 0;

    bench_start(&bench); /* makes the model; its own engine stays beside the one under test */
    make_prompt(prompt, 40, 1);
    tn_request request = make_request(prompt, 40, 5);
    request.repetition = 1.5f;
    for (int n = 0;; n++, failed++) {
        uint64_t id;
        countdown = n;
        tn_status status = engine_create(&bench.config, (const tn_graph *)bench.model, &bench.graph_api, bench.backend,
                                         (tn_model *)bench.model, &fake_tokenizer, NULL, &engine, &error);
        if (status == TN_OK)
            status = engine_table.client_open(engine, 8, &client, &error);
        if (status == TN_OK)
            status = engine_table.submit(client, &request, &id, &error);
        countdown = -1;
        engine_table.client_close(client);
        engine_destroy(engine);
        engine = NULL;
        client = NULL;
        if (status == TN_OK)
            break;
        assert_int_equal(status, TN_E_MEMORY);
        assert_non_null(strstr(error.msg, "no memory"));
    }
    assert_int_equal(failed, 4); /* engine, its arrays, client, request */
    bench.model->fault[0] = 0;   /* two engines took turns on one model: its pages were anyone's */
    bench_stop(&bench);
}

static void test_the_loop_neither_allocates_nor_frees(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[60];
    answer *answers[20];

    bench.pages[0] = 24; /* with preemption, too */
    bench_start(&bench);
    watched = bench.engine->thread;
    atomic_store(&watching, true);
    for (uint32_t i = 0; i < 20; i++) {
        make_prompt(prompt, 60, i % 3);
        tn_request request = make_request(prompt, 60, 60);
        request.flags = TN_REQ_IGNORE_EOS | TN_REQ_LOGPROBS | (i == 5 ? TN_REQ_PROMPT_LOGPROBS : 0);
        request.top_logprobs = 2;
        request.repetition = 1.2f;
        request.n_choices = 1 + i % 3;
        answers[i] = answer_create();
        answers[i]->id = bench_submit(&bench, &request);
    }
    engine_table.cancel(bench.client, answers[7]->id);
    bench_collect(&bench, answers, 20);
    assert_true(bench_stat(&bench, "num_preemptions_total", NULL) > 0);
    assert_int_equal(atomic_load(&calls_in_loop), 0);
    for (uint32_t i = 0; i < 20; i++)
        free(answers[i]);
    bench_stop(&bench);
    atomic_store(&watching, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(test_the_loop_neither_allocates_nor_frees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
