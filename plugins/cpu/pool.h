/* plugins/cpu/pool.h: the worker threads of a device.
 *
 * A job runs on all threads at once, the caller being thread 0. Inside a job, threads meet at barriers and draw work
 * items from a shared counter; both spin for a bounded time and then sleep on a futex, because other programs may hold
 * the CPU that the awaited thread needs. Between jobs workers spin briefly, then sleep: an idle device costs nothing.
 */
#ifndef CPU_POOL_H
#define CPU_POOL_H

#include "tenon/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pool pool;

/* threads: including the caller of pool_run, 1..256. [ctl] */
tn_status pool_create(uint32_t threads, pool **ret_pool, tn_error *err);
/* NULL is fine. Joins the workers. [ctl] */
void pool_destroy(pool *p);
uint32_t pool_threads(const pool *p);
/* Calls job(context, thread) on every thread; returns when all have. [step] */
void pool_run(pool *p, void (*job)(void *context, uint32_t thread), void *context);
/* Waits until every thread of the job is here, and restarts the item counter at 0. [in a job] */
void pool_barrier(pool *p);
/* The next item, unique among the threads since the last barrier. [in a job] */
uint32_t pool_next(pool *p);
/* CPUs this process may use: its affinity, limited by the control group's quota. */
uint32_t pool_cpus(void);

#endif
