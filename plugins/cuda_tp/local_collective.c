/* local_collective.c: see collective.h. Each rank waits for its own stream, shows where its data is, meets the others,
 * and takes what it needs from them; nobody goes on before all have taken it. Cost: two meetings of threads per
 * operation.
 */
#include "ordered_sum.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct local_collective {
    collective base;
    const device_api *device;
    uint32_t world;
    const void **shown; /* [world] written before a meeting, read after it */
    pthread_mutex_t lock;
    pthread_cond_t met;
    /* under lock: */
    uint32_t present;
    uint64_t meeting; /* counts up */
    bool aborted;
} local_collective;

static local_collective *local_of(collective *c)
{
    return (local_collective *)c;
}

static tn_status meet(local_collective *l, tn_error *err)
{
    pthread_mutex_lock(&l->lock);
    uint64_t meeting = l->meeting;
    if (++l->present == l->world) {
        l->present = 0;
        l->meeting++;
        pthread_cond_broadcast(&l->met);
    }
    while (!l->aborted && l->meeting == meeting)
        pthread_cond_wait(&l->met, &l->lock);
    bool met = l->meeting != meeting;
    pthread_mutex_unlock(&l->lock);
    return met ? TN_OK : tn_fail(err, TN_E_CANCELLED, "the ranks' work was aborted");
}

/* Shows `in` once it is ready. */
static tn_status show(local_collective *l, uint32_t rank, const void *in, cuda_stream stream, tn_error *err)
{
    tn_status status = l->device->stream_wait(stream, err);
    if (status != TN_OK)
        return status;
    l->shown[rank] = in;
    return meet(l, err);
}

/* Others may write again once all have read. */
static tn_status part(local_collective *l, cuda_stream stream, tn_error *err)
{
    tn_status status = l->device->stream_wait(stream, err);
    return status == TN_OK ? meet(l, err) : status;
}

static tn_status local_all_reduce(collective *c, uint32_t rank, const void *in, void *out, uint64_t count,
                                  uint32_t type, cuda_stream stream, tn_error *err)
{
    local_collective *l = local_of(c);

    tn_status status = show(l, rank, in, stream, err);
    if (status == TN_OK)
        status = ordered_sum_parts(l->shown, l->world, out, count, type, stream, err);
    return status == TN_OK ? part(l, stream, err) : status;
}

static tn_status local_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                  cuda_stream stream, tn_error *err)
{
    local_collective *l = local_of(c);

    tn_status status = show(l, rank, in, stream, err);
    for (uint32_t r = 0; r < l->world && status == TN_OK; r++)
        status = l->device->copy((uint8_t *)out + r * bytes, l->shown[r], bytes, stream, err);
    return status == TN_OK ? part(l, stream, err) : status;
}

/* All that may fail here says so at once. */
static tn_status local_check(collective *c, uint32_t rank, tn_error *err)
{
    (void)c, (void)rank, (void)err;
    return TN_OK;
}

static void local_abort(collective *c)
{
    local_collective *l = local_of(c);

    pthread_mutex_lock(&l->lock);
    l->aborted = true;
    pthread_cond_broadcast(&l->met);
    pthread_mutex_unlock(&l->lock);
}

static void local_destroy(collective *c)
{
    local_collective *l = local_of(c);

    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->met);
    free(l->shown);
    free(l);
}

static const collective_api local_api = {
    .ordered = true,
    .all_reduce = local_all_reduce,
    .all_gather = local_all_gather,
    .check = local_check,
    .abort = local_abort,
    .destroy = local_destroy,
};

tn_status local_collective_create(const device_api *device, uint32_t world, collective **ret, tn_error *err)
{
    local_collective *l = calloc(1, sizeof *l);
    const void **shown = calloc(world, sizeof *shown);

    if (!l || !shown) {
        free(l);
        free(shown);
        return tn_fail(err, TN_E_MEMORY, "a group of %u ranks", world);
    }
    *l = (local_collective){.base.api = &local_api,
                            .device = device,
                            .world = world,
                            .shown = shown,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .met = PTHREAD_COND_INITIALIZER};
    *ret = &l->base;
    return TN_OK;
}
