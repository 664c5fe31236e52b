/* runtime/quantize/parallel.c: threads come and go with each call, whose work takes milliseconds and more. */
#include "quantize/parallel.h"

#include "base/processors.h"

#include <pthread.h>
#include <stdbool.h>

enum { THREADS_MAX = 64 };

typedef struct range {
    parallel_work work;
    void *ctx;
    uint64_t begin, end;
    pthread_t thread;
    bool started;
} range;

static void *run_range(void *ctx)
{
    const range *r = ctx;
    r->work(r->ctx, r->begin, r->end);
    return NULL;
}

void parallel_run(uint64_t count, uint64_t unit, parallel_work work, void *ctx)
{
    range ranges[THREADS_MAX];
    uint64_t units = (count + unit - 1) / unit, threads = processors_usable();

    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    threads = threads < units ? threads : units;
    for (uint64_t i = 0; i < threads; i++) {
        uint64_t end = units * (i + 1) / threads * unit;
        ranges[i] =
            (range){.work = work, .ctx = ctx, .begin = units * i / threads * unit, .end = end < count ? end : count};
        ranges[i].started = i + 1 < threads && pthread_create(&ranges[i].thread, NULL, run_range, &ranges[i]) == 0;
        if (!ranges[i].started)
            run_range(&ranges[i]);
    }
    for (uint64_t i = 0; i < threads; i++)
        if (ranges[i].started)
            pthread_join(ranges[i].thread, NULL);
}
