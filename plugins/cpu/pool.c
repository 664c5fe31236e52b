/* plugins/cpu/pool.c: see pool.h. Barriers count arrivals; the last one resets the counters and bumps the phase. */
#include "pool.h"

#include "host_memory.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 4000, THREADS_MAX = 256 };

struct pool {
    uint32_t threads;
    void (*job)(void *context, uint32_t thread); /* set before `started` is bumped */
    void *context;
    pthread_t *worker;
    _Alignas(64) _Atomic uint32_t started; /* jobs begun; workers wait for it to change */
    _Atomic uint32_t sleepers;             /* threads inside futex_wait, on either word */
    _Atomic bool stopping;
    _Alignas(64) _Atomic uint32_t item;
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t phase; /* barriers passed */
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

void pool_barrier(pool *p)
{
    if (p->threads == 1) {
        atomic_store_explicit(&p->item, 0, memory_order_relaxed);
        return;
    }
    uint32_t phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < p->threads) {
        await_change(p, &p->phase, phase);
        return;
    }
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&p->item, 0, memory_order_relaxed);
    announce(p, &p->phase);
}

uint32_t pool_next(pool *p)
{
    return atomic_fetch_add_explicit(&p->item, 1, memory_order_relaxed);
}

static void *worker_main(void *argument)
{
    worker_start start = *(worker_start *)argument;
    pool *p = start.pool;
    uint32_t seen = 0;

    free(argument);
    for (;;) {
        await_change(p, &p->started, seen);
        if (atomic_load(&p->stopping))
            return NULL;
        seen++;
        p->job(p->context, start.thread);
        pool_barrier(p);
    }
}

void pool_run(pool *p, void (*job)(void *context, uint32_t thread), void *context)
{
    p->job = job;
    p->context = context;
    atomic_store_explicit(&p->item, 0, memory_order_relaxed);
    if (p->threads > 1)
        announce(p, &p->started);
    job(context, 0);
    pool_barrier(p);
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
    *p = (pool){.threads = 1, .worker = worker};
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
            return tn_fail(err, TN_E_MEMORY, "thread %u of %u could not be started (error %d)", i + 1, threads, code);
        }
        p->threads = i + 1; /* workers read it only in a job, which begins after an atomic announcement */
    }
    *ret_pool = p;
    return TN_OK;
}

void pool_destroy(pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stopping, true);
    announce(p, &p->started);
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
    cpu_set_t set;
    uint32_t cpus = 1;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        cpus = (uint32_t)CPU_COUNT(&set);
    uint32_t quota = memory_cgroup_cpus();
    if (quota && quota < cpus)
        cpus = quota;
    return cpus < THREADS_MAX ? cpus : THREADS_MAX;
}
