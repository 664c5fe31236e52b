/* test_cpu_pool.c: the CPU backend's thread pool, with more threads than cores and steps shorter than a switch between
 * them: every item runs once, every step opens once and only after the one before it has ended. ThreadSanitizer sees what
 * the counts may miss.
 */
#include "cmocka_test.h"

#include <errno.h>
#include <pthread.h>

static uint32_t threads_granted = UINT32_MAX; /* how many more the system starts */

static int create_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    if (!threads_granted)
        return EAGAIN;
    threads_granted--;
    return pthread_create(thread, attributes, start, argument);
}

/* Included, since what threads have drawn shows in no answer. */
#define pthread_create create_thread
#include "pool.c"
#undef pthread_create

#include <stdatomic.h>
#include <string.h>

enum { THREADS = 8, STEPS = 4000, ROUNDS = 100, ITEMS_MAX = 7 };

typedef struct journal {
    _Atomic uint32_t begun[STEPS], ran[STEPS][ITEMS_MAX];
    _Atomic uint32_t open, wrong;
} journal;

/* 0 to ITEMS_MAX items, mostly one or two: steps whose last items end together. */
static uint32_t items_of(uint32_t step)
{
    static const uint32_t items[] = {2, 1, 2, 1, 0, 2, ITEMS_MAX, 1};
    return items[step % 8];
}

static uint32_t begin_step(void *context, uint32_t step)
{
    journal *j = context;

    for (uint32_t i = 0; step && i < items_of(step - 1); i++)
        if (atomic_load(&j->ran[step - 1][i]) != 1)
            atomic_fetch_add(&j->wrong, 1);
    atomic_fetch_add(&j->begun[step], 1);
    atomic_store(&j->open, step);
    return items_of(step);
}

static void run_item(void *context, uint32_t step, uint32_t item, uint32_t thread)
{
    journal *j = context;

    if (atomic_load(&j->open) != step || item >= items_of(step) || thread >= THREADS)
        atomic_fetch_add(&j->wrong, 1);
    else
        atomic_fetch_add(&j->ran[step][item], 1);
}

static void test_each_item_runs_once_and_in_its_step(void **state)
{
    (void)state;
    static journal j;
    pool *p = NULL;
    tn_error err = TN_ERROR_INIT;
    const pool_job job = {.step_count = STEPS, .begin = begin_step, .item = run_item, .context = &j};

    assert_int_equal(pool_create(THREADS, &p, &err), TN_OK);
    assert_int_equal(pool_threads(p), THREADS);
    for (int round = 0; round < ROUNDS; round++) {
        memset(&j, 0, sizeof j);
        pool_run(p, &job);
        assert_int_equal(atomic_load(&j.wrong), 0);
        for (uint32_t s = 0; s < STEPS; s++) {
            assert_int_equal(atomic_load(&j.begun[s]), 1);
            for (uint32_t i = 0; i < ITEMS_MAX; i++)
                assert_int_equal(atomic_load(&j.ran[s][i]), i < items_of(s));
        }
    }
    pool_destroy(p);
}

static void test_one_thread_runs_everything_itself(void **state)
{
    (void)state;
    static journal j;
    pool *p = NULL;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(pool_create(1, &p, &err), TN_OK);
    pool_run(p, &(pool_job){.step_count = STEPS, .begin = begin_step, .item = run_item, .context = &j});
    pool_run(p, &(pool_job){.step_count = 0, .begin = begin_step, .item = run_item, .context = &j});
    assert_int_equal(atomic_load(&j.wrong), 0);
    assert_int_equal(atomic_load(&j.ran[STEPS - 1][0]), 1);
    pool_destroy(p);
    pool_destroy(NULL);
}

/* Steps of one item run in the thread that opens them; the others come to see, and draw nothing. */
static uint32_t begin_single(void *context, uint32_t step)
{
    (void)context, (void)step;
    return 1;
}

static void run_single(void *context, uint32_t step, uint32_t item, uint32_t thread)
{
    (void)step, (void)thread;
    atomic_fetch_add((_Atomic uint32_t *)context, item == 0);
}

static void test_draws_that_failed_do_not_add_up_over_jobs(void **state)
{
    (void)state;
    _Atomic uint32_t ran = 0;
    pool *p = NULL;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(pool_create(THREADS, &p, &err), TN_OK);
    atomic_store(&p->claim, EMPTY / 2); /* as many thousands of such jobs would leave it */
    pool_run(p, &(pool_job){.step_count = STEPS, .begin = begin_single, .item = run_single, .context = &ran});
    assert_int_equal(atomic_load(&ran), STEPS);
    uint32_t left = (uint32_t)atomic_load(&p->claim);
    assert_true(left <= EMPTY && left >= EMPTY - 2 * THREADS);
    pool_destroy(p);
}

static void test_threads_that_cannot_be_had_are_an_error(void **state)
{
    (void)state;
    pool *p = NULL;
    tn_error err = TN_ERROR_INIT;

    for (uint32_t granted = 0; granted < 3; granted++) {
        threads_granted = granted;
        assert_int_equal(pool_create(4, &p, &err), TN_E_MEMORY); /* those that were started have been joined */
        assert_null(p);
        assert_int_equal(err.msg[strlen("thread ")], '2' + (int)granted);
        assert_non_null(strstr(err.msg, "of 4 could not be started"));
        assert_non_null(strstr(err.msg, strerror(EAGAIN)));
    }
    threads_granted = UINT32_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_item_runs_once_and_in_its_step),
        cmocka_unit_test(test_one_thread_runs_everything_itself),
        cmocka_unit_test(test_draws_that_failed_do_not_add_up_over_jobs),
        cmocka_unit_test(test_threads_that_cannot_be_had_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
