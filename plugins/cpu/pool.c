/* plugins/cpu/pool.c: see pool.h. `claim` holds the step's number and how many of its items are left to draw; drawing
 * is one subtraction. `done` counts finished items; the thread that finishes the last one owns the pool for a moment,
 * prepares the next step and publishes it in `claim`, then in `phase`, on which the others wait.
 */
#include "pool.h"

#include "base/processors.h"
#include "host_memory.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* EMPTY: `claim` with nothing left. Failed draws go below it, at most two per thread and step. */
enum { SPINS = 4000, THREADS_MAX = 256, EMPTY = 1 << 16 };

struct pool {
    uint32_t threads;
    pthread_t *worker;
    pool_job job; /* this and the next two: of the open step, fixed while it has items */
    uint32_t step, items;
    _Alignas(64) _Atomic uint64_t claim; /* sequence number << 32 | EMPTY + items left */
    _Alignas(64) _Atomic uint32_t done;  /* items of the step that have ended */
    _Alignas(64) _Atomic uint32_t phase; /* steps opened and jobs ended */
    _Atomic uint32_t sleepers;           /* threads inside futex_sleep */
    _Atomic bool running, stopping;
};

typedef struct worker_start {
    pool *pool;
    uint32_t thread;
} worker_start;

static void futex_sleep(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Returns once *word differs from seen. */
static void await_change(pool *p, _Atomic uint32_t *word, uint32_t seen)
{
    for (uint32_t spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        relax();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(word) == seen) /* sequentially consistent with `sleepers`: a waker sees one of the two */
        futex_sleep(word, seen);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void announce(pool *p, _Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(&p->sleepers))
        futex_wake_all(word);
}

/* Opens the first step from `step` on that has several items, or ends the job. No item is running. Steps of one item
 * (decoding has many) run right here: telling the others would take longer. */
static void open_step(pool *p, uint32_t step, uint32_t thread)
{
    uint64_t sequence = (atomic_load_explicit(&p->claim, memory_order_relaxed) >> 32) + 1;

    for (p->items = 0; step < p->job.step_count; step++) {
        p->items = p->job.begin(p->job.context, step);
        if (p->items > 1)
            break;
        if (p->items == 1)
            p->job.item(p->job.context, step, 0, thread);
        p->items = 0;
    }
    p->step = step;
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    if (p->items) {
        /* With this the others begin, and may have opened the next step before it returns. */
        atomic_store(&p->claim, sequence << 32 | (EMPTY + (uint64_t)p->items));
    } else {
        atomic_store(&p->claim, sequence << 32 | EMPTY); /* or failed draws would add up over jobs */
        atomic_store(&p->running, false);
    }
    announce(p, &p->phase);
}

/* Draws items of whatever step is open until none is left. */
static void work(pool *p, uint32_t thread)
{
    for (;;) {
        uint32_t left = (uint32_t)atomic_fetch_sub(&p->claim, 1);
        if (left <= EMPTY)
            return;
        /* The step stays open while this item has not ended, so its description may be read; afterwards another thread
         * may be opening the next one. */
        const uint32_t step = p->step, items = p->items;
        p->job.item(p->job.context, step, items - (left - EMPTY), thread);
        if (atomic_fetch_add(&p->done, 1) + 1 == items)
            open_step(p, step + 1, thread);
    }
}

static void *worker_main(void *argument)
{
    worker_start start = *(worker_start *)argument;
    pool *p = start.pool;

    free(argument);
    while (!atomic_load(&p->stopping)) {
        uint32_t phase = atomic_load(&p->phase);
        work(p, start.thread);
        if (!atomic_load(&p->stopping))
            await_change(p, &p->phase, phase);
    }
    return NULL;
}

void pool_run(pool *p, const pool_job *job)
{
    p->job = *job;
    atomic_store(&p->running, true);
    open_step(p, 0, 0);
    while (atomic_load(&p->running)) {
        uint32_t phase = atomic_load(&p->phase);
        work(p, 0);
        if (atomic_load(&p->running))
            await_change(p, &p->phase, phase);
    }
}

tn_status pool_create(uint32_t threads, pool **ret_pool, tn_error *err)
{
    TN_ASSERT(threads >= 1 && threads <= THREADS_MAX);
    pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    pthread_t *worker = calloc(threads, sizeof *worker);

    if (!p || !worker) {
        free(p);
        free(worker);
        return tn_fail(err, TN_E_MEMORY, "the thread pool");
    }
    *p = (pool){.threads = 1, .worker = worker, .claim = EMPTY};
    for (uint32_t i = 1; i < threads; i++) {
        worker_start *start = malloc(sizeof *start);
        int code = ENOMEM;
        if (start) {
            *start = (worker_start){p, i};
            code = pthread_create(&worker[i], NULL, worker_main, start);
        }
        if (code) {
            free(start);
            pool_destroy(p);
            return tn_fail(err, TN_E_MEMORY,
                           "thread %u of %u could not be started (%s): lower [cpu] threads, or raise the limits on "
                           "threads and memory",
                           i + 1, threads, strerror(code));
        }
        p->threads = i + 1;
    }
    *ret_pool = p;
    return TN_OK;
}

void pool_destroy(pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stopping, true);
    announce(p, &p->phase);
    for (uint32_t i = 1; i < p->threads; i++)
        pthread_join(p->worker[i], NULL);
    free(p->worker);
    free(p);
}

uint32_t pool_threads(const pool *p)
{
    return p->threads;
}

uint32_t pool_cpus(void)
{
    uint32_t cpus = processors_usable(), quota = memory_cgroup_cpus();

    if (quota && quota < cpus)
        cpus = quota;
    return cpus < THREADS_MAX ? cpus : THREADS_MAX;
}
