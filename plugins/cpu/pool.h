/* plugins/cpu/pool.h: the worker threads of a device.
 *
 * A job is a sequence of steps, a step a number of items. Threads, the caller among them, draw items; the step ends
 * when its last item is finished, and whoever finished it opens the next. Nobody waits for a thread that has nothing in
 * hand, so that a worker which the system has put aside (machines are shared) delays a step by at most its own item.
 * Waiting threads spin for a bounded time, then sleep on a futex: an idle device costs nothing.
 */
#ifndef CPU_POOL_H
#define CPU_POOL_H

#include "tenon/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pool pool;

typedef struct pool_job {
    uint32_t step_count;
    /* Prepares a step and returns its number of items, 0 to skip it. Called by one thread while no item runs. */
    uint32_t (*begin)(void *context, uint32_t step);
    void (*item)(void *context, uint32_t step, uint32_t item, uint32_t thread);
    void *context;
} pool_job;

/* threads: including the caller of pool_run, 1..256. [ctl] */
tn_status pool_create(uint32_t threads, pool **ret_pool, tn_error *err);
/* NULL is fine. Joins the workers. [ctl] */
void pool_destroy(pool *p);
uint32_t pool_threads(const pool *p);
/* Runs all steps of the job in order; returns when the last has ended. [step] */
void pool_run(pool *p, const pool_job *job);
/* CPUs this process may use: its affinity, limited by the control group's quota. */
uint32_t pool_cpus(void);

#endif
